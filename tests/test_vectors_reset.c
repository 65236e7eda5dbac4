/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vectors_reset.c - intervals that end amid bursts have each record once
 *
 * Rings are small and bursts never pause, so that records are folded too. All times are multiples of
 * 2^-9 s, of which sums of doubles are exact.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_vectors.h"
#include "test.h"

#define TICK_NS 1953125ull /* 2^-9 s */
#define BURST 300
#define LINES 10 /* of two engines */

struct truth {
	uint64_t loads, load_bytes, load_ticks, stores, transfers, failed, lookups, lookup_ticks;
};

struct worker {
	struct kvtap *offload, *nixl;
	uint32_t load, store, transfer, lookup;
};

static void open_worker(struct worker *worker, const char *rank)
{
	const struct kvtap_options options = { .rank = rank, .ring_slots = 256, .ring_max = 1 };

	worker->offload = interval_tap("offload", &options);
	worker->nixl = interval_tap("nixl", &options);
	worker->load = interval_series(worker->offload, KVTAP_OFFLOAD_LOAD, NULL);
	worker->store = interval_series(worker->offload, KVTAP_OFFLOAD_STORE, NULL);
	worker->lookup =
		interval_series(worker->offload, "vllm:kv_offload_lookup_sync_delay_seconds", NULL);
	worker->transfer = interval_series(worker->nixl, KVTAP_NIXL_TRANSFER, NULL);
}

static void close_worker(struct worker *worker)
{
	kvtap_close(worker->offload);
	kvtap_close(worker->nixl);
}

static void record(struct kvtap *tap, uint32_t series, uint8_t status, uint64_t ticks,
		   uint64_t bytes)
{
	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
						      .status = status,
						      .duration_ns = ticks * TICK_NS,
						      .bytes = bytes,
						      .descriptors = 1 });
}

static void burst(const struct worker *worker, struct truth *truth)
{
	for (uint64_t i = 0; i < BURST; i++) {
		bool failed = i % 7 == 0;

		record(worker->offload, worker->load, KVTAP_OK, i, 1000 + i);
		truth->loads++;
		truth->load_bytes += 1000 + i;
		truth->load_ticks += i;
		record(worker->offload, worker->store, KVTAP_OK, 1, 1 << 20);
		truth->stores++;
		kvtap_observe(worker->offload, worker->lookup, (double)i * 0x1p-9);
		truth->lookups++;
		truth->lookup_ticks += i;
		record(worker->nixl, worker->transfer, failed ? KVTAP_FAILED : KVTAP_OK, 1, 1);
		truth->transfers += !failed;
		truth->failed += failed;
	}
}

/* Of a figure in all lines of an engine. */
static double sum_figures(const struct interval *interval, const char *engine, const char *name)
{
	const char *line = interval->told;
	char key[96];
	double sum = 0;

	snprintf(key, sizeof(key), "%s=", name);
	while ((line = interval_next(line, engine))) {
		const char *figure = strstr(line, key);

		if (figure && figure < strchr(line, '\n'))
			sum += strtod(figure + strlen(key), NULL);
	}
	return sum;
}

#define CHECK_FIGURE(name, truth) CHECK(sum_figures(interval, engine, name) == (double)(truth))

static void check_offload(const struct interval *interval, const struct truth *truth)
{
	static const char engine[] = "offload";

	CHECK_FIGURE("vllm:kv_offload_load_bytes", truth->load_bytes);
	CHECK_FIGURE("vllm:kv_offload_load_time", (double)truth->load_ticks * 0x1p-9);
	CHECK_FIGURE("vllm:kv_offload_load_size_count", truth->loads);
	CHECK_FIGURE("vllm:kv_offload_load_size_sum", truth->load_bytes);
	CHECK_FIGURE("vllm:kv_offload_store_bytes", truth->stores << 20);
	CHECK_FIGURE("vllm:kv_offload_store_time", (double)truth->stores * 0x1p-9);
	CHECK_FIGURE("vllm:kv_offload_store_size_count", truth->stores);
	CHECK_FIGURE("vllm:kv_offload_store_size_sum", truth->stores << 20);
	CHECK_FIGURE("vllm:kv_offload_lookup_sync_delay_seconds_count", truth->lookups);
	CHECK_FIGURE("vllm:kv_offload_lookup_sync_delay_seconds_sum",
		     (double)truth->lookup_ticks * 0x1p-9);
}

static void check_page(const struct interval *interval, const struct truth *truth)
{
	CHECK(page_value(interval->page,
			 "vllm:kv_offload_load_bytes_total{engine=\"offload\",model_name=\"m\"}") ==
	      (double)truth->load_bytes);
	CHECK(page_value(interval->page,
			 "vllm:nixl_xfer_time_seconds_count{engine=\"nixl\",model_name=\"m\"}") ==
	      (double)truth->transfers);
}

TEST(vectors_reset_leaves_each_record_in_one_interval)
{
	static const char engine[] = "nixl";
	struct worker worker[2];
	struct interval told, *interval = &told;
	struct truth truth = { 0 };

	interval_begin_with(interval, (const char *[]){ "--log.interval=100ms", NULL });
	open_worker(&worker[0], "0");
	open_worker(&worker[1], "1");
	while (interval_lines(interval) < LINES) {
		burst(&worker[0], &truth);
		burst(&worker[1], &truth);
	}
	close_worker(&worker[0]);
	close_worker(&worker[1]);
	interval_end(interval);
	check_page(interval, &truth);
	check_offload(interval, &truth);
	CHECK_FIGURE("Num successful transfers", truth.transfers);
	CHECK_FIGURE("Num failed transfers", truth.failed);
	interval_free(interval);
}

/* Of the exporter that goes on: what the last one told is in its state, be it out of rings or folded. */
static void check_next(const char *figures)
{
	struct interval interval;

	interval_begin(&interval);
	interval_end(&interval);
	if (figures)
		interval_check(&interval, "next", figures);
	else
		CHECK(!interval_figures(&interval, "next"));
	interval_free(&interval);
}

TEST(vectors_reset_leaves_nothing_to_the_next_exporter)
{
	const struct kvtap_options options = { .ring_slots = 16, .ring_max = 1 };
	struct kvtap *tap = interval_tap("next", &options);
	uint32_t series = interval_series(tap, KVTAP_NIXL_TRANSFER, NULL);

	for (int i = 0; i < 40; i++)
		record(tap, series, KVTAP_OK, 1, 1);
	check_next("Num successful transfers=40");
	check_next(NULL);
	for (int i = 0; i < 30; i++)
		record(tap, series, KVTAP_OK, 1, 1);
	check_next("Num successful transfers=30");
	kvtap_close(tap);
}
