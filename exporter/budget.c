/* SPDX-License-Identifier: Apache-2.0 */
/* budget.c - see budget.h */
#include "budget.h"

#include <stddef.h>

#include "log.h"

const struct budget_limits budget_defaults = {
	.all = { .bytes = PAGE_BYTES_MAX,
		 .string_bytes = STRING_BYTES_MAX,
		 .families = FAMILIES_MAX,
		 .series = SERIES_MAX },
	.worker = { .bytes = WORKER_BYTES_MAX,
		    .string_bytes = WORKER_STRING_BYTES_MAX,
		    .families = WORKER_FAMILIES_MAX,
		    .series = WORKER_SERIES_MAX },
};

/* More than the limit may be taken: what is the exporter's own needs no room. */
static bool within(uint64_t taken, uint64_t limit, uint64_t cost)
{
	return !cost || (taken <= limit && cost <= limit - taken);
}

static bool fits(const struct budget *taken, const struct budget *limit, const struct budget *cost)
{
	return within(taken->bytes, limit->bytes, cost->bytes) &&
	       within(taken->string_bytes, limit->string_bytes, cost->string_bytes) &&
	       within(taken->families, limit->families, cost->families) &&
	       within(taken->series, limit->series, cost->series);
}

static void take(struct budget *budget, const struct budget *cost)
{
	budget->bytes += cost->bytes;
	budget->string_bytes += cost->string_bytes;
	budget->families += cost->families;
	budget->series += cost->series;
}

static uint64_t more(uint64_t limit)
{
	uint64_t sum;

	return __builtin_add_overflow(limit, limit / 8, &sum) ? UINT64_MAX : sum;
}

static bool fits_reserve(const struct budget *taken, const struct budget *limit,
			 const struct budget *cost)
{
	const struct budget all = { .bytes = more(limit->bytes),
				    .string_bytes = more(limit->string_bytes),
				    .families = more(limit->families),
				    .series = more(limit->series) };

	return fits(taken, &all, cost);
}

/* Which budget has no room; NULL: none. */
static struct budget *used_up(struct budget *all, struct budget *worker, const struct budget *cost,
			      const struct budget_limits *limits)
{
	if (!worker)
		return NULL;
	if (worker->reserve)
		return fits_reserve(all, &limits->all, cost) ? NULL : all;
	if (!fits(all, &limits->all, cost))
		return all;
	return fits(worker, &limits->worker, cost) ? NULL : worker;
}

bool budget_take(struct budget *all, struct budget *worker, const struct budget *cost,
		 const struct budget_limits *limits, const char *family)
{
	struct budget *empty = used_up(all, worker, cost, limits);

	if (!empty) {
		take(all, cost);
		if (worker && !worker->reserve)
			take(worker, cost);
		return true;
	}
	if (!empty->logged)
		log_error(empty == all
				  ? "No room for more series or families; see --limit"
				  : "A worker declares more than its limit; see --limit.worker",
			  "family", family);
	empty->logged = true;
	return false;
}

void budget_give(struct budget *budget, const struct budget *cost)
{
	budget->bytes -= cost->bytes;
	budget->string_bytes -= cost->string_bytes;
	budget->families -= cost->families;
	budget->series -= cost->series;
}
