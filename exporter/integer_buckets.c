/* SPDX-License-Identifier: Apache-2.0 */
/*
 * integer_buckets.c - the bucket of an integer and its native bucket, found together
 *
 * What is where is asked of those who know, kvtap_cell_bucket() and native_place(), at the first
 * integer of each piece; the native steps of a unit are searched for with the latter, once.
 */
#include "integer_buckets.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"
#include "number.h"

#define KEY_LEAST (1u << (INTEGER_LEADING_BITS - 1))

_Static_assert(KVTAP_BOUNDS_MAX <= UINT8_MAX && INTEGER_STEPS_MAX <= UINT16_MAX, "their places");

/* Of all that are used, by compare(). */
static void *known;

/* ---- native bounds ---- */

struct native_steps {
	uint32_t count;
	uint64_t step[64 * 8 + 2];
};

static uint64_t least_of(uint32_t key)
{
	uint32_t shift = key < 2 * KEY_LEAST ? 0 : key / KEY_LEAST - 1;

	return (uint64_t)(key - shift * KEY_LEAST) << shift;
}

static int32_t place_of(uint64_t value, bool nanoseconds)
{
	return native_place(nanoseconds ? (double)value / 1e9 : (double)value);
}

/* The smallest integer above low, up to high, that is not in low's native bucket; high's is not. */
static uint64_t next_step(uint64_t low, uint64_t high, bool nanoseconds)
{
	int32_t place = place_of(low, nanoseconds);

	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		if (place_of(middle, nanoseconds) == place)
			low = middle;
		else
			high = middle;
	}
	return high;
}

static void find_native_steps(struct native_steps *steps, bool nanoseconds)
{
	for (uint32_t key = 0; key < INTEGER_KEYS; key++) {
		bool last = key + 1 == INTEGER_KEYS;
		uint64_t low = least_of(key), high = last ? UINT64_MAX : least_of(key + 1);

		while (place_of(low, nanoseconds) != place_of(high, nanoseconds)) {
			low = next_step(low, high, nanoseconds);
			steps->step[steps->count++] = low;
		}
	}
}

static const struct native_steps *native_steps(bool nanoseconds)
{
	static struct native_steps found[2];

	if (!found[nanoseconds].count)
		find_native_steps(&found[nanoseconds], nanoseconds);
	return &found[nanoseconds];
}

/* ---- pieces ---- */

static void add_step(struct integer_buckets *buckets, uint64_t step)
{
	if (!buckets->steps || buckets->step[buckets->steps - 1] != step)
		buckets->step[buckets->steps++] = step;
}

/* All bounds of both kinds, in order. A limit of 0 is below all integers. */
static void merge_steps(struct integer_buckets *buckets)
{
	const struct native_steps *native = native_steps(buckets->nanoseconds);
	uint32_t i = 0, j = 0;

	while (i < native->count || j < buckets->bounds) {
		bool is_limit = i == native->count ||
				(j < buckets->bounds && buckets->limit[j] < native->step[i]);
		uint64_t step = is_limit ? buckets->limit[j++] : native->step[i++];

		if (step)
			add_step(buckets, step);
	}
}

static void find_keys(struct integer_buckets *buckets)
{
	uint32_t at = 0;

	for (uint32_t key = 0; key < INTEGER_KEYS; key++) {
		uint32_t before = at;

		while (at < buckets->steps && buckets->step[at] <= least_of(key))
			at++;
		buckets->below[key] = (uint16_t)at;
		buckets->dense |= at - before > 2;
	}
	buckets->dense |= buckets->steps - at > 2;
}

static void name_pieces(struct integer_buckets *buckets, const struct kvtap_cell *cell)
{
	for (uint32_t i = 0; i < INTEGER_PIECES_MAX; i++) {
		uint32_t last = i < buckets->steps ? i : buckets->steps;
		uint64_t least = last ? buckets->step[last - 1] : 0;

		buckets->bucket[i] = (uint8_t)kvtap_cell_bucket(cell, least);
		buckets->native[i] = (int16_t)place_of(least, buckets->nanoseconds);
	}
	for (uint32_t i = buckets->steps; i < INTEGER_PIECES_MAX; i++)
		buckets->step[i] = UINT64_MAX;
}

/* ---- sharing ---- */

static int compare(const void *left, const void *right)
{
	const struct integer_buckets *a = left, *b = right;

	if (a->bounds != b->bounds)
		return a->bounds < b->bounds ? -1 : 1;
	if (a->nanoseconds != b->nanoseconds)
		return a->nanoseconds ? 1 : -1;
	return memcmp(a->limit, b->limit, a->bounds * sizeof(a->limit[0]));
}

static struct integer_buckets *make(const struct integer_buckets *key,
				    const struct kvtap_cell *cell)
{
	struct integer_buckets *made = malloc(sizeof(*made));

	if (!made)
		return NULL;
	*made = *key;
	merge_steps(made);
	find_keys(made);
	name_pieces(made, cell);
	if (tsearch(made, &known, compare))
		return made;
	free(made);
	return NULL;
}

const struct integer_buckets *integer_buckets_get(const struct kvtap_cell *cell)
{
	struct integer_buckets key = { .nanoseconds = number_part_of(cell) == NUMBER_NANOSECONDS,
				       .bounds = cell->bounds };

	if (cell->bounds)
		memcpy(key.limit, cell->limit, cell->bounds * sizeof(key.limit[0]));
	struct integer_buckets **found = tfind(&key, &known, compare);
	struct integer_buckets *buckets = found ? *found : make(&key, cell);
	if (buckets)
		buckets->users++;
	return buckets;
}

void integer_buckets_put(const struct integer_buckets *buckets)
{
	struct integer_buckets **found = buckets ? tfind(buckets, &known, compare) : NULL;

	if (!found || --(*found)->users)
		return;
	struct integer_buckets *last = *found;
	tdelete(last, &known, compare);
	free(last);
}
