/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_record.c - what does recording cost the thread that records?
 *
 * Each case is a way to record, a number of threads, and what is at the other end: a reader that
 * drains every millisecond from the last CPU, nobody (rings are full and records are folded), a tap
 * that is switched off, one that could not be opened. The floor of a case is the same number of
 * 64-byte lines, written under the same conditions by plain stores into memory as large as a ring.
 * Cases take turns in each round, so that what else runs on the machine meets all of them alike.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "collector.h"

#define ROUNDS 9
#define BURSTS 60 /* that are measured, a round and thread */
#define WARM_UP 6
#define SLOTS 4096
#define BURST 2048 /* half a ring, so that it never fills while a reader drains */
#define SERIES 256
#define THREADS_MAX 8
#define PERIOD_NS 1000000

enum target {
	READ,	  /* memory that another core reads every millisecond */
	ALONE,	  /* memory that nobody reads */
	DRAINED,  /* a tap whose reader drains every millisecond */
	FULL,	  /* a tap that nobody reads: every record is folded */
	DISABLED, /* a tap that is switched off */
	UNOPENED, /* a tap that could not be opened */
};

enum series { OFFLOAD, NIXL, MANY, COUNTER, GAUGE, HISTOGRAM };

/* Memory that is written like a ring, without any of its rules but publication for the reader. */
struct memory {
	struct kvtap_transfer *slot; /* [SLOTS] */
	uint64_t head, tail;
	_Atomic(uint64_t) published;
};

struct producer;

struct mode {
	const char *name;
	uint32_t threads;
	enum target target;
	enum series series;
	void (*burst)(struct producer *producer, uint32_t count);
};

struct result {
	struct bench_samples samples;
	uint64_t recorded, drained, folded;
	bool wrong;
};

struct run {
	const struct mode *mode;
	struct collector collector; /* its tap for DISABLED and UNOPENED too */
	struct bench_timer timer;
	uint32_t series[SERIES];
	pthread_barrier_t start;
	struct kvtap_transfer copy[SLOTS];
};

struct producer {
	struct run *run;
	struct kvtap *tap;
	struct kvtap_ring *ring;
	struct memory memory;
	pthread_t thread;
	uint32_t index;
	uint64_t now_ns;
	uint64_t recorded, bytes;
	double sample[BURSTS];
};

static struct run run;
static struct producer producers[THREADS_MAX];

/* ---- ways to record ---- */

/* As a connector would: what differs from one transfer to the next is written before the call. */
static inline void fill(struct producer *producer, struct kvtap_transfer *transfer, uint32_t i)
{
	transfer->series = run.series[i % SERIES];
	transfer->end_ns = producer->now_ns + i;
	transfer->duration_ns = 1000000 + i * 100000;
	transfer->submit_ns = 20000 + i;
	transfer->bytes = 4096 * (uint64_t)(1 + i);
	transfer->descriptors = 1 + i;
	transfer->request_id = i;
	producer->bytes += transfer->bytes;
}

static void store_plainly(struct producer *producer, uint32_t count)
{
	struct memory *memory = &producer->memory;

	for (uint32_t i = 0; i < count; i++)
		fill(producer, &memory->slot[memory->head++ % SLOTS], i);
	atomic_store(&memory->published, memory->head);
}

static void record_by_handle(struct producer *producer, uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		fill(producer, &transfer, i);
		kvtap_ring_transfer(producer->ring, &transfer);
	}
}

static void record_by_thread(struct producer *producer, uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		fill(producer, &transfer, i);
		kvtap_transfer(producer->tap, &transfer);
	}
}

static void record_with_clock(struct producer *producer, uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		fill(producer, &transfer, i);
		transfer.end_ns = 0;
		kvtap_ring_transfer(producer->ring, &transfer);
	}
}

static inline void record_batches(struct producer *producer, uint32_t count, uint32_t batch)
{
	struct kvtap_transfer transfer[32] = { 0 };

	for (uint32_t i = 0; i < count; i += batch) {
		for (uint32_t j = 0; j < batch; j++)
			fill(producer, &transfer[j], i + j);
		kvtap_ring_transfers(producer->ring, transfer, batch);
	}
}

static void record_batches_of_8(struct producer *producer, uint32_t count)
{
	record_batches(producer, count, 8);
}

static void record_batches_of_32(struct producer *producer, uint32_t count)
{
	record_batches(producer, count, 32);
}

static void add(struct producer *producer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		kvtap_ring_add(producer->ring, run.series[0], i);
}

static void set(struct producer *producer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		kvtap_ring_set(producer->ring, run.series[0], i);
}

static void observe(struct producer *producer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		kvtap_ring_observe(producer->ring, run.series[0], i);
}

static void read_clock(struct producer *producer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		producer->now_ns = bench_now_ns();
}

/* Floors first. The order of the others is that of the table in README.md. */
static const struct mode modes[] = {
	{ "floor_read", 1, READ, OFFLOAD, store_plainly },
	{ "floor_read", 2, READ, OFFLOAD, store_plainly },
	{ "floor_alone", 1, ALONE, OFFLOAD, store_plainly },
	{ "floor_alone", 8, ALONE, OFFLOAD, store_plainly },
	{ "handle", 1, DRAINED, OFFLOAD, record_by_handle },
	{ "handle", 2, DRAINED, OFFLOAD, record_by_handle },
	{ "thread_found", 1, DRAINED, OFFLOAD, record_by_thread },
	{ "thread_found", 2, DRAINED, OFFLOAD, record_by_thread },
	{ "batch_8", 1, DRAINED, OFFLOAD, record_batches_of_8 },
	{ "batch_32", 1, DRAINED, OFFLOAD, record_batches_of_32 },
	{ "clock_alone", 1, ALONE, OFFLOAD, read_clock },
	{ "handle_clock", 1, DRAINED, OFFLOAD, record_with_clock },
	{ "counter_add", 1, DRAINED, COUNTER, add },
	{ "gauge_set", 1, DRAINED, GAUGE, set },
	{ "histogram_observe", 1, DRAINED, HISTOGRAM, observe },
	{ "full_offload", 1, FULL, OFFLOAD, record_by_handle },
	{ "full_nixl", 1, FULL, NIXL, record_by_handle },
	{ "full_256_series", 8, FULL, MANY, record_by_thread },
	{ "disabled", 1, DISABLED, OFFLOAD, record_by_thread },
	{ "unopened", 1, UNOPENED, OFFLOAD, record_by_thread },
};

#define MODES (sizeof(modes) / sizeof(modes[0]))

static struct result results[MODES];

/* ---- what is recorded to ---- */

static uint32_t declare_family(const char *name, enum kvtap_metric metric, size_t bound_count)
{
	static const double bounds[] = {
		1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 100e6, 150e6, 200e6
	};
	static const char *const label[] = { "peer" };
	uint32_t id;
	int rc = kvtap_family_declare(run.collector.tap, &id,
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
static void declare_many(void)
{
	static const char *const label[] = { "peer" };
	const struct kvtap_feed feeds[] = {
		{ declare_family("bytes", KVTAP_COUNTER, 0), KVTAP_FIELD_BYTES, 0, NULL },
		{ declare_family("time", KVTAP_COUNTER, 0), KVTAP_FIELD_DURATION, 0, NULL },
		{ declare_family("size", KVTAP_HISTOGRAM, 10), KVTAP_FIELD_BYTES, 0, NULL },
	};
	uint32_t kind;
	int rc = kvtap_kind_declare(run.collector.tap, &kind,
				    &(struct kvtap_kind){ .name = "many",
							  .label_names = label,
							  .label_count = 1,
							  .feeds = feeds,
							  .feed_count = 3 });

	for (int i = 0; i < SERIES && rc == 0; i++) {
		char text[8];
		const char *value[] = { text };

		snprintf(text, sizeof(text), "%d", i);
		rc = kvtap_kind_series(run.collector.tap, &run.series[i], kind, value, 1);
	}
	if (rc < 0)
		bench_fail("declare a kind", rc);
}

static uint32_t declare_one(enum series series)
{
	static const char *const value[] = { "0" };
	uint32_t family, id;
	int rc;

	if (series == OFFLOAD || series == NIXL) {
		rc = kvtap_builtin(run.collector.tap, &id,
				   series == NIXL ? KVTAP_NIXL_TRANSFER : KVTAP_OFFLOAD_LOAD, NULL);
	} else {
		enum kvtap_metric metric = series == COUNTER ? KVTAP_COUNTER
					   : series == GAUGE ? KVTAP_GAUGE
							     : KVTAP_HISTOGRAM;

		family = declare_family("value", metric, metric == KVTAP_HISTOGRAM ? 10 : 0);
		rc = kvtap_family_series(run.collector.tap, &id, family, value, 1);
	}
	if (rc < 0)
		bench_fail("declare a series", rc);
	return id;
}

static void declare(enum series series)
{
	if (series == MANY) {
		declare_many();
		return;
	}
	run.series[0] = declare_one(series);
	for (int i = 1; i < SERIES; i++)
		run.series[i] = run.series[0];
}

static void read_memory(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < run.mode->threads; i++) {
		struct memory *memory = &producers[i].memory;
		uint64_t published = atomic_load(&memory->published);

		for (; memory->tail < published; memory->tail++)
			run.copy[memory->tail % SLOTS] = memory->slot[memory->tail % SLOTS];
	}
}

static void open_target(void)
{
	const struct kvtap_options nowhere = { .dir = "/proc/kvtap-bench" };

	for (int i = 0; i < SERIES; i++)
		run.series[i] = 1;
	switch (run.mode->target) {
	case DRAINED:
	case FULL:
		collector_open(&run.collector, SLOTS);
		declare(run.mode->series);
		break;
	case DISABLED:
		setenv("KVTAP_DISABLE", "1", 1);
		kvtap_open(&run.collector.tap, NULL);
		break;
	case UNOPENED:
		unsetenv("KVTAP_DISABLE");
		unsetenv("KVTAP_DIR");
		if (kvtap_open(&run.collector.tap, &nowhere) == 0)
			bench_fail("a tap that must not open did", 22);
		break;
	default:
		break;
	}
}

/* ---- one case in one round ---- */

static bool has_reader(void)
{
	return run.mode->target == READ || run.mode->target == DRAINED;
}

static double time_burst(struct producer *producer)
{
	uint64_t began_ns = producer->now_ns = bench_now_ns();
	uint64_t took_ns;

	run.mode->burst(producer, BURST);
	took_ns = bench_now_ns() - began_ns;
	producer->recorded += BURST;
	if (has_reader())
		bench_timer_wait(&run.timer);
	return (double)took_ns / BURST;
}

static void *produce(void *arg)
{
	struct producer *producer = arg;

	bench_pin(producer->index);
	if (producer->tap)
		producer->ring = kvtap_ring(producer->tap);
	for (uint32_t i = 0; i < WARM_UP; i++)
		time_burst(producer);
	pthread_barrier_wait(&run.start);
	for (uint32_t i = 0; i < BURSTS; i++)
		producer->sample[i] = time_burst(producer);
	return NULL;
}

/* Before the timer starts, which looks at all of them. */
static void prepare_producer(uint32_t index)
{
	struct producer *producer = &producers[index];
	struct kvtap_transfer *slot = producer->memory.slot;

	*producer = (struct producer){ .run = &run, .tap = run.collector.tap, .index = index };
	producer->memory.slot = slot ? slot : bench_allocate(SLOTS * sizeof(*slot));
}

static void start_producer(struct producer *producer)
{
	int rc = pthread_create(&producer->thread, NULL, produce, producer);

	if (rc)
		bench_fail("start a thread", rc);
}

/* Everything recorded has arrived, or was counted where the target says. */
static void check(struct result *result, uint64_t recorded, uint64_t bytes)
{
	const struct mode *mode = run.mode;
	struct collector *collector = &run.collector;
	struct kvtap_stats stats = { 0 };
	bool transfers = mode->series == OFFLOAD || mode->series == NIXL || mode->series == MANY;
	uint64_t ignored = mode->target == UNOPENED ? recorded : 0;

	kvtap_stats(collector->tap, &stats);
	result->wrong |=
		stats.lost_records || stats.refused_records || stats.ignored_calls != ignored;
	if (mode->target == DRAINED || mode->target == FULL) {
		collector_drain(collector);
		collector_fold(collector);
		result->drained += collector->drained;
		result->folded += collector->folded;
		result->wrong |=
			collector->wrong || collector->drained + collector->folded != recorded ||
			(mode->target == DRAINED && collector->folded) ||
			(transfers && collector->drained_bytes + collector->folded_bytes != bytes);
		collector_close(collector);
	} else {
		result->drained += recorded;
		kvtap_close(collector->tap);
	}
	result->recorded += recorded;
	collector->tap = NULL;
}

static void run_mode(const struct mode *mode, struct result *result)
{
	uint64_t recorded = 0, bytes = 0;

	run.mode = mode;
	open_target();
	pthread_barrier_init(&run.start, NULL, mode->threads);
	run.timer = (struct bench_timer){
		.call = mode->target == READ ? read_memory : collector_drain,
		.arg = &run.collector,
		.period_ns = PERIOD_NS,
		.cpu = bench_cpus() - 1,
	};
	for (uint32_t i = 0; i < mode->threads; i++)
		prepare_producer(i);
	if (has_reader())
		bench_timer_start(&run.timer);
	for (uint32_t i = 0; i < mode->threads; i++)
		start_producer(&producers[i]);
	for (uint32_t i = 0; i < mode->threads; i++) {
		pthread_join(producers[i].thread, NULL);
		recorded += producers[i].recorded;
		bytes += producers[i].bytes;
		for (uint32_t j = 0; j < BURSTS; j++)
			bench_samples_add(&result->samples, producers[i].sample[j]);
	}
	if (has_reader())
		bench_timer_stop(&run.timer);
	pthread_barrier_destroy(&run.start);
	check(result, recorded, bytes);
}

/* ---- results ---- */

static double floor_of(const struct mode *mode)
{
	bool read = mode->target == READ || mode->target == DRAINED;

	for (size_t i = 0; i < MODES; i++)
		if (modes[i].burst == store_plainly && modes[i].threads == mode->threads &&
		    (modes[i].target == READ) == read)
			return bench_percentile(&results[i].samples, 50);
	return 0;
}

static void print_mode(const struct mode *mode, struct result *result)
{
	double p50 = bench_percentile(&result->samples, 50);
	double floor_ns = floor_of(mode);

	printf("bench=record mode=%s threads=%u ops=%llu ns_per_op_p50=%.2f ns_per_op_p99=%.2f "
	       "floor_ns=%.2f ratio=%.2f folded=%llu lost=%lld check=%s\n",
	       mode->name, mode->threads, (unsigned long long)result->samples.count * BURST, p50,
	       bench_percentile(&result->samples, 99), floor_ns, p50 / floor_ns,
	       (unsigned long long)result->folded,
	       (long long)(result->recorded - result->drained - result->folded),
	       result->wrong ? "failed" : "ok");
}

int main(void)
{
	bool wrong = false;

	bench_environment();
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < MODES; i++)
			run_mode(&modes[i], &results[i]);
	for (size_t i = 0; i < MODES; i++) {
		print_mode(&modes[i], &results[i]);
		wrong |= results[i].wrong;
	}
	for (size_t i = 0; i < MODES; i++)
		bench_samples_free(&results[i].samples);
	for (int i = 0; i < THREADS_MAX; i++)
		free(producers[i].memory.slot);
	return wrong;
}
