/* SPDX-License-Identifier: Apache-2.0 */
/* test_page.c - golden text of the page */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../exporter/page.h"

static struct kvtap_text text(const char *string)
{
	return (struct kvtap_text){ string, (uint32_t)strlen(string) };
}

static struct budget budget; /* of a worker */

static struct family *declare(struct series_table *table, const char *name, const char *help,
			      uint8_t metric, uint8_t flags, const double *bound, uint16_t bounds)
{
	struct kvtap_family_view view = {
		.name = text(name),
		.help = text(help),
		.metric = metric,
		.flags = flags,
		.bounds = bounds,
		.bound = bound,
	};

	struct family *family;

	CHECK_EQ(family_declare(&family, &table->families, &view, &budget), 0);
	return family;
}

static struct series *get_labels(struct series_table *table, struct family *family,
				 const struct series_label *labels, size_t count)
{
	struct series *series;

	CHECK_EQ(series_get(&series, table, family, labels, count, &budget), 0);
	return series;
}

static struct series *get(struct series_table *table, struct family *family, const char *name,
			  const char *value)
{
	struct series_label labels[] = {
		{ text("model_name"), text("m") },
		{ text(name), text(value) },
	};

	return get_labels(table, family, labels, 2);
}

/* Also: no page is bigger than the budget that was taken for it. */
static void check_page(struct series_table *table, const char *expected)
{
	struct text page = { 0 };

	page_render(&page, table);
	CHECK(page.bytes <= table->families.taken.bytes);
	text_add_char(&page, '\0');
	CHECK(!page.failed);
	CHECK_STR(page.data, expected);
	text_free(&page);
	series_table_free(table);
}

TEST(page_is_empty_without_families)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	check_page(&table, "");
}

TEST(page_has_counters_and_gauges)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "b", "Bytes.", KVTAP_COUNTER, 0, NULL, 0);
	get(&table, family, "engine", "0")->sum[NUMBER_UNITS].word[0] = 42;
	get(&table, family, "tier", "a\"b")->sum[NUMBER_NANOSECONDS].word[0] = 1500000000;
	family = declare(&table, "a", "", KVTAP_GAUGE, 0, NULL, 0);
	get_labels(&table, family, NULL, 0)->value = 0.25;
	check_page(&table, "# HELP b_total Bytes.\n"
			   "# TYPE b_total counter\n"
			   "b_total{engine=\"0\",model_name=\"m\"} 42\n"
			   "b_total{model_name=\"m\",tier=\"a\\\"b\"} 1.5\n"
			   "# TYPE a gauge\n"
			   "a 0.25\n");
}

TEST(page_writes_gauges_that_are_no_numbers)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "g", "G.", KVTAP_GAUGE, 0, NULL, 0);
	get(&table, family, "e", "0")->value = NAN;
	get(&table, family, "e", "1")->value = INFINITY;
	get(&table, family, "e", "2")->value = -INFINITY;
	check_page(&table, "# HELP g G.\n# TYPE g gauge\n"
			   "g{e=\"0\",model_name=\"m\"} NaN\n"
			   "g{e=\"1\",model_name=\"m\"} +Inf\n"
			   "g{e=\"2\",model_name=\"m\"} -Inf\n");
}

TEST(page_escapes_help)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	declare(&table, "g", "a\\b\n\"c\" \xff", KVTAP_GAUGE, 0, NULL, 0);
	check_page(&table, "# HELP g a\\\\b\\n\"c\" \xef\xbf\xbd\n# TYPE g gauge\n");
}

TEST(page_has_no_sample_of_a_lazy_series_before_its_first_record)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family =
		declare(&table, "l", "L.", KVTAP_COUNTER, KVTAP_FAMILY_LAZY, NULL, 0);
	get(&table, family, "e", "0");
	get(&table, family, "e", "1")->seen = true;
	check_page(&table, "# HELP l_total L.\n# TYPE l_total counter\n"
			   "l_total{e=\"1\",model_name=\"m\"} 0\n");
}

TEST(page_puts_le_where_its_name_sorts)
{
	static const double bound[] = { 0.005, 1e6 };
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "h", "H.", KVTAP_HISTOGRAM, 0, bound, 2);
	struct series *series = get(&table, family, "engine", "0");
	series->bucket[0] = 1;
	series->bucket[1] = 2;
	series->bucket[2] = 4;
	series->sum[NUMBER_NANOSECONDS].word[0] = 12345678900;
	check_page(&table, "# HELP h H.\n# TYPE h histogram\n"
			   "h_bucket{engine=\"0\",le=\"0.005\",model_name=\"m\"} 1\n"
			   "h_bucket{engine=\"0\",le=\"1e+06\",model_name=\"m\"} 3\n"
			   "h_bucket{engine=\"0\",le=\"+Inf\",model_name=\"m\"} 7\n"
			   "h_sum{engine=\"0\",model_name=\"m\"} 12.3456789\n"
			   "h_count{engine=\"0\",model_name=\"m\"} 7\n");
}

TEST(page_puts_le_first_last_or_alone)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = declare(&table, "h", "H.", KVTAP_HISTOGRAM, 0, NULL, 0);
	struct series_label label = { text("z"), text("1") };
	get_labels(&table, family, &label, 1)->bucket[0] = 5;
	label.name = text("a");
	get_labels(&table, family, &label, 1);
	get_labels(&table, family, NULL, 0);
	check_page(&table, "# HELP h H.\n# TYPE h histogram\n"
			   "h_bucket{le=\"+Inf\",z=\"1\"} 5\nh_sum{z=\"1\"} 0\nh_count{z=\"1\"} 5\n"
			   "h_bucket{a=\"1\",le=\"+Inf\"} 0\nh_sum{a=\"1\"} 0\nh_count{a=\"1\"} 0\n"
			   "h_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n");
}

/* Nothing but the longest numbers: not much is left of the budget. */
TEST(page_is_not_bigger_than_its_budget_with_the_longest_numbers)
{
	static const double bound[] = { -1.2345678901234567e-300 };
	struct series_table table;
	struct text page = { 0 };

	CHECK_EQ(series_table_init(&table), 0);
	for (int metric = KVTAP_COUNTER; metric <= KVTAP_HISTOGRAM; metric++) {
		const char *const name[] = { "", "c", "g", "h" };
		struct family *family = declare(&table, name[metric], "", (uint8_t)metric, 0, bound,
						metric == KVTAP_HISTOGRAM);
		for (int i = 0; i < 100; i++) {
			char value[12];

			snprintf(value, sizeof(value), "%d", i);
			struct series *series = get(&table, family, "z", value);
			series->value = bound[0];
			memset(series->sum, 0x7f, 2 * sizeof(series->sum[0]));
			if (metric == KVTAP_HISTOGRAM)
				memset(series->bucket, 0x7f, 2 * sizeof(uint64_t));
		}
	}
	page_render(&page, &table);
	CHECK(!page.failed);
	CHECK(page.bytes <= table.families.taken.bytes);
	CHECK(page.bytes > table.families.taken.bytes / 3);
	text_free(&page);
	series_table_free(&table);
}

/* Count the lines that begin with prefix. */
static int lines(const char *page, const char *prefix)
{
	int count = 0;

	for (const char *line = page; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		count += !strncmp(line, prefix, strlen(prefix));
		if (!*line)
			break;
	}
	return count;
}

TEST(page_has_all_of_64_bounds)
{
	struct series_table table;
	struct text page = { 0 };
	double bound[KVTAP_BOUNDS_MAX];

	for (int i = 0; i < KVTAP_BOUNDS_MAX; i++)
		bound[i] = ldexp(1, i);
	CHECK_EQ(series_table_init(&table), 0);
	struct family *family =
		declare(&table, "h", "H.", KVTAP_HISTOGRAM, 0, bound, KVTAP_BOUNDS_MAX);
	struct series *series = get_labels(&table, family, NULL, 0);
	for (int i = 0; i <= KVTAP_BOUNDS_MAX; i++)
		series->bucket[i] = 1;
	page_render(&page, &table);
	text_add_char(&page, '\0');
	CHECK_EQ(lines(page.data, "h_bucket{"), 65);
	CHECK(strstr(page.data, "h_bucket{le=\"9.223372036854776e+18\"} 64\n"));
	CHECK(strstr(page.data, "h_bucket{le=\"+Inf\"} 65\n"));
	CHECK(strstr(page.data, "h_count 65\n"));
	text_free(&page);
	series_table_free(&table);
}
