/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_exporter.c - the exporter as a process: its command line, its end, and what it finds
 *
 * A worker is a tap of this process, or of a child where the worker has to die. Files that are not
 * what they seem stand beside a good worker, which must stay exact.
 */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_exporter.h"
#include "support_page.h"
#include "support_segment.h"
#include "support_slow.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define REJECTED(reason) "kvtap_segments_rejected_total{reason=\"" reason "\"}"

/* ---- command line ---- */

/* Run it with these arguments. Returns: its exit status; what it printed is in out. */
static int run(const char *arguments, char *out, size_t bytes)
{
	char command[4800];

	snprintf(command, sizeof(command), "'%s' --dir='%s' %s 2>&1", exporter_path(),
		 test_folder(), arguments);
	FILE *stream = popen(command, "r");
	CHECK(stream);
	size_t used = fread(out, 1, bytes - 1, stream);
	out[used] = '\0';
	int status = pclose(stream);
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(exporter_says_how_it_is_used_and_its_version)
{
	char out[8192];

	CHECK_EQ(run("--help", out, sizeof(out)), 0);
	CHECK(!strncmp(out, "usage: kvtap-exporter", 21));
	CHECK(strstr(out, "--web.listen-address"));
	CHECK_EQ(run("--version", out, sizeof(out)), 0);
	CHECK(strstr(out, KVTAP_VERSION));
}

TEST(exporter_exits_with_2_when_its_flags_are_wrong)
{
	static const char *const wrong[] = { "--no-such-flag", "--log.level=loud", "more",
					     "--web.telemetry-path=metrics",
					     "--namespace=../elsewhere" };
	char out[8192];

	for (size_t i = 0; i < COUNT(wrong); i++) {
		CHECK_EQ(run(wrong[i], out, sizeof(out)), 2);
		CHECK(strstr(out, "--help"));
	}
}

static void check_cannot_start(const char *arguments)
{
	char out[8192];

	CHECK_EQ(run(arguments, out, sizeof(out)), 1);
	CHECK(strstr(out, "level=error"));
}

TEST(exporter_exits_with_1_when_it_cannot_listen_or_another_reads_the_folder)
{
	struct exporter exporter;
	char arguments[128];

	exporter_start(&exporter, NULL);
	check_cannot_start("--web.listen-address=nowhere");
	check_cannot_start("--web.listen-address=127.0.0.1:0"); /* the folder */
	snprintf(arguments, sizeof(arguments), "--namespace=b --web.listen-address=127.0.0.1:%d",
		 exporter.port);
	check_cannot_start(arguments);
	exporter_forget("b");
	page_wait(&exporter, "kvtap_workers", 0);
	exporter_finish(&exporter);
}

TEST(exporter_serves_what_its_flags_say)
{
	static const char *const flags[] = { "--namespace=b", "--web.telemetry-path=/kv", NULL };
	struct kvtap *tap;
	struct exporter exporter;
	char *page;

	CHECK_EQ(kvtap_open(&tap, &(struct kvtap_options){ .name_space = "b" }), 0);
	exporter_start(&exporter, flags);
	CHECK_EQ(exporter_get(&exporter, "/metrics", NULL), 404);
	CHECK_EQ(exporter_get(&exporter, "/-/healthy", NULL), 200);
	CHECK_EQ(exporter_get(&exporter, "/kv", &page), 200);
	CHECK_EQ((int)page_value(page, "kvtap_workers"), 1);
	CHECK_EQ(exporter_get(&exporter, "/-/ready", NULL), 200);
	free(page);
	CHECK_EQ(exporter_get(&exporter, "/", &page), 200);
	CHECK(strstr(page, "href=\"/kv\""));
	free(page);
	kvtap_close(tap);
	log_wait(&exporter, "msg=\"Worker closed\"");
	exporter_stop(&exporter);
	exporter_forget("b");
}

/* ---- what a scrape holds ---- */

static int count_found(struct exporter *exporter)
{
	int count = 0;

	exporter_says(exporter, ""); /* reads on */
	for (const char *at = exporter->log; (at = strstr(at, "Worker found")); at++)
		count++;
	return count;
}

/* A worker that the exporter has found and drained after its last page, which no scrape waits for. */
TEST(exporter_shows_a_worker_that_came_since_the_last_page)
{
	struct exporter exporter;

	exporter_start(&exporter, NULL);
	for (int i = 0; i < 10; i++) {
		struct kvtap_options options = small_options();
		char engine[16], key[48];
		struct kvtap *tap;

		snprintf(engine, sizeof(engine), "%d", i);
		options.engine = engine;
		free(exporter_scrape(&exporter));
		CHECK_EQ(kvtap_open(&tap, &options), 0);
		snprintf(key, sizeof(key), "came_total{engine=\"%d\"}", i);
		kvtap_add(tap, counter_series(tap, "came"), 1);
		while (i % 2 && count_found(&exporter) <= i)
			;
		char *page = exporter_scrape(&exporter);
		CHECK(page_value(page, key) == 1);
		free(page);
		kvtap_close(tap);
	}
	page_wait(&exporter, "kvtap_workers", 0);
	exporter_finish(&exporter);
}

/* ---- its end ---- */

TEST(exporter_drains_and_answers_what_is_in_flight_when_it_is_told_to_stop)
{
	struct kvtap *ballast = ballast_open(), *tap = small_tap();
	uint32_t series = counter_series(tap, "added");
	struct exporter exporter;
	struct slow slow;

	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_workers", 2);
	slow_begin(&slow, &exporter);
	for (int i = 0; i < 1000; i++) /* 16 slots: some are drained, some folded */
		kvtap_add(tap, series, 1);
	CHECK_EQ(kill(exporter.pid, SIGTERM), 0);
	log_wait(&exporter, "msg=Stopping");
	char *last = slow_last(&slow), *begun = slow_end(&slow);
	struct page *page = page_parse(last);
	CHECK_EQ(page_count(page, "added_total"), 1000);
	CHECK_EQ(page_count(page, "kvtap_records_drained_total") +
			 page_count(page, "kvtap_records_folded_total"),
		 1000);
	page_free(page);
	page_free(page_parse(begun));
	exporter_stop(&exporter); /* exit status 0 */
	kvtap_close(tap);
	kvtap_close(ballast);
	remove_segments();
	free(last);
	free(begun);
}

/* ---- finding workers ---- */

TEST(exporter_finds_workers_that_came_before_and_after_it)
{
	struct kvtap *before = small_tap();
	uint32_t first = counter_series(before, "added");
	struct exporter exporter;

	kvtap_add(before, first, 1);
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "added_total", 1);
	struct kvtap *after = small_tap();
	kvtap_add(after, counter_series(after, "added"), 2);
	page_wait(&exporter, "added_total", 3);
	page_wait(&exporter, "kvtap_workers", 2);
	kvtap_close(before);
	kvtap_close(after);
	page_wait(&exporter, "kvtap_workers_closed_total", 2);
	exporter_finish(&exporter);
}

TEST(exporter_finds_workers_in_a_folder_that_was_removed_and_made_again)
{
	struct kvtap *before = small_tap();
	uint32_t first = counter_series(before, "added");
	struct exporter exporter;

	exporter_start(&exporter, NULL);
	kvtap_add(before, first, 1);
	page_wait(&exporter, "added_total", 1);
	remove_segments();	     /* and the folder */
	kvtap_add(before, first, 1); /* still mapped on both sides */
	page_wait(&exporter, "added_total", 2);
	struct kvtap *after = small_tap();
	kvtap_add(after, counter_series(after, "added"), 2);
	page_wait(&exporter, "added_total", 4);
	page_wait(&exporter, "kvtap_workers", 2);
	kvtap_close(before);
	kvtap_close(after);
	page_wait(&exporter, "kvtap_workers_closed_total", 2);
	exporter_finish(&exporter);
}

/* ---- workers that die ---- */

/* A child that has recorded so many of a counter and does nothing more. */
static pid_t start_worker(int records)
{
	int ready[2];
	char byte;

	CHECK_EQ(pipe(ready), 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		struct kvtap *tap = small_tap();
		uint32_t series = counter_series(tap, "added");

		for (int i = 0; i < records; i++)
			kvtap_add(tap, series, 1);
		CHECK_EQ(write(ready[1], "r", 1), 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void kill_worker(pid_t pid)
{
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

/* How fast is printed, not judged: a loaded machine may take any time. */
TEST(exporter_notices_a_dead_worker_and_goes_on_with_its_series)
{
	struct exporter exporter;
	int64_t sum_ms = 0, max_ms = 0;

	exporter_start(&exporter, NULL);
	for (int i = 1; i <= 5; i++) {
		pid_t pid = start_worker(100);

		page_wait(&exporter, "kvtap_workers", 1);
		page_wait(&exporter, "added_total", 100 * i);
		kill_worker(pid);
		int64_t ms = page_wait(&exporter, "kvtap_workers_dead_total", i);
		sum_ms += ms;
		max_ms = ms > max_ms ? ms : max_ms;
		page_wait(&exporter, "kvtap_workers", 0);
		page_wait(&exporter, "added_total", 100 * i);
	}
	printf("a dead worker is noticed in %lld ms, at most %lld ms\n", (long long)sum_ms / 5,
	       (long long)max_ms);
	exporter_finish(&exporter);
}

TEST(exporter_takes_what_a_worker_left_that_died_before_it_came)
{
	struct exporter exporter;

	kill_worker(start_worker(1000));
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_workers_dead_total", 1);
	page_wait(&exporter, "added_total", 1000);
	exporter_finish(&exporter);
}

/* ---- segments that can't be trusted ---- */

/* A good worker beside the bad files. */
struct good {
	struct kvtap *tap;
	uint32_t series;
	int folder;
	char name[256]; /* of its segment */
};

static void good_open(struct good *good)
{
	good->tap = small_tap();
	good->series = counter_series(good->tap, "added");
	good->folder = namespace_folder();
	CHECK(good->folder >= 0);
	CHECK(find_segment(good->name, good->folder, getpid()));
}

static void good_close(struct good *good, struct exporter *exporter)
{
	kvtap_close(good->tap);
	page_wait(exporter, "kvtap_workers", 0);
	close(good->folder);
}

#define TEMPORARY "made" /* not seen by the exporter until it is renamed */

/* A copy of the good segment, cut to bytes, with one byte of it changed. */
static void make_copy(const struct good *good, size_t bytes, size_t offset, uint8_t value)
{
	char *data = malloc(bytes);
	int from = openat(good->folder, good->name, O_RDONLY);
	int to = openat(good->folder, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL, 0600);

	CHECK(data && from >= 0 && to >= 0);
	CHECK_EQ(read(from, data, bytes), bytes);
	if (offset < bytes)
		data[offset] = (char)value;
	CHECK_EQ(write(to, data, bytes), bytes);
	close(from);
	close(to);
	free(data);
}

static void show(const struct good *good, const char *name)
{
	CHECK_EQ(renameat(good->folder, TEMPORARY, good->folder, name), 0);
}

static const char *const bad[] = { "fifo.seg",	"folder.seg",	"symlink.seg", "garbage.seg",
				   "empty.seg", "cut.seg",	"newer.seg",   "feature.seg",
				   "hard.seg",	"no-tails.seg", "owner.seg" };

static void make_odd_files(const struct good *good)
{
	char garbage[8192];

	CHECK_EQ(mkfifoat(good->folder, TEMPORARY, 0600), 0);
	show(good, "fifo.seg");
	CHECK_EQ(mkdirat(good->folder, TEMPORARY, 0700), 0);
	show(good, "folder.seg");
	CHECK_EQ(symlinkat(good->name, good->folder, TEMPORARY), 0);
	show(good, "symlink.seg");
	CHECK_EQ(linkat(good->folder, good->name, good->folder, TEMPORARY, 0), 0);
	show(good, "hard.seg");
	memset(garbage, 'g', sizeof(garbage));
	int fd = openat(good->folder, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK_EQ(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
	close(fd);
	show(good, "garbage.seg");
	close(openat(good->folder, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL, 0600));
	show(good, "empty.seg");
}

static void make_changed_copies(const struct good *good)
{
	size_t major = offsetof(struct kvtap_segment_header, major);
	size_t feature = offsetof(struct kvtap_segment_header, feature_incompat);
	struct stat status;

	CHECK_EQ(fstatat(good->folder, good->name, &status, 0), 0);
	size_t whole = (size_t)status.st_size;
	make_copy(good, whole / 2, SIZE_MAX, 0);
	show(good, "cut.seg");
	make_copy(good, whole, major, KVTAP_LAYOUT_MAJOR + 1);
	show(good, "newer.seg");
	make_copy(good, whole, feature, 0x80);
	show(good, "feature.seg");
	make_copy(good, whole, SIZE_MAX, 0);
	show(good, "no-tails.seg");
	if (geteuid() != 0) /* can't give files away */
		return;
	make_copy(good, whole, SIZE_MAX, 0);
	CHECK_EQ(fchownat(good->folder, TEMPORARY, 65534, 65534, 0), 0);
	show(good, "owner.seg");
}

static void check_rejected(struct exporter *exporter)
{
	struct page *page = page_scrape(exporter);
	bool root = geteuid() == 0;

	CHECK_EQ(page_count(page, REJECTED("not_regular")), 3);
	CHECK_EQ(page_count(page, REJECTED("magic")), 1);
	CHECK_EQ(page_count(page, REJECTED("size")), 2);
	CHECK_EQ(page_count(page, REJECTED("version")), 1);
	CHECK_EQ(page_count(page, REJECTED("feature")), 1);
	CHECK_EQ(page_count(page, REJECTED("hard_link")), 1);
	CHECK_EQ(page_count(page, REJECTED("tails")), 1);
	CHECK_EQ(page_count(page, REJECTED("owner")), root);
	page_free(page);
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (!root && !strcmp(bad[i], "owner.seg"))
			continue;
		const char *line = strstr(exporter->log, bad[i]);
		CHECK(line && !strstr(line + 1, bad[i])); /* logged once */
	}
}

TEST(exporter_rejects_what_it_cannot_trust_by_reason_once_and_serves_the_others)
{
	struct exporter exporter;
	struct good good;

	good_open(&good);
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_workers", 1);
	make_odd_files(&good);
	kvtap_add(good.tap, good.series, 1);
	make_changed_copies(&good);
	page_wait(&exporter, REJECTED("tails"), 1);
	if (geteuid() == 0)
		page_wait(&exporter, REJECTED("owner"), 1);
	check_rejected(&exporter);
	struct kvtap *other = small_tap(); /* another scan */
	page_wait(&exporter, "kvtap_workers", 2);
	check_rejected(&exporter);
	kvtap_add(good.tap, good.series, 1);
	kvtap_add(other, counter_series(other, "added"), 1);
	page_wait(&exporter, "added_total", 3);
	for (size_t i = 0; i < COUNT(bad); i++)
		unlinkat(good.folder, bad[i], strcmp(bad[i], "folder.seg") ? 0 : AT_REMOVEDIR);
	kvtap_close(other);
	good_close(&good, &exporter);
	exporter_finish(&exporter);
}

TEST(exporter_goes_on_with_a_worker_whose_segment_was_replaced)
{
	struct exporter exporter;
	struct good good;

	good_open(&good);
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_workers", 1);
	make_copy(&good, 4096, SIZE_MAX, 0);
	show(&good, good.name);
	for (int i = 0; i < 100; i++)
		kvtap_add(good.tap, good.series, 1);
	page_wait(&exporter, "added_total", 100);
	page_wait(&exporter, "kvtap_workers", 1);
	good_close(&good, &exporter);
	page_wait(&exporter, "added_total", 100);
	exporter_finish(&exporter);
}

/* The file of a live worker shrinks: to nothing, and to its header. */
TEST(exporter_survives_that_segments_are_truncated_while_it_reads_them)
{
	struct exporter exporter;
	struct good good;
	pid_t pid[2];
	char name[2][256], tails[256];

	exporter_start(&exporter, NULL);
	for (int i = 0; i < 2; i++)
		pid[i] = start_worker(100);
	good_open(&good);
	page_wait(&exporter, "added_total", 200);
	for (int i = 0; i < 2; i++) {
		CHECK(find_segment(name[i], good.folder, pid[i]));
		int fd = openat(good.folder, name[i], O_WRONLY);
		CHECK_EQ(ftruncate(fd, i * 4096), 0);
		close(fd);
	}
	page_wait(&exporter, REJECTED("truncated"), 2);
	page_wait(&exporter, "kvtap_workers", 1);
	for (int i = 0; i < 100; i++)
		kvtap_add(good.tap, good.series, 1);
	page_wait(&exporter, "added_total", 300);
	for (int i = 0; i < 2; i++) {
		kill_worker(pid[i]);
		CHECK_EQ(unlinkat(good.folder, name[i], 0), 0);
		snprintf(tails, sizeof(tails), "%.*s" KVTAP_TAILS_SUFFIX,
			 (int)(strlen(name[i]) - strlen(KVTAP_SEGMENT_SUFFIX)), name[i]);
		CHECK_EQ(unlinkat(good.folder, tails, 0), 0);
	}
	good_close(&good, &exporter);
	exporter_finish(&exporter);
}
