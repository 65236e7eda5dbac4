/* SPDX-License-Identifier: Apache-2.0 */
/* test_integer_buckets.c - every integer is in the bucket and native bucket where others have it */
#include "../exporter/integer_buckets.h"

#include <stdlib.h>

#include "../exporter/family.h"
#include "../exporter/native.h"
#include "../exporter/number.h"
#include "../lib/plan.h"
#include "test.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

struct fixture {
	struct kvtap_plan plan;
	uint64_t limit[KVTAP_BOUNDS_MAX];
	const struct integer_buckets *buckets;
};

static void begin(struct fixture *f, uint8_t field, const double *bound, uint32_t bounds)
{
	kvtap_plan_begin(&f->plan, KVTAP_OP_TRANSFER);
	kvtap_plan_cell(&f->plan, 1, KVTAP_HISTOGRAM, field, KVTAP_WHEN_ALWAYS, bound, bounds,
			f->limit);
	f->buckets = integer_buckets_get(&f->plan.cell[0]);
	CHECK(f->buckets);
}

static void check(const struct fixture *f, uint64_t value)
{
	bool seconds = number_part_of(&f->plan.cell[0]) == NUMBER_NANOSECONDS;
	uint32_t piece = integer_piece(f->buckets, value);
	struct native native;

	CHECK(piece < INTEGER_PIECES_MAX);
	CHECK_EQ(f->buckets->bucket[piece], kvtap_cell_bucket(&f->plan.cell[0], value));
	native_init(&native);
	native_observe(&native, seconds ? (double)value / 1e9 : (double)value, 1);
	CHECK_EQ(native.zeros, f->buckets->native[piece] == NATIVE_NOWHERE);
	if (!native.zeros)
		CHECK_EQ(f->buckets->native[piece], native_index(&native.bucket[0]));
}

/* Around each step, each power of two and each sixteenth of one; and of all magnitudes. */
static void check_all(const struct fixture *f)
{
	for (uint32_t i = 0; i < f->buckets->steps; i++)
		for (int off = -2; off <= 2; off++)
			check(f, f->buckets->step[i] + (uint64_t)off);
	for (int shift = 0; shift < 60; shift++)
		for (uint64_t part = 16; part < 32; part++)
			for (int off = -1; off <= 1; off++)
				check(f, (part << shift) + (uint64_t)off);
	for (uint64_t value = 0; value < 5000; value++)
		check(f, value);
	for (int i = 0; i < 100000; i++)
		check(f, random_bits() >> i % 64);
	check(f, UINT64_MAX);
}

static void check_bounds(const double *bound, uint32_t bounds)
{
	static const uint8_t fields[] = { KVTAP_FIELD_BYTES, KVTAP_FIELD_DURATION };

	for (int i = 0; i < 2; i++) {
		struct fixture f;

		begin(&f, fields[i], bound, bounds);
		check_all(&f);
		integer_buckets_put(f.buckets);
	}
}

TEST(integer_buckets_agree_with_others_for_times_and_sizes)
{
	static const double times[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
					0.2,   0.3,   0.5,  0.75,  1.0,	 5.0 };
	static const double sizes[] = { 1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 1e8, 150e6, 200e6 };

	check_bounds(times, 13);
	check_bounds(sizes, 10);
}

TEST(integer_buckets_agree_without_bounds)
{
	check_bounds(NULL, 0);
}

TEST(integer_buckets_agree_when_bounds_lie_close_together)
{
	double bound[KVTAP_BOUNDS_MAX];

	for (int i = 0; i < KVTAP_BOUNDS_MAX; i++)
		bound[i] = 1000000 + i;
	check_bounds(bound, KVTAP_BOUNDS_MAX);
	for (int i = 0; i < KVTAP_BOUNDS_MAX; i++)
		bound[i] = 0.5 + i * 1e-9;
	check_bounds(bound, KVTAP_BOUNDS_MAX);
}

TEST(integer_buckets_agree_when_bounds_are_beyond_all_integers)
{
	static const double bound[] = {
		-1e300, -1, 0, 0.5, 1, 0x1p53, 0x1p62, 0x1p63, 0x1p64, 1e300
	};

	check_bounds(bound, 10);
}

TEST(integer_buckets_agree_for_any_bounds)
{
	double bound[KVTAP_BOUNDS_MAX];

	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < KVTAP_BOUNDS_MAX; i++)
			bound[i] = (i ? bound[i - 1] : 1e-9) *
				   (1 + (double)(random_bits() % 1000 + 1) / 700);
		check_bounds(bound, KVTAP_BOUNDS_MAX);
	}
}

TEST(integer_buckets_are_shared_by_cells_with_the_same_bounds_and_unit)
{
	static const double bound[] = { 1, 2 }, other[] = { 1, 3 };
	struct fixture f[4];

	begin(&f[0], KVTAP_FIELD_DURATION, bound, 2);
	begin(&f[1], KVTAP_FIELD_SUBMIT, bound, 2);
	begin(&f[2], KVTAP_FIELD_BYTES, bound, 2);
	begin(&f[3], KVTAP_FIELD_DURATION, other, 2);
	CHECK(f[0].buckets == f[1].buckets);
	CHECK(f[0].buckets != f[2].buckets && f[0].buckets != f[3].buckets);
	for (int i = 0; i < 4; i++)
		integer_buckets_put(f[i].buckets);
	integer_buckets_put(NULL);
}

TEST(integer_buckets_of_hostile_families_are_within_their_budget)
{
	static const uint8_t fields[] = { KVTAP_FIELD_BYTES, KVTAP_FIELD_DURATION };
	struct families families;
	struct budget budget = { 0 };
	uint64_t bytes = 0;

	CHECK_EQ(families_init(&families), 0);
	families.limits.all.bytes = 1 << 20;
	for (uint32_t i = 0;; i++) {
		double bound = 1 + i; /* none can be shared */
		char name[] = { (char)('a' + i % 26), (char)('a' + i / 26) };
		struct kvtap_family_view view = {
			.name = { name, 2 }, .metric = KVTAP_HISTOGRAM, .bounds = 1, .bound = &bound
		};
		struct family *family;
		struct fixture f;

		if (family_declare(&family, &families, &view, &budget))
			break;
		for (int k = 0; k < 2; k++, bytes += sizeof(*f.buckets)) {
			begin(&f, fields[k], &bound, 1);
			CHECK(family_feed(family, &f.plan.cell[0]));
			integer_buckets_put(f.buckets);
			CHECK(family->integers[number_part_of(&f.plan.cell[0])] == f.buckets);
		}
	}
	CHECK(bytes && bytes <= families.limits.all.bytes);
	families_free(&families);
}
