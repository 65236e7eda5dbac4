/* SPDX-License-Identifier: Apache-2.0 */
/* test_discover.c - which files of the folder are offered, and when again */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../exporter/discover.h"

struct seen {
	int offers, first;
	bool settles; /* what the next offer is answered with */
	char name[64];
};

static bool offer(void *context, int folder, const char *name, bool first)
{
	struct seen *seen = context;

	CHECK_EQ(faccessat(folder, name, F_OK, 0), 0);
	seen->offers++;
	seen->first += first;
	snprintf(seen->name, sizeof(seen->name), "%s", name);
	return seen->settles;
}

static struct discover *begin(struct seen *seen)
{
	struct discover *discover;

	CHECK_EQ(discover_open(&discover, test_folder(), "t", offer, seen), 0);
	discover_poll(discover, true);
	return discover;
}

static const char *path(const char *name)
{
	static char text[4][512];
	static int next;
	char *out = text[next++ % 4];

	snprintf(out, sizeof(text[0]), "%s/kvtap.t/%s", test_folder(), name);
	return out;
}

/* As a worker does: filled under another name, then renamed. */
static void publish(const char *name)
{
	int fd = open(path(".tmp.x"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(rename(path(".tmp.x"), path(name)), 0);
}

static void end(struct discover *discover)
{
	discover_close(discover);
	test_leaves_files();
}

TEST(discover_makes_the_folder_for_its_user_only)
{
	struct seen seen = { 0 };
	struct stat status;
	struct discover *discover = begin(&seen);

	CHECK_EQ(stat(path(""), &status), 0);
	CHECK_EQ(status.st_mode & 07777, 0700);
	end(discover);
}

TEST(discover_offers_what_was_there_and_what_comes)
{
	struct seen seen = { .settles = true };

	CHECK_EQ(mkdir(path(""), 0700), 0);
	publish("1.a.seg");
	struct discover *discover = begin(&seen);
	CHECK_EQ(seen.offers, 1);
	publish("2.b.seg");
	discover_poll(discover, true);
	CHECK_EQ(seen.offers, 2);
	CHECK_STR(seen.name, "2.b.seg");
	end(discover);
}

TEST(discover_offers_a_segment_again_until_it_is_settled)
{
	struct seen seen = { 0 };
	struct discover *discover = begin(&seen);

	publish("1.a.seg");
	discover_poll(discover, true);
	seen.settles = true;
	publish("1.a.tails"); /* an event */
	discover_poll(discover, true);
	publish("2.b.tails");
	discover_poll(discover, true);
	CHECK_EQ(seen.offers, 2);
	CHECK_EQ(seen.first, 1);
	end(discover);
}

TEST(discover_offers_a_name_again_when_the_file_is_another)
{
	struct seen seen = { .settles = true };
	struct discover *discover = begin(&seen);

	publish("1.a.seg");
	discover_poll(discover, true);
	publish("1.a.seg"); /* replaces it: the old inode can't be used again before */
	discover_poll(discover, true);
	CHECK_EQ(seen.first, 2);
	end(discover);
}

TEST(discover_offers_nothing_but_segments)
{
	struct seen seen = { .settles = true };
	struct discover *discover = begin(&seen);

	publish("1.a.tails");
	publish(".tmp.1.a.seg");
	publish(".seg");
	publish("seg");
	discover_poll(discover, true);
	CHECK_EQ(seen.offers, 0);
	end(discover);
}

TEST(discover_finds_a_folder_that_was_replaced)
{
	struct seen seen = { .settles = true };
	struct discover *discover = begin(&seen);
	char other[512];

	snprintf(other, sizeof(other), "%s/other", test_folder());
	CHECK_EQ(rename(path(""), other), 0);
	discover_poll(discover, true); /* makes the folder anew and watches it */
	publish("1.a.seg");
	discover_poll(discover, true);
	CHECK_EQ(seen.offers, 1);
	end(discover);
}

TEST(discover_refuses_a_second_reader)
{
	struct seen seen = { 0 };
	struct discover *discover = begin(&seen), *second;

	CHECK_EQ(discover_open(&second, test_folder(), "t", offer, &seen), -EWOULDBLOCK);
	end(discover);
}

TEST(discover_refuses_a_folder_that_is_a_link)
{
	struct seen seen = { 0 };
	struct discover *discover;
	char link[512];

	snprintf(link, sizeof(link), "%s/kvtap.t", test_folder());
	CHECK_EQ(symlink("/", link), 0);
	int rc = discover_open(&discover, test_folder(), "t", offer, &seen);
	CHECK(rc == -ELOOP || rc == -ENOTDIR);
	test_leaves_files();
}
