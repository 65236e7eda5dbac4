/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_segment.h - a tap in the test's folder, and a reader that adds up all it finds there
 *
 * What fails here fails the test. Knows the public headers only; what a test expects is its own.
 */
#ifndef KVTAP_TESTS_SUPPORT_SEGMENT_H
#define KVTAP_TESTS_SUPPORT_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "kvtap.h"
#include "kvtap_reader.h"

#define SMALL_SLOTS 16
#define SMALL_OVERFLOW 4096
#define SMALL_RINGS 8

/* small_tap - 16 slots, 4096 bytes of overflow, 8 rings, namespace "default", in test_folder() */
struct kvtap *small_tap(void);
/* small_options - the options of small_tap, to change */
struct kvtap_options small_options(void);

/* A series of a family. Labels: none. */
uint32_t counter_series(struct kvtap *tap, const char *name);
uint32_t gauge_series(struct kvtap *tap, const char *name);
uint32_t histogram_series(struct kvtap *tap, const char *name, const double *bounds, size_t count);
uint32_t builtin_series(struct kvtap *tap, const char *builtin);

struct total_cell { /* of one family that a series feeds, as a block has it */
	struct kvtap_sum sum;
	double value; /* gauge */
	uint64_t value_ns;
	uint64_t bucket[KVTAP_BOUNDS_MAX + 1];
};

struct total {
	uint64_t records, folded; /* out of rings, out of overflow blocks */
	struct total_cell cell[KVTAP_FEEDS_MAX];
};

/* A reader of one segment and what it has taken out of it so far. */
struct watch {
	int folder;
	char name[256];
	struct kvtap_reader *reader;
	uint64_t records, folded;
	uint64_t
		wrong; /* records with another sequence, series or op than could be; not added up */
	struct total **total; /* [totals], by series id; NULL: nothing came of it yet */
	uint32_t totals;
};

/* namespace_folder - descriptor of kvtap.default in test_folder(), or -1 */
int namespace_folder(void);
/* find_segment - the name of the segment of a process, 0: of any; false: there is none */
bool find_segment(char name[256], int folder, pid_t pid);
/* count_files - names in the folder that end so; hidden ones too */
int count_files(int folder, const char *suffix);

/* watch_open - begin to read the segment of a process, 0: of any */
void watch_open(struct watch *watch, pid_t pid);
/* watch_drain - take all that is committed; Returns: how many records and folds that were */
uint64_t watch_drain(struct watch *watch);
/* watch_total - of a series; all zero if nothing came of it */
const struct total *watch_total(struct watch *watch, uint32_t series);
/* watch_close - leave the files; watch_remove - take them away too */
void watch_close(struct watch *watch);
void watch_remove(struct watch *watch);

/* total_sum - an integer sum, which must fit; total_double - a sum of doubles */
uint64_t total_sum(const struct total *total, uint32_t cell);
double total_double(const struct total *total, uint32_t cell);

/* remove_segments - all segments and tails, and the state, of a namespace that is not read */
void remove_segments(void);
/* remove_segments_only - but not the state */
void remove_segments_only(void);

/* with_asan, with_tsan - whether the test was built with this sanitizer */
bool with_asan(void);
bool with_tsan(void);

/* run_thread - run in a thread of its own, and wait for its end */
void run_thread(void *(*run)(void *), void *argument);

#endif
