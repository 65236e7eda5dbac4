/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_cuda.c - what do spans and CUPTI cost a process that copies blocks to and from a GPU?
 *
 * In a round each mode makes the same copies, in an order that is drawn anew. Without spans is there
 * twice: what differs no more from it than it does from itself can't be felt. The device's own
 * ceiling, one large copy, is measured in the same run. Without a driver there is one line that says
 * so. Clocks of the device are left alone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cuda_child.h"
#include "cuda_machine.h"
#include "cuda_modes.h"
#include "cuda_processes.h"
#include "paired.h"
#include "scraper.h"
#include "server.h"
#include "workers.h"

#define SEED 20240229
#define ROUNDS_MAX 80
#define SLOTS 8192 /* more than a slice has records */
#define SCRAPE_NS 1000000000
#define CEILING_COPIES 20
#define SUBMISSION_BOUND 0.9 /* of the time on the device, that submitting took */

/* How much is done; --full and --tiny choose. */
struct extent {
	const char *name;
	size_t pool_bytes;
	uint32_t rounds;
	const uint32_t *block_bytes, *batches; /* end with 0 */
	size_t job_bytes_max;
	uint32_t limit_s; /* no cell begins later, and no scraped one 30 s later */
};

#define LIST(...) ((const uint32_t[]){ __VA_ARGS__, 0 })
#define KIB 1024
#define MIB (1u << 20)

static const struct extent extents[] = {
	{ "usual", 256u * MIB, 40, LIST(16 * KIB, 256 * KIB, 2 * MIB), LIST(1, 16, 256), 80u * MIB,
	  110 },
	{ "full", 1024u * MIB, 80, LIST(16 * KIB, 32 * KIB, 64 * KIB, 256 * KIB, MIB, 2 * MIB),
	  LIST(1, 16, 64, 256), 512u * MIB, 3600 },
	{ "tiny", 8u * MIB, 3, LIST(16 * KIB), LIST(1, 4), MIB, 60 },
};

/* Whole models: blocks of 16 tokens, a region for each layer. */
static const struct cuda_cell models[] = {
	{ "llama_8b", 32 * KIB, 64, 16, false, false },
	{ "llama_70b_tp4", 8 * KIB, 160, 16, false, false },
	{ "mla", 72 * KIB, 61, 16, false, false },
	{ "one_tensor", 2 * MIB, 1, 16, false, false },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Of a mode in a cell; by round what is compared, over all rounds what has percentiles. */
struct figures {
	double wall_us[ROUNDS_MAX]; /* median of the slice's jobs */
	struct bench_samples wall, submit, span, device, over_submit;
	double harvest_ns;
	uint64_t harvested;
};

static struct run {
	const struct extent *extent;
	struct cuda_driver cuda;
	struct cuda_work work;
	struct collector collector; /* its tap also where the exporter reads */
	struct cuda_spans spans;
	bool scraped;
	struct server exporter;
	struct scraper scraper;
	struct bench_timer timer; /* scrapes */
	_Atomic(bool) scrape_failed;
	double ceiling[2]; /* GB/s, by cell.load */
	uint64_t random, began_ns;
	struct figures figures[CUDA_MODES];
	bool wrong;
} run;

/* ---- rounds ---- */

static bool has_mode(int mode)
{
	return (mode != CUDA_PER_COPY || !run.work.cell.batched) &&
	       (!run.scraped || mode <= CUDA_PER_JOB);
}

static void take_slice(int mode, uint32_t round)
{
	struct figures *figures = &run.figures[mode];
	struct bench_samples slice = { 0 };

	cuda_spans_slice(&run.spans, mode);
	for (uint32_t i = 0; i < run.work.jobs; i++) {
		const struct cuda_job *job = &run.spans.job[i];

		bench_samples_add(&slice, (double)job->wall_ns / 1e3);
		bench_samples_add(&figures->wall, (double)job->wall_ns / 1e3);
		bench_samples_add(&figures->submit, (double)job->submit_ns);
		bench_samples_add(&figures->span, (double)job->span_ns);
		if (!job->device_ns)
			continue;
		bench_samples_add(&figures->device, (double)job->device_ns / 1e3);
		bench_samples_add(&figures->over_submit,
				  (double)job->span_submit_ns / (double)job->device_ns);
	}
	figures->wall_us[round] = bench_percentile(&slice, 50);
	figures->harvest_ns += (double)run.spans.harvest_ns;
	figures->harvested += run.spans.harvested;
	bench_samples_free(&slice);
}

static void forget_figures(void)
{
	for (int mode = 0; mode < CUDA_MODES; mode++) {
		struct figures *figures = &run.figures[mode];

		bench_samples_free(&figures->wall);
		bench_samples_free(&figures->submit);
		bench_samples_free(&figures->span);
		bench_samples_free(&figures->device);
		bench_samples_free(&figures->over_submit);
		figures->harvest_ns = 0;
		figures->harvested = 0;
	}
}

static void run_rounds(void)
{
	uint32_t order[CUDA_MODES];

	for (int mode = 0; mode < CUDA_MODES; mode++) /* warm */
		if (has_mode(mode))
			cuda_spans_slice(&run.spans, mode);
	for (uint32_t round = 0; round < run.extent->rounds; round++) {
		paired_shuffle(&run.random, order, CUDA_MODES);
		for (int i = 0; i < CUDA_MODES; i++)
			if (has_mode((int)order[i]))
				take_slice((int)order[i], round);
	}
}

/* ---- results ---- */

static void print_cell(void)
{
	const struct cuda_cell *cell = &run.work.cell;

	printf("bench=cuda layout=%s block_bytes=%u tensors=%u batch=%u direction=%s path=%s "
	       "exporter=%s",
	       cell->layout, cell->block_bytes, cell->tensors, cell->blocks,
	       cell->load ? "h2d" : "d2h", cell->batched ? "batch" : "loop",
	       run.scraped ? "scraped" : "none");
}

static void print_spans(int mode, struct figures *figures)
{
	double over_submit = bench_percentile(&figures->over_submit, 50);

	if (mode == CUDA_PER_JOB || mode == CUDA_HOST_FUNCTION)
		printf(" span_ns_p50=%.0f span_ns_p99=%.0f", bench_percentile(&figures->span, 50),
		       bench_percentile(&figures->span, 99));
	if (figures->harvested)
		printf(" harvest_ns=%.0f", figures->harvest_ns / (double)figures->harvested);
	if (mode != CUDA_PER_JOB || !figures->device.count)
		return;
	printf(" device_us_p50=%.3f submit_over_device=%.3f bound=%s",
	       bench_percentile(&figures->device, 50), over_submit,
	       over_submit >= SUBMISSION_BOUND ? "submission" : "device");
}

static void print_times(int mode)
{
	struct figures *figures = &run.figures[mode];
	const struct cuda_work *work = &run.work;
	double wall_us = bench_percentile(&figures->wall, 50);
	double gb_per_s = (double)work->descriptors * work->cell.block_bytes / wall_us / 1e3;
	double ceiling = run.ceiling[work->cell.load];

	print_cell();
	printf(" mode=%s descriptors=%u rounds=%u jobs=%u seed=%d "
	       "submit_ns_per_descriptor_p50=%.1f "
	       "wall_us_p50=%.3f wall_us_p99=%.3f gb_per_s=%.3f ceiling_gb_per_s=%.3f "
	       "of_ceiling=%.3f",
	       cuda_mode_name[mode], work->descriptors, run.extent->rounds,
	       run.extent->rounds * work->jobs, SEED,
	       bench_percentile(&figures->submit, 50) / work->descriptors, wall_us,
	       bench_percentile(&figures->wall, 99), gb_per_s, ceiling, gb_per_s / ceiling);
	print_spans(mode, figures);
}

static void print_ratio(int mode, const struct paired *control)
{
	const double *off_us = run.figures[CUDA_OFF].wall_us, *us = run.figures[mode].wall_us;
	struct paired ratio = *control;

	if (mode != CUDA_OFF_AGAIN)
		paired_ratio(&ratio, us, off_us, run.extent->rounds, &run.random);
	paired_print_ratio(&ratio, control);
	paired_print_more(us, off_us, run.extent->rounds);
	paired_print_verdict(&ratio, control);
}

static void print_cells(void)
{
	struct paired control;

	paired_ratio(&control, run.figures[CUDA_OFF_AGAIN].wall_us, run.figures[CUDA_OFF].wall_us,
		     run.extent->rounds, &run.random);
	for (int mode = 0; mode < CUDA_MODES; mode++) {
		if (!has_mode(mode))
			continue;
		print_times(mode);
		if (mode != CUDA_OFF)
			print_ratio(mode, &control);
		printf(" check=%s\n", run.wrong ? "failed" : "ok");
	}
	fflush(stdout);
}

/* ---- cells ---- */

static void run_cell(const struct cuda_cell *cell)
{
	if (cell->batched && !run.cuda.copy_batch)
		return;
	bool late = bench_now_ns() - run.began_ns >
		    (run.extent->limit_s + 30 * run.scraped) * 1000000000ull;
	if (!cuda_work_cell(&run.work, cell, &run.random) || late) {
		print_cell();
		printf(" left_out=%s\n", late ? "time" : "pool");
		return;
	}
	run_rounds();
	cuda_spans_balance(&run.spans);
	run.wrong |= run.spans.wrong || run.scrape_failed;
	print_cells();
	forget_figures();
}

static void run_ways(struct cuda_cell cell)
{
	for (int way = 0; way < 4; way++) {
		cell.load = way / 2;
		cell.batched = way % 2;
		run_cell(&cell);
	}
}

static void run_sweep(void)
{
	const struct extent *extent = run.extent;

	for (const uint32_t *bytes = extent->block_bytes; *bytes; bytes++)
		for (const uint32_t *batch = extent->batches; *batch; batch++)
			if ((size_t)*bytes * *batch <= extent->job_bytes_max)
				run_ways((struct cuda_cell){ .layout = "blocks",
							     .block_bytes = *bytes,
							     .tensors = 1,
							     .blocks = *batch });
}

static void run_models(void)
{
	for (size_t i = 0; i < COUNT(models); i++)
		if ((size_t)models[i].block_bytes * models[i].tensors * models[i].blocks <=
		    run.extent->job_bytes_max)
			run_ways(models[i]);
}

/* ---- who reads ---- */

static void scrape(void *arg)
{
	struct answer answer;

	if (!scraper_get(arg, &answer, false) || answer.status != 200)
		run.scrape_failed = true;
}

static double sample(const char *page, const char *name)
{
	const char *line = strstr(page, name);

	return line ? strtod(line + strcspn(line, " "), NULL) : 0;
}

/* A scrape has all that was recorded before it. */
static void check_page(void)
{
	struct scraper scraper = { .port = run.exporter.port };
	char *page = scraper_page(&scraper, NULL);

	run.wrong |= sample(page, "\nvllm:kv_offload_load_size_count") +
				     sample(page, "\nvllm:kv_offload_store_size_count") !=
			     (double)run.spans.begun ||
		     sample(page, "\nvllm:kv_offload_load_bytes_total") +
				     sample(page, "\nvllm:kv_offload_store_bytes_total") !=
			     (double)run.spans.begun_bytes;
	printf("bench=cuda_page spans=%" PRIu64 " bytes=%" PRIu64 " check=%s\n", run.spans.begun,
	       run.spans.begun_bytes, run.wrong ? "failed" : "ok");
	free(page);
	scraper_close(&scraper);
}

/* It runs where it likes, and not on this thread's CPU alone. */
static void open_exporter(void)
{
	const char *dir = workers_folder();
	int rc;

	cuda_machine_unpin();
	server_exporter(&run.exporter, dir);
	cuda_machine_pin(&run.cuda);
	rc = kvtap_open(&run.collector.tap,
			&(struct kvtap_options){ .dir = dir, .ring_slots = SLOTS });
	if (rc < 0)
		bench_fail("open a tap", rc);
	run.scraper = (struct scraper){ .port = run.exporter.port };
	run.timer = (struct bench_timer){
		.call = scrape, .arg = &run.scraper, .period_ns = SCRAPE_NS, .cpu = bench_cpus() - 1
	};
	cuda_spans_open(&run.spans, &run.work, run.collector.tap, NULL);
	bench_timer_start(&run.timer);
}

static void close_exporter(void)
{
	bench_timer_stop(&run.timer);
	check_page();
	cuda_spans_close(&run.spans);
	kvtap_close(run.collector.tap);
	scraper_close(&run.scraper);
	server_stop(&run.exporter);
	workers_remove();
}

static void run_drained(void)
{
	collector_open(&run.collector, SLOTS);
	cuda_spans_open(&run.spans, &run.work, run.collector.tap, &run.collector);
	run_models();
	run_sweep();
	cuda_spans_close(&run.spans);
	collector_close(&run.collector);
}

/* The smallest and the largest, which is enough to see whether anybody feels the exporter. */
static void run_scraped(void)
{
	run.scraped = true;
	open_exporter();
	run_ways((struct cuda_cell){ "blocks", 16 * KIB, 1, 4, false, false });
	run_ways((struct cuda_cell){ "blocks", 256 * KIB, 1, 16, false, false });
	close_exporter();
}

/* CUPTI is in a process for good. */
static void run_processes(void)
{
	static const struct cuda_cell cells[] = { { "blocks", 16 * KIB, 1, 16, false, false },
						  { "blocks", 2 * MIB, 1, 8, false, false },
						  { "llama_8b", 32 * KIB, 64, 8, false, false } };

	cuda_machine_unpin();
	run.wrong |= !cuda_processes_run(&(struct cuda_processes){
		.cell = cells,
		.cells = run.extent->rounds < 40 ? 1 : COUNT(cells),
		.rounds = run.extent->rounds,
		.batches = run.cuda.copy_batch,
		.pool_bytes = run.extent->rounds < 40 ? run.extent->pool_bytes : 64 * MIB,
		.ceiling = { run.ceiling[0], run.ceiling[1] },
		.limit_ns = run.began_ns + (run.extent->limit_s + 70) * 1000000000ull,
		.random = &run.random });
}

/* ---- all of it ---- */

static void measure_ceiling(bool load)
{
	struct bench_samples gb_per_s = { 0 };

	for (int i = -1; i < CEILING_COPIES; i++) {
		uint64_t began_ns = bench_now_ns();

		cuda_work_whole(&run.work, load, run.extent->pool_bytes);
		if (i >= 0)
			bench_samples_add(&gb_per_s, (double)run.extent->pool_bytes /
							     (double)(bench_now_ns() - began_ns));
	}
	run.ceiling[load] = bench_percentile(&gb_per_s, 50);
	printf("bench=cuda_ceiling direction=%s bytes=%zu copies=%d gb_per_s_p50=%.3f "
	       "gb_per_s_max=%.3f\n",
	       load ? "h2d" : "d2h", run.extent->pool_bytes, CEILING_COPIES, run.ceiling[load],
	       bench_percentile(&gb_per_s, 100));
	bench_samples_free(&gb_per_s);
}

static const struct extent *choose_extent(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < COUNT(extents); i++)
		if (!strncmp(argv[1], "--", 2) && !strcmp(argv[1] + 2, extents[i].name))
			return &extents[i];
	if (argc == 1)
		return &extents[0];
	fprintf(stderr, "usage: bench_cuda [--full | --tiny]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--child"))
		return cuda_child_main(strtoull(argv[2], NULL, 10));
	run.extent = choose_extent(argc, argv);
	run.random = SEED;
	run.began_ns = bench_now_ns();
	bench_environment();
	if (!cuda_driver_open(&run.cuda, 0)) {
		printf("cuda missing=\"%s\"\n", run.cuda.why);
		return 0;
	}
	cuda_machine_pin(&run.cuda);
	cuda_machine_print(&run.cuda);
	cuda_work_open(&run.work, &run.cuda, run.extent->pool_bytes);
	measure_ceiling(true);
	measure_ceiling(false);
	run_drained();
	run_scraped();
	run_processes();
	cuda_work_close(&run.work);
	return run.wrong;
}
