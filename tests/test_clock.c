/* SPDX-License-Identifier: Apache-2.0 */
/* test_clock.c - the calibrated clock: its rate, its bound, when it gives up; points are made up */
#include "../lib/clock.h"

#include <pthread.h>

#include "support_segment.h"
#include "test.h"

#define SECOND 1000000000ull
#define START 5000ull /* ns, at tick 7 */

static struct kvtap_calibration made_up;

/* A counter of 2 ticks a nanosecond. */
static uint64_t ticks_at(uint64_t ns)
{
	return 7 + 2 * (ns - START);
}

static void calibrate(uint64_t ns)
{
	CHECK(kvtap_clock_update(&made_up, ticks_at(START), START));
	CHECK(kvtap_clock_update(&made_up, ticks_at(ns), ns));
}

TEST(clock_extrapolates_at_the_rate_of_its_last_two_points)
{
	uint64_t last = START + KVTAP_CLOCK_FIRST_NS;

	calibrate(last);
	CHECK_EQ(kvtap_clock_read(&made_up, ticks_at(last)), last);
	CHECK_EQ(kvtap_clock_read(&made_up, ticks_at(last + 1000000)), last + 1000000);
}

TEST(clock_has_no_rate_of_points_that_are_too_near)
{
	calibrate(START + KVTAP_CLOCK_FIRST_NS - 1);
	CHECK_EQ(kvtap_load_relaxed(&made_up.rate), 0);
}

TEST(clock_is_good_for_ten_times_as_long_as_it_was_calibrated_up_to_a_second)
{
	calibrate(START + KVTAP_CLOCK_FIRST_NS);
	CHECK_EQ(kvtap_load_relaxed(&made_up.period), 2 * 10 * KVTAP_CLOCK_FIRST_NS);
	CHECK(kvtap_clock_update(&made_up, ticks_at(START + 3 * SECOND), START + 3 * SECOND));
	CHECK_EQ(kvtap_load_relaxed(&made_up.period), 2 * SECOND);
}

/* The real clocks are far from the made-up ones. */
TEST(clock_asks_the_kernel_when_its_calibration_is_too_old)
{
	uint64_t before = kvtap_clock_monotonic();

	calibrate(START + SECOND);
	CHECK(kvtap_clock_read(&made_up, ticks_at(START + 2 * SECOND)) >= before);
}

TEST(clock_asks_the_kernel_while_a_point_is_taken)
{
	uint64_t before = kvtap_clock_monotonic();

	calibrate(START + SECOND);
	kvtap_store_relaxed(&made_up.sequence, kvtap_load_relaxed(&made_up.sequence) + 1);
	CHECK(kvtap_clock_read(&made_up, ticks_at(START + SECOND)) >= before);
	CHECK(!kvtap_clock_update(&made_up, ticks_at(START + 2 * SECOND), START + 2 * SECOND));
}

/* Each as far after a second as told. */
static bool stays_on(int64_t off_ns)
{
	uint64_t ns = START + 2 * SECOND;

	made_up = (struct kvtap_calibration){ 0 };
	calibrate(START + SECOND);
	CHECK(kvtap_clock_update(&made_up, ticks_at(ns + (uint64_t)off_ns), ns));
	return !kvtap_load_relaxed(&made_up.off);
}

TEST(clock_takes_what_the_kernel_may_slew)
{
	CHECK(stays_on(0));
	CHECK(stays_on(1000000));
	CHECK(stays_on(-1000000));
}

TEST(clock_gives_up_for_good_when_the_clocks_disagree)
{
	CHECK(!stays_on(1020000));
	CHECK(!stays_on(-1020000));
	CHECK(!kvtap_clock_update(&made_up, ticks_at(START + 3 * SECOND), START + 3 * SECOND));
	CHECK(kvtap_clock_read(&made_up, ticks_at(START + 2 * SECOND)) > START + 3 * SECOND);
}

TEST(clock_gives_up_for_good_when_the_counter_goes_back)
{
	calibrate(START + SECOND);
	CHECK(kvtap_clock_update(&made_up, ticks_at(START + SECOND / 2), START + 2 * SECOND));
	CHECK(kvtap_load_relaxed(&made_up.off));
}

/* Two threads read a point each, and the one that read first is the last to set it. */
TEST(clock_stays_on_when_a_point_comes_after_a_later_one)
{
	uint64_t rate;

	calibrate(START + SECOND);
	rate = kvtap_load_relaxed(&made_up.rate);
	CHECK(kvtap_clock_update(&made_up, ticks_at(START + SECOND - 100), START + SECOND - 100));
	CHECK(kvtap_clock_update(&made_up, ticks_at(START + SECOND + 100), START + SECOND + 130));
	CHECK(!kvtap_load_relaxed(&made_up.off));
	CHECK_EQ(kvtap_load_relaxed(&made_up.ns), START + SECOND);
	CHECK_EQ(kvtap_load_relaxed(&made_up.rate), rate);
}

TEST(clock_gives_up_for_good_when_no_rate_fits_its_first_two_points)
{
	CHECK(kvtap_clock_update(&made_up, 7, START));
	CHECK(kvtap_clock_update(&made_up, 7 + (1ull << 62), START + SECOND));
	CHECK(kvtap_load_relaxed(&made_up.off));
}

/* ---- the real counter ---- */

#define BOUND_NS (SECOND / (1000000 / KVTAP_CLOCK_OFF_PPM) + KVTAP_CLOCK_OFF_NS)

static void *compare(void *unused)
{
	uint64_t began = kvtap_clock_monotonic(), after = began;

	while (after - began < 3 * SECOND / 2) {
		uint64_t before = kvtap_clock_monotonic();
		uint64_t now = kvtap_clock_tsc();

		after = kvtap_clock_monotonic();
		CHECK(now >= before - BOUND_NS && now <= after + BOUND_NS);
	}
	return unused;
}

TEST(clock_of_the_counter_is_the_kernels_within_its_bound_in_two_threads)
{
	pthread_t thread;

	if (!kvtap_clock_trusted())
		SKIP("the kernel does not go by the CPU's counter");
	CHECK_EQ(pthread_create(&thread, NULL, compare, NULL), 0);
	compare(NULL);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(clock_of_a_tap_is_the_kernels_within_its_bound)
{
	struct kvtap_options options = small_options();
	struct kvtap_record record;
	enum kvtap_reject why;
	struct watch watch;
	struct kvtap *tap;
	uint64_t before;

	options.clock = KVTAP_CLOCK_TSC;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	before = kvtap_clock_monotonic();
	kvtap_transfer(tap, &(struct kvtap_transfer){
				    .series = builtin_series(tap, KVTAP_OFFLOAD_LOAD) });
	watch_open(&watch, 0);
	kvtap_reader_rings(watch.reader);
	CHECK_EQ(kvtap_reader_fetch(watch.reader, &why, 0, &record, 1, NULL), 1);
	CHECK(record.end_ns >= before - BOUND_NS);
	CHECK(record.end_ns <= kvtap_clock_monotonic() + BOUND_NS);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(clock_that_is_unknown_is_refused)
{
	struct kvtap_options options = small_options();
	struct kvtap *tap;

	options.clock = KVTAP_CLOCK_TSC + 1;
	CHECK_EQ(kvtap_open(&tap, &options), -22);
	kvtap_close(tap);
}
