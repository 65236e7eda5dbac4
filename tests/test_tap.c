/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tap.c - open and close, options, taps that can't be opened, threads and their rings
 *
 * What fork, exec, dlclose and seccomp do to a tap is in test_tap_process.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

static struct kvtap *tap;
static struct watch watch;
static int logged;
static enum kvtap_level logged_level;
static char logged_message[512];

static void on_log(void *log_arg, enum kvtap_level level, const char *message)
{
	CHECK(log_arg == &logged);
	logged++;
	logged_level = level;
	snprintf(logged_message, sizeof(logged_message), "%s", message);
}

static struct kvtap_options logging_options(void)
{
	struct kvtap_options options = small_options();

	options.log = on_log;
	options.log_arg = &logged;
	return options;
}

static void move(uint32_t series, uint64_t bytes)
{
	kvtap_transfer(tap,
		       &(struct kvtap_transfer){ .series = series, .end_ns = 1, .bytes = bytes });
}

static struct kvtap_stats stats_of(struct kvtap *of)
{
	struct kvtap_stats stats;

	kvtap_stats(of, &stats);
	return stats;
}

/* Every call on a tap that is not usable: none has an effect, and records are counted or not. */
static void check_inert(struct kvtap *inert, int declared, uint64_t ignored)
{
	struct kvtap_ring *ring = kvtap_ring(inert);
	struct kvtap_transfer transfer = { .series = 1, .bytes = 5 };
	uint32_t id = 7;

	CHECK(ring);
	CHECK_EQ(kvtap_family_declare(inert, &id,
				      &(struct kvtap_family){ .name = "a", .metric = 1 }),
		 declared);
	CHECK_EQ(id, 0);
	CHECK_EQ(kvtap_family_series(inert, &id, 1, NULL, 0), declared);
	CHECK_EQ(kvtap_kind_series(inert, &id, 1, NULL, 0), declared);
	CHECK_EQ(kvtap_builtin(inert, &id, KVTAP_NIXL_TRANSFER, NULL), declared);
	CHECK_EQ(id, 0);
	kvtap_transfer(inert, &transfer);
	kvtap_add(inert, 1, 1);
	kvtap_set(inert, 1, 1);
	kvtap_observe(inert, 1, 1);
	kvtap_ring_transfer(ring, &transfer);
	kvtap_ring_add(ring, 1, 1);
	kvtap_ring_set(ring, 1, 1);
	kvtap_ring_observe(ring, 1, 1);
	kvtap_ring_transfers(ring, &transfer, 1);
	kvtap_add(inert, 0, 1);
	CHECK_EQ(stats_of(inert).ignored_calls, ignored);
	CHECK_EQ(stats_of(inert).lost_records + stats_of(inert).refused_records, 0);
}

/* ---- open and close ---- */

TEST(tap_open_makes_a_segment_and_close_marks_it)
{
	tap = small_tap();
	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_identity(watch.reader)->pid, getpid());
	CHECK_EQ(kvtap_reader_identity(watch.reader)->ring_slots, SMALL_SLOTS);
	CHECK_EQ(kvtap_reader_rings(watch.reader), 0);
	CHECK_EQ(kvtap_reader_life(watch.reader, true), KVTAP_ALIVE);
	CHECK_EQ(count_files(watch.folder, ""), 2); /* no temporary one */
	kvtap_close(tap);
	CHECK_EQ(kvtap_reader_life(watch.reader, false), KVTAP_CLOSED);
	watch_remove(&watch);
}

TEST(tap_open_without_options_takes_the_folder_of_the_environment)
{
	CHECK_EQ(kvtap_open(&tap, NULL), 0);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_identity(watch.reader)->ring_slots, 4096);
	CHECK_EQ(kvtap_reader_identity(watch.reader)->ring_max, 128);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(tap_environment_wins_over_options)
{
	struct kvtap_options options = small_options();

	options.dir = "/nowhere";
	options.name_space = "another";
	setenv("KVTAP_NAMESPACE", "default", 1);
	setenv("KVTAP_RING_SLOTS", "32", 1);
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_identity(watch.reader)->ring_slots, 32);
	kvtap_close(tap);
	watch_remove(&watch);
}

static void check_refused(const struct kvtap_options *options)
{
	logged = 0;
	CHECK_EQ(kvtap_open(&tap, options), -EINVAL);
	CHECK_EQ(logged, 1);
	CHECK_EQ(logged_level, KVTAP_LOG_ERROR);
	check_inert(tap, -ENODEV, 10);
	kvtap_close(tap);
	CHECK_EQ(logged, 1);
}

TEST(tap_open_refuses_options_out_of_range)
{
	static const uint32_t slots[] = { 1, 15, 17, 8, 2u << 20, UINT32_MAX };
	struct kvtap_options options = logging_options();

	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		options.ring_slots = slots[i];
		check_refused(&options);
	}
	options = logging_options();
	options.ring_max = 1025;
	check_refused(&options);
	options = logging_options();
	options.overflow_bytes = 4097;
	check_refused(&options);
	options.overflow_bytes = (16u << 20) + 4096;
	check_refused(&options);
}

TEST(tap_open_refuses_namespaces_that_are_no_file_names)
{
	static const char *const bad[] = { ".", "..", "a/b", "a b", "\xc3\xa4", ".hidden" };
	struct kvtap_options options = logging_options();
	char long_name[66];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		options.name_space = bad[i];
		check_refused(&options);
	}
	memset(long_name, 'n', 65);
	long_name[65] = 0;
	options.name_space = long_name;
	check_refused(&options);
}

TEST(tap_open_refuses_a_malformed_environment)
{
	static const char *const bad[] = { "17", "abc", "16x", "-16", "0", "99999999999999999999" };
	struct kvtap_options options = logging_options();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setenv("KVTAP_RING_SLOTS", bad[i], 1);
		check_refused(&options);
		CHECK(strstr(logged_message, bad[i]));
	}
	unsetenv("KVTAP_RING_SLOTS");
	setenv("KVTAP_NAMESPACE", "a/b", 1);
	check_refused(&options);
}

TEST(tap_that_is_switched_off_does_nothing)
{
	struct kvtap_options options = logging_options();

	setenv("KVTAP_DISABLE", "yes", 1);
	options.ring_slots = 17; /* not even looked at */
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	check_inert(tap, 0, 0);
	kvtap_close(tap);
	CHECK_EQ(logged, 0);
	CHECK(namespace_folder() < 0);
}

TEST(tap_is_not_switched_off_by_0_or_nothing)
{
	setenv("KVTAP_DISABLE", "0", 1);
	kvtap_close(small_tap());
	setenv("KVTAP_DISABLE", "", 1);
	kvtap_close(small_tap());
	remove_segments();
}

TEST(tap_null_takes_every_call)
{
	check_inert(NULL, 0, 0);
	kvtap_close(NULL);
}

/* ---- taps that can't be opened ---- */

static void check_unopened(const char *dir, int error)
{
	struct kvtap_options options = logging_options();

	setenv("KVTAP_DIR", dir, 1);
	CHECK_EQ(kvtap_open(&tap, &options), error);
	CHECK_EQ(logged, 1);
	CHECK(strstr(logged_message, dir));
	check_inert(tap, -ENODEV, 10);
	CHECK_EQ(logged, 1);
	kvtap_close(tap);
}

TEST(tap_in_a_missing_folder_is_an_error_once)
{
	check_unopened("/nowhere/at/all", -ENOENT);
}

TEST(tap_in_a_file_is_an_error_once)
{
	check_unopened("/proc/self/status", -ENOTDIR);
}

TEST(tap_does_not_follow_a_link_to_another_folder)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/kvtap.default", test_folder());
	CHECK_EQ(symlink("/tmp", path), 0);
	check_unopened(test_folder(), -ENOTDIR);
	CHECK_EQ(unlink(path), 0);
}

TEST(tap_without_permission_is_an_error_once)
{
	int status;
	pid_t child;

	if (geteuid() != 0)
		SKIP("needs root to become another user");
	child = fork();
	if (child == 0) {
		CHECK_EQ(setresuid(65534, 65534, 65534), 0);
		check_unopened(test_folder(), -EACCES);
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
}

/* A tmpfs of this size on the test's folder, seen by this process only. */
static void mount_tiny(const char *size)
{
	char options[32];

	if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		SKIP("unshare: %s", strerror(errno));
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("mount: %s", strerror(errno));
	snprintf(options, sizeof(options), "size=%s,mode=0700", size);
	if (mount("tiny", test_folder(), "tmpfs", 0, options) < 0)
		SKIP("mount of a tmpfs: %s", strerror(errno));
}

static void unmount_tiny(void)
{
	CHECK_EQ(umount2(test_folder(), MNT_DETACH), 0);
}

TEST(tap_on_a_full_file_system_is_an_error_once)
{
	mount_tiny("16k");
	check_unopened(test_folder(), -ENOSPC);
	int folder = namespace_folder();
	CHECK_EQ(count_files(folder, ""), 0);
	close(folder);
	unmount_tiny();
}

TEST(tap_beyond_the_file_size_limit_is_an_error_and_no_signal)
{
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 1 << 20, 1 << 20 }), 0);
	check_unopened(test_folder(), -EFBIG);
	int folder = namespace_folder();
	CHECK_EQ(count_files(folder, ""), 0);
	close(folder);
	remove_segments();
}

static void fill_file_system(void)
{
	static const char block[4096];
	char path[128];

	snprintf(path, sizeof(path), "%s/filler", test_folder());
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	CHECK_EQ(errno, ENOSPC);
	close(fd);
}

static void *move_10(void *series)
{
	for (int i = 0; i < 10; i++)
		move(*(uint32_t *)series, 5);
	return NULL;
}

TEST(tap_counts_what_threads_without_a_ring_lose_once_the_file_system_is_full)
{
	struct kvtap_options options = logging_options();
	struct kvtap_losses losses;

	mount_tiny("128k");
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	move_10(&load);
	fill_file_system();
	run_thread(move_10, &load);
	CHECK_EQ(logged, 1);
	CHECK_EQ(logged_level, KVTAP_LOG_WARN);
	for (int i = 0; i < 4; i++)
		move_10(&load); /* its own ring, and what that folds, has its memory */
	CHECK_EQ(stats_of(tap).lost_records, 10);
	CHECK_EQ(stats_of(tap).lost_bytes, 50);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 50);
	CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
	CHECK_EQ(losses.lost_records, 10);
	kvtap_close(tap);
	watch_remove(&watch);
	unmount_tiny();
}

TEST(tap_declares_until_the_file_system_is_full)
{
	const char *label = "tier";
	char value[1001];
	uint32_t family, series, last = 0;
	int rc = 0;

	mount_tiny("128k");
	tap = small_tap();
	fill_file_system();
	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){ .name = "a",
							      .metric = KVTAP_COUNTER,
							      .label_names = &label,
							      .label_count = 1 }),
		 0);
	for (int i = 0; rc == 0; i++) {
		memset(value, 'a' + i, sizeof(value) - 1);
		value[1000] = 0;
		rc = kvtap_family_series(tap, &series, family, (const char *[]){ value }, 1);
		last += rc == 0;
	}
	CHECK_EQ(rc, -ENOSPC);
	CHECK_EQ(last, 15); /* the 16 KiB that were allocated at first */
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_series_count(watch.reader), last);
	kvtap_close(tap);
	watch_remove(&watch);
	unmount_tiny();
}

/* ---- several taps ---- */

TEST(tap_ninth_is_an_error_until_one_is_closed)
{
	struct kvtap_options options = logging_options();
	struct kvtap *eight[8];

	for (int i = 0; i < 8; i++)
		eight[i] = small_tap();
	CHECK_EQ(kvtap_open(&tap, &options), -EMFILE);
	check_inert(tap, -ENODEV, 10);
	kvtap_close(tap);
	kvtap_close(eight[3]);
	eight[3] = small_tap();
	for (int i = 0; i < 8; i++)
		kvtap_close(eight[i]);
	remove_segments();
}

TEST(tap_records_stay_with_their_tap)
{
	struct kvtap_options options = small_options();
	struct kvtap *other;

	tap = small_tap();
	uint32_t counter = counter_series(tap, "mine");
	watch_open(&watch, 0);
	options.name_space = "other";
	CHECK_EQ(kvtap_open(&other, &options), 0);
	uint32_t foreign = counter_series(other, "other");
	for (int i = 0; i < 5; i++) {
		kvtap_add(tap, counter, 1);
		kvtap_add(other, foreign, 100);
	}
	CHECK_EQ(watch_drain(&watch), 5);
	CHECK(total_double(watch_total(&watch, counter), 0) == 5);
	kvtap_close(other);
	kvtap_close(tap);
	watch_remove(&watch);
	test_leaves_files();
}

/* The thread's cache of rings names the slot of a tap that is gone. */
TEST(tap_in_the_place_of_a_closed_one_gets_its_own_records)
{
	for (int i = 0; i < 20; i++) {
		tap = small_tap();
		uint32_t counter = counter_series(tap, "c");

		kvtap_add(tap, counter, i);
		watch_open(&watch, 0);
		CHECK_EQ(watch_drain(&watch), 1);
		CHECK(total_double(watch_total(&watch, counter), 0) == i);
		kvtap_close(tap);
		watch_remove(&watch);
	}
}

/* ---- threads ---- */

static pthread_barrier_t barrier;

static void *move_10_together(void *series)
{
	kvtap_ring(tap);
	pthread_barrier_wait(&barrier);
	move_10(series);
	pthread_barrier_wait(&barrier);
	return NULL;
}

TEST(tap_counts_what_threads_beyond_ring_max_record)
{
	struct kvtap_options options = logging_options();
	pthread_t thread[5];

	options.ring_max = 2;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	CHECK_EQ(pthread_barrier_init(&barrier, NULL, 5), 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, move_10_together, &load), 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	CHECK_EQ(stats_of(tap).lost_records, 30);
	CHECK_EQ(stats_of(tap).lost_bytes, 150);
	CHECK_EQ(logged, 1);
	run_thread(move_10, &load); /* a ring is free again */
	CHECK_EQ(stats_of(tap).lost_records, 30);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 30);
	CHECK_EQ(total_sum(watch_total(&watch, load), 0), 150);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(tap_hands_the_ring_of_an_ended_thread_on_with_all_that_is_in_it)
{
	tap = small_tap();
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);

	for (int i = 0; i < 20; i++) /* 16 in the ring, then the overflow */
		run_thread(move_10, &load);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	CHECK_EQ(watch_drain(&watch), 200);
	CHECK_EQ(watch.wrong, 0);
	CHECK_EQ(total_sum(watch_total(&watch, load), 0), 1000);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(tap_many_short_threads_lose_nothing)
{
	pthread_t thread[4];

	tap = small_tap();
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	watch_open(&watch, 0);
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 4; i++)
			CHECK_EQ(pthread_create(&thread[i], NULL, move_10, &load), 0);
		watch_drain(&watch);
		for (int i = 0; i < 4; i++)
			CHECK_EQ(pthread_join(thread[i], NULL), 0);
	}
	watch_drain(&watch);
	CHECK(kvtap_reader_rings(watch.reader) <= 4);
	CHECK_EQ(watch.wrong, 0);
	CHECK_EQ(watch.records + watch.folded, 4000);
	CHECK_EQ(total_sum(watch_total(&watch, load), 0), 20000);
	kvtap_close(tap);
	watch_remove(&watch);
}

/* ---- what recording costs ---- */

TEST(tap_recording_allocates_nothing_after_the_first_record)
{
	tap = small_tap();
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD), counter = counter_series(tap, "c");

	move(load, 1);
	struct mallinfo2 before = mallinfo2();
	for (int i = 0; i < 1000; i++) {
		move(load, 1);
		kvtap_add(tap, counter, 1);
		kvtap_add(tap, counter, -1);
	}
	struct mallinfo2 after = mallinfo2();
	kvtap_close(tap);
	remove_segments();
	if (!before.uordblks)
		SKIP("this allocator keeps no count");
	CHECK_EQ(after.uordblks, before.uordblks);
	CHECK_EQ(after.hblkhd, before.hblkhd);
}
