/* SPDX-License-Identifier: Apache-2.0 */
/*
 * native.c - the buckets of a native histogram, as Prometheus has them; pure
 *
 * A bucket is found by the bits of the double: the exponent says which power of two, the mantissa's
 * first four which of eight parts, but for one comparison. Indices are those of the finest schema,
 * divided by what it was made coarser, rounding up, since a bucket holds its upper bound.
 */
#include "native.h"

#include <math.h>
#include <string.h>

#define SIDE (1 << 16) /* more than any index */
#define MANTISSA_BITS 52
#define MANTISSA_MASK ((1ull << MANTISSA_BITS) - 1)
#define EXPONENT_BIAS 1023

/* The mantissas of 2^(i/8); each sixteenth of a power of two holds at most one of them. */
static const uint64_t bound[9] = { 0,
				   0x172b83c7d517b,
				   0x306fe0a31b715,
				   0x4bfdad5362a27,
				   0x6a09e667f3bcd,
				   0x8ace5422aa0db,
				   0xae89f995ad3ad,
				   0xd5818dcfba487,
				   UINT64_MAX };
/* How many of them are below each sixteenth. */
static const uint8_t below[16] = { 0, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 8, 8 };

/* The finest schema's index of a size of at least NATIVE_ZERO. */
static inline int32_t fine_index(double size)
{
	uint64_t bits;

	memcpy(&bits, &size, sizeof(bits));
	int32_t exponent = (int32_t)(bits >> MANTISSA_BITS) - EXPONENT_BIAS;
	uint64_t mantissa = bits & MANTISSA_MASK;
	int32_t part = below[mantissa >> (MANTISSA_BITS - 4)];
	return exponent * 8 + part + (mantissa > bound[part]);
}

static inline int32_t coarsen(int32_t index, int32_t coarser)
{
	return (index + (1 << coarser) - 1) >> coarser;
}

void native_init(struct native *native)
{
	memset(native, 0, offsetof(struct native, bucket));
	memset(native->hint, 0, sizeof(native->hint));
}

/* Where the key is or belongs. */
static uint32_t find(const struct native *native, int32_t key)
{
	uint32_t from = 0, to = native->buckets;

	while (from < to) {
		uint32_t middle = (from + to) / 2;

		if (native->bucket[middle].key < key)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static int32_t coarser_key(int32_t key)
{
	return key < 0 ? coarsen(key + SIDE, 1) - SIDE : coarsen(key - SIDE, 1) + SIDE;
}

/* Each two neighbours become one. */
static void join(struct native *native)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < native->buckets; i++) {
		struct native_bucket next = native->bucket[i];

		next.key = coarser_key(next.key);
		if (kept && native->bucket[kept - 1].key == next.key)
			native->bucket[kept - 1].count += next.count;
		else
			native->bucket[kept++] = next;
	}
	native->buckets = kept;
	native->coarser++;
}

static void insert(struct native *native, int32_t key, uint64_t n)
{
	uint32_t at = find(native, key);

	if (at < native->buckets && native->bucket[at].key == key) {
		native->bucket[at].count += n;
		return;
	}
	memmove(&native->bucket[at + 1], &native->bucket[at],
		(native->buckets - at) * sizeof(native->bucket[0]));
	native->bucket[at] = (struct native_bucket){ .count = n, .key = key };
	native->buckets++;
}

/* A bucket that is not where the hint says: found, or made. */
static bool add(struct native *native, int32_t key, uint64_t n)
{
	uint32_t at = find(native, key);
	bool there = at < native->buckets && native->bucket[at].key == key;

	while (!there && native->buckets == NATIVE_BUCKETS) {
		join(native);
		key = coarser_key(key);
	}
	insert(native, key, n);
	native->hint[(uint8_t)key] = (uint8_t)find(native, key);
	return !there;
}

/* index: of the finest schema */
static bool count(struct native *native, int32_t index, bool negative, uint64_t n)
{
	index = coarsen(index, native->coarser);
	int32_t key = negative ? index - SIDE : index + SIDE;
	uint32_t at = native->hint[(uint8_t)key];
	if (at >= native->buckets || native->bucket[at].key != key)
		return add(native, key, n);
	native->bucket[at].count += n;
	return false;
}

bool native_observe(struct native *native, double value, uint64_t n)
{
	double size = fabs(value);

	if (size >= NATIVE_ZERO)
		return count(native, fine_index(size), value < 0, n);
	native->zeros += n;
	return false;
}

int32_t native_place(double value)
{
	return value >= NATIVE_ZERO ? fine_index(value) : NATIVE_NOWHERE;
}

bool native_observe_at(struct native *native, int32_t place, uint64_t n)
{
	if (place != NATIVE_NOWHERE)
		return count(native, place, false, n);
	native->zeros += n;
	return false;
}

uint64_t native_count(const struct native *native)
{
	uint64_t count = native->zeros;

	for (uint32_t i = 0; i < native->buckets; i++)
		count += native->bucket[i].count;
	return count;
}

size_t native_bytes(const struct native *native)
{
	return offsetof(struct native, bucket) + native->buckets * sizeof(native->bucket[0]);
}

/* Keys ascend, none is outside of what a double can give, and none counts nothing. */
static bool buckets_valid(const struct native *native)
{
	int32_t low = coarsen(-128 * 8, native->coarser), high = coarsen(1024 * 8, native->coarser);

	for (uint32_t i = 0; i < native->buckets; i++) {
		const struct native_bucket *bucket = &native->bucket[i];
		int index = native_index(bucket);

		if (!bucket->count || index < low || index > high)
			return false;
		if (i && bucket->key <= bucket[-1].key)
			return false;
	}
	return true;
}

bool native_restore(struct native *native, const void *bytes, size_t size)
{
	native_init(native);
	if (size < offsetof(struct native, bucket) || size > offsetof(struct native, hint))
		return false;
	memcpy(native, bytes, size);
	if (native->buckets <= NATIVE_BUCKETS && size == native_bytes(native) &&
	    native->coarser >= 0 && native->coarser <= NATIVE_SCHEMA_MAX - NATIVE_SCHEMA_MIN &&
	    buckets_valid(native))
		return true;
	native_init(native);
	return false;
}
