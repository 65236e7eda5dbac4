/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fixture.h - a table of series and the pages of it, without workers
 *
 * One family, each series with four labels as an HTTP server's counters have them.
 */
#ifndef KVTAP_BENCH_FIXTURE_H
#define KVTAP_BENCH_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "../exporter/pages.h"

#define FIXTURE_BOUNDS 14u /* of a histogram */

struct fixture {
	struct series_table table;
	struct publication *publication;
	struct pages *pages;
	struct family *family;
	uint32_t formats; /* bits */
	bool gzip;
};

/* fixture_begin - with formats and gzip set; metric: KVTAP_COUNTER or KVTAP_HISTOGRAM */
void fixture_begin(struct fixture *fixture, uint8_t metric, uint32_t count);
void fixture_end(struct fixture *fixture);
/* fixture_change - one series of every so many; some of each thing: integers of some digits, and a double */
void fixture_change(struct fixture *fixture, uint32_t every);

#endif
