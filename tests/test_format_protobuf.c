/* SPDX-License-Identifier: Apache-2.0 */
/* test_format_protobuf.c - what a page in protobuf says, in protobuf's text form */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "support_protobuf.h"
#include "support_render.h"
#include "support_table.h"

#define CREATED 1700000000000000042
#define START "start_timestamp { seconds: 1700000000 nanos: 42 } "

static void check_page(struct series_table *table, const char *expected)
{
	struct text page = { 0 };

	for (uint32_t i = 0; i < table->families.count; i++)
		for (struct series *series = table->families.family[i]->first; series;
		     series = series->next)
			series->created_ns = CREATED;
	render_page(&page, table, PAGE_PROTOBUF);
	CHECK(!page.failed);
	char *text = protobuf_text(page.data, page.bytes);
	CHECK_STR(text, expected);
	free(text);
	text_free(&page);
	series_table_free(table);
}

TEST(format_protobuf_has_counters_and_gauges)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family =
		table_declare(&table, "b", "a\\b\n\"c\"", KVTAP_COUNTER, 0, NULL, 0);
	table_get(&table, family, "engine", "0")->sum[NUMBER_UNITS].word[0] = 42;
	table_get(&table, family, "tier", "a\"b\\n\n")->sum[NUMBER_NANOSECONDS].word[0] =
		1500000000;
	family = table_declare(&table, "a", "", KVTAP_GAUGE, 0, NULL, 0);
	table_get_labels(&table, family, NULL, 0)->value = -0.25;
	check_page(&table, "name: \"b_total\" help: \"a\\b\n\"c\"\" type: 0 "
			   "metric { label { name: \"engine\" value: \"0\" } "
			   "label { name: \"model_name\" value: \"m\" } "
			   "counter { value: 42 " START "} } "
			   "metric { label { name: \"model_name\" value: \"m\" } "
			   "label { name: \"tier\" value: \"a\"b\\n\n\" } "
			   "counter { value: 1.5 " START "} } \n"
			   "name: \"a\" help: \"\" type: 1 metric { gauge { value: -0.25 } } \n");
}

TEST(format_protobuf_has_no_sample_of_a_lazy_series_before_its_first_record)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family =
		table_declare(&table, "l", "L.", KVTAP_GAUGE, KVTAP_FAMILY_LAZY, NULL, 0);
	table_get_labels(&table, family, NULL, 0);
	check_page(&table, "name: \"l\" help: \"L.\" type: 1 \n");
}

TEST(format_protobuf_has_bounds_and_native_buckets_in_one_histogram)
{
	static const double bound[] = { 0.5, 1 };
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "h", "", KVTAP_HISTOGRAM, 0, bound, 2);
	struct series *series = table_get_labels(&table, family, NULL, 0);
	table_record(&table, series, 500000000, 0);
	table_record(&table, series, 1000000000, 0);
	table_record(&table, series, 1000000001, 0);
	table_record(&table, series, 1000000001, 0);
	table_record(&table, series, 0, 0);
	check_page(&table, "name: \"h\" help: \"\" type: 4 metric { histogram { "
			   "sample_count: 5 sample_sum: 3.5000000020000002 "
			   "bucket { cumulative_count: 2 upper_bound: 0.5 } "
			   "bucket { cumulative_count: 3 upper_bound: 1 } "
			   "bucket { cumulative_count: 5 upper_bound: inf } "
			   "schema: 3 zero_threshold: 2.9387358770557188e-39 zero_count: 1 "
			   "positive_delta: 1 positive_delta: 0 positive_delta: 1 "
			   "positive_span { offset: -8 length: 1 } "
			   "positive_span { offset: 7 length: 2 } " START "} } \n");
}

TEST(format_protobuf_has_negative_buckets)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "h", "", KVTAP_HISTOGRAM, 0, NULL, 0);
	struct series *series = table_get_labels(&table, family, NULL, 0);
	series_observe(series, -1, 7);
	series_observe(series, -2, 1);
	series_observe(series, 4, 1);
	series->bucket[0] = 9;
	check_page(&table, "name: \"h\" help: \"\" type: 4 metric { histogram { "
			   "sample_count: 9 sample_sum: 0 "
			   "bucket { cumulative_count: 9 upper_bound: inf } "
			   "schema: 3 zero_threshold: 2.9387358770557188e-39 zero_count: 0 "
			   "negative_delta: 7 negative_delta: -6 positive_delta: 1 "
			   "negative_span { offset: 0 length: 1 } "
			   "negative_span { offset: 7 length: 1 } "
			   "positive_span { offset: 16 length: 1 } " START "} } \n");
}

TEST(format_protobuf_has_an_exemplar_in_its_bucket)
{
	struct series_table table;

	CHECK_EQ(series_table_init(&table), 0);
	struct family *family = table_declare(&table, "h", "", KVTAP_HISTOGRAM, 0, NULL, 0);
	struct series *series = table_get_labels(&table, family, NULL, 0);
	table_record(&table, series, 250000000, 42);
	CHECK(exemplar_turn(series->exemplars, 2000000001, 1700000000000000005));
	check_page(&table,
		   "name: \"h\" help: \"\" type: 4 metric { histogram { "
		   "sample_count: 1 sample_sum: 0.25 "
		   "bucket { cumulative_count: 1 upper_bound: inf exemplar { "
		   "label { name: \"request_id\" value: \"42\" } "
		   "label { name: \"duration_seconds\" value: \"0.25\" } value: 0.25 "
		   "timestamp { seconds: 1699999998 nanos: 4 } } } "
		   "schema: 3 zero_threshold: 2.9387358770557188e-39 zero_count: 0 "
		   "positive_delta: 1 positive_span { offset: -16 length: 1 } " START "} } \n");
}
