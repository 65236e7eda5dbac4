/* SPDX-License-Identifier: Apache-2.0 */
/* test_reader_watch.c - what a worker does is seen, and only that */
#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include "support_segment.h"

static struct kvtap *tap;
static uint32_t counter;
static struct watch watch;
static struct kvtap_watch words[64];
static size_t count;

/* A worker of whom all is taken, and what there is to look at. */
static void begin(void)
{
	struct kvtap_losses losses;

	tap = small_tap();
	counter = counter_series(tap, "c");
	kvtap_add(tap, counter, 1);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 1);
	CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
	count = kvtap_reader_watch(watch.reader, words, 64);
	CHECK(count > 0 && count <= 64);
	CHECK(kvtap_watch_quiet(words, count));
	CHECK(kvtap_reader_quiet(watch.reader));
}

/* found: by a pass of the reader */
static void end(bool found)
{
	CHECK(!kvtap_watch_quiet(words, count));
	CHECK_EQ(kvtap_reader_quiet(watch.reader), !found);
	watch_close(&watch);
	if (tap)
		kvtap_close(tap);
	remove_segments();
}

static void *add(void *nothing)
{
	kvtap_add(tap, counter, 1);
	return nothing;
}

TEST(reader_watch_sees_a_record)
{
	begin();
	add(NULL);
	end(true);
}

TEST(reader_watch_sees_a_fold)
{
	begin();
	for (int i = 0; i < SMALL_SLOTS + 1; i++)
		add(NULL);
	end(true);
}

TEST(reader_watch_sees_a_record_of_a_thread_that_is_new)
{
	begin();
	run_thread(add, NULL);
	end(true);
}

/* The reader has not looked at that ring, but it came before the watch. */
TEST(reader_watch_sees_a_ring_that_nobody_has_read)
{
	begin();
	run_thread(add, NULL);
	count = kvtap_reader_watch(watch.reader, words, 64);
	end(true);
}

TEST(reader_watch_sees_a_declaration)
{
	begin();
	counter_series(tap, "d");
	end(true);
}

TEST(reader_watch_sees_a_refusal_also_when_it_was_not_told_yet)
{
	begin();
	kvtap_add(tap, counter, -1);
	count = kvtap_reader_watch(watch.reader, words, 64);
	end(true);
}

TEST(reader_watch_sees_the_end)
{
	begin();
	kvtap_close(tap);
	tap = NULL;
	end(false);
}

TEST(reader_watch_sees_a_truncated_file)
{
	begin();
	kvtap_close(tap); /* it would meet the end of its own file */
	tap = NULL;
	int fd = openat(watch.folder, watch.name, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, 0), 0);
	end(true);
	close(fd);
}
