/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.h - numbers as text for an exposition; pure
 *
 * Knows how Prometheus and OpenMetrics write a number, and the three kinds of sum that a series
 * may have. Knows nothing of series or pages. A field has a fixed width, so that it can be written
 * over in a page: digits after as many zeros as it takes, which every parser reads. No field ends
 * with a NUL. The decimal point is that of the C locale.
 */
#ifndef KVTAP_EXPORTER_NUMBER_H
#define KVTAP_EXPORTER_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#include "kvtap_reader.h"

#define NUMBER_BYTES 64		 /* of any text with its NUL */
#define NUMBER_SHORTEST_BYTES 32 /* of 17 digits, a point, an exponent and a NUL */
#define NUMBER_COUNT_BYTES 20	 /* of the field of a count: all that 64 bits hold */
#define NUMBER_FIELD_BYTES 24	 /* of all others: a sign and 17 digits, with exponent or point */

/* What the parts of a sum count: transfers feed the integers, kvtap_add and observe the last. */
enum number_part {
	NUMBER_UNITS,	    /* 128-bit integer */
	NUMBER_NANOSECONDS, /* 128-bit integer, written as seconds */
	NUMBER_DOUBLE,	    /* double-double */
	NUMBER_PARTS
};

typedef unsigned __int128 number_wide;

/* number_whole - a sum of integers, low word first */
static inline number_wide number_whole(const uint64_t word[2])
{
	return (number_wide)word[1] << 64 | word[0];
}

/* number_add - to such a sum */
static inline void number_add(struct kvtap_sum *sum, number_wide more)
{
	number_wide whole = number_whole(sum->word) + more;

	sum->word[0] = (uint64_t)whole;
	sum->word[1] = (uint64_t)(whole >> 64);
}

/* number_part_of - which part the values of a cell add to */
static inline enum number_part number_part_of(const struct kvtap_cell *cell)
{
	if (!cell->field)
		return NUMBER_DOUBLE;
	return kvtap_field_unit(cell->field) < 1 ? NUMBER_NANOSECONDS : NUMBER_UNITS;
}

void number_count(char field[NUMBER_COUNT_BYTES], uint64_t value);
/*
 * number_field - a decimal of at most 15 digits as it is, else 17 digits, which read back as value
 *
 * NaN, +Inf and -Inf have spaces before them, which only the text formats up to 1.0.0 allow.
 */
void number_field(char field[NUMBER_FIELD_BYTES], double value);
/* number_field_sum - all parts together; to the last digit where they are decimal and it fits */
void number_field_sum(char field[NUMBER_FIELD_BYTES], const struct kvtap_sum part[NUMBER_PARTS]);
/* number_sum - all parts together, as near as a double comes */
double number_sum(const struct kvtap_sum part[NUMBER_PARTS]);

/* number_shortest - the fewest digits that read back as value, not negative: 1e+00, 1.5e-07 */
void number_shortest(char text[NUMBER_SHORTEST_BYTES], double value);
/* number_double - the shortest text that reads back as value; NaN, +Inf, -Inf; returns its length */
size_t number_double(char out[NUMBER_BYTES], double value);
/* number_bound - the canonical text of an le label: 0.005, 1.0, 1e+06, +Inf; returns its length */
size_t number_bound(char out[NUMBER_BYTES], double bound);

#endif
