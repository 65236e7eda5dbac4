/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cupti_life.c - how libkvtap-cupti begins, stays out of the way, and ends
 *
 * The program must go on whatever CUPTI says, and the page must say why it shows no copies.
 */
#include "support_cupti.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

#define A_COPY "{device=\"0\",direction=\"h2d\",memory=\"pinned\",stream=\"7\"}"

static const struct double_cupti *cupti;
static struct exporter exporter;
static struct program program;
static const char *failing;
static int failure;

static void copy_one(void)
{
	cupti->copy(cupti_a_copy(cupti));
}

static void copy(void)
{
	cupti = cupti_load();
	cupti_inject();
	copy_one();
}

static void begin(void (*run)(void))
{
	program_start(&program, run);
	exporter_start(&exporter, NULL);
}

static void end(void)
{
	program_end(&program);
	page_wait(&exporter, "kvtap_workers_closed_total", 1);
	exporter_finish(&exporter);
}

/* What the page says of the program: 1 or 0, and the reason. */
static void wait_for_up(const char *reason)
{
	char key[160];

	if (reason)
		snprintf(key, sizeof(key), "kvtap_cupti_up{pid=\"%d\",reason=\"%s\"}", program.pid,
			 reason);
	else
		snprintf(key, sizeof(key), "kvtap_cupti_up{pid=\"%d\"}", program.pid);
	page_wait(&exporter, key, reason ? 0 : 1);
}

TEST(cupti_shows_copies_and_that_it_is_up_while_the_program_runs)
{
	begin(copy);
	wait_for_up(NULL);
	page_wait(&exporter, "kvtap_cuda_copies_total" A_COPY, 1); /* its buffer isn't full */
	end();
}

/* ---- refusals ---- */

static void copy_in_vain(void)
{
	cupti = cupti_load();
	cupti->fail(failing, failure);
	cupti_inject();
	copy_one();
	CHECK_EQ(cupti->buffers_out(), 0);
	CHECK_EQ(cupti->calls("cuptiUnsubscribe"), strcmp(failing, "cuptiSubscribe") != 0);
}

static void check_refused(const char *function, int result, const char *reason)
{
	failing = function;
	failure = result;
	begin(copy_in_vain);
	wait_for_up(reason);
	end();
}

TEST(cupti_is_down_when_another_profiler_has_subscribed)
{
	check_refused("cuptiSubscribe", 39, "another_profiler");
}

TEST(cupti_is_down_when_the_process_lacks_privileges)
{
	check_refused("cuptiActivityEnable", 35, "insufficient_privileges");
}

TEST(cupti_is_down_when_cupti_has_an_error_of_its_own)
{
	check_refused("cuptiActivityRegisterCallbacks", 999, "cupti_error_999");
}

static void leave_cupti_alone(void)
{
	copy_in_vain();
	CHECK_EQ(cupti->calls("cuptiActivityRegisterTimestampCallback"), 0);
	CHECK_EQ(cupti->calls("cuptiActivitySetAttribute"), 0);
	CHECK_EQ(cupti->calls("cuptiActivityRegisterCallbacks"), 0);
	CHECK_EQ(cupti->calls("cuptiActivityEnable"), 0);
	CHECK_EQ(cupti->calls("cuptiActivityFlushAll"), 0);
}

TEST(cupti_touches_nothing_when_another_profiler_has_subscribed)
{
	failing = "cuptiSubscribe";
	failure = 39;
	begin(leave_cupti_alone);
	end();
}

TEST(cupti_is_down_when_there_is_no_libcupti)
{
	if (dlopen("libcupti.so.13", RTLD_LAZY) || dlopen("libcupti.so.12", RTLD_LAZY))
		SKIP("the loader finds a libcupti here");
	begin(cupti_inject);
	wait_for_up("no_libcupti");
	end();
}

static char real_path[4096];

/* What the build found of a toolkit is in a file beside what it built. */
static bool find_real_cupti(void)
{
	char words[8192] = "", *at;
	int file = open(built_path("cuda"), O_RDONLY | O_CLOEXEC);

	if (file >= 0) {
		CHECK(read(file, words, sizeof(words) - 1) >= 0);
		close(file);
	}
	at = strstr(words, "library=");
	return at && sscanf(at, "library=%4095s", real_path) == 1;
}

static void inject_with_real_cupti(void)
{
	CHECK(dlopen(real_path, RTLD_NOW | RTLD_GLOBAL));
	cupti_inject();
}

TEST(cupti_is_down_with_the_real_libcupti_and_no_driver)
{
	if (dlopen("libcuda.so.1", RTLD_LAZY))
		SKIP("there is a driver here");
	if (!find_real_cupti())
		SKIP("no toolkit with a libcupti was found");
	begin(inject_with_real_cupti);
	wait_for_up("cupti_error_999");
	end();
}

/* ---- the environment ---- */

static void inject_in_vain(void)
{
	cupti = cupti_load();
	cupti_inject();
	copy_one();
	CHECK_EQ(cupti->calls("cuptiGetVersion"), 0);
}

static void check_malformed(const char *name, const char *value)
{
	setenv(name, value, 1);
	begin(inject_in_vain);
	wait_for_up(name);
	end();
	unsetenv(name);
}

TEST(cupti_is_down_and_names_the_variable_that_is_malformed)
{
	check_malformed("KVTAP_CUPTI", "subscribed");
	check_malformed("KVTAP_CUPTI_MIN_BYTES", "4k");
	check_malformed("KVTAP_CUPTI_MIN_BYTES", "-1");
	check_malformed("KVTAP_CUPTI_DIRECTIONS", "h2d,up");
	check_malformed("KVTAP_CUPTI_FLUSH_MS", "99");
	check_malformed("KVTAP_CUPTI_STREAMS", "257");
}

TEST(cupti_is_down_when_more_than_256_labels_are_listed)
{
	char list[257 * 5 + 1] = "";

	for (int i = 0; i < 257; i++)
		snprintf(list + strlen(list), 6, "%s%d", i ? "," : "", 100 + i);
	check_malformed("KVTAP_CUPTI_LABELS", list);
}

TEST(cupti_logs_why_it_is_down_where_it_is_told_to)
{
	char path[4200], line[512] = "", expected[128];
	int file;

	snprintf(path, sizeof(path), "%s/log", test_folder());
	setenv("KVTAP_CUPTI_LOG", path, 1);
	check_malformed("KVTAP_CUPTI_STREAMS", "many");
	file = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(file >= 0);
	CHECK(read(file, line, sizeof(line) - 1) > 0);
	close(file);
	unlink(path);
	snprintf(expected, sizeof(expected), "kvtap-cupti[%d]: KVTAP_CUPTI_STREAMS\n", program.pid);
	CHECK_STR(line, expected);
}

TEST(cupti_does_nothing_when_kvtap_is_disabled)
{
	setenv("KVTAP_DISABLE", "1", 1);
	program_start(&program, inject_in_vain);
	program_end(&program);
	CHECK_EQ(namespace_folder(), -1);
}

static void share(void)
{
	copy();
	CHECK_EQ(cupti->calls("cuptiSubscribe"), 0);
	CHECK_EQ(cupti->calls("cuptiActivityRegisterTimestampCallback"), 0);
	CHECK_EQ(cupti->calls("cuptiActivitySetAttribute"), 0);
}

TEST(cupti_leaves_subscription_and_clock_to_others_when_shared)
{
	setenv("KVTAP_CUPTI", "shared", 1);
	begin(share);
	page_wait(&exporter, "kvtap_cuda_copies_total" A_COPY, 1);
	end();
}

/* ---- another client, and the end ---- */

static void lose_callbacks(void)
{
	copy();
	cupti->steal();
	while (cupti->stolen() == 0) /* a flush gives ours to the other */
		copy_one();
	cupti->hold();
}

TEST(cupti_shows_a_stall_when_another_client_has_its_callbacks)
{
	struct page *page;
	double stalled = 0;

	begin(lose_callbacks);
	while (stalled <= 0) {
		page = page_scrape(&exporter);
		stalled = page_find(page, "kvtap_cupti_stalled")
				  ? page_number(page, "kvtap_cupti_stalled")
				  : 0;
		page_free(page);
	}
	end();
}

static uint64_t forced_expected;

/* Is called after the library's own handler, as it was there before. */
static void check_forced(void)
{
	if (cupti->forced_flushes() != forced_expected)
		_exit(3);
}

static void copy_and_check_exit(void)
{
	cupti = cupti_load();
	forced_expected = 1;
	atexit(check_forced);
	cupti_inject();
	copy_one();
}

TEST(cupti_forces_a_flush_once_when_the_program_exits)
{
	begin(copy_and_check_exit);
	end();
}

static void fork_and_exit(void)
{
	pid_t child;
	int status;

	copy_and_check_exit();
	child = fork();
	if (child == 0) {
		forced_expected = 0;
		exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
}

TEST(cupti_does_nothing_at_the_exit_of_a_child_of_fork)
{
	if (with_asan())
		SKIP("a fork child may find the allocator of this sanitizer locked for ever");
	begin(fork_and_exit);
	page_wait(&exporter, "kvtap_cuda_copies_total" A_COPY, 1);
	end();
}

static void hang_at_exit(void)
{
	copy();
	cupti->hang_flush();
}

TEST(cupti_lets_the_program_exit_when_the_last_flush_hangs)
{
	begin(hang_at_exit);
	program_end(&program);
	page_wait(&exporter, "kvtap_workers_dead_total", 1); /* it could not close its tap */
	exporter_finish(&exporter);
}
