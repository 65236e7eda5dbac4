/* SPDX-License-Identifier: Apache-2.0 */
/*
 * integer_buckets.h - the bucket of an integer and its native bucket, found together
 *
 * A transfer's fields are integers, and between two steps all integers are in the same bucket of a
 * family and in the same native bucket: such a stretch is a piece. The piece is found by the integer's
 * five leading bits, which leave one native bound at most and few others to compare with. No floating
 * point is involved, and each integer is where kvtap_cell_bucket() and native_observe() have it.
 *
 * Cells with the same bounds and unit share one of these. Only the drain thread calls.
 */
#ifndef KVTAP_EXPORTER_INTEGER_BUCKETS_H
#define KVTAP_EXPORTER_INTEGER_BUCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "kvtap_reader.h"

#define INTEGER_LEADING_BITS 5
#define INTEGER_KEYS ((64 - INTEGER_LEADING_BITS + 2) << (INTEGER_LEADING_BITS - 1))
#define INTEGER_STEPS_MAX (64 * 8 + 2 + KVTAP_BOUNDS_MAX) /* native bounds, 0 and its own */
#define INTEGER_PIECES_MAX (INTEGER_STEPS_MAX + 2)

struct integer_buckets {
	/* of which cells: */
	bool nanoseconds;
	uint32_t bounds;
	uint64_t limit[KVTAP_BOUNDS_MAX]; /* see kvtap_cell */

	uint32_t users;
	uint32_t steps;
	bool dense; /* somewhere more than two steps have the same leading bits */
	/* by leading bits: how many steps are not above the least integer with them */
	uint16_t below[INTEGER_KEYS];
	/* smallest integers of pieces but the first, ascending; then the largest integer, twice */
	uint64_t step[INTEGER_PIECES_MAX];
	/* of a piece; the last one's again for those that only the largest integer gets into */
	uint8_t bucket[INTEGER_PIECES_MAX];
	int16_t native[INTEGER_PIECES_MAX]; /* native_place() */
};

/* integer_buckets_get - of a histogram's cell that a field feeds; NULL: no memory */
const struct integer_buckets *integer_buckets_get(const struct kvtap_cell *cell);
/* integer_buckets_put - it is used no more; NULL: nothing */
void integer_buckets_put(const struct integer_buckets *buckets);

/* integer_key - by the leading bits; small integers are their own key */
static inline uint32_t integer_key(uint64_t value)
{
	const uint64_t least = 1u << (INTEGER_LEADING_BITS - 1);
	uint32_t shift = 64 - INTEGER_LEADING_BITS - (uint32_t)__builtin_clzll(value | least);

	return shift * (uint32_t)least + (uint32_t)(value >> shift);
}

/* integer_piece - less than INTEGER_PIECES_MAX */
static inline uint32_t integer_piece(const struct integer_buckets *buckets, uint64_t value)
{
	uint32_t at = buckets->below[integer_key(value)];
	uint32_t piece = at + (value >= buckets->step[at]) + (value >= buckets->step[at + 1]);

	while (buckets->dense && piece < buckets->steps && value >= buckets->step[piece])
		piece++;
	return piece;
}

#endif
