/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_processes.c - see cuda_processes.h */
#include "cuda_processes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "cuda_child.h"
#include "paired.h"
#include "workers.h"

#define INJECTION "../libkvtap-cupti.so"
#define ROUNDS_MAX 80
#define TIMES_ROUNDS 5	      /* slices whose jobs are timed by both */
#define FLUSH_LIMIT_MS 3000   /* after which CUPTI has given back all copies, or has lost some */
#define CLOCKS_APART_NS 20000 /* CUPTI makes the device's time the CPU's by interpolation */
#define TIMED_MAX (TIMES_ROUNDS * CUDA_JOBS_MAX)

enum { PLAIN, PLAIN_AGAIN, INJECTED, PROCESSES };

static const char *const process_name[PROCESSES] = { "plain", "plain_again", "cupti" };

/* A job as events time it and as CUPTI's records of its copies do. */
struct timed {
	struct cuda_job job;
	uint64_t first_ns, last_ns; /* start and end */
	uint64_t busy_ns;	    /* sum over records */
	uint64_t records, copies, bytes;
};

static struct run {
	const struct cuda_processes *given;
	struct cuda_cell cell;
	struct cuda_child child[PROCESSES];
	double us[PROCESSES][ROUNDS_MAX];
	struct bench_samples wall[PROCESSES];
	struct collector cupti; /* of what is injected */
	bool attached;
	char why[128]; /* CUPTI gives nothing */
	struct timed timed[TIMED_MAX];
	uint32_t jobs; /* of timed */
	bool wrong;
} run;

static uint64_t job_bytes(void)
{
	return (uint64_t)run.cell.block_bytes * run.cell.tensors * run.cell.blocks;
}

/* ---- rounds ---- */

static void take_slice(int process, uint32_t round)
{
	struct cuda_child *child = &run.child[process];
	struct bench_samples slice = { 0 };

	cuda_child_slice(child, CUDA_OFF);
	for (uint32_t i = 0; i < child->jobs; i++) {
		bench_samples_add(&slice, (double)child->job[i].wall_ns / 1e3);
		bench_samples_add(&run.wall[process], (double)child->job[i].wall_ns / 1e3);
	}
	run.us[process][round] = bench_percentile(&slice, 50);
	bench_samples_free(&slice);
	if (run.attached)
		collector_drain(&run.cupti); /* its ring has room for all of a slice */
}

static void run_rounds(void)
{
	uint32_t order[PROCESSES];

	for (int process = 0; process < PROCESSES; process++) {
		take_slice(process, 0); /* warm */
		bench_samples_free(&run.wall[process]);
	}
	for (uint32_t round = 0; round < run.given->rounds; round++) {
		paired_shuffle(run.given->random, order, PROCESSES);
		for (int i = 0; i < PROCESSES; i++)
			take_slice((int)order[i], round);
	}
}

static void print_cell(const char *bench)
{
	printf("bench=%s layout=%s block_bytes=%u tensors=%u batch=%u direction=%s path=%s", bench,
	       run.cell.layout, run.cell.block_bytes, run.cell.tensors, run.cell.blocks,
	       run.cell.load ? "h2d" : "d2h", run.cell.batched ? "batch" : "loop");
}

static void print_ratio(int process, const struct paired *control)
{
	struct paired ratio = *control;
	uint32_t rounds = run.given->rounds;

	if (process == INJECTED)
		paired_ratio(&ratio, run.us[process], run.us[PLAIN], rounds, run.given->random);
	paired_print_ratio(&ratio, control);
	paired_print_more(run.us[process], run.us[PLAIN], rounds);
	paired_print_verdict(&ratio, control);
}

static void print_processes(void)
{
	double ceiling = run.given->ceiling[run.cell.load];
	struct paired control;

	paired_ratio(&control, run.us[PLAIN_AGAIN], run.us[PLAIN], run.given->rounds,
		     run.given->random);
	for (int process = 0; process < PROCESSES; process++) {
		double wall_us = bench_percentile(&run.wall[process], 50);

		print_cell("cuda_processes");
		printf(" process=%s rounds=%u jobs=%zu", process_name[process], run.given->rounds,
		       run.wall[process].count);
		if (process == INJECTED && *run.why) {
			printf(" missing=\"%s\"\n", run.why);
			continue;
		}
		printf(" wall_us_p50=%.3f wall_us_p99=%.3f gb_per_s=%.3f ceiling_gb_per_s=%.3f",
		       wall_us, bench_percentile(&run.wall[process], 99),
		       (double)job_bytes() / wall_us / 1e3, ceiling);
		if (process != PLAIN)
			print_ratio(process, &control);
		printf(" check=%s\n", run.wrong || run.child[process].wrong ? "failed" : "ok");
	}
	for (int process = 0; process < PROCESSES; process++) {
		run.wrong |= run.child[process].wrong;
		bench_samples_free(&run.wall[process]);
	}
}

/* ---- CUPTI's times beside those of events ---- */

/* A record belongs to the job during which the copies ended; what is between jobs is no job's. */
static void see_record(void *arg, const struct kvtap_record *record)
{
	uint64_t start_ns = record->end_ns - record->duration_ns;

	(void)arg;
	if ((record->op & ~KVTAP_OP_OVERLAPPED) != KVTAP_OP_TRANSFER)
		return;
	for (uint32_t i = 0; i < run.jobs; i++) {
		struct timed *timed = &run.timed[i];
		const struct cuda_job *job = &timed->job;

		if (record->end_ns + CLOCKS_APART_NS < job->began_ns ||
		    record->end_ns > job->began_ns + job->wall_ns + CLOCKS_APART_NS ||
		    timed->bytes + record->bytes > job_bytes())
			continue;
		if (!timed->records || start_ns < timed->first_ns)
			timed->first_ns = start_ns;
		if (record->end_ns > timed->last_ns)
			timed->last_ns = record->end_ns;
		timed->busy_ns += record->duration_ns;
		timed->records++;
		timed->copies += record->descriptors;
		timed->bytes += record->bytes;
		return;
	}
}

static uint32_t jobs_whole(void)
{
	uint32_t whole = 0;

	for (uint32_t i = 0; i < run.jobs; i++)
		whole += run.timed[i].bytes == job_bytes();
	return whole;
}

/* CUPTI's buffers are flushed several times a second, and nobody is told. */
static void await_records(void)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	uint64_t limit_ns = bench_now_ns() + FLUSH_LIMIT_MS * 1000000ull;

	do {
		nanosleep(&pause, NULL);
		collector_drain(&run.cupti);
	} while (jobs_whole() < run.jobs && bench_now_ns() < limit_ns);
}

static void time_jobs(void)
{
	struct cuda_child *child = &run.child[INJECTED];

	run.jobs = 0;
	for (uint32_t round = 0; round < TIMES_ROUNDS; round++) {
		cuda_child_slice(child, CUDA_PER_JOB);
		for (uint32_t i = 0; i < child->jobs; i++)
			run.timed[run.jobs++] = (struct timed){ .job = child->job[i] };
	}
	await_records();
}

static void print_times(void)
{
	struct bench_samples event = { 0 }, cupti = { 0 }, busy = { 0 }, more = { 0 };
	uint64_t records = 0, copies = 0;
	uint32_t whole = jobs_whole();

	for (uint32_t i = 0; i < run.jobs; i++) {
		const struct timed *timed = &run.timed[i];
		double cupti_us = (double)(timed->last_ns - timed->first_ns) / 1e3;
		double event_us = (double)timed->job.device_ns / 1e3;

		records += timed->records;
		copies += timed->copies;
		if (timed->bytes != job_bytes())
			continue;
		bench_samples_add(&event, event_us);
		bench_samples_add(&cupti, cupti_us);
		bench_samples_add(&busy, (double)timed->busy_ns / 1e3);
		bench_samples_add(&more, (event_us - cupti_us) * 1e3);
	}
	run.wrong |= whole != run.jobs ||
		     copies != (uint64_t)run.jobs * run.cell.tensors * run.cell.blocks;
	print_cell("cuda_times");
	printf(" jobs=%u descriptors=%u jobs_whole=%u records_per_job=%.2f copies_per_job=%.2f",
	       run.jobs, run.cell.tensors * run.cell.blocks, whole, (double)records / run.jobs,
	       (double)copies / run.jobs);
	printf(" event_us_p50=%.3f cupti_us_p50=%.3f cupti_busy_us_p50=%.3f event_more_ns_p10=%.0f "
	       "event_more_ns_p50=%.0f event_more_ns_p90=%.0f check=%s\n",
	       bench_percentile(&event, 50), bench_percentile(&cupti, 50),
	       bench_percentile(&busy, 50), bench_percentile(&more, 10),
	       bench_percentile(&more, 50), bench_percentile(&more, 90),
	       run.wrong ? "failed" : "ok");
	fflush(stdout);
	bench_samples_free(&event);
	bench_samples_free(&cupti);
	bench_samples_free(&busy);
	bench_samples_free(&more);
}

/* ---- cells ---- */

static void run_cell(void)
{
	bool fits = true;

	if (bench_now_ns() > run.given->limit_ns) {
		print_cell("cuda_processes");
		printf(" left_out=time\n");
		return;
	}
	for (int process = 0; process < PROCESSES; process++)
		fits &= cuda_child_cell(&run.child[process], &run.cell);
	if (!fits)
		return;
	run.jobs = 0;
	run_rounds();
	print_processes();
	if (*run.why)
		return;
	time_jobs();
	print_times();
}

/* What is injected says why it can do nothing, in a line of its log. */
static void attach(const char *dir, const char *log)
{
	char path[128];
	FILE *file = fopen(log, "re");

	if (file && fgets(run.why, sizeof(run.why), file))
		run.why[strcspn(run.why, "\n")] = '\0';
	if (file)
		fclose(file);
	unlink(log);
	snprintf(path, sizeof(path), "%s/kvtap." CUDA_CHILD_NAMESPACE, dir);
	run.attached = collector_attach(&run.cupti, path);
	run.cupti.show = see_record;
	rmdir(path);
	if (!run.attached && !*run.why)
		snprintf(run.why, sizeof(run.why), "the driver did not inject the library");
}

static bool start_children(const char *dir)
{
	static char injection[4400];
	char log[128];
	bool there = true;

	snprintf(injection, sizeof(injection), "%s", bench_built(INJECTION));
	snprintf(log, sizeof(log), "%s/cupti.log", dir);
	setenv("KVTAP_CUPTI_LOG", log, 1);
	for (int process = 0; process < PROCESSES && there; process++)
		there = cuda_child_start(&run.child[process],
					 process == INJECTED ? injection : NULL, dir,
					 run.given->pool_bytes);
	if (there)
		attach(dir, log);
	else
		printf("bench=cuda_processes missing=\"a process more on the device\"\n");
	return there;
}

bool cuda_processes_run(const struct cuda_processes *processes)
{
	memset(&run, 0, sizeof(run));
	run.given = processes;
	if (start_children(workers_folder()))
		for (uint32_t i = 0; i < processes->cells * 4; i++) {
			run.cell = processes->cell[i / 4];
			run.cell.load = i / 2 % 2;
			run.cell.batched = i % 2;
			if (processes->batches || !run.cell.batched)
				run_cell();
		}
	for (int process = 0; process < PROCESSES; process++)
		cuda_child_stop(&run.child[process]);
	if (run.attached)
		collector_close(&run.cupti);
	workers_remove();
	return !run.wrong;
}
