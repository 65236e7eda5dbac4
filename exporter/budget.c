/* SPDX-License-Identifier: Apache-2.0 */
/* budget.c - see budget.h */
#include "budget.h"

#include <stddef.h>

#include "log.h"

static const struct budget all_limit = { PAGE_BYTES_MAX, FAMILIES_MAX, SERIES_MAX, false };
static const struct budget worker_limit = { WORKER_BYTES_MAX, WORKER_FAMILIES_MAX,
					    WORKER_SERIES_MAX, false };

/* The differences don't wrap: what was taken is within the limit. */
static bool fits(const struct budget *taken, const struct budget *limit, const struct budget *cost)
{
	return cost->bytes <= limit->bytes - taken->bytes &&
	       cost->families <= limit->families - taken->families &&
	       cost->series <= limit->series - taken->series;
}

static void take(struct budget *budget, const struct budget *cost)
{
	budget->bytes += cost->bytes;
	budget->families += cost->families;
	budget->series += cost->series;
}

bool budget_take(struct budget *all, struct budget *worker, const struct budget *cost,
		 const char *family)
{
	struct budget *empty = NULL;

	if (!fits(all, &all_limit, cost))
		empty = all;
	else if (worker && !fits(worker, &worker_limit, cost))
		empty = worker;
	if (!empty) {
		take(all, cost);
		if (worker)
			take(worker, cost);
		return true;
	}
	if (!empty->logged)
		log_error(empty == all ? "No room on the page; more is not exported"
				       : "A worker declares too much; more of it is not exported",
			  "family", family);
	empty->logged = true;
	return false;
}
