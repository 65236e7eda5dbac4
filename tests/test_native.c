/* SPDX-License-Identifier: Apache-2.0 */
/* test_native.c - values are in the bucket that Prometheus expects them in, whatever comes */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../exporter/native.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* The bounds as they are defined, a little wider for what pow() rounds. */
static void check_inside(const struct native *native, const struct native_bucket *bucket,
			 double size)
{
	double parts = ldexp(1, native_schema(native)), i = native_index(bucket);

	if (size > pow(2, i / parts) * (1 + 1e-14) || size <= pow(2, (i - 1) / parts) * (1 - 1e-14))
		test_fail(__FILE__, __LINE__, "%a is in bucket %d", size, native_index(bucket));
}

static void check_alone(double value)
{
	struct native native;

	native_init(&native);
	CHECK(native_observe(&native, value, 3));
	CHECK_EQ(native.buckets, 1);
	CHECK_EQ(native.bucket[0].count, 3);
	CHECK_EQ(native_is_negative(&native.bucket[0]), value < 0);
	check_inside(&native, &native.bucket[0], fabs(value));
}

TEST(native_observe_finds_the_bucket_when_the_value_is_any)
{
	for (int i = 0; i < 200000; i++) {
		double value =
			ldexp((double)(random_bits() >> 11), (int)(random_bits() % 1000) - 180);

		if (isfinite(value) && value >= NATIVE_ZERO)
			check_alone(i % 2 ? value : -value);
	}
}

TEST(native_observe_puts_a_bound_into_the_bucket_below)
{
	for (int exponent = -128; exponent < 1024; exponent++) {
		struct native native;
		double bound = ldexp(1, exponent);

		native_init(&native);
		native_observe(&native, bound, 1);
		CHECK_EQ(native_index(&native.bucket[0]), 8 * exponent);
		if (exponent < 1023) {
			native_observe(&native, nextafter(bound, INFINITY), 1);
			CHECK_EQ(native_index(&native.bucket[1]), 8 * exponent + 1);
		}
	}
}

TEST(native_observe_counts_as_zero_what_is_next_to_it)
{
	struct native native;

	native_init(&native);
	native_observe(&native, 0, 1);
	native_observe(&native, -0.0, 1);
	native_observe(&native, nextafter(NATIVE_ZERO, 0), 1);
	native_observe(&native, -5e-324, 1);
	CHECK_EQ(native.zeros, 4);
	CHECK_EQ(native.buckets, 0);
	CHECK_EQ(native_count(&native), 4);
}

TEST(native_observe_tells_when_buckets_change)
{
	struct native native;

	native_init(&native);
	CHECK(native_observe(&native, 1, 1));
	CHECK(!native_observe(&native, 1, 1));
	CHECK(native_observe(&native, 256, 1)); /* the same hint */
	CHECK(!native_observe(&native, 1, 1));
	CHECK(!native_observe(&native, 256, 1));
	CHECK(native_observe(&native, -1, 1));
	CHECK(!native_observe(&native, 1, 1));
	CHECK_EQ(native.buckets, 3);
	CHECK(native_is_negative(&native.bucket[0]));
	CHECK_EQ(native.bucket[1].count, 4);
	CHECK_EQ(native.bucket[2].count, 2);
}

/* Every bucket that 160 do not suffice for makes the others wider, and nothing is lost. */
TEST(native_observe_halves_the_resolution_when_buckets_run_out)
{
	struct native native;
	uint64_t count = 0;

	native_init(&native);
	for (int exponent = -128; exponent < 1024; exponent++) {
		for (int side = -1; side <= 1; side += 2) {
			native_observe(&native, ldexp(side * 1.5, exponent), 2);
			count += 2;
			CHECK(native.buckets <= NATIVE_BUCKETS);
			CHECK_EQ(native_count(&native), count);
		}
	}
	CHECK_EQ(native_schema(&native), NATIVE_SCHEMA_MIN);
	for (uint32_t i = 1; i < native.buckets; i++)
		CHECK(native.bucket[i - 1].key < native.bucket[i].key);
}

TEST(native_observe_is_the_same_at_a_coarse_schema_whenever_that_came)
{
	struct native early, late;

	native_init(&early);
	native_init(&late);
	early.coarser = 2;
	for (int i = 0; i < 1000; i++) {
		double value = ldexp(1 + (double)(random_bits() >> 11) / 0x1p53,
				     (int)(random_bits() % 79) - 40);

		native_observe(&early, value, 1);
		native_observe(&late, value, 1);
	}
	CHECK_EQ(late.coarser, 2);
	CHECK_EQ(early.buckets, late.buckets);
	CHECK(!memcmp(early.bucket, late.bucket, early.buckets * sizeof(early.bucket[0])));
}

TEST(native_restore_takes_what_native_bytes_covers)
{
	struct native native, again;

	native_init(&native);
	for (int i = 0; i < 1000; i++)
		native_observe(&native, (double)(random_bits() % 100000) - 50000, i);
	memset(&again, 0xff, sizeof(again));
	CHECK(native_restore(&again, &native, native_bytes(&native)));
	CHECK_EQ(native_count(&again), native_count(&native));
	native_observe(&native, 3, 1);
	native_observe(&again, 3, 1);
	CHECK_EQ(native_bytes(&again), native_bytes(&native));
	CHECK(!memcmp(&again, &native, native_bytes(&native)));
}

TEST(native_restore_refuses_what_no_histogram_can_be)
{
	struct native good, bad, out;

	native_init(&good);
	native_observe(&good, 1, 1);
	native_observe(&good, 2, 1);
	size_t bytes = native_bytes(&good);
	CHECK(!native_restore(&out, &good, bytes - 1));
	CHECK(!native_restore(&out, &good, bytes + 1));
	CHECK(!native_restore(&out, &good, 0));
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		bad = good;                                                                        \
		change;                                                                            \
		CHECK(!native_restore(&out, &bad, native_bytes(&good)));                           \
		CHECK_EQ(native_count(&out), 0);                                                   \
	} while (0)
	REFUSED(bad.coarser = -1);
	REFUSED(bad.coarser = 8);
	REFUSED(bad.buckets = 1);
	REFUSED(bad.buckets = 161);
	REFUSED(bad.buckets = UINT32_MAX);
	REFUSED(bad.bucket[0].count = 0);
	REFUSED(bad.bucket[0].key = bad.bucket[1].key);
	REFUSED(bad.bucket[1].key = INT32_MAX);
	REFUSED(bad.bucket[0].key = 0);
	REFUSED(bad.bucket[0].key = INT32_MIN);
	REFUSED(bad.coarser = 7; bad.bucket[1].key = (1 << 16) + 65);
}
