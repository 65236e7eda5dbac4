/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_parts.h - the exporter's parts in the test's own process, from its folder to its page
 *
 * What fails here fails the test.
 */
#ifndef KVTAP_TESTS_SUPPORT_PARTS_H
#define KVTAP_TESTS_SUPPORT_PARTS_H

#include <stdbool.h>

#include "../exporter/discover.h"
#include "../exporter/drain.h"
#include "../exporter/interval_text.h"

struct parts {
	struct series_table table;
	struct self self;
	struct journal *journal;
	struct intervals *intervals;
	struct drain *drain;
	struct discover *discover;
	struct text page;
	struct text lines; /* of the last interval that ended */
};

/* parts_begin - as the exporter starts, on the namespace "default" of test_folder() */
void parts_begin(struct parts *exporter, bool rank_label);
/* parts_begin_samples - the same with another limit of samples in an interval */
void parts_begin_samples(struct parts *exporter, bool rank_label, size_t samples);
/* parts_end - as it ends; its state stays in the folder */
void parts_end(struct parts *exporter);

/* parts_render - make the page; NUL-terminated */
void parts_render(struct parts *exporter);
/* parts_scrape - look for workers, drain all, and make the page */
void parts_scrape(struct parts *exporter);
/* parts_has - whether the page has this line */
bool parts_has(const struct parts *exporter, const char *line);
/* parts_scrape_until - scrape until the page has the line; the test's time limit is the bound */
void parts_scrape_until(struct parts *exporter, const char *line);

/*
 * parts_interval - end the interval; Returns: its lines, each from "metrics: " on, or as JSON; valid
 * to the next call
 */
const char *parts_interval(struct parts *exporter);
const char *parts_interval_json(struct parts *exporter);

#endif
