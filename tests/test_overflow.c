/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_overflow.c - what a full ring folds is exact, and a reader sees whole states of it
 *
 * Nobody drains while a test records, so all but the first 16 records of a thread are folded. What a
 * kill inside a fold leaves is tried by single steps elsewhere; here, by hand, only what recovers it.
 */
#include "../lib/overflow.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "support_segment.h"
#include "test.h"

static struct kvtap *tap;
static struct watch watch;

/* All that was recorded, in watch; the tap stays open. */
static void drain_all(uint64_t expected)
{
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), expected);
	CHECK_EQ(watch.wrong, 0);
	CHECK_EQ(watch.folded, expected < SMALL_SLOTS ? 0 : expected - SMALL_SLOTS);
}

static void end(void)
{
	struct kvtap_stats stats;

	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.lost_records + stats.lost_bytes + stats.refused_records, 0);
	CHECK_EQ(stats.ignored_calls, 0);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(overflow_keeps_a_counter_exact)
{
	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");

	kvtap_add(tap, counter, 0x1p60);
	for (int i = 1; i <= 1000; i++)
		kvtap_add(tap, counter, i);
	drain_all(1001);
	struct total_cell cell = watch_total(&watch, counter)->cell[0];
	kvtap_sum_add_double(&cell.sum, -0x1p60);
	struct total rest = { .cell = { cell } };
	CHECK(total_double(&rest, 0) == 1000 * 1001 / 2);
	end();
}

TEST(overflow_keeps_the_last_value_of_a_gauge)
{
	tap = small_tap();
	uint32_t gauge = gauge_series(tap, "g"), broken = gauge_series(tap, "broken");

	for (int i = 0; i < 100; i++) {
		kvtap_set(tap, gauge, i);
		kvtap_set(tap, broken, i == 99 ? NAN : i);
	}
	drain_all(200);
	CHECK(watch_total(&watch, gauge)->cell[0].value == 99);
	CHECK(isnan(watch_total(&watch, broken)->cell[0].value));
	CHECK_EQ(watch_total(&watch, gauge)->folded, 100 - SMALL_SLOTS / 2);
	end();
}

TEST(overflow_keeps_a_histogram_exact)
{
	static const double bounds[] = { 10, 100, 500 };
	static const uint64_t buckets[] = { 10, 90, 400, 500 };

	tap = small_tap();
	uint32_t histogram = histogram_series(tap, "h", bounds, 3);
	for (int i = 1; i <= 1000; i++)
		kvtap_observe(tap, histogram, i);
	drain_all(1000);
	const struct total *total = watch_total(&watch, histogram);
	CHECK(total_double(total, 0) == 1000 * 1001 / 2);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(total->cell[0].bucket[i], buckets[i]);
	end();
}

TEST(overflow_keeps_a_histogram_without_bounds_exact)
{
	tap = small_tap();
	uint32_t histogram = histogram_series(tap, "h", NULL, 0);

	for (int i = 0; i < 100; i++)
		kvtap_observe(tap, histogram, -1.5);
	drain_all(100);
	CHECK_EQ(watch_total(&watch, histogram)->cell[0].bucket[0], 100);
	CHECK(total_double(watch_total(&watch, histogram), 0) == -150);
	end();
}

static void record_300(uint32_t series)
{
	for (uint64_t i = 0; i < 300; i++) {
		struct kvtap_transfer transfer = { .series = series,
						   .status = i % 3 == 2 ? (uint8_t)i | 1 : 0,
						   .end_ns = i + 1,
						   .duration_ns = 5000000 + i % 3,
						   .submit_ns = 1000000,
						   .bytes = i % 3 == 1 ? 5000001 : 5000000,
						   .descriptors = 10 };

		kvtap_transfer(tap, &transfer);
	}
}

static uint32_t device_time_series(void)
{
	struct kvtap_feed feed = { .field = KVTAP_FIELD_DEVICE };
	uint32_t kind, series;

	CHECK_EQ(kvtap_family_declare(tap, &feed.family,
				      &(struct kvtap_family){ .name = "device",
							      .metric = KVTAP_COUNTER }),
		 0);
	CHECK_EQ(kvtap_kind_declare(tap, &kind,
				    &(struct kvtap_kind){
					    .name = "k", .feeds = &feed, .feed_count = 1 }),
		 0);
	CHECK_EQ(kvtap_kind_series(tap, &series, kind, NULL, 0), 0);
	return series;
}

/* Of records in the ring and of folded ones. */
TEST(overflow_keeps_the_device_time_of_transfers_whose_times_overlap)
{
	tap = small_tap();
	uint32_t series = device_time_series();

	for (uint8_t i = 0; i < 100; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){
					    .series = series,
					    .flags = i % 2 ? KVTAP_TRANSFER_OVERLAPPED : 0,
					    .duration_ns = 1000,
					    .submit_ns = 900 });
	drain_all(100);
	CHECK_EQ(total_sum(watch_total(&watch, series), 0), 50 * 1000 + 50 * 100);
	end();
}

/* 100 of 5,000,000 bytes, 100 of one more, 100 that failed. */
TEST(overflow_keeps_offload_transfers_exact)
{
	tap = small_tap();
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);

	record_300(load);
	drain_all(300);
	const struct total *total = watch_total(&watch, load);
	CHECK_EQ(total->records + total->folded, 300);
	CHECK_EQ(total_sum(total, 0), 200 * 5000000 + 100);
	CHECK_EQ(total_sum(total, 1), 200ull * 5000000 + 100);
	CHECK_EQ(total_sum(total, 2), 200 * 5000000 + 100);
	CHECK_EQ(total->cell[2].bucket[0], 0);
	CHECK_EQ(total->cell[2].bucket[1], 100);
	CHECK_EQ(total->cell[2].bucket[2], 100);
	CHECK_EQ(total->cell[2].bucket[3], 0);
	end();
}

TEST(overflow_keeps_nixl_transfers_exact_and_counts_failed_ones)
{
	tap = small_tap();
	uint32_t nixl = builtin_series(tap, KVTAP_NIXL_TRANSFER);

	record_300(nixl);
	drain_all(300);
	const struct total *total = watch_total(&watch, nixl);
	CHECK_EQ(total->cell[0].bucket[0], 100); /* 5 ms */
	CHECK_EQ(total->cell[0].bucket[1], 100); /* a nanosecond more */
	CHECK_EQ(total_sum(total, 0), 200ull * 5000000 + 100);
	CHECK_EQ(total->cell[1].bucket[0], 200); /* post time */
	CHECK_EQ(total_sum(total, 1), 200ull * 1000000);
	CHECK_EQ(total_sum(total, 2), 200 * 5000000 + 100);
	CHECK_EQ(total->cell[3].bucket[0], 200);
	CHECK_EQ(total_sum(total, 3), 2000);
	CHECK_EQ(total_sum(total, 4), 100);
	end();
}

TEST(overflow_carries_sums_into_128_bits)
{
	tap = small_tap();
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);

	for (int i = 0; i < 100; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){
					    .series = load, .end_ns = 1, .bytes = UINT64_MAX });
	drain_all(100);
	CHECK_EQ(watch_total(&watch, load)->cell[0].sum.word[1], 99);
	CHECK_EQ(watch_total(&watch, load)->cell[0].sum.word[0], -100ll);
	end();
}

/* ---- the arena is full ---- */

/* count series of one kind that only sums bytes: 32 bytes a block */
static void declare_tiers(uint32_t *series, int count)
{
	static const char *const label[] = { "tier" };
	struct kvtap_feed feed = { .field = KVTAP_FIELD_BYTES };
	uint32_t kind;

	CHECK_EQ(kvtap_family_declare(tap, &feed.family,
				      &(struct kvtap_family){ .name = "bytes",
							      .metric = KVTAP_COUNTER,
							      .label_names = label,
							      .label_count = 1 }),
		 0);
	CHECK_EQ(kvtap_kind_declare(tap, &kind,
				    &(struct kvtap_kind){ .name = "move",
							  .label_names = label,
							  .label_count = 1,
							  .feeds = &feed,
							  .feed_count = 1 }),
		 0);
	for (int i = 0; i < count; i++) {
		char tier[16];

		snprintf(tier, sizeof(tier), "%d", i);
		CHECK_EQ(kvtap_kind_series(tap, &series[i], kind, (const char *[]){ tier }, 1), 0);
	}
}

#define TIERS 200
#define FIT (SMALL_OVERFLOW / 32)

static void move(uint32_t series, uint64_t bytes)
{
	kvtap_transfer(tap,
		       &(struct kvtap_transfer){ .series = series, .end_ns = 1, .bytes = bytes });
}

TEST(overflow_counts_as_lost_what_a_full_arena_has_no_block_for)
{
	uint32_t series[TIERS];
	struct kvtap_losses losses;
	struct kvtap_stats stats;

	tap = small_tap();
	declare_tiers(series, TIERS);
	for (int i = 0; i < SMALL_SLOTS; i++)
		move(series[0], 1);
	for (int round = 0; round < 5; round++)
		for (int i = 0; i < TIERS; i++)
			move(series[i], 1000);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), SMALL_SLOTS + 5 * FIT);
	for (int i = 0; i < TIERS; i++)
		CHECK_EQ(total_sum(watch_total(&watch, series[i]), 0),
			 (i == 0 ? SMALL_SLOTS : 0) + (i < FIT ? 5000 : 0));
	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.lost_records, 5 * (TIERS - FIT));
	CHECK_EQ(stats.lost_bytes, 5000 * (TIERS - FIT));
	CHECK_EQ(stats.refused_records + stats.ignored_calls, 0);
	CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
	CHECK_EQ(losses.lost_records, stats.lost_records);
	CHECK_EQ(losses.lost_bytes, stats.lost_bytes);
	CHECK_EQ(losses.refused_records, 0);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(overflow_refuses_records_that_have_no_plan)
{
	struct kvtap_stats stats;

	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");
	for (int i = 0; i < SMALL_SLOTS; i++)
		kvtap_add(tap, counter, 1);
	kvtap_add(tap, counter + 1, 1); /* not declared */
	kvtap_add(tap, UINT32_MAX, 1);	/* nor can it ever be */
	kvtap_observe(tap, counter, 1); /* not a histogram */
	move(counter, 77);		/* not a kind */
	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.refused_records, 4);
	CHECK_EQ(stats.lost_records, 0);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), SMALL_SLOTS);
	kvtap_close(tap);
	watch_remove(&watch);
}

/* ---- the reader ---- */

TEST(overflow_goes_back_to_the_ring_once_it_is_drained)
{
	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");

	watch_open(&watch, 0);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 20; i++)
			kvtap_add(tap, counter, 1);
		CHECK_EQ(watch_drain(&watch), 20);
	}
	CHECK_EQ(watch.records, 5 * SMALL_SLOTS);
	CHECK(total_double(watch_total(&watch, counter), 0) == 100);
	end();
}

/* What one reader has applied, a second one that is told so does not apply again. */
TEST(overflow_is_applied_once_across_two_readers)
{
	struct kvtap_block_view block;
	uint64_t applied[64];
	enum kvtap_reject why;
	uint32_t cursor = 0;

	tap = small_tap();
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	record_300(load);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 300);
	record_300(load);
	cursor = 0;
	CHECK_EQ(kvtap_reader_block(watch.reader, &why, 0, &cursor, &block), 1);
	CHECK(block.words <= 64);
	memcpy(applied, block.applied, block.words * 8);
	watch_close(&watch);
	watch_open(&watch, 0);
	CHECK(kvtap_reader_resume_block(watch.reader, 0, block.offset, applied, block.words));
	CHECK_EQ(watch_drain(&watch), 300);
	CHECK_EQ(watch.folded, 300 - SMALL_SLOTS);
	end();
}

TEST(overflow_block_beyond_the_arena_is_not_resumed)
{
	uint64_t applied[2] = { 1, 1 };

	tap = small_tap();
	record_300(builtin_series(tap, KVTAP_OFFLOAD_LOAD));
	watch_open(&watch, 0);
	CHECK(!kvtap_reader_resume_block(watch.reader, SMALL_RINGS, 0, applied, 2));
	CHECK(!kvtap_reader_resume_block(watch.reader, 0, SMALL_OVERFLOW - 8, applied, 2));
	CHECK(!kvtap_reader_resume_block(watch.reader, 0, UINT32_MAX - 7, applied, 2));
	CHECK(!kvtap_reader_resume_block(watch.reader, 0, 4, applied, 2));
	CHECK(kvtap_reader_resume_block(watch.reader, 0, SMALL_OVERFLOW - 16, applied, 2));
	CHECK_EQ(watch_drain(&watch), 300);
	end();
}

TEST(overflow_block_that_is_not_taken_comes_again)
{
	struct kvtap_block_view block;
	enum kvtap_reject why;
	uint32_t cursor;

	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");
	for (int i = 0; i < SMALL_SLOTS + 5; i++)
		kvtap_add(tap, counter, 1);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	for (int i = 0; i < 2; i++) {
		cursor = 0;
		CHECK_EQ(kvtap_reader_block(watch.reader, &why, 0, &cursor, &block), 1);
		CHECK_EQ(block.series, counter);
		CHECK_EQ(block.now[0] - block.applied[0], 5);
	}
	CHECK_EQ(watch_drain(&watch), SMALL_SLOTS + 5);
	cursor = 0; /* read to the end, and nothing was folded since */
	CHECK_EQ(kvtap_reader_block(watch.reader, &why, 0, &cursor, &block), 0);
	end();
}

/* ---- a thread folds at full speed ---- */

static _Atomic(uint32_t) stop;
static uint32_t even, odd;

static void *fold_on(void *unused)
{
	uint64_t *count = unused;

	for (; !kvtap_load_relaxed(&stop); ++*count)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = *count % 2 ? odd : even,
							      .end_ns = 1,
							      .submit_ns = 7,
							      .duration_ns = *count % 2 * 9999999,
							      .descriptors = 40,
							      .bytes = 4096 });
	return NULL;
}

/* Each cell of a NIXL block says the same as its count. */
static void check_whole(const struct kvtap_block_view *block)
{
	const struct kvtap_plan *plan = kvtap_reader_plan(watch.reader, block->series);
	const uint64_t each[] = { block->series == odd ? 9999999 : 0, 7, 4096, 40 };

	for (uint32_t i = 0; i < 4; i++) {
		const uint64_t *cell = block->now + plan->cell[i].word;
		uint64_t buckets = 0;

		for (uint32_t j = 0; j <= plan->cell[i].bounds; j++)
			buckets += cell[2 + j];
		CHECK_EQ(buckets, block->now[0]);
		CHECK_EQ(cell[0], each[i] * block->now[0]);
		CHECK_EQ(cell[1], 0);
	}
}

static void read_whole_blocks(int wanted)
{
	struct kvtap_record record[SMALL_SLOTS];
	struct kvtap_block_view block;
	enum kvtap_reject why;
	uint32_t cursor = 0;

	for (int good = 0; good < wanted;) {
		int rc = kvtap_reader_rings(watch.reader)
				 ? kvtap_reader_block(watch.reader, &why, 0, &cursor, &block)
				 : 0;

		if (rc == 1) {
			check_whole(&block);
			kvtap_reader_block_take(watch.reader, &block);
			good++;
		} else if (rc == 0) {
			cursor = 0;
		} else { /* as told: drain the ring and try again */
			CHECK_EQ(rc, -EAGAIN);
			ssize_t got = kvtap_reader_fetch(watch.reader, &why, 0, record, SMALL_SLOTS,
							 NULL);
			CHECK(got >= 0);
			kvtap_reader_take(watch.reader, 0, (size_t)got);
			CHECK_EQ(kvtap_reader_give_back(watch.reader, 0), 0);
		}
	}
}

static uint32_t nixl_twin(const char *name)
{
	struct kvtap_feed feed[4];
	static const double bounds[] = { 0.005, 10, 100, 1e5 };
	uint32_t kind, series;

	for (uint8_t i = 0; i < 4; i++) {
		static const enum kvtap_field field[] = { KVTAP_FIELD_DURATION, KVTAP_FIELD_SUBMIT,
							  KVTAP_FIELD_BYTES,
							  KVTAP_FIELD_DESCRIPTORS };
		char family[32];

		snprintf(family, sizeof(family), "%s_%d", name, i);
		feed[i] = (struct kvtap_feed){ .field = field[i] };
		CHECK_EQ(kvtap_family_declare(tap, &feed[i].family,
					      &(struct kvtap_family){ .name = family,
								      .metric = KVTAP_HISTOGRAM,
								      .bounds = bounds,
								      .bound_count = 4 }),
			 0);
	}
	CHECK_EQ(kvtap_kind_declare(tap, &kind,
				    &(struct kvtap_kind){
					    .name = name, .feeds = feed, .feed_count = 4 }),
		 0);
	CHECK_EQ(kvtap_kind_series(tap, &series, kind, NULL, 0), 0);
	return series;
}

TEST(overflow_reader_sees_whole_states_while_a_thread_folds)
{
	uint64_t count = 0;
	pthread_t thread;

	tap = small_tap();
	even = nixl_twin("even");
	odd = nixl_twin("odd");
	watch_open(&watch, 0);
	CHECK_EQ(pthread_create(&thread, NULL, fold_on, &count), 0);
	read_whole_blocks(3000);
	kvtap_store_relaxed(&stop, 1);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	end();
}

TEST(overflow_and_ring_together_are_exact_while_a_reader_drains)
{
	uint64_t count = 0;
	pthread_t thread;

	tap = small_tap();
	even = nixl_twin("even");
	odd = nixl_twin("odd");
	watch_open(&watch, 0);
	CHECK_EQ(pthread_create(&thread, NULL, fold_on, &count), 0);
	while (watch.records < 10000 || watch.folded < 10000)
		watch_drain(&watch);
	kvtap_store_relaxed(&stop, 1);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	watch_drain(&watch);
	CHECK_EQ(watch.records + watch.folded, count);
	CHECK_EQ(watch.wrong, 0);
	CHECK_EQ(total_sum(watch_total(&watch, odd), 0), count / 2 * 9999999);
	CHECK_EQ(total_sum(watch_total(&watch, odd), 2) + total_sum(watch_total(&watch, even), 2),
		 count * 4096);
	end();
}

/* ---- a fold that its thread did not finish ---- */

static struct kvtap_ring_header *shared;

static void *add_17(void *series)
{
	for (int i = 0; i < SMALL_SLOTS + 1; i++)
		kvtap_add(tap, *(uint32_t *)series, 1);
	shared = kvtap_ring(tap)->shared;
	return NULL;
}

static void *add_1(void *series)
{
	kvtap_add(tap, *(uint32_t *)series, 1);
	CHECK(kvtap_ring(tap)->shared == shared); /* the same ring, taken over */
	return NULL;
}

/* As after a kill between the sequence and the words: the redo holds the state after the fold. */
TEST(overflow_redo_of_a_dead_thread_is_read_and_then_finished_by_the_next)
{
	struct kvtap_block_view block;
	enum kvtap_reject why;
	uint32_t cursor = 0, counter;

	tap = small_tap();
	counter = counter_series(tap, "c");
	run_thread(add_17, &counter);
	CHECK_EQ(kvtap_load_relaxed(&shared->redo[0].word), 0); /* counts the records */
	kvtap_store_relaxed(&shared->redo[0].value, 42);
	kvtap_store_relaxed(&shared->fold_sequence, kvtap_load_relaxed(&shared->fold_sequence) + 1);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	CHECK_EQ(kvtap_reader_block(watch.reader, &why, 0, &cursor, &block), 1);
	CHECK_EQ(block.now[0], 42);
	run_thread(add_1, &counter);
	cursor = 0;
	CHECK_EQ(kvtap_reader_block(watch.reader, &why, 0, &cursor, &block), 1);
	CHECK_EQ(block.now[0], 43);
	CHECK_EQ(kvtap_load_relaxed(&shared->fold_sequence) % 2, 0);
	end();
}

TEST(overflow_losses_are_told_once_also_by_the_next_reader)
{
	struct kvtap_losses losses, told = { 0 };

	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");
	kvtap_add(tap, counter, -1);
	for (int life = 0; life < 2; life++) {
		watch_open(&watch, 0);
		kvtap_reader_resume_losses(watch.reader, &told);
		CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
		CHECK_EQ(losses.refused_records, life == 0);
		CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
		CHECK_EQ(losses.refused_records, 0);
		told = kvtap_reader_told(watch.reader);
		CHECK_EQ(told.refused_records, 1);
		watch_close(&watch);
	}
	kvtap_close(tap);
	remove_segments();
}
