/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_owner.c - whether a worker is alive is judged right, however it lives and dies
 *
 * The worker is a process that does what the test tells it through a pipe and answers when it has
 * done it; the test reads its segment. A verdict is asked for both ways, quick and thorough.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

#define STATE_LIMIT_S 60

struct worker {
	pid_t pid;
	int in, out; /* the test's ends: from it, to it */
};

/* ---- the worker ---- */

static struct kvtap *tap;
static uint32_t series;
static int commands, answers;

static void *record(void *nothing)
{
	kvtap_add(tap, series, 1);
	return nothing;
}

static void close_descriptors(void)
{
	CHECK_EQ(dup2(commands, 0), 0);
	CHECK_EQ(dup2(answers, 1), 1);
	commands = 0;
	answers = 1;
	CHECK_EQ(syscall(SYS_close_range, 3u, ~0u, 0), 0);
}

/* Answers as the others do, and to all that follows. */
static void become_cat(void)
{
	dup2(commands, 0);
	dup2(answers, 1);
	CHECK_EQ(write(1, "e", 1), 1);
	execlp("cat", "cat", NULL);
	_exit(127);
}

static void obey(void);

static void *obey_without_leader(void *nothing)
{
	CHECK_EQ(write(answers, "l", 1), 1);
	obey();
	_exit(0);
	return nothing;
}

static void leave_to_another_thread(void)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, obey_without_leader, NULL), 0);
	pthread_exit(NULL);
}

/* The parent does nothing any more; the child obeys, and outlives it. */
static void leave_to_a_child(void)
{
	if (fork() != 0)
		for (;;)
			pause();
}

static void obey(void)
{
	char command;

	while (read(commands, &command, 1) == 1) {
		if (command == 'r')
			record(NULL);
		if (command == 't')
			run_thread(record, NULL);
		if (command == 'd')
			close_descriptors();
		if (command == 'c')
			kvtap_close(tap);
		if (command == 'e')
			become_cat();
		if (command == 'l')
			leave_to_another_thread();
		if (command == 'f')
			leave_to_a_child();
		CHECK_EQ(write(answers, &command, 1), 1);
	}
}

/* ---- the test's side of it ---- */

static void hear(const struct worker *worker, char expected)
{
	char answer = 0;

	CHECK_EQ(read(worker->in, &answer, 1), 1);
	CHECK_EQ(answer, expected);
}

static void tell(const struct worker *worker, char command)
{
	CHECK_EQ(write(worker->out, &command, 1), 1);
	hear(worker, command);
}

static struct worker start(void)
{
	struct worker worker;
	int to[2], from[2];

	CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
	worker = (struct worker){ .pid = fork(), .in = from[0], .out = to[1] };
	CHECK(worker.pid >= 0);
	if (worker.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		commands = to[0];
		answers = from[1];
		tap = small_tap();
		series = counter_series(tap, "owner_records");
		CHECK_EQ(write(answers, "o", 1), 1);
		obey();
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	hear(&worker, 'o');
	return worker;
}

static void hang_up(const struct worker *worker)
{
	close(worker->in);
	close(worker->out);
}

/* The event that its parent is told of; it stays a zombie. */
static void wait_for_death(const struct worker *worker)
{
	siginfo_t info;

	CHECK_EQ(waitid(P_PID, (id_t)worker->pid, &info, WEXITED | WNOWAIT), 0);
}

static void reap(const struct worker *worker)
{
	CHECK_EQ(waitpid(worker->pid, NULL, 0), worker->pid);
	hang_up(worker);
}

static void check_life(struct watch *watch, enum kvtap_life expected)
{
	CHECK_EQ(kvtap_reader_life(watch->reader, false), expected);
	CHECK_EQ(kvtap_reader_life(watch->reader, true), expected);
	CHECK_EQ(kvtap_reader_life(watch->reader, false), expected);
}

static void check_alive(struct watch *watch)
{
	check_life(watch, KVTAP_ALIVE);
	CHECK(!kvtap_reader_retire(watch->reader));
	check_life(watch, KVTAP_ALIVE);
}

/* And no record of it is missing. */
static void check_gone(struct watch *watch, enum kvtap_life expected, uint64_t records)
{
	check_life(watch, expected);
	CHECK(kvtap_reader_retire(watch->reader));
	watch_drain(watch);
	CHECK_EQ(watch->records + watch->folded, records);
	CHECK_EQ(watch->wrong, 0);
}

/* Kill it, and judge it as a zombie and when there is nothing left of it. */
static void check_killed(const struct worker *worker, struct watch *watch, uint64_t records)
{
	CHECK_EQ(kill(worker->pid, SIGKILL), 0);
	wait_for_death(worker);
	check_gone(watch, KVTAP_DEAD, records);
	reap(worker);
	check_gone(watch, KVTAP_DEAD, records);
	watch_remove(watch);
}

/* ---- living and dying ---- */

TEST(owner_that_runs_is_alive_before_and_after_its_first_record)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, worker.pid);
	check_alive(&watch);
	tell(&worker, 'r');
	check_alive(&watch);
	tell(&worker, 'r');
	CHECK_EQ(watch_drain(&watch), 2);
	check_killed(&worker, &watch, 2);
}

TEST(owner_that_was_killed_before_its_first_record_is_dead)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, 0);
	check_killed(&worker, &watch, 0);
}

TEST(owner_that_died_before_the_reader_came_is_dead)
{
	struct worker worker = start();
	struct watch watch;

	tell(&worker, 'r');
	CHECK_EQ(kill(worker.pid, SIGKILL), 0);
	wait_for_death(&worker);
	watch_open(&watch, worker.pid);
	check_gone(&watch, KVTAP_DEAD, 1);
	watch_close(&watch);
	reap(&worker);
	watch_open(&watch, 0);
	check_gone(&watch, KVTAP_DEAD, 0); /* what was taken stays taken */
	watch_remove(&watch);
}

TEST(owner_that_closed_is_closed_while_it_runs_and_afterwards)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, worker.pid);
	tell(&worker, 'r');
	tell(&worker, 'c');
	check_gone(&watch, KVTAP_CLOSED, 1);
	CHECK_EQ(kill(worker.pid, SIGKILL), 0);
	reap(&worker);
	check_gone(&watch, KVTAP_CLOSED, 1);
	watch_remove(&watch);
}

TEST(owner_that_exits_without_close_is_dead)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, worker.pid);
	tell(&worker, 'r');
	close(worker.out);
	wait_for_death(&worker);
	check_gone(&watch, KVTAP_DEAD, 1);
	worker.out = -1;
	reap(&worker);
	watch_remove(&watch);
}

TEST(owner_that_is_stopped_is_alive_and_goes_on)
{
	struct worker worker = start();
	struct watch watch;
	int status;

	watch_open(&watch, worker.pid);
	tell(&worker, 'r');
	CHECK_EQ(kill(worker.pid, SIGSTOP), 0);
	CHECK_EQ(waitpid(worker.pid, &status, WUNTRACED), worker.pid);
	CHECK(WIFSTOPPED(status));
	check_alive(&watch);
	CHECK_EQ(kill(worker.pid, SIGCONT), 0);
	CHECK_EQ(waitpid(worker.pid, &status, WCONTINUED), worker.pid);
	tell(&worker, 'r');
	check_alive(&watch);
	check_killed(&worker, &watch, 2);
}

/* ---- witnesses that fall silent ---- */

TEST(owner_that_closed_all_its_descriptors_is_alive_until_it_is_killed)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, worker.pid);
	tell(&worker, 'r');
	tell(&worker, 'd');
	check_alive(&watch);
	tell(&worker, 'r');
	check_killed(&worker, &watch, 2);
}

TEST(owner_whose_recording_threads_ended_is_alive_until_it_is_killed)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, worker.pid);
	tell(&worker, 't');
	tell(&worker, 't');
	check_alive(&watch);
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	check_killed(&worker, &watch, 2);
}

TEST(owner_that_holds_nothing_but_the_mapping_is_alive_until_it_is_killed)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, worker.pid);
	tell(&worker, 't');
	tell(&worker, 'd');
	check_alive(&watch);
	tell(&worker, 't');
	check_killed(&worker, &watch, 2);
}

/* No kernel event tells that a leader is a zombie now: its parent is told when all threads ended. */
static void wait_for_zombie_leader(pid_t pid)
{
	time_t limit = time(NULL) + STATE_LIMIT_S;
	char path[64], text[512], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (state != 'Z') {
		FILE *stat = fopen(path, "re");

		CHECK(stat && fgets(text, sizeof(text), stat));
		fclose(stat);
		state = strrchr(text, ')')[2];
		CHECK(time(NULL) < limit);
	}
}

TEST(owner_whose_leader_thread_ended_is_alive_until_the_others_end)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, worker.pid);
	tell(&worker, 'r');
	tell(&worker, 'l');
	wait_for_zombie_leader(worker.pid);
	check_alive(&watch);
	tell(&worker, 'r');
	check_alive(&watch);
	check_killed(&worker, &watch, 2);
}

TEST(owner_that_called_exec_is_dead_while_the_process_runs)
{
	struct worker worker = start();
	struct watch watch;

	watch_open(&watch, worker.pid);
	tell(&worker, 'r');
	check_alive(&watch);
	tell(&worker, 'e');
	tell(&worker, '?'); /* the new program is there */
	check_gone(&watch, KVTAP_DEAD, 1);
	check_killed(&worker, &watch, 1);
}

TEST(owner_whose_fork_child_lives_is_dead_and_the_child_has_its_own)
{
	struct worker worker = start();
	struct watch parent, child;

	watch_open(&parent, worker.pid);
	tell(&worker, 'r');
	tell(&worker, 'f');
	CHECK_EQ(kill(worker.pid, SIGKILL), 0);
	wait_for_death(&worker);
	check_gone(&parent, KVTAP_DEAD, 1);
	CHECK_EQ(waitpid(worker.pid, NULL, 0), worker.pid);
	check_gone(&parent, KVTAP_DEAD, 1);
	watch_remove(&parent);
	tell(&worker, 'r');
	watch_open(&child, 0);
	CHECK(kvtap_reader_identity(child.reader)->pid != (uint32_t)worker.pid);
	check_alive(&child);
	tell(&worker, 'c');
	hang_up(&worker); /* and the child ends */
	check_gone(&child, KVTAP_CLOSED, 1);
	watch_remove(&child);
}

/* ---- another pid namespace ---- */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* The children that follow are in a new one, which this process doesn't see inside. */
static void leave_pid_namespace(void)
{
	unsigned user = getuid(), group = getgid();
	char map[64];

	if (unshare(CLONE_NEWPID) == 0)
		return;
	if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
		SKIP("unshare(CLONE_NEWPID): %s", strerror(errno));
	snprintf(map, sizeof(map), "%u %u 1", user, user);
	CHECK(write_file("/proc/self/uid_map", map));
	CHECK(write_file("/proc/self/setgroups", "deny"));
	snprintf(map, sizeof(map), "%u %u 1", group, group);
	CHECK(write_file("/proc/self/gid_map", map));
}

static struct worker start_in_pid_namespace(void)
{
	int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	struct worker worker;

	CHECK(own >= 0);
	leave_pid_namespace();
	worker = start();
	setns(own, CLONE_NEWPID); /* as root; else there are no other children */
	close(own);
	return worker;
}

TEST(owner_in_another_pid_namespace_is_alive_until_it_is_killed)
{
	struct worker worker = start_in_pid_namespace();
	struct watch watch;

	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_identity(watch.reader)->pid, 1);
	check_alive(&watch); /* by the lock */
	tell(&worker, 't');
	check_alive(&watch);
	tell(&worker, 'r');
	tell(&worker, 'd');
	check_alive(&watch); /* by the beacon */
	check_killed(&worker, &watch, 2);
}

/* ---- a segment that says something else ---- */

static void change_header(void (*change)(struct kvtap_segment_header *header))
{
	struct kvtap_segment_header header;
	int folder = namespace_folder(), fd;
	char name[256];

	CHECK(find_segment(name, folder, 0));
	fd = openat(folder, name, O_RDWR | O_CLOEXEC);
	CHECK_EQ(pread(fd, &header, sizeof(header), 0), sizeof(header));
	change(&header);
	CHECK_EQ(pwrite(fd, &header, offsetof(struct kvtap_segment_header, state), 0),
		 offsetof(struct kvtap_segment_header, state));
	close(fd);
	close(folder);
}

static void other_boot(struct kvtap_segment_header *header)
{
	header->boot_id[0]++;
}

static void other_start(struct kvtap_segment_header *header)
{
	header->start_ticks++;
}

/* Its beacon is lit and its lock is held, as if left so: the first judgement asks for more. */
static void check_changed(void (*change)(struct kvtap_segment_header *header))
{
	struct worker worker = start();
	struct watch watch;

	tell(&worker, 'r');
	change_header(change);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_life(watch.reader, false), KVTAP_DEAD);
	CHECK_EQ(kvtap_reader_life(watch.reader, true), KVTAP_DEAD);
	CHECK(kvtap_reader_retire(watch.reader));
	check_killed(&worker, &watch, 1);
}

TEST(owner_of_an_earlier_boot_is_dead)
{
	check_changed(other_boot);
}

TEST(owner_with_another_start_time_is_dead)
{
	check_changed(other_start);
}

static pid_t fork_as(pid_t pid)
{
	pid_t wanted[] = { pid };
	struct clone_args arguments = { .exit_signal = SIGCHLD,
					.set_tid = (uintptr_t)wanted,
					.set_tid_size = 1 };

	return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

TEST(owner_whose_pid_was_given_to_another_process_is_dead)
{
	struct worker worker = start();
	struct timespec tick = { .tv_nsec = 1000000000 / sysconf(_SC_CLK_TCK) };
	struct watch watch;

	watch_open(&watch, worker.pid);
	tell(&worker, 'r');
	CHECK_EQ(kill(worker.pid, SIGKILL), 0);
	CHECK_EQ(waitpid(worker.pid, NULL, 0), worker.pid);
	nanosleep(&tick, NULL); /* a process is told from another by the tick it started in */
	pid_t other = fork_as(worker.pid);
	if (other == 0)
		for (;;)
			pause();
	if (other < 0) {
		watch_remove(&watch);
		SKIP("clone3 with set_tid: not permitted, or a kernel before 5.5");
	}
	CHECK_EQ(other, worker.pid);
	check_gone(&watch, KVTAP_DEAD, 1);
	check_killed(&worker, &watch, 1);
}

/* ---- taken for dead by mistake ---- */

/* It holds nothing, no descriptor and no ring, and can't be looked up. But it records again. */
TEST(owner_that_was_retired_by_mistake_moves_to_a_new_segment)
{
	struct worker worker = start_in_pid_namespace();
	struct watch before, after;

	watch_open(&before, 0);
	tell(&worker, 't');
	tell(&worker, 't');
	tell(&worker, 'd');
	check_gone(&before, KVTAP_DEAD, 2);
	tell(&worker, 't');
	watch_drain(&before);
	CHECK_EQ(before.records, 2);
	watch_remove(&before);
	watch_open(&after, 0);
	check_alive(&after); /* it holds the lock of the new one */
	tell(&worker, 'r');
	tell(&worker, 't');
	CHECK_EQ(watch_drain(&after), 3);
	CHECK_EQ(count_files(after.folder, KVTAP_SEGMENT_SUFFIX), 1);
	check_killed(&worker, &after, 3);
}

/* A thread that has its ring goes on where it is: then the retirement is taken back. */
TEST(owner_that_got_a_ring_before_it_was_retired_keeps_its_segment)
{
	struct worker worker = start_in_pid_namespace();
	struct watch watch;

	watch_open(&watch, 0);
	tell(&worker, 'd');
	check_life(&watch, KVTAP_DEAD);
	tell(&worker, 'r');
	CHECK(!kvtap_reader_retire(watch.reader));
	check_alive(&watch);
	tell(&worker, 't');
	CHECK_EQ(watch_drain(&watch), 2);
	CHECK_EQ(count_files(watch.folder, KVTAP_SEGMENT_SUFFIX), 1);
	check_killed(&worker, &watch, 2);
}
