/* SPDX-License-Identifier: Apache-2.0 */
/* test_outlet.c - lines to who reads them, who doesn't, and who is gone */
#include "../exporter/outlet.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../exporter/clock.h"
#include "test.h"

#define LONG (200 * 1024) /* bytes: more than a pipe takes */

static struct outlet outlet;

static void begin(int fd)
{
	signal(SIGPIPE, SIG_IGN);
	outlet_open(&outlet, fd);
	outlet_begin(&outlet);
}

static void put(const char *line)
{
	outlet_write(&outlet, line, strlen(line));
}

static void put_long(void)
{
	char *line = malloc(LONG);

	CHECK(line);
	memset(line, 'x', LONG);
	line[LONG - 1] = '\n';
	outlet_write(&outlet, line, LONG);
	free(line);
}

/* All that can be read now. */
static size_t take(int fd, char *text, size_t room)
{
	size_t bytes = 0;
	ssize_t count;

	CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (bytes < room && (count = read(fd, text + bytes, room - bytes)) > 0)
		bytes += (size_t)count;
	return bytes;
}

TEST(outlet_writes_lines_whole_when_they_are_read)
{
	char text[64];
	int ends[2];

	CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
	begin(ends[1]);
	put("one\n");
	put("two\n");
	CHECK_EQ(take(ends[0], text, sizeof(text)), 8);
	CHECK(memcmp(text, "one\ntwo\n", 8) == 0);
	CHECK_EQ(outlet.lost, 0);
	CHECK_EQ(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); /* it may be stderr's, too */
	outlet_close(&outlet);
	close(ends[0]);
	close(ends[1]);
}

TEST(outlet_counts_a_line_that_nobody_takes_and_begins_the_next_on_a_new_one)
{
	static char text[LONG];
	int ends[2];

	CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
	begin(ends[1]);
	put_long();
	CHECK_EQ(outlet.lost, 1);
	put("lost\n");
	CHECK_EQ(outlet.lost, 2);
	size_t bytes = take(ends[0], text, sizeof(text));
	CHECK(bytes > 0 && bytes < LONG && text[bytes - 1] == 'x');
	outlet_begin(&outlet);
	put("next\n");
	CHECK_EQ(take(ends[0], text, sizeof(text)), 6);
	CHECK(memcmp(text, "\nnext\n", 6) == 0);
	CHECK_EQ(outlet.lost, 2);
	outlet_close(&outlet);
	close(ends[0]);
	close(ends[1]);
}

TEST(outlet_waits_no_second_time_for_one_that_takes_nothing)
{
	static char text[LONG];
	int ends[2];

	CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
	begin(ends[1]);
	put_long();
	outlet_begin(&outlet);
	CHECK(outlet.deadline_ns <= clock_ns());
	put("lost\n");
	CHECK_EQ(outlet.lost, 2);
	take(ends[0], text, sizeof(text));
	uint64_t before_ns = clock_ns();
	outlet_begin(&outlet); /* it took something */
	CHECK(outlet.deadline_ns > before_ns + 99 * CLOCK_MS);
	outlet_close(&outlet);
	close(ends[0]);
	close(ends[1]);
}

TEST(outlet_does_not_wait_for_a_socket_that_is_full)
{
	static char text[LONG];
	int ends[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	begin(ends[1]);
	for (int i = 0; i < 10 && !outlet.lost; i++)
		put_long();
	CHECK_EQ(outlet.lost, 1);
	while (take(ends[0], text, sizeof(text)))
		;
	outlet_begin(&outlet);
	put("next\n");
	size_t bytes = take(ends[0], text, sizeof(text));
	CHECK(bytes >= 5 && memcmp(text + bytes - 5, "next\n", 5) == 0);
	CHECK_EQ(outlet.lost, 1);
	outlet_close(&outlet);
	close(ends[0]);
	close(ends[1]);
}

TEST(outlet_counts_lines_when_the_reader_is_gone_or_there_is_none)
{
	int ends[2];

	CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	begin(ends[1]);
	put("one\n");
	put("two\n");
	CHECK_EQ(outlet.lost, 2);
	outlet_close(&outlet);
	close(ends[1]);
	begin(ends[1]);
	put("one\n");
	CHECK_EQ(outlet.lost, 1);
	outlet_close(&outlet);
}
