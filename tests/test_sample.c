/* SPDX-License-Identifier: Apache-2.0 */
/* test_sample.c - samples, and ranges that hold what there was no room for */
#include "../exporter/sample.h"

#include <math.h>
#include <stdlib.h>

#include "test.h"

static struct samples samples;
static struct sample_pool pool;

static void add_to(struct samples *list, uint64_t ns)
{
	const uint64_t bytes = 0, submit_ns = ns / 2;

	samples_add(list, &pool,
		    &(struct sample_columns){ .duration_ns = &ns,
					      .submit_ns = &submit_ns,
					      .bytes = &bytes,
					      .count = 1 });
}

static void add(uint64_t ns)
{
	add_to(&samples, ns);
}

/* The ranges of all durations, whose counts have to add up. */
static struct statistic_range *ranges(uint64_t records, size_t *count)
{
	struct statistic_range *range = sample_ranges(&samples, SAMPLE_DURATION, records, count);
	uint64_t all = 0;

	CHECK(range);
	for (size_t i = 0; i < *count; i++)
		all += range[i].count;
	CHECK_EQ(all, records);
	return range;
}

TEST(sample_ranges_hold_every_time_when_there_is_no_room)
{
	for (int shift = 0; shift < 64; shift++) {
		for (int last = -1; last <= 1; last++) {
			uint64_t ns = ((uint64_t)1 << shift) + (uint64_t)last;
			double value = statistic_seconds(ns);
			size_t count;

			add(ns);
			struct statistic_range *range = ranges(1, &count);
			CHECK_EQ(count, 1);
			CHECK(range->low <= value && value <= range->high);
			CHECK(range->high - range->low <= range->low / 128);
			free(range);
			sample_reset(&samples, &pool);
		}
	}
}

TEST(sample_ranges_stay_few_when_there_are_many_samples)
{
	enum { RECORDS = 100000, ROOM = 90000 };
	double low, high;
	size_t count;

	pool.limit = ROOM;
	for (uint32_t i = 1; i <= RECORDS; i++)
		add(1000ull * i);
	CHECK_EQ(samples.count, ROOM);
	struct statistic_range *range = ranges(RECORDS, &count);
	CHECK(count < 4000);
	statistic_percentile_range(range, count, 90, &low, &high);
	CHECK(low <= 0.0900001 && 0.0900001 <= high && high - low < 0.001);
	free(range);
	sample_reset(&samples, &pool);
	CHECK_EQ(pool.used, 0);
	CHECK_EQ(pool.tables, 0);
}

TEST(sample_ranges_tell_samples_and_folds_apart_and_what_is_not_known)
{
	size_t count;

	pool.limit = 10;
	add(5000);
	sample_fold(&samples, &pool, SAMPLE_DURATION, 0.01, 0.025, 3);
	sample_fold(&samples, &pool, SAMPLE_DURATION, 0, 0.01, 1);
	sample_fold(&samples, &pool, SAMPLE_DURATION, 0.01, 0.025, 4);
	struct statistic_range *range = ranges(10, &count);
	CHECK_EQ(count, 4);
	CHECK(range[0].low == 5e-6 && range[0].high == 5e-6);
	CHECK(range[2].low == 0.01 && range[2].high == 0.025);
	CHECK_EQ(range[2].count, 7);
	CHECK_EQ(range[3].count, 1);
	CHECK(range[3].low == 0 && isinf(range[3].high));
	free(range);
	sample_reset(&samples, &pool);
}

TEST(sample_ranges_of_folds_have_an_end_and_lose_no_record)
{
	enum { FOLDS = 5000 };
	size_t count;

	for (uint32_t turn = 0; turn < 2; turn++)
		for (uint32_t i = 0; i < FOLDS; i++) {
			double low = (double)(i * 7919 % FOLDS);

			sample_fold(&samples, &pool, SAMPLE_DURATION, low, low + 1, 1);
		}
	struct statistic_range *range = ranges(2 * FOLDS, &count);
	CHECK(count > 1000 && count < FOLDS);
	for (size_t i = 0; i + 1 < count; i++)
		CHECK(range[i].count == 2 && range[i].high == range[i].low + 1);
	CHECK(range[count - 1].low == 0 && isinf(range[count - 1].high)); /* the others */
	free(range);
	sample_reset(&samples, &pool);
	CHECK_EQ(pool.ranges, 0);
}

TEST(sample_limit_is_a_million_however_many_lists_they_are_in)
{
	enum { LISTS = 1000, EACH = 1048 };
	static struct samples list[LISTS];

	pool.limit = SAMPLE_LIMIT;
	for (uint32_t i = 0; i < EACH; i++)
		for (uint32_t k = 0; k < LISTS; k++)
			add_to(&list[k], i);
	for (uint32_t k = 0; k < LISTS; k++) {
		CHECK_EQ(list[k].count, EACH);
		sample_reset(&list[k], &pool);
	}
	CHECK_EQ(pool.used, 0);
}

TEST(sample_order_is_that_of_arrival_over_all_chunks)
{
	enum { RECORDS = 5000 };
	static double value[RECORDS];

	pool.limit = RECORDS;
	for (uint32_t i = 0; i < RECORDS; i++)
		add(2000ull * i);
	CHECK_EQ(samples.count, RECORDS);
	sample_seconds(&samples, SAMPLE_SUBMIT, value);
	for (uint32_t i = 0; i < RECORDS; i++)
		CHECK(value[i] == i / 1e6);
	sample_reset(&samples, &pool);
}

TEST(sample_tables_are_64_at_most_and_without_one_a_time_is_not_known)
{
	enum { LISTS = 65 };
	static struct samples list[LISTS];
	size_t count;

	pool.limit = 0;
	for (int i = 0; i < LISTS; i++)
		add_to(&list[i], 5000);
	CHECK_EQ(pool.tables, 64);
	for (int i = LISTS - 2; i < LISTS; i++) {
		struct statistic_range *range = sample_ranges(&list[i], SAMPLE_DURATION, 1, &count);

		CHECK(range);
		CHECK_EQ(count, 1);
		CHECK_EQ(isinf(range[0].high), i == LISTS - 1);
		free(range);
	}
	for (int i = 0; i < LISTS; i++)
		sample_reset(&list[i], &pool);
	CHECK_EQ(pool.tables, 0);
}

/* So many that the last chunks are of the full size. */
static void add_many(uint32_t records)
{
	for (uint32_t i = 0; i < records; i++)
		add(i);
}

static uint32_t spares(void)
{
	uint32_t count = 0;

	for (const struct sample_chunk *chunk = pool.spare; chunk; chunk = chunk->next)
		count++;
	return count;
}

TEST(sample_chunks_are_there_for_the_next_interval_and_not_for_the_one_after)
{
	pool.limit = SAMPLE_LIMIT;
	add_many(20000);
	sample_reset(&samples, &pool);
	sample_pool_turn(&pool);
	uint32_t first = spares();
	CHECK(first > 2);
	add_many(20000);
	CHECK_EQ(spares(), 0);
	sample_reset(&samples, &pool);
	sample_pool_turn(&pool);
	CHECK_EQ(spares(), first);
	add_many(9000);
	sample_reset(&samples, &pool);
	sample_pool_turn(&pool);
	CHECK(spares() < first);
	sample_pool_turn(&pool);
	CHECK_EQ(spares(), 0);
	CHECK_EQ(pool.used, 0);
}
