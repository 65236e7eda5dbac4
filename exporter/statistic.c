/* SPDX-License-Identifier: Apache-2.0 */
/*
 * statistic.c - means, percentiles, roundings and texts, digit for digit as vLLM's own; pure
 *
 * The order of additions, and which of two roundings is taken, shows in the digits that are printed,
 * so the algorithms are those of numpy and CPython, not better ones. No product may be fused with
 * an addition: gcc doesn't in ISO C, clang is told so.
 */
#include "statistic.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"
#include "text.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

#define BUFFER 8192    /* values that numpy.sum adds up by themselves: numpy.getbufsize() */
#define PAIR_BLOCK 128 /* numpy's PW_BLOCKSIZE */
#define PARTIALS_MAX                                                                               \
	1100	      /* of 2098 bits that doubles may have, no two partials share or touch one */
#define DIGIT_BITS 11 /* of a key, in one pass of nth() */
#define DIGITS (1u << DIGIT_BITS)
#define KEY_BITS 64
#define ROUNDED_BYTES 352 /* of any double with 15 digits after the point */

double statistic_seconds(uint64_t ns)
{
	return ns % 1000 ? (double)ns / 1e9 : (double)(ns / 1000) / 1e6;
}

/* ---- sums ---- */

static double sum_block(const double *value, size_t count)
{
	double sum[8];
	size_t i;

	memcpy(sum, value, sizeof(sum));
	for (i = 8; i < count - count % 8; i += 8)
		for (size_t k = 0; k < 8; k++)
			sum[k] += value[i + k];
	double all =
		((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
	for (; i < count; i++)
		all += value[i];
	return all;
}

/* DOUBLE_pairwise_sum of numpy's loops; as deep as count has bits */
static double sum_pairs(const double *value, size_t count)
{
	double sum = 0;

	if (count > PAIR_BLOCK) {
		size_t half = count / 2 - count / 2 % 8;

		return sum_pairs(value, half) + sum_pairs(value + half, count - half);
	}
	if (count >= 8)
		return sum_block(value, count);
	for (size_t i = 0; i < count; i++)
		sum += value[i];
	return sum;
}

/* Its reductions go through an iterator that hands out no more than a buffer at once. */
double statistic_sum(const double *value, size_t count)
{
	double sum = 0;

	for (size_t i = 0; i < count; i += BUFFER)
		sum += sum_pairs(value + i, count - i < BUFFER ? count - i : BUFFER);
	return sum;
}

/*
 * The partials add up to the exact sum, the biggest one last. What is left below the rounded sum can
 * only matter when that is a tie: then the next partial says to which side.
 */
static double round_once(const double *partial, size_t partials)
{
	double sum = 0, rest = 0;

	while (partials && rest == 0) {
		double before = sum;

		sum = before + partial[--partials];
		rest = partial[partials] - (sum - before);
	}
	if (partials && (rest < 0) == (partial[partials - 1] < 0)) {
		double doubled = rest * 2, other = sum + doubled;

		if (doubled == other - sum)
			return other;
	}
	return sum;
}

/* math.fsum, after Shewchuk: each addition keeps what it rounded off. */
double statistic_fmean(const double *value, size_t count)
{
	double partial[PARTIALS_MAX];
	size_t partials = 0;

	for (size_t i = 0; i < count; i++) {
		double big = value[i];
		size_t kept = 0;

		for (size_t k = 0; k < partials; k++) {
			double small = partial[k];

			if (fabs(big) < fabs(small)) {
				small = big;
				big = partial[k];
			}
			double sum = big + small, rest = small - (sum - big);
			if (rest != 0)
				partial[kept++] = rest;
			big = sum;
		}
		if (big != 0)
			partial[kept++] = big;
		partials = kept;
	}
	return round_once(partial, partials) / (double)count;
}

/* ---- order ---- */

/* Values, each weight[i] times; the next of either is stride further. */
struct column {
	const double *value;
	const uint64_t *weight; /* NULL: once */
	size_t stride, count;
};

static uint64_t weight_of(const struct column *column, size_t i)
{
	return column->weight ? column->weight[i * column->stride] : 1;
}

static uint64_t weight_of_all(const struct column *column)
{
	uint64_t all = 0;

	for (size_t i = 0; i < column->count; i++)
		all += weight_of(column, i);
	return all;
}

/* Orders as the value does. */
static uint64_t key_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits >> 63 ? ~bits : bits | 1ull << 63;
}

static double value_of(uint64_t key)
{
	uint64_t bits = key >> 63 ? key & ~(1ull << 63) : ~key;
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/*
 * The value of this rank, from 0, in their order. It is found digit by digit of its key: six passes
 * over values that come from workers, whatever their order; a quickselect has one that takes hours.
 */
static double nth(const struct column *column, uint64_t rank)
{
	uint64_t key = 0;

	for (int bits = KEY_BITS; bits > 0;) {
		int low = bits > DIGIT_BITS ? bits - DIGIT_BITS : 0;
		uint64_t weight[DIGITS] = { 0 }, digit = 0;

		for (size_t i = 0; i < column->count; i++) {
			uint64_t other = key_of(column->value[i * column->stride]);

			if (bits == KEY_BITS || (other ^ key) >> bits == 0)
				weight[other >> low & (DIGITS - 1)] += weight_of(column, i);
		}
		if (bits < DIGIT_BITS) /* higher bits are those of key already */
			digit = key & (DIGITS - 1);
		while (rank >= weight[digit])
			rank -= weight[digit++];
		key |= digit << low;
		bits = low;
	}
	return value_of(key);
}

/* The least value above this one, or the same if ranks to the given one are below or at it. */
static double next(const struct column *column, double value, uint64_t rank)
{
	double above = INFINITY;
	uint64_t to_value = 0;

	for (size_t i = 0; i < column->count; i++) {
		double other = column->value[i * column->stride];

		if (other <= value)
			to_value += weight_of(column, i);
		else if (other < above && weight_of(column, i))
			above = other;
	}
	return to_value > rank ? value : above;
}

/* numpy's _lerp; where that has no answer, because of an infinite end, the limit */
static double between(double a, double b, double t)
{
	if (t == 0 || a == b)
		return a;
	if (isinf(b))
		return b;
	return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}

static double percentile(const struct column *column, double percent)
{
	uint64_t last = weight_of_all(column) - 1;
	double place = (double)last * (percent / 100), down = floor(place);

	if (place >= (double)last)
		return nth(column, last);
	double a = nth(column, (uint64_t)down);
	return between(a, next(column, a, (uint64_t)down + 1), place - down);
}

double statistic_percentile(const double *value, size_t count, double percent)
{
	return percentile(&(struct column){ .value = value, .stride = 1, .count = count }, percent);
}

double statistic_nearest_rank(const double *value, size_t count)
{
	struct column column = { .value = value, .stride = 1, .count = count };
	double rank = 0.9 * (double)count - 1e-12; /* as Mooncake's; below count for any count */

	return nth(&column, (uint64_t)rank);
}

void statistic_percentile_range(const struct statistic_range *range, size_t count, double percent,
				double *low, double *high)
{
	struct column column = { .value = &range->low,
				 .weight = &range->count,
				 .stride = sizeof(*range) / sizeof(double),
				 .count = count };

	*low = percentile(&column, percent);
	column.value = &range->high;
	*high = percentile(&column, percent);
}

/* ---- rounding ---- */

double statistic_round_numpy(double value, int digits)
{
	double scale = 1;

	for (int i = 0; i < digits; i++) /* exact up to 10^22 */
		scale *= 10;
	return rint(value * scale) / scale;
}

/* glibc prints the exact binary value, ties to even, as CPython's dtoa does. */
double statistic_round_python(double value, int digits)
{
	char text[ROUNDED_BYTES];

	if (!isfinite(value))
		return value;
	snprintf(text, sizeof(text), "%.*f", digits, value);
	return strtod(text, NULL);
}

/* ---- texts ---- */

/* float_repr_style "short": a point for exponents from -4 to 15, else an exponent of two digits */
size_t statistic_repr(char text[STATISTIC_BYTES], double value)
{
	char *out = text;

	if (!isfinite(value))
		return (size_t)sprintf(text, "%s",
				       isnan(value) ? "nan"
				       : value < 0  ? "-inf"
						    : "inf");
	if (signbit(value))
		*out++ = '-';
	char science[NUMBER_SHORTEST_BYTES];
	number_shortest(science, fabs(value));
	char *e = strchr(science, 'e');
	int exponent = atoi(e + 1), digits = e - science > 1 ? (int)(e - science) - 1 : 1;
	if (exponent < -4 || exponent >= 16)
		out += sprintf(out, "%s", science);
	else
		out += sprintf(out, "%.*f", digits - 1 > exponent ? digits - 1 - exponent : 1,
			       fabs(value));
	return (size_t)(out - text);
}

struct quote {
	char *text;
	size_t room, bytes; /* bytes: of the whole text */
};

static void put(struct quote *quote, const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++, quote->bytes++)
		if (quote->bytes + 1 < quote->room)
			quote->text[quote->bytes] = data[i];
}

/* Of the categories Cc, Cf, Co, Zl, Zp and Zs, beyond ASCII, and noncharacters at the end of planes. */
static bool printable(uint32_t character)
{
	static const struct {
		uint32_t first, last;
	} hidden[] = {
		{ 0x7f, 0xa0 },	       { 0xad, 0xad },	     { 0x600, 0x605 },
		{ 0x61c, 0x61c },      { 0x6dd, 0x6dd },     { 0x70f, 0x70f },
		{ 0x890, 0x891 },      { 0x8e2, 0x8e2 },     { 0x1680, 0x1680 },
		{ 0x180e, 0x180e },    { 0x2000, 0x200f },   { 0x2028, 0x202f },
		{ 0x205f, 0x206f },    { 0x3000, 0x3000 },   { 0xe000, 0xf8ff },
		{ 0xfdd0, 0xfdef },    { 0xfeff, 0xfeff },   { 0xfff0, 0xfffb },
		{ 0x110bd, 0x110bd },  { 0x110cd, 0x110cd }, { 0x13430, 0x1343f },
		{ 0x1bca0, 0x1bca3 },  { 0x1d173, 0x1d17a }, { 0xe0000, 0xe007f },
		{ 0xf0000, 0x10ffff },
	};

	if (character < ' ' || (character & 0xfffe) == 0xfffe)
		return false;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
		if (character >= hidden[i].first && character <= hidden[i].last)
			return false;
	return true;
}

static void put_character(struct quote *quote, const char *data, size_t bytes, char mark)
{
	static const char named[] = "\tt\nn\rr";
	uint32_t character = text_code_point(data, bytes);
	const char *name = strchr(named, *data);
	char escape[16];

	if (character == (unsigned char)mark || character == '\\')
		put(quote, (char[2]){ '\\', *data }, 2);
	else if (printable(character))
		put(quote, data, bytes);
	else if (character && name)
		put(quote, (char[2]){ '\\', name[1] }, 2);
	else
		put(quote, escape,
		    (size_t)sprintf(escape,
				    character < 0x100	  ? "\\x%02x"
				    : character < 0x10000 ? "\\u%04x"
							  : "\\U%08x",
				    (unsigned)character));
}

/* unicode_repr: in apostrophes, unless there are some inside and no quotation mark */
size_t statistic_quote(char *text, size_t room, const char *bytes, size_t count)
{
	struct quote quote = { .text = text, .room = room };
	char mark = memchr(bytes, '\'', count) && !memchr(bytes, '"', count) ? '"' : '\'';

	put(&quote, &mark, 1);
	for (size_t i = 0; i < count;) {
		size_t length = bytes[i] ? text_character(bytes + i, count - i) : 1;

		if (length)
			put_character(&quote, bytes + i, length, mark);
		else
			put(&quote, "\xef\xbf\xbd", 3);
		i += length ? length : 1;
	}
	put(&quote, &mark, 1);
	if (room)
		text[quote.bytes < room ? quote.bytes : room - 1] = '\0';
	return quote.bytes;
}
