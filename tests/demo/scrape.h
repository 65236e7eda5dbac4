/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrape.h - GET /metrics over a real socket, and read totals out of the text
 *
 * Knows the text format 0.0.4 as far as a sample line goes; knows nothing of workers.
 */
#ifndef DEMO_SCRAPE_H
#define DEMO_SCRAPE_H

#include <stddef.h>

#include "totals.h"

struct scrape {
	char *text; /* the body, with a NUL behind it; to be freed */
	size_t bytes;
	double took_ms;
};

/* scrape_get - 0, or a negative errno; -EPROTO: not a whole answer with status 200 */
int scrape_get(struct scrape *scrape, int port);
/*
 * scrape_totals - every family of totals.h; what has no sample is 0, what is not a whole number of
 * the family's unit or is inconsistent in itself is UINT64_MAX
 */
void scrape_totals(const struct scrape *scrape, struct totals *totals);

#endif
