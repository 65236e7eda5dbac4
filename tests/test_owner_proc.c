/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_owner_proc.c - a pid namespace that sees the /proc of another one, as some containers do
 *
 * What stands there under a worker's pid is another process. Reader and worker are both in the
 * namespace; the verdict must come from the beacon and the lock.
 */
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

static void work(int ready)
{
	struct kvtap *tap = small_tap();

	kvtap_add(tap, counter_series(tap, "c"), 1);
	CHECK_EQ(write(ready, "r", 1), 1);
	for (;;)
		pause();
}

/* The first process of the namespace. */
static void judge(void)
{
	struct watch watch;
	int ready[2], status;
	char answer;
	pid_t pid;

	CHECK_EQ(getpid(), 1);
	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (pid == 0)
		work(ready[1]);
	CHECK_EQ(read(ready[0], &answer, 1), 1);
	watch_open(&watch, pid);
	CHECK_EQ(kvtap_reader_life(watch.reader, true), KVTAP_ALIVE);
	CHECK(!kvtap_reader_retire(watch.reader));
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(kvtap_reader_life(watch.reader, true), KVTAP_DEAD);
	CHECK_EQ(watch_drain(&watch), 1);
	watch_remove(&watch);
	_exit(0); /* without LeakSanitizer, for the same reason as below */
}

#define NOT_PERMITTED 77

/* Not the test itself: LeakSanitizer can't look at a process whose children are in another one. */
static void enter(void)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		_exit(NOT_PERMITTED);
	pid = fork();
	if (pid == 0)
		judge();
	_exit(waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1);
}

TEST(owner_under_a_foreign_proc_is_judged_by_beacon_and_lock)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		enter();
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_PERMITTED)
		SKIP("unshare(CLONE_NEWPID) is not permitted");
	CHECK_EQ(status, 0);
}
