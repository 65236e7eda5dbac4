/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.c - numbers as text for an exposition; pure
 *
 * Fields are written for each series of each page, so they take no library call: integers eight
 * digits at a time, doubles by one 128-bit product. Texts are written when something appears: a
 * double gets the fewest of 15, 16 or 17 digits that read back as the same double; 15 always hold a
 * decimal of up to 15 digits, 17 hold every double. Integers and times are written from their
 * 128-bit sums, so that no digit is lost before Prometheus rounds it.
 */
#include "number.h"

#include <endian.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NANOSECONDS 1000000000u
#define EXACT_MAX 0x1p63 /* largest integral double-double that joins the units */
#define POINT_MAX 21	 /* digits after the point that leave room for a sign and one before it */
#define E8 100000000u
#define E14 100000000000000ull
#define E16 10000000000000000ull
#define E23 ((number_wide)E14 * 1000000000u)
#define E24 (E23 * 10)

struct decimal {
	char digit[24]; /* without a point; no zeros at the end */
	int digits;
	int exponent; /* of the first digit */
	bool negative;
};

static size_t put(char out[NUMBER_BYTES], const char *text)
{
	size_t bytes = strlen(text);

	memcpy(out, text, bytes + 1);
	return bytes;
}

/* The decimal of as many digits above this one, as text by "%.15e" has it, in place; not all nines. */
static void step_up(char *text)
{
	char *c = strchr(text, 'e') - 1;

	for (; *c == '9' || *c == '.'; c--)
		if (*c == '9')
			*c = '0';
	++*c;
}

/* Without the zeros that its mantissa ends with. */
static void trim(char *text)
{
	char *e = strchr(text, 'e'), *end = e;

	while (end > text + 1 && (end[-1] == '0' || end[-1] == '.'))
		end--;
	memmove(end, e, strlen(e) + 1);
}

/*
 * The nearest decimal of the fewest digits that read back. Above a power of two doubles are twice as
 * far apart as below: there the next decimal up may read back when the nearest one, below, doesn't.
 * Decimals of 15 digits are too far apart for that, of 17 the nearest always reads back. And 15 are
 * the fewest that any may need, but for those below the normal numbers.
 */
void number_shortest(char text[NUMBER_SHORTEST_BYTES], double value)
{
	int exponent;
	bool power = frexp(value, &exponent) == 0.5;

	for (int digits = value < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
		snprintf(text, NUMBER_SHORTEST_BYTES, "%.*e", digits - 1, value);
		if (strtod(text, NULL) == value)
			break;
		if (digits != 16 || !power || strtod(text, NULL) > value)
			continue;
		step_up(text);
		if (strtod(text, NULL) == value)
			break;
	}
	trim(text);
}

static void shortest(struct decimal *decimal, double value)
{
	char text[NUMBER_SHORTEST_BYTES];

	number_shortest(text, fabs(value));
	char *e = strchr(text, 'e');
	decimal->negative = signbit(value);
	decimal->exponent = atoi(e + 1);
	decimal->digits = 0;
	for (const char *c = text; c < e; c++)
		if (*c != '.')
			decimal->digit[decimal->digits++] = *c;
}

static size_t put_scientific(char out[NUMBER_BYTES], const struct decimal *decimal)
{
	const char *point = decimal->digits > 1 ? "." : "";

	return (size_t)snprintf(out, NUMBER_BYTES, "%s%c%s%.*se%+03d", decimal->negative ? "-" : "",
				decimal->digit[0], point, decimal->digits - 1, decimal->digit + 1,
				decimal->exponent);
}

static size_t put_plain(char out[NUMBER_BYTES], const struct decimal *decimal, bool fraction)
{
	char *at = out;
	int whole = decimal->exponent + 1; /* digits before the point */

	if (decimal->negative)
		*at++ = '-';
	if (whole <= 0)
		*at++ = '0';
	for (int i = 0; i < whole; i++)
		*at++ = i < decimal->digits ? decimal->digit[i] : '0';
	if (decimal->digits > whole || fraction)
		*at++ = '.';
	for (int i = whole; i < 0; i++)
		*at++ = '0';
	for (int i = whole > 0 ? whole : 0; i < decimal->digits; i++)
		*at++ = decimal->digit[i];
	if (at[-1] == '.')
		*at++ = '0';
	*at = '\0';
	return (size_t)(at - out);
}

static size_t put_double(char out[NUMBER_BYTES], double value, int scientific_from, bool fraction)
{
	struct decimal decimal;

	if (isnan(value))
		return put(out, "NaN");
	if (isinf(value))
		return put(out, value > 0 ? "+Inf" : "-Inf");
	shortest(&decimal, value);
	if (decimal.exponent < -4 || decimal.exponent >= scientific_from)
		return put_scientific(out, &decimal);
	return put_plain(out, &decimal, fraction);
}

size_t number_double(char out[NUMBER_BYTES], double value)
{
	return put_double(out, value, 21, false);
}

size_t number_bound(char out[NUMBER_BYTES], double bound)
{
	return put_double(out, bound, bound > 0 ? 6 : 16, true);
}

/* ---- fields ---- */

/* Eight digits of a value below 10^8, the first in the lowest byte: all of them at once, in lanes. */
static inline uint64_t digits8(uint32_t value)
{
	uint64_t lane = value / 10000 | (uint64_t)(value % 10000) << 32;
	uint64_t high = lane * 10486 >> 20 & 0x7f0000007f; /* hundreds */

	lane = high | (lane - 100 * high) << 16;
	high = lane * 103 >> 10 & 0x000f000f000f000f;
	lane = high | (lane - 10 * high) << 8;
	return lane | 0x3030303030303030;
}

static inline void put8(char *out, uint32_t value)
{
	uint64_t digits = htole64(digits8(value));

	memcpy(out, &digits, 8);
}

/* The last so many (constant, at most 8) digits of a value below 10^8. */
static inline void put_last(char *out, uint32_t value, size_t count)
{
	uint64_t digits = htole64(digits8(value) >> (64 - 8 * count));

	memcpy(out, &digits, count);
}

void number_count(char field[NUMBER_COUNT_BYTES], uint64_t value)
{
	uint64_t rest = value % E16;

	put_last(field, (uint32_t)(value / E16), 4);
	put8(field + 4, (uint32_t)(rest / E8));
	put8(field + 12, (uint32_t)(rest % E8));
}

/* value is below 10^24 */
static void put_integer(char field[NUMBER_FIELD_BYTES], number_wide value)
{
	uint64_t high = 0, low = (uint64_t)value;

	if (value > UINT64_MAX) {
		high = (uint64_t)(value / E16);
		low = (uint64_t)(value % E16);
	} else {
		high = low / E16;
		low %= E16;
	}
	put8(field, (uint32_t)high);
	put8(field + 8, (uint32_t)(low / E8));
	put8(field + 16, (uint32_t)(low % E8));
}

/* seconds are below 10^14 */
static inline void put_seconds(char field[NUMBER_FIELD_BYTES], uint64_t seconds, uint32_t ns)
{
	put_last(field, (uint32_t)(seconds / E8), 6);
	put8(field + 6, (uint32_t)(seconds % E8));
	field[14] = '.';
	put8(field + 15, ns / 10);
	field[23] = (char)('0' + ns % 10);
}

/* digits (below 10^18) times 10^-point, which is at most POINT_MAX */
static void put_fixed(char field[NUMBER_FIELD_BYTES], uint64_t digits, int point)
{
	char all[NUMBER_FIELD_BYTES];
	size_t whole = (size_t)(NUMBER_FIELD_BYTES - 1 - point);

	put_integer(all, digits);
	memcpy(field, all + 1, whole);
	field[whole] = '.';
	memcpy(field + whole + 1, all + 1 + whole, (size_t)point);
}

static const double power[] = { 1e0,  1e1,  1e2,  1e3,	1e4,  1e5,  1e6,  1e7,	1e8,  1e9,  1e10,
				1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21 };

static number_wide wide_power(int exponent)
{
	return exponent <= 16 ? (number_wide)(uint64_t)power[exponent]
			      : (number_wide)E16 * (uint64_t)power[exponent - 16];
}

/*
 * A value of 10^-5 up to 10^17 as an integer of 17 or 18 digits: mantissa times 10^point has at most
 * 53 + 70 bits, and is rounded once, when it is shifted to its place. A decimal of at most 15 digits
 * is found before, by a division that is exact but for its one rounding.
 */
static void put_decimal(char field[NUMBER_FIELD_BYTES], double value)
{
	int exponent, point;
	double mantissa = frexp(value, &exponent); /* 0.5 up to 1 */

	point = 16 - (int)floor((exponent - 1) * 0.30102999566398120);
	point = point < 0 ? 0 : point > POINT_MAX ? POINT_MAX : point;
	if (point >= 2) {
		uint64_t few = (uint64_t)(value * power[point - 2] + 0.5);

		if ((double)few / power[point - 2] == value) {
			put_fixed(field, few, point - 2);
			return;
		}
	}
	number_wide product = (number_wide)(uint64_t)ldexp(mantissa, 53) * wide_power(point);
	int shift = 53 - exponent;
	if (shift > 0)
		product = (product + ((number_wide)1 << (shift - 1))) >> shift;
	else
		product <<= -shift;
	put_fixed(field, (uint64_t)product, point);
}

/* A text of at most the field's width; zeros go between its sign and its digits. */
static void put_padded(char field[NUMBER_FIELD_BYTES], const char *text, size_t bytes, char pad)
{
	memset(field, pad, NUMBER_FIELD_BYTES);
	memcpy(field + NUMBER_FIELD_BYTES - bytes, text, bytes);
}

void number_field(char field[NUMBER_FIELD_BYTES], double value)
{
	double size = fabs(value);
	char text[NUMBER_BYTES];

	if (size < 0x1p63 && size == (double)(uint64_t)size) {
		put_integer(field, (uint64_t)size);
	} else if (size >= 1e-5 && size < 1e17) {
		put_decimal(field, size);
	} else if (isfinite(value)) {
		put_padded(field, text, number_double(text, size), '0');
	} else {
		put_padded(field, text, number_double(text, value), ' ');
		return;
	}
	if (signbit(value))
		field[0] = '-'; /* a zero, or the value has an exponent and is as wide */
}

/* ---- sums ---- */

/* Take an integral, not negative double-double into the units, where its digits stay exact. */
static bool join(number_wide *units, double high, double low)
{
	if (!(high >= 0 && high < EXACT_MAX) || !(fabs(low) <= high))
		return false;
	number_wide whole = (uint64_t)high, rest = (uint64_t)fabs(low), sum;
	if ((double)(uint64_t)whole != high || (double)(uint64_t)rest != fabs(low))
		return false;
	if (__builtin_add_overflow(*units, low < 0 ? whole - rest : whole + rest, &sum))
		return false;
	*units = sum;
	return true;
}

double number_sum(const struct kvtap_sum part[NUMBER_PARTS])
{
	double pair[2];

	memcpy(pair, part[NUMBER_DOUBLE].word, sizeof(pair));
	/* wider than a double where the machine can, so that a last digit is seldom rounded twice */
	return (double)((long double)number_whole(part[NUMBER_UNITS].word) +
			(long double)number_whole(part[NUMBER_NANOSECONDS].word) / NANOSECONDS +
			((long double)pair[0] + pair[1]));
}

/* Both of 128 bits, or out of range for what stands before. */
static void put_wide_sum(char field[NUMBER_FIELD_BYTES], const struct kvtap_sum part[NUMBER_PARTS],
			 number_wide units, number_wide nanoseconds)
{
	number_wide seconds;

	if (!nanoseconds && units < E24)
		put_integer(field, units);
	else if (!__builtin_add_overflow(units, nanoseconds / NANOSECONDS, &seconds) &&
		 seconds < E14)
		put_seconds(field, (uint64_t)seconds, (uint32_t)(nanoseconds % NANOSECONDS));
	else
		number_field(field, number_sum(part));
}

void number_field_sum(char field[NUMBER_FIELD_BYTES], const struct kvtap_sum part[NUMBER_PARTS])
{
	const uint64_t *word = part[NUMBER_DOUBLE].word;
	number_wide units = number_whole(part[NUMBER_UNITS].word);
	number_wide nanoseconds = number_whole(part[NUMBER_NANOSECONDS].word);

	if (word[0] || word[1]) { /* not zero */
		double pair[2];

		memcpy(pair, word, sizeof(pair));
		if (!join(&units, pair[0], pair[1])) {
			number_field(field, number_sum(part));
			return;
		}
	}
	if ((units | nanoseconds) >> 64)
		put_wide_sum(field, part, units, nanoseconds);
	else if (!nanoseconds)
		put_integer(field, (uint64_t)units);
	else if (units < E14 / 2 && nanoseconds < E14 / 2 * NANOSECONDS)
		put_seconds(field, (uint64_t)units + (uint64_t)nanoseconds / NANOSECONDS,
			    (uint32_t)((uint64_t)nanoseconds % NANOSECONDS));
	else
		put_wide_sum(field, part, units, nanoseconds);
}
