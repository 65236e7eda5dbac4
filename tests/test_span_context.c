/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_span_context.c - spans where contexts, streams and processes are not as they should be
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_segment.h"
#include "support_span.h"
#include "test.h"

#define PER_THREAD ((void *)0x2)
#define LAUNCH_FAILED 719

static struct kvtap_record record[256];

static uint32_t read_all(void)
{
	return spans_read(record, 256);
}

static void *current(void)
{
	void *context;

	CHECK_EQ(spans.cu.cuCtxGetCurrent(&context), 0);
	return context;
}

static void pop(void)
{
	CHECK_EQ(spans.cu.cuCtxPopCurrent_v2(NULL), 0);
}

/* ---- which context is current ---- */

TEST(span_times_a_stream_whose_context_is_not_current_and_leaves_current_what_was)
{
	void *other, *stream;

	spans_open(NULL);
	other = spans_context(1);
	stream = spans_stream();
	pop();
	CHECK(current() == spans.context);
	spans_once(stream, 1, 1 * MS);
	CHECK(current() == spans.context);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK(current() == spans.context);
	pop();
	CHECK(!current());
	spans_once(spans.stream, 1, 1 * MS);
	CHECK(!current());
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK(!current());
	CHECK(other != spans.context);
	spans_close();
}

TEST(span_series_has_the_device_of_its_stream)
{
	uint32_t of[2], again;
	void *stream;

	spans_open(NULL);
	CHECK_EQ(kvtap_cuda_builtin(spans.cuda, &of[0], spans.stream, KVTAP_OFFLOAD_LOAD, NULL), 0);
	spans_context(1);
	stream = spans_stream();
	pop();
	CHECK_EQ(kvtap_cuda_builtin(spans.cuda, &of[1], stream, KVTAP_OFFLOAD_LOAD, NULL), 0);
	CHECK(current() == spans.context);
	CHECK(of[0] != of[1]);
	CHECK_EQ(kvtap_builtin(spans.tap, &again, KVTAP_OFFLOAD_LOAD,
			       &(struct kvtap_builtin_labels){ .device = "1" }),
		 0);
	CHECK_EQ(of[1], again);
	CHECK_EQ(kvtap_cuda_builtin(spans.cuda, &again, (void *)"no stream", KVTAP_OFFLOAD_LOAD,
				    NULL),
		 -ENODEV);
	CHECK_EQ(again, 0);
	spans_close();
}

TEST(span_times_the_legacy_default_stream_of_the_current_context)
{
	spans_open(NULL);
	spans_once(NULL, 1, 1 * MS);
	spans_once(KVTAP_STREAM_DEFAULT, 2, 1 * MS);
	spans_advance(2 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 2);
	pop();
	CHECK(!spans_begin(KVTAP_STREAM_DEFAULT)); /* there is no context */
	CHECK_EQ(spans_stats().untimed_context, 1);
	spans_close();
}

static void *in_own_default_stream(void *context)
{
	CHECK_EQ(spans.cu.cuCtxPushCurrent_v2(context), 0);
	spans_once(PER_THREAD, 2, 1 * MS);
	return NULL;
}

TEST(span_waits_for_no_other_threads_default_stream)
{
	spans_open(NULL);
	spans_once(PER_THREAD, 1, 9 * MS);
	run_thread(in_own_default_stream, spans.context);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(read_all(), 1);
	CHECK_EQ(record[0].bytes, 2);
	CHECK_EQ(record[0].duration_ns, 1 * MS);
	spans_advance(8 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	spans_close();
}

/* ---- an error that stays ---- */

enum where { BEFORE_BEGIN, BEFORE_END, BEFORE_HARVEST };

/* One more is in flight all the time, and another context goes on. */
static void check_stuck(enum where where)
{
	void *good;
	struct kvtap_span *span = NULL;
	uint64_t events;

	spans_open(NULL);
	spans_context(1);
	good = spans_stream();
	spans_once(good, 7, 1 * MS);
	spans_once(spans.stream, 1, 1 * MS);
	if (where != BEFORE_BEGIN)
		span = spans_begin(spans.stream);
	kvtap_span_add(span, 2, 5);
	if (where == BEFORE_HARVEST)
		kvtap_span_end(span);
	spans.gpu->stick(spans.context, LAUNCH_FAILED);
	if (where == BEFORE_BEGIN)
		CHECK(!spans_begin(spans.stream));
	if (where == BEFORE_END)
		kvtap_span_end(span);
	spans_advance(1 * MS);
	kvtap_cuda_harvest(spans.cuda, 0);
	CHECK_EQ(spans_stats().recorded, 1);
	CHECK_EQ(spans_stats().in_flight, 0);
	CHECK_EQ(spans_stats().failed, where == BEFORE_BEGIN ? 1 : 2);
	CHECK_EQ(spans_stats().untimed_context, where == BEFORE_BEGIN ? 1 : 0);
	events = spans.gpu->calls("cuEvent*");
	CHECK(!spans_begin(spans.stream));
	kvtap_cuda_harvest(spans.cuda, 0);
	CHECK_EQ(spans.gpu->calls("cuEvent*"), events); /* it is left alone */
	spans_once(good, 7, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	for (uint32_t i = 0, count = read_all(); i < count; i++) {
		CHECK_EQ(record[i].status == KVTAP_OK, record[i].bytes == 7);
		CHECK_EQ(record[i].failed_descriptors,
			 record[i].status ? record[i].descriptors : 0);
	}
	spans_close();
}

TEST(span_fails_when_its_context_does_before_it_begins)
{
	check_stuck(BEFORE_BEGIN);
}

TEST(span_fails_when_its_context_does_before_it_ends)
{
	check_stuck(BEFORE_END);
}

TEST(span_fails_when_its_context_does_before_it_is_harvested)
{
	check_stuck(BEFORE_HARVEST);
}

/* @function: whose result is the first to tell of the error, in the harvest */
static void check_harvest_error(const char *function)
{
	void *good;

	spans_open(NULL);
	spans_context(1);
	good = spans_stream();
	pop();
	spans_once(spans.stream, 1, 1 * MS);
	spans_once(spans.stream, 2, 1 * MS);
	spans_advance(2 * MS);
	spans.gpu->fail(function, LAUNCH_FAILED, 1);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 2);
	CHECK_EQ(spans_stats().failed, 2);
	CHECK_EQ(read_all(), 2);
	CHECK_EQ(record[0].status, KVTAP_FAILED);
	CHECK_EQ(record[0].bytes, 1);
	CHECK_EQ(record[1].bytes, 2);
	spans_once(good, 3, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	spans.gpu->stick(spans.context, LAUNCH_FAILED); /* so that its events are not missed */
	spans_close();
}

TEST(span_fails_when_the_query_of_its_event_does)
{
	check_harvest_error("cuEventQuery");
}

TEST(span_fails_when_the_time_of_its_events_can_not_be_had)
{
	check_harvest_error("cuEventElapsedTime");
}

TEST(span_fails_when_its_context_can_not_be_made_current)
{
	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS);
	pop();
	spans.gpu->fail("cuCtxPushCurrent", LAUNCH_FAILED, 1);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(spans_stats().failed, 1);
	spans.gpu->stick(spans.context, LAUNCH_FAILED);
	spans_close();
}

TEST(span_is_not_timed_when_one_call_is_refused_and_the_next_one_is)
{
	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	spans.gpu->fail("cuEventRecord", KVTAP_CU_INVALID_VALUE, 1);
	CHECK(!spans_begin(spans.stream));
	CHECK_EQ(spans_stats().untimed_context, 1);
	CHECK_EQ(spans_stats().in_flight, 1);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(2 * MS);
	while (kvtap_cuda_harvest(spans.cuda, 0))
		;
	CHECK_EQ(spans_stats().recorded, 2);
	spans_close();
}

TEST(span_fails_when_its_end_is_refused_and_the_next_one_does_not)
{
	struct kvtap_span *span;

	spans_open(NULL);
	span = spans_begin(spans.stream);
	spans.gpu->fail("cuEventRecord", KVTAP_CU_INVALID_VALUE, 1);
	kvtap_span_end(span);
	CHECK_EQ(spans_stats().failed, 1);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(spans_stats().recorded, 1);
	spans_close();
}

TEST(span_is_not_timed_while_no_event_can_be_made)
{
	spans_open(NULL);
	spans.gpu->fail("cuEventCreate", 2 /* out of memory */, -1);
	for (int i = 0; i < 3; i++)
		CHECK(!spans_begin(spans.stream));
	spans.gpu->fail("cuEventCreate", 0, 0);
	for (int i = 0; i < 64; i++)
		spans_once(spans.stream, 1, 1 * MS);
	spans.gpu->fail("cuEventCreate", 2, -1);
	CHECK(!spans_begin(spans.stream));
	CHECK_EQ(spans_stats().untimed_full, 1);
	spans.gpu->fail("cuEventCreate", 0, 0);
	spans_once(spans.stream, 1, 1 * MS);
	spans_close();
}

/* ---- what is gone ---- */

TEST(span_fails_when_its_context_is_destroyed)
{
	struct kvtap_span *span;

	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	span = spans_begin(spans.stream);
	CHECK_EQ(spans.cu.cuCtxDestroy_v2(spans.context), 0);
	kvtap_span_end(span);
	kvtap_cuda_harvest(spans.cuda, 0);
	CHECK_EQ(spans_stats().failed, 2);
	spans_context(0); /* what takes its place is timed */
	spans_once(spans_stream(), 3, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(spans_stats().recorded, 1);
	spans_close();
}

TEST(span_close_knows_nothing_of_a_destroyed_context)
{
	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	CHECK_EQ(spans.cu.cuCtxDestroy_v2(spans.context), 0);
	spans_close_cuda();
	CHECK_EQ(read_all(), 1);
	CHECK_EQ(record[0].status, KVTAP_FAILED);
	spans_close();
}

TEST(span_is_not_timed_on_a_stream_that_is_none)
{
	spans_open(NULL);
	CHECK(!spans_begin((void *)"no stream"));
	CHECK(!spans_begin(spans.context));
	CHECK_EQ(spans_stats().untimed_context, 2);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(read_all(), 1);
	CHECK_EQ(spans_counted("context"), 2);
	spans_close();
}

TEST(span_ends_though_its_stream_is_destroyed)
{
	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	spans_once(spans.stream, 2, 1 * MS);
	CHECK_EQ(spans.cu.cuStreamDestroy_v2(spans.stream), 0);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(spans_stats().recorded, 2);
	spans_close();
}

static void in_new_context(uint64_t ns)
{
	spans_context(0);
	spans_once(spans_stream(), 1, ns);
	pop();
}

TEST(span_of_a_context_unused_for_long_makes_room_for_another_one)
{
	spans_open(NULL);
	for (int i = 0; i < 70; i++) {
		in_new_context(1);
		spans_advance(1);
		kvtap_cuda_harvest(spans.cuda, 0);
	}
	CHECK_EQ(spans_stats().recorded, 70);
	CHECK(spans.gpu->live_events() <= 64 * (2 * 64 + 2));
	spans_close();
}

TEST(span_is_not_timed_in_more_contexts_than_there_is_room_for)
{
	void *stream;

	spans_open(NULL);
	for (int i = 0; i < 64; i++)
		in_new_context(1 * MS);
	spans_context(0);
	stream = spans_stream();
	pop();
	CHECK(!spans_begin(stream));
	CHECK_EQ(spans_stats().untimed_context, 1);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 64);
	spans_once(stream, 1, 1 * MS);
	spans_close();
}

/* ---- processes ---- */

static bool stays_silent(struct kvtap_span *span)
{
	uint64_t calls = spans.gpu->calls("*");
	struct kvtap_cuda_stats stats;

	CHECK(!kvtap_span_begin(spans.cuda, spans.stream, spans.load));
	kvtap_span_add(span, 1, 1);
	kvtap_span_end(span);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 0);
	kvtap_cuda_stats(spans.cuda, &stats);
	CHECK_EQ(stats.untimed_driver, 1);
	CHECK_EQ(stats.untimed_abandoned, 1);
	CHECK_EQ(stats.in_flight, 0);
	kvtap_cuda_close(spans.cuda);
	return spans.gpu->calls("*") == calls && spans.gpu->violations() == 0;
}

static void check_fork(const struct kvtap_cuda_options *options)
{
	struct kvtap_span *span;
	int status;
	pid_t child;

	spans_open(options);
	spans_once(spans.stream, 1, 1 * MS);
	span = spans_begin(spans.stream);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(stays_silent(span) ? 0 : 1);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_EQ(status, 0);
	kvtap_span_end(span); /* nothing has changed here */
	spans_advance(1 * MS);
	while (spans_stats().in_flight)
		kvtap_cuda_harvest(spans.cuda, 0);
	CHECK_EQ(spans_stats().recorded, 2);
	spans_close();
}

TEST(span_calls_no_driver_in_a_fork_child)
{
	check_fork(NULL);
}

TEST(span_calls_no_driver_in_a_fork_child_of_a_process_with_a_harvester)
{
	check_fork(&(struct kvtap_cuda_options){ .harvest_ms = 1 });
}

TEST(span_calls_no_driver_in_a_fork_child_by_host_functions)
{
	check_fork(&(struct kvtap_cuda_options){ .host_functions = 1 });
}

static _Noreturn void exit_busy(uint32_t host_functions)
{
	spans_open_following(&(struct kvtap_cuda_options){ .harvest_ms = host_functions ? 0 : 1,
							   .host_functions = host_functions });
	for (uint64_t i = 0; i < 2000; i++)
		spans_once(spans.stream, i, 10 * US);
	while (spans_stats().recorded == 0)
		sched_yield();
	exit(0);
}

static void check_exit(uint32_t host_functions)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0)
		exit_busy(host_functions);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_EQ(status, 0);
	remove_segments();
}

TEST(span_in_flight_does_not_hold_up_the_exit)
{
	check_exit(0);
}

TEST(span_in_flight_by_host_functions_does_not_hold_up_the_exit)
{
	check_exit(1);
}

TEST(span_fails_once_when_the_driver_is_gone)
{
	uint64_t calls;

	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	spans_once(spans.stream, 2, 1 * MS);
	spans_advance(2 * MS);
	spans.gpu->fail("*", KVTAP_CU_DEINITIALIZED, -1);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 2);
	CHECK_EQ(spans_stats().failed, 2);
	CHECK(!spans_begin(spans.stream));
	calls = spans.gpu->calls("*");
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 0);
	CHECK_EQ(spans.gpu->calls("*"), calls);
	CHECK_EQ(read_all(), 2);
	CHECK_EQ(record[0].status, KVTAP_FAILED);
	spans.gpu->stick(spans.context, KVTAP_CU_DEINITIALIZED);
	spans_close();
}
