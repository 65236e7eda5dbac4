/* SPDX-License-Identifier: Apache-2.0 */
/* compare.h - are the workers' totals those of the scrape, number by number? */
#ifndef DEMO_COMPARE_H
#define DEMO_COMPARE_H

#include "report.h"

struct comparison {
	struct totals counted; /* all workers, with the events below that had arrived */
	struct totals scraped;
	bool killed;	       /* a worker was */
	uint32_t in_flight;    /* events that killed workers were recording when they died */
	uint32_t arrived;      /* of these, in kvtap already */
	uint32_t differences;  /* numbers that are not equal */
	uint64_t lost_records; /* as the workers' taps say */
};

void compare(struct comparison *comparison, const struct report *report);
/* compare_print_differences - a line for each number that is not equal */
void compare_print_differences(const struct comparison *comparison);

#endif
