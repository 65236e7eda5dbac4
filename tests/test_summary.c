/* SPDX-License-Identifier: Apache-2.0 */
/* test_summary.c - the figures of each form, from records in rings and folded ones */
#include "support_connector.h"
#include "support_parts.h"
#include "test.h"

#define MIB (1u << 20)

static struct parts exporter;
static struct kvtap *tap;

static void begin(void)
{
	parts_begin(&exporter, false);
	tap = connector_tap(NULL, NULL);
}

static const char *line(void)
{
	parts_scrape(&exporter);
	return parts_interval(&exporter);
}

static void end(void)
{
	kvtap_close(tap);
	parts_end(&exporter);
}

static uint32_t nixl(void)
{
	return connector_kind(tap, connector_declare(tap, "Nixl", KVTAP_SUMMARY_NIXL),
			      KVTAP_ROLE_TRANSFER, "nixl");
}

TEST(summary_of_nixl_is_vllms_when_all_records_are_there)
{
	begin();
	uint32_t series = nixl();
	move_us(tap, series, 9862, 5693, 70 * MIB, 56);
	CHECK_STR(line(), "Num successful transfers=1, Avg xfer time (ms)=9.862, "
			  "P90 xfer time (ms)=9.862, Avg post time (ms)=5.693, "
			  "P90 post time (ms)=5.693, Avg MB per transfer=70.0, "
			  "Throughput (MB/s)=7097.952, Avg number of descriptors=56.0, "
			  "Num failed transfers=0, Num failed notifications=0, "
			  "Num KV expired reqs=0, Per-rank throughput (MB/s)=7097.952, "
			  "Aggregate throughput (MB/s)=7097.952, Ranks=1, Model=m\n");
	for (uint32_t i = 1; i <= 10; i++)
		move_us(tap, series, 1000 * i, 100 * i, i * MIB, i);
	CHECK(strstr(line(), "=10, Avg xfer time (ms)=5.5, P90 xfer time (ms)=9.1, "
			     "Avg post time (ms)=0.55, P90 post time (ms)=0.91, "
			     "Avg MB per transfer=5.5, Throughput (MB/s)=1000.0, "
			     "Avg number of descriptors=5.5, "));
	end();
}

TEST(summary_of_nixl_divides_as_numpy_when_no_time_passed)
{
	begin();
	uint32_t series = nixl();
	move_us(tap, series, 0, 0, MIB, 1);
	CHECK(strstr(line(), "Throughput (MB/s)=inf, Avg number of descriptors=1.0"));
	move_us(tap, series, 0, 0, 0, 1);
	CHECK(strstr(line(), "Throughput (MB/s)=nan, Avg"));
	move_us(tap, series, 0, 0, 0, 1);
	parts_scrape(&exporter);
	CHECK(strstr(parts_interval_json(&exporter), "\"Throughput (MB/s)\":null,"));
	end();
}

TEST(summary_of_nixl_tells_failures_when_nothing_succeeded)
{
	begin();
	uint32_t series = nixl(), connector = connector_declare(tap, "Nixl", KVTAP_SUMMARY_NIXL);
	uint32_t notification =
		connector_family(tap, connector, KVTAP_COUNTER, KVTAP_UNIT_COUNT,
				 KVTAP_ROLE_FAILED_NOTIFICATION, "notifications", NULL);
	uint32_t expired = connector_family(tap, connector, KVTAP_COUNTER, KVTAP_UNIT_COUNT,
					    KVTAP_ROLE_EXPIRED_REQUEST, "expired", NULL);
	fail_move(tap, series, KVTAP_FAILED);
	fail_move(tap, series, KVTAP_TIMED_OUT);
	kvtap_add(tap, notification, 1);
	kvtap_add(tap, expired, 1);
	CHECK_STR(line(), "Num successful transfers=0, Avg xfer time (ms)=0, "
			  "P90 xfer time (ms)=0, Avg post time (ms)=0, P90 post time (ms)=0, "
			  "Avg MB per transfer=0, Throughput (MB/s)=0, "
			  "Avg number of descriptors=0, Num failed transfers=2, "
			  "Num failed notifications=1, Num KV expired reqs=1, "
			  "Per-rank throughput (MB/s)=0, Aggregate throughput (MB/s)=0, Ranks=0, "
			  "Model=m\n");
	kvtap_add(tap, expired, 1);
	CHECK(strstr(line(), "Num KV expired reqs=1, "));
	kvtap_add(tap, expired, 0);
	CHECK_STR(line(), "");
	end();
}

TEST(summary_of_mooncake_counts_failures_and_has_no_rate_without_time)
{
	begin();
	uint32_t connector = connector_declare(tap, "Mooncake", KVTAP_SUMMARY_MOONCAKE);
	uint32_t send = connector_kind(tap, connector, KVTAP_ROLE_TRANSFER, "send");
	uint32_t receive = connector_kind(tap, connector, KVTAP_ROLE_RECEIVE, "receive");
	move_us(tap, receive, 5, 0, 1, 1); /* the sender tells of it */
	CHECK_STR(line(), "");
	move_us(tap, send, 1000, 0, MIB, 4);
	move_us(tap, send, 2000, 0, 2 * MIB, 6);
	CHECK_STR(line(), "Num successful transfers=2, Avg xfer time (ms)=1.5, "
			  "P90 xfer time (ms)=1.9, Avg MB per transfer=1.5, "
			  "Throughput (MB/s)=1000.0, Avg number of descriptors=5.0, "
			  "Num failed transfers=0, Num failed recvs=0, Num KV expired reqs=0, "
			  "Per-rank throughput (MB/s)=1000.0, Aggregate throughput (MB/s)=1000.0, "
			  "Ranks=1, Model=m\n");
	fail_move(tap, send, KVTAP_FAILED);
	fail_move(tap, receive, KVTAP_FAILED);
	CHECK(strstr(line(), "Num successful transfers=0, Avg xfer time (ms)=0, "));
	move_us(tap, send, 0, 0, MIB, 4);
	CHECK(strstr(line(), "Throughput (MB/s)=0.0, Avg number of descriptors=4.0, "));
	end();
}

TEST(summary_of_a_store_is_by_operation_in_order_of_names)
{
	begin();
	uint32_t connector = connector_declare(tap, "Store", KVTAP_SUMMARY_MOONCAKE_STORE);
	uint32_t put = connector_operation(tap, connector, "save_put", "ok");
	uint32_t error = connector_operation(tap, connector, "save_put", "error");
	uint32_t get = connector_operation(tap, connector, "load_get", "partial_failure");
	move_us(tap, put, 10000, 0, 128, 2);
	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = error,
						      .status = KVTAP_FAILED,
						      .duration_ns = 30000000,
						      .bytes = 64,
						      .descriptors = 1,
						      .failed_descriptors = 1 });
	move_us(tap, get, 1500, 0, 7, 1);
	CHECK_STR(line(), "load_get_count=1, load_get_avg_ms=1.5, load_get_p90_ms=1.5, "
			  "load_get_total_keys=1, load_get_total_bytes=7, "
			  "load_get_failed_keys=0, load_get_error_count=0, save_put_count=2, "
			  "save_put_avg_ms=20.0, save_put_p90_ms=30.0, save_put_total_keys=3, "
			  "save_put_total_bytes=192, save_put_failed_keys=1, "
			  "save_put_error_count=1, Model=m\n");
	end();
}

TEST(summary_has_no_line_of_transfers_whose_role_it_has_no_figures_of)
{
	begin();
	uint32_t store = connector_declare(tap, "Store", KVTAP_SUMMARY_MOONCAKE_STORE);
	uint32_t hf3fs = connector_declare(tap, "HF3FS", KVTAP_SUMMARY_HF3FS);
	move_us(tap, connector_kind(tap, store, KVTAP_ROLE_TRANSFER, "a"), 1, 0, 1, 1);
	fail_move(tap, connector_kind(tap, hf3fs, KVTAP_ROLE_RECEIVE, "b"), KVTAP_FAILED);
	CHECK_STR(line(), "");
	end();
}

TEST(summary_of_hf3fs_has_zeros_for_the_side_without_tasks)
{
	begin();
	uint32_t connector = connector_declare(tap, "HF3FS", KVTAP_SUMMARY_HF3FS);
	uint32_t save = connector_kind(tap, connector, KVTAP_ROLE_SAVE, "save");
	uint32_t load = connector_kind(tap, connector, KVTAP_ROLE_LOAD, "load");
	move_us(tap, save, 1000000, 0, 0, 0);
	move_us(tap, save, 3000000, 0, 0, 0);
	CHECK_STR(line(), "Num transfers task=2, Num save task success=2, "
			  "Num save task failed=0, Num load task success=0, "
			  "Num load task failed=0, Avg save duration (ms)=2000.0, "
			  "P90 save duration (ms)=2800.0, Avg load duration (ms)=0.0, "
			  "P90 load duration (ms)=0.0, Model=m\n");
	fail_move(tap, load, KVTAP_FAILED);
	CHECK(strstr(line(), "Num transfers task=1, Num save task success=0, "
			     "Num save task failed=0, Num load task success=0, "
			     "Num load task failed=1, Avg save duration (ms)=0.0, "));
	end();
}

TEST(summary_of_families_is_by_name_and_label_in_order_of_declaration)
{
	begin();
	uint32_t connector = connector_declare(tap, "Offloading", KVTAP_SUMMARY_FAMILIES);
	uint32_t bytes = connector_family(tap, connector, KVTAP_COUNTER, KVTAP_UNIT_BYTES,
					  KVTAP_ROLE_NONE, "bytes_total", NULL);
	uint32_t time = connector_family(tap, connector, KVTAP_COUNTER, KVTAP_UNIT_SECONDS,
					 KVTAP_ROLE_NONE, "time", NULL);
	uint32_t usage = connector_family(tap, connector, KVTAP_GAUGE, KVTAP_UNIT_RATIO,
					  KVTAP_ROLE_NONE, "usage", NULL);
	uint32_t hits = connector_family(tap, connector, KVTAP_HISTOGRAM, KVTAP_UNIT_SECONDS,
					 KVTAP_ROLE_NONE, "hits", "1:fs");
	uint32_t others = connector_family(tap, connector, KVTAP_HISTOGRAM, KVTAP_UNIT_SECONDS,
					   KVTAP_ROLE_NONE, "hits", "a'b\n");
	kvtap_observe(tap, others, 1);
	kvtap_observe(tap, hits, 0.5);
	kvtap_observe(tap, hits, 0.25);
	kvtap_set(tap, usage, 0.5);
	kvtap_set(tap, usage, 0.25);
	kvtap_add(tap, time, 1.5);
	kvtap_add(tap, bytes, 34);
	CHECK_STR(line(), "bytes=34, time=1.5, usage=0.25, hits:('1:fs',)_count=2, "
			  "hits:('1:fs',)_sum=0.75, hits:(\"a'b\\n\",)_count=1, "
			  "hits:(\"a'b\\n\",)_sum=1.0, Model=m\n");
	kvtap_add(tap, bytes, 0); /* vLLM: a counter of 0 is not empty */
	CHECK_STR(line(), "bytes=0, Model=m\n");
	CHECK_STR(line(), "");
	end();
}

TEST(summary_of_families_tells_failures_of_their_transfers_last)
{
	begin();
	uint32_t connector = connector_declare(tap, "Offloading", KVTAP_SUMMARY_FAMILIES);
	uint32_t bytes = connector_family(tap, connector, KVTAP_COUNTER, KVTAP_UNIT_BYTES,
					  KVTAP_ROLE_NONE, "bytes", NULL);
	uint32_t series = connector_kind(tap, connector, KVTAP_ROLE_TRANSFER, "store");
	move_us(tap, series, 1, 0, 1, 1);
	CHECK_STR(line(), ""); /* its own families are no connector's */
	fail_move(tap, series, KVTAP_FAILED);
	CHECK_STR(line(), "Num failed transfers=1, Model=m\n");
	fail_move(tap, series, KVTAP_FAILED);
	kvtap_add(tap, bytes, 2);
	CHECK_STR(line(), "bytes=2, Num failed transfers=1, Model=m\n");
	end();
}

/* ---- estimates ---- */

/* 16 slots: the first 16 are there, the others are folded. */
TEST(summary_gives_bounds_when_records_were_folded)
{
	begin();
	uint32_t series = nixl();
	for (int i = 0; i < 20; i++)
		move_us(tap, series, i < 10 ? 5000 : 20000, 1000, MIB, 2);
	CHECK_STR(line(), "Num successful transfers=20, Avg xfer time (ms)=12.5, "
			  "P90 xfer time (ms)=22.5, Avg post time (ms)=1.0, "
			  "P90 post time (ms)=5.5, Avg MB per transfer=1.0, "
			  "Throughput (MB/s)=80.0, Avg number of descriptors=2.0, "
			  "Num failed transfers=0, Num failed notifications=0, "
			  "Num KV expired reqs=0, Per-rank throughput (MB/s)=80.0, "
			  "Aggregate throughput (MB/s)=80.0, Ranks=1, P90 xfer time low (ms)=20.0, "
			  "P90 xfer time high (ms)=25.0, P90 post time low (ms)=1.0, "
			  "P90 post time high (ms)=10.0, Estimated from records=4, Model=m\n");
	end();
}

/* The failures fill the ring, so all that succeeded is folded. */
TEST(summary_counts_a_rank_when_all_it_moved_was_folded)
{
	begin();
	uint32_t series = nixl();
	for (int i = 0; i < 16; i++)
		fail_move(tap, series, KVTAP_FAILED);
	for (int i = 0; i < 4; i++)
		move_us(tap, series, 1000, 0, MIB, 1);
	const char *told = line();
	CHECK(strstr(told, "Num successful transfers=4, "));
	CHECK(strstr(told, "Num failed transfers=16, "));
	CHECK(strstr(told, "Aggregate throughput (MB/s)=1000.0, Ranks=1, "));
	end();
}

TEST(summary_of_a_store_counts_errors_when_they_were_folded)
{
	begin();
	uint32_t connector = connector_declare(tap, "Store", KVTAP_SUMMARY_MOONCAKE_STORE);
	uint32_t error = connector_operation(tap, connector, "put", "error");
	for (int i = 0; i < 20; i++)
		fail_move(tap, error, KVTAP_FAILED);
	const char *told = line();
	CHECK(strstr(told, "put_count=20, "));
	CHECK(strstr(told, "put_error_count=20, "));
	end();
}

TEST(summary_takes_the_low_end_when_the_high_one_is_infinite)
{
	begin();
	uint32_t series = nixl();
	for (int i = 0; i < 40; i++)
		move_us(tap, series, 100000, 0, MIB, 2);
	const char *told = line();
	CHECK(strstr(told, "P90 xfer time low (ms)=100.0, P90 xfer time high (ms)=inf, "));
	CHECK(strstr(told, "P90 xfer time (ms)=100.0, "));
	CHECK(strstr(told, "Estimated from records=24"));
	end();
}
