/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_overhead.c - what does an engine feel?
 *
 * One thread copies jobs of KV blocks between two pools and records them: not at all, each job, each
 * block. In a round each mode copies as many bytes, in an order that is drawn anew; off is there
 * twice, and what differs no more from it than it does from itself can't be felt. All modes are the
 * same code. The clock is read when a job begins and after each block in all modes but "bare", which
 * tells what that costs: an engine that has telemetry takes these times anyway.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "collector.h"
#include "paired.h"
#include "pools.h"
#include "scraper.h"
#include "server.h"
#include "workers.h"

#define SEED 20240229
#define SLICE_BYTES (16u << 20) /* that a mode copies in a round, or one job if that is more */
#define ROUNDS_OF_SMALL 480	/* of the smallest blocks, where a record weighs most */
#define ROUNDS 160
#define ROUNDS_OF_LARGE 40 /* of jobs that are larger than a slice */
#define SLOTS 4096
#define DRAIN_NS 1000000
#define SCRAPE_NS 1000000000

enum mode { BARE, OFF, OFF_AGAIN, PER_JOB, PER_JOB_LITERAL, PER_BLOCK, MODES };

static const char *const mode_name[MODES] = {
	"bare", "off", "off_again", "per_job", "per_job_literal", "per_block"
};

enum environment {
	DRAINED, /* a reader in this process drains every millisecond */
	SCRAPED, /* the exporter does, and is scraped every second */
	FULL,	 /* nobody does: each record is folded */
};

static const char *const environment_keys[] = {
	"exporter=none ring=drained",
	"exporter=scraped ring=drained",
	"exporter=none ring=full",
};

static const uint32_t block_sizes[] = { 16 << 10, 128 << 10, 2 << 20 };
static const uint32_t batches[] = { 1, 16, 256 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct engine {
	struct pools pools;
	struct kvtap_ring *ring;
	struct kvtap_transfer transfer; /* what differs is written before each record */
	uint32_t batch;
	uint64_t job;
	uint64_t recorded, recorded_bytes; /* since the tap was opened */
	uint64_t taken;			   /* of them, by the reader, at least */
};

static struct run {
	enum environment environment;
	struct engine engine;
	struct collector collector; /* its tap also where the exporter reads */
	struct bench_timer timer;   /* drains or scrapes */
	struct server exporter;
	struct scraper scraper;
	uint64_t random;
	uint32_t rounds, jobs; /* jobs of a mode in a round */
	double us[MODES][ROUNDS_OF_SMALL];
	_Atomic(bool) wrong; /* a check failed, of this case or one before */
} run;

/* ---- the engine ---- */

static void record(struct engine *engine, uint64_t began_ns, uint64_t end_ns, uint32_t blocks)
{
	struct kvtap_transfer *transfer = &engine->transfer;

	transfer->end_ns = end_ns;
	transfer->duration_ns = end_ns - began_ns;
	transfer->bytes = (uint64_t)blocks * engine->pools.block_bytes;
	transfer->descriptors = blocks;
	transfer->request_id = engine->job;
	kvtap_ring_transfer(engine->ring, transfer);
	engine->recorded++;
	engine->recorded_bytes += transfer->bytes;
}

/* The same, from a transfer that is made on the spot. */
static void record_literal(struct engine *engine, uint64_t began_ns, uint64_t end_ns)
{
	uint64_t bytes = (uint64_t)engine->batch * engine->pools.block_bytes;

	kvtap_ring_transfer(engine->ring,
			    &(struct kvtap_transfer){ .series = engine->transfer.series,
						      .end_ns = end_ns,
						      .duration_ns = end_ns - began_ns,
						      .bytes = bytes,
						      .descriptors = engine->batch,
						      .request_id = engine->job });
	engine->recorded++;
	engine->recorded_bytes += bytes;
}

static void run_job(struct engine *engine, enum mode mode)
{
	uint64_t began_ns = mode == BARE ? 0 : bench_now_ns();
	uint64_t now_ns = began_ns;

	engine->job++;
	for (uint32_t i = 0; i < engine->batch; i++) {
		uint64_t block_began_ns = now_ns;

		pools_copy(&engine->pools);
		if (mode != BARE)
			now_ns = bench_now_ns();
		if (mode == PER_BLOCK)
			record(engine, block_began_ns, now_ns, 1);
	}
	if (mode == PER_JOB)
		record(engine, began_ns, now_ns, engine->batch);
	if (mode == PER_JOB_LITERAL)
		record_literal(engine, began_ns, now_ns);
}

/* So that no slice fills the ring, however late the reader is: it has room for half a ring. */
static void drain_in_time(struct engine *engine)
{
	if (run.environment != DRAINED || engine->recorded - engine->taken <= SLOTS / 2)
		return;
	bench_timer_wait(&run.timer);
	engine->taken = engine->recorded;
}

/* The last copy of the slice has to have been made. */
static double time_slice(struct engine *engine, enum mode mode)
{
	pools_spoil(&engine->pools, (uint64_t)run.jobs * engine->batch - 1);
	uint64_t began_ns = bench_now_ns();
	for (uint32_t i = 0; i < run.jobs; i++)
		run_job(engine, mode);
	uint64_t took_ns = bench_now_ns() - began_ns;
	if (!pools_equal(&engine->pools))
		run.wrong = true;
	drain_in_time(engine);
	return (double)took_ns / 1000 / run.jobs;
}

static void run_round(struct engine *engine, uint32_t round)
{
	uint32_t order[MODES];

	paired_shuffle(&run.random, order, MODES);
	for (uint32_t i = 0; i < MODES; i++)
		run.us[order[i]][round] = time_slice(engine, order[i]);
}

/* What is recorded from now on is folded. */
static void fill_ring(struct engine *engine)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		record(engine, 0, 1, 1);
}

/* Pinned: what the scheduler would do to it is not what is asked here. */
static void *run_engine(void *arg)
{
	struct engine *engine = arg;

	bench_pin(0);
	engine->ring = kvtap_ring(run.collector.tap);
	if (run.environment == FULL)
		fill_ring(engine);
	for (int mode = 0; mode < MODES; mode++) /* warm */
		time_slice(engine, mode);
	for (uint32_t round = 0; round < run.rounds; round++)
		run_round(engine, round);
	return NULL;
}

/* ---- who reads ---- */

static void declare(void)
{
	struct engine *engine = &run.engine;
	int rc = kvtap_builtin(run.collector.tap, &engine->transfer.series, KVTAP_OFFLOAD_LOAD,
			       NULL);

	if (rc < 0)
		bench_fail("declare a series", rc);
	engine->recorded = engine->recorded_bytes = engine->taken = 0;
}

static void scrape(void *arg)
{
	struct answer answer;

	if (!scraper_get(arg, &answer, false) || answer.status != 200)
		run.wrong = true;
}

/* The exporter is started by the main thread, which is not pinned: it runs where it likes. */
static void open_exporter(void)
{
	const char *dir = workers_folder();
	const struct kvtap_options options = { .dir = dir, .ring_slots = SLOTS };
	int rc;

	server_exporter(&run.exporter, dir);
	rc = kvtap_open(&run.collector.tap, &options);
	if (rc < 0)
		bench_fail("open a tap", rc);
	run.scraper = (struct scraper){ .port = run.exporter.port };
	run.timer = (struct bench_timer){
		.call = scrape, .arg = &run.scraper, .period_ns = SCRAPE_NS, .cpu = bench_cpus() - 1
	};
}

static void open_environment(enum environment environment)
{
	run.environment = environment;
	if (environment == SCRAPED) {
		open_exporter();
	} else {
		collector_open(&run.collector, SLOTS);
		run.timer = (struct bench_timer){ .call = collector_drain,
						  .arg = &run.collector,
						  .period_ns = DRAIN_NS,
						  .cpu = bench_cpus() - 1 };
	}
	declare();
	if (environment != FULL)
		bench_timer_start(&run.timer);
}

static uint64_t sample(const char *page, const char *name)
{
	const char *line = strstr(page, name);

	return line ? (uint64_t)strtod(line + strcspn(line, " "), NULL) : 0;
}

/* A scrape has all that was recorded before it. */
static void check_page(void)
{
	struct scraper scraper = { .port = run.exporter.port };
	char *page = scraper_page(&scraper, NULL);

	if (sample(page, "\nvllm:kv_offload_load_size_count") != run.engine.recorded ||
	    sample(page, "\nvllm:kv_offload_load_bytes_total") != run.engine.recorded_bytes)
		run.wrong = true;
	free(page);
	scraper_close(&scraper);
}

static void check_collector(void)
{
	struct collector *collector = &run.collector;

	if (run.environment == DRAINED)
		bench_timer_wait(&run.timer);
	else
		collector_drain(collector);
	collector->folded = collector->folded_bytes = 0;
	collector_fold(collector);
	if (collector->wrong || (run.environment == DRAINED) != !collector->folded ||
	    collector->drained + collector->folded != run.engine.recorded ||
	    collector->drained_bytes + collector->folded_bytes != run.engine.recorded_bytes)
		run.wrong = true;
}

static void close_environment(void)
{
	if (run.environment != FULL)
		bench_timer_stop(&run.timer);
	if (run.environment != SCRAPED) {
		collector_close(&run.collector);
		return;
	}
	kvtap_close(run.collector.tap);
	scraper_close(&run.scraper);
	server_stop(&run.exporter);
	workers_remove();
}

/* ---- results ---- */

static void print_times(enum mode mode)
{
	const struct engine *engine = &run.engine;
	struct bench_samples samples = { 0 };

	for (uint32_t i = 0; i < run.rounds; i++)
		bench_samples_add(&samples, run.us[mode][i]);
	double p50 = bench_percentile(&samples, 50);
	printf("bench=overhead block_bytes=%u batch=%u %s mode=%s rounds=%u jobs=%u seed=%d "
	       "us_per_job_p50=%.3f us_per_job_p99=%.3f gb_per_s=%.2f",
	       engine->pools.block_bytes, engine->batch, environment_keys[run.environment],
	       mode_name[mode], run.rounds, run.rounds * run.jobs, SEED, p50,
	       bench_percentile(&samples, 99),
	       (double)engine->batch * engine->pools.block_bytes / p50 / 1000);
	bench_samples_free(&samples);
}

/* Bars are for a ring that somebody reads; a fold has its own, in bench_record. */
static void print_bars(enum mode mode, const struct paired *ratio, const struct paired *control)
{
	const struct bench_bar bar[MODES] = {
		[PER_JOB] = { "ratio_p50", ratio->p50, control->high, false },
		[PER_JOB_LITERAL] = { "ratio_p50", ratio->p50, control->high, false },
		[PER_BLOCK] = { run.engine.pools.block_bytes == block_sizes[0] ? "percent" : NULL,
				(ratio->p50 - 1) * 100, 1, false },
	};

	if (run.environment != FULL)
		bench_bars(&bar[mode], 1);
}

static void print_ratio(enum mode mode, const struct paired *control)
{
	struct paired ratio = *control, whole;

	if (mode != OFF_AGAIN)
		paired_ratio(&ratio, run.us[mode], run.us[OFF], run.rounds, &run.random);
	paired_print_ratio(&ratio, control);
	printf(" percent=%.2f", (ratio.p50 - 1) * 100);
	if (mode == PER_BLOCK) {
		paired_ratio(&whole, run.us[mode], run.us[BARE], run.rounds, &run.random);
		printf(" percent_with_clock=%.2f", (whole.p50 - 1) * 100);
	}
	paired_print_verdict(&ratio, control);
	print_bars(mode, &ratio, control);
}

static void print_case(void)
{
	struct paired control;

	paired_ratio(&control, run.us[OFF_AGAIN], run.us[OFF], run.rounds, &run.random);
	for (int mode = 0; mode < MODES; mode++) {
		print_times(mode);
		if (mode != OFF)
			print_ratio(mode, &control);
		printf(" check=%s\n", run.wrong ? "failed" : "ok");
	}
	fflush(stdout);
}

/* ---- cases ---- */

static void check_case(void)
{
	struct kvtap_stats stats;

	kvtap_stats(run.collector.tap, &stats);
	if (stats.lost_records || stats.refused_records || stats.ignored_calls)
		run.wrong = true;
	if (run.environment == SCRAPED)
		check_page();
	else
		check_collector();
}

static void run_case(uint32_t block_bytes, uint32_t batch)
{
	struct engine *engine = &run.engine;
	uint64_t job_bytes = (uint64_t)block_bytes * batch;
	pthread_t thread;

	pools_divide(&engine->pools, block_bytes, &run.random);
	engine->batch = batch;
	run.jobs = job_bytes < SLICE_BYTES ? (uint32_t)(SLICE_BYTES / job_bytes) : 1;
	run.rounds = job_bytes > 2 * SLICE_BYTES     ? ROUNDS_OF_LARGE
		     : block_bytes == block_sizes[0] ? ROUNDS_OF_SMALL
						     : ROUNDS;
	int rc = pthread_create(&thread, NULL, run_engine, engine);
	if (rc)
		bench_fail("start a thread", rc);
	pthread_join(thread, NULL);
	check_case();
	print_case();
}

/* A fold is felt most where blocks are smallest. */
static void run_in(enum environment environment)
{
	size_t sizes = environment == FULL ? 1 : COUNT(block_sizes);

	open_environment(environment);
	for (size_t size = 0; size < sizes; size++)
		for (size_t batch = 0; batch < COUNT(batches); batch++)
			run_case(block_sizes[size], batches[batch]);
	close_environment();
}

int main(void)
{
	run.random = SEED;
	bench_environment();
	pools_open(&run.engine.pools);
	run_in(DRAINED);
	run_in(SCRAPED);
	run_in(FULL);
	pools_close(&run.engine.pools);
	return run.wrong;
}
