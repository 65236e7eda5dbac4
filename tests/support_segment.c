/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_segment.c - see support_segment.h
 *
 * Adds records up by the plan of their series, as the exporter does, but into cells of its own.
 */
#include "support_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

struct kvtap_options small_options(void)
{
	return (struct kvtap_options){ .dir = test_folder(),
				       .ring_slots = SMALL_SLOTS,
				       .ring_max = SMALL_RINGS,
				       .overflow_bytes = SMALL_OVERFLOW };
}

struct kvtap *small_tap(void)
{
	struct kvtap_options options = small_options();
	struct kvtap *tap;

	CHECK_EQ(kvtap_open(&tap, &options), 0);
	return tap;
}

static uint32_t family_series(struct kvtap *tap, const struct kvtap_family *family)
{
	uint32_t id, series;

	CHECK_EQ(kvtap_family_declare(tap, &id, family), 0);
	CHECK_EQ(kvtap_family_series(tap, &series, id, NULL, 0), 0);
	return series;
}

uint32_t counter_series(struct kvtap *tap, const char *name)
{
	return family_series(tap, &(struct kvtap_family){ .name = name, .metric = KVTAP_COUNTER });
}

uint32_t gauge_series(struct kvtap *tap, const char *name)
{
	return family_series(tap, &(struct kvtap_family){ .name = name, .metric = KVTAP_GAUGE });
}

uint32_t histogram_series(struct kvtap *tap, const char *name, const double *bounds, size_t count)
{
	return family_series(tap, &(struct kvtap_family){ .name = name,
							  .metric = KVTAP_HISTOGRAM,
							  .bounds = bounds,
							  .bound_count = count });
}

uint32_t builtin_series(struct kvtap *tap, const char *builtin)
{
	uint32_t series;

	CHECK_EQ(kvtap_builtin(tap, &series, builtin, NULL), 0);
	return series;
}

/* ---- the folder ---- */

int namespace_folder(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/kvtap.default", test_folder());
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool ends_so(const char *name, const char *suffix)
{
	size_t bytes = strlen(name), end = strlen(suffix);

	return bytes >= end && strcmp(name + bytes - end, suffix) == 0;
}

static DIR *list(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *names = fd < 0 ? NULL : fdopendir(fd);

	CHECK(names);
	return names;
}

bool find_segment(char name[256], int folder, pid_t pid)
{
	DIR *names = list(folder);
	const struct dirent *entry;
	bool found = false;

	while (!found && (entry = readdir(names))) {
		if (!ends_so(entry->d_name, KVTAP_SEGMENT_SUFFIX) ||
		    (pid && atoi(entry->d_name) != pid))
			continue;
		snprintf(name, 256, "%s", entry->d_name);
		found = true;
	}
	closedir(names);
	return found;
}

int count_files(int folder, const char *suffix)
{
	DIR *names = list(folder);
	const struct dirent *entry;
	int count = 0;

	while ((entry = readdir(names)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			count += ends_so(entry->d_name, suffix);
	closedir(names);
	return count;
}

static void remove_files(bool state)
{
	int folder = namespace_folder();
	DIR *names = list(folder);
	const struct dirent *entry;

	while ((entry = readdir(names)))
		if (ends_so(entry->d_name, KVTAP_SEGMENT_SUFFIX) ||
		    ends_so(entry->d_name, KVTAP_TAILS_SUFFIX) ||
		    (state && ends_so(entry->d_name, "exporter.state")))
			unlinkat(folder, entry->d_name, 0);
	closedir(names);
	close(folder);
}

void remove_segments_only(void)
{
	remove_files(false);
}

void remove_segments(void)
{
	char path[128];

	remove_files(true);
	snprintf(path, sizeof(path), "%s/kvtap.default", test_folder());
	CHECK_EQ(rmdir(path), 0);
}

/* ---- a reader ---- */

void watch_open(struct watch *watch, pid_t pid)
{
	enum kvtap_reject why;

	*watch = (struct watch){ .folder = namespace_folder() };
	CHECK(watch->folder >= 0);
	CHECK(find_segment(watch->name, watch->folder, pid));
	CHECK_EQ(kvtap_reader_guard(), 0);
	if (kvtap_reader_open(&watch->reader, &why, watch->folder, watch->name) < 0)
		test_fail(__FILE__, __LINE__, "%s: %s", watch->name, kvtap_reject_text(why));
}

/* A place for each series that is declared, by id. */
static void reserve(struct watch *watch, uint32_t series)
{
	uint32_t wanted = watch->totals ? watch->totals : 64;

	while (wanted <= series)
		wanted *= 2;
	if (wanted == watch->totals)
		return;
	watch->total = realloc(watch->total, wanted * sizeof(*watch->total));
	CHECK(watch->total);
	memset(watch->total + watch->totals, 0, (wanted - watch->totals) * sizeof(*watch->total));
	watch->totals = wanted;
}

/* The totals of a series, made on demand; NULL: it is not declared. */
static struct total *total_of(struct watch *watch, uint32_t series)
{
	enum kvtap_reject why;

	if (!kvtap_reader_plan(watch->reader, series))
		CHECK_EQ(kvtap_reader_refresh(watch->reader, &why), 0);
	if (!kvtap_reader_plan(watch->reader, series))
		return NULL;
	reserve(watch, series);
	if (!watch->total[series])
		watch->total[series] = calloc(1, sizeof(struct total));
	CHECK(watch->total[series]);
	return watch->total[series];
}

const struct total *watch_total(struct watch *watch, uint32_t series)
{
	const struct total *total = total_of(watch, series);

	CHECK(total);
	return total;
}

static void set_latest(struct total_cell *to, double value, uint64_t value_ns)
{
	if (value_ns < to->value_ns)
		return;
	to->value = value;
	to->value_ns = value_ns;
}

static void add_double(struct total_cell *to, const struct kvtap_cell *cell,
		       const struct kvtap_record *record)
{
	if (cell->metric == KVTAP_GAUGE) {
		set_latest(to, record->value, record->end_ns);
		return;
	}
	kvtap_sum_add_double(&to->sum, record->value);
	if (cell->metric == KVTAP_HISTOGRAM)
		to->bucket[kvtap_cell_bucket_double(cell, record->value)]++;
}

static void add_field(struct total_cell *to, const struct kvtap_cell *cell,
		      const struct kvtap_record *record)
{
	uint64_t value = kvtap_field_value(record, cell->field);

	if (!kvtap_cell_takes(cell, record->status))
		return;
	kvtap_sum_add(&to->sum, value);
	if (cell->metric == KVTAP_HISTOGRAM)
		to->bucket[kvtap_cell_bucket(cell, value)]++;
}

static void take_record(struct watch *watch, const struct kvtap_record *record, uint64_t index)
{
	struct total *total = total_of(watch, record->series);
	const struct kvtap_plan *plan = kvtap_reader_plan(watch->reader, record->series);

	if (!total || plan->op != (record->op & ~KVTAP_OP_OVERLAPPED) ||
	    record->sequence != (uint16_t)index) {
		watch->wrong++;
		return;
	}
	total->records++;
	for (uint32_t i = 0; i < plan->cells; i++)
		if (plan->cell[i].field)
			add_field(&total->cell[i], &plan->cell[i], record);
		else
			add_double(&total->cell[i], &plan->cell[i], record);
}

static uint64_t drain_ring(struct watch *watch, uint32_t ring)
{
	struct kvtap_record record[64];
	enum kvtap_reject why;
	uint64_t taken = 0;
	ssize_t count;

	while ((count = kvtap_reader_fetch(watch->reader, &why, ring, record, 64, NULL)) > 0) {
		uint64_t first = kvtap_reader_position(watch->reader, ring);

		for (ssize_t i = 0; i < count; i++)
			take_record(watch, &record[i], first + (uint64_t)i);
		kvtap_reader_take(watch->reader, ring, (size_t)count);
		CHECK_EQ(kvtap_reader_give_back(watch->reader, ring), 0);
		taken += (uint64_t)count;
	}
	CHECK_EQ(count, 0);
	watch->records += taken;
	return taken;
}

static void take_cell(struct total_cell *to, const struct kvtap_cell *cell,
		      const struct kvtap_block_view *block)
{
	const uint64_t *now = block->now + cell->word, *before = block->applied + cell->word;
	double value;

	if (cell->metric == KVTAP_GAUGE) {
		memcpy(&value, now, sizeof(value));
		set_latest(to, value, now[1]);
		return;
	}
	kvtap_sum_advance(&to->sum, now, before, !cell->field);
	if (cell->metric == KVTAP_HISTOGRAM)
		for (uint32_t i = 0; i <= cell->bounds; i++)
			to->bucket[i] += now[2 + i] - before[2 + i];
}

static uint64_t take_block(struct watch *watch, const struct kvtap_block_view *block)
{
	const struct kvtap_plan *plan = kvtap_reader_plan(watch->reader, block->series);
	struct total *total = total_of(watch, block->series);
	uint64_t folded = block->now[0] - block->applied[0];

	CHECK(total);
	total->folded += folded;
	for (uint32_t i = 0; i < plan->cells; i++)
		take_cell(&total->cell[i], &plan->cell[i], block);
	kvtap_reader_block_take(watch->reader, block);
	return folded;
}

static uint64_t drain_blocks(struct watch *watch, uint32_t ring)
{
	struct kvtap_block_view block;
	enum kvtap_reject why;
	uint32_t cursor = 0;
	uint64_t folded = 0;
	int rc;

	while ((rc = kvtap_reader_block(watch->reader, &why, ring, &cursor, &block)) != 0) {
		if (rc == -EAGAIN) { /* its producer folds on and on: a drained ring stops that */
			drain_ring(watch, ring);
			sched_yield();
			continue;
		}
		CHECK_EQ(rc, 1);
		folded += take_block(watch, &block);
	}
	watch->folded += folded;
	return folded;
}

uint64_t watch_drain(struct watch *watch)
{
	uint64_t before = watch->records + watch->folded;

	for (uint32_t i = 0; i < kvtap_reader_rings(watch->reader); i++) {
		drain_ring(watch, i);
		drain_blocks(watch, i);
	}
	return watch->records + watch->folded - before;
}

void watch_close(struct watch *watch)
{
	kvtap_reader_close(watch->reader);
	close(watch->folder);
	for (uint32_t i = 0; i < watch->totals; i++)
		free(watch->total[i]);
	free(watch->total);
}

void watch_remove(struct watch *watch)
{
	char path[128];

	kvtap_reader_unlink(watch->reader);
	watch_close(watch);
	snprintf(path, sizeof(path), "%s/kvtap.default", test_folder());
	rmdir(path); /* the last one */
}

uint64_t total_sum(const struct total *total, uint32_t cell)
{
	CHECK_EQ(total->cell[cell].sum.word[1], 0);
	return total->cell[cell].sum.word[0];
}

double total_double(const struct total *total, uint32_t cell)
{
	double part[2];

	memcpy(part, total->cell[cell].sum.word, sizeof(part));
	return part[0] + part[1];
}

#ifndef __has_feature /* clang's; gcc has macros */
#define __has_feature(feature) 0
#endif

bool with_asan(void)
{
#ifdef __SANITIZE_ADDRESS__
	return true;
#else
	return __has_feature(address_sanitizer);
#endif
}

bool with_tsan(void)
{
#ifdef __SANITIZE_THREAD__
	return true;
#else
	return __has_feature(thread_sanitizer);
#endif
}

void run_thread(void *(*run)(void *), void *argument)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, run, argument), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}
