/* SPDX-License-Identifier: Apache-2.0 */
/* test_quantity.c - counts, sizes and durations as an operator writes them */
#include "test.h"

#include "../exporter/quantity.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define UNTOUCHED 77

static uint64_t count(const char *text)
{
	uint64_t value = UNTOUCHED;

	CHECK(quantity_count(&value, text) || value == UNTOUCHED);
	return value;
}

static uint64_t duration(const char *text)
{
	uint64_t value_ns = UNTOUCHED;

	CHECK(quantity_duration(&value_ns, text) || value_ns == UNTOUCHED);
	return value_ns;
}

TEST(quantity_count_takes_digits_and_one_binary_unit)
{
	CHECK_EQ(count("0"), 0);
	CHECK_EQ(count("1000000"), 1000000);
	CHECK_EQ(count("3KiB"), 3072);
	CHECK_EQ(count("64MiB"), 64 << 20);
	CHECK_EQ(count("2GiB"), 2ll << 30);
	CHECK(count("18446744073709551615") == UINT64_MAX);
}

TEST(quantity_count_leaves_alone_what_it_does_not_understand)
{
	static const char *const bad[] = { "",	   " 1",      "1 ",
					   "-1",   "+1",      "KiB",
					   "1KB",  "1KiB1",   "1.5",
					   "0x10", "1KiBMiB", "18446744073709551616",
					   "1k",   "1e3",     "17179869184GiB" };

	for (size_t i = 0; i < COUNT(bad); i++)
		CHECK_EQ(count(bad[i]), UNTOUCHED);
}

TEST(quantity_duration_adds_up_its_parts)
{
	CHECK_EQ(duration("0"), 0);
	CHECK_EQ(duration("100ms"), 100000000);
	CHECK_EQ(duration("90s"), 90000000000);
	CHECK_EQ(duration("15m"), 900000000000);
	CHECK_EQ(duration("1h30m"), 5400000000000);
	CHECK_EQ(duration("7d"), 604800000000000);
	CHECK_EQ(duration("0s"), 0);
}

TEST(quantity_duration_leaves_alone_what_it_does_not_understand)
{
	static const char *const bad[] = { "",
					   "1",
					   "90",
					   "s",
					   "1h30",
					   "-1s",
					   "1.5h",
					   "1H",
					   "1 s",
					   "1s ",
					   "1us",
					   "1000000d",
					   "99999999999999999999s" };

	for (size_t i = 0; i < COUNT(bad); i++)
		CHECK_EQ(duration(bad[i]), UNTOUCHED);
}
