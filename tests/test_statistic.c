/* SPDX-License-Identifier: Apache-2.0 */
/* test_statistic.c - figures as numpy and Python compute and write them, to the last bit */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "../exporter/statistic.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define VALUES_MAX 100000
#define LINE_BYTES 512

static const char *repr(double value)
{
	static char text[2][STATISTIC_BYTES];
	static unsigned turn;

	turn ^= 1;
	CHECK_EQ(statistic_repr(text[turn], value), strlen(text[turn]));
	return text[turn];
}

static const char *quote(const char *bytes, size_t count)
{
	static char text[256];

	CHECK_EQ(statistic_quote(text, sizeof(text), bytes, count), strlen(text));
	return text;
}

TEST(statistic_seconds_are_whole_microseconds_divided_once)
{
	CHECK(statistic_seconds(9862000) == 9862 / 1e6);
	CHECK(statistic_seconds(9862001) == 9862001 / 1e9);
	CHECK(statistic_seconds(0) == 0);
}

/* A 1 is lost beside 2^53, but not what ones add up to elsewhere: in a pair, a half, a buffer. */
TEST(statistic_sum_adds_by_pairs_and_halves_and_buffers)
{
	static double ones[3 * 8192] = { 0x1p53 };

	for (size_t i = 1; i < COUNT(ones); i++)
		ones[i] = 1;
	CHECK(statistic_sum(ones, 7) == 0x1p53);
	CHECK(statistic_sum(ones, 8) == 0x1p53 + 6);
	CHECK(statistic_sum(ones, 128) == 0x1p53 + 112);
	CHECK(statistic_sum(ones, 136) == 0x1p53 + 128);
	CHECK(statistic_sum(ones, 3 * 8192) == 0x1p53 + 3 * 8192 - 16);
}

TEST(statistic_fmean_rounds_the_exact_sum_once)
{
	double value[] = { 1e100, 1, -1e100, 0.1, 0.2 };
	double tie[] = { 1, 0x1p-53, 0x1p-106 };

	CHECK(statistic_fmean(value, 3) == 1.0 / 3);
	CHECK(statistic_fmean(value + 3, 2) == 0.30000000000000004 / 2);
	CHECK(statistic_fmean(tie, 2) == 0.5);
	CHECK(statistic_fmean(tie, 3) == (1 + 0x1p-52) / 3);
}

TEST(statistic_percentile_lies_between_two_values)
{
	double value[] = { 0.010, 0.003, 0.007, 0.001, 0.005, 0.009, 0.002, 0.008, 0.004, 0.006 };

	CHECK_STR(repr(statistic_round_python(statistic_percentile(value, 10, 90) * 1e3, 3)),
		  "9.1");
	CHECK_STR(repr(statistic_percentile(value, 10, 0)), "0.001");
	CHECK_STR(repr(statistic_percentile(value, 10, 100)), "0.01");
	CHECK_STR(repr(statistic_percentile(value, 1, 90)), "0.01");
}

TEST(statistic_percentile_orders_negative_values_and_zeros)
{
	double value[] = { -0.0, -5, 0.0, 3, -5 };

	CHECK(statistic_percentile(value, 5, 0) == -5);
	CHECK(statistic_percentile(value, 5, 25) == -5);
	CHECK(statistic_percentile(value, 5, 50) == 0);
	CHECK(statistic_percentile(value, 5, 100) == 3);
}

TEST(statistic_nearest_rank_is_one_of_the_values)
{
	double value[20];

	for (size_t i = 0; i < COUNT(value); i++)
		value[i] = (double)(COUNT(value) - i);
	CHECK(statistic_nearest_rank(value, 20) == 18); /* 0.9 * 20 - 1e-12 is below 18 */
	CHECK(statistic_nearest_rank(value, 2) == 20);
	CHECK(statistic_nearest_rank(value, 1) == 20);
}

TEST(statistic_percentile_range_is_between_all_low_and_all_high)
{
	struct statistic_range range[] = { { 10, 25, 3 }, { 0, 0, 0 }, { 2, 2, 1 }, { 5, 10, 6 } };
	double low, high;

	statistic_percentile_range(range, COUNT(range), 90, &low, &high);
	CHECK(low == 10 && high == 25);
	statistic_percentile_range(range, COUNT(range), 65, &low, &high);
	CHECK(low == 5 && high == 10);
	statistic_percentile_range(range, COUNT(range), 75, &low, &high);
	CHECK_STR(repr(low), "8.75");
	CHECK_STR(repr(high), "21.25");
	statistic_percentile_range(range, COUNT(range), 0, &low, &high);
	CHECK(low == 2 && high == 2);
}

TEST(statistic_percentile_range_is_infinite_where_a_range_is)
{
	struct statistic_range range[] = { { 1, 1, 8 }, { 10, INFINITY, 2 } };
	double low, high;

	statistic_percentile_range(range, COUNT(range), 90, &low, &high);
	CHECK(low == 10 && isinf(high));
	statistic_percentile_range(range, COUNT(range), 80, &low, &high);
	CHECK(low > 1 && low < 10 && isinf(high));
	statistic_percentile_range(range, COUNT(range), 70, &low, &high);
	CHECK(low == 1 && high == 1);
}

/* Where the product with 1000 is a tie, and the value isn't. */
TEST(statistic_round_differs_between_numpy_and_python)
{
	CHECK_STR(repr(statistic_round_numpy(1.0005, 3)), "1.0");
	CHECK_STR(repr(statistic_round_python(1.0005, 3)), "1.0");
	CHECK_STR(repr(statistic_round_numpy(0.0005, 3)), "0.0");
	CHECK_STR(repr(statistic_round_python(0.0005, 3)), "0.001");
	CHECK_STR(repr(statistic_round_numpy(2.0015, 3)), "2.002");
	CHECK_STR(repr(statistic_round_python(2.0015, 3)), "2.002");
}

TEST(statistic_round_keeps_what_is_not_finite)
{
	CHECK(isinf(statistic_round_numpy(INFINITY, 3)) && isnan(statistic_round_numpy(NAN, 3)));
	CHECK(isinf(statistic_round_python(-INFINITY, 3)) && isnan(statistic_round_python(NAN, 3)));
}

TEST(statistic_repr_is_the_shortest_that_reads_back)
{
	static const struct {
		double value;
		const char *text;
	} number[] = {
		{ 0, "0.0" },
		{ -0.0, "-0.0" },
		{ 1, "1.0" },
		{ 0.1, "0.1" },
		{ 7097.952, "7097.952" },
		{ 0.30000000000000004, "0.30000000000000004" },
		{ 1e15, "1000000000000000.0" },
		{ 9999999999999998, "9999999999999998.0" },
		{ 1e16, "1e+16" },
		{ 12345678901234567890.0, "1.2345678901234567e+19" },
		{ 0x1p63, "9.223372036854776e+18" },
		{ 0.0001, "0.0001" },
		{ 0.00001, "1e-05" },
		{ 0x1p-44,
		  "5.684341886080802e-14" }, /* the nearest of 16 digits is another double */
		{ 5e-324, "5e-324" },
		{ -1.7976931348623157e308, "-1.7976931348623157e+308" },
		{ INFINITY, "inf" },
		{ -INFINITY, "-inf" },
		{ NAN, "nan" },
	};

	for (size_t i = 0; i < COUNT(number); i++)
		CHECK_STR(repr(number[i].value), number[i].text);
}

TEST(statistic_quote_is_as_python_quotes)
{
	CHECK_STR(quote("1:fs", 4), "'1:fs'");
	CHECK_STR(quote("it's", 4), "\"it's\"");
	CHECK_STR(quote("it's \"x\"", 8), "'it\\'s \"x\"'");
	CHECK_STR(quote("\\\t\0\x7f", 4), "'\\\\\\t\\x00\\x7f'");
	CHECK_STR(quote("\xc3\xbc\xc2\xa0\xe2\x80\xa8", 7), "'\xc3\xbc\\xa0\\u2028'");
	CHECK_STR(quote("\xf3\xa0\x80\x81", 4), "'\\U000e0001'");
	CHECK_STR(quote("", 0), "''");
}

TEST(statistic_quote_replaces_bytes_that_are_not_utf8)
{
	CHECK_STR(quote("a\xff\xe2\x80", 4), "'a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd'");
}

TEST(statistic_quote_is_cut_where_the_room_ends)
{
	char text[5] = "....";

	CHECK_EQ(statistic_quote(text, 4, "abc", 3), 5);
	CHECK_STR(text, "'ab");
	CHECK_EQ(statistic_quote(NULL, 0, "abc", 3), 5);
}

/* ---- cases that Python makes at test time ---- */

static double value[VALUES_MAX];
static size_t values;

static void read_values(FILE *cases)
{
	char line[LINE_BYTES];

	CHECK(values <= VALUES_MAX);
	for (size_t i = 0; i < values; i++) {
		CHECK(fgets(line, sizeof(line), cases));
		value[i] = strtod(line, NULL);
	}
}

static bool is(const char *name, const char *operation)
{
	return strcmp(name, operation) == 0;
}

static double compute(const char *name, double operand)
{
	if (is(name, "sum"))
		return statistic_sum(value, values);
	if (is(name, "mean"))
		return statistic_sum(value, values) / (double)values;
	if (is(name, "fmean"))
		return statistic_fmean(value, values);
	if (is(name, "nearest"))
		return statistic_nearest_rank(value, values);
	CHECK(is(name, "percentile"));
	return statistic_percentile(value, values, operand);
}

static size_t bytes_of(char *bytes, const char *hex)
{
	size_t count = strlen(hex) / 2;

	for (size_t i = 0; i < count; i++)
		CHECK_EQ(sscanf(hex + 2 * i, "%2hhx", (unsigned char *)&bytes[i]), 1);
	bytes[count] = '\0';
	return count;
}

static void check_text(const char *name, const char *operand, const char *hex)
{
	char bytes[LINE_BYTES], expected[LINE_BYTES];

	bytes_of(expected, hex);
	if (is(name, "repr"))
		CHECK_STR(repr(strtod(operand, NULL)), expected);
	else
		CHECK_STR(quote(bytes, bytes_of(bytes, operand) - 1), expected);
}

static void check_case(const char *line)
{
	char name[16], field[3][LINE_BYTES];
	int fields = sscanf(line, "%15s %s %s %s", name, field[0], field[1], field[2]) - 1;
	double operand = strtod(field[0], NULL), got, expected;

	CHECK(fields >= 2);
	if (is(name, "repr") || is(name, "quote")) {
		check_text(name, field[0], field[1]);
		return;
	}
	expected = strtod(field[fields - 1], NULL);
	if (fields == 2)
		got = compute(name, operand);
	else
		got = (is(name, "round_numpy")
			       ? statistic_round_numpy
			       : statistic_round_python)(operand, (int)strtod(field[1], NULL));
	if (got != expected)
		test_fail(__FILE__, __LINE__, "%s of %s, %zu values: %a", line, name, values, got);
}

/* Returns: how many cases there were. */
static size_t check_cases(const char *command)
{
	FILE *cases = popen(command, "re");
	char line[LINE_BYTES];
	size_t count = 0;

	CHECK(cases);
	while (fgets(line, sizeof(line), cases)) {
		if (sscanf(line, "values %zu", &values) == 1) {
			read_values(cases);
			continue;
		}
		check_case(line);
		count++;
	}
	CHECK_EQ(pclose(cases), 0);
	return count;
}

TEST(statistic_agrees_with_python)
{
	if (system("/usr/bin/python3 -c 'import sys; assert sys.version_info >= (3, 11)' "
		   "2>/dev/null"))
		SKIP("Python 3.11 is missing");
	CHECK(check_cases("/usr/bin/python3 -B tests/statistic_vectors.py python") > 100000);
}

TEST(statistic_agrees_with_numpy)
{
	if (system("/usr/bin/python3 -c 'import numpy' 2>/dev/null"))
		SKIP("python3-numpy is missing");
	CHECK(check_cases("/usr/bin/python3 -B tests/statistic_vectors.py numpy") > 100000);
}
