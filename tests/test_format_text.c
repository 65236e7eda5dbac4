/* SPDX-License-Identifier: Apache-2.0 */
/* test_format_text.c - golden text of pages in text 0.0.4 and OpenMetrics */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_render.h"
#include "support_table.h"

/* Also: no page is bigger than the budget that was taken for it. */
static void check_page(struct series_table *table, enum page_format format, const char *expected)
{
	struct text page = { 0 };

	format_classify(&table->families);
	render_page(&page, table, format);
	CHECK(page.bytes <= table->families.taken.bytes + strlen(format_tail(format)));
	text_add_char(&page, '\0');
	CHECK(!page.failed);
	CHECK_STR(page.data, expected);
	text_free(&page);
}

static void check_text(struct series_table *table, const char *expected)
{
	check_page(table, PAGE_TEXT, expected);
	series_table_free(table);
}

static void check_openmetrics(struct series_table *table, const char *expected)
{
	check_page(table, PAGE_OPENMETRICS, expected);
	series_table_free(table);
}

TEST(format_text_is_empty_without_families)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	check_page(&table, PAGE_OPENMETRICS, "# EOF\n");
	check_text(&table, "");
}

TEST(format_text_has_counters_and_gauges)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "b", "Bytes.", KVTAP_COUNTER, 0, NULL, 0);
	table_get(&table, family, "engine", "0")->sum[NUMBER_UNITS].word[0] = 42;
	table_get(&table, family, "tier", "a\"b")->sum[NUMBER_NANOSECONDS].word[0] = 1500000000;
	family = table_declare(&table, "a", "", KVTAP_GAUGE, 0, NULL, 0);
	table_get_labels(&table, family, NULL, 0)->value = -0.25;
	check_page(&table, PAGE_OPENMETRICS,
		   "# HELP b Bytes.\n"
		   "# TYPE b counter\n"
		   "b_total{engine=\"0\",model_name=\"m\"} 000000000000000000000042\n"
		   "b_total{model_name=\"m\",tier=\"a\\\"b\"} 00000000000001.500000000\n"
		   "# TYPE a gauge\n"
		   "a -0000000.250000000000000\n"
		   "# EOF\n");
	check_text(&table, "# HELP b_total Bytes.\n"
			   "# TYPE b_total counter\n"
			   "b_total{engine=\"0\",model_name=\"m\"} 000000000000000000000042\n"
			   "b_total{model_name=\"m\",tier=\"a\\\"b\"} 00000000000001.500000000\n"
			   "# TYPE a gauge\n"
			   "a -0000000.250000000000000\n");
}

TEST(format_text_writes_gauges_that_are_no_numbers)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "g", "G.", KVTAP_GAUGE, 0, NULL, 0);
	table_get(&table, family, "e", "0")->value = NAN;
	table_get(&table, family, "e", "1")->value = INFINITY;
	table_get(&table, family, "e", "2")->value = -INFINITY;
	check_page(&table, PAGE_OPENMETRICS,
		   "# HELP g G.\n# TYPE g gauge\n"
		   "g{e=\"0\",model_name=\"m\"} NaN\n"
		   "g{e=\"1\",model_name=\"m\"} +Inf\n"
		   "g{e=\"2\",model_name=\"m\"} -Inf\n"
		   "# EOF\n");
	check_text(&table, "# HELP g G.\n# TYPE g gauge\n"
			   "g{e=\"0\",model_name=\"m\"}                      NaN\n"
			   "g{e=\"1\",model_name=\"m\"}                     +Inf\n"
			   "g{e=\"2\",model_name=\"m\"}                     -Inf\n");
}

TEST(format_text_escapes_help)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	table_declare(&table, "g", "a\\b\n\"c\" \xff", KVTAP_GAUGE, 0, NULL, 0);
	check_page(&table, PAGE_OPENMETRICS,
		   "# HELP g a\\\\b\\n\\\"c\\\" \xef\xbf\xbd\n# TYPE g gauge\n# EOF\n");
	check_text(&table, "# HELP g a\\\\b\\n\"c\" \xef\xbf\xbd\n# TYPE g gauge\n");
}

TEST(format_text_has_no_sample_of_a_lazy_series_before_its_first_record)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family =
		table_declare(&table, "l", "L.", KVTAP_COUNTER, KVTAP_FAMILY_LAZY, NULL, 0);
	table_get(&table, family, "e", "0");
	table_get(&table, family, "e", "1")->seen = true;
	check_text(&table, "# HELP l_total L.\n# TYPE l_total counter\n"
			   "l_total{e=\"1\",model_name=\"m\"} 000000000000000000000000\n");
}

TEST(format_text_puts_le_where_its_name_sorts)
{
	static const double bound[] = { 0.005, 1e6 };
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "h", "H.", KVTAP_HISTOGRAM, 0, bound, 2);
	struct series *series = table_get(&table, family, "engine", "0");
	series->bucket[0] = 1;
	series->bucket[1] = 2;
	series->bucket[2] = 4;
	series->sum[NUMBER_NANOSECONDS].word[0] = 12345678900;
	check_text(&table,
		   "# HELP h H.\n# TYPE h histogram\n"
		   "h_bucket{engine=\"0\",le=\"0.005\",model_name=\"m\"} 00000000000000000001\n"
		   "h_bucket{engine=\"0\",le=\"1e+06\",model_name=\"m\"} 00000000000000000003\n"
		   "h_bucket{engine=\"0\",le=\"+Inf\",model_name=\"m\"} 00000000000000000007\n"
		   "h_sum{engine=\"0\",model_name=\"m\"} 00000000000012.345678900\n"
		   "h_count{engine=\"0\",model_name=\"m\"} 00000000000000000007\n");
}

#define ZERO20 "00000000000000000000"
#define ZERO24 ZERO20 "0000"

TEST(format_text_puts_le_first_last_or_alone)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "h", "H.", KVTAP_HISTOGRAM, 0, NULL, 0);
	struct series_label label = { table_text("z"), table_text("1") };
	table_get_labels(&table, family, &label, 1)->bucket[0] = 5;
	label.name = table_text("a");
	table_get_labels(&table, family, &label, 1);
	table_get_labels(&table, family, NULL, 0);
	check_text(&table,
		   "# HELP h H.\n# TYPE h histogram\n"
		   "h_bucket{le=\"+Inf\",z=\"1\"} 00000000000000000005\nh_sum{z=\"1\"} " ZERO24
		   "\nh_count{z=\"1\"} 00000000000000000005\n"
		   "h_bucket{a=\"1\",le=\"+Inf\"} " ZERO20 "\nh_sum{a=\"1\"} " ZERO24
		   "\nh_count{a=\"1\"} " ZERO20 "\n"
		   "h_bucket{le=\"+Inf\"} " ZERO20 "\nh_sum " ZERO24 "\nh_count " ZERO20 "\n");
}

TEST(format_text_shows_an_exemplar_in_openmetrics_alone)
{
	static const double bound[] = { 0.005 };
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "h", "", KVTAP_HISTOGRAM, 0, bound, 1);
	struct series *series = table_get_labels(&table, family, NULL, 0);
	table_record(&table, series, 12300000, UINT64_MAX);
	CHECK(exemplar_turn(series->exemplars, 2000000001, 1700000000000000005));
	check_page(&table, PAGE_OPENMETRICS,
		   "# TYPE h histogram\n"
		   "h_bucket{le=\"0.005\"} 00000000000000000000\n"
		   "h_bucket{le=\"+Inf\"} 00000000000000000001 # "
		   "{request_id=\"18446744073709551615\","
		   "duration_seconds=\"0.0123\"} 0.0123 1699999998.000000004\n"
		   "h_sum 00000000000000.012300000\n"
		   "h_count 00000000000000000001\n"
		   "# EOF\n");
	check_text(&table, "# TYPE h histogram\n"
			   "h_bucket{le=\"0.005\"} 00000000000000000000\n"
			   "h_bucket{le=\"+Inf\"} 00000000000000000001\n"
			   "h_sum 00000000000000.012300000\n"
			   "h_count 00000000000000000001\n");
}

TEST(format_text_leaves_out_the_sum_that_openmetrics_forbids)
{
	static const double bound[] = { -1 }, above[] = { 1 };
	struct series_table table;
	double minus = -2;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "h", "", KVTAP_HISTOGRAM, 0, bound, 1);
	table_get_labels(&table, family, NULL, 0)->bucket[1] = 1;
	family = table_declare(&table, "i", "", KVTAP_HISTOGRAM, 0, above, 1);
	memcpy(table_get_labels(&table, family, NULL, 0)->sum[NUMBER_DOUBLE].word, &minus, 8);
	check_openmetrics(&table, "# TYPE h histogram\n"
				  "h_bucket{le=\"-1.0\"} " ZERO20 "\n"
				  "h_bucket{le=\"+Inf\"} 00000000000000000001\n"
				  "# TYPE i histogram\n"
				  "i_bucket{le=\"1.0\"} " ZERO20 "\n"
				  "i_bucket{le=\"+Inf\"} " ZERO20 "\n"
				  "# EOF\n");
}

TEST(format_text_keeps_clashing_names_apart_in_openmetrics)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	table_declare(&table, "a_total", "", KVTAP_COUNTER, 0, NULL, 0);
	table_declare(&table, "a", "", KVTAP_GAUGE, 0, NULL, 0);
	table_declare(&table, "b_total", "", KVTAP_COUNTER, 0, NULL, 0);
	table_declare(&table, "b_created", "", KVTAP_COUNTER, 0, NULL, 0);
	table_declare(&table, "h", "", KVTAP_HISTOGRAM, 0, NULL, 0);
	table_declare(&table, "h_created", "", KVTAP_GAUGE, 0, NULL, 0);
	table_declare(&table, "h_bucket_total", "", KVTAP_COUNTER, 0, NULL, 0);
	check_openmetrics(&table, "# TYPE a_total unknown\n"
				  "# TYPE a gauge\n"
				  "# TYPE b_total unknown\n"
				  "# TYPE b_created counter\n"
				  "# TYPE h histogram\n"
				  "# TYPE h_bucket_total unknown\n"
				  "# EOF\n");
}

/* The longest number, native buckets that are no neighbours, and an exemplar. */
static void fill(struct series_table *table, struct series *series, double value)
{
	series->value = value;
	memset(series->sum, 0x7f, 2 * sizeof(series->sum[0]));
	if (!series->native)
		return;
	table_record(table, series, UINT64_MAX, UINT64_MAX);
	exemplar_turn(series->exemplars, 1, UINT64_MAX);
	memset(series->bucket, 0x7f, 2 * sizeof(uint64_t));
	for (int i = 0; i < NATIVE_BUCKETS - 1; i++)
		series_observe(series, ldexp(1, 2 * i), i % 2 ? 1 : INT64_MAX);
}

/* Nothing but what takes much room: not much is left of the budget. */
TEST(format_text_is_not_bigger_than_its_budget_with_the_longest_numbers)
{
	static const double bound[] = { -1.2345678901234567e-300 };
	struct series_table table;
	uint64_t more = 100 * (sizeof(struct native) + sizeof(struct exemplars));

	CHECK_EQ(series_table_init(&table), 0);
	for (int metric = KVTAP_COUNTER; metric <= KVTAP_HISTOGRAM; metric++) {
		const char *const name[] = { "", "c", "g", "h" };
		struct family *family = table_declare(&table, name[metric], "", (uint8_t)metric, 0,
						      bound, metric == KVTAP_HISTOGRAM);
		for (int i = 0; i < 100; i++) {
			char value[12];

			snprintf(value, sizeof(value), "%d", i);
			fill(&table, table_get(&table, family, "z", value), bound[0]);
		}
	}
	for (int format = 0; format < PAGE_FORMATS; format++) {
		struct text page = { 0 };

		render_page(&page, &table, format);
		CHECK(!page.failed);
		CHECK(page.bytes <= table.families.taken.bytes);
		CHECK(page.bytes > (table.families.taken.bytes - more) / 3);
		text_free(&page);
	}
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

TEST(format_text_has_all_of_64_bounds)
{
	struct series_table table;
	struct text page = { 0 };
	double bound[KVTAP_BOUNDS_MAX];

	for (int i = 0; i < KVTAP_BOUNDS_MAX; i++)
		bound[i] = ldexp(1, i);
	CHECK_EQ(series_table_init(&table), 0);
	struct family *family =
		table_declare(&table, "h", "H.", KVTAP_HISTOGRAM, 0, bound, KVTAP_BOUNDS_MAX);
	struct series *series = table_get_labels(&table, family, NULL, 0);
	for (int i = 0; i <= KVTAP_BOUNDS_MAX; i++)
		series->bucket[i] = 1;
	render_plain(&page, &table);
	CHECK_EQ(lines(page.data, "h_bucket{"), 65);
	CHECK(strstr(page.data, "h_bucket{le=\"9.223372036854776e+18\"} 64\n"));
	CHECK(strstr(page.data, "h_bucket{le=\"+Inf\"} 65\n"));
	CHECK(strstr(page.data, "h_count 65\n"));
	text_free(&page);
	series_table_free(&table);
}
