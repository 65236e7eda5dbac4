/* SPDX-License-Identifier: Apache-2.0 */
/*
 * growth_record.c - what recording costs with more threads, series, label sets and ring slots
 *
 * In this process, with a reader of its own: what it takes is compared with what was recorded. Time is
 * CPU time of the thread that records, so that threads without a CPU of their own count no waiting.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"
#include "collector.h"
#include "crowd.h"
#include "growth.h"
#include "scraper.h"
#include "server.h"
#include "workers.h"

#define ROUNDS 3
#define BURSTS 20
#define BURST 2048u /* half a ring */
#define FOLD_SLOTS 16u
#define FOLD_OVERFLOW (1u << 20) /* for all blocks of SERIES_MAX */
#define SERIES_MAX 1024u
#define THREADS_MAX 64u
#define PACE_NS 100000 /* of bursts into a ring that is read by a timer */
#define PACE_BURST 64u
#define PACE_BURSTS 2000u

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- series of a kind that feeds 2 counters and a histogram, as offload's does ---- */

static uint32_t declare_family(struct kvtap *tap, const char *name, enum kvtap_metric metric)
{
	static const double bounds[] = { 1e6, 5e6, 1e7, 2e7, 4e7, 6e7, 8e7, 1e8, 1.5e8, 2e8 };
	static const char *const label[] = { "shard" };
	uint32_t id;
	int rc = kvtap_family_declare(tap, &id,
				      &(struct kvtap_family){
					      .name = name,
					      .metric = metric,
					      .label_names = label,
					      .label_count = 1,
					      .bounds = bounds,
					      .bound_count = metric == KVTAP_HISTOGRAM ? 10 : 0 });

	if (rc < 0)
		bench_fail("declare a family", rc);
	return id;
}

static uint32_t declare_kind(struct kvtap *tap)
{
	static const char *const label[] = { "shard" };
	const struct kvtap_feed feeds[] = {
		{ declare_family(tap, "growth_bytes", KVTAP_COUNTER), KVTAP_FIELD_BYTES, 0, NULL },
		{ declare_family(tap, "growth_time", KVTAP_COUNTER), KVTAP_FIELD_DURATION, 0,
		  NULL },
		{ declare_family(tap, "growth_size", KVTAP_HISTOGRAM), KVTAP_FIELD_BYTES, 0, NULL },
	};
	uint32_t kind;
	int rc = kvtap_kind_declare(tap, &kind,
				    &(struct kvtap_kind){ .name = "growth",
							  .label_names = label,
							  .label_count = 1,
							  .feeds = feeds,
							  .feed_count = 3 });

	if (rc < 0)
		bench_fail("declare a kind", rc);
	return kind;
}

/* Each label set is a series of the kind; in time, ns for one of them. */
static double declare_series(struct kvtap *tap, uint32_t *series, uint32_t count)
{
	uint32_t kind = declare_kind(tap);
	uint64_t began_ns = cpu_ns();

	for (uint32_t i = 0; i < count; i++) {
		char text[12];
		const char *const value[] = { text };

		snprintf(text, sizeof(text), "%06u", i);
		int rc = kvtap_kind_series(tap, &series[i], kind, value, 1);
		if (rc < 0)
			bench_fail("declare a series", rc);
	}
	return (double)(cpu_ns() - began_ns) / count;
}

/* ---- rings with room ---- */

static struct run {
	struct collector collector;
	uint32_t series[SERIES_MAX], series_count;
	uint32_t threads;
	pthread_barrier_t begin, end; /* of a burst, with who drains between them */
} run;

struct writer {
	pthread_t thread;
	uint32_t cpu;
	double ns[BURSTS]; /* a record */
};

static void record(struct kvtap *tap, uint64_t first, uint32_t count)
{
	struct kvtap_transfer transfer = { .end_ns = 1, .duration_ns = 50000, .bytes = 65536 };

	for (uint32_t i = 0; i < count; i++) {
		transfer.series = run.series[(first + i) & (run.series_count - 1)];
		kvtap_transfer(tap, &transfer);
	}
}

static void *write_bursts(void *arg)
{
	struct writer *writer = arg;

	bench_pin(writer->cpu);
	for (int i = 0; i < BURSTS; i++) {
		pthread_barrier_wait(&run.begin);
		uint64_t began_ns = cpu_ns();
		record(run.collector.tap, 0, BURST);
		writer->ns[i] = (double)(cpu_ns() - began_ns) / BURST;
		pthread_barrier_wait(&run.end);
	}
	return NULL;
}

static void start_writers(struct writer *writers)
{
	pthread_barrier_init(&run.begin, NULL, run.threads + 1);
	pthread_barrier_init(&run.end, NULL, run.threads + 1);
	for (uint32_t i = 0; i < run.threads; i++) {
		writers[i].cpu = bench_cpus() > 1 ? i % (bench_cpus() - 1) : 0;
		int rc = pthread_create(&writers[i].thread, NULL, write_bursts, &writers[i]);
		if (rc)
			bench_fail("start a thread", rc);
	}
}

static void end_writers(struct writer *writers, struct growth *growth, size_t index)
{
	for (uint32_t i = 0; i < run.threads; i++) {
		pthread_join(writers[i].thread, NULL);
		for (int burst = 1; burst < BURSTS; burst++) /* the first touches the memory */
			growth_add(growth, index, writers[i].ns[burst]);
	}
	pthread_barrier_destroy(&run.begin);
	pthread_barrier_destroy(&run.end);
}

/* So many threads write bursts, the reader takes each. */
static void time_records(struct growth *growth, struct growth *taken, size_t index,
			 uint32_t threads, uint32_t series)
{
	static struct writer writers[THREADS_MAX];

	collector_open(&run.collector, 0);
	run.threads = threads;
	run.series_count = series;
	declare_series(run.collector.tap, run.series, series);
	bench_pin(bench_cpus() - 1); /* what is written was always read by another core */
	start_writers(writers);
	for (int i = 0; i < BURSTS; i++) {
		pthread_barrier_wait(&run.begin);
		pthread_barrier_wait(&run.end);
		uint64_t began_ns = cpu_ns();
		collector_drain(&run.collector);
		growth_add(taken, index, (double)(cpu_ns() - began_ns) / ((double)BURST * threads));
	}
	end_writers(writers, growth, index);
	growth->wrong |=
		run.collector.wrong || run.collector.drained != (uint64_t)threads * BURSTS * BURST;
	collector_close(&run.collector);
}

bool growth_of_threads(void)
{
	static const double size[] = { 1, 2, 4, 16, THREADS_MAX };
	struct growth growth = GROWTH("threads", "record_ns", 0, size);
	struct growth taken = GROWTH("threads", "take_ns", 0, size);

	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < growth.sizes; i++)
			time_records(&growth, &taken, i, (uint32_t)size[i], 1);
	return growth_end(&growth) | growth_end(&taken);
}

bool growth_of_series(void)
{
	static const double size[] = { 1, 4, 16, 64, 256, SERIES_MAX };
	struct growth growth = GROWTH("series", "record_ns", 0, size);
	struct growth taken = GROWTH("series", "take_ns", 0, size);

	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < growth.sizes; i++)
			time_records(&growth, &taken, i, 1, (uint32_t)size[i]);
	return growth_end(&growth) | growth_end(&taken);
}

/* ---- a ring that is full ---- */

/* An exporter that comes afterwards finds the ring and the blocks. */
static bool all_arrived(const char *dir, uint64_t recorded)
{
	struct server exporter;

	server_exporter(&exporter, dir);
	struct scraper scraper = { .port = exporter.port };
	char *page = scraper_page(&scraper, NULL);
	double drained = page_value(page, "kvtap_records_drained_total"),
	       folded = page_value(page, "kvtap_records_folded_total");
	free(page);
	scraper_close(&scraper);
	server_stop(&exporter);
	return drained == FOLD_SLOTS && drained + folded == (double)recorded;
}

static void time_folds(struct growth *growth, size_t index, uint32_t series)
{
	const char *dir = workers_folder();
	uint64_t recorded = FOLD_SLOTS + series;
	struct kvtap *tap;
	int rc = kvtap_open(&tap, &(struct kvtap_options){ .dir = dir,
							   .ring_slots = FOLD_SLOTS,
							   .overflow_bytes = FOLD_OVERFLOW });

	if (rc < 0)
		bench_fail("open a tap", rc);
	run.series_count = series;
	declare_series(tap, run.series, series);
	record(tap, 0, (uint32_t)recorded); /* until each has its block */
	for (int i = 0; i < BURSTS; i++) {
		uint64_t began_ns = cpu_ns();
		record(tap, recorded, BURST);
		growth_add(growth, index, (double)(cpu_ns() - began_ns) / BURST);
		recorded += BURST;
	}
	growth->wrong |= !all_arrived(dir, recorded);
	kvtap_close(tap);
	workers_remove();
}

bool growth_of_folds(void)
{
	static const double size[] = { 1, 4, 16, 64, 256, SERIES_MAX };
	struct growth growth = GROWTH("series", "fold_ns", 0, size);

	bench_pin(0);
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < growth.sizes; i++)
			time_folds(&growth, i, (uint32_t)size[i]);
	return growth_end(&growth);
}

/* ---- label sets ---- */

bool growth_of_label_sets(void)
{
	static const double size[] = { 10, 100, 1000, 10000, 60000 };
	struct growth growth = GROWTH("label_sets", "declare_ns", 0, size);
	uint32_t *series = bench_allocate(60000 * sizeof(*series));
	enum kvtap_reject why;

	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < growth.sizes; i++) {
			uint32_t count = (uint32_t)size[i];

			collector_open(&run.collector, 0);
			growth_add(&growth, i, declare_series(run.collector.tap, series, count));
			growth.wrong |= kvtap_reader_refresh(run.collector.reader, &why) < 0 ||
					kvtap_reader_series_count(run.collector.reader) != count;
			collector_close(&run.collector);
		}
	free(series);
	return growth_end(&growth);
}

/* ---- ring size ---- */

/* The reader comes once a millisecond, so small rings fold. */
static void time_ring(struct growth *growth, struct growth *bytes, size_t index, uint32_t slots)
{
	uint64_t next_ns, recorded = 0;

	bench_pin(0);

	collector_open(&run.collector, slots);
	run.series_count = 1;
	declare_series(run.collector.tap, run.series, 1);
	for (uint32_t i = 0; i < slots; i += BURST) { /* until all of it was written once */
		record(run.collector.tap, 0, BURST);
		collector_drain(&run.collector);
		recorded += BURST;
	}
	struct bench_timer timer = {
		.call = collector_drain, .arg = &run.collector, .period_ns = 1000000, .cpu = 1
	};
	bench_timer_start(&timer);
	next_ns = bench_now_ns();
	for (uint32_t i = 0; i < PACE_BURSTS; i++) {
		while (bench_now_ns() < next_ns)
			;
		uint64_t began_ns = bench_now_ns();
		record(run.collector.tap, 0, PACE_BURST);
		growth_add(growth, index, (double)(bench_now_ns() - began_ns) / PACE_BURST);
		recorded += PACE_BURST;
		next_ns += PACE_NS;
	}
	const struct kvtap_identity *identity = kvtap_reader_identity(run.collector.reader);
	growth_add(bytes, index,
		   KVTAP_RING_RECORDS + slots * sizeof(struct kvtap_record) +
			   identity->overflow_bytes);
	bench_timer_wait(&timer);
	bench_timer_stop(&timer);
	collector_fold(&run.collector);
	growth->wrong |=
		run.collector.wrong || run.collector.drained + run.collector.folded != recorded;
	collector_close(&run.collector);
}

bool growth_of_rings(void)
{
	static const double size[] = { 16, 256, 4096, 65536, 1 << 20 };
	struct growth growth = GROWTH("ring_slots", "record_ns", 0, size);
	struct growth bytes = GROWTH("ring_slots", "shared_bytes", 1, size);

	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < growth.sizes; i++)
			time_ring(&growth, &bytes, i, (uint32_t)size[i]);
	return growth_end(&growth) | growth_end(&bytes);
}
