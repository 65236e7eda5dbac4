/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vectors.c - records whose figures are known, through ring and exporter to its log
 *
 * The figures are what vLLM's stats classes print for the same transfers. What they do with objects
 * that a record can't be (a key that a payload lacks, a type that changes) has no counterpart here.
 */
#include <stdio.h>
#include <string.h>

#include "support_vectors.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define US 1000ull
#define MS (1000 * US)
#define MIB (1ull << 20)

/* A vector's row: microseconds, bytes, descriptors. */
struct row {
	uint64_t xfer_us, post_us, bytes;
	uint32_t descriptors;
};

static void record_rows(struct kvtap *tap, uint32_t series, const struct row *row, size_t rows)
{
	for (size_t i = 0; i < rows; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
							      .duration_ns = row[i].xfer_us * US,
							      .submit_ns = row[i].post_us * US,
							      .bytes = row[i].bytes,
							      .descriptors = row[i].descriptors });
}

/* One engine for each vector. */
static void record_kind(const char *engine, const char *kind, const struct row *row, size_t rows)
{
	struct kvtap *tap = interval_tap(engine, NULL);

	record_rows(tap, interval_series(tap, kind, NULL), row, rows);
	kvtap_close(tap);
}

static void record_failed(struct kvtap *tap, const char *kind, int count)
{
	uint32_t series = interval_series(tap, kind, NULL);

	for (int i = 0; i < count; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
							      .status = KVTAP_FAILED,
							      .duration_ns = MS });
}

#define CHECK_PAGE(family, engine, value)                                                          \
	CHECK(page_value(interval.page, family "{engine=\"" engine "\",model_name=\"m\"}") ==      \
	      (double)(value))

#define NIXL(n, avg, p90, avg_post, p90_post, mb, rate, descriptors)                               \
	"Num successful transfers=" n ", Avg xfer time (ms)=" avg ", P90 xfer time (ms)=" p90      \
	", Avg post time (ms)=" avg_post ", P90 post time (ms)=" p90_post                          \
	", Avg MB per transfer=" mb ", Throughput (MB/s)=" rate                                    \
	", Avg number of descriptors=" descriptors

TEST(vectors_of_nixl_have_vllms_eight_figures)
{
	static const struct row n1[] = { { 9862, 5693, 70 * MIB, 56 } },
				n2[] = { { 1000000, 1000000, 1, 1 }, { 1000000, 1000000, 1, 1 },
					 { 1000000, 1000000, 1, 1 }, { 2000000, 2000000, 2, 2 },
					 { 2000000, 2000000, 2, 2 }, { 2000000, 2000000, 2, 2 } },
				n4[] = { { 1000, 500, MIB, 1 }, { 3000, 700, 3 * MIB, 2 } };
	struct row n3[10];
	struct interval interval;

	for (uint32_t i = 1; i <= COUNT(n3); i++)
		n3[i - 1] = (struct row){ 1000 * i, 100 * i, i * MIB, i };
	interval_begin(&interval);
	record_kind("N1", KVTAP_NIXL_TRANSFER, n1, COUNT(n1));
	record_kind("N2", KVTAP_NIXL_TRANSFER, n2, COUNT(n2));
	record_kind("N3", KVTAP_NIXL_TRANSFER, n3, COUNT(n3));
	record_kind("N4", KVTAP_NIXL_TRANSFER, n4, COUNT(n4));
	interval_end(&interval);
	interval_check(&interval, "N1",
		       NIXL("1", "9.862", "9.862", "5.693", "5.693", "70.0", "7097.952", "56.0"));
	interval_check(&interval, "N2",
		       NIXL("6", "1500.0", "2000.0", "1500.0", "2000.0", "0.0", "0.0", "1.5"));
	interval_check(&interval, "N3",
		       NIXL("10", "5.5", "9.1", "0.55", "0.91", "5.5", "1000.0", "5.5"));
	interval_check(&interval, "N4",
		       NIXL("2", "2.0", "2.8", "0.6", "0.68", "2.0", "1000.0", "1.5"));
	CHECK_PAGE("vllm:nixl_xfer_time_seconds_sum", "N1", 0.009862);
	CHECK_PAGE("vllm:nixl_post_time_seconds_sum", "N3", 0.0055);
	CHECK_PAGE("vllm:nixl_bytes_transferred_sum", "N3", 55 * MIB);
	CHECK_PAGE("vllm:nixl_num_descriptors_sum", "N2", 9);
	CHECK_PAGE("vllm:nixl_num_descriptors_count", "N2", 6);
	interval_free(&interval);
}

TEST(vectors_of_nixl_without_a_success_have_zeros_and_show_failures)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("N5", NULL);
	record_failed(tap, KVTAP_NIXL_TRANSFER, 2);
	kvtap_add(tap, interval_series(tap, "vllm:nixl_num_failed_notifications", NULL), 1);
	kvtap_add(tap, interval_series(tap, "vllm:nixl_num_kv_expired_reqs", NULL), 1);
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "N5",
		       NIXL("0", "0", "0", "0", "0", "0", "0",
			    "0") ", Num failed transfers=2, Num failed notifications=1, Num KV "
				 "expired reqs=1");
	CHECK_PAGE("vllm:nixl_num_failed_transfers_total", "N5", 2);
	CHECK_PAGE("vllm:nixl_num_failed_notifications_total", "N5", 1);
	CHECK_PAGE("vllm:nixl_num_kv_expired_reqs_total", "N5", 1);
	interval_free(&interval);
}

TEST(vectors_of_nixl_without_time_have_inf_or_nan)
{
	struct interval interval;

	interval_begin(&interval);
	record_kind("inf", KVTAP_NIXL_TRANSFER, &(struct row){ .bytes = MIB, .descriptors = 1 }, 1);
	record_kind("nan", KVTAP_NIXL_TRANSFER, &(struct row){ 0 }, 1);
	interval_end(&interval);
	interval_check(&interval, "inf",
		       NIXL("1", "0.0", "0.0", "0.0", "0.0", "1.0", "inf", "1.0"));
	interval_check(&interval, "nan",
		       NIXL("1", "0.0", "0.0", "0.0", "0.0", "0.0", "nan", "0.0"));
	interval_free(&interval);
}

/*
 * The 90th percentile of the first times and the mean of the second are both 14.5 us. numpy takes it
 * 1000 times, which is a tie, and rounds to even; Python the binary value, which is above the tie.
 */
TEST(vectors_of_nixl_round_means_as_numpy_and_percentiles_as_python)
{
	static const struct row n8[] = {
		{ 14, 14, MIB, 1 }, { 14, 14, MIB, 1 }, { 14, 14, MIB, 1 },
		{ 14, 15, MIB, 1 }, { 14, 15, MIB, 1 }, { 15, 15, MIB, 1 }
	};
	struct interval interval;

	interval_begin(&interval);
	record_kind("N8", KVTAP_NIXL_TRANSFER, n8, COUNT(n8));
	interval_end(&interval);
	interval_check(&interval, "N8",
		       NIXL("6", "0.014", "0.015", "0.014", "0.015", "1.0", "70588.235", "1.0"));
	interval_free(&interval);
}

TEST(vectors_are_empty_until_something_is_recorded)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *idle = interval_tap("idle", NULL), *expired = interval_tap("E1", NULL);
	interval_series(idle, KVTAP_NIXL_TRANSFER, NULL);
	kvtap_add(expired, interval_series(expired, "vllm:nixl_num_kv_expired_reqs", NULL), 1);
	kvtap_close(idle);
	kvtap_close(expired);
	interval_end(&interval);
	CHECK(!interval_figures(&interval, "idle"));
	CHECK(interval_contains(&interval, "E1", ", Num KV expired reqs=1"));
	CHECK(page_value(interval.page, "vllm:nixl_num_failed_transfers_total{engine=\"idle\","
					"model_name=\"m\"}") == 0);
	interval_free(&interval);
}

#define MOONCAKE(n, avg, p90, mb, rate, descriptors, failed, receives, expired)                    \
	"Num successful transfers=" n ", Avg xfer time (ms)=" avg ", P90 xfer time (ms)=" p90      \
	", Avg MB per transfer=" mb ", Throughput (MB/s)=" rate                                    \
	", Avg number of descriptors=" descriptors ", Num failed transfers=" failed                \
	", Num failed recvs=" receives ", Num KV expired reqs=" expired

TEST(vectors_of_mooncake_have_vllms_nine_figures)
{
	static const struct row m1[] = { { 1000, 0, MIB, 4 }, { 2000, 0, 2 * MIB, 6 } },
				zero[] = { { 0, 0, MIB, 1 } };
	struct interval interval;

	interval_begin(&interval);
	record_kind("M1", KVTAP_MOONCAKE_SEND, m1, COUNT(m1));
	record_kind("zero", KVTAP_MOONCAKE_SEND, zero, COUNT(zero));
	struct kvtap *tap = interval_tap("M3", NULL);
	record_failed(tap, KVTAP_MOONCAKE_SEND, 1);
	record_failed(tap, KVTAP_MOONCAKE_RECEIVE, 1);
	kvtap_add(tap, interval_series(tap, "kvtap_expired_requests", NULL), 1);
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "M1",
		       MOONCAKE("2", "1.5", "1.9", "1.5", "1000.0", "5.0", "0", "0", "0"));
	interval_check(&interval, "zero",
		       MOONCAKE("1", "0.0", "0.0", "1.0", "0.0", "1.0", "0", "0", "0"));
	interval_check(&interval, "M3", MOONCAKE("0", "0", "0", "0", "0", "0", "1", "1", "1"));
	interval_free(&interval);
}

static void record_operation(struct kvtap *tap, const char *operation, const char *status,
			     struct kvtap_transfer transfer)
{
	transfer.series = interval_series(tap, KVTAP_MOONCAKE_STORE,
					  &(struct kvtap_builtin_labels){ .operation = operation,
									  .status = status });
	kvtap_transfer(tap, &transfer);
}

TEST(vectors_of_the_mooncake_store_have_seven_figures_for_each_operation)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("S1", NULL);
	record_operation(tap, "save_put", "ok",
			 (struct kvtap_transfer){
				 .duration_ns = 10 * MS, .descriptors = 2, .bytes = 128 });
	record_operation(tap, "save_put", "error",
			 (struct kvtap_transfer){ .status = KVTAP_FAILED,
						  .duration_ns = 30 * MS,
						  .descriptors = 1,
						  .failed_descriptors = 1,
						  .bytes = 64 });
	record_operation(tap, "load_get", "partial_failure",
			 (struct kvtap_transfer){ .status = KVTAP_FAILED,
						  .duration_ns = 500,
						  .descriptors = 2,
						  .failed_descriptors = 1 });
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "S1",
		       "load_get_count=1, load_get_avg_ms=0.001, load_get_p90_ms=0.001, "
		       "load_get_total_keys=2, load_get_total_bytes=0, load_get_failed_keys=1, "
		       "load_get_error_count=0, save_put_count=2, save_put_avg_ms=20.0, "
		       "save_put_p90_ms=30.0, save_put_total_keys=3, save_put_total_bytes=192, "
		       "save_put_failed_keys=1, save_put_error_count=1");
	CHECK(page_value(interval.page,
			 "vllm:mooncake_store_operation_failed_keys_total{engine=\"S1\","
			 "model_name=\"m\",operation=\"save_put\",status=\"error\"}") == 1);
	CHECK(page_value(interval.page,
			 "vllm:mooncake_store_operation_bytes_total{engine=\"S1\","
			 "model_name=\"m\",operation=\"save_put\",status=\"ok\"}") == 128);
	interval_free(&interval);
}

TEST(vectors_of_hf3fs_have_vllms_nine_figures)
{
	static const struct row h1[] = { { 1000000, 0, 0, 0 }, { 3000000, 0, 0, 0 } };
	struct interval interval;

	interval_begin(&interval);
	record_kind("H1", KVTAP_HF3FS_SAVE, h1, COUNT(h1));
	record_kind("loads", KVTAP_HF3FS_LOAD, h1, COUNT(h1));
	struct kvtap *tap = interval_tap("failed", NULL);
	record_failed(tap, KVTAP_HF3FS_LOAD, 3);
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "H1",
		       "Num transfers task=2, Num save task success=2, Num save task failed=0, "
		       "Num load task success=0, Num load task failed=0, "
		       "Avg save duration (ms)=2000.0, P90 save duration (ms)=2800.0, "
		       "Avg load duration (ms)=0.0, P90 load duration (ms)=0.0");
	interval_check(&interval, "loads",
		       "Num transfers task=2, Num save task success=0, Num save task failed=0, "
		       "Num load task success=2, Num load task failed=0, "
		       "Avg save duration (ms)=0.0, P90 save duration (ms)=0.0, "
		       "Avg load duration (ms)=2000.0, P90 load duration (ms)=2800.0");
	interval_check(&interval, "failed",
		       "Num transfers task=3, Num save task success=0, Num save task failed=0, "
		       "Num load task success=0, Num load task failed=3, "
		       "Avg save duration (ms)=0.0, P90 save duration (ms)=0.0, "
		       "Avg load duration (ms)=0.0, P90 load duration (ms)=0.0");
	CHECK_PAGE("vllm:hf3fs_save_duration_seconds_sum", "H1", 4);
	CHECK_PAGE("vllm:hf3fs_num_failed_load_total", "failed", 3);
	interval_free(&interval);
}

/* ---- JSON ---- */

TEST(vectors_in_json_have_the_same_digits_and_null_for_what_is_no_number)
{
	static const struct row n1[] = { { 9862, 5693, 70 * MIB, 56 } }, n6[] = { { 0 } };
	struct interval interval;

	interval_begin_with(&interval, (const char *[]){ "--log.interval=1h",
							 "--log.interval-format=json", NULL });
	record_kind("N1", KVTAP_NIXL_TRANSFER, n1, COUNT(n1));
	record_kind("N6", KVTAP_NIXL_TRANSFER, n6, COUNT(n6));
	interval_end(&interval);
	CHECK(strstr(interval.told,
		     "\"model_name\":\"m\",\"engine\":\"N1\",\"connectors\":{\"NixlPullConnector\":"
		     "{"
		     "\"Num successful transfers\":1,\"Avg xfer time (ms)\":9.862,"
		     "\"P90 xfer time (ms)\":9.862,\"Avg post time (ms)\":5.693,"
		     "\"P90 post time (ms)\":5.693,\"Avg MB per transfer\":70.0,"
		     "\"Throughput (MB/s)\":7097.952,\"Avg number of descriptors\":56.0,"));
	CHECK(strstr(interval.told, "\"engine\":\"N6\",\"connectors\":{\"NixlPullConnector\":{"
				    "\"Num successful transfers\":1,\"Avg xfer time (ms)\":0.0,"));
	CHECK(strstr(interval.told, "\"Throughput (MB/s)\":null,"));
	CHECK_EQ(interval_lines(&interval), 2);
	interval_free(&interval);
}
