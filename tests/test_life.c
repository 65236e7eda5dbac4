/* SPDX-License-Identifier: Apache-2.0 */
/* test_life.c - the end of series that nobody uses any more; the clock is the test's */
#include "test.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "../exporter/series.h"
#include "kvtap.h"
#include "support_exporter.h"
#include "support_page.h"
#include "support_segment.h"

#define SECOND 1000000000ull

static struct series_table table;
static uint64_t now_ns;

static void begin(void)
{
	CHECK_EQ(series_table_init(&table), 0);
	table.idle_timeout_ns = 3600 * SECOND;
	now_ns = table.now_ns;
}

/* Go on by so much; Returns: whether something was removed. */
static bool after(uint64_t duration_ns)
{
	now_ns += duration_ns;
	return series_expire(&table, now_ns);
}

static struct family *declare(const char *name, uint8_t metric, struct budget *budget)
{
	static const double bound[] = { 1, 2 };
	struct kvtap_family_view view = { .name = { name, (uint32_t)strlen(name) },
					  .metric = metric,
					  .gauge_mode = metric == KVTAP_GAUGE ? KVTAP_GAUGE_SUM : 0,
					  .bound = bound,
					  .bounds = metric == KVTAP_HISTOGRAM ? 2 : 0 };
	struct family *family;

	CHECK_EQ(family_declare(&family, &table.families, &view, budget), 0);
	return family;
}

static struct series *get(struct family *family, const char *value, struct budget *budget)
{
	struct series_label label = { { "a", 1 }, { value, (uint32_t)strlen(value) } };
	struct series *series;

	CHECK_EQ(series_get(&series, &table, family, &label, 1, budget), 0);
	return series;
}

TEST(life_of_a_series_ends_when_it_was_idle_for_the_time_and_not_before)
{
	struct budget budget = { 0 };

	begin();
	struct series *series = get(declare("a", KVTAP_HISTOGRAM, &budget), "1", &budget);
	series_hold(&table, series);
	CHECK(!after(3 * 3600 * SECOND)); /* its worker lives */
	series_release(&table, series);
	CHECK(!after(3599 * SECOND));
	CHECK_EQ(table.count, 1);
	CHECK(after(SECOND));
	CHECK_EQ(table.count, 0);
	series_table_free(&table);
}

TEST(life_of_a_series_begins_anew_when_a_worker_comes_back)
{
	struct budget budget = { 0 };

	begin();
	struct family *family = declare("a", KVTAP_COUNTER, &budget);
	struct series *series = get(family, "1", &budget);
	after(3599 * SECOND);
	CHECK(get(family, "1", &budget) == series);
	series_hold(&table, series);
	CHECK(!after(3600 * SECOND));
	series_release(&table, series);
	CHECK(!after(3599 * SECOND));
	CHECK(after(SECOND));
	series_table_free(&table);
}

TEST(life_of_a_series_ends_for_good_and_its_successor_counts_from_0)
{
	struct budget budget = { 0 };

	begin();
	struct family *family = declare("a", KVTAP_COUNTER, &budget);
	family->users++;
	kvtap_sum_add(&get(family, "1", &budget)->sum[NUMBER_UNITS], 77);
	uint64_t layout = family->layout;
	CHECK(after(3600 * SECOND));
	CHECK(family->layout != layout);
	CHECK(!family->first && !family->last);
	CHECK_EQ(get(family, "1", &budget)->sum[NUMBER_UNITS].word[0], 0);
	series_table_free(&table);
}

TEST(life_of_a_series_has_no_end_without_a_timeout)
{
	struct budget budget = { 0 };

	begin();
	table.idle_timeout_ns = 0;
	get(declare("a", KVTAP_COUNTER, &budget), "1", &budget);
	CHECK(!after(1000000 * SECOND));
	CHECK_EQ(table.count, 1);
	series_table_free(&table);
}

TEST(life_of_the_exporters_own_series_has_no_end)
{
	begin();
	get(declare("own", KVTAP_COUNTER, NULL), "1", NULL);
	declare("own_too", KVTAP_GAUGE, NULL);
	CHECK(!after(1000 * 3600 * SECOND));
	CHECK_EQ(table.count, 1);
	CHECK_EQ(table.families.count, 2);
	series_table_free(&table);
}

TEST(life_of_a_series_gives_back_all_of_its_budget)
{
	struct budget budget = { 0 };

	begin();
	struct family *family = declare("h", KVTAP_HISTOGRAM, &budget);
	get(family, "1", &budget);
	struct budget before = table.families.taken;
	family->users++;
	get(family, "\"quoted\" and longer", &budget);
	CHECK(table.families.taken.string_bytes > before.string_bytes + 19);
	table.idle_timeout_ns = 1;
	CHECK(after(SECOND));
	CHECK_EQ(table.families.taken.series, 0);
	get(family, "1", &budget);
	CHECK_EQ(table.families.taken.bytes, before.bytes);
	CHECK_EQ(table.families.taken.string_bytes, before.string_bytes);
	family_release(&table.families, family);
	after(SECOND);
	CHECK_EQ(table.families.taken.bytes, 0);
	CHECK_EQ(table.families.taken.string_bytes, 0);
	CHECK_EQ(table.families.taken.families, 0);
	series_table_free(&table);
}

TEST(life_of_a_family_ends_with_its_last_series_and_worker_and_its_name_is_free)
{
	struct budget budget = { 0 };

	begin();
	struct family *family = declare("a", KVTAP_HISTOGRAM, &budget);
	declare("b", KVTAP_COUNTER, &budget)->users++;
	family->users++;
	get(family, "1", &budget);
	CHECK(after(3600 * SECOND));
	CHECK_EQ(table.families.count, 2);
	family_release(&table.families, family);
	uint64_t members = table.families.members;
	CHECK(after(SECOND));
	CHECK_EQ(table.families.count, 1);
	CHECK_EQ(table.families.members, members + 1);
	CHECK_STR(table.families.family[0]->name, "b_total");
	declare("a_count", KVTAP_GAUGE, &budget);
	declare("a", KVTAP_GAUGE, &budget);
	CHECK_EQ(table.families.conflicts, 0);
	series_table_free(&table);
}

static struct series *removed[4];
static int removals;

static void note_removed(void *context, struct series *series)
{
	CHECK(context == &table);
	removed[removals++] = series;
}

TEST(life_of_a_series_can_end_while_it_stands_in_the_lists_of_what_changed)
{
	struct budget budget = { 0 };
	struct series *series[3];

	begin();
	table.removed = note_removed;
	table.context = &table;
	struct family *family = declare("a", KVTAP_COUNTER, &budget);
	for (int i = 0; i < 3; i++) {
		series[i] = get(family, (const char *[]){ "1", "2", "3" }[i], &budget);
		series_touch(&table, series[i]);
		if (i != 1)
			series_hold(&table, series[i]);
	}
	series_settle(&table);
	for (int i = 0; i < 3; i++)
		series_touch(&table, series[i]);
	CHECK(after(3600 * SECOND));
	CHECK_EQ(removals, 1);
	CHECK(removed[0] == series[1]);
	CHECK_EQ(table.changed.count, 2);
	CHECK(table.changed.series[0] == series[0] && table.changed.series[1] == series[2]);
	series_touch(&table, series[0]);
	series_settle(&table);
	CHECK_EQ(table.changed.count, 0);
	CHECK_EQ(table.unpublished.count, 2);
	CHECK(table.unpublished.series[0] == series[0]);
	CHECK(table.unpublished.series[1] == series[2]);
	CHECK(family->first == series[0] && series[0]->next == series[2]);
	series_table_free(&table);
}

TEST(life_of_a_worker_that_was_never_found_again_ends_with_its_gauges)
{
	static const uint8_t uuid[SERIES_UUID_BYTES] = { 1 };
	struct budget budget = { 0 };
	struct series *child;

	begin();
	table.removed = note_removed;
	table.context = &table;
	struct series *parent = get(declare("g", KVTAP_GAUGE, &budget), "1", &budget);
	CHECK_EQ(series_child(&child, &table, parent, uuid, &budget), 0);
	child->value = 5;
	child->seen = true;
	CHECK(after(3600 * SECOND)); /* its value is kept: the mode is sum */
	CHECK_EQ(removals, 1);
	CHECK(removed[0] == child);
	series_settle(&table);
	CHECK(parent->value == 5);
	CHECK(after(3600 * SECOND));
	CHECK_EQ(table.count, 0);
	series_table_free(&table);
}

TEST(life_ends_for_a_bounded_number_at_a_time_and_once_a_second)
{
	struct budget budget = { 0 };
	char value[16];

	begin();
	struct family *family = declare("a", KVTAP_COUNTER, &budget);
	for (int i = 0; i < 25000; i++) {
		snprintf(value, sizeof(value), "%d", i);
		get(family, value, &budget);
	}
	CHECK(after(3600 * SECOND));
	CHECK_EQ(table.count, 15000);
	/* those that were idle longest went */
	CHECK(!memcmp(family->first->label, "a=\"10000\"", family->first->label_bytes));
	CHECK(!after(SECOND - 1));
	CHECK_EQ(table.count, 15000);
	CHECK(after(1));
	CHECK(after(SECOND));
	CHECK_EQ(table.count, 0);
	series_table_free(&table);
}

/* A worker of each generation has 1,000 label sets that no other has. */
static void churn(int generation)
{
	struct budget budget = { 0 };
	struct series *series[1000];
	char value[64];

	struct family *family = declare("churn", KVTAP_HISTOGRAM, &budget);
	family->users++;
	for (int i = 0; i < 1000; i++) {
		snprintf(value, sizeof(value), "request-%d-%d", generation, i);
		series[i] = get(family, value, &budget);
		series_hold(&table, series[i]);
		series_touch(&table, series[i]);
	}
	series_settle(&table);
	for (int i = 0; i < 1000; i++)
		series_release(&table, series[i]);
	family_release(&table.families, family);
	after(600 * SECOND);
}

/* An hour is six generations. */
TEST(life_of_100000_label_sets_takes_memory_for_those_of_an_hour)
{
	size_t before_bytes = 0;

	begin();
	for (int generation = 0; generation < 100; generation++) {
		churn(generation);
		if (generation == 9)
			before_bytes = mallinfo2().uordblks;
		CHECK(table.count <= 7000);
		CHECK(table.families.taken.series == table.count);
	}
	CHECK(mallinfo2().uordblks <= before_bytes + 65536);
	CHECK(table.room <= 8192);
	after(3600 * SECOND);
	CHECK_EQ(table.count, 0);
	CHECK_EQ(table.families.count, 0);
	CHECK_EQ(table.families.taken.bytes, 0);
	CHECK_EQ(table.families.taken.string_bytes, 0);
	series_table_free(&table);
}

/* ---- the real exporter ---- */

static bool shows(struct exporter *exporter, const char *key)
{
	struct page *page = page_scrape(exporter);
	bool found = page_find(page, key);

	page_free(page);
	return found;
}

/* The test's time limit is the bound. */
TEST(life_of_the_series_of_a_closed_worker_ends_in_the_exporter_and_not_that_of_a_living_one)
{
	static const char *const flags[] = { "--series.idle-timeout=200ms", NULL };
	struct kvtap *tap[2] = { small_tap(), small_tap() };
	struct exporter exporter;

	for (int i = 0; i < 2; i++)
		kvtap_add(tap[i], counter_series(tap[i], i ? "stays" : "goes"), i + 1);
	exporter_start(&exporter, flags);
	page_wait(&exporter, "goes_total", 1);
	kvtap_close(tap[0]);
	while (shows(&exporter, "goes_total"))
		;
	page_wait(&exporter, "stays_total", 2);
	tap[0] = small_tap();
	kvtap_add(tap[0], counter_series(tap[0], "goes"), 5);
	page_wait(&exporter, "goes_total", 5);
	for (int i = 0; i < 2; i++)
		kvtap_close(tap[i]);
	page_wait(&exporter, "kvtap_workers", 0);
	exporter_finish(&exporter);
}
