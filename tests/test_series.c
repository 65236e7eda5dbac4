/* SPDX-License-Identifier: Apache-2.0 */
/* test_series.c - families by name, series by label set, escapes, conflicts */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../exporter/series.h"

static struct kvtap_text text(const char *string)
{
	return (struct kvtap_text){ string, (uint32_t)strlen(string) };
}

static const struct kvtap_text label_names[] = { { "tier", 4 }, { "zone", 4 } };
static const double bounds[] = { 1, 2.5 };

static struct kvtap_family_view view(const char *name, uint8_t metric, uint16_t labels)
{
	return (struct kvtap_family_view){
		.name = text(name),
		.help = text("Help."),
		.metric = metric,
		.labels = labels,
		.label = label_names,
		.bounds = metric == KVTAP_HISTOGRAM ? 2 : 0,
		.bound = bounds,
	};
}

static struct budget budget; /* of a worker */

static struct family *declare(struct series_table *table, const char *name, uint8_t metric)
{
	struct kvtap_family_view declared = view(name, metric, 0);
	struct family *family;
	int rc = family_declare(&family, &table->families, &declared, &budget);

	CHECK_EQ(!rc, !!family);
	return family;
}

static struct series *get_labels(struct series_table *table, struct family *family,
				 const struct series_label *labels, size_t count)
{
	struct series *series;
	int rc = series_get(&series, table, family, labels, count, &budget);

	CHECK_EQ(!rc, !!series);
	return series;
}

static struct series *get(struct series_table *table, struct family *family, const char *name_a,
			  const char *value_a, const char *name_b, const char *value_b)
{
	struct series_label labels[] = {
		{ text(name_a), text(value_a) },
		{ text(name_b), text(value_b) },
	};

	return get_labels(table, family, labels, 2);
}

static void check_label(const struct series *series, const char *expected)
{
	char label[256] = "";

	CHECK(series && series->label_bytes < sizeof(label));
	memcpy(label, series->label, series->label_bytes);
	CHECK_STR(label, expected);
}

TEST(family_declare_gives_the_same_family_again)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "a", KVTAP_HISTOGRAM);
	CHECK(family);
	CHECK(declare(&table, "a", KVTAP_HISTOGRAM) == family);
	CHECK_EQ(table.families.count, 1);
	CHECK_EQ(table.families.conflicts, 0);
	series_table_free(&table);
}

TEST(family_declare_ends_a_counter_in_total_once)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "vllm:bytes", KVTAP_COUNTER);
	CHECK_STR(family->name, "vllm:bytes_total");
	CHECK(declare(&table, "vllm:bytes_total", KVTAP_COUNTER) == family);
	CHECK_STR(declare(&table, "_total", KVTAP_COUNTER)->name, "_total_total");
	CHECK_STR(declare(&table, "total_bytes", KVTAP_COUNTER)->name, "total_bytes_total");
	series_table_free(&table);
}

TEST(family_declare_refuses_another_metric_labels_or_bounds)
{
	struct series_table table;
	struct kvtap_family_view other = view("h", KVTAP_HISTOGRAM, 0);
	struct family *family;

	CHECK_EQ(series_table_init(&table), 0);
	CHECK(declare(&table, "g", KVTAP_GAUGE));
	CHECK(!declare(&table, "g", KVTAP_HISTOGRAM));
	CHECK(declare(&table, "h", KVTAP_HISTOGRAM));
	other.bounds = 1;
	CHECK_EQ(family_declare(&family, &table.families, &other, &budget), -EEXIST);
	other = view("h", KVTAP_HISTOGRAM, 1);
	CHECK_EQ(family_declare(&family, &table.families, &other, &budget), -EEXIST);
	CHECK_EQ(table.families.conflicts, 3);
	CHECK_EQ(table.families.count, 2);
	series_table_free(&table);
}

TEST(family_declare_refuses_sample_names_of_another_family)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	CHECK(declare(&table, "h", KVTAP_HISTOGRAM));
	CHECK(!declare(&table, "h_count", KVTAP_GAUGE));
	CHECK(!declare(&table, "h_sum", KVTAP_GAUGE));
	CHECK(!declare(&table, "h_bucket", KVTAP_GAUGE));
	CHECK(declare(&table, "x_count", KVTAP_GAUGE));
	CHECK(!declare(&table, "x", KVTAP_HISTOGRAM));
	CHECK(declare(&table, "y_total", KVTAP_GAUGE));
	CHECK(!declare(&table, "y", KVTAP_COUNTER));
	CHECK(declare(&table, "h", KVTAP_COUNTER)); /* prints h_total, which is free */
	CHECK_EQ(table.families.conflicts, 5);
	series_table_free(&table);
}

TEST(family_declare_keeps_the_exporters_own_to_itself)
{
	struct series_table table;
	struct kvtap_family_view own = view("kvtap_series", KVTAP_GAUGE, 0);
	struct family *family;

	CHECK_EQ(series_table_init(&table), 0);
	CHECK_EQ(family_declare(&family, &table.families, &own, NULL), 0);
	CHECK_EQ(family_declare(&family, &table.families, &own, &budget), -EEXIST);
	CHECK_EQ(table.families.conflicts, 1);
	series_table_free(&table);
}

static int declare_of(struct series_table *table, struct budget *worker, int number)
{
	char name[32];

	snprintf(name, sizeof(name), "family_%d", number);
	struct kvtap_family_view declared = view(name, KVTAP_GAUGE, 0);
	struct family *family;
	return family_declare(&family, &table->families, &declared, worker);
}

TEST(family_declare_stops_at_the_budget_of_a_worker)
{
	struct series_table table;
	struct budget first = { 0 }, second = { 0 };

	CHECK_EQ(series_table_init(&table), 0);
	for (int i = 0; i < WORKER_FAMILIES_MAX; i++)
		CHECK_EQ(declare_of(&table, &first, i), 0);
	CHECK_EQ(declare_of(&table, &first, WORKER_FAMILIES_MAX), -ENOSPC);
	CHECK_EQ(declare_of(&table, &first, 7), 0);
	for (int i = 0; i < 2 * WORKER_FAMILIES_MAX; i++)
		CHECK_EQ(declare_of(&table, &second, i), 0); /* half of them there already */
	CHECK_EQ(declare_of(&table, &second, 2 * WORKER_FAMILIES_MAX), -ENOSPC);
	CHECK_EQ(declare_of(&table, &first, WORKER_FAMILIES_MAX), 0);
	CHECK_EQ(table.families.conflicts, 0);
	CHECK_EQ(table.families.count, 2 * WORKER_FAMILIES_MAX);
	series_table_free(&table);
}

TEST(family_declare_stops_at_the_budget_of_all)
{
	struct series_table table;
	struct budget worker;

	CHECK_EQ(series_table_init(&table), 0);
	for (int i = 0; i < FAMILIES_MAX; i++) {
		if (i % WORKER_FAMILIES_MAX == 0)
			worker = (struct budget){ 0 };
		CHECK_EQ(declare_of(&table, &worker, i), 0);
	}
	worker = (struct budget){ 0 };
	CHECK_EQ(declare_of(&table, &worker, FAMILIES_MAX), -ENOSPC);
	CHECK_EQ(declare_of(&table, &worker, 7), 0);
	CHECK_EQ(worker.families, 0);
	CHECK_EQ(table.families.conflicts, 0);
	series_table_free(&table);
}

TEST(series_get_sorts_labels_and_finds_the_same_again)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "g", KVTAP_GAUGE);
	struct series *series = get(&table, family, "tier", "1", "engine", "0");
	check_label(series, "engine=\"0\",tier=\"1\"");
	CHECK(get(&table, family, "engine", "0", "tier", "1") == series);
	CHECK(get(&table, family, "engine", "1", "tier", "1") != series);
	CHECK(get(&table, declare(&table, "other", KVTAP_GAUGE), "engine", "0", "tier", "1") !=
	      series);
	CHECK_EQ(table.count, 3);
	series_table_free(&table);
}

TEST(series_get_keeps_the_place_of_le)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "h", KVTAP_HISTOGRAM);
	CHECK_EQ(get(&table, family, "tier", "1", "engine", "0")->le_at, 11);
	CHECK_EQ(get(&table, family, "tier", "1", "zone", "0")->le_at, 0);
	CHECK_EQ(get(&table, family, "a", "1", "b", "2")->le_at, 11);
	CHECK_EQ(get_labels(&table, family, NULL, 0)->le_at, 0);
	CHECK_EQ(get(&table, family, "l", "1", "lea", "2")->le_at, 6);
	series_table_free(&table);
}

TEST(series_get_escapes_label_values)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "g", KVTAP_GAUGE);
	check_label(get(&table, family, "a", "q\"b\\n\nx", "b", "\xc3\xa9\xf0\x9f\x98\x80"),
		    "a=\"q\\\"b\\\\n\\nx\",b=\"\xc3\xa9\xf0\x9f\x98\x80\"");
	series_table_free(&table);
}

TEST(series_get_replaces_what_is_not_utf8)
{
#define R "\xef\xbf\xbd"
	static const struct {
		struct kvtap_text value;
		const char *expected;
	} cases[] = {
		{ { "a\0b", 3 }, "v=\"a" R "b\"" },
		{ { "\xff", 1 }, "v=\"" R "\"" },
		{ { "\xc0\xaf", 2 }, "v=\"" R R "\"" },		    /* overlong */
		{ { "\xe2\x82", 2 }, "v=\"" R R "\"" },		    /* cut off */
		{ { "\xed\xa0\x80", 3 }, "v=\"" R R R "\"" },	    /* surrogate */
		{ { "\xf4\x90\x80\x80", 4 }, "v=\"" R R R R "\"" }, /* beyond U+10FFFF */
		{ { "\xc3\"", 2 }, "v=\"" R "\\\"\"" },		    /* the quote stays one */
		{ { "\xe2\x82\xac", 3 }, "v=\"\xe2\x82\xac\"" },
		{ { "", 0 }, "" }, /* the same as no label */
	};
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "g", KVTAP_GAUGE);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct series_label label = { text("v"), cases[i].value };

		check_label(get_labels(&table, family, &label, 1), cases[i].expected);
	}
	series_table_free(&table);
}

TEST(series_get_refuses_a_label_that_stands_twice)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "h", KVTAP_HISTOGRAM);
	CHECK(!get(&table, family, "engine", "0", "engine", "1"));
	CHECK(!get(&table, family, "le", "0", "engine", "1"));
	CHECK_EQ(table.families.conflicts, 2);
	CHECK(get(&table, declare(&table, "g", KVTAP_GAUGE), "le", "0", "engine", "1"));
	CHECK_EQ(table.count, 1);
	series_table_free(&table);
}

TEST(series_get_takes_an_empty_value_for_no_label)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "h", KVTAP_HISTOGRAM);
	struct series *series = get(&table, family, "engine", "0", "model_name", "");
	check_label(series, "engine=\"0\"");
	CHECK_EQ(series->le_at, series->label_bytes);
	CHECK(get(&table, family, "engine", "0", "other", "") == series);
	CHECK(get(&table, family, "a", "", "engine", "0") == series);
	check_label(get(&table, family, "a", "", "z", "1"), "z=\"1\"");
	CHECK(get(&table, family, "a", "", "b", "") == get_labels(&table, family, NULL, 0));
	CHECK_EQ(table.count, 3);
	series_table_free(&table);
}

static int get_of(struct series_table *table, struct family *family, struct budget *worker,
		  const char *value)
{
	struct series_label label = { text("a"), text(value) };
	struct series *series;

	return series_get(&series, table, family, &label, 1, worker);
}

/* Either budget is used up but for less than a series: what is there stays. */
TEST(series_get_refuses_when_the_bytes_are_used_up)
{
	struct series_table table;
	struct budget first = { 0 }, second = { 0 };

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "g", KVTAP_GAUGE);
	CHECK_EQ(get_of(&table, family, &first, "0"), 0);
	first.bytes = WORKER_BYTES_MAX - 8;
	CHECK_EQ(get_of(&table, family, &first, "1"), -ENOSPC);
	CHECK_EQ(get_of(&table, family, &second, "1"), 0);
	table.families.taken.bytes = PAGE_BYTES_MAX - 8;
	CHECK_EQ(get_of(&table, family, &second, "2"), -ENOSPC);
	CHECK_EQ(get_of(&table, family, NULL, "own"), 0); /* the exporter's are not refused */
	CHECK_EQ(get_of(&table, family, &first, "0"), 0);
	CHECK_EQ(get_of(&table, family, &first, "1"), 0);
	CHECK_EQ(table.refused, 2);
	CHECK_EQ(table.count, 3);
	series_table_free(&table);
}

TEST(series_get_stops_at_the_series_of_a_worker)
{
	struct series_table table;
	struct budget worker = { .series = WORKER_SERIES_MAX - 1 };

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "g", KVTAP_GAUGE);
	CHECK_EQ(get_of(&table, family, &worker, "0"), 0);
	CHECK_EQ(get_of(&table, family, &worker, "1"), -ENOSPC);
	CHECK_EQ(get_of(&table, family, &worker, "0"), 0);
	series_table_free(&table);
}

/* A label of 4000 bytes that 67 lines of a histogram repeat. */
TEST(series_get_takes_a_budget_for_each_line)
{
	static const double bound[KVTAP_BOUNDS_MAX] = { 0 };
	struct kvtap_family_view declared = view("h", KVTAP_HISTOGRAM, 0);
	struct series_table table;
	struct family *family;
	char value[4001] = "";

	declared.bound = bound;
	declared.bounds = KVTAP_BOUNDS_MAX;
	memset(value, 'x', 4000);
	CHECK_EQ(series_table_init(&table), 0);
	CHECK_EQ(family_declare(&family, &table.families, &declared, &budget), 0);
	uint64_t before = budget.bytes;
	CHECK_EQ(get_of(&table, family, &budget, value), 0);
	CHECK(budget.bytes - before > 67 * 4000);
	CHECK(budget.bytes - before < 67 * 4200);
	series_table_free(&table);
}
