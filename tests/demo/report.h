/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - compare what the workers counted with the scrape, and print both for a person
 *
 * Reads truths and a scrape; starts and ends nothing.
 */
#ifndef DEMO_REPORT_H
#define DEMO_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "scrape.h"
#include "truth.h"

/* One worker process, also one that was killed. */
struct counted {
	const char *role;
	uint32_t rank;
	pid_t pid;
	bool killed;
	bool restarted; /* in place of a killed one */
	const struct truth *truth;
};

struct report {
	const struct counted *workers;
	size_t count;
	double seconds; /* how long the workers ran */
	const struct scrape *scrape;
};

/* report_print - the whole report; true: every number is equal and no byte was wrong */
bool report_print(const struct report *report);

/* print_number - 1234567 as "1,234,567", in a buffer that is used again after 8 calls */
const char *print_number(uint64_t value);

#endif
