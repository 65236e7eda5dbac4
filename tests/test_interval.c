/* SPDX-License-Identifier: Apache-2.0 */
/* test_interval.c - what belongs to an interval, an engine, a rank, and what is left of it */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../exporter/interval_log.h"
#include "support_connector.h"
#include "support_parts.h"
#include "test.h"

#define MIB (1u << 20)

static struct parts exporter;

static const char *line(void)
{
	parts_scrape(&exporter);
	return parts_interval(&exporter);
}

static uint32_t nixl(struct kvtap *tap)
{
	return connector_kind(tap, connector_declare(tap, "Nixl", KVTAP_SUMMARY_NIXL),
			      KVTAP_ROLE_TRANSFER, "nixl");
}

static uint32_t counter(struct kvtap *tap, const char *connector, const char *name)
{
	return connector_family(tap, connector_declare(tap, connector, KVTAP_SUMMARY_FAMILIES),
				KVTAP_COUNTER, KVTAP_UNIT_COUNT, KVTAP_ROLE_NONE, name, NULL);
}

TEST(interval_has_no_line_when_nothing_was_recorded)
{
	parts_begin(&exporter, false);
	struct kvtap *tap = connector_tap("0", NULL);
	uint32_t series = nixl(tap);
	CHECK_STR(line(), "");
	move_us(tap, series, 1, 1, 1, 1);
	CHECK(*line());
	CHECK_STR(line(), "");
	CHECK(parts_has(&exporter, "nixl_time_count{engine=\"0\",model_name=\"m\"} 1"));
	kvtap_close(tap);
	parts_end(&exporter);
}

TEST(interval_has_a_line_for_each_engine_and_a_rate_for_all_its_ranks)
{
	struct kvtap *tap[8];
	char rank[16];

	parts_begin(&exporter, true);
	for (int i = 0; i < 8; i++) {
		snprintf(rank, sizeof(rank), "%d", i);
		tap[i] = connector_tap(i < 7 ? "0" : "1", rank);
		move_us(tap[i], nixl(tap[i]), 1000, 0, MIB, 1);
	}
	move_us(tap[0], nixl(tap[0]), 1000, 0, MIB, 1);
	const char *told = line();
	CHECK(strstr(told, "Num successful transfers=8, "));
	CHECK(strstr(told, "Per-rank throughput (MB/s)=1000.0, "
			   "Aggregate throughput (MB/s)=7000.0, Ranks=7, Model=m, Engine=0\n"));
	CHECK(strstr(told, "Num successful transfers=1, "));
	CHECK(strstr(told, "Aggregate throughput (MB/s)=1000.0, Ranks=1, Model=m, Engine=1\n"));
	for (int i = 0; i < 8; i++)
		kvtap_close(tap[i]);
	parts_end(&exporter);
}

TEST(interval_keeps_engines_of_two_models_apart)
{
	struct kvtap *tap[2];

	parts_begin(&exporter, false);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(kvtap_open(&tap[i], &(struct kvtap_options){ .model_name = i ? "n" : "m",
								      .engine = "0" }),
			 0);
		kvtap_add(tap[i], counter(tap[i], "C", "a"), i + 1);
	}
	const char *told = line();
	CHECK(strstr(told, "a=1, Model=m, Engine=0\n"));
	CHECK(strstr(told, "a=2, Model=n, Engine=0\n"));
	for (int i = 0; i < 2; i++)
		kvtap_close(tap[i]);
	parts_end(&exporter);
}

TEST(interval_takes_workers_with_the_same_rank_for_one)
{
	struct kvtap *tap[2];

	parts_begin(&exporter, false);
	for (int i = 0; i < 2; i++) {
		tap[i] = connector_tap("0", "3");
		move_us(tap[i], nixl(tap[i]), 1000, 0, MIB, 1);
	}
	CHECK(strstr(line(), "Aggregate throughput (MB/s)=1000.0, Ranks=1, "));
	for (int i = 0; i < 2; i++)
		kvtap_close(tap[i]);
	parts_end(&exporter);
}

TEST(interval_counts_the_ranks_that_moved_something_in_it)
{
	struct kvtap *tap[2];

	parts_begin(&exporter, false);
	for (int i = 0; i < 2; i++) {
		tap[i] = connector_tap("0", i ? "1" : "0");
		move_us(tap[i], nixl(tap[i]), 1000, 0, MIB, 1);
	}
	CHECK(strstr(line(), "Aggregate throughput (MB/s)=2000.0, Ranks=2, "));
	move_us(tap[1], nixl(tap[1]), 4000, 0, MIB, 1);
	CHECK(strstr(line(), "Aggregate throughput (MB/s)=250.0, Ranks=1, "));
	for (int i = 0; i < 2; i++)
		kvtap_close(tap[i]);
	parts_end(&exporter);
}

TEST(interval_takes_each_worker_for_a_rank_when_ranks_have_no_label)
{
	struct kvtap *tap[2];

	parts_begin(&exporter, false);
	for (int i = 0; i < 2; i++) {
		tap[i] = connector_tap(NULL, NULL);
		move_us(tap[i], nixl(tap[i]), 1000, 0, MIB, 1);
	}
	CHECK(strstr(line(), "Aggregate throughput (MB/s)=2000.0, Ranks=2, Model=m\n"));
	for (int i = 0; i < 2; i++)
		kvtap_close(tap[i]);
	parts_end(&exporter);
}

TEST(interval_nests_connectors_when_several_report)
{
	parts_begin(&exporter, false);
	struct kvtap *tap = connector_tap("0", NULL);
	uint32_t one = counter(tap, "One", "a"), two = counter(tap, "Two", "b_total");
	counter(tap, "Silent", "c");
	kvtap_add(tap, one, 5);
	CHECK_STR(line(), "a=5, Model=m, Engine=0\n");
	kvtap_add(tap, one, 5);
	kvtap_add(tap, two, 7);
	CHECK_STR(line(), "One={'a': 5}, Two={'b': 7}, Model=m, Engine=0\n");
	kvtap_add(tap, two, 7);
	parts_scrape(&exporter);
	CHECK_STR(parts_interval_json(&exporter),
		  "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"interval_s\":10.0,"
		  "\"model_name\":\"m\",\"engine\":\"0\",\"connectors\":{\"Two\":{\"b\":7}}}\n");
	kvtap_close(tap);
	parts_end(&exporter);
}

TEST(interval_line_begins_as_vllms_in_local_time)
{
	const struct interval_time time = { .end = { .tv_sec = 1795568523 } };
	static const char expected[] =
		"INFO 11-25 03:02:03 [kvtap] KV Transfer metrics: a=1, Model=m, Engine=0\n";
	struct text text = { 0 };

	setenv("TZ", "EET-2", 1);
	parts_begin(&exporter, false);
	struct kvtap *tap = connector_tap("0", NULL);
	kvtap_add(tap, counter(tap, "C", "a"), 1);
	parts_scrape(&exporter);
	interval_text_plain(&text, exporter.intervals->engines, &time);
	CHECK_EQ(text.bytes, strlen(expected));
	CHECK(!memcmp(text.data, expected, text.bytes));
	text_free(&text);
	kvtap_close(tap);
	parts_end(&exporter);
}

TEST(interval_shows_the_latest_value_of_a_gauge_of_all_workers)
{
	struct kvtap *tap[2];
	uint32_t series[2];

	parts_begin(&exporter, false);
	for (int i = 0; i < 2; i++) {
		tap[i] = connector_tap("0", i ? "1" : "0");
		series[i] = connector_family(tap[i],
					     connector_declare(tap[i], "C", KVTAP_SUMMARY_FAMILIES),
					     KVTAP_GAUGE, KVTAP_UNIT_RATIO, KVTAP_ROLE_NONE,
					     "usage", NULL);
	}
	kvtap_set(tap[1], series[1], 0.75);
	kvtap_set(tap[0], series[0], 0.5);
	CHECK_STR(line(), "usage=0.5, Model=m, Engine=0\n");
	for (int i = 0; i < 2; i++)
		kvtap_close(tap[i]);
	parts_end(&exporter);
}

TEST(interval_leaves_out_a_connector_that_contradicts_an_earlier_one)
{
	parts_begin(&exporter, false);
	struct kvtap *first = connector_tap("0", NULL), *second = connector_tap("0", NULL);
	move_us(first, nixl(first), 1000, 0, MIB, 1);
	parts_scrape(&exporter);
	uint32_t connector = connector_declare(second, "Nixl", KVTAP_SUMMARY_FAMILIES);
	kvtap_add(second,
		  connector_family(second, connector, KVTAP_COUNTER, KVTAP_UNIT_COUNT,
				   KVTAP_ROLE_EXPIRED_REQUEST, "a", NULL),
		  5);
	const char *told = line();
	CHECK(strstr(told, "Num successful transfers=1, "));
	CHECK(strstr(told, "Num KV expired reqs=0, "));
	CHECK(parts_has(&exporter, "a_total{engine=\"0\",model_name=\"m\"} 5"));
	kvtap_close(first);
	kvtap_close(second);
	parts_end(&exporter);
}

/* ---- what is over a budget ---- */

TEST(interval_has_one_figure_for_all_label_sets_over_the_budget)
{
	static const char *const tier[] = { "x", "y", "z" };

	parts_begin(&exporter, false);
	exporter.table.families.limits.worker.series = 1;
	struct kvtap *tap = connector_tap("0", NULL);
	uint32_t connector = connector_declare(tap, "C", KVTAP_SUMMARY_FAMILIES);
	for (int i = 0; i < 3; i++)
		kvtap_add(tap,
			  connector_family(tap, connector, KVTAP_COUNTER, KVTAP_UNIT_COUNT,
					   KVTAP_ROLE_NONE, "a", tier[i]),
			  i + 1);
	CHECK_STR(line(), "a:('x',)=1, a:('other',)=5, Model=m, Engine=0\n");
	kvtap_close(tap);
	parts_end(&exporter);
}

TEST(interval_has_one_operation_for_all_over_the_budget)
{
	static const char *const operation[] = { "get", "put", "stat" };

	parts_begin(&exporter, false);
	exporter.table.families.limits.worker.series = 4; /* of the four families that it feeds */
	struct kvtap *tap = connector_tap("0", NULL);
	uint32_t connector = connector_declare(tap, "S", KVTAP_SUMMARY_MOONCAKE_STORE);
	for (int i = 0; i < 3; i++)
		move_us(tap, connector_operation(tap, connector, operation[i], "ok"), 1, 0, 1, 1);
	const char *told = line();
	CHECK(strstr(told, "get_count=1, "));
	CHECK(strstr(told, "other_count=2, "));
	CHECK(!strstr(told, "put_count") && !strstr(told, "stat_count"));
	kvtap_close(tap);
	parts_end(&exporter);
}

/* ---- what a segment may say ---- */

TEST(interval_is_one_line_of_utf8_whatever_names_hold)
{
	parts_begin(&exporter, false);
	struct kvtap *tap = connector_tap("0\n\xff\x1b\"\\", NULL);
	uint32_t connector = connector_declare(tap, "C\r\xc2\x85\"", KVTAP_SUMMARY_FAMILIES);
	uint32_t series = connector_family(tap, connector, KVTAP_COUNTER, KVTAP_UNIT_COUNT,
					   KVTAP_ROLE_NONE, "a", "\x01\xe2\x80\xa8\n'\"\xfe");
	uint32_t store =
		connector_operation(tap, connector_declare(tap, "S", KVTAP_SUMMARY_MOONCAKE_STORE),
				    "x\n\xfe", "ok");
	kvtap_add(tap, series, 1);
	CHECK_STR(line(), "a:('\\x01\\u2028\\n\\'\"\xef\xbf\xbd',)=1, Model=m, "
			  "Engine=0\\x0a\xef\xbf\xbd\\x1b\"\\\n");
	kvtap_add(tap, series, 1);
	move_us(tap, store, 1, 0, 1, 1);
	CHECK(strncmp(line(), "C\\x0d\\x85\"={", 12) == 0);
	CHECK(strchr(exporter.lines.data, '\n') == strrchr(exporter.lines.data, '\n'));
	move_us(tap, store, 1000, 0, 1, 1);
	parts_scrape(&exporter);
	CHECK_STR(strstr(parts_interval_json(&exporter), "\"engine\":"),
		  "\"engine\":\"0\\u000a\xef\xbf\xbd\\u001b\\\"\\\\\",\"connectors\":{\"S\":{"
		  "\"x\\u000a\xef\xbf\xbd_count\":1,\"x\\u000a\xef\xbf\xbd_avg_ms\":1.0,"
		  "\"x\\u000a\xef\xbf\xbd_p90_ms\":1.0,\"x\\u000a\xef\xbf\xbd_total_keys\":1,"
		  "\"x\\u000a\xef\xbf\xbd_total_bytes\":1,\"x\\u000a\xef\xbf\xbd_failed_keys\":0,"
		  "\"x\\u000a\xef\xbf\xbd_error_count\":0}}}\n");
	kvtap_close(tap);
	parts_end(&exporter);
}

static struct kvtap *add_many(void)
{
	struct kvtap *tap = connector_tap("0", NULL);
	static char value[4001];

	memset(value, 'x', sizeof(value) - 1);
	for (int i = 0; i < 300; i++) {
		value[0] = (char)('a' + i / 26);
		value[1] = (char)('a' + i % 26);
		kvtap_add(tap,
			  connector_family(tap, connector_declare(tap, "C", KVTAP_SUMMARY_FAMILIES),
					   KVTAP_COUNTER, KVTAP_UNIT_COUNT, KVTAP_ROLE_NONE, "a",
					   value),
			  1);
	}
	return tap;
}

TEST(interval_cuts_a_line_at_a_key_when_it_is_too_long)
{
	parts_begin(&exporter, false);
	struct kvtap *tap = add_many();
	const char *told = line();
	size_t bytes = strlen(told);
	CHECK(bytes > INTERVAL_LOG_LINE_MAX - 100000 && bytes < INTERVAL_LOG_LINE_MAX);
	CHECK(strstr(told, "x',)=1, ..., Model=m, Engine=0\n"));
	kvtap_close(tap);
	tap = add_many();
	parts_scrape(&exporter);
	CHECK(strstr(parts_interval_json(&exporter), "x',)\":1}},\"cut\":true}\n"));
	kvtap_close(tap);
	parts_end(&exporter);
}

/* ---- how much is kept ---- */

TEST(interval_gives_close_bounds_when_there_are_more_records_than_samples)
{
	parts_begin_samples(&exporter, false, 8);
	struct kvtap *tap = connector_tap("0", NULL);
	uint32_t series = nixl(tap);
	double low, high;
	for (uint32_t i = 1; i <= 16; i++)
		move_us(tap, series, 1000 * i, 100, MIB, 1);
	const char *told = line(), *at = strstr(told, "P90 xfer time low (ms)=");
	CHECK(strstr(told, "Num successful transfers=16, Avg xfer time (ms)=8.5, "));
	CHECK(strstr(told, "Estimated from records=8, "));
	CHECK(at && sscanf(at, "P90 xfer time low (ms)=%lf, P90 xfer time high (ms)=%lf", &low,
			   &high) == 2);
	CHECK(low <= 14.5 && 14.5 <= high); /* numpy's */
	CHECK(high - low < 14.5 / 64);
	for (uint32_t i = 1; i <= 8; i++) /* the next one has all of the room again */
		move_us(tap, series, 1000 * i, 100, MIB, 1);
	CHECK(!strstr(line(), "Estimated"));
	kvtap_close(tap);
	parts_end(&exporter);
}

TEST(interval_keeps_no_samples_of_connectors_without_a_percentile)
{
	parts_begin_samples(&exporter, false, 8);
	struct kvtap *tap = connector_tap("0", NULL);
	uint32_t connector = connector_declare(tap, "C", KVTAP_SUMMARY_FAMILIES);
	uint32_t load = connector_kind(tap, connector, KVTAP_ROLE_TRANSFER, "load");
	for (int i = 0; i < 8; i++)
		move_us(tap, load, 1000, 0, MIB, 1);
	for (int i = 0; i < 8; i++)
		move_us(tap, nixl(tap), 1000, 0, MIB, 1);
	const char *told = line();
	CHECK(strstr(told, "Num successful transfers=8, ") && !strstr(told, "Estimated"));
	kvtap_close(tap);
	parts_end(&exporter);
}

TEST(interval_leaves_nothing_of_workers_that_have_ended)
{
	char engine[16];

	parts_begin(&exporter, false);
	for (int i = 0; i < 50; i++) {
		snprintf(engine, sizeof(engine), "%d", i);
		struct kvtap *tap = connector_tap(engine, engine);
		move_us(tap, nixl(tap), 1000, 0, MIB, 1);
		kvtap_add(tap, counter(tap, "C", "a"), 1);
		if (i % 2)
			parts_scrape(&exporter);
		kvtap_close(tap);
		parts_scrape(&exporter);
	}
	parts_scrape_until(&exporter, "kvtap_workers 0");
	CHECK(strstr(parts_interval(&exporter), "Engine=49\n"));
	CHECK(!exporter.intervals->engines);
	CHECK_EQ(exporter.intervals->pool.used, 0);
	parts_end(&exporter);
}

TEST(interval_joins_what_workers_say_of_an_operation_however_many_there_are)
{
	enum { OPERATIONS = 3000, WORKERS = 2 };
	struct kvtap *tap[WORKERS];
	unsigned count = 0, both = 0;
	char name[16];

	parts_begin(&exporter, false);
	for (int worker = 0; worker < WORKERS; worker++) {
		tap[worker] = connector_tap("0", worker ? "1" : "0");
		uint32_t connector =
			connector_declare(tap[worker], "S", KVTAP_SUMMARY_MOONCAKE_STORE);
		for (int i = 0; i < OPERATIONS; i++) {
			snprintf(name, sizeof(name), "%d", i);
			connector_operation(tap[worker], connector, name, "ok");
		}
		parts_scrape(&exporter);
	}
	for (const struct interval_transfers *of =
		     exporter.intervals->engines->connectors->transfers;
	     of; of = of->next) {
		count++;
		both += of->users == 2 && of->ranks && of->ranks->next && !of->ranks->next->next;
	}
	CHECK_EQ(count, OPERATIONS);
	CHECK_EQ(both, OPERATIONS);
	for (int worker = 0; worker < WORKERS; worker++)
		kvtap_close(tap[worker]);
	parts_scrape_until(&exporter, "kvtap_workers 0");
	intervals_reset(exporter.intervals);
	CHECK_EQ(exporter.intervals->bytes, 0);
	parts_end(&exporter);
}

TEST(interval_takes_no_more_engines_than_there_is_room_for_until_it_ends)
{
	static char name[4096];
	struct interval_engine key = { .engine = { name, sizeof(name) } };
	struct intervals *intervals = intervals_create(0);
	uint32_t count = 0;

	CHECK(intervals);
	for (bool room = true; room; count += room) {
		memcpy(name, &count, sizeof(count));
		room = interval_get_engine(intervals, &key);
	}
	CHECK(count > 10000 && count * sizeof(name) < INTERVAL_BYTES_MAX);
	memset(name, 0, sizeof(name));
	CHECK(interval_get_engine(intervals, &key) == intervals->engines); /* the first is there */
	intervals_reset(intervals);
	CHECK_EQ(intervals->bytes, 0);
	CHECK(interval_get_engine(intervals, &key));
	intervals_destroy(intervals);
}

/* ---- no record twice, none missing ---- */

#define MOVES 200000u

struct mover {
	struct kvtap *tap;
	uint32_t nixl, store, size, gone;
};

static void *move_all(void *argument)
{
	const struct mover *mover = argument;

	for (uint32_t i = 0; i < MOVES; i++) {
		struct kvtap_transfer transfer = { .status = i % 7 == 0,
						   .duration_ns = 1000 + i,
						   .bytes = i,
						   .descriptors = 2,
						   .failed_descriptors = i & 1 };

		transfer.series = mover->nixl;
		kvtap_transfer(mover->tap, &transfer);
		transfer.series = mover->store;
		kvtap_transfer(mover->tap, &transfer);
		kvtap_observe(mover->tap, mover->size, i % 3);
		kvtap_add(mover->tap, mover->gone, 1);
	}
	return NULL;
}

/* The sum of a figure in all lines so far. */
static double told_of(const char *lines, const char *key)
{
	double sum = 0;

	for (const char *at = lines; (at = strstr(at, key)); at++)
		sum += strtod(at + strlen(key), NULL);
	return sum;
}

static const char *const checked[][2] = {
	{ "\"Num successful transfers\":", "nixl_time_count" },
	{ "\"Num failed transfers\":", "nixl_failed_total" },
	{ "\"Num KV expired reqs\":", "gone_total" },
	{ "\"p_count\":", "store_time_count" },
	{ "\"p_total_keys\":", "store_keys_total" },
	{ "\"p_total_bytes\":", "store_bytes_total" },
	{ "\"p_failed_keys\":", "store_failed_keys_total" },
	{ "\"size_count\":", "size_count" },
	{ "\"size_sum\":", "size_sum" },
};
#define CHECKED (sizeof(checked) / sizeof(checked[0]))

/* The value of the only sample of a name. */
static double shown(const char *name)
{
	char start[64];

	snprintf(start, sizeof(start), "\n%s{", name);
	const char *at = strstr(exporter.page.data, start);
	CHECK(at);
	return strtod(strchr(at, '}') + 1, NULL);
}

TEST(interval_ends_in_bursts_and_all_of_them_add_up_to_the_page)
{
	double sum[CHECKED] = { 0 };
	unsigned lines = 0;
	pthread_t thread;
	struct mover mover;

	parts_begin_samples(&exporter, false, 64);
	mover.tap = connector_tap("0", NULL);
	mover.nixl = nixl(mover.tap);
	mover.gone = connector_family(mover.tap,
				      connector_declare(mover.tap, "Nixl", KVTAP_SUMMARY_NIXL),
				      KVTAP_COUNTER, KVTAP_UNIT_COUNT, KVTAP_ROLE_EXPIRED_REQUEST,
				      "gone", NULL);
	mover.store = connector_operation(mover.tap,
					  connector_declare(mover.tap, "Store",
							    KVTAP_SUMMARY_MOONCAKE_STORE),
					  "p", "ok");
	mover.size =
		connector_family(mover.tap,
				 connector_declare(mover.tap, "C", KVTAP_SUMMARY_FAMILIES),
				 KVTAP_HISTOGRAM, KVTAP_UNIT_COUNT, KVTAP_ROLE_NONE, "size", NULL);
	parts_scrape(&exporter);
	CHECK_EQ(pthread_create(&thread, NULL, move_all, &mover), 0);
	for (bool over = false; !over; lines++) {
		over = pthread_tryjoin_np(thread, NULL) == 0;
		drain_pass(exporter.drain, over || lines % 2);
		const char *told = parts_interval_json(&exporter);
		for (size_t i = 0; i < CHECKED; i++)
			sum[i] += told_of(told, checked[i][0]);
	}
	parts_scrape(&exporter);
	CHECK_STR(parts_interval(&exporter), "");
	CHECK(lines > 2);
	for (size_t i = 0; i < CHECKED; i++)
		if (fabs(sum[i] - shown(checked[i][1])) > 0)
			test_fail(__FILE__, __LINE__, "%s: %f told, %f shown", checked[i][1],
				  sum[i], shown(checked[i][1]));
	CHECK(shown("store_time_count") == MOVES);
	kvtap_close(mover.tap);
	parts_end(&exporter);
}
