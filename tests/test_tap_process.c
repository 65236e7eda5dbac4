/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tap_process.c - what fork, exec, dlclose and seccomp do to a tap; what it needs to link
 *
 * Children report by their exit status: CHECK ends them with 1.
 */
#include "../lib/tap.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

static struct kvtap *tap;
static struct watch watch;

static void check_child(pid_t child)
{
	int status;

	CHECK(child > 0);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
}

/* What the segment of a process says of a counter; the segment is removed. */
static void check_counter(pid_t pid, uint32_t counter, double sum)
{
	watch_open(&watch, pid);
	watch_drain(&watch);
	CHECK_EQ(watch.wrong, 0);
	CHECK(total_double(watch_total(&watch, counter), 0) == sum);
	watch_remove(&watch);
}

static void check_silent(pid_t pid)
{
	char name[256];
	int folder = namespace_folder();

	CHECK(!find_segment(name, folder, pid));
	close(folder);
}

/* ---- fork ---- */

TEST(tap_fork_child_records_into_a_segment_of_its_own)
{
	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");
	struct kvtap_ring *ring = kvtap_ring(tap);

	kvtap_add(tap, counter, 1);
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 50; i++) {
			kvtap_add(tap, counter, 10);
			kvtap_ring_add(ring, counter, 10); /* the parent's handle is the child's */
		}
		_exit(0);
	}
	check_child(child);
	kvtap_add(tap, counter, 2);
	check_counter(child, counter, 1000);
	kvtap_close(tap);
	check_counter(getpid(), counter, 3);
}

TEST(tap_fork_child_declares_on_and_finds_what_was_declared)
{
	tap = small_tap();
	uint32_t old = counter_series(tap, "old");

	pid_t child = fork();
	if (child == 0) {
		CHECK_EQ(counter_series(tap, "old"), old);
		uint32_t fresh = counter_series(tap, "fresh");
		kvtap_add(tap, fresh, 5);
		kvtap_add(tap, old, 7);
		kvtap_close(tap);
		check_counter(getpid(), fresh, 5);
		_exit(0);
	}
	check_child(child);
	CHECK_EQ(counter_series(tap, "another"), old + 1); /* ids of parent and child part */
	kvtap_close(tap);
	remove_segments();
}

TEST(tap_fork_child_that_does_nothing_leaves_nothing)
{
	struct kvtap_stats stats;

	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");
	kvtap_add(tap, counter, 1);
	pid_t child = fork();
	if (child == 0) {
		kvtap_close(tap);
		_exit(0);
	}
	check_child(child);
	check_silent(child);
	kvtap_add(tap, counter, 1);
	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_life(watch.reader, true), KVTAP_ALIVE);
	watch_close(&watch);
	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.lost_records + stats.ignored_calls, 0);
	kvtap_close(tap);
	check_counter(getpid(), counter, 2);
}

TEST(tap_fork_grandchild_records_too)
{
	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");

	kvtap_add(tap, counter, 1);
	pid_t child = fork();
	if (child == 0) {
		kvtap_add(tap, counter, 2);
		pid_t grandchild = fork();
		if (grandchild == 0) {
			kvtap_add(tap, counter, 4);
			_exit(0);
		}
		check_child(grandchild);
		kvtap_add(tap, counter, 8);
		check_counter(grandchild, counter, 4);
		_exit(0);
	}
	check_child(child);
	check_counter(child, counter, 10);
	kvtap_close(tap);
	check_counter(getpid(), counter, 1);
}

TEST(tap_fork_child_has_its_own_threads_and_rings)
{
	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");

	kvtap_add(tap, counter, 1);
	pid_t child = fork();
	if (child == 0) {
		kvtap_close(tap);
		tap = small_tap();
		kvtap_add(tap, counter_series(tap, "new"), 3);
		_exit(0);
	}
	check_child(child);
	check_counter(child, 1, 3);
	kvtap_close(tap);
	check_counter(getpid(), counter, 1);
}

/* ---- fork while other threads declare and record ---- */

static _Atomic(uint32_t) stop, declared;

static void *declare_and_record(void *unused)
{
	char name[32];

	(void)unused;
	for (uint32_t i = 0; !stop && i < 900; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		uint32_t series = counter_series(tap, name);
		declared = series;
		kvtap_add(tap, series, 1);
	}
	while (!stop)
		kvtap_add(tap, declared, 1);
	return NULL;
}

static void check_name(uint32_t family, const char *expected)
{
	const struct kvtap_text *name = &kvtap_reader_family(watch.reader, family)->name;

	CHECK_EQ(name->bytes, strlen(expected));
	CHECK(memcmp(name->data, expected, name->bytes) == 0);
}

/* In the child: what it declares is what a reader of its segment finds under the ids it got. */
static void declare_in_child(uint32_t known)
{
	char name[32];

	snprintf(name, sizeof(name), "child%d", (int)getpid());
	uint32_t own = counter_series(tap, name);
	kvtap_add(tap, own, 3);
	if (known)
		kvtap_add(tap, known, 4);
	kvtap_close(tap);
	watch_open(&watch, getpid());
	CHECK_EQ(watch_drain(&watch), known ? 2 : 1);
	CHECK_EQ(watch.wrong, 0);
	CHECK(total_double(watch_total(&watch, own), 0) == 3);
	check_name(kvtap_reader_plan(watch.reader, own)->cell[0].family, name);
	watch_remove(&watch);
	_exit(0);
}

/* As if the fork came while another thread had written a family and not yet counted it. */
TEST(tap_fork_in_the_middle_of_a_declaration_keeps_ids_right)
{
	const struct kvtap_entry head = { .type = KVTAP_ENTRY_FAMILY, .metric = KVTAP_COUNTER };
	struct kvtap_entry_builder entry;

	tap = small_tap();
	uint32_t counter = counter_series(tap, "c");
	kvtap_entry_begin(&entry, &head);
	kvtap_entry_string(&entry, "half");
	kvtap_entry_string(&entry, "");
	CHECK_EQ(kvtap_entry_end(&entry), 0);
	CHECK_EQ(kvtap_dictionary_append(&tap->dictionary, &entry, 2), 0);
	kvtap_entry_free(&entry);
	pid_t child = fork();
	if (child == 0)
		declare_in_child(counter);
	check_child(child);
	kvtap_close(tap);
	remove_segments();
}

TEST(tap_fork_while_other_threads_declare_and_record)
{
	pthread_t thread[2];

	if (with_asan() || with_tsan())
		SKIP("a fork child may find the allocator of this sanitizer locked for ever");
	tap = small_tap();
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, declare_and_record, NULL), 0);
	for (int i = 0; i < 100; i++) {
		uint32_t known = declared;
		pid_t child = fork();

		if (child == 0)
			declare_in_child(known);
		check_child(child);
	}
	stop = 1;
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	kvtap_close(tap);
	remove_segments();
}

/* ---- exec ---- */

/* The new program lives as long as the pipe; the old one's threads and locks are gone. */
TEST(tap_exec_ends_the_worker_for_a_reader)
{
	int pipe_fds[2];
	char name[256];

	CHECK_EQ(pipe(pipe_fds), 0);
	pid_t child = fork();
	if (child == 0) {
		tap = small_tap();
		kvtap_add(tap, counter_series(tap, "c"), 5);
		dup2(pipe_fds[0], 0);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		execlp("cat", "cat", NULL);
		_exit(1);
	}
	int folder;
	while ((folder = namespace_folder()) < 0 || !find_segment(name, folder, child)) {
		if (folder >= 0)
			close(folder);
		sched_yield();
	}
	close(folder);
	watch_open(&watch, child);
	while (kvtap_reader_life(watch.reader, true) == KVTAP_ALIVE)
		sched_yield();
	CHECK_EQ(kvtap_reader_life(watch.reader, true), KVTAP_DEAD);
	CHECK_EQ(watch_drain(&watch), 1);
	CHECK_EQ(waitpid(child, NULL, WNOHANG), 0); /* and it runs on */
	watch_remove(&watch);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	check_child(child);
}

/* ---- dlclose ---- */

static void path_beside(char path[4096], const char *name)
{
	ssize_t bytes = readlink("/proc/self/exe", path, 3000);

	CHECK(bytes > 0);
	path[bytes] = 0;
	*strrchr(path, '/') = 0;
	*strrchr(path, '/') = 0; /* out of tests/ */
	strcat(strcat(path, "/"), name);
}

struct library {
	__typeof__(kvtap_open) *open;
	__typeof__(kvtap_close) *close;
	__typeof__(kvtap_builtin) *builtin;
	__typeof__(kvtap_transfer) *transfer;
};

static void *load(struct library *library)
{
	char path[4096];
	void *handle;

	path_beside(path, "libkvtap.so");
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		test_fail(__FILE__, __LINE__, "%s", dlerror());
	*(void **)&library->open = dlsym(handle, "kvtap_open");
	*(void **)&library->close = dlsym(handle, "kvtap_close");
	*(void **)&library->builtin = dlsym(handle, "kvtap_builtin");
	*(void **)&library->transfer = dlsym(handle, "kvtap_transfer");
	CHECK(library->open && library->close && library->builtin && library->transfer);
	return handle;
}

static struct library library;
static pthread_barrier_t barrier;

static void *record_around_dlclose(void *series)
{
	struct kvtap_transfer transfer = { .series = *(uint32_t *)series, .bytes = 1 };

	library.transfer(tap, &transfer);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier); /* closed meanwhile */
	library.transfer(tap, &transfer);
	return NULL;
}

TEST(tap_dlclose_leaves_the_library_for_the_threads_that_use_it)
{
	struct kvtap_options options = small_options();
	void *handle = load(&library);
	pthread_t thread;
	uint32_t series;

	CHECK_EQ(library.open(&tap, &options), 0);
	CHECK_EQ(library.builtin(tap, &series, KVTAP_OFFLOAD_LOAD, NULL), 0);
	CHECK_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
	CHECK_EQ(pthread_create(&thread, NULL, record_around_dlclose, &series), 0);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(dlclose(handle), 0);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 2);
	library.close(tap);
	watch_remove(&watch);
}

/* ---- seccomp ---- */

#define STRICT_RECORDS 10000

static int said[2];
static uint32_t strict_series, strict_counter;

static bool forbid_strictly(void)
{
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0;
}

/* The same three calls by a filter: the strict mode also forbids rdtsc, by which the vDSO tells time. */
static bool forbid_by_filter(void)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool (*forbid)(void) = forbid_strictly;

/* Runs what it is given with no system call but read, write and exit. */
static void *be_strict(void *run)
{
	kvtap_ring(tap); /* the first record may make calls */
	if (!forbid()) {
		syscall(SYS_write, said[1], "s", 1);
		return NULL;
	}
	((void (*)(void))run)();
	syscall(SYS_write, said[1], "k", 1);
	syscall(SYS_exit, 0);
	return NULL;
}

/* 'k': it ran; 's': no seccomp here; 'd': killed */
static char run_strict(void (*run)(void))
{
	char answer = 'd';

	CHECK_EQ(pipe(said), 0);
	run_thread(be_strict, (void *)run);
	close(said[1]);
	if (read(said[0], &answer, 1) != 1)
		answer = 'd';
	close(said[0]);
	return answer;
}

static void read_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
}

static void leave_cpu(void)
{
	syscall(SYS_sched_yield);
}

static void record_with_times(void)
{
	struct kvtap_transfer transfer = { .series = strict_series, .end_ns = 1, .bytes = 2 };
	struct kvtap_ring *ring = kvtap_ring(tap);

	for (int i = 0; i < STRICT_RECORDS; i += 4) {
		kvtap_transfer(tap, &transfer);
		kvtap_ring_transfer(ring, &transfer);
		kvtap_ring_transfers(ring, (struct kvtap_transfer[]){ transfer, transfer }, 2);
	}
}

static void record_by_clock(void)
{
	struct kvtap_transfer transfer = { .series = strict_series, .bytes = 2 };

	for (int i = 0; i < STRICT_RECORDS; i += 2) {
		kvtap_transfer(tap, &transfer);
		kvtap_add(tap, strict_counter, 1);
	}
}

static void begin_strict(void)
{
	if (with_asan() || with_tsan())
		SKIP("the sanitizers make system calls of their own");
	char answer = run_strict(leave_cpu);
	if (answer == 's')
		SKIP("this kernel has no seccomp for us");
	CHECK_EQ(answer, 'd'); /* any other call would be noticed */
	tap = small_tap();
	strict_series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	strict_counter = counter_series(tap, "c");
}

static void end_strict(void)
{
	struct kvtap_stats stats;

	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.lost_records + stats.refused_records + stats.ignored_calls, 0);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), STRICT_RECORDS);
	CHECK(watch.folded > 0);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(tap_records_and_folds_without_a_system_call)
{
	begin_strict();
	CHECK_EQ(run_strict(record_with_times), 'k');
	end_strict();
}

TEST(tap_records_by_its_own_clock_without_a_system_call)
{
	forbid = forbid_by_filter;
	begin_strict();
	if (run_strict(read_clock) == 'd') {
		kvtap_close(tap);
		remove_segments();
		SKIP("this machine's vDSO has no fast CLOCK_MONOTONIC");
	}
	CHECK_EQ(run_strict(record_by_clock), 'k');
	end_strict();
}

/* ---- what it needs ---- */

TEST(tap_static_library_needs_nothing_but_libc)
{
	static const char source[] =
		"int kvtap_open(void **, const void *); void kvtap_close(void *);"
		"void kvtap_add(void *, unsigned, double); int main(void) { void *tap;"
		"int rc = kvtap_open(&tap, 0); kvtap_add(tap, 0, 1); kvtap_close(tap); return rc; "
		"}";
	char archive[4096], command[5000];

	if (with_asan() || with_tsan())
		SKIP("an archive with sanitizers needs theirs");
	if (system("command -v cc readelf >/dev/null") != 0)
		SKIP("cc or readelf is missing");
	path_beside(archive, "libkvtap.a");
	snprintf(command, sizeof(command),
		 "cd %s && echo '%s' | cc -x c -o program - -x none '%s' && ./program && "
		 "test \"$(readelf -d program | grep -c NEEDED)\" = 1 && "
		 "readelf -d program | grep -q 'NEEDED.*libc\\.' && rm program",
		 test_folder(), source, archive);
	CHECK_EQ(system(command), 0);
	remove_segments();
}
