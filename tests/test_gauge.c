/* SPDX-License-Identifier: Apache-2.0 */
/* test_gauge.c - what a gauge shows that several workers set, while they live and when they end */
#include "test.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../exporter/series.h"
#include "kvtap.h"
#include "support_exporter.h"
#include "support_page.h"
#include "support_segment.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const modes[] = { "livemostrecent", "mostrecent", "livesum", "sum",
				     "livemax",	       "max",	     "livemin", "min",
				     "liveall",	       "all" };

/* ---- in this process ---- */

static struct series_table table;
static struct budget budget;
static const uint8_t uuid[3][SERIES_UUID_BYTES] = { { 7, 1 }, { 7, 2 }, { 9, 3 } };

static struct family *declare(enum kvtap_gauge_mode mode, uint8_t flags)
{
	const char *name = modes[mode];
	struct kvtap_family_view view = { .name = { name, (uint32_t)strlen(name) },
					  .metric = KVTAP_GAUGE,
					  .flags = flags,
					  .gauge_mode = (uint8_t)mode };
	struct family *family;

	CHECK_EQ(family_declare(&family, &table.families, &view, &budget), 0);
	return family;
}

static struct series *gauge(enum kvtap_gauge_mode mode, uint8_t flags)
{
	struct series *series;

	CHECK_EQ(series_get(&series, &table, declare(mode, flags), NULL, 0, &budget), 0);
	return series;
}

static struct series *child_of(struct series *parent, int worker)
{
	struct series *child;

	CHECK_EQ(series_child(&child, &table, parent, uuid[worker], &budget), 0);
	return child;
}

static void set(struct series *child, double value, uint64_t when_ns)
{
	child->value = value;
	child->value_ns = when_ns;
	child->seen = true;
	series_touch(&table, child);
}

/* A gauge of a mode with a child for each of two workers. */
static struct series *two(enum kvtap_gauge_mode mode, double a, double b)
{
	struct series *parent = gauge(mode, 0);

	set(child_of(parent, 0), a, 90);
	set(child_of(parent, 1), b, 100);
	series_settle(&table);
	return parent;
}

TEST(gauge_shows_what_its_mode_says_when_workers_end_one_by_one)
{
	static const struct {
		double both, first_ended, none; /* none: NaN, it is gone */
	} expected[] = {
		[KVTAP_GAUGE_LIVEMOSTRECENT] = { 3, 3, NAN },
		[KVTAP_GAUGE_MOSTRECENT] = { 3, 3, 3 },
		[KVTAP_GAUGE_LIVESUM] = { 8, 3, NAN },
		[KVTAP_GAUGE_SUM] = { 8, 8, 8 },
		[KVTAP_GAUGE_LIVEMAX] = { 5, 3, NAN },
		[KVTAP_GAUGE_MAX] = { 5, 5, 5 },
		[KVTAP_GAUGE_LIVEMIN] = { 3, 3, NAN },
		[KVTAP_GAUGE_MIN] = { 3, 3, 3 },
	};

	for (int mode = 0; mode < KVTAP_GAUGE_LIVEALL; mode++) {
		CHECK_EQ(series_table_init(&table), 0);
		struct series *parent = two((enum kvtap_gauge_mode)mode, 5, 3);
		struct family *family = parent->family;
		CHECK(parent->value == expected[mode].both);
		CHECK(series_end_worker(&table, uuid[0]));
		series_settle(&table);
		CHECK(parent->value == expected[mode].first_ended);
		CHECK(series_end_worker(&table, uuid[1]));
		series_settle(&table);
		CHECK_EQ(!family->first, isnan(expected[mode].none));
		CHECK(!family->first || family->first->value == expected[mode].none);
		CHECK_EQ(table.children, 0);
		series_table_free(&table);
	}
}

TEST(gauge_shows_the_latest_when_the_worker_that_set_it_last_ends)
{
	CHECK_EQ(series_table_init(&table), 0);
	struct series *live = two(KVTAP_GAUGE_LIVEMOSTRECENT, 5, 3);
	struct series *kept = two(KVTAP_GAUGE_MOSTRECENT, 5, 3);
	series_end_worker(&table, uuid[1]);
	series_settle(&table);
	CHECK(live->value == 5);
	CHECK(kept->value == 3);
	set(kept->gauge.first_child, 6, 101);
	series_settle(&table);
	CHECK(kept->value == 6);
	series_table_free(&table);
}

TEST(gauge_least_and_greatest_ignore_nan_and_a_sum_does_not)
{
	CHECK_EQ(series_table_init(&table), 0);
	CHECK(two(KVTAP_GAUGE_MAX, NAN, -3)->value == -3);
	CHECK(two(KVTAP_GAUGE_LIVEMAX, -3, NAN)->value == -3);
	CHECK(two(KVTAP_GAUGE_MIN, 3, NAN)->value == 3);
	CHECK(two(KVTAP_GAUGE_LIVEMIN, NAN, 3)->value == 3);
	CHECK(isnan(two(KVTAP_GAUGE_SUM, 3, NAN)->value));
	series_table_free(&table);
}

TEST(gauge_that_a_worker_never_set_does_not_count)
{
	CHECK_EQ(series_table_init(&table), 0);
	struct series *parent = gauge(KVTAP_GAUGE_MIN, 0);
	child_of(parent, 0);
	set(child_of(parent, 1), 4, 1);
	series_settle(&table);
	CHECK(parent->value == 4);
	series_end_worker(&table, uuid[0]);
	CHECK(parent->gauge.first_child && !parent->gauge.kept);
	series_table_free(&table);
}

TEST(gauge_of_a_worker_is_the_same_when_it_is_asked_for_again)
{
	CHECK_EQ(series_table_init(&table), 0);
	struct series *parent = gauge(KVTAP_GAUGE_SUM, 0);
	struct series *child = child_of(parent, 0);
	CHECK(child_of(parent, 2) != child);
	CHECK(child_of(parent, 0) == child);
	CHECK_EQ(table.children, 2);
	CHECK_EQ(table.count, 3);
	CHECK_EQ(budget.series, 3);
	CHECK(parent->family->first == parent && parent->family->last == parent);
	series_table_free(&table);
}

TEST(gauge_of_a_worker_stays_while_another_uses_the_same_uuid)
{
	CHECK_EQ(series_table_init(&table), 0);
	struct series *parent = gauge(KVTAP_GAUGE_LIVESUM, 0);
	struct series *child = child_of(parent, 0);
	series_hold(&table, child);
	CHECK(!series_end_worker(&table, uuid[0]));
	CHECK(parent->gauge.first_child == child);
	series_release(&table, child);
	CHECK(series_end_worker(&table, uuid[0]));
	CHECK_EQ(table.count, 0);
	CHECK_EQ(table.families.taken.series, 0);
	series_table_free(&table);
}

TEST(gauge_that_is_lazy_changes_the_layout_when_it_is_first_set_and_when_it_goes)
{
	CHECK_EQ(series_table_init(&table), 0);
	struct series *parent = gauge(KVTAP_GAUGE_LIVEMAX, KVTAP_FAMILY_LAZY);
	struct series *child = child_of(parent, 0);
	child_of(parent, 1);
	uint64_t layout = parent->family->layout;
	series_settle(&table);
	CHECK_EQ(parent->family->layout, layout);
	set(child, 1, 1);
	series_settle(&table);
	CHECK(parent->seen);
	CHECK(parent->family->layout != layout);
	layout = parent->family->layout;
	set(child, 2, 2);
	series_settle(&table);
	CHECK_EQ(parent->family->layout, layout);
	series_end_worker(&table, uuid[0]);
	series_settle(&table);
	CHECK(!parent->seen);
	CHECK(parent->family->layout != layout);
	series_table_free(&table);
}

/* The list of what is to be published has the gauge, once, and none of its children. */
TEST(gauge_is_published_instead_of_its_children)
{
	CHECK_EQ(series_table_init(&table), 0);
	struct series *parent = two(KVTAP_GAUGE_SUM, 1, 2);
	series_touch(&table, parent);
	series_touch(&table, parent->gauge.first_child);
	series_settle(&table);
	CHECK_EQ(table.changed.count, 0);
	CHECK_EQ(table.unpublished.count, 1);
	CHECK(table.unpublished.series[0] == parent);
	series_table_free(&table);
}

TEST(gauge_over_the_budget_of_its_worker_leaves_nothing_behind)
{
	struct series *child;
	struct series *parent;

	CHECK_EQ(series_table_init(&table), 0);
	table.families.limits.worker.series = 1;
	struct family *family = declare(KVTAP_GAUGE_SUM, 0);
	struct budget before = budget, all = table.families.taken;
	CHECK_EQ(series_get(&parent, &table, family, NULL, 0, &budget), 0);
	CHECK_EQ(series_child(&child, &table, parent, uuid[0], &budget), -ENOSPC);
	CHECK(!child && !family->first);
	CHECK_EQ(table.refused, 1);
	CHECK_EQ(budget.bytes, before.bytes);
	CHECK_EQ(budget.series, before.series);
	CHECK_EQ(table.families.taken.bytes, all.bytes);
	CHECK_EQ(table.families.taken.series, all.series);
	series_table_free(&table);
}

/* ---- workers and the real exporter ---- */

static _Noreturn void set_and_wait(double value)
{
	struct kvtap *tap = small_tap();

	for (size_t i = 0; i < COUNT(modes); i++) {
		struct kvtap_family family = { .name = modes[i],
					       .metric = KVTAP_GAUGE,
					       .gauge_mode = (enum kvtap_gauge_mode)i };
		uint32_t id, series;

		CHECK_EQ(kvtap_family_declare(tap, &id, &family), 0);
		CHECK_EQ(kvtap_family_series(tap, &series, id, NULL, 0), 0);
		kvtap_set(tap, series, value);
	}
	close(STDOUT_FILENO); /* tells that it is done */
	for (;;)
		pause();
}

/* A worker that has set its gauges of all modes, and lives. */
static pid_t setter(double value)
{
	int ends[2];
	char nothing;

	CHECK_EQ(pipe(ends), 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		set_and_wait(value);
	}
	close(ends[1]);
	CHECK_EQ(read(ends[0], &nothing, 1), 0);
	close(ends[0]);
	return pid;
}

static void kill_worker(pid_t pid)
{
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static double of_pid(const struct page *page, const char *name, pid_t pid)
{
	char key[64];

	snprintf(key, sizeof(key), "%s{pid=\"%d\"}", name, (int)pid);
	return page_find(page, key) ? page_number(page, key) : NAN;
}

/* Each mode's value, and what is shown of the workers one by one; NaN: nothing. */
static void check_page(struct exporter *exporter, const double expected[8], const pid_t pid[2],
		       const double liveall[2])
{
	struct page *page = page_scrape(exporter);

	for (int i = 0; i < 8; i++) {
		CHECK_EQ(!page_find(page, modes[i]), isnan(expected[i]));
		CHECK(isnan(expected[i]) || page_number(page, modes[i]) == expected[i]);
	}
	for (int i = 0; i < 2; i++) {
		double shown = of_pid(page, "liveall", pid[i]);

		CHECK(shown == liveall[i] || (isnan(shown) && isnan(liveall[i])));
		CHECK(of_pid(page, "all", pid[i]) == (i ? 3 : 5));
	}
	page_free(page);
}

TEST(gauge_of_killed_workers_goes_or_stays_as_its_mode_says)
{
	struct exporter exporter;
	pid_t pid[2];

	exporter_start(&exporter, NULL);
	pid[0] = setter(5);
	pid[1] = setter(3);
	page_wait(&exporter, "sum", 8);
	check_page(&exporter, (double[]){ 3, 3, 8, 8, 5, 5, 3, 3 }, pid, (double[]){ 5, 3 });
	kill_worker(pid[0]);
	page_wait(&exporter, "kvtap_workers_dead_total", 1);
	check_page(&exporter, (double[]){ 3, 3, 3, 8, 3, 5, 3, 3 }, pid, (double[]){ NAN, 3 });
	kill_worker(pid[1]);
	page_wait(&exporter, "kvtap_workers_dead_total", 2);
	check_page(&exporter, (double[]){ NAN, 3, NAN, 8, NAN, 5, NAN, 3 }, pid,
		   (double[]){ NAN, NAN });
	exporter_finish(&exporter);
}

TEST(gauge_of_another_mode_than_the_first_is_a_conflict)
{
	struct kvtap *tap[2] = { small_tap(), small_tap() };
	struct exporter exporter;
	uint32_t family, series[2];

	for (int i = 0; i < 2; i++) {
		CHECK_EQ(kvtap_family_declare(tap[i], &family,
					      &(struct kvtap_family){
						      .name = "depth",
						      .metric = KVTAP_GAUGE,
						      .gauge_mode = i ? KVTAP_GAUGE_SUM
								      : KVTAP_GAUGE_MAX }),
			 0);
		CHECK_EQ(kvtap_family_series(tap[i], &series[i], family, NULL, 0), 0);
		kvtap_set(tap[i], series[i], 4);
	}
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_records_refused_total{reason=\"conflict\"}", 1);
	page_wait(&exporter, "kvtap_declaration_conflicts_total", 1);
	page_wait(&exporter, "depth", 4);
	for (int i = 0; i < 2; i++)
		kvtap_close(tap[i]);
	page_wait(&exporter, "kvtap_workers", 0);
	exporter_finish(&exporter);
}
