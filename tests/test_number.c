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

/* units and nanoseconds as high and low words; a double-double */
static const char *sum(uint64_t units_high, uint64_t units, uint64_t ns_high, uint64_t ns,
		       double high, double low)
{
	static char out[NUMBER_BYTES];
	struct kvtap_sum part[NUMBER_PARTS] = {
		[NUMBER_UNITS] = { { units, units_high } },
		[NUMBER_NANOSECONDS] = { { ns, ns_high } },
	};

	memcpy(&part[NUMBER_DOUBLE].word[0], &high, 8);
	memcpy(&part[NUMBER_DOUBLE].word[1], &low, 8);
	CHECK_EQ(number_sum(out, part), strlen(out));
	return out;
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
	CHECK_STR(plain(5e-324), "4.94065645841247e-324"); /* 15 digits at least are tried */
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

TEST(number_integer_writes_all_digits)
{
	char out[NUMBER_BYTES];

	number_integer(out, UINT64_MAX);
	CHECK_STR(out, "18446744073709551615");
	number_integer(out, 0);
	CHECK_STR(out, "0");
}

TEST(number_sum_of_integers_is_exact_beyond_64_bits)
{
	CHECK_STR(sum(0, 0, 0, 0, 0, 0), "0");
	CHECK_STR(sum(1, 0, 0, 0, 0, 0), "18446744073709551616");
	CHECK_STR(sum(0x7fffffff, 5, 0, 0, 0, 0), "39614081238685424723062423557");
}

TEST(number_sum_of_nanoseconds_is_seconds)
{
	CHECK_STR(sum(0, 0, 0, 1, 0, 0), "0.000000001");
	CHECK_STR(sum(0, 0, 0, 1400000, 0, 0), "0.0014");
	CHECK_STR(sum(0, 0, 0, 3000000000, 0, 0), "3");
	CHECK_STR(sum(0, 0, 1, 0, 0, 0), "18446744073.709551616");
}

TEST(number_sum_of_doubles_is_exact_when_integral)
{
	CHECK_STR(sum(0, 0, 0, 0, 9007199254740992.0, 1), "9007199254740993");
	CHECK_STR(sum(0, 0, 0, 0, 9007199254740994.0, -1), "9007199254740993");
	CHECK_STR(sum(0, 0, 0, 0, 0.5, 0), "0.5");
	CHECK_STR(sum(0, 0, 0, 0, -7, 0), "-7");
	CHECK_STR(sum(0, 0, 0, 0, 1e300, 0), "1e+300");
}

TEST(number_sum_adds_its_parts)
{
	CHECK_STR(sum(0, 2, 0, 500000000, 3, 0), "5.5");
	CHECK_STR(sum(0, 2, 0, 500000000, 0.25, 0), "2.75");
	CHECK_STR(sum(0, 1, 0, 0, 0.5, 0), "1.5");
}

TEST(number_sum_survives_any_words)
{
	CHECK_STR(sum(~0ull, ~0ull, ~0ull, ~0ull, 0, 0), "3.4028236726122086e+38");
	CHECK_STR(sum(~0ull, ~0ull, 0, 0, NAN, 0), "NaN");
	CHECK_STR(sum(0, 0, ~0ull, ~0ull, 0, 0), "3.402823669209385e+29");
}
