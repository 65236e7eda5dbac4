/* SPDX-License-Identifier: Apache-2.0 */
/* test_cuda_driver.c - spans in a process that has no CUDA driver, or not all of one */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/cuda/driver.h"
#include "kvtap_cuda.h"
#include "support_segment.h"
#include "test.h"

static char logged[512];

static void on_log(void *log_arg, enum kvtap_level level, const char *message)
{
	(void)log_arg;
	(void)level;
	snprintf(logged, sizeof(logged), "%s", message);
}

static struct kvtap *logging_tap(void)
{
	struct kvtap_options options = small_options();
	struct kvtap *tap;

	options.log = on_log;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	return tap;
}

static struct kvtap_cuda_stats stats_of(struct kvtap_cuda *cuda)
{
	struct kvtap_cuda_stats stats;

	kvtap_cuda_stats(cuda, &stats);
	return stats;
}

TEST(cuda_driver_is_not_found_and_not_loaded_where_the_process_has_none)
{
	const char *missing = "something";
	struct kvtap_cu cu;

	CHECK_EQ(kvtap_cu_find(&cu, &missing), -ENOSYS);
	CHECK(!missing);
}

TEST(cuda_driver_open_says_that_there_is_none)
{
	struct kvtap *tap = logging_tap();
	struct kvtap_cuda *cuda = NULL;

	CHECK_EQ(kvtap_cuda_open(&cuda, tap, NULL), -ENOSYS);
	CHECK(cuda);
	CHECK(strstr(logged, "libcuda.so.1 is not loaded"));
	kvtap_cuda_close(cuda);
	kvtap_close(tap);
	remove_segments();
}

TEST(cuda_driver_counts_each_span_where_there_is_none)
{
	struct kvtap *tap = small_tap();
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	struct kvtap_cuda *cuda;
	struct kvtap_span *span;

	kvtap_cuda_open(&cuda, tap, NULL);
	for (int i = 0; i < 3; i++) {
		span = kvtap_span_begin(cuda, KVTAP_STREAM_DEFAULT, load);
		CHECK(!span);
		kvtap_span_add(span, 4096, 1);
		kvtap_span_job(span, 7);
		kvtap_span_end(span);
		kvtap_span_fail(span, KVTAP_CANCELLED);
	}
	CHECK_EQ(kvtap_cuda_harvest(cuda, 0), 0);
	CHECK_EQ(stats_of(cuda).untimed_driver, 3);
	CHECK_EQ(stats_of(cuda).recorded + stats_of(cuda).failed + stats_of(cuda).in_flight, 0);
	kvtap_cuda_close(cuda);
	kvtap_close(tap);
	remove_segments();
}

TEST(cuda_driver_counts_for_the_operators_too_where_there_is_none)
{
	static const char *const reason = "driver";
	const struct kvtap_family family = {
		.name = "kvtap_cuda_spans_untimed",
		.metric = KVTAP_COUNTER,
		.flags = KVTAP_FAMILY_LAZY,
		.label_names = (const char *const[]){ "reason" },
		.label_count = 1,
	};
	struct kvtap *tap = small_tap();
	struct kvtap_cuda *cuda;
	struct watch watch;
	uint32_t id, series;

	kvtap_cuda_open(&cuda, tap, NULL);
	CHECK(!kvtap_span_begin(cuda, NULL, 1));
	CHECK(!kvtap_span_begin(cuda, NULL, 1));
	CHECK_EQ(kvtap_family_declare(tap, &id, &family), 0);
	CHECK_EQ(kvtap_family_series(tap, &series, id, &reason, 1), 0);
	watch_open(&watch, 0);
	watch_drain(&watch);
	CHECK(total_double(watch_total(&watch, series), 0) == 2);
	kvtap_cuda_close(cuda);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(cuda_driver_open_refuses_options_out_of_range)
{
	static const struct kvtap_cuda_options wrong[] = {
		{ .spans_max = 63 },
		{ .spans_max = 4097 },
		{ .harvest_ms = 60001 },
	};
	struct kvtap *tap = logging_tap();
	struct kvtap_cuda *cuda;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		CHECK_EQ(kvtap_cuda_open(&cuda, tap, &wrong[i]), -EINVAL);
		CHECK(!kvtap_span_begin(cuda, NULL, 1));
		CHECK_EQ(stats_of(cuda).untimed_driver, 1);
		kvtap_cuda_close(cuda);
	}
	CHECK(strstr(logged, "spans_max"));
	kvtap_close(tap);
	remove_segments();
}

TEST(cuda_driver_takes_every_call_without_a_tap_and_without_an_object)
{
	struct kvtap_cuda_stats stats;
	struct kvtap_cuda *cuda;
	uint32_t series = 1;

	CHECK_EQ(kvtap_cuda_open(&cuda, NULL, NULL), 0);
	CHECK(!kvtap_span_begin(cuda, NULL, 1));
	CHECK_EQ(stats_of(cuda).untimed_driver, 1);
	CHECK_EQ(kvtap_cuda_builtin(cuda, &series, NULL, KVTAP_OFFLOAD_LOAD, NULL), -ENODEV);
	CHECK_EQ(series, 0);
	kvtap_cuda_close(cuda);
	CHECK(!kvtap_span_begin(NULL, NULL, 1));
	CHECK_EQ(kvtap_cuda_harvest(NULL, 0), 0);
	kvtap_cuda_stats(NULL, &stats);
	CHECK_EQ(stats.untimed_driver, 0);
	kvtap_cuda_close(NULL);
}
