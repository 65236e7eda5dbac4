/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_plan.c - what a record changes in a family: fields, buckets, sums, names
 *
 * The expected nanoseconds and bytes of each bound are written out here, as a person would say them,
 * and never computed by the code under test. Knows no ring and, but for the built-in tables, no tap.
 */
#include "../lib/plan.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "support_segment.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct kvtap_plan plan_of(uint8_t metric, uint8_t field, const double *bound, uint32_t count,
				 uint64_t *limit)
{
	struct kvtap_plan plan;

	kvtap_plan_begin(&plan, KVTAP_OP_TRANSFER);
	kvtap_plan_cell(&plan, 1, metric, field, KVTAP_WHEN_ALWAYS, bound, count, limit);
	return plan;
}

/* Bound i holds exactly[i] and nothing above it. */
static void check_inclusive(const struct kvtap_cell *cell, const uint64_t *exactly, uint32_t count)
{
	CHECK_EQ(cell->bounds, count);
	for (uint32_t i = 0; i < count; i++) {
		CHECK_EQ(kvtap_cell_bucket(cell, exactly[i] - 1), i);
		CHECK_EQ(kvtap_cell_bucket(cell, exactly[i]), i);
		CHECK_EQ(kvtap_cell_bucket(cell, exactly[i] + 1), i + 1);
	}
	CHECK_EQ(kvtap_cell_bucket(cell, UINT64_MAX), count);
}

TEST(plan_puts_5_ms_into_le_0_005)
{
	static const double bound[] = { 0.001, 0.005, 0.01 };
	uint64_t limit[COUNT(bound)];
	struct kvtap_plan plan = plan_of(KVTAP_HISTOGRAM, KVTAP_FIELD_DURATION, bound, 3, limit);

	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 5000000), 1);
	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 5000001), 2);
	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 0), 0);
}

/* The plan of a built-in kind, as a reader parses it. */
static void check_builtin(const char *builtin, uint32_t cell, const uint64_t *exactly,
			  uint32_t count)
{
	struct kvtap *tap = small_tap();
	uint32_t series = builtin_series(tap, builtin);
	struct watch watch;

	watch_open(&watch, 0);
	check_inclusive(&kvtap_reader_plan(watch.reader, series)->cell[cell], exactly, count);
	kvtap_close(tap);
	watch_remove(&watch);
}

#define MS 1000000ull

TEST(plan_nixl_transfer_times_are_inclusive_at_each_bound)
{
	static const uint64_t ns[] = {
		5 * MS,	  10 * MS,  25 * MS,  50 * MS,	75 * MS,   100 * MS,
		200 * MS, 300 * MS, 500 * MS, 750 * MS, 1000 * MS, 5000 * MS
	};

	check_builtin(KVTAP_NIXL_TRANSFER, 0, ns, COUNT(ns));
}

TEST(plan_nixl_post_times_are_inclusive_at_each_bound)
{
	static const uint64_t ns[] = { 1 * MS,	 5 * MS,    10 * MS,  25 * MS,	50 * MS,
				       75 * MS,	 100 * MS,  200 * MS, 300 * MS, 500 * MS,
				       750 * MS, 1000 * MS, 5000 * MS };

	check_builtin(KVTAP_NIXL_TRANSFER, 1, ns, COUNT(ns));
}

TEST(plan_nixl_bytes_are_inclusive_at_each_bound)
{
	uint64_t bytes[12];

	for (int i = 0; i < 12; i++)
		bytes[i] = 1ull << (11 + 2 * i);
	check_builtin(KVTAP_NIXL_TRANSFER, 2, bytes, COUNT(bytes));
}

TEST(plan_nixl_descriptors_are_inclusive_at_each_bound)
{
	static const uint64_t descriptors[] = { 10,  20,   30,	 50,   75,    100,   200,
						400, 1000, 2000, 4000, 10000, 20000, 50000 };

	check_builtin(KVTAP_NIXL_TRANSFER, 3, descriptors, COUNT(descriptors));
}

static const uint64_t offload_bytes[] = { 1000000,  5000000,  10000000,	 20000000,  40000000,
					  60000000, 80000000, 100000000, 150000000, 200000000 };

TEST(plan_offload_load_sizes_are_inclusive_at_each_bound)
{
	check_builtin(KVTAP_OFFLOAD_LOAD, 2, offload_bytes, COUNT(offload_bytes));
}

TEST(plan_offload_store_sizes_are_inclusive_at_each_bound)
{
	check_builtin(KVTAP_OFFLOAD_STORE, 2, offload_bytes, COUNT(offload_bytes));
}

/* As vLLM would compare: the float of the seconds with the float of the bound. */
TEST(plan_integer_limit_agrees_with_comparing_seconds_for_all_milliseconds)
{
	for (uint64_t ms = 1; ms < 20000; ms++) {
		char text[32];
		double bound;
		uint64_t limit, ns = ms * MS;

		snprintf(text, sizeof(text), "%llu.%03llu", (unsigned long long)ms / 1000,
			 (unsigned long long)ms % 1000);
		CHECK_EQ(sscanf(text, "%lf", &bound), 1);
		struct kvtap_plan plan =
			plan_of(KVTAP_HISTOGRAM, KVTAP_FIELD_QUEUE, &bound, 1, &limit);
		CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], ns), 0);
		CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], ns + 1), 1);
	}
}

TEST(plan_limit_of_a_fractional_bound_is_the_integer_above)
{
	static const double bound[] = { 0.5, 2.0, 2.5 };
	uint64_t limit[COUNT(bound)];
	struct kvtap_plan plan = plan_of(KVTAP_HISTOGRAM, KVTAP_FIELD_BYTES, bound, 3, limit);

	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 0), 0);
	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 1), 1);
	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 2), 1);
	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 3), 3);
}

TEST(plan_limit_of_a_negative_bound_lets_nothing_in)
{
	static const double bound[] = { -1, -0.0 };
	uint64_t limit[COUNT(bound)];
	struct kvtap_plan plan = plan_of(KVTAP_HISTOGRAM, KVTAP_FIELD_BYTES, bound, 2, limit);

	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 0), 1);
	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 1), 2);
}

TEST(plan_limit_of_bounds_beyond_integers_lets_everything_in)
{
	static const double bound[] = { 1e300, DBL_MAX };
	uint64_t limit[COUNT(bound)];
	struct kvtap_plan plan = plan_of(KVTAP_HISTOGRAM, KVTAP_FIELD_DURATION, bound, 2, limit);

	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], UINT64_MAX - 1), 0);
}

TEST(plan_double_buckets_are_inclusive)
{
	static const double bound[] = { -1.5, 0.1, 1, 1e300 };
	uint64_t limit[COUNT(bound)];
	struct kvtap_plan plan = plan_of(KVTAP_HISTOGRAM, 0, bound, COUNT(bound), limit);
	const struct kvtap_cell *cell = &plan.cell[0];

	for (uint32_t i = 0; i < COUNT(bound); i++) {
		CHECK_EQ(kvtap_cell_bucket_double(cell, nextafter(bound[i], -INFINITY)), i);
		CHECK_EQ(kvtap_cell_bucket_double(cell, bound[i]), i);
		CHECK_EQ(kvtap_cell_bucket_double(cell, nextafter(bound[i], INFINITY)), i + 1);
	}
	CHECK_EQ(kvtap_cell_bucket_double(cell, -DBL_MAX), 0);
	CHECK_EQ(kvtap_cell_bucket_double(cell, DBL_MAX), COUNT(bound));
}

TEST(plan_histogram_without_bounds_has_one_bucket)
{
	struct kvtap_plan plan = plan_of(KVTAP_HISTOGRAM, KVTAP_FIELD_BYTES, NULL, 0, NULL);

	CHECK_EQ(plan.words, 1 + 2 + 1);
	CHECK_EQ(kvtap_cell_bucket(&plan.cell[0], 7), 0);
	CHECK_EQ(kvtap_cell_bucket_double(&plan.cell[0], 7), 0);
}

TEST(plan_cells_stand_one_after_the_other_in_a_block)
{
	static const double bound[] = { 1, 2, 3 };
	uint64_t limit[COUNT(bound)];
	struct kvtap_plan plan;

	kvtap_plan_begin(&plan, KVTAP_OP_TRANSFER);
	kvtap_plan_cell(&plan, 1, KVTAP_COUNTER, KVTAP_FIELD_ONE, 0, NULL, 0, NULL);
	kvtap_plan_cell(&plan, 2, KVTAP_HISTOGRAM, KVTAP_FIELD_BYTES, 0, bound, 3, limit);
	kvtap_plan_cell(&plan, 3, KVTAP_GAUGE, 0, 0, NULL, 0, NULL);
	CHECK_EQ(plan.cells, 3);
	CHECK_EQ(plan.cell[0].word, 1);
	CHECK_EQ(plan.cell[1].word, 3);
	CHECK_EQ(plan.cell[2].word, 3 + 2 + 4);
	CHECK_EQ(plan.words, 3 + 2 + 4 + 2);
}

TEST(plan_fields_are_those_of_the_record)
{
	struct kvtap_record record = { .bytes = 1,
				       .descriptors = 2,
				       .failed_descriptors = 3,
				       .duration_ns = 100,
				       .submit_ns = 30,
				       .queue_ns = 20 };

	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_ONE), 1);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_BYTES), 1);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_DESCRIPTORS), 2);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_DURATION), 100);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_SUBMIT), 30);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_QUEUE), 20);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_DEVICE), 50);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_FAILED_DESCRIPTORS), 3);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_THROUGHPUT), 10000000);
	CHECK_EQ(kvtap_field_value(&record, 99), 0);
}

TEST(plan_device_time_is_all_of_the_duration_when_times_overlap)
{
	struct kvtap_record record = { .op = KVTAP_OP_TRANSFER | KVTAP_OP_OVERLAPPED,
				       .duration_ns = 100,
				       .submit_ns = 90,
				       .queue_ns = 200 };

	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_DEVICE), 100);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_SUBMIT), 90);
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_QUEUE), 200);
}

TEST(plan_device_time_is_never_negative)
{
	struct kvtap_record record = { .duration_ns = 10, .submit_ns = 11 };

	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_DEVICE), 0);
	record = (struct kvtap_record){ .duration_ns = 10, .submit_ns = 4, .queue_ns = 7 };
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_DEVICE), 0);
	record.queue_ns = UINT64_MAX;
	CHECK_EQ(kvtap_field_value(&record, KVTAP_FIELD_DEVICE), 0);
}

static uint64_t throughput(uint64_t bytes, uint64_t duration_ns)
{
	struct kvtap_record record = { .bytes = bytes, .duration_ns = duration_ns };

	return kvtap_field_value(&record, KVTAP_FIELD_THROUGHPUT);
}

TEST(plan_throughput_is_exact_for_all_sizes_and_times)
{
	CHECK_EQ(throughput(0, 0), 0);
	CHECK_EQ(throughput(7, 0), 7000000000); /* 1 ns at least */
	CHECK_EQ(throughput(10, 3), 3333333333);
	CHECK_EQ(throughput(1, 1000000001), 0);
	CHECK_EQ(throughput((1ull << 53) + 1, 1000000000), (1ull << 53) + 1);
	CHECK_EQ(throughput(UINT64_MAX, 1000000000), UINT64_MAX);
	CHECK_EQ(throughput(UINT64_MAX, 999999999), UINT64_MAX);
	CHECK_EQ(throughput(UINT64_MAX, 1), UINT64_MAX);
	CHECK_EQ(throughput(18446744074, 1), UINT64_MAX); /* the least that doesn't fit */
	CHECK_EQ(throughput(18446744073, 1), 18446744073000000000u);
	CHECK_EQ(throughput(UINT64_MAX, UINT64_MAX), 1000000000);
}

TEST(plan_units_are_seconds_for_times_only)
{
	for (uint8_t field = 0; field <= KVTAP_FIELD_THROUGHPUT; field++) {
		bool time = field >= KVTAP_FIELD_DURATION && field <= KVTAP_FIELD_DEVICE;

		CHECK(kvtap_field_unit(field) == (time ? 1e-9 : 1));
	}
}

/* That a cell with this condition takes first to last and no other status. */
static void check_takes(uint8_t when, unsigned first, unsigned last)
{
	struct kvtap_plan plan;

	kvtap_plan_begin(&plan, KVTAP_OP_TRANSFER);
	kvtap_plan_cell(&plan, 1, KVTAP_COUNTER, KVTAP_FIELD_ONE, when, NULL, 0, NULL);
	for (unsigned status = 0; status <= UINT8_MAX; status++)
		CHECK_EQ(kvtap_cell_takes(&plan.cell[0], (uint8_t)status),
			 status >= first && status <= last);
}

TEST(plan_cell_takes_the_status_that_it_is_for)
{
	check_takes(KVTAP_WHEN_OK, 0, 0);
	check_takes(KVTAP_WHEN_FAILED, 1, UINT8_MAX);
	check_takes(KVTAP_WHEN_ALWAYS, 0, UINT8_MAX);
}

TEST(plan_cell_takes_exactly_one_status_or_all_from_one_on)
{
	for (unsigned status = 0; status < 64; status++)
		check_takes((uint8_t)(KVTAP_WHEN_STATUS | status), status, status);
	for (unsigned status = 0; status < 128; status++)
		check_takes((uint8_t)(KVTAP_WHEN_FROM | status), status, UINT8_MAX);
}

TEST(plan_feeds_have_the_fields_and_conditions_of_this_version)
{
	for (uint32_t when = 0; when < 512; when++)
		CHECK_EQ(kvtap_feed_valid(KVTAP_FIELD_ONE, when),
			 when <= KVTAP_WHEN_ALWAYS || (when >= KVTAP_WHEN_STATUS && when < 256));
	for (uint32_t field = 0; field < 300; field++)
		CHECK_EQ(kvtap_feed_valid(field, 0), field >= 1 && field <= KVTAP_FIELD_THROUGHPUT);
}

TEST(plan_sum_carries_into_its_high_word)
{
	struct kvtap_sum sum = { { 0 } };

	kvtap_sum_add(&sum, UINT64_MAX);
	CHECK(sum.word[0] == UINT64_MAX && sum.word[1] == 0);
	kvtap_sum_add(&sum, 1);
	CHECK(sum.word[0] == 0 && sum.word[1] == 1);
	kvtap_sum_add(&sum, UINT64_MAX);
	kvtap_sum_add(&sum, UINT64_MAX);
	CHECK(sum.word[0] == UINT64_MAX - 1 && sum.word[1] == 2);
}

static double part(const struct kvtap_sum *sum, int index)
{
	double value;

	memcpy(&value, &sum->word[index], sizeof(value));
	return value;
}

TEST(plan_double_sum_keeps_1_beside_2_to_the_60)
{
	struct kvtap_sum sum = { { 0 } };

	kvtap_sum_add_double(&sum, 0x1p60);
	for (int i = 0; i < 1000; i++)
		kvtap_sum_add_double(&sum, 1);
	kvtap_sum_add_double(&sum, -0x1p60);
	CHECK(part(&sum, 0) + part(&sum, 1) == 1000);
}

TEST(plan_double_sum_of_tenths_is_rounded_once)
{
	struct kvtap_sum sum = { { 0 } };

	for (int i = 0; i < 1000000; i++)
		kvtap_sum_add_double(&sum, 0.1);
	CHECK(part(&sum, 0) == 100000); /* a plain double has 100000.00000133288 here */
}

TEST(plan_advance_adds_the_difference_of_two_integer_states)
{
	struct kvtap_sum sum = { { 5, 0 } };
	const uint64_t before[2] = { UINT64_MAX, 3 }, now[2] = { 9, 4 };

	kvtap_sum_advance(&sum, now, before, false);
	CHECK(sum.word[0] == 15 && sum.word[1] == 0);
	kvtap_sum_advance(&sum, (uint64_t[2]){ UINT64_MAX, 1 }, (uint64_t[2]){ 0, 0 }, false);
	CHECK(sum.word[0] == 14 && sum.word[1] == 2);
}

TEST(plan_advance_loses_nothing_of_a_double_sum)
{
	struct kvtap_sum grown = { { 0 } }, sum = { { 0 } }, before;

	kvtap_sum_add_double(&grown, 0x1p60);
	kvtap_sum_add_double(&grown, 1);
	kvtap_sum_advance(&sum, grown.word, (uint64_t[2]){ 0, 0 }, true);
	for (int i = 0; i < 100; i++) {
		before = grown;
		kvtap_sum_add_double(&grown, 1);
		kvtap_sum_advance(&sum, grown.word, before.word, true);
	}
	CHECK(part(&sum, 0) == 0x1p60 && part(&sum, 1) == 101);
}

static bool metric_name(const char *name)
{
	return kvtap_metric_name_valid(name, strlen(name));
}

TEST(plan_metric_names_are_letters_digits_underscores_colons)
{
	CHECK(metric_name("a") && metric_name("_") && metric_name(":") && metric_name("vllm:kv_1"));
	CHECK(!metric_name("") && !metric_name("1a") && !metric_name("a-b") && !metric_name("a b"));
	CHECK(!metric_name("\xc3\xa4") && !metric_name("a\n") && !metric_name("a{"));
	CHECK(!kvtap_metric_name_valid("a\0b", 3));
}

TEST(plan_names_have_at_most_255_bytes)
{
	char name[257];

	memset(name, 'a', sizeof(name));
	CHECK(kvtap_metric_name_valid(name, 255) && kvtap_label_name_valid(name, 255, true));
	CHECK(!kvtap_metric_name_valid(name, 256) && !kvtap_label_name_valid(name, 256, false));
}

static bool label_name(const char *name, bool histogram)
{
	return kvtap_label_name_valid(name, strlen(name), histogram);
}

TEST(plan_label_names_have_no_colon_and_are_not_reserved)
{
	CHECK(label_name("tier", false) && label_name("_x9", false) && label_name("_", false));
	CHECK(!label_name("", false) && !label_name("a:b", false) && !label_name("9", false));
	CHECK(!label_name("__name__", false) && !label_name("__", false));
	CHECK(label_name("le", false) && !label_name("le", true));
	CHECK(label_name("lee", true) && label_name("l", true));
}

TEST(plan_bounds_are_finite_and_increasing)
{
	CHECK(kvtap_bounds_valid(NULL, 0));
	CHECK(kvtap_bounds_valid((double[]){ -1, 0, 1e-300, 5 }, 4));
	CHECK(!kvtap_bounds_valid((double[]){ 1, 1 }, 2));
	CHECK(!kvtap_bounds_valid((double[]){ 2, 1 }, 2));
	CHECK(!kvtap_bounds_valid((double[]){ -0.0, 0.0 }, 2));
	CHECK(!kvtap_bounds_valid((double[]){ 1, NAN }, 2));
	CHECK(!kvtap_bounds_valid((double[]){ NAN }, 1));
	CHECK(!kvtap_bounds_valid((double[]){ 1, INFINITY }, 2));
	CHECK(!kvtap_bounds_valid((double[]){ -INFINITY, 1 }, 2));
}

TEST(plan_op_follows_the_metric)
{
	CHECK_EQ(kvtap_plan_op(KVTAP_COUNTER), KVTAP_OP_ADD);
	CHECK_EQ(kvtap_plan_op(KVTAP_GAUGE), KVTAP_OP_SET);
	CHECK_EQ(kvtap_plan_op(KVTAP_HISTOGRAM), KVTAP_OP_OBSERVE);
}
