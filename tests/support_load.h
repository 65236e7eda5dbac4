/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_load.h - a mixed load of records, the private truth of who records it, and a page's word
 *
 * Counters, histograms and transfers with labels, and vLLM's offload and NIXL transfers, some of them
 * failed. Every value is a multiple of a power of two or of a nanosecond, so that sums are exact. The
 * truth knows nothing of segments; a page must agree with it in every count, sum and bucket.
 */
#ifndef KVTAP_TESTS_SUPPORT_LOAD_H
#define KVTAP_TESTS_SUPPORT_LOAD_H

#include <stdint.h>

#include "kvtap.h"
#include "support_page.h"

#define LOAD_MODEL "e2e"
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LOAD_SANITIZED 1 /* all is slower, so tests take less */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define LOAD_SANITIZED 1
#endif
#endif
#ifndef LOAD_SANITIZED
#define LOAD_SANITIZED 0
#endif
#define LOAD_SHARDS_MAX 84
/* of a shard: a counter, a histogram, a transfer; beside them four of the built-in kinds */
#define LOAD_SERIES(shards) (3 * (shards) + 4)
#define LOAD_CELLS_MAX 5
#define LOAD_BUCKETS_MAX 16

struct load_cell {
	uint64_t records, sum; /* in units that the family's table knows */
	uint64_t bucket[LOAD_BUCKETS_MAX];
};

/* What was recorded; plain memory of who records, zero at first. */
struct load_truth {
	uint64_t records;
	struct load_cell cell[LOAD_SERIES(LOAD_SHARDS_MAX)][LOAD_CELLS_MAX];
};

struct load {
	struct kvtap *tap;
	uint32_t shards;
	uint32_t series[LOAD_SERIES(LOAD_SHARDS_MAX)];
};

/* load_open - open the tap and declare; options as given but for the model's name */
void load_open(struct load *load, const struct kvtap_options *options, uint32_t shards);
/* load_record - so many records over all series by turns, from the calling thread; seed: not 0 */
void load_record(const struct load *load, struct load_truth *truth, uint64_t *seed,
		 uint64_t records);
void load_add(struct load_truth *truth, const struct load_truth *more);

/* load_tell - told of a sample: it has to be value / 10^digits */
typedef void load_tell(void *context, const char *key, unsigned digits, uint64_t value);
/* load_samples - all samples that a page has to have for an engine */
void load_samples(const struct load_truth *truth, const char *engine, uint32_t shards,
		  load_tell *tell, void *context);

/* in support_load_check.c, which needs the test runner; the above does not */

/* load_check - the page has exactly this for an engine; fails the test otherwise */
void load_check(const struct page *page, const char *engine, const struct load_truth *truth,
		uint32_t shards);

#endif
