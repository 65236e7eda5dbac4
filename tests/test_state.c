/* SPDX-License-Identifier: Apache-2.0 */
/* test_state.c - all of a commit or none; what is read back is checked */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../exporter/state.h"

static int folder;
static struct state *state;
static const char *why;
static int holder;

static int try_open(void)
{
	return state_open(&state, &why, &holder, folder, "s");
}

static void reopen(void)
{
	state_close(state);
	CHECK_EQ(try_open(), 0);
}

static void begin(void)
{
	folder = open(test_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(folder >= 0);
	CHECK_EQ(try_open(), 0);
}

static void end(void)
{
	state_close(state);
	unlinkat(folder, "s", 0);
	close(folder);
}

static uint64_t add(uint8_t type, const char *fixed, uint64_t value)
{
	uint64_t item = state_add(state, type, fixed, (uint32_t)strlen(fixed), sizeof(value));

	CHECK(item);
	memcpy(state_value(state, item), &value, sizeof(value));
	state_end(state, item, sizeof(value));
	return item;
}

static void set(uint64_t item, uint64_t value)
{
	memcpy(state_value(state, item), &value, sizeof(value));
	state_end(state, item, sizeof(value));
}

/* All items as "type:fixed=value ", in their order. */
static const char *content(void)
{
	static char text[4096];
	struct state_item item = { 0 };
	size_t at = 0;

	text[0] = '\0';
	while (state_next(state, &item)) {
		uint64_t value = 0;

		if (item.value)
			memcpy(&value, item.value, sizeof(value));
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%d:%.*s=%llu ", item.type,
				       (int)item.fixed_bytes, (const char *)item.fixed,
				       (unsigned long long)value);
	}
	return text;
}

TEST(state_holds_what_was_committed)
{
	begin();
	add(1, "a", 7);
	uint64_t b = add(2, "bee", 8);
	state_add(state, 3, "fixed", 5, 0);
	state_commit(state);
	set(b, 9);
	state_commit(state);
	reopen();
	CHECK_STR(content(), "1:a=7 2:bee=9 3:fixed=0 ");
	end();
}

TEST(state_forgets_what_was_not_committed)
{
	begin();
	uint64_t a = add(1, "a", 7), b = add(1, "b", 8);
	state_commit(state);
	set(a, 70);
	set(a, 700);
	state_remove(state, b);
	add(1, "c", 9);
	reopen();
	CHECK_STR(content(), "1:a=7 1:b=8 ");
	set(a, 71);
	state_commit(state);
	reopen();
	CHECK_STR(content(), "1:a=71 1:b=8 ");
	end();
}

TEST(state_value_that_was_begun_and_not_ended_is_as_it_was)
{
	begin();
	uint64_t a = add(1, "a", 7);
	state_commit(state);
	memset(state_value(state, a), 0xff, sizeof(uint64_t));
	state_commit(state);
	reopen();
	CHECK_STR(content(), "1:a=7 ");
	end();
}

TEST(state_uses_the_place_of_removed_items_again)
{
	char fixed[32];

	begin();
	uint64_t bytes = state_bytes(state);
	for (int i = 0; i < 100000; i++) {
		snprintf(fixed, sizeof(fixed), "item %d", i);
		uint64_t item = add(1, fixed, (uint64_t)i);
		state_commit(state);
		if (i < 99999)
			state_remove(state, item);
	}
	CHECK_EQ(state_bytes(state), bytes);
	reopen();
	CHECK_STR(content(), "1:item 99999=99999 ");
	end();
}

/* The place is used for the second one before anything says that the first is gone. */
TEST(state_removed_item_is_there_until_the_commit)
{
	begin();
	uint64_t a = add(1, "a", 7);
	state_commit(state);
	state_remove(state, a);
	uint64_t b = add(1, "b", 8);
	CHECK(a != b);
	reopen();
	CHECK_STR(content(), "1:a=7 ");
	end();
}

TEST(state_grows_with_its_items)
{
	struct state_item item = { 0 };
	uint64_t sum = 0;
	static char fixed[1000];

	begin();
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t made = state_add(state, 1, fixed, sizeof(fixed), sizeof(i));

		CHECK(made);
		set(made, i);
	}
	state_commit(state);
	reopen();
	while (state_next(state, &item)) {
		uint64_t value;

		memcpy(&value, item.value, sizeof(value));
		sum += value;
	}
	CHECK_EQ(sum, 9999ull * 10000 / 2);
	end();
}

TEST(state_without_room_says_so_and_keeps_the_rest)
{
	static char fixed[1 << 20];

	begin();
	add(1, "a", 7);
	uint64_t limit = 1 << 20;
	CHECK_EQ(fcntl(folder, F_GETFD) >= 0, 1);
	char command[128];
	snprintf(command, sizeof(command), "prlimit --pid %d --fsize=%llu", (int)getpid(),
		 (unsigned long long)limit);
	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(system(command), 0);
	CHECK_EQ(state_add(state, 1, fixed, sizeof(fixed), 0), 0);
	CHECK_EQ(errno, EFBIG);
	add(1, "b", 8);
	state_commit(state);
	reopen();
	CHECK_STR(content(), "1:a=7 1:b=8 ");
	end();
}

/* ---- who holds it ---- */

TEST(state_that_another_process_holds_names_it)
{
	int ready[2], status;
	char byte;

	begin();
	state_close(state);
	CHECK_EQ(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(try_open(), 0);
		CHECK_EQ(write(ready[1], "r", 1), 1);
		for (;;)
			pause();
	}
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	CHECK_EQ(state_holder(folder, "s"), pid);
	CHECK_EQ(try_open(), -EWOULDBLOCK);
	CHECK_EQ(holder, pid);
	CHECK(!state);
	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(state_holder(folder, "s"), 0);
	CHECK_EQ(try_open(), 0);
	close(ready[0]);
	close(ready[1]);
	end();
}

/* ---- files that can't be trusted ---- */

static void refused(const char *reason)
{
	CHECK_EQ(try_open(), -EPROTO);
	CHECK(!state);
	CHECK_STR(why, reason);
}

static void put(off_t at, const void *bytes, size_t count)
{
	int fd = openat(folder, "s", O_WRONLY | O_CLOEXEC);

	CHECK_EQ(pwrite(fd, bytes, count, at), (ssize_t)count);
	close(fd);
}

TEST(state_of_another_kind_version_or_boot_is_refused)
{
	static const uint32_t version = 99;
	static const uint8_t boot[16];

	begin();
	state_close(state);
	put(16, boot, sizeof(boot));
	refused("it is of an earlier boot, and may not have reached the disk in full");
	put(8, &version, sizeof(version));
	refused("it is of another version");
	put(0, "#!/bin/s", 8);
	refused("it is no state file");
	state = NULL;
	end();
}

TEST(state_file_that_is_none_is_refused)
{
	begin();
	state_close(state);
	CHECK_EQ(fchmodat(folder, "s", 0660, 0), 0);
	refused("others may write to it");
	CHECK_EQ(fchmodat(folder, "s", 0600, 0), 0);
	CHECK_EQ(linkat(folder, "s", folder, "t", 0), 0);
	refused("it is no regular file of one name");
	unlinkat(folder, "s", 0);
	CHECK_EQ(symlinkat("t", folder, "s"), 0);
	refused("it is no regular file");
	unlinkat(folder, "s", 0);
	unlinkat(folder, "t", 0);
	CHECK_EQ(mkfifoat(folder, "s", 0600), 0);
	refused("it is no regular file of one name");
	unlinkat(folder, "s", 0);
	CHECK_EQ(mkdirat(folder, "s", 0700), 0);
	refused("it is no regular file");
	CHECK_EQ(unlinkat(folder, "s", AT_REMOVEDIR), 0);
	state = NULL;
	end();
}

static size_t read_file(uint8_t *bytes, size_t room)
{
	int fd = openat(folder, "s", O_RDONLY | O_CLOEXEC);
	ssize_t count = pread(fd, bytes, room, 0);

	CHECK(count > 0);
	close(fd);
	return (size_t)count;
}

static uint8_t whole[1 << 18]; /* a good file */
static char expected[256];     /* and its content */

static void make_some(void)
{
	begin();
	uint64_t a = add(1, "a", 7);
	uint64_t gone = add(2, "removed and used anew, partly", 8);
	add(3, "bee", 9);
	state_commit(state);
	state_remove(state, gone);
	set(a, 70);
	state_commit(state);
	add(4, "shorter", 10);
	state_commit(state);
	snprintf(expected, sizeof(expected), "%s", content());
	state_close(state);
	read_file(whole, sizeof(whole));
}

/* If it is not, it has to be what it was. */
static bool is_refused(void)
{
	int rc = try_open();

	CHECK(rc == 0 || rc == -EPROTO);
	if (!rc)
		CHECK_STR(content(), expected);
	state_close(state);
	return rc;
}

/* What is beyond the last item may be missing: it is allocated again. */
TEST(state_that_was_cut_short_is_refused_or_the_same)
{
	unsigned refusals = 0;

	make_some();
	for (size_t cut = 0; cut < 1024; cut++) {
		int fd = openat(folder, "s", O_WRONLY | O_TRUNC | O_CLOEXEC);

		CHECK_EQ(write(fd, whole, cut), (ssize_t)cut);
		close(fd);
		refusals += is_refused();
	}
	CHECK(refusals > 300);
	state = NULL;
	end();
}

/* A bit that is turned is met by a check, or stands where nothing is. */
TEST(state_with_any_bit_turned_is_refused_or_the_same)
{
	unsigned refusals = 0;

	make_some();
	for (size_t at = 0; at < 1024; at++) {
		for (int bit = 0; bit < 8; bit++) {
			uint8_t turned = whole[at] ^ (uint8_t)(1 << bit);

			put((off_t)at, &turned, 1);
			refusals += is_refused();
			put(0, whole, 1024);
		}
	}
	CHECK(refusals > 1000);
	printf("%u of 8192 turned bits refused\n", refusals);
	state = NULL;
	end();
}
