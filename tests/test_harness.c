/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_harness.c - the runner catches what tests do wrong
 *
 * Planted tests, which run only by name, each do one wrong thing; the others run this very binary
 * on a planted test and look at its verdict.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs this binary on a planted test; returns its exit status, and all that it printed. */
static int run_planted(const char *planted, char *output, size_t output_size)
{
	char self[256], command[512];

	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	CHECK(length > 0);
	self[length] = '\0';
	snprintf(command, sizeof(command), "'%s' %s 2>&1", self, planted);
	FILE *runner = popen(command, "re");
	CHECK(runner);
	output[fread(output, 1, output_size - 1, runner)] = '\0';
	int status = pclose(runner);
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void check_verdict(const char *planted, const char *expected, int exit_status)
{
	char output[4096];

	int status = run_planted(planted, output, sizeof(output));
	if (!strstr(output, expected))
		test_fail(__FILE__, __LINE__, "%s: no '%s' in:\n%s", planted, expected, output);
	CHECK_EQ(status, exit_status);
}

static void plant_file(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/planted", test_folder());
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	close(fd);
}

/* A process that has left the test's process group and session, and waits for its end. */
static void plant_process(void)
{
	int ready[2];
	char byte;

	CHECK_EQ(pipe(ready), 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		setsid();
		close(ready[0]);
		close(ready[1]);
		pause();
		_exit(0);
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &byte, 1), 0); /* it has its own session now */
	close(ready[0]);
}

TEST_BY_NAME(planted_pass, 60)
{
	CHECK_EQ(1, 1);
}

TEST_BY_NAME(planted_check, 60)
{
	CHECK_EQ(1 + 1, 3);
}

TEST_BY_NAME(planted_fd_leak, 60)
{
	CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
}

TEST_BY_NAME(planted_file, 60)
{
	plant_file();
}

TEST_BY_NAME(planted_declared_file, 60)
{
	printf("in %s\n", test_folder());
	plant_file();
	test_leaves_files();
}

TEST_BY_NAME(planted_process, 60)
{
	plant_process();
}

TEST_BY_NAME(planted_timeout, 1)
{
	plant_process();
	pause();
}

TEST_BY_NAME(planted_crash, 60)
{
	abort();
}

TEST_BY_NAME(planted_skip, 60)
{
	SKIP("no %s here", "moon");
}

TEST(harness_passes_what_is_right)
{
	check_verdict("planted_pass", "\n1 passed, 0 failed, 0 skipped\n", 0);
}

TEST(harness_shows_both_values_of_a_failed_check)
{
	check_verdict("planted_check", "CHECK_EQ(1 + 1, 3): 2, 3\n", 1);
}

TEST(harness_catches_a_descriptor_leak)
{
	check_verdict("planted_fd_leak", "left open: /dev/null\n", 1);
}

TEST(harness_catches_a_file_left)
{
	check_verdict("planted_file", "not ok 1 planted_file # left files\n", 1);
}

TEST(harness_lets_a_declared_file_pass)
{
	check_verdict("planted_declared_file", "ok 1 planted_declared_file (", 0);
}

TEST(harness_catches_a_process_left)
{
	check_verdict("planted_process", "not ok 1 planted_process # left processes\n", 1);
}

TEST(harness_ends_a_test_that_hangs)
{
	check_verdict("planted_timeout", "not ok 1 planted_timeout # timed out after 1 s\n", 1);
}

TEST(harness_catches_a_crash)
{
	check_verdict("planted_crash", "not ok 1 planted_crash # Aborted", 1);
}

TEST(harness_counts_a_skip_with_its_reason)
{
	check_verdict("planted_skip", "skip 1 planted_skip # no moon here\n0 passed, 0 failed, 1",
		      0);
}

TEST(harness_gives_an_empty_folder_and_names_it_to_kvtap)
{
	CHECK_STR(getenv("KVTAP_DIR"), test_folder());
	CHECK_EQ(rmdir(test_folder()), 0);
}

TEST(harness_removes_the_folder_with_what_is_in_it)
{
	char output[4096], folder[128];

	CHECK_EQ(run_planted("planted_declared_file", output, sizeof(output)), 0);
	CHECK_EQ(sscanf(output, "in %127s", folder), 1);
	CHECK(access(folder, F_OK) != 0 && errno == ENOENT);
}
