/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_span_capture.c - spans and streams under capture, and spans by host functions
 *
 * Each test's end looks for violations: a call that broke somebody's capture, or one that the driver
 * forbids in a host function.
 */
#include <sched.h>
#include <stdatomic.h>

#include "support_segment.h"
#include "support_span.h"
#include "test.h"

enum { GLOBAL, THREAD_LOCAL, RELAXED }; /* CUstreamCaptureMode */

static struct kvtap_record record[64];

static void begin_capture(void *stream, int mode)
{
	CHECK_EQ(spans.cu.cuStreamBeginCapture_v2(stream, mode), 0);
}

/* It must not have been broken. */
static void end_capture(void *stream)
{
	void *graph;

	CHECK_EQ(spans.cu.cuStreamEndCapture(stream, &graph), 0);
	CHECK_EQ(spans.cu.cuGraphDestroy(graph), 0);
}

static int own_mode(void)
{
	int mode = GLOBAL;

	CHECK_EQ(spans.cu.cuThreadExchangeStreamCaptureMode(&mode), 0);
	return mode;
}

static void *harvest_all(void *count)
{
	*(uint32_t *)count = kvtap_cuda_harvest(spans.cuda, 0);
	CHECK_EQ(own_mode(), GLOBAL);
	return NULL;
}

/* ---- capture ---- */

TEST(span_is_not_timed_on_a_stream_under_capture)
{
	for (int mode = GLOBAL; mode <= RELAXED; mode++) {
		spans_open(NULL);
		begin_capture(spans.stream, mode);
		CHECK(!spans_begin(spans.stream));
		CHECK_EQ(spans_stats().untimed_capture, 1);
		end_capture(spans.stream);
		spans_once(spans.stream, 1, 1 * MS);
		spans_advance(1 * MS);
		CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
		CHECK_EQ(spans_read(record, 64), 1);
		CHECK_EQ(spans_counted("capture"), 1);
		spans_close();
	}
}

TEST(span_is_not_timed_when_capture_began_inside_it)
{
	struct kvtap_span *span;

	spans_open(NULL);
	span = spans_begin(spans.stream);
	begin_capture(spans.stream, GLOBAL);
	kvtap_span_end(span);
	CHECK_EQ(spans_stats().untimed_capture, 1);
	CHECK_EQ(spans_stats().in_flight, 0);
	end_capture(spans.stream);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	spans_close();
}

TEST(span_is_not_timed_on_the_legacy_stream_while_one_that_it_waits_for_is_under_capture)
{
	void *blocking;

	spans_open(NULL);
	CHECK_EQ(spans.cu.cuStreamCreate(&blocking, 0), 0);
	begin_capture(blocking, GLOBAL);
	CHECK(!spans_begin(KVTAP_STREAM_DEFAULT));
	CHECK_EQ(spans_stats().untimed_capture, 1);
	end_capture(blocking);
	spans_once(KVTAP_STREAM_DEFAULT, 1, 1 * MS);
	spans_close();
}

TEST(span_of_the_capturing_thread_on_another_stream_is_timed)
{
	void *other;

	spans_open(NULL);
	other = spans_stream();
	begin_capture(other, GLOBAL);
	spans_once(spans.stream, 1, 1 * MS); /* makes the pool */
	for (int i = 0; i < 100; i++)
		spans_once(spans.stream, 1, 1 * MS); /* makes events, and harvests */
	CHECK_EQ(own_mode(), GLOBAL);
	spans_advance(101 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 101);
	CHECK_EQ(own_mode(), GLOBAL);
	end_capture(other);
	spans_close();
}

static void *span_elsewhere(void *stream)
{
	uint32_t count;

	spans_once(stream, 2, 1 * MS);
	spans_advance(2 * MS);
	CHECK(!spans.gpu->violations());
	harvest_all(&count);
	return NULL;
}

TEST(span_of_another_thread_breaks_no_capture)
{
	void *other;

	spans_open(NULL);
	other = spans_stream();
	begin_capture(other, GLOBAL);
	run_thread(span_elsewhere, spans.stream);
	CHECK_EQ(spans_stats().recorded, 1);
	end_capture(other);
	spans_close();
}

TEST(span_harvest_by_another_thread_breaks_no_capture)
{
	uint32_t count;

	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	spans_once(spans.stream, 2, 1 * MS);
	begin_capture(spans.stream, GLOBAL);
	run_thread(harvest_all, &count);
	CHECK_EQ(count, 0);
	spans_advance(2 * MS);
	run_thread(harvest_all, &count);
	CHECK_EQ(count, 2);
	end_capture(spans.stream);
	spans_close();
}

TEST(span_harvester_breaks_no_capture)
{
	void *other;

	spans_open_following(&(struct kvtap_cuda_options){ .harvest_ms = 1 });
	other = spans_stream();
	begin_capture(other, GLOBAL);
	for (int i = 0; i < 20; i++)
		spans_once(spans.stream, 1, 500 * US);
	while (spans_stats().in_flight)
		sched_yield();
	end_capture(other);
	CHECK_EQ(spans_stats().recorded, 20);
	spans_close();
}

TEST(span_close_breaks_no_capture)
{
	void *other;

	spans_open(NULL);
	other = spans_stream();
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS);
	begin_capture(other, GLOBAL);
	spans_close_cuda();
	end_capture(other);
	spans_close();
}

TEST(span_leaves_the_threads_capture_mode_as_it_was)
{
	int mode = THREAD_LOCAL;

	spans_open(NULL);
	CHECK_EQ(spans.cu.cuThreadExchangeStreamCaptureMode(&mode), 0);
	for (int i = 0; i < 3; i++) {
		spans_once(spans.stream, 1, 1 * MS);
		spans_advance(1 * MS);
		kvtap_cuda_harvest(spans.cuda, 0);
	}
	spans.gpu->fail("cuEventRecord", KVTAP_CU_INVALID_VALUE, 1);
	CHECK(!spans_begin(spans.stream));
	CHECK_EQ(own_mode(), THREAD_LOCAL);
	spans_close();
}

/* ---- by host functions ---- */

static const struct kvtap_cuda_options by_host_functions = { .host_functions = 1 };

TEST(span_by_host_functions_is_recorded_when_due_without_an_event)
{
	uint64_t begin_ns;
	struct kvtap_span *span;

	spans_open(&by_host_functions);
	begin_ns = spans_now();
	spans_busy(spans.stream, 5 * MS);
	span = spans_begin(spans.stream);
	kvtap_span_add(span, 4096, 2);
	kvtap_span_job(span, 77);
	spans_advance(3 * US);
	spans_busy(spans.stream, 2 * MS);
	kvtap_span_end(span);
	spans_advance(SECOND);
	CHECK_EQ(spans_read(record, 64), 1);
	CHECK_EQ(record[0].duration_ns, 2 * MS);
	CHECK_EQ(record[0].submit_ns, 3 * US);
	CHECK_EQ(record[0].queue_ns, 5 * MS);
	CHECK_EQ(record[0].end_ns, begin_ns + 7 * MS);
	CHECK_EQ(record[0].bytes, 4096);
	CHECK_EQ(record[0].descriptors, 2);
	CHECK_EQ(record[0].request_id, 77);
	CHECK_EQ(spans_stats().recorded, 1);
	CHECK_EQ(spans_stats().in_flight, 0);
	CHECK_EQ(spans.gpu->calls("cuEvent*"), 0);
	spans_close();
}

TEST(span_by_host_functions_is_used_again)
{
	spans_open(&(struct kvtap_cuda_options){ .host_functions = 1, .spans_max = 64 });
	for (int i = 0; i < 1000; i++) {
		spans_once(spans.stream, 1, 1 * US);
		spans_advance(1 * US);
		if (i % 40 == 39) {
			kvtap_cuda_harvest(spans.cuda, 0);
			spans_read(record, 64);
		}
	}
	CHECK_EQ(spans_stats().recorded, 1000);
	spans_close();
}

TEST(span_by_host_functions_is_full_and_counted)
{
	spans_open(&(struct kvtap_cuda_options){ .host_functions = 1, .spans_max = 64 });
	spans_busy(spans.stream, 1 * MS);
	for (int i = 0; i < 64; i++)
		spans_once(spans.stream, 1, 0);
	CHECK(!spans_begin(spans.stream));
	CHECK_EQ(spans_stats().untimed_full, 1);
	spans_advance(1 * MS);
	CHECK_EQ(spans_stats().recorded, 64);
	spans_once(spans.stream, 1, 0);
	spans_advance(0);
	CHECK_EQ(spans_stats().recorded, 65);
	spans_close();
}

TEST(span_by_host_functions_is_not_timed_under_capture)
{
	struct kvtap_span *span;

	spans_open(&by_host_functions);
	begin_capture(spans.stream, GLOBAL);
	CHECK(!spans_begin(spans.stream));
	end_capture(spans.stream);
	span = spans_begin(spans.stream);
	begin_capture(spans.stream, GLOBAL);
	kvtap_span_end(span);
	end_capture(spans.stream);
	CHECK_EQ(spans_stats().untimed_capture, 2);
	spans_advance(1 * MS);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(spans_stats().recorded, 1);
	spans_close();
}

TEST(span_by_host_functions_that_fails_is_recorded_once)
{
	struct kvtap_span *span;

	spans_open(&by_host_functions);
	spans_busy(spans.stream, 1 * MS);
	span = spans_begin(spans.stream);
	kvtap_span_fail(span, KVTAP_TIMED_OUT);
	CHECK_EQ(spans_read(record, 64), 1);
	CHECK_EQ(record[0].status, KVTAP_TIMED_OUT);
	spans_advance(1 * MS);
	CHECK_EQ(spans_read(record, 64), 0);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(spans_stats().recorded, 1);
	CHECK_EQ(spans_stats().failed, 1);
	spans_close();
}

TEST(span_by_host_functions_is_abandoned_when_its_context_is_lost)
{
	spans_open(&by_host_functions);
	spans_once(spans.stream, 1, 1 * MS);
	spans.gpu->stick(spans.context, 700);
	spans_advance(1 * MS);
	kvtap_cuda_harvest(spans.cuda, 0);
	CHECK(!spans_begin(spans.stream));
	CHECK_EQ(spans_stats().recorded, 0);
	CHECK_EQ(spans_stats().untimed_context, 1);
	spans_close_cuda();
	CHECK_EQ(spans_read(record, 64), 0);
	CHECK_EQ(spans_counted("abandoned"), 1);
	spans_close();
}

/* Late calls of the driver must not touch what close gave back. */
TEST(span_by_host_functions_may_be_called_after_close)
{
	spans_open(&by_host_functions);
	spans_once(spans.stream, 1, 1 * MS);
	spans_once(spans.stream, 2, 1 * MS);
	spans_advance(0); /* the first one's start */
	spans_close_cuda();
	spans_advance(2 * MS);
	CHECK_EQ(spans_read(record, 64), 0);
	CHECK_EQ(spans_counted("abandoned"), 2);
	spans_close();
}
