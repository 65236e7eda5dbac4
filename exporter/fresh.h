/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fresh.h - whether the current page already holds all that was recorded, without asking the drain
 *
 * A scrape that finds it fresh is answered at once, in its own thread. The drain says after each
 * publication what to look at; knows nothing of workers but words that change.
 */
#ifndef KVTAP_EXPORTER_FRESH_H
#define KVTAP_EXPORTER_FRESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvtap_reader.h"

struct fresh;

struct fresh *fresh_create(void);
/* fresh_destroy - nobody asks any more */
void fresh_destroy(struct fresh *fresh);

/**
 * fresh_set - a page was published that is fresh until one of these words changes
 * @watch:    [count], from malloc, given; NULL: none can be fresh
 * @until_ns: CLOCK_MONOTONIC; no longer, as the exporter's own numbers are in it too
 */
void fresh_set(struct fresh *fresh, struct kvtap_watch *watch, size_t count, uint64_t until_ns);
/* fresh_clear - no page is fresh; afterwards no thread looks at the words: they may be unmapped */
void fresh_clear(struct fresh *fresh);

/* fresh_now - whether it is; any thread, wait-free but for how many words there are */
bool fresh_now(struct fresh *fresh);

#endif
