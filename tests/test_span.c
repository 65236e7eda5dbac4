/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_span.c - what a span's record says, in which order spans become records, and how many there are
 */
#include <errno.h>
#include <stdlib.h>

#include "support_segment.h"
#include "support_span.h"
#include "test.h"

#define HOUR (3600 * SECOND)

static struct kvtap_record record[64];

static uint32_t read_all(void)
{
	return spans_read(record, 64);
}

/* ---- the fields of a record ---- */

TEST(span_takes_the_device_the_submit_and_the_queue_time_each_by_itself)
{
	uint64_t begin_ns;
	struct kvtap_span *span;

	spans_open(NULL);
	spans_busy(spans.stream, 5 * MS); /* what the stream has to do before */
	begin_ns = spans_now();
	span = spans_begin(spans.stream);
	spans_advance(3 * US); /* the caller's submission */
	spans_busy(spans.stream, 2 * MS);
	kvtap_span_end(span);
	spans_advance(SECOND / 2); /* late is as exact as early */
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(read_all(), 1);
	CHECK_EQ(record[0].duration_ns, 2 * MS);
	CHECK_EQ(record[0].submit_ns, 3 * US);
	CHECK_EQ(record[0].queue_ns, 5 * MS);
	CHECK_EQ(record[0].end_ns, begin_ns + 7 * MS);
	CHECK_EQ(record[0].op, KVTAP_OP_TRANSFER | KVTAP_OP_OVERLAPPED);
	spans_close();
}

TEST(span_has_a_device_time_of_its_submission_when_the_device_waits_for_it)
{
	struct kvtap_span *span;

	spans_open(NULL);
	span = spans_begin(spans.stream);
	for (int i = 0; i < 4; i++) {
		spans_busy(spans.stream, 10 * US);
		spans_advance(100 * US);
	}
	kvtap_span_end(span);
	spans_advance(0);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(read_all(), 1);
	CHECK_EQ(record[0].duration_ns, 400 * US);
	CHECK_EQ(record[0].submit_ns, 400 * US);
	CHECK_EQ(record[0].queue_ns, 0);
	spans_close();
}

TEST(span_has_the_bytes_descriptors_request_and_series_of_its_caller)
{
	struct kvtap_span *span;

	spans_open(NULL);
	span = spans_begin(spans.stream);
	kvtap_span_add(span, 4096, 1);
	kvtap_span_add(span, 8192, 3);
	kvtap_span_job(span, 0x123456789abcdef0);
	kvtap_span_end(span);
	span = spans_begin(spans.stream); /* takes over nothing */
	kvtap_span_end(span);
	spans_advance(0);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 2);
	CHECK_EQ(read_all(), 2);
	CHECK_EQ(record[0].bytes, 12288);
	CHECK_EQ(record[0].descriptors, 4);
	CHECK_EQ(record[0].failed_descriptors, 0);
	CHECK_EQ(record[0].request_id, 0x123456789abcdef0);
	CHECK_EQ(record[0].series, spans.load);
	CHECK_EQ(record[0].status, KVTAP_OK);
	CHECK_EQ(record[1].bytes, 0);
	CHECK_EQ(record[1].descriptors, 0);
	CHECK_EQ(record[1].request_id, 0);
	spans_close();
}

TEST(span_that_fails_is_recorded_at_once_with_its_status)
{
	struct kvtap_span *span;

	spans_open(NULL);
	spans_busy(spans.stream, 5 * MS);
	span = spans_begin(spans.stream);
	kvtap_span_add(span, 4096, 7);
	kvtap_span_job(span, 9);
	spans_advance(4 * US);
	kvtap_span_fail(span, KVTAP_NO_SPACE);
	CHECK_EQ(read_all(), 1);
	CHECK_EQ(record[0].status, KVTAP_NO_SPACE);
	CHECK_EQ(record[0].bytes, 4096);
	CHECK_EQ(record[0].failed_descriptors, 7);
	CHECK_EQ(record[0].request_id, 9);
	CHECK_EQ(record[0].submit_ns, 4 * US);
	CHECK_EQ(spans_stats().failed, 1);
	CHECK_EQ(spans_stats().in_flight, 0);
	spans_advance(6 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 0);
	spans_close();
}

TEST(span_takes_a_start_that_was_recorded_again_after_a_failed_span)
{
	spans_open(&(struct kvtap_cuda_options){ .spans_max = 64 });
	for (int i = 0; i < 200; i++)
		kvtap_span_fail(spans_begin(spans.stream), KVTAP_FAILED);
	spans_advance(1 * MS);
	spans_once(spans.stream, 1, 2 * MS);
	spans_advance(2 * MS);
	CHECK_EQ(spans_stats().failed, 200);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	spans_close();
}

TEST(span_is_null_for_every_call_and_nothing_happens)
{
	struct kvtap_cuda_stats stats;

	kvtap_span_add(NULL, 1, 1);
	kvtap_span_job(NULL, 1);
	kvtap_span_end(NULL);
	kvtap_span_fail(NULL, KVTAP_FAILED);
	CHECK(!kvtap_span_begin(NULL, KVTAP_STREAM_DEFAULT, 1));
	CHECK_EQ(kvtap_cuda_harvest(NULL, 0), 0);
	kvtap_cuda_stats(NULL, &stats);
	kvtap_cuda_close(NULL);
}

/* ---- time ---- */

static void check_hour(uint64_t harvest_after_ns)
{
	uint64_t begin_ns;

	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	spans_advance(HOUR + 123456789);
	begin_ns = spans_now();
	spans_busy(spans.stream, 3 * MS);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(harvest_after_ns);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(read_all(), 2);
	CHECK(llabs((long long)(record[1].end_ns - begin_ns - 4 * MS)) <= 1000);
	CHECK(llabs((long long)(record[1].queue_ns - 3 * MS)) <= 1000);
	CHECK_EQ(record[1].duration_ns, 1 * MS);
	spans_close();
}

TEST(span_has_its_time_within_a_microsecond_an_hour_after_the_first)
{
	check_hour(4 * MS);
}

TEST(span_has_its_time_within_a_microsecond_when_harvested_some_seconds_later)
{
	check_hour(10 * SECOND);
}

/* The device's time of each is a float: an hour away it is 0.2 ms fine. */
TEST(span_harvested_an_hour_late_spoils_no_other_ones_time)
{
	uint64_t begin_ns;

	spans_open(NULL);
	for (int i = 0; i < 16; i++) { /* more than a begin harvests */
		void *stream = spans_stream();

		spans_advance(77 * US);
		spans_once(stream, 1, 60 * MS);
	}
	spans_advance(HOUR + 123456789);
	spans_once(spans.stream, 2, 1 * MS); /* renews the anchor */
	spans_advance(1 * MS);
	kvtap_cuda_harvest(spans.cuda, 0);
	begin_ns = spans_now();
	spans_once(spans.stream, 3, 1 * MS);
	spans_advance(1 * MS);
	kvtap_cuda_harvest(spans.cuda, 0);
	CHECK_EQ(spans_stats().recorded, 18);
	CHECK_EQ(read_all(), 18);
	CHECK_EQ(record[17].bytes, 3);
	CHECK(llabs((long long)(record[17].end_ns - begin_ns - 1 * MS)) <= 1000);
	CHECK(record[17].queue_ns <= 1000);
	spans_close();
}

/* ---- order ---- */

TEST(span_stays_in_flight_until_its_end_is_reached)
{
	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	spans_advance(1 * MS - 1);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 0);
	CHECK_EQ(spans_stats().in_flight, 1);
	CHECK_EQ(spans_stats().recorded, 0);
	spans_advance(1);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(spans_stats().in_flight, 0);
	CHECK_EQ(spans_stats().recorded, 1);
	spans_close();
}

TEST(span_is_recorded_in_the_order_of_its_stream)
{
	spans_open(NULL);
	for (uint64_t i = 0; i < 8; i++)
		spans_once(spans.stream, i, (8 - i) * MS);
	spans_advance(36 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 8);
	CHECK_EQ(read_all(), 8);
	for (uint64_t i = 0; i < 8; i++) {
		CHECK_EQ(record[i].bytes, i);
		CHECK_EQ(record[i].duration_ns, (8 - i) * MS);
	}
	spans_close();
}

TEST(span_does_not_wait_for_one_of_another_stream)
{
	void *other;

	spans_open(NULL);
	other = spans_stream();
	spans_once(spans.stream, 1, 9 * MS);
	spans_once(spans.stream, 2, 9 * MS);
	spans_once(other, 3, 1 * MS);
	spans_once(other, 4, 1 * MS);
	spans_advance(2 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 2);
	CHECK_EQ(read_all(), 2);
	CHECK_EQ(record[0].bytes, 3);
	CHECK_EQ(record[1].bytes, 4);
	spans_advance(7 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	CHECK_EQ(read_all(), 1);
	CHECK_EQ(record[0].bytes, 1);
	spans_advance(9 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 1);
	spans_close();
}

TEST(span_is_asked_for_only_at_the_head_of_its_stream)
{
	uint64_t queries;

	spans_open(NULL);
	for (uint64_t i = 0; i < 32; i++)
		spans_once(spans.stream, i, 1 * MS);
	kvtap_cuda_harvest(spans.cuda, 0); /* the anchor's */
	queries = spans.gpu->calls("cuEventQuery");
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 0);
	CHECK(spans.gpu->calls("cuEventQuery") - queries <= 2);
	spans_advance(32 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0), 32);
	spans_close();
}

TEST(span_harvest_takes_no_more_than_it_is_told)
{
	void *other;

	spans_open(NULL);
	other = spans_stream();
	for (uint64_t i = 0; i < 3; i++) {
		spans_once(spans.stream, i, 1);
		spans_once(other, i, 1);
	}
	spans_advance(3);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 4), 4);
	CHECK_EQ(spans_stats().in_flight, 2);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 4), 2);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 4), 0);
	CHECK_EQ(read_all(), 6);
	spans_close();
}

TEST(span_begin_harvests_those_before_it)
{
	spans_open(NULL);
	for (uint64_t i = 0; i < 1000; i++) {
		spans_once(spans.stream, i, 1);
		spans_advance(1);
	}
	CHECK(spans_stats().in_flight <= 4);
	CHECK(spans.gpu->live_events() <= 2 * 64 + 2);
	spans_close();
}

/* ---- how many ---- */

TEST(span_is_counted_and_not_timed_when_too_many_are_in_flight)
{
	spans_open(&(struct kvtap_cuda_options){ .spans_max = 100 });
	spans_busy(spans.stream, 1 * MS);
	for (int i = 0; i < 100; i++)
		spans_once(spans.stream, 1, 0);
	for (int i = 0; i < 5; i++)
		CHECK(!spans_begin(spans.stream));
	CHECK_EQ(spans_stats().untimed_full, 5);
	CHECK_EQ(spans_stats().in_flight, 100);
	spans_advance(1 * MS);
	while (kvtap_cuda_harvest(spans.cuda, 50) > 0)
		read_all();
	CHECK_EQ(spans_stats().recorded, 100);
	spans_once(spans.stream, 1, 0); /* goes on */
	CHECK_EQ(spans.gpu->live_events(), 2 * 100 + 2);
	spans_close();
}

TEST(span_is_full_in_one_context_alone)
{
	void *first, *other;

	spans_open(&(struct kvtap_cuda_options){ .spans_max = 64 });
	first = spans.stream;
	for (int i = 0; i < 64; i++)
		spans_once(first, 1, 0);
	CHECK(!spans_begin(first));
	spans_context(1);
	other = spans_stream();
	spans_once(other, 1, 0);
	CHECK_EQ(spans_stats().untimed_full, 1);
	CHECK_EQ(spans_stats().in_flight, 65);
	spans_close();
}

TEST(span_is_harvested_or_abandoned_by_close)
{
	spans_open(NULL);
	spans_once(spans.stream, 1, 1 * MS);
	spans_once(spans.stream, 2, 9 * MS);
	spans_once(spans.stream, 3, 9 * MS);
	spans_advance(1 * MS);
	spans_close_cuda();
	CHECK_EQ(read_all(), 1);
	CHECK_EQ(record[0].bytes, 1);
	CHECK_EQ(spans_counted("abandoned"), 2);
	CHECK_EQ(spans_counted("full"), 0);
	spans_close();
}

TEST(span_options_out_of_range_are_refused)
{
	static const struct kvtap_cuda_options wrong[] = { { .spans_max = 63 },
							   { .spans_max = 4097 } };
	struct kvtap_cuda *cuda;

	spans_open(NULL);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(kvtap_cuda_open(&cuda, spans.tap, &wrong[i]), -EINVAL);
		CHECK(cuda);
		CHECK(!kvtap_span_begin(cuda, spans.stream, spans.load));
		kvtap_cuda_close(cuda);
	}
	spans_close();
}
