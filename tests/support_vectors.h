/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_vectors.h - what the real exporter tells of intervals, the last of which its stop ends
 *
 * What fails here fails the test. An engine's line is found by the label Engine, which ends it.
 */
#ifndef KVTAP_TESTS_SUPPORT_VECTORS_H
#define KVTAP_TESTS_SUPPORT_VECTORS_H

#include "kvtap.h"
#include "support_exporter.h"

#define INTERVAL_MODEL "m"

struct interval {
	struct exporter exporter;
	int stdout_fd; /* a file in memory */
	char *told;    /* all of its standard output; NUL-terminated */
	char *page;    /* a scrape of all that was recorded */
};

/* interval_tap - a tap of an engine; other options as given; NULL: defaults */
struct kvtap *interval_tap(const char *engine, const struct kvtap_options *options);
/* interval_series - kvtap_builtin */
uint32_t interval_series(struct kvtap *tap, const char *name,
			 const struct kvtap_builtin_labels *labels);

/*
 * interval_begin - start the exporter, with one interval until its stop
 *
 * What was recorded before is in the interval as well.
 */
void interval_begin(struct interval *interval);
/* interval_begin_with - with these flags, NULL-terminated */
void interval_begin_with(struct interval *interval, const char *const *flags);
/* interval_end - scrape, then stop it with SIGTERM */
void interval_end(struct interval *interval);
void interval_free(struct interval *interval);

/* interval_lines - how many it has told by now */
size_t interval_lines(struct interval *interval);
/**
 * interval_next - what it told of an engine, from after "KV Transfer metrics: "
 * @told: where to look from
 *
 * Returns: text that goes on to the end of all it told; NULL: nothing.
 */
const char *interval_next(const char *told, const char *engine);
/* interval_figures - the first of them */
const char *interval_figures(const struct interval *interval, const char *engine);
/* interval_check - what it told of an engine begins with these figures, whole */
void interval_check(const struct interval *interval, const char *engine, const char *figures);
/* interval_contains - the engine's line has this text */
bool interval_contains(const struct interval *interval, const char *engine, const char *text);

#endif
