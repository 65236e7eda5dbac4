/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_target.c - what is recorded to: a tap, who is at its other end, and plain memory beside it
 */
#include "record_target.h"

#include <stdio.h>
#include <stdlib.h>

#define PERIOD_NS 1000000

/* ---- declaring ---- */

static uint32_t declare_family(struct kvtap *tap, const char *name, enum kvtap_metric metric,
			       size_t bound_count)
{
	static const double bounds[] = {
		1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 100e6, 150e6, 200e6
	};
	static const char *const label[] = { "peer" };
	uint32_t id;
	int rc = kvtap_family_declare(tap, &id,
				      &(struct kvtap_family){ .name = name,
							      .metric = metric,
							      .label_names = label,
							      .label_count = 1,
							      .bounds = bounds,
							      .bound_count = bound_count });

	if (rc < 0)
		bench_fail("declare a family", rc);
	return id;
}

/* One kind, shaped like vLLM's offload, with a label. */
static void declare_many(struct kvtap *tap, uint32_t series[RECORD_SERIES])
{
	static const char *const label[] = { "peer" };
	const struct kvtap_feed feeds[] = {
		{ declare_family(tap, "bytes", KVTAP_COUNTER, 0), KVTAP_FIELD_BYTES, 0, NULL },
		{ declare_family(tap, "time", KVTAP_COUNTER, 0), KVTAP_FIELD_DURATION, 0, NULL },
		{ declare_family(tap, "size", KVTAP_HISTOGRAM, 10), KVTAP_FIELD_BYTES, 0, NULL },
	};
	uint32_t kind;
	int rc = kvtap_kind_declare(tap, &kind,
				    &(struct kvtap_kind){ .name = "many",
							  .label_names = label,
							  .label_count = 1,
							  .feeds = feeds,
							  .feed_count = 3 });

	for (int i = 0; i < RECORD_SERIES && rc == 0; i++) {
		char text[12];
		const char *value[] = { text };

		snprintf(text, sizeof(text), "%d", i);
		rc = kvtap_kind_series(tap, &series[i], kind, value, 1);
	}
	if (rc < 0)
		bench_fail("declare a kind", rc);
}

static uint32_t declare_one(struct kvtap *tap, enum record_kind kind)
{
	static const char *const value[] = { "0" };
	uint32_t family, id;
	int rc;

	if (kind == RECORD_OFFLOAD || kind == RECORD_NIXL) {
		rc = kvtap_builtin(tap, &id,
				   kind == RECORD_NIXL ? KVTAP_NIXL_TRANSFER : KVTAP_OFFLOAD_LOAD,
				   NULL);
	} else {
		enum kvtap_metric metric = kind == RECORD_COUNTER ? KVTAP_COUNTER
					   : kind == RECORD_GAUGE ? KVTAP_GAUGE
								  : KVTAP_HISTOGRAM;

		family = declare_family(tap, "value", metric, metric == KVTAP_HISTOGRAM ? 10 : 0);
		rc = kvtap_family_series(tap, &id, family, value, 1);
	}
	if (rc < 0)
		bench_fail("declare a series", rc);
	return id;
}

static void declare(struct record_target *target)
{
	if (target->kind == RECORD_MANY) {
		declare_many(target->collector.tap, target->series);
		return;
	}
	target->series[0] = declare_one(target->collector.tap, target->kind);
	for (int i = 1; i < RECORD_SERIES; i++)
		target->series[i] = target->series[0];
}

/* ---- reading ---- */

static void read_memory(struct record_target *target, struct record_memory *memory)
{
	uint64_t published = atomic_load_explicit(&memory->published, memory_order_acquire);

	for (; memory->tail < published; memory->tail++)
		target->copy[memory->tail % RECORD_SLOTS] =
			memory->slot[memory->tail % RECORD_SLOTS];
}

static void read_all(void *arg)
{
	struct record_target *target = arg;

	for (uint32_t i = 0; i < target->threads; i++)
		read_memory(target, &target->memory[i]);
	collector_drain(&target->collector);
}

void record_target_wait(struct record_target *target)
{
	if (target->end == RECORD_DRAINED)
		bench_timer_wait(&target->timer);
}

/* ---- open and close ---- */

static bool has_segment(const struct record_target *target)
{
	return target->end == RECORD_DRAINED || target->end == RECORD_FULL;
}

static void open_tap(struct record_target *target)
{
	struct kvtap_options options = { .ring_slots = RECORD_SLOTS, .clock = target->clock };
	const struct kvtap_options nowhere = { .dir = "/proc/kvtap-bench" };

	target->collector.tap = NULL;
	if (has_segment(target)) {
		collector_open_options(&target->collector, &options);
		declare(target);
	} else if (target->end == RECORD_DISABLED) {
		setenv("KVTAP_DISABLE", "1", 1);
		kvtap_open(&target->collector.tap, NULL);
	} else if (target->end == RECORD_UNOPENED) {
		unsetenv("KVTAP_DISABLE");
		unsetenv("KVTAP_DIR");
		if (kvtap_open(&target->collector.tap, &nowhere) == 0)
			bench_fail("a tap that must not open did", 22);
	}
}

static void clear_memory(struct record_memory *memory)
{
	if (!memory->slot)
		memory->slot = bench_allocate(RECORD_SLOTS * sizeof(*memory->slot));
	memory->head = memory->tail = 0;
	atomic_store_explicit(&memory->published, 0, memory_order_relaxed); /* no reader yet */
}

void record_target_open(struct record_target *target)
{
	for (int i = 0; i < RECORD_SERIES; i++)
		target->series[i] = 1;
	for (uint32_t i = 0; i < target->threads; i++)
		clear_memory(&target->memory[i]);
	open_tap(target);
	target->timer = (struct bench_timer){
		.call = read_all,
		.arg = target,
		.period_ns = PERIOD_NS,
		.cpu = bench_cpus() - 1,
	};
	if (target->end == RECORD_DRAINED)
		bench_timer_start(&target->timer);
}

struct record_producer record_target_producer(struct record_target *target, uint32_t index)
{
	struct kvtap *tap = target->collector.tap;

	return (struct record_producer){
		.tap = tap,
		.ring = tap ? kvtap_ring(tap) : NULL,
		.series = target->series,
		.memory = &target->memory[index],
		.now_ns = bench_now_ns(),
	};
}

/* Everything recorded has arrived. */
static void close_segment(struct record_target *target, struct record_balance *balance)
{
	struct collector *collector = &target->collector;
	bool transfers = target->kind == RECORD_OFFLOAD || target->kind == RECORD_NIXL ||
			 target->kind == RECORD_MANY;

	if (target->end == RECORD_DRAINED)
		bench_timer_stop(&target->timer);
	collector_drain(collector);
	collector_fold(collector);
	balance->drained = collector->drained;
	balance->folded = collector->folded;
	balance->wrong |=
		collector->wrong || balance->drained + balance->folded != balance->recorded ||
		(target->end == RECORD_DRAINED && balance->folded) ||
		(transfers && collector->drained_bytes + collector->folded_bytes != balance->bytes);
	collector_close(collector);
}

void record_target_close(struct record_target *target, struct record_balance *balance)
{
	uint64_t ignored = target->end == RECORD_UNOPENED ? balance->recorded : 0;
	struct kvtap_stats stats = { 0 };

	kvtap_stats(target->collector.tap, &stats);
	balance->wrong |=
		stats.lost_records || stats.refused_records || stats.ignored_calls != ignored;
	if (has_segment(target)) {
		close_segment(target, balance);
		return;
	}
	balance->drained = balance->recorded; /* nowhere, as it was meant */
	kvtap_close(target->collector.tap);
}

void record_balance_add(struct record_balance *sum, const struct record_balance *balance)
{
	sum->recorded += balance->recorded;
	sum->bytes += balance->bytes;
	sum->drained += balance->drained;
	sum->folded += balance->folded;
	sum->wrong |= balance->wrong;
}

void record_target_free(struct record_target *target)
{
	for (int i = 0; i < RECORD_THREADS; i++)
		free(target->memory[i].slot);
}
