/* SPDX-License-Identifier: Apache-2.0 */
/* test_number.c - numbers as Prometheus and client_python write them */
#include "test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../exporter/number.h"

static const char *bound(double value)
{
	static char out[NUMBER_BYTES];

	CHECK_EQ(number_bound(out, value), strlen(out));
	return out;
}

static const char *plain(double value)
{
	static char out[NUMBER_BYTES];

	CHECK_EQ(number_double(out, value), strlen(out));
	return out;
}

static const char *field(double value)
{
	static char out[NUMBER_FIELD_BYTES + 1];

	number_field(out, value);
	return out;
}

/* units and nanoseconds as high and low words; a double-double */
static const char *sum(uint64_t units_high, uint64_t units, uint64_t ns_high, uint64_t ns,
		       double high, double low)
{
	static char out[NUMBER_FIELD_BYTES + 1];
	struct kvtap_sum part[NUMBER_PARTS] = {
		[NUMBER_UNITS] = { { units, units_high } },
		[NUMBER_NANOSECONDS] = { { ns, ns_high } },
	};

	memcpy(&part[NUMBER_DOUBLE].word[0], &high, 8);
	memcpy(&part[NUMBER_DOUBLE].word[1], &low, 8);
	number_field_sum(out, part);
	double read = strtod(out, NULL), near = number_sum(part);
	CHECK(read == near || isnan(near) || fabs(read - near) <= fabs(near) * 0x1p-52);
	return out;
}

/* Where the nearest decimal of 16 digits is below, and only the next one reads back. */
TEST(number_double_is_shortest_at_powers_of_two)
{
	CHECK_STR(plain(0x1p-44), "5.684341886080802e-14");
	CHECK_STR(plain(0x1p-1017), "7.120236347223045e-307");
	CHECK_STR(plain(0x1p-24), "5.960464477539063e-08");
}

TEST(number_bound_is_canonical)
{
	CHECK_STR(bound(0.005), "0.005");
	CHECK_STR(bound(1), "1.0");
	CHECK_STR(bound(10), "10.0");
	CHECK_STR(bound(0), "0.0");
	CHECK_STR(bound(262144), "262144.0");
	CHECK_STR(bound(999999), "999999.0");
	CHECK_STR(bound(123456.5), "123456.5");
	CHECK_STR(bound(0.0001), "0.0001");
	CHECK_STR(bound(0.1 + 0.2), "0.30000000000000004");
	CHECK_STR(bound(INFINITY), "+Inf");
}

TEST(number_bound_has_an_exponent_from_seven_digits)
{
	CHECK_STR(bound(1e6), "1e+06");
	CHECK_STR(bound(2097152), "2.097152e+06");
	CHECK_STR(bound(59763793920), "5.976379392e+10");
	CHECK_STR(bound(8589934592), "8.589934592e+09");
	CHECK_STR(bound(1e-5), "1e-05");
	CHECK_STR(bound(1.5e300), "1.5e+300");
}

TEST(number_bound_of_a_negative_is_as_in_python)
{
	CHECK_STR(bound(-10000000), "-10000000.0");
	CHECK_STR(bound(-0.25), "-0.25");
	CHECK_STR(bound(-1e16), "-1e+16");
}

TEST(number_double_has_no_needless_digits)
{
	CHECK_STR(plain(0), "0");
	CHECK_STR(plain(3), "3");
	CHECK_STR(plain(-3.5), "-3.5");
	CHECK_STR(plain(0.1), "0.1");
	CHECK_STR(plain(1e20), "100000000000000000000");
	CHECK_STR(plain(1e21), "1e+21");
	CHECK_STR(plain(1e-5), "1e-05");
	CHECK_STR(plain(9007199254740993.0), "9007199254740992");
	CHECK_STR(plain(NAN), "NaN");
	CHECK_STR(plain(INFINITY), "+Inf");
	CHECK_STR(plain(-INFINITY), "-Inf");
	CHECK_STR(plain(5e-324), "5e-324");
}

TEST(number_double_reads_back_as_the_same_value)
{
	uint64_t state = 88172645463325252u;
	double value;

	for (int i = 0; i < 200000; i++) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17;
		memcpy(&value, &state, 8);
		if (!isfinite(value))
			continue;
		CHECK(strtod(plain(value), NULL) == value);
		CHECK(strtod(bound(value), NULL) == value);
	}
	CHECK(strtod(plain(DBL_MAX), NULL) == DBL_MAX);
}

TEST(number_count_writes_20_digits)
{
	char out[NUMBER_COUNT_BYTES + 1] = "";
	uint64_t value = 1;

	number_count(out, UINT64_MAX);
	CHECK_STR(out, "18446744073709551615");
	number_count(out, 0);
	CHECK_STR(out, "00000000000000000000");
	for (int i = 0; i < 200000; i++) {
		value = value * 6364136223846793005u + 1442695040888963407u;
		number_count(out, value >> i % 64);
		CHECK(strtoull(out, NULL, 10) == value >> i % 64);
	}
}

TEST(number_field_has_zeros_after_its_sign)
{
	CHECK_STR(field(0), "000000000000000000000000");
	CHECK_STR(field(-42), "-00000000000000000000042");
	CHECK_STR(field(9007199254740993.0), "000000009007199254740992");
	CHECK_STR(field(1e300), "000000000000000000"
				"1e+300");
	CHECK_STR(field(-1.7976931348623157e308), "-1.7976931348623157e+308");
	CHECK_STR(field(-5e-324), "-000000000000000005e-324");
}

TEST(number_field_is_a_decimal_of_few_digits_when_the_value_is)
{
	CHECK_STR(field(0.1), "0000000.1000000000000000");
	CHECK_STR(field(-3.5), "-00000003.50000000000000");
	CHECK_STR(field(123456.789), "0000000123456.7890000000");
}

TEST(number_field_has_17_digits_when_it_takes_them)
{
	CHECK_STR(field(1.0 / 3), "000000.33333333333333331");
	CHECK_STR(field(0.1 + 0.2), "000000.30000000000000004");
}

TEST(number_field_has_spaces_before_what_is_no_number)
{
	CHECK_STR(field(NAN), "                     NaN");
	CHECK_STR(field(INFINITY), "                    +Inf");
	CHECK_STR(field(-INFINITY), "                    -Inf");
}

static void check_reads_back(double value)
{
	const char *text = field(value);
	char *end;

	CHECK_EQ(strlen(text), NUMBER_FIELD_BYTES);
	if (strtod(text, &end) != value || *end)
		test_fail(__FILE__, __LINE__, "%a is %s", value, text);
}

TEST(number_field_reads_back_as_the_same_value)
{
	uint64_t state = 88172645463325252u;
	double value;

	for (int i = 0; i < 400000; i++) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17;
		memcpy(&value, &state, 8);
		if (isfinite(value))
			check_reads_back(value);
		/* of the size that most numbers have, and decimals of few digits */
		value = ldexp((double)(state >> 11), (int)(state % 80) - 72);
		check_reads_back(value);
		check_reads_back(-value);
		check_reads_back((double)(state >> 20 & 0xffffffffff) / 1e6);
		check_reads_back((double)(state % 1000) / 1000);
	}
	for (int exponent = -1074; exponent < 1024; exponent++) {
		value = ldexp(1, exponent);
		check_reads_back(value);
		check_reads_back(nextafter(value, 0));
		check_reads_back(nextafter(value, INFINITY));
	}
	for (double power = 1e-30; power < 1e30; power *= 10) {
		check_reads_back(power);
		check_reads_back(nextafter(power, 0));
		check_reads_back(nextafter(power, INFINITY));
	}
	check_reads_back(DBL_MAX);
}

TEST(number_sum_of_integers_is_exact_beyond_64_bits)
{
	CHECK_STR(sum(0, 0, 0, 0, 0, 0), "000000000000000000000000");
	CHECK_STR(sum(1, 0, 0, 0, 0, 0), "000018446744073709551616");
	CHECK_STR(sum(54210, 2003764205206896639u, 0, 0, 0, 0), "999999999999999999999999");
}

TEST(number_sum_has_17_digits_when_all_do_not_fit)
{
	CHECK_STR(sum(54210, 2003764205206896640u, 0, 0, 0, 0), "0000000000000000000"
								"1e+24");
	CHECK_STR(sum(0x7fffffff, 5, 0, 0, 0, 0), "003.9614081238685425e+28");
}

TEST(number_sum_of_nanoseconds_is_seconds)
{
	CHECK_STR(sum(0, 0, 0, 1, 0, 0), "00000000000000.000000001");
	CHECK_STR(sum(0, 0, 0, 1400000, 0, 0), "00000000000000.001400000");
	CHECK_STR(sum(0, 0, 0, 3000000000, 0, 0), "00000000000003.000000000");
	CHECK_STR(sum(0, 0, 1, 0, 0, 0), "00018446744073.709551616");
}

TEST(number_sum_of_doubles_is_exact_when_integral)
{
	CHECK_STR(sum(0, 0, 0, 0, 9007199254740992.0, 1), "000000009007199254740993");
	CHECK_STR(sum(0, 0, 0, 0, 9007199254740994.0, -1), "000000009007199254740993");
	CHECK_STR(sum(0, 0, 0, 0, 0.5, 0), "00000000.500000000000000");
	CHECK_STR(sum(0, 0, 0, 0, -7, 0), "-00000000000000000000007");
	CHECK_STR(sum(0, 0, 0, 0, 1e300, 0), "000000000000000000"
					     "1e+300");
}

TEST(number_sum_adds_its_parts)
{
	CHECK_STR(sum(0, 2, 0, 500000000, 3, 0), "00000000000005.500000000");
	CHECK_STR(sum(0, 2, 0, 500000000, 0.25, 0), "000000002.75000000000000");
	CHECK_STR(sum(0, 1, 0, 0, 0.5, 0), "000000001.50000000000000");
	CHECK_STR(sum(0, UINT64_MAX, 0, 1500000000, 0, 0), "000018446744073709552000");
}

TEST(number_sum_survives_any_words)
{
	CHECK_STR(sum(~0ull, ~0ull, ~0ull, ~0ull, 0, 0), "003.4028236726122086e+38");
	CHECK_STR(sum(~0ull, ~0ull, 0, 0, NAN, 0), "                     NaN");
	CHECK_STR(sum(0, 0, ~0ull, ~0ull, 0, 0), "0003.402823669209385e+29");
}
