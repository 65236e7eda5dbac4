/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_span_threads.c - spans of many threads at once, and spans as a scrape shows them
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "support_exporter.h"
#include "support_page.h"
#include "support_segment.h"
#include "support_span.h"
#include "test.h"

#define THREADS 8
#define EACH 200
#define SECONDS_OF_1(what)                                                                         \
	"kvtap_transfer_device_seconds_" what                                                      \
	"{connector=\"OffloadingConnector\",device=\"1\",direction=\"load\"}"

static struct kvtap_record record[2 * THREADS * EACH];
static atomic_uint begun_all, bytes_all;

/* ---- threads ---- */

/* A stream of its own on one of two devices, and that of all. */
static void *use_streams(void *shared)
{
	void *context, *stream;
	uint32_t number = atomic_fetch_add(&begun_all, 1);

	CHECK_EQ(spans.cu.cuCtxPushCurrent_v2(((void **)shared)[number % 2]), 0);
	stream = spans_stream();
	for (uint32_t i = 0; i < EACH; i++) {
		struct kvtap_span *span = spans_begin(i % 4 ? stream : spans.stream);

		if (span)
			atomic_fetch_add(&bytes_all, i);
		kvtap_span_add(span, i, 1);
		spans_busy(stream, 1 * US);
		if (i % 50 == 7) {
			kvtap_span_fail(span, KVTAP_CANCELLED);
			continue;
		}
		kvtap_span_end(span);
		if (i % 16 == 0)
			kvtap_cuda_harvest(spans.cuda, 8);
	}
	CHECK_EQ(spans.cu.cuCtxGetCurrent(&context), 0);
	CHECK(context == ((void **)shared)[number % 2]);
	return NULL;
}

static void check_threads(const struct kvtap_cuda_options *options)
{
	void *context[2];
	pthread_t thread[THREADS];
	uint32_t count;
	uint64_t bytes = 0;

	spans_open_following(options);
	begun_all = bytes_all = 0;
	context[0] = spans.context;
	context[1] = spans_context(1);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, use_streams, context), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	while (spans_stats().in_flight) {
		if (!options->harvest_ms)
			kvtap_cuda_harvest(spans.cuda, 0);
		sched_yield();
	}
	CHECK_EQ(spans_stats().untimed_context, 0);
	CHECK_EQ(spans_stats().failed + spans_stats().recorded + spans_stats().untimed_full,
		 THREADS * EACH);
	count = spans_read(record, 2 * THREADS * EACH);
	CHECK_EQ(count, spans_stats().failed + spans_stats().recorded);
	for (uint32_t i = 0; i < count; i++)
		bytes += record[i].bytes;
	CHECK_EQ(bytes, bytes_all);
	spans_close();
}

TEST_TIMEOUT(span_of_many_threads_is_recorded_once_by_a_harvester, 240)
{
	check_threads(&(struct kvtap_cuda_options){ .harvest_ms = 1 });
}

TEST_TIMEOUT(span_of_many_threads_is_recorded_once_by_the_threads, 240)
{
	check_threads(&(struct kvtap_cuda_options){ .spans_max = 64 });
}

TEST_TIMEOUT(span_of_many_threads_is_recorded_once_by_host_functions, 240)
{
	check_threads(&(struct kvtap_cuda_options){ .host_functions = 1 });
}

static void *lose_context(void *context)
{
	while (spans_stats().recorded < 50)
		sched_yield();
	spans.gpu->stick(context, 719);
	return NULL;
}

TEST_TIMEOUT(span_is_recorded_or_counted_when_a_context_is_lost_under_it, 240)
{
	pthread_t thread;
	uint32_t begun = 0;

	spans_open_following(&(struct kvtap_cuda_options){ .harvest_ms = 1 });
	CHECK_EQ(pthread_create(&thread, NULL, lose_context, spans.context), 0);
	while (spans_stats().untimed_context < 50) {
		struct kvtap_span *span = spans_begin(spans.stream);

		begun++;
		kvtap_span_add(span, 1, 1);
		kvtap_span_end(span);
		sched_yield();
	}
	CHECK_EQ(pthread_join(thread, NULL), 0);
	while (spans_stats().in_flight)
		sched_yield();
	CHECK_EQ(spans_stats().recorded + spans_stats().failed + spans_stats().untimed_context +
			 spans_stats().untimed_full,
		 begun);
	spans_close();
}

/* ---- through the exporter ---- */

static double value_of(struct exporter *exporter, const char *sample)
{
	char *page = exporter_scrape(exporter);
	double value = page_value(page, sample);

	free(page);
	return value;
}

TEST(span_is_a_load_in_a_scrape_and_one_that_was_not_timed_is_shown_by_reason)
{
	struct exporter exporter;
	void *stream;
	uint32_t on_second;
	struct kvtap_span *span;

	spans_open(NULL);
	exporter_start(&exporter, NULL);
	for (uint64_t i = 0; i < 10; i++)
		spans_once(spans.stream, 1000, 2 * MS);
	spans_context(1);
	stream = spans_stream();
	CHECK_EQ(kvtap_cuda_builtin(spans.cuda, &on_second, stream, KVTAP_OFFLOAD_LOAD, NULL), 0);
	for (int i = 0; i < 3; i++)
		CHECK(!spans_begin((void *)"no stream"));
	spans.load = on_second;
	span = spans_begin(stream);
	kvtap_span_add(span, 24, 1);
	spans_busy(stream, 4 * MS);
	kvtap_span_end(span);
	spans_advance(20 * MS);
	CHECK_EQ(kvtap_cuda_harvest(spans.cuda, 0) > 0, 1);
	CHECK_EQ(spans_stats().recorded, 11);
	page_wait(&exporter, "vllm:kv_offload_load_size_count", 11);
	CHECK(value_of(&exporter, "vllm:kv_offload_load_bytes_total") == 10024);
	CHECK(value_of(&exporter, "vllm:kv_offload_load_time_total") == 0.024);
	CHECK(value_of(&exporter, SECONDS_OF_1("count")) == 1);
	CHECK(value_of(&exporter, SECONDS_OF_1("sum")) == 0.004);
	CHECK(value_of(&exporter, "kvtap_cuda_spans_untimed_total{reason=\"context\"}") == 3);
	exporter_stop(&exporter);
	spans_close();
	exporter_forget("default");
}
