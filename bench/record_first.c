/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_first.c - what a tap costs to open, a thread its first record, and both in shared memory
 *
 * One tap with default options a round. Threads record one after the other; the first half of them
 * stays until all have, so that each makes a ring, and the second half finds those rings free.
 */
#include "record_first.h"

#include <stdio.h>

#include "bench.h"
#include "collector.h"

#define THREADS 8    /* that make a ring, and as many that take one over */
#define FOLLOWING 16 /* records after the first, timed together */
#define BYTES 4096

struct first {
	struct bench_samples first_us, next_ns;
};

static struct {
	struct bench_samples open_ms;
	struct first made, adopted;
	struct bench_samples process_bytes, thread_bytes;
	uint64_t recorded, drained, folded;
	bool wrong;
} result;

static struct {
	struct collector collector;
	uint32_t series;
	pthread_mutex_t turn;
	pthread_barrier_t all; /* have recorded */
	struct first *first;
	double clock_ns;
} run;

/* ---- threads ---- */

static uint64_t record(struct kvtap *tap, uint32_t count)
{
	struct kvtap_transfer transfer = { .series = run.series,
					   .duration_ns = 1000000,
					   .bytes = BYTES };
	uint64_t began_ns = bench_now_ns();

	transfer.end_ns = began_ns;
	for (uint32_t i = 0; i < count; i++)
		kvtap_transfer(tap, &transfer);
	return bench_now_ns() - began_ns;
}

static void *produce(void *arg)
{
	struct kvtap *tap = run.collector.tap;
	uint64_t first_ns, next_ns;

	(void)arg;
	bench_pin(0);
	pthread_mutex_lock(&run.turn);
	first_ns = record(tap, 1);
	next_ns = record(tap, FOLLOWING);
	bench_samples_add(&run.first->first_us, (double)first_ns / 1000);
	bench_samples_add(&run.first->next_ns, ((double)next_ns - run.clock_ns) / FOLLOWING);
	pthread_mutex_unlock(&run.turn);
	pthread_barrier_wait(&run.all);
	return NULL;
}

static void run_threads(struct first *first)
{
	pthread_t thread[THREADS];

	run.first = first;
	pthread_barrier_init(&run.all, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		int rc = pthread_create(&thread[i], NULL, produce, NULL);

		if (rc)
			bench_fail("start a thread", rc);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&run.all);
	result.recorded += THREADS * (1 + FOLLOWING);
}

/* ---- rounds ---- */

/* Median of two readings right after each other. */
static double clock_cost(void)
{
	struct bench_samples samples = { 0 };
	double ns;

	for (int i = 0; i < 101; i++) {
		uint64_t began_ns = bench_now_ns();

		bench_samples_add(&samples, (double)(bench_now_ns() - began_ns));
	}
	ns = bench_percentile(&samples, 50);
	bench_samples_free(&samples);
	return ns;
}

static void open_with_ring(void)
{
	uint64_t began_ns, bytes;

	collector_open(&run.collector, 0);
	bytes = collector_bytes(&run.collector);
	began_ns = bench_now_ns();
	kvtap_ring(run.collector.tap);
	bench_samples_add(&result.open_ms,
			  (double)(run.collector.open_ns + bench_now_ns() - began_ns) / 1e6);
	bench_samples_add(&result.process_bytes, (double)bytes);
}

static void check(uint64_t recorded)
{
	struct collector *collector = &run.collector;
	struct kvtap_stats stats;

	kvtap_stats(collector->tap, &stats);
	collector_drain(collector);
	collector_fold(collector);
	result.drained += collector->drained;
	result.folded += collector->folded;
	result.wrong |= collector->wrong || stats.lost_records || stats.refused_records ||
			collector->folded || collector->drained != recorded ||
			collector->drained_bytes != recorded * BYTES;
}

void record_first_round(void)
{
	uint64_t recorded = result.recorded;
	uint64_t bytes;
	int rc;

	run.clock_ns = clock_cost();
	pthread_mutex_init(&run.turn, NULL);
	open_with_ring(); /* this thread's, so that nobody adopts it */
	rc = kvtap_builtin(run.collector.tap, &run.series, KVTAP_OFFLOAD_LOAD, NULL);
	if (rc < 0)
		bench_fail("declare a series", rc);
	bytes = collector_bytes(&run.collector);
	run_threads(&result.made);
	bench_samples_add(&result.thread_bytes,
			  (double)(collector_bytes(&run.collector) - bytes) / THREADS);
	run_threads(&result.adopted);
	result.wrong |= kvtap_reader_rings(run.collector.reader) != THREADS + 1;
	check(result.recorded - recorded);
	collector_close(&run.collector);
	pthread_mutex_destroy(&run.turn);
}

/* ---- lines ---- */

static void print_end(const struct bench_bar *bars, size_t count)
{
	bench_bars(bars, count);
	printf(" check=%s\n", result.wrong ? "failed" : "ok");
}

static void print_first(const char *ring, struct first *first)
{
	printf("bench=record mode=first_record threads=%d clock=caller timed=wall ring=%s ops=%zu "
	       "us_p50=%.1f us_p99=%.1f next_ns_p50=%.1f next_ns_p99=%.1f folded=%llu lost=%lld",
	       THREADS, ring, first->first_us.count, bench_percentile(&first->first_us, 50),
	       bench_percentile(&first->first_us, 99), bench_percentile(&first->next_ns, 50),
	       bench_percentile(&first->next_ns, 99), (unsigned long long)result.folded,
	       (long long)(result.recorded - result.drained - result.folded));
	print_end(NULL, 0);
	bench_samples_free(&first->first_us);
	bench_samples_free(&first->next_ns);
}

bool record_first_print(void)
{
	double ms = bench_percentile(&result.open_ms, 50);
	double bytes = bench_percentile(&result.thread_bytes, 50);

	if (!result.open_ms.count)
		return true;
	printf("bench=record mode=open rings=1 ops=%zu ms_p50=%.3f ms_p99=%.3f",
	       result.open_ms.count, ms, bench_percentile(&result.open_ms, 99));
	print_end(&(struct bench_bar){ "ms_p50", ms, 2, false }, 1);
	print_first("made", &result.made);
	print_first("adopted", &result.adopted);
	printf("bench=record mode=memory threads=%d process_bytes=%.0f bytes_per_thread=%.0f",
	       THREADS, bench_percentile(&result.process_bytes, 50), bytes);
	print_end(&(struct bench_bar){ "bytes_per_thread", bytes, 327680, false }, 1);
	bench_samples_free(&result.open_ms);
	bench_samples_free(&result.process_bytes);
	bench_samples_free(&result.thread_bytes);
	return !result.wrong;
}
