/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_kill_open.c - SIGKILL at every instruction of opening, declaring and a first record
 *
 * The victim counts the steps that are done. A reader has to find these and at most the next one;
 * of a tap that was not open yet, nothing but files that a sweep removes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "support_kill.h"
#include "test.h"

#define ORPHANS_MAX 4096
#define SWEEP_LIMIT_S 120

static struct kvtap *tap; /* in the victim */

static const double bounds[] = { 1, 10, 20.5, 40, 60 };

static void drain(pid_t pid)
{
	kill_watch(pid);
	watch_drain(&watch);
}

/* ---- declarations ---- */

#define FILLERS 4
#define FILLER_BYTES 4000 /* of help: these leave the dictionary just under its first step */

static const char *const label_names[] = { "a", "b" };

static void prepare_declare(void)
{
	char help[FILLER_BYTES + 1], name[] = "filler_0";
	uint32_t id;

	memset(help, 'h', FILLER_BYTES);
	help[FILLER_BYTES] = '\0';
	tap = small_tap();
	for (int i = 0; i < FILLERS; i++, name[7]++)
		CHECK_EQ(kvtap_family_declare(tap, &id,
					      &(struct kvtap_family){ .name = name,
								      .help = help,
								      .metric = KVTAP_GAUGE }),
			 0);
}

/* Each call of the list below counts. Those that declare nothing new are records. */
static void act_declare(void)
{
	struct kvtap_family family = { .name = "kill_size",
				       .help = "Size.",
				       .metric = KVTAP_HISTOGRAM,
				       .label_names = label_names,
				       .label_count = 2,
				       .bounds = bounds,
				       .bound_count = 5 };
	struct kvtap_feed feed[2] = { { .field = KVTAP_FIELD_BYTES,
					.fixed_values = (const char *const[]){ NULL, "fixed" } },
				      { .field = KVTAP_FIELD_ONE } };
	struct kvtap_kind kind = { .name = "kill_kind",
				   .label_names = label_names,
				   .label_count = 1,
				   .feeds = feed,
				   .feed_count = 2 };
	uint32_t id, series;

	kvtap_family_declare(tap, &feed[0].family, &family);
	atomic_store(&memory->calls, 1);
	family = (struct kvtap_family){ .name = "kill_count", .metric = KVTAP_COUNTER };
	family.label_names = label_names;
	family.label_count = 1;
	kvtap_family_declare(tap, &feed[1].family, &family);
	atomic_store(&memory->calls, 2);
	kvtap_kind_declare(tap, &id, &kind);
	atomic_store(&memory->calls, 3);
	kvtap_kind_series(tap, &series, id, (const char *const[]){ "x" }, 1);
	atomic_store(&memory->calls, 4);
	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series, .end_ns = 1, .bytes = 15 });
	atomic_store(&memory->calls, 5);
	kvtap_family_series(tap, &series, feed[1].family, (const char *const[]){ "y" }, 1);
	atomic_store(&memory->calls, 6);
	kvtap_add(tap, series, 7);
	atomic_store(&memory->calls, 7);
}

static bool text_is(const struct kvtap_text *text, const char *expected)
{
	return text->bytes == strlen(expected) && memcmp(text->data, expected, text->bytes) == 0;
}

static bool family_right(uint32_t id)
{
	const struct kvtap_family_view *family = kvtap_reader_family(watch.reader, id);
	bool size = id == FILLERS + 1;

	if (id <= FILLERS)
		return family->help.bytes == FILLER_BYTES;
	return text_is(&family->name, size ? "kill_size" : "kill_count") &&
	       text_is(&family->help, size ? "Size." : "") &&
	       family->metric == (size ? KVTAP_HISTOGRAM : KVTAP_COUNTER) &&
	       family->labels == (size ? 2 : 1) && text_is(&family->label[0], "a") &&
	       (!size || (text_is(&family->label[1], "b") && family->bounds == 5 &&
			  memcmp(family->bound, bounds, sizeof(bounds)) == 0));
}

static bool series_right(uint32_t id)
{
	struct kvtap_series_view view;

	if (!kvtap_reader_series(watch.reader, id, &view))
		return false;
	if (id == 2)
		return text_is(&view.value[0], "y");
	return view.plan->cells == 2 && text_is(&view.value[0], "x") &&
	       text_is(&view.value[1], "fixed") && text_is(&view.value[KVTAP_LABELS_MAX], "x");
}

static uint64_t dictionary_used(void)
{
	struct kvtap_segment_header header;
	int fd = openat(watch.folder, watch.name, O_RDONLY | O_CLOEXEC);

	CHECK_EQ(pread(fd, &header, sizeof(header), 0), sizeof(header));
	close(fd);
	return header.dictionary_used;
}

/* How much of the list is there; the kind itself shows only in its series. */
static void check_declared(uint64_t done)
{
	uint32_t families = kvtap_reader_families(watch.reader) - FILLERS;
	uint32_t series = kvtap_reader_series_count(watch.reader);
	uint64_t records = watch.records + watch.folded;
	uint32_t families_done = done < 2 ? (uint32_t)done : 2;
	uint32_t series_done = (done >= 4) + (done >= 6);
	uint64_t records_done = (done >= 5) + (done >= 7);

	found.missing += families < families_done || series < series_done || records < records_done;
	found.doubled += families > families_done + (done < 2) ||
			 series > series_done + (done == 3 || done == 5) ||
			 records > records_done + (done == 4 || done == 6);
	found.in_flight += records > records_done;
	for (uint32_t id = 1; id <= families + FILLERS; id++)
		found.torn += !family_right(id);
	for (uint32_t id = 1; id <= series; id++)
		found.torn += !series_right(id);
	if (records >= 1)
		found.inexact += watch_total(&watch, 1)->records != 1 ||
				 total_sum(watch_total(&watch, 1), 0) != 15 ||
				 watch_total(&watch, 1)->cell[0].bucket[2] != 1;
	if (records >= 2)
		found.inexact += total_double(watch_total(&watch, 2), 0) != 7;
	if (done == 0) /* what the fillers are for */
		CHECK(dictionary_used() < 16384);
	if (done == 7)
		CHECK(dictionary_used() > 16384);
}

static void killed_declaring(pid_t pid)
{
	kill_watch(pid);
	kill_judge();
	watch_drain(&watch);
	check_declared(atomic_load(&memory->calls));
	kill_forget();
	atomic_store(&memory->calls, 0);
}

TEST_TIMEOUT(kill_open_declarations_at_every_instruction, 600)
{
	kill_run(&(struct trace_scenario){ "declare", prepare_declare, act_declare, drain,
					   killed_declaring, 0 });
}

/* ---- open ---- */

static unsigned orphan_folders;

static void orphan_path(char path[128], unsigned number)
{
	snprintf(path, 128, "%s/orphans.%u", test_folder(), number);
}

/* What dead workers left is removed by a reader's sweep, once it is old enough. */
static void sweep_orphans(void)
{
	time_t limit = time(NULL) + SWEEP_LIMIT_S;
	char path[128];

	for (unsigned i = 0; i < orphan_folders; i++) {
		orphan_path(path, i);
		int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		CHECK(folder >= 0);
		while (count_files(folder, "") > 0) {
			CHECK(kvtap_reader_sweep(folder) >= 0);
			CHECK(time(NULL) < limit);
			if (count_files(folder, "") > 0)
				usleep(100000);
		}
		close(folder);
		CHECK_EQ(rmdir(path), 0);
	}
	orphan_folders = 0;
}

/* No segment: the folder is not there or has nothing but orphans, which the next worker ignores. */
static void keep_orphans(int folder)
{
	char path[128], orphans[128];
	int files = count_files(folder, "");

	CHECK_EQ(count_files(folder, KVTAP_TAILS_SUFFIX) <= 1 && files <= 2, true);
	found.orphans += (uint64_t)files;
	snprintf(path, sizeof(path), "%s/kvtap.default", test_folder());
	orphan_path(orphans, orphan_folders++);
	CHECK_EQ(rename(path, orphans), 0);
	if (orphan_folders == ORPHANS_MAX)
		sweep_orphans();
}

static void prepare_nothing(void)
{
}

static void act_open(void)
{
	struct kvtap_options options = small_options();
	uint32_t id;

	options.model_name = "model";
	kvtap_open(&tap, &options);
	atomic_store(&memory->calls, 1);
	kvtap_family_declare(tap, &id,
			     &(struct kvtap_family){ .name = "kill_counter",
						     .metric = KVTAP_COUNTER });
	kvtap_family_series(tap, &memory->series[0], id, NULL, 0);
	atomic_store(&memory->calls, 2);
	kvtap_add(tap, memory->series[0], 7);
	atomic_store(&memory->calls, 3);
}

static void killed_opening(pid_t pid)
{
	uint64_t done = atomic_exchange(&memory->calls, 0);
	int folder = namespace_folder();
	char name[256];

	if (folder < 0 || !find_segment(name, folder, pid)) {
		found.unseen++;
		found.missing += done > 0;
		if (folder >= 0) {
			keep_orphans(folder);
			close(folder);
		}
		return;
	}
	close(folder);
	kill_watch(pid);
	kill_judge();
	watch_drain(&watch);
	found.missing += watch.records < (done == 3);
	found.doubled += watch.records > (done >= 2);
	found.in_flight += watch.records == 1 && done == 2;
	found.torn += kvtap_reader_constants(watch.reader) != 1 ||
		      !text_is(&kvtap_reader_constant(watch.reader, 0)[1], "model");
	if (watch.records)
		found.inexact += total_double(watch_total(&watch, 1), 0) != 7;
	kill_forget();
}

TEST_TIMEOUT(kill_open_and_first_record_at_every_instruction, 600)
{
	kill_run(&(struct trace_scenario){ "open", prepare_nothing, act_open, drain, killed_opening,
					   0 });
	sweep_orphans();
}
