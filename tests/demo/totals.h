/* SPDX-License-Identifier: Apache-2.0 */
/*
 * totals.h - what a set of transfers must add up to, family by family
 *
 * A reduction of its own, in integers, from the documented names and bounds of vLLM's families: it
 * shares no code with the library or the exporter, so that the two can be compared. Knows nothing
 * of processes, shared memory or HTTP.
 */
#ifndef DEMO_TOTALS_H
#define DEMO_TOTALS_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_NAME "Llama-3.1-8B"
#define OFFLOAD_ENGINE "0"
#define PREFILL_ENGINE "1"
#define DECODE_ENGINE "2"

#define NS_PER_SECOND ((uint64_t)1000000000)

enum family_id {
	STORE_BYTES,
	STORE_TIME,
	STORE_SIZE,
	LOAD_BYTES,
	LOAD_TIME,
	LOAD_SIZE,
	PULL_TIME,
	PULL_POST_TIME,
	PULL_BYTES,
	PULL_DESCRIPTORS,
	PULL_FAILED,
	FAILED_NOTIFICATIONS,
	EXPIRED_REQUESTS,
	FAMILY_COUNT,
};

#define BUCKETS_MAX 16

/* A counter has no bounds. Bounds and sums are integers: nanoseconds where unit is 10^9. */
struct family {
	const char *name; /* of the sample, or of the histogram */
	const char *engine;
	uint64_t unit; /* how many make one of the scraped unit */
	uint32_t bound_count;
	const uint64_t *bounds;
};

extern const struct family families[FAMILY_COUNT];

struct totals {
	bool on_device; /* times of stores and loads are those of workers that waited for a GPU */
	uint64_t sum[FAMILY_COUNT];
	uint64_t count[FAMILY_COUNT];		    /* histograms only */
	uint64_t bucket[FAMILY_COUNT][BUCKETS_MAX]; /* not cumulative; the last is +Inf */
};

enum event_kind {
	EVENT_STORE,
	EVENT_LOAD,
	EVENT_PULL,
	EVENT_FAILED_NOTIFICATION,
	EVENT_EXPIRED_REQUEST,
	EVENT_KINDS,
};

#define TRANSFER_KINDS (EVENT_PULL + 1)

struct event {
	enum event_kind kind;
	uint32_t status;
	uint64_t end_ns, duration_ns, submit_ns;
	uint64_t bytes;
	uint32_t descriptors;
	uint64_t request_id;
};

/* totals_apply - what one event adds */
void totals_apply(struct totals *totals, const struct event *event);
/* totals_add - totals += other */
void totals_add(struct totals *totals, const struct totals *other);
/* totals_cells - how many numbers are in there */
uint32_t totals_cells(void);

#endif
