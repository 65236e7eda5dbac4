/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budget.h - how much may be on the page: in all, and made for one worker
 *
 * Bytes are an upper bound of what is rendered, so a page is never bigger than what was taken. A
 * small segment can declare much: a label set is printed once for each bucket. Only what is new is
 * taken; a worker that goes on with families and series of others needs no budget of its own.
 */
#ifndef KVTAP_EXPORTER_BUDGET_H
#define KVTAP_EXPORTER_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_BYTES_MAX (256u << 20) /* of the page */
#define FAMILIES_MAX 10000
#define SERIES_MAX 1000000
#define WORKER_BYTES_MAX (64u << 20)
#define WORKER_FAMILIES_MAX 256
#define WORKER_SERIES_MAX 100000

struct budget { /* all zero at first: what was taken of it */
	uint64_t bytes;
	uint32_t families, series;
	bool logged; /* that it is used up */
};

/**
 * budget_take - take cost from both, or from none
 * @worker: NULL: for the exporter itself
 * @family: for the log
 *
 * Returns: whether there was enough; if not, this is logged once for each budget.
 */
bool budget_take(struct budget *all, struct budget *worker, const struct budget *cost,
		 const char *family);

#endif
