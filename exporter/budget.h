/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budget.h - how much may be on the page and in memory: in all, and made for one worker
 *
 * Bytes are an upper bound of what is rendered, native buckets included, so a page is never bigger
 * than what was taken, in any format; and of what histograms have in memory beside that. A small
 * segment can declare much: a label set is printed once for each bucket. Only what is new is taken; a
 * worker that goes on with families and series of others needs no budget of its own. What is removed
 * is given back. The series "other" that take in what is over a budget may use an eighth more than
 * there is in all.
 */
#ifndef KVTAP_EXPORTER_BUDGET_H
#define KVTAP_EXPORTER_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_BYTES_MAX (256u << 20) /* of the page */
#define STRING_BYTES_MAX (64u << 20)
#define FAMILIES_MAX 10000
#define SERIES_MAX 1000000
#define WORKER_BYTES_MAX (64u << 20)
#define WORKER_STRING_BYTES_MAX (16u << 20)
#define WORKER_FAMILIES_MAX 256
#define WORKER_SERIES_MAX 100000

struct budget { /* all zero at first: what was taken of it */
	uint64_t bytes;
	uint64_t string_bytes; /* names, help and labels, as they are kept */
	uint64_t families, series;
	bool logged;  /* that it is used up */
	bool reserve; /* it stands for that eighth, and nothing is noted in it */
};

struct budget_limits {
	struct budget all, worker;
};

/* The values above. */
extern const struct budget_limits budget_defaults;

/**
 * budget_take - take cost from both, or from none
 * @worker: NULL: for the exporter itself, which is counted but never refused
 * @family: for the log
 *
 * Returns: whether there was enough; if not, this is logged once for each budget.
 */
bool budget_take(struct budget *all, struct budget *worker, const struct budget *cost,
		 const struct budget_limits *limits, const char *family);
/* budget_give - give back what was taken */
void budget_give(struct budget *budget, const struct budget *cost);

#endif
