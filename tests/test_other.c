/* SPDX-License-Identifier: Apache-2.0 */
/* test_other.c - what is over a budget is added up in one series of its family, and counted */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../exporter/series.h"
#include "kvtap.h"
#include "support_exporter.h"
#include "support_page.h"
#include "support_segment.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct series_table table;
static struct budget budget; /* of a worker, without room for series */

static struct family *declare(uint8_t metric)
{
	struct kvtap_family_view view = { .name = { "f", 1 }, .metric = metric };
	struct budget roomy = { 0 };
	struct family *family;

	CHECK_EQ(series_table_init(&table), 0);
	CHECK_EQ(family_declare(&family, &table.families, &view, &roomy), 0);
	budget = (struct budget){ .series = WORKER_SERIES_MAX };
	return family;
}

static int get(struct series **series, struct family *family, const char *a, const char *b,
	       struct budget *of)
{
	struct series_label label[] = { { { "tier", 4 }, { a, (uint32_t)strlen(a) } },
					{ { "engine", 6 }, { b, (uint32_t)strlen(b) } } };

	return series_get(series, &table, family, label, 2, of);
}

static void check_label(const struct series *series, const char *expected)
{
	CHECK_EQ(series->label_bytes, strlen(expected));
	CHECK(!memcmp(series->label, expected, series->label_bytes));
}

TEST(other_is_the_value_of_every_label_of_a_series_over_the_budget)
{
	struct series *series, *again;
	struct family *family = declare(KVTAP_COUNTER);

	CHECK_EQ(get(&series, family, "\"quoted\\\n\xff", "0", &budget), -ENOSPC);
	check_label(series, "engine=\"other\",tier=\"other\"");
	CHECK(family->other == series && family->first == series);
	CHECK_EQ(get(&again, family, "1", "1", &budget), -ENOSPC);
	CHECK(again == series);
	CHECK_EQ(get(&again, family, "", "1", &budget),
		 -ENOSPC); /* other labels: still the first */
	CHECK(again == series);
	CHECK_EQ(table.refused, 3);
	CHECK_EQ(table.count, 1);
	CHECK_EQ(budget.series, WORKER_SERIES_MAX);
	series_table_free(&table);
}

TEST(other_leaves_out_labels_that_the_first_series_does_not_have)
{
	struct series *series;
	struct family *family = declare(KVTAP_HISTOGRAM);

	CHECK_EQ(get(&series, family, "1", "", &budget), -ENOSPC);
	check_label(series, "tier=\"other\"");
	CHECK_EQ(series->le_at, 0);
	series_table_free(&table);
}

TEST(other_is_shared_with_a_series_that_is_really_called_so)
{
	struct budget roomy = { 0 };
	struct series *named, *series;
	struct family *family = declare(KVTAP_COUNTER);

	CHECK_EQ(get(&named, family, "other", "other", &roomy), 0);
	CHECK_EQ(get(&series, family, "1", "1", &budget), -ENOSPC);
	CHECK(series == named);
	series_table_free(&table);
}

TEST(other_gets_no_series_that_was_there_before_or_comes_when_there_is_room_again)
{
	struct budget roomy = { 0 };
	struct series *series, *other;
	struct family *family = declare(KVTAP_COUNTER);

	CHECK_EQ(get(&series, family, "1", "1", &roomy), 0);
	CHECK_EQ(get(&other, family, "2", "2", &budget), -ENOSPC);
	CHECK_EQ(get(&other, family, "1", "1", &budget), 0);
	CHECK(other == series);
	budget.series--;
	CHECK_EQ(get(&series, family, "2", "2", &budget), 0);
	CHECK(series != family->other);
	CHECK(family->other);
	series_table_free(&table);
}

TEST(other_ends_like_any_series_and_another_may_follow)
{
	struct series *series;
	struct family *family = declare(KVTAP_COUNTER);

	family->users++;
	table.idle_timeout_ns = 1;
	CHECK_EQ(get(&series, family, "1", "1", &budget), -ENOSPC);
	CHECK(series_expire(&table, table.now_ns + 2));
	CHECK(!family->other);
	CHECK_EQ(table.families.taken.series, 0);
	CHECK_EQ(get(&series, family, "", "1", &budget), -ENOSPC);
	check_label(series, "engine=\"other\"");
	series_table_free(&table);
}

TEST(other_is_not_for_gauges)
{
	struct series *series;
	struct family *family = declare(KVTAP_GAUGE);

	CHECK_EQ(get(&series, family, "1", "1", &budget), -ENOSPC);
	CHECK(!series && !family->first);
	CHECK_EQ(table.refused, 1);
	series_table_free(&table);
}

/* Many families that each want one would be a way around the limit of all. */
TEST(other_may_use_an_eighth_more_than_all)
{
	struct budget roomy = { 0 };
	struct series *series;
	struct family *family = declare(KVTAP_COUNTER);

	table.families.limits.all.series = 8;
	table.families.taken.series = 8;
	CHECK_EQ(get(&series, family, "1", "1", &roomy), -ENOSPC);
	CHECK(series);
	CHECK_EQ(table.families.taken.series, 9);
	struct kvtap_family_view view = { .name = { "g", 1 }, .metric = KVTAP_COUNTER };
	CHECK_EQ(family_declare(&family, &table.families, &view, &roomy), 0);
	CHECK_EQ(get(&series, family, "1", "1", &roomy), -ENOSPC);
	CHECK(!series);
	CHECK_EQ(table.refused, 2);
	series_table_free(&table);
}

/* ---- the real exporter ---- */

#define SETS 40
#define OWN 10 /* that there is room for, with two series each */

static uint32_t kind_of(struct kvtap *tap)
{
	static const char *const label[] = { "text" };
	static const double bounds[] = { 100, 1000 };
	struct kvtap_family bytes = {
		.name = "moved", .metric = KVTAP_COUNTER, .label_names = label, .label_count = 1
	};
	struct kvtap_family sizes = { .name = "sizes",
				      .metric = KVTAP_HISTOGRAM,
				      .label_names = label,
				      .label_count = 1,
				      .bounds = bounds,
				      .bound_count = 2 };
	struct kvtap_feed feeds[] = { { .field = KVTAP_FIELD_BYTES },
				      { .field = KVTAP_FIELD_BYTES } };
	uint32_t kind;

	CHECK_EQ(kvtap_family_declare(tap, &feeds[0].family, &bytes), 0);
	CHECK_EQ(kvtap_family_declare(tap, &feeds[1].family, &sizes), 0);
	CHECK_EQ(kvtap_kind_declare(tap, &kind,
				    &(struct kvtap_kind){ .name = "move",
							  .label_names = label,
							  .label_count = 1,
							  .feeds = feeds,
							  .feed_count = 2 }),
		 0);
	return kind;
}

/* Set i moves 1 + i, then 101 + i, ... bytes: some are folded, some stand in the ring. */
static void record(struct kvtap *tap, const uint32_t series[SETS], int times)
{
	for (int k = 0; k < times; k++)
		for (uint64_t i = 0; i < SETS; i++)
			kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series[i],
								      .duration_ns = 1000,
								      .bytes = 1 + i +
									       100 * (uint64_t)k });
}

static uint64_t value_of(const struct page *page, const char *before, const char *text)
{
	char key[64];

	snprintf(key, sizeof(key), "%stext=\"%s\"}", before, text);
	return page_find(page, key) ? page_count(page, "%s", key) : 0;
}

/* Of all series of a family. */
static uint64_t sum_of(const struct page *page, const char *before)
{
	uint64_t sum = value_of(page, before, "other");

	for (int i = 0; i < SETS; i++) {
		char text[12];

		snprintf(text, sizeof(text), "%d", i);
		sum += value_of(page, before, text);
	}
	return sum;
}

TEST(other_and_the_series_with_a_place_add_up_to_all_that_was_recorded)
{
	static const char *const flags[] = { "--limit.worker-series=20", NULL };
	const uint64_t times = 7, records = times * SETS;
	const uint64_t bytes = times * SETS * (SETS + 1) / 2 + SETS * 100 * times * (times - 1) / 2;
	struct kvtap_options options = small_options();
	struct exporter exporter;
	struct kvtap *tap;
	uint32_t series[SETS];

	options.overflow_bytes = 16 * SMALL_OVERFLOW;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	uint32_t kind = kind_of(tap);
	for (int i = 0; i < SETS; i++) {
		char text[12];
		const char *const value[] = { text };

		snprintf(text, sizeof(text), "%d", i);
		CHECK_EQ(kvtap_kind_series(tap, &series[i], kind, value, 1), 0);
	}
	record(tap, series, (int)times);
	exporter_start(&exporter, flags);
	page_wait(&exporter, "kvtap_records_over_budget_total", (SETS - OWN) * (double)times);
	struct page *page = page_scrape(&exporter);
	CHECK(page_count(page, "kvtap_records_folded_total") > 0);
	CHECK_EQ(sum_of(page, "moved_total{"), bytes);
	CHECK_EQ(sum_of(page, "sizes_sum{"), bytes);
	CHECK_EQ(sum_of(page, "sizes_count{"), records);
	CHECK_EQ(sum_of(page, "sizes_bucket{le=\"100.0\","), SETS);
	CHECK_EQ(page_count(page, "sizes_count{text=\"0\"}"), times);
	CHECK_EQ(page_count(page, "kvtap_series_refused_total"), 2 * (SETS - OWN));
	CHECK_EQ(page_count(page, "kvtap_records_refused_total{reason=\"budget\"}"), 0);
	page_free(page);
	kvtap_close(tap);
	page_wait(&exporter, "kvtap_workers", 0);
	exporter_finish(&exporter);
}
