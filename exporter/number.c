/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.c - numbers as text for an exposition; pure
 *
 * A double is written with the fewest of 15, 16 or 17 digits that read back as the same double:
 * 15 always hold a decimal of up to 15 digits, 17 hold every double. Integers and times are
 * written from their 128-bit sums, so that no digit is lost before Prometheus rounds it.
 */
#include "number.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NANOSECONDS 1000000000u
#define UNITS_MAX ((number_wide)1 << 97) /* times NANOSECONDS still fits */
#define EXACT_MAX 0x1p96		 /* largest integral double-double that joins the units */

typedef unsigned __int128 number_wide;

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

static void shortest(struct decimal *decimal, double value)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*e", digits - 1, fabs(value));
		if (strtod(text, NULL) == fabs(value))
			break;
	}
	char *e = strchr(text, 'e');
	decimal->negative = signbit(value);
	decimal->exponent = atoi(e + 1);
	decimal->digits = 0;
	for (const char *c = text; c < e; c++)
		if (*c != '.')
			decimal->digit[decimal->digits++] = *c;
	while (decimal->digits > 1 && decimal->digit[decimal->digits - 1] == '0')
		decimal->digits--;
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

static size_t put_wide(char out[NUMBER_BYTES], number_wide value)
{
	char digit[40];
	size_t digits = 0;

	do {
		digit[digits++] = (char)('0' + (unsigned)(value % 10));
		value /= 10;
	} while (value);
	for (size_t i = 0; i < digits; i++)
		out[i] = digit[digits - 1 - i];
	out[digits] = '\0';
	return digits;
}

size_t number_integer(char out[NUMBER_BYTES], uint64_t value)
{
	return put_wide(out, value);
}

static size_t put_seconds(char out[NUMBER_BYTES], number_wide nanoseconds)
{
	size_t bytes = put_wide(out, nanoseconds / NANOSECONDS);
	unsigned rest = (unsigned)(nanoseconds % NANOSECONDS);

	if (!rest)
		return bytes;
	bytes += (size_t)snprintf(out + bytes, NUMBER_BYTES - bytes, ".%09u", rest);
	while (out[bytes - 1] == '0')
		out[--bytes] = '\0';
	return bytes;
}

static number_wide wide(const struct kvtap_sum *sum)
{
	return (number_wide)sum->word[1] << 64 | sum->word[0];
}

/* Take an integral, not negative double-double into the units, where its digits stay exact. */
static bool join(number_wide *units, double high, double low)
{
	if (!(high >= 0 && high < EXACT_MAX) || !(fabs(low) <= high))
		return false;
	number_wide whole = (number_wide)high, rest = (number_wide)fabs(low);
	if ((double)whole != high || (double)rest != fabs(low))
		return false;
	*units += low < 0 ? whole - rest : whole + rest;
	return true;
}

size_t number_sum(char out[NUMBER_BYTES], const struct kvtap_sum part[NUMBER_PARTS])
{
	number_wide units = wide(&part[NUMBER_UNITS]);
	number_wide nanoseconds = wide(&part[NUMBER_NANOSECONDS]);
	double pair[2];

	memcpy(pair, part[NUMBER_DOUBLE].word, sizeof(pair));
	if (units >= UNITS_MAX || !join(&units, pair[0], pair[1]))
		return number_double(out, (double)units + (double)nanoseconds / NANOSECONDS +
						  (pair[1] + pair[0]));
	if (!nanoseconds)
		return put_wide(out, units);
	if (units >= UNITS_MAX || nanoseconds >= UNITS_MAX * (NANOSECONDS / 2))
		return number_double(out, (double)units + (double)nanoseconds / NANOSECONDS);
	return put_seconds(out, units * NANOSECONDS + nanoseconds);
}
