/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_conflict.c - declarations that contradict each other, and values that are hard to print
 *
 * All taps are of this process: to the exporter each is a worker.
 */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support_exporter.h"
#include "support_page.h"
#include "support_segment.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CONFLICTS "kvtap_declaration_conflicts_total"
#define REFUSED(reason) "kvtap_records_refused_total{reason=\"" reason "\"}"

/* A tap with one series of one family, whose label values are all "v". */
static struct kvtap *declare(const struct kvtap_family *family, uint32_t *series)
{
	static const char *const values[] = { "v", "v" };
	struct kvtap *tap;
	uint32_t id;

	CHECK_EQ(kvtap_open(&tap, NULL), 0);
	CHECK_EQ(kvtap_family_declare(tap, &id, family), 0);
	CHECK_EQ(kvtap_family_series(tap, series, id, values, family->label_count), 0);
	return tap;
}

static unsigned times_said(const struct exporter *exporter, const char *text)
{
	unsigned times = 0;

	for (const char *at = exporter->log; at && (at = strstr(at, text)); at++)
		times++;
	return times;
}

static void close_all(struct exporter *exporter, struct kvtap **taps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		kvtap_close(taps[i]);
	page_wait(exporter, "kvtap_workers", 0);
	exporter_finish(exporter);
}

TEST(conflict_first_declaration_wins_and_the_others_are_counted_and_logged_once)
{
	static const double bounds[] = { 1, 2 }, others[] = { 1, 3 };
	static const char *const label[] = { "a", "b" }, *const other[] = { "a", "c" };
	static const struct kvtap_family first = { .name = "seen",
						   .metric = KVTAP_HISTOGRAM,
						   .label_names = label,
						   .label_count = 2,
						   .bounds = bounds,
						   .bound_count = 2 };
	struct kvtap_family metric = first, bound = first, fewer = first, labels = first;
	uint32_t series[5];
	struct kvtap *tap[5];
	struct exporter exporter;

	metric.metric = KVTAP_GAUGE;
	metric.bounds = NULL;
	metric.bound_count = 0;
	bound.bounds = others;
	fewer.bound_count = 1;
	labels.label_names = other;
	exporter_start(&exporter, NULL);
	tap[0] = declare(&first, &series[0]);
	kvtap_observe(tap[0], series[0], 1.5);
	page_wait(&exporter, "seen_count{a=\"v\",b=\"v\"}", 1);
	tap[1] = declare(&metric, &series[1]);
	kvtap_set(tap[1], series[1], 77);
	tap[2] = declare(&bound, &series[2]);
	tap[3] = declare(&fewer, &series[3]);
	tap[4] = declare(&labels, &series[4]);
	for (int i = 2; i < 5; i++)
		kvtap_observe(tap[i], series[i], 77);

	page_wait(&exporter, REFUSED("conflict"), 4);
	struct page *page = page_scrape(&exporter);
	CHECK_EQ(page_count(page, CONFLICTS), 4);
	CHECK_STR(page_family(page, "seen")->type, "histogram");
	CHECK_EQ(page_count(page, "seen_bucket{a=\"v\",b=\"v\",le=\"1.0\"}"), 0);
	CHECK_EQ(page_count(page, "seen_bucket{a=\"v\",b=\"v\",le=\"2.0\"}"), 1);
	CHECK_EQ(page_count(page, "seen_bucket{a=\"v\",b=\"v\",le=\"+Inf\"}"), 1);
	CHECK_EQ(page_scaled(page, 1, "seen_sum{a=\"v\",b=\"v\"}"), 15);
	CHECK_EQ(page_count(page, "kvtap_records_drained_total"), 5);
	CHECK(!page_find(page, "seen{a=\"v\",b=\"v\"}"));
	CHECK_EQ(times_said(&exporter, "family=seen"), 1);
	page_free(page);
	close_all(&exporter, tap, 5);
}

TEST(conflict_is_the_same_when_declared_again_by_a_worker_that_agrees)
{
	static const struct kvtap_family bare = { .name = "agreed", .metric = KVTAP_COUNTER };
	static const struct kvtap_family total = { .name = "agreed_total",
						   .help = "Another help is no conflict.",
						   .metric = KVTAP_COUNTER };
	struct exporter exporter;
	uint32_t series[2];
	struct kvtap *tap[2];

	exporter_start(&exporter, NULL);
	tap[0] = declare(&bare, &series[0]);
	kvtap_add(tap[0], series[0], 1);
	page_wait(&exporter, "agreed_total", 1);
	tap[1] = declare(&total, &series[1]);
	kvtap_add(tap[1], series[1], 2);
	page_wait(&exporter, "agreed_total", 3);
	page_wait(&exporter, CONFLICTS, 0);
	close_all(&exporter, tap, 2);
}

/* Two families whose samples would have the same names. */
TEST(conflict_is_found_between_the_samples_of_two_families)
{
	static const double bounds[] = { 1 };
	static const struct kvtap_family histogram = {
		.name = "x", .metric = KVTAP_HISTOGRAM, .bounds = bounds, .bound_count = 1
	};
	static const struct kvtap_family gauge = { .name = "x_count", .metric = KVTAP_GAUGE };
	struct exporter exporter;
	uint32_t series[2];
	struct kvtap *tap[2];

	exporter_start(&exporter, NULL);
	tap[0] = declare(&histogram, &series[0]);
	kvtap_observe(tap[0], series[0], 1);
	page_wait(&exporter, "x_count", 1);
	tap[1] = declare(&gauge, &series[1]);
	kvtap_set(tap[1], series[1], 77);
	page_wait(&exporter, REFUSED("conflict"), 1);
	page_wait(&exporter, "x_count", 1);
	close_all(&exporter, tap, 2);
}

TEST(conflict_with_a_family_of_the_exporter_leaves_that_alone)
{
	static const struct kvtap_family own[] = {
		{ .name = "kvtap_workers", .metric = KVTAP_GAUGE },
		{ .name = "process_cpu_seconds", .metric = KVTAP_COUNTER },
		{ .name = "process_open_fds", .metric = KVTAP_COUNTER }, /* ..._total: its own */
		{ .name = "process_threads", .metric = KVTAP_GAUGE },
		{ .name = "kvtap_records_drained_total", .metric = KVTAP_COUNTER },
	};
	struct exporter exporter;
	uint32_t series[COUNT(own)];
	struct kvtap *tap[COUNT(own)];

	exporter_start(&exporter, NULL);
	for (size_t i = 0; i < COUNT(own); i++) {
		tap[i] = declare(&own[i], &series[i]);
		if (own[i].metric == KVTAP_GAUGE)
			kvtap_set(tap[i], series[i], 1e9);
		else
			kvtap_add(tap[i], series[i], 1e9);
	}
	page_wait(&exporter, "kvtap_workers", COUNT(own));
	struct page *page = page_scrape(&exporter);
	CHECK_EQ(page_count(page, CONFLICTS), 4);
	CHECK_EQ(page_count(page, REFUSED("conflict")), 4);
	CHECK_EQ(page_count(page, "kvtap_records_drained_total"), COUNT(own));
	CHECK_EQ(page_count(page, "process_open_fds_total"), 1000000000);
	CHECK(page_number(page, "process_cpu_seconds_total") < 1e6);
	CHECK(page_number(page, "process_threads") < 100);
	CHECK(page_number(page, "process_open_fds") < 1000);
	page_free(page);
	close_all(&exporter, tap, COUNT(own));
}

/* ---- values that are hard to print ---- */

/* The label value as the format has it: \\, \" and \n, and U+FFFD for each byte that is no UTF-8. */
TEST(conflict_free_label_values_are_escaped_byte_for_byte)
{
	static const struct {
		const char *given, *printed;
	} value[] = {
		{ "", "" },
		{ "plain, {braces} = and 'quotes'\t", "plain, {braces} = and 'quotes'\t" },
		{ "\"quoted\"", "\\\"quoted\\\"" },
		{ "two\nlines\r", "two\\nlines\r" },
		{ "back\\slash\\n", "back\\\\slash\\\\n" },
		{ "\\\"\n", "\\\\\\\"\\n" },
		{ "gr\303\274\303\237e \360\237\230\200", "gr\303\274\303\237e \360\237\230\200" },
		{ "\377a\300\200", "\357\277\275a\357\277\275\357\277\275" },
		{ "cut \342\202", "cut \357\277\275\357\277\275" },
		{ "\355\240\200", "\357\277\275\357\277\275\357\277\275" }, /* a surrogate */
		{ "\364\220\200\200", "\357\277\275\357\277\275\357\277\275\357\277\275" },
	};
	static const char *const label[] = { "text" };
	struct exporter exporter;
	uint32_t family, series;
	struct kvtap *tap = small_tap();

	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){ .name = "texts",
							      .help = "A \\ and\na line.",
							      .metric = KVTAP_GAUGE,
							      .label_names = label,
							      .label_count = 1 }),
		 0);
	for (size_t i = 0; i < COUNT(value); i++) {
		CHECK_EQ(kvtap_family_series(tap, &series, family, &value[i].given, 1), 0);
		kvtap_set(tap, series, (double)i);
	}
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_records_drained_total", COUNT(value));
	struct page *page = page_scrape(&exporter);
	CHECK_EQ(page_count(page, "texts"), 0); /* an empty value is no label */
	for (size_t i = 1; i < COUNT(value); i++)
		CHECK_EQ(page_count(page, "texts{text=\"%s\"}", value[i].printed), i);
	CHECK_STR(page_family(page, "texts")->help, "A \\\\ and\\na line.");
	page_free(page);
	close_all(&exporter, &tap, 1);
}

/* Labels that Prometheus takes for the same must not stand on the page twice. */
TEST(conflict_free_workers_without_a_model_feed_the_series_of_an_empty_one)
{
	struct kvtap_options options = small_options();
	struct exporter exporter;
	struct kvtap *tap[2];

	options.engine = "0";
	CHECK_EQ(kvtap_open(&tap[0], &options), 0);
	options.model_name = "";
	CHECK_EQ(kvtap_open(&tap[1], &options), 0);
	for (int i = 0; i < 2; i++)
		kvtap_add(tap[i], counter_series(tap[i], "added"), i + 1);
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "added_total{engine=\"0\"}", 3);
	close_all(&exporter, tap, 2);
}

TEST(conflict_free_label_values_of_1000_characters_are_whole)
{
	static const char *const label[] = { "text" };
	char given[2][1001], printed[3001];
	const char *const values[] = { given[0], given[1] };
	struct exporter exporter;
	uint32_t family, series;
	struct kvtap *tap = small_tap();

	memset(given, 'x', sizeof(given));
	given[0][1000] = given[1][1000] = '\0';
	for (int i = 0; i < 1000; i += 3) /* with an escape in each three */
		given[1][i] = '\n';
	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){ .name = "texts",
							      .metric = KVTAP_GAUGE,
							      .label_names = label,
							      .label_count = 1 }),
		 0);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(kvtap_family_series(tap, &series, family, &values[i], 1), 0);
		kvtap_set(tap, series, i + 1);
	}
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_records_drained_total", 2);
	struct page *page = page_scrape(&exporter);
	CHECK_EQ(page_count(page, "texts{text=\"%s\"}", given[0]), 1);
	size_t used = 0;
	for (const char *c = given[1]; *c; c++)
		used += (size_t)sprintf(printed + used, *c == '\n' ? "\\n" : "x");
	CHECK_EQ(page_count(page, "texts{text=\"%s\"}", printed), 2);
	page_free(page);
	close_all(&exporter, &tap, 1);
}

TEST(conflict_free_gauge_takes_nan_and_infinities)
{
	static const double value[] = { NAN,  INFINITY, -INFINITY,
					-0.0, 5e-324,	1.7976931348623157e308 };
	static const char *const printed[] = { "NaN", "+Inf",	"-Inf",
					       "-0",  "5e-324", "1.7976931348623157e+308" };
	struct exporter exporter;
	uint32_t series[COUNT(value)];
	struct kvtap *tap = small_tap();
	char name[16];

	for (size_t i = 0; i < COUNT(value); i++) {
		snprintf(name, sizeof(name), "gauge_%zu", i);
		series[i] = gauge_series(tap, name);
		kvtap_set(tap, series[i], value[i]);
	}
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_records_drained_total", COUNT(value));
	struct page *page = page_scrape(&exporter);
	for (size_t i = 0; i < COUNT(value); i++) {
		snprintf(name, sizeof(name), "gauge_%zu", i);
		CHECK_STR(page_find(page, name), printed[i]);
	}
	page_free(page);
	close_all(&exporter, &tap, 1);
}

TEST(conflict_free_refused_values_are_counted_and_change_nothing)
{
	static const double bad[] = { NAN, INFINITY, -INFINITY, -1 };
	static const double bounds[] = { 1 };
	struct kvtap_stats stats;
	struct exporter exporter;
	struct kvtap *tap = small_tap();
	uint32_t counter = counter_series(tap, "added"), gauge = gauge_series(tap, "set");
	uint32_t histogram = histogram_series(tap, "observed", bounds, 1);

	for (size_t i = 0; i < COUNT(bad); i++)
		kvtap_add(tap, counter, bad[i]);
	for (int i = 0; i < 3; i++) /* -1 is a good observation */
		kvtap_observe(tap, histogram, bad[i]);
	kvtap_add(tap, 0, 1);		/* no such series, known to the worker */
	kvtap_observe(tap, counter, 1); /* not what they take, known to the exporter */
	kvtap_add(tap, gauge, 1);
	kvtap_set(tap, 77, 1); /* not declared */
	kvtap_add(tap, counter, 3);
	kvtap_observe(tap, histogram, -1);
	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.refused_records, 8);
	exporter_start(&exporter, NULL);
	page_wait(&exporter, REFUSED("worker"), 8);
	struct page *page = page_scrape(&exporter);
	CHECK_EQ(page_count(page, REFUSED("operation")), 2);
	CHECK_EQ(page_count(page, REFUSED("series")), 1);
	CHECK_EQ(page_count(page, REFUSED("value")), 0);
	CHECK_EQ(page_count(page, "added_total"), 3);
	CHECK_EQ(page_count(page, "observed_count"), 1);
	CHECK_STR(page_find(page, "observed_sum"), "-1");
	CHECK_EQ(page_count(page, "set"), 0);
	CHECK_EQ(page_count(page, "kvtap_records_lost_total"), 0);
	page_free(page);
	close_all(&exporter, &tap, 1);
}
