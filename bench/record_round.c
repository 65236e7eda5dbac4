/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_round.c - one case in one round: the floor, what the case builds on, and the case itself
 *
 * With a reader, a thread waits after each burst, unmeasured, until the reader has taken it: the
 * ring never fills, and each line was last read elsewhere. Without one, the warm-up fills the ring.
 */
#include "record_round.h"

#define BURSTS 30 /* that are measured, a side, round and thread */
#define WARM_UP 4 /* two times around the ring */

struct worker {
	pthread_t thread;
	uint32_t index;
	uint64_t recorded, bytes;
	double sample[RECORD_SIDES][BURSTS];
};

static struct {
	const struct record_case *record;
	struct record_target target;
	pthread_barrier_t turn; /* all threads are at the same side */
	uint64_t (*clock)(void);
	struct worker worker[RECORD_THREADS];
} run;

bool record_timed_cpu(const struct record_case *record)
{
	return record->threads > bench_cpus();
}

static const struct record_way *way_of(const struct record_case *record, enum record_side side)
{
	return side == RECORD_FLOOR  ? &record_plain
	       : side == RECORD_BASE ? record->base
				     : record->way;
}

static uint32_t threads_of(const struct record_case *record, enum record_side side)
{
	return side == RECORD_BASE && !record->over ? 1 : record->threads;
}

/* ---- a thread ---- */

static double time_burst(struct worker *worker, struct record_producer *producer,
			 const struct record_way *way)
{
	uint64_t began_ns, took_ns;

	producer->now_ns = bench_now_ns();
	began_ns = run.clock();
	way->burst(producer, RECORD_BURST);
	took_ns = run.clock() - began_ns;
	if (way->records) {
		worker->recorded += RECORD_BURST;
		worker->bytes += record_bytes(RECORD_BURST);
	}
	record_target_wait(&run.target);
	return (double)took_ns / RECORD_BURST;
}

static void *produce(void *arg)
{
	struct worker *worker = arg;
	struct record_producer producer;

	bench_pin(worker->index);
	producer = record_target_producer(&run.target, worker->index);
	for (enum record_side side = 0; side < RECORD_SIDES; side++) {
		const struct record_way *way = way_of(run.record, side);

		pthread_barrier_wait(&run.turn);
		if (!way || worker->index >= threads_of(run.record, side))
			continue;
		for (uint32_t i = 0; i < WARM_UP; i++)
			time_burst(worker, &producer, way);
		for (uint32_t i = 0; i < BURSTS; i++)
			worker->sample[side][i] = time_burst(worker, &producer, way);
	}
	return NULL;
}

static void run_threads(uint32_t threads)
{
	pthread_barrier_init(&run.turn, NULL, threads);
	for (uint32_t i = 0; i < threads; i++) {
		int rc;

		run.worker[i] = (struct worker){ .index = i };
		rc = pthread_create(&run.worker[i].thread, NULL, produce, &run.worker[i]);
		if (rc)
			bench_fail("start a thread", rc);
	}
	for (uint32_t i = 0; i < threads; i++)
		pthread_join(run.worker[i].thread, NULL);
	pthread_barrier_destroy(&run.turn);
}

/* ---- what it gave ---- */

/* Returns the mean of the threads' medians: where threads differ, their median is either one's. */
static double add_side(struct record_figures *figures, enum record_side side, uint32_t threads)
{
	double sum = 0;

	for (uint32_t i = 0; i < threads; i++) {
		struct bench_samples thread = { run.worker[i].sample[side], BURSTS, BURSTS };

		for (uint32_t j = 0; j < BURSTS; j++)
			bench_samples_add(&figures->burst[side], thread.value[j]);
		sum += bench_percentile(&thread, 50);
	}
	bench_samples_add(&figures->round[side], sum / threads);
	return sum / threads;
}

static void add_round(const struct record_case *record, struct record_figures *figures)
{
	double ns[RECORD_SIDES] = { 0 };

	for (enum record_side side = 0; side < RECORD_SIDES; side++)
		if (way_of(record, side))
			ns[side] = add_side(figures, side, threads_of(record, side));
	bench_samples_add(&figures->ratio, ns[RECORD_CASE] / ns[RECORD_FLOOR]);
	if (record->base)
		bench_samples_add(&figures->over, record->over ? ns[RECORD_CASE] - ns[RECORD_BASE]
							       : ns[RECORD_CASE] / ns[RECORD_BASE]);
}

/* Returns the state in which the CPUs were all the time, or CROSS_CORE_STATES: in more than one. */
static uint32_t run_round(const struct record_case *record, struct record_balance *balance)
{
	bool reader = record->end == RECORD_DRAINED;
	uint32_t before = reader ? cross_core_look() : 0;

	run.record = record;
	run.clock = record_timed_cpu(record) ? bench_cpu_ns : bench_now_ns;
	run.target.end = record->end;
	run.target.kind = record->kind;
	run.target.clock = record->clock;
	run.target.threads = record->threads;
	record_target_open(&run.target);
	run_threads(record->threads);
	for (uint32_t i = 0; i < record->threads; i++) {
		balance->recorded += run.worker[i].recorded;
		balance->bytes += run.worker[i].bytes;
	}
	record_target_close(&run.target, balance);
	return reader && cross_core_look() != before ? CROSS_CORE_STATES : before;
}

void record_round(const struct record_case *record, struct record_result *result)
{
	struct record_balance balance = { 0 };
	uint32_t state = run_round(record, &balance);

	record_balance_add(&result->balance, &balance);
	if (state < CROSS_CORE_STATES)
		add_round(record, &result->figures[state]);
	else
		result->moved++;
}

static void free_figures(struct record_figures *figures)
{
	for (int side = 0; side < RECORD_SIDES; side++) {
		bench_samples_free(&figures->burst[side]);
		bench_samples_free(&figures->round[side]);
	}
	bench_samples_free(&figures->ratio);
	bench_samples_free(&figures->over);
}

void record_result_free(struct record_result *result)
{
	for (int state = 0; state < CROSS_CORE_STATES; state++)
		free_figures(&result->figures[state]);
}

void record_round_free(void)
{
	record_target_free(&run.target);
}
