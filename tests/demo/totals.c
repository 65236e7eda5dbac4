/* SPDX-License-Identifier: Apache-2.0 */
/*
 * totals.c - vLLM's offload and NIXL families as a table, and a plain reduction into them
 *
 * The names, engines and bounds are written down here once more on purpose: the demo is a check of
 * what the exporter serves, so it takes nothing from it.
 */
#include "totals.h"

#define MS 1000000ull
#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

static const uint64_t size_bounds[] = { 1000000,  5000000,  10000000,  20000000,  40000000,
					60000000, 80000000, 100000000, 150000000, 200000000 };
static const uint64_t post_bounds[] = { 1 * MS,	  5 * MS,    10 * MS,  25 * MS,	 50 * MS,
					75 * MS,  100 * MS,  200 * MS, 300 * MS, 500 * MS,
					750 * MS, 1000 * MS, 5000 * MS };
static const uint64_t byte_bounds[] = { 1ull << 11, 1ull << 13, 1ull << 15, 1ull << 17,
					1ull << 19, 1ull << 21, 1ull << 23, 1ull << 25,
					1ull << 27, 1ull << 29, 1ull << 31, 1ull << 33 };
static const uint64_t descriptor_bounds[] = { 10,  20,	 30,   50,   75,    100,   200,
					      400, 1000, 2000, 4000, 10000, 20000, 50000 };

#define COUNTER(name, engine, unit)                                                                \
	{                                                                                          \
		name, engine, unit, 0, 0                                                           \
	}
#define HISTOGRAM(name, engine, unit, bounds)                                                      \
	{                                                                                          \
		name, engine, unit, COUNT(bounds), bounds                                          \
	}

const struct family families[FAMILY_COUNT] = {
	[STORE_BYTES] = COUNTER("vllm:kv_offload_store_bytes_total", OFFLOAD_ENGINE, 1),
	[STORE_TIME] = COUNTER("vllm:kv_offload_store_time_total", OFFLOAD_ENGINE, NS_PER_SECOND),
	[STORE_SIZE] = HISTOGRAM("vllm:kv_offload_store_size", OFFLOAD_ENGINE, 1, size_bounds),
	[LOAD_BYTES] = COUNTER("vllm:kv_offload_load_bytes_total", OFFLOAD_ENGINE, 1),
	[LOAD_TIME] = COUNTER("vllm:kv_offload_load_time_total", OFFLOAD_ENGINE, NS_PER_SECOND),
	[LOAD_SIZE] = HISTOGRAM("vllm:kv_offload_load_size", OFFLOAD_ENGINE, 1, size_bounds),
	/* the transfer time has the bounds of the post time but for the first */
	[PULL_TIME] = { "vllm:nixl_xfer_time_seconds", DECODE_ENGINE, NS_PER_SECOND,
			COUNT(post_bounds) - 1, post_bounds + 1 },
	[PULL_POST_TIME] =
		HISTOGRAM("vllm:nixl_post_time_seconds", DECODE_ENGINE, NS_PER_SECOND, post_bounds),
	[PULL_BYTES] = HISTOGRAM("vllm:nixl_bytes_transferred", DECODE_ENGINE, 1, byte_bounds),
	[PULL_DESCRIPTORS] =
		HISTOGRAM("vllm:nixl_num_descriptors", DECODE_ENGINE, 1, descriptor_bounds),
	[PULL_FAILED] = COUNTER("vllm:nixl_num_failed_transfers_total", DECODE_ENGINE, 1),
	[FAILED_NOTIFICATIONS] =
		COUNTER("vllm:nixl_num_failed_notifications_total", DECODE_ENGINE, 1),
	[EXPIRED_REQUESTS] = COUNTER("vllm:nixl_num_kv_expired_reqs_total", PREFILL_ENGINE, 1),
};

static void add(struct totals *totals, enum family_id id, uint64_t value)
{
	const struct family *family = &families[id];

	totals->sum[id] += value;
	if (!family->bound_count)
		return;
	uint32_t i = 0;
	while (i < family->bound_count && value > family->bounds[i])
		i++;
	totals->bucket[id][i]++;
	totals->count[id]++;
}

static void apply_pull(struct totals *totals, const struct event *event)
{
	if (event->status) {
		add(totals, PULL_FAILED, 1);
		return;
	}
	add(totals, PULL_TIME, event->duration_ns);
	add(totals, PULL_POST_TIME, event->submit_ns);
	add(totals, PULL_BYTES, event->bytes);
	add(totals, PULL_DESCRIPTORS, event->descriptors);
}

void totals_apply(struct totals *totals, const struct event *event)
{
	switch (event->kind) {
	case EVENT_STORE:
		add(totals, STORE_BYTES, event->bytes);
		add(totals, STORE_TIME, event->duration_ns);
		add(totals, STORE_SIZE, event->bytes);
		break;
	case EVENT_LOAD:
		add(totals, LOAD_BYTES, event->bytes);
		add(totals, LOAD_TIME, event->duration_ns);
		add(totals, LOAD_SIZE, event->bytes);
		break;
	case EVENT_PULL:
		apply_pull(totals, event);
		break;
	case EVENT_FAILED_NOTIFICATION:
		add(totals, FAILED_NOTIFICATIONS, 1);
		break;
	case EVENT_EXPIRED_REQUEST:
		add(totals, EXPIRED_REQUESTS, 1);
		break;
	case EVENT_KINDS:
		break;
	}
}

void totals_add(struct totals *totals, const struct totals *other)
{
	for (int id = 0; id < FAMILY_COUNT; id++) {
		totals->sum[id] += other->sum[id];
		totals->count[id] += other->count[id];
		for (int i = 0; i < BUCKETS_MAX; i++)
			totals->bucket[id][i] += other->bucket[id][i];
	}
}

uint32_t totals_cells(void)
{
	uint32_t cells = 0;

	for (int id = 0; id < FAMILY_COUNT; id++)
		cells += families[id].bound_count ? families[id].bound_count + 3 : 1;
	return cells;
}
