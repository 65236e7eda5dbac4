/* SPDX-License-Identifier: Apache-2.0 */
/* test_journal.c - totals and progress over the lives of an exporter; its parts in this process */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../exporter/log.h"
#include "../exporter/state.h"
#include "support_load.h"
#include "support_parts.h"
#include "support_segment.h"

static struct parts exporter;

static void restart(void)
{
	parts_end(&exporter);
	parts_begin(&exporter, false);
}

/* The lines of a page that tell of workers: all but those of the exporter and its process. */
static char *lines_of_workers(const char *page)
{
	char *lines = calloc(1, strlen(page) + 1), *at = lines;

	for (const char *line = page; *line;) {
		const char *end = strchr(line, '\n') + 1;

		if (!strstr(line, "kvtap_") || strstr(line, "kvtap_") >= end)
			if (strncmp(line, "process_", 8) && strncmp(line, "# HELP process_", 15) &&
			    strncmp(line, "# TYPE process_", 15))
				at = mempcpy(at, line, (size_t)(end - line));
		line = end;
	}
	return lines;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The same lines in whatever order: families come back in that in which they were kept. */
static bool same_lines(char *first, char *second)
{
	char *line[2][256], *text[2] = { strdup(first), strdup(second) };
	size_t lines[2] = { 0, 0 };
	bool same = true;

	for (int i = 0; i < 2; i++) {
		for (char *at = strtok(text[i], "\n"); at; at = strtok(NULL, "\n")) {
			CHECK(lines[i] < 256);
			line[i][lines[i]++] = at;
		}
		qsort(line[i], lines[i], sizeof(char *), compare);
	}
	for (size_t i = 0; i < lines[0] && lines[0] == lines[1]; i++)
		same &= !strcmp(line[0][i], line[1][i]);
	same &= lines[0] == lines[1];
	free(text[0]);
	free(text[1]);
	return same;
}

static void record_some(struct kvtap *tap)
{
	static const double bounds[] = { 0.5, 1, 2.5 };
	uint32_t counter = counter_series(tap, "kept"), gauge = gauge_series(tap, "level");
	uint32_t histogram = histogram_series(tap, "spread", bounds, 3);
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD), family, odd;

	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){
					      .name = "odd",
					      .help = "Back\\slash, \"quotes\", \n a line.",
					      .metric = KVTAP_COUNTER,
					      .label_names = (const char *[]){ "a", "zone" },
					      .label_count = 2 }),
		 0);
	CHECK_EQ(kvtap_family_series(tap, &odd, family,
				     (const char *[]){ "\\ \" \n \xff \xc3\xa9 =,{}", "" }, 2),
		 0);
	kvtap_add(tap, odd, 1);
	kvtap_add(tap, counter, 0.1);
	kvtap_add(tap, counter, 1e300);
	kvtap_set(tap, gauge, -2.75);
	for (int i = 0; i < 6; i++)
		kvtap_observe(tap, histogram, i * 0.5);
	for (int i = 0; i < 20; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = load,
							      .duration_ns = 123456789,
							      .bytes = UINT64_MAX });
}

TEST(journal_restores_every_series_to_the_digit)
{
	struct kvtap *tap = small_tap();

	record_some(tap);
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	char *before = lines_of_workers(exporter.page.data);
	restart();
	parts_render(&exporter);
	char *restored = lines_of_workers(exporter.page.data);
	parts_scrape(&exporter);
	char *after = lines_of_workers(exporter.page.data);
	CHECK(strstr(before, "odd_total{a=\"\\\\ \\\" \\n \xef\xbf\xbd \xc3\xa9 =,{}\"}"));
	CHECK(same_lines(after, before));
	/* families without a series come with the worker that declares them */
	for (char *line = strtok(restored, "\n"); line; line = strtok(NULL, "\n"))
		CHECK(strstr(before, line));
	kvtap_close(tap);
	parts_scrape_until(&exporter, "kvtap_workers 0");
	parts_end(&exporter);
	remove_segments();
	free(before);
	free(restored);
	free(after);
}

TEST(journal_lets_the_exporters_own_counters_go_on_and_its_gauges_begin_anew)
{
	struct kvtap *tap = small_tap();

	parts_begin(&exporter, false);
	self_add_rejected(&exporter.self, KVTAP_REJECT_OWNER);
	self_count(&exporter.self, SELF_CUT_TIMEOUTS, 3);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "kvtap_workers 1"));
	restart();
	parts_render(&exporter);
	CHECK(parts_has(&exporter, "kvtap_workers 0"));
	CHECK(parts_has(&exporter, "kvtap_segments_rejected_total{reason=\"owner\"} 1"));
	self_count(&exporter.self, SELF_CUT_TIMEOUTS, 2);
	parts_render(&exporter);
	CHECK(parts_has(&exporter, "kvtap_scrape_cut_timeouts_total 5"));
	kvtap_close(tap);
	parts_scrape_until(&exporter, "kvtap_workers 0");
	parts_end(&exporter);
	remove_segments();
}

/* As after a kill between the commit of the worker's end and the removal of its files. */
TEST(journal_remembers_that_a_worker_has_ended)
{
	struct kvtap *tap = small_tap();
	char segment[256], tails[256], path[2][512];

	kvtap_add(tap, counter_series(tap, "once"), 1);
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	int folder = namespace_folder();
	CHECK(find_segment(segment, folder, 0));
	snprintf(tails, sizeof(tails), "%.*s" KVTAP_TAILS_SUFFIX,
		 (int)(strlen(segment) - strlen(KVTAP_SEGMENT_SUFFIX)), segment);
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%s", test_folder(), i ? tails : segment);
		CHECK_EQ(linkat(folder, i ? tails : segment, AT_FDCWD, path[i], 0), 0);
	}
	kvtap_close(tap);
	while (exporter.self.series[SELF_WORKERS]->value > 0)
		drain_pass(exporter.drain, true);
	/* the last commit, in which it is forgotten, did not come */
	for (int i = 0; i < 2; i++)
		CHECK_EQ(renameat(AT_FDCWD, path[i], folder, i ? tails : segment), 0);
	restart();
	parts_scrape(&exporter);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "once_total 1"));
	CHECK_EQ(count_files(folder, KVTAP_SEGMENT_SUFFIX), 0);
	close(folder);
	parts_end(&exporter);
	remove_segments();
}

TEST(journal_forgets_workers_whose_segments_are_gone)
{
	parts_begin(&exporter, false);
	for (int i = 0; i < 50; i++) {
		struct kvtap *tap = small_tap();

		kvtap_add(tap, counter_series(tap, "once"), 1);
		parts_scrape(&exporter);
		parts_end(&exporter);
		kvtap_close(tap);
		remove_segments_only();
		parts_begin(&exporter, false);
		drain_sweep(exporter.drain, discover_folder(exporter.discover));
		CHECK(!journal_progress(exporter.journal)->first);
	}
	parts_render(&exporter);
	CHECK(parts_has(&exporter, "once_total 50"));
	parts_end(&exporter);
	remove_segments();
}

static int count_refused(void)
{
	int folder = namespace_folder(), count = count_files(folder, JOURNAL_REFUSED);

	close(folder);
	return count;
}

TEST(journal_goes_with_its_folder)
{
	struct kvtap *tap = small_tap();
	uint32_t counter = counter_series(tap, "moved");
	char from[256], to[256], path[300];

	kvtap_add(tap, counter, 1);
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	snprintf(from, sizeof(from), "%s/kvtap.default", test_folder());
	snprintf(to, sizeof(to), "%s/moved", test_folder());
	CHECK_EQ(rename(from, to), 0);
	parts_scrape(&exporter);
	CHECK_EQ(discover_opened(exporter.discover), 2);
	CHECK_EQ(journal_open(exporter.journal, discover_folder(exporter.discover)), 0);
	kvtap_add(tap, counter, 1);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "moved_total 2"));
	restart();
	parts_render(&exporter);
	CHECK(parts_has(&exporter, "moved_total 2"));
	/* and back, where an older state is */
	snprintf(path, sizeof(path), "%s/kvtap.default/" JOURNAL_NAME, test_folder());
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(rmdir(from), 0);
	CHECK_EQ(rename(to, from), 0);
	kvtap_add(tap, counter, 1);
	parts_scrape(&exporter);
	CHECK_EQ(discover_opened(exporter.discover), 2);
	CHECK_EQ(journal_open(exporter.journal, discover_folder(exporter.discover)), 0);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "moved_total 3"));
	restart();
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "moved_total 3"));
	CHECK_EQ(count_refused(), 1);
	snprintf(path, sizeof(path), "%s/kvtap.default/" JOURNAL_REFUSED, test_folder());
	CHECK_EQ(unlink(path), 0);
	kvtap_close(tap);
	parts_end(&exporter);
	remove_segments();
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Series that take more room than the state has when it is made. */
static void declare_wide(struct kvtap *tap, uint32_t *series, int count)
{
	static char value[3000];
	const char *values[] = { value };
	uint32_t family;

	memset(value, 'x', sizeof(value) - 1);
	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){ .name = "wide",
							      .metric = KVTAP_COUNTER,
							      .label_names =
								      (const char *[]){ "v" },
							      .label_count = 1 }),
		 0);
	for (int i = 0; i < count; i++) {
		memcpy(value, (const char[]){ 'a' + (char)(i % 26), 'a' + (char)(i / 26) }, 2);
		CHECK_EQ(kvtap_family_series(tap, &series[i], family, values, 1), 0);
	}
}

static double wide_total(void)
{
	double sum = 0;

	for (char *at = exporter.page.data; (at = strstr(at, "\nwide_total{")); at++)
		sum += strtod(strchr(at, '}') + 1, NULL);
	return sum;
}

/* Killed while there is no room: what was taken and not committed is still with the worker. */
TEST(journal_without_room_takes_no_more_and_loses_and_doubles_nothing)
{
	enum { WIDE = 100 };
	struct kvtap *tap = small_tap();
	uint32_t series[WIDE];

	parts_begin(&exporter, false);
	declare_wide(tap, series, WIDE);
	limit_files(1 << 18); /* the file as it is made */
	for (int i = 0; i < 3 * WIDE; i++) {
		kvtap_add(tap, series[i % WIDE], 1);
		if (i % 10 == 0)
			parts_scrape(&exporter);
	}
	parts_scrape(&exporter);
	CHECK(journal_stuck(exporter.journal));
	CHECK(journal_errors(exporter.journal) > 0);
	restart(); /* without a commit */
	parts_scrape(&exporter);
	CHECK(journal_stuck(exporter.journal));
	limit_files(RLIM_INFINITY);
	parts_scrape(&exporter);
	CHECK(!journal_stuck(exporter.journal));
	parts_scrape(&exporter);
	CHECK(wide_total() == 3 * WIDE);
	restart();
	parts_scrape(&exporter);
	CHECK(wide_total() == 3 * WIDE);
	kvtap_close(tap);
	parts_scrape_until(&exporter, "kvtap_workers 0");
	parts_end(&exporter);
	remove_segments();
}

/* ---- a state that can't be trusted ---- */

static void write_state(const char *bytes)
{
	int folder = namespace_folder();
	int fd = openat(folder, JOURNAL_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, bytes, strlen(bytes)), (ssize_t)strlen(bytes));
	close(fd);
	close(folder);
}

TEST(journal_sets_a_state_aside_that_it_cannot_trust)
{
	struct kvtap *tap = small_tap();

	kvtap_add(tap, counter_series(tap, "known"), 1);
	write_state(
		"this is no state file, but it is long enough to look like one: its header fits");
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "known_total 1"));
	int folder = namespace_folder();
	CHECK_EQ(unlinkat(folder, JOURNAL_REFUSED, 0), 0);
	close(folder);
	restart();
	parts_render(&exporter);
	CHECK(parts_has(&exporter, "known_total 1"));
	kvtap_close(tap);
	parts_scrape_until(&exporter, "kvtap_workers 0");
	parts_end(&exporter);
	remove_segments();
}

/* Of the first ring of the only segment. */
static void put_ring(off_t at, const void *bytes, size_t count)
{
	struct kvtap_segment_header header;
	int folder = namespace_folder();
	char name[256];

	CHECK(find_segment(name, folder, 0));
	int fd = openat(folder, name, O_RDWR | O_CLOEXEC);
	CHECK_EQ(pread(fd, &header, sizeof(header), 0), sizeof(header));
	CHECK_EQ(pwrite(fd, bytes, count, (off_t)header.rings_offset + at), (ssize_t)count);
	close(fd);
	close(folder);
}

/* A block of a counter that has become one of a wide histogram: more words than its item has. */
TEST(journal_takes_no_block_that_is_not_what_it_was)
{
	static double bounds[KVTAP_BOUNDS_MAX];
	struct kvtap_family wide = { .name = "wide",
				     .metric = KVTAP_HISTOGRAM,
				     .bounds = bounds,
				     .bound_count = KVTAP_BOUNDS_MAX };
	struct kvtap *tap = small_tap();
	uint32_t counter = counter_series(tap, "narrow"), family;
	uint32_t head[2] = { 0, 1 + 2 + KVTAP_BOUNDS_MAX + 1 }, used = 1024;
	off_t arena = KVTAP_RING_RECORDS + SMALL_SLOTS * (off_t)sizeof(struct kvtap_record);
	uint64_t folds = 1000, words[3] = { 100 };

	for (int i = 0; i < KVTAP_BOUNDS_MAX; i++)
		bounds[i] = i;
	CHECK_EQ(kvtap_family_declare(tap, &family, &wide), 0);
	CHECK_EQ(kvtap_family_series(tap, &head[0], family, NULL, 0), 0);
	for (int i = 0; i < SMALL_SLOTS + 3; i++)
		kvtap_add(tap, counter, 1);
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	put_ring(arena, head, sizeof(head));
	put_ring(arena + 8, words, 8);
	put_ring(offsetof(struct kvtap_ring_header, overflow_used), &used, sizeof(used));
	put_ring(offsetof(struct kvtap_ring_header, fold_sequence), &folds, sizeof(folds));
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "kvtap_segments_rejected_total{reason=\"overflow\"} 1"));
	restart();
	parts_render(&exporter);
	CHECK_EQ(count_refused(), 0);
	CHECK(parts_has(&exporter, "narrow_total 19"));
	kvtap_close(tap);
	parts_scrape_until(&exporter, "kvtap_workers 0");
	parts_end(&exporter);
	remove_segments();
}

static uint64_t random_state = 88172645463325252u;

static uint32_t random_below(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % limit;
}

struct forged {
	uint8_t type, fixed[1024], value[1024];
	uint32_t fixed_bytes, bytes, room;
};

/* The items of a good state, to be changed. */
static size_t read_items(struct forged *items, size_t room)
{
	int folder = namespace_folder(), holder;
	struct state_item item = { 0 };
	struct state *state;
	const char *why;
	size_t count = 0;

	CHECK_EQ(state_open(&state, &why, &holder, folder, JOURNAL_NAME), 0);
	while (count < room && state_next(state, &item)) {
		struct forged *to = &items[count];

		if (item.fixed_bytes > sizeof(to->fixed) || item.bytes > sizeof(to->value))
			continue;
		to->type = item.type;
		to->fixed_bytes = item.fixed_bytes;
		to->bytes = item.bytes;
		to->room = item.room;
		memcpy(to->fixed, item.fixed, item.fixed_bytes);
		if (item.value)
			memcpy(to->value, item.value, item.bytes);
		count++;
	}
	state_close(state);
	close(folder);
	return count;
}

static void change(struct forged *item)
{
	uint8_t *bytes = random_below(4) ? item->fixed : item->value;
	uint32_t count = bytes == item->fixed ? item->fixed_bytes : item->bytes;
	static const uint8_t values[] = { 0, 1, '"', '\\', ',', '=', '{', '\n', 0x7f, 0x80, 0xff };

	for (uint32_t i = random_below(8); count && i; i--)
		bytes[random_below(count)] = values[random_below(sizeof(values))];
	if (!random_below(16))
		item->fixed_bytes = random_below(item->fixed_bytes + 1);
	if (!random_below(4))
		item->room = item->bytes;
	if (!random_below(16))
		item->type = (uint8_t)random_below(20);
}

/* All sums fit, as somebody would write them who means it. */
static void forge(const struct forged *items, size_t count)
{
	int folder = namespace_folder(), holder;
	struct state *state;
	const char *why;

	unlinkat(folder, JOURNAL_NAME, 0);
	CHECK_EQ(state_open(&state, &why, &holder, folder, JOURNAL_NAME), 0);
	for (size_t i = 0; i < count; i++) {
		struct forged item = items[i];

		if (!random_below(4))
			change(&item);
		uint64_t made =
			state_add(state, item.type, item.fixed, item.fixed_bytes, item.room);
		CHECK(made);
		if (item.room) {
			memcpy(state_value(state, made), item.value, item.bytes);
			state_end(state, made, item.bytes);
		}
	}
	state_commit(state);
	state_close(state);
	close(folder);
}

TEST_TIMEOUT(journal_takes_no_item_on_trust, 120)
{
	struct forged *items = calloc(200, sizeof(*items));
	struct kvtap *tap = small_tap();

	CHECK(items);
	record_some(tap);
	log_set_level(LOG_LEVEL_ERROR);
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	parts_end(&exporter);
	size_t count = read_items(items, 200);
	CHECK(count > 20);
	for (int i = 0; i < (LOAD_SANITIZED ? 50 : 300); i++) {
		forge(items, count);
		parts_begin(&exporter, false);
		parts_scrape(&exporter);
		page_free(page_parse(exporter.page.data));
		record_some(tap);
		parts_scrape(&exporter);
		restart(); /* what was written into these items is whole */
		CHECK_EQ(count_refused(), 0);
		parts_end(&exporter);
	}
	kvtap_close(tap);
	remove_segments();
	free(items);
}
