/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test.h - the test runner's side that tests see
 *
 *	TEST(ring_push_fails_when_full)
 *	{
 *		CHECK_EQ(push(&ring), 0);
 *	}
 *
 * Each test runs in a process, a process group and a folder of its own. It fails by a CHECK, a
 * crash, a sanitizer's report or its time-out, and by what it leaves: open descriptors, running
 * processes, files in its folder. CHECK also works in threads and in processes that a test forks:
 * there it ends the process with status 1, which the test has to look at.
 */
#ifndef KVTAP_TEST_H
#define KVTAP_TEST_H

#include <stdbool.h>
#include <string.h>

struct test {
	const char *name;
	void (*run)(void);
	int timeout_s;
	bool by_name; /* runs only when the whole name is given */
	struct test *next;
};

void test_register(struct test *test);

#define TEST_CASE(name, timeout, named)                                                            \
	static void name##_test(void);                                                             \
	__attribute__((constructor)) static void name##_register(void)                             \
	{                                                                                          \
		static struct test test = { #name, name##_test, timeout, named, NULL };            \
		test_register(&test);                                                              \
	}                                                                                          \
	static void name##_test(void)

#define TEST(name) TEST_CASE(name, 300, false)
#define TEST_TIMEOUT(name, seconds) TEST_CASE(name, seconds, false)
/* for tests of the runner: fails on purpose */
#define TEST_BY_NAME(name, seconds) TEST_CASE(name, seconds, true)

/* test_folder - this test's own empty folder on a tmpfs; also in KVTAP_DIR; removed by the runner */
const char *test_folder(void);
/* test_leaves_files - files that are in the folder at the end are meant */
void test_leaves_files(void);

_Noreturn void test_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			test_fail(__FILE__, __LINE__, "CHECK(%s)", #condition);                    \
	} while (0)

/* integers of any type, compared and shown as 64 signed bits */
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long check_a = (long long)(a), check_b = (long long)(b);                      \
		if (check_a != check_b)                                                            \
			test_fail(__FILE__, __LINE__, "CHECK_EQ(%s, %s): %lld, %lld", #a, #b,      \
				  check_a, check_b);                                               \
	} while (0)

#define CHECK_STR(a, b)                                                                            \
	do {                                                                                       \
		const char *check_a = (a), *check_b = (b);                                         \
		if (!check_a || !check_b || strcmp(check_a, check_b) != 0)                         \
			test_fail(__FILE__, __LINE__, "CHECK_STR(%s, %s):\n%s\n%s", #a, #b,        \
				  check_a ? check_a : "NULL", check_b ? check_b : "NULL");         \
	} while (0)

/* ends the test, which then counts as skipped; say what is missing */
#define SKIP(...) test_skip(__VA_ARGS__)

#endif
