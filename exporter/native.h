/* SPDX-License-Identifier: Apache-2.0 */
/*
 * native.h - the buckets of a native histogram, as Prometheus has them; pure
 *
 * Bucket i of schema s holds the values above 2^((i-1)/2^s) up to 2^(i/2^s); negative values have
 * buckets of their own, by their absolute value. Only buckets that hold something take room. It
 * begins with eight buckets for each power of two; when NATIVE_BUCKETS are not enough, each two
 * neighbours become one, until they are. Values nearer to 0 than NATIVE_ZERO count as zero, so that
 * the coarsest schema always has room for all doubles. One thread at a time.
 */
#ifndef KVTAP_EXPORTER_NATIVE_H
#define KVTAP_EXPORTER_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NATIVE_BUCKETS 160
#define NATIVE_SCHEMA_MAX 3
#define NATIVE_SCHEMA_MIN (-4)
#define NATIVE_ZERO 0x1p-128

struct native_bucket {
	uint64_t count;
	int32_t key; /* native_index() with a side */
	int32_t reserved;
};

/* Plain old data: its first native_bytes() bytes are all of it, the rest may be anything. */
struct native {
	uint64_t zeros;
	int32_t coarser; /* the schema is NATIVE_SCHEMA_MAX less this */
	uint32_t buckets;
	struct native_bucket bucket[NATIVE_BUCKETS]; /* by key: the negative ones first */
	uint8_t hint[256]; /* by the low bits of a key: where it was last found */
};

void native_init(struct native *native);

/* native_observe - count n times; returns whether buckets came or were joined */
bool native_observe(struct native *native, double value, uint64_t n);

/* native_observe_at - the same for a bucket of the finest schema, which native_place() tells */
bool native_observe_at(struct native *native, int32_t place, uint64_t n);
/* native_place - where a value above 0 belongs; NATIVE_NOWHERE: it counts as zero */
int32_t native_place(double value);
#define NATIVE_NOWHERE INT16_MIN /* less than all places, as they all fit into 16 bits */

static inline int native_schema(const struct native *native)
{
	return NATIVE_SCHEMA_MAX - native->coarser;
}

static inline bool native_is_negative(const struct native_bucket *bucket)
{
	return bucket->key < 0;
}

/* native_index - the i of a bucket in its schema */
static inline int native_index(const struct native_bucket *bucket)
{
	return bucket->key < 0 ? bucket->key + (1 << 16) : bucket->key - (1 << 16);
}

/* native_count - all that was counted */
uint64_t native_count(const struct native *native);

/* native_bytes - how many bytes are in use */
size_t native_bytes(const struct native *native);
/* native_restore - take bytes of an earlier life; false: they can't be trusted, and it is empty */
bool native_restore(struct native *native, const void *bytes, size_t size);

#endif
