/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_modes.c - see cuda_modes.h */
#include "cuda_modes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EVENT_STEP_NS 1000 /* to which an event's time is exact: half a microsecond each */
#define HARVEST_LIMIT_NS 1000000000
#define TOLD 10 /* of checks that failed */

const char *const cuda_mode_name[CUDA_MODES] = { "off", "off_again", "per_job", "host_function",
						 "per_copy" };

static void fail(struct cuda_spans *spans, const char *what, uint64_t got, uint64_t planned)
{
	const struct cuda_cell *cell = &spans->work->cell;

	if (spans->wrong++ >= TOLD)
		return;
	fprintf(stderr,
		"bench: layout=%s block_bytes=%u batch=%u mode=%s: %s: %" PRIu64
		", planned %" PRIu64 "\n",
		cell->layout, cell->block_bytes, cell->blocks, cuda_mode_name[spans->mode], what,
		got, planned);
}

static void expect(struct cuda_spans *spans, const char *what, uint64_t got, uint64_t planned)
{
	if (got != planned)
		fail(spans, what, got, planned);
}

/* ---- records ---- */

/* A job's number is its record's request; 0 names none. */
static void see_record(void *arg, const struct kvtap_record *record)
{
	struct cuda_spans *spans = arg;
	uint64_t index = record->request_id - 1;

	if (index >= spans->work->jobs) {
		fail(spans, "a record of no job", record->request_id, spans->work->jobs);
		return;
	}
	struct cuda_job *job = &spans->job[index];

	job->records++;
	job->bytes += record->bytes;
	job->descriptors += record->descriptors;
	job->device_ns = record->duration_ns;
	job->span_submit_ns = record->submit_ns;
	expect(spans, "series of a record", record->series, spans->series[spans->work->cell.load]);
	expect(spans, "status of a record", record->status, KVTAP_OK);
	if (record->duration_ns > job->wall_ns + EVENT_STEP_NS)
		fail(spans, "device_ns above the job's wall_ns", record->duration_ns, job->wall_ns);
}

static uint32_t records_of_job(const struct cuda_spans *spans)
{
	return spans->mode < CUDA_PER_JOB     ? 0
	       : spans->mode == CUDA_PER_COPY ? spans->work->descriptors
					      : 1;
}

static void check_slice(struct cuda_spans *spans)
{
	struct cuda_work *work = spans->work;
	uint64_t bytes = (uint64_t)work->descriptors * work->cell.block_bytes;

	expect(spans, "blocks that are not what was copied", cuda_work_wrong(work), 0);
	if (!spans->collector)
		return;
	collector_drain(spans->collector);
	for (uint32_t i = 0; i < work->jobs; i++) {
		const struct cuda_job *job = &spans->job[i];
		uint32_t records = records_of_job(spans);

		expect(spans, "records of a job", job->records, records);
		expect(spans, "bytes of a job's records", job->bytes, records ? bytes : 0);
		expect(spans, "descriptors of a job's records", job->descriptors,
		       records ? work->descriptors : 0);
	}
}

/* ---- jobs ---- */

static struct kvtap_span *begin(struct cuda_spans *spans, struct kvtap_cuda *cuda)
{
	return kvtap_span_begin(cuda, spans->work->stream, spans->series[spans->work->cell.load]);
}

static void end(struct kvtap_span *span, uint32_t job, uint64_t bytes, uint32_t descriptors)
{
	kvtap_span_add(span, bytes, descriptors);
	kvtap_span_job(span, job + 1);
	kvtap_span_end(span);
}

static void submit(struct cuda_spans *spans, uint32_t job)
{
	struct cuda_work *work = spans->work;
	struct kvtap_span *span = NULL;

	if (work->cell.batched) {
		cuda_work_batch(work);
		return;
	}
	for (uint32_t i = 0; i < work->descriptors; i++) {
		if (spans->mode == CUDA_PER_COPY)
			span = begin(spans, spans->events);
		cuda_work_copy(work, job, i);
		if (spans->mode == CUDA_PER_COPY)
			end(span, job, work->cell.block_bytes, 1);
	}
}

static void run_job(struct cuda_spans *spans, uint32_t index)
{
	struct cuda_work *work = spans->work;
	bool one = spans->mode == CUDA_PER_JOB || spans->mode == CUDA_HOST_FUNCTION;
	struct kvtap_span *span = NULL;
	uint64_t at[5];

	if (work->cell.batched)
		cuda_work_gather(work, index);
	at[0] = bench_now_ns();
	if (one)
		span = begin(spans,
			     spans->mode == CUDA_PER_JOB ? spans->events : spans->host_functions);
	at[1] = bench_now_ns();
	submit(spans, index);
	at[2] = bench_now_ns();
	if (one)
		end(span, index, (uint64_t)work->descriptors * work->cell.block_bytes,
		    work->descriptors);
	at[3] = bench_now_ns();
	cuda_work_wait(work);
	at[4] = bench_now_ns();
	spans->job[index] = (struct cuda_job){ .began_ns = at[0],
					       .submit_ns = at[2] - at[1],
					       .span_ns = at[1] - at[0] + at[3] - at[2],
					       .wall_ns = at[4] - at[0] };
}

/* What begin has not harvested yet. The device is done, but when that was may not be known yet. */
static void harvest(struct cuda_spans *spans)
{
	uint64_t began_ns = bench_now_ns();
	struct kvtap_cuda_stats stats;

	do {
		spans->harvested += kvtap_cuda_harvest(spans->events, 0);
		spans->harvest_ns = bench_now_ns() - began_ns;
		kvtap_cuda_stats(spans->events, &stats);
	} while (stats.in_flight && spans->harvest_ns < HARVEST_LIMIT_NS);
}

void cuda_spans_slice(struct cuda_spans *spans, enum cuda_mode mode)
{
	struct cuda_work *work = spans->work;

	spans->mode = mode;
	spans->harvested = spans->harvest_ns = 0;
	cuda_work_prepare(work);
	for (uint32_t i = 0; i < work->jobs; i++)
		run_job(spans, i);
	spans->begun += (uint64_t)work->jobs * records_of_job(spans);
	if (records_of_job(spans))
		spans->begun_bytes +=
			(uint64_t)work->jobs * work->descriptors * work->cell.block_bytes;
	if (mode == CUDA_PER_JOB || mode == CUDA_PER_COPY)
		harvest(spans);
	check_slice(spans);
}

void cuda_spans_balance(struct cuda_spans *spans)
{
	struct kvtap_cuda_stats events, host;
	struct kvtap_stats tap;

	kvtap_cuda_stats(spans->events, &events);
	kvtap_cuda_stats(spans->host_functions, &host);
	kvtap_stats(spans->tap, &tap);
	expect(spans, "spans that were recorded", events.recorded + host.recorded, spans->begun);
	expect(spans, "spans that failed or are in flight",
	       events.failed + host.failed + events.in_flight + host.in_flight, 0);
	expect(spans, "spans that were not timed",
	       events.untimed_full + events.untimed_context + events.untimed_capture +
		       events.untimed_driver + host.untimed_full + host.untimed_context +
		       host.untimed_capture + host.untimed_driver,
	       0);
	expect(spans, "records that were lost or refused",
	       tap.lost_records + tap.refused_records + tap.ignored_calls, 0);
	if (!spans->collector)
		return;
	spans->collector->folded = 0;
	collector_fold(spans->collector);
	expect(spans, "records that were folded", spans->collector->folded, 0);
	expect(spans, "records that came wrong", spans->collector->wrong, 0);
	expect(spans, "bytes that arrived", spans->collector->drained_bytes, spans->begun_bytes);
}

/* ---- open and close ---- */

void cuda_spans_open(struct cuda_spans *spans, struct cuda_work *work, struct kvtap *tap,
		     struct collector *collector)
{
	const struct kvtap_cuda_options by_host = { .host_functions = 1 };
	int rc;

	memset(spans, 0, sizeof(*spans));
	spans->work = work;
	spans->tap = tap;
	spans->collector = collector;
	if (collector) {
		collector->show = see_record;
		collector->show_arg = spans;
	}
	rc = kvtap_cuda_open(&spans->events, tap, NULL);
	if (rc == 0)
		rc = kvtap_cuda_open(&spans->host_functions, tap, &by_host);
	if (rc == 0)
		rc = kvtap_cuda_builtin(spans->events, &spans->series[true], work->stream,
					KVTAP_OFFLOAD_LOAD, NULL);
	if (rc == 0)
		rc = kvtap_cuda_builtin(spans->events, &spans->series[false], work->stream,
					KVTAP_OFFLOAD_STORE, NULL);
	if (rc < 0)
		bench_fail("prepare to time spans", rc);
}

void cuda_spans_close(struct cuda_spans *spans)
{
	kvtap_cuda_close(spans->host_functions);
	kvtap_cuda_close(spans->events);
}
