/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut.h - a scrape asks the drain for a page that holds all that was recorded before it
 *
 * Requests are numbered; the drain answers all that were made before it began a pass.
 */
#ifndef KVTAP_EXPORTER_CUT_H
#define KVTAP_EXPORTER_CUT_H

#include <stdbool.h>
#include <stdint.h>

struct cut;

struct cut *cut_create(void); /* NULL: errno says why */
void cut_destroy(struct cut *cut);

/* cut_request - wake the drain and wait for its next page; any thread; false: timeout_ms passed */
bool cut_request(struct cut *cut, int timeout_ms);

/* cut_fd - readable while a request waits; for the drain's poll(2); owned by cut */
int cut_fd(const struct cut *cut);
/* cut_begin - before a pass: the newest request; clears cut_fd */
uint64_t cut_begin(struct cut *cut);
/* cut_end - after its page is published: requests up to this one are answered */
void cut_end(struct cut *cut, uint64_t request);
/* cut_timeouts - requests that gave up so far */
uint64_t cut_timeouts(const struct cut *cut);

#endif
