/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vectors_folded.c - a percentile of records that are not there one by one lies in its bounds
 *
 * What was recorded is known here, so bounds are held against its own percentile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_vectors.h"
#include "test.h"

#include "../exporter/sample.h"
#include "../exporter/statistic.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define US 1000ull
#define RING 16 /* slots: what has no room in them is only in buckets */
#define SQUARES 1000
#define PORTION (1u << 16)
#define PORTIONS 20 /* more than are kept of one list */

static const struct kvtap_options small = { .ring_slots = RING, .ring_max = 1 };

static void record(struct kvtap *tap, uint32_t series, uint64_t xfer_us, uint64_t post_us)
{
	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
						      .duration_ns = xfer_us * US,
						      .submit_ns = post_us * US,
						      .bytes = 1 << 20,
						      .descriptors = 1 });
}

/* Times of 1 us to a second, in a ring that nobody reads; engine: as the kind. */
static void record_squares(const char *kind, const struct kvtap_builtin_labels *labels)
{
	struct kvtap *tap = interval_tap(kind, &small);
	uint32_t series = interval_series(tap, kind, labels);

	for (uint64_t i = 0; i < SQUARES; i++)
		record(tap, series, 1 + i * i, i);
	kvtap_close(tap);
}

static const double *squares_ms(void)
{
	static double ms[SQUARES];

	for (size_t i = 0; i < SQUARES; i++)
		ms[i] = (double)(1 + i * i) / 1e3;
	return ms;
}

static double figure(const struct interval *interval, const char *engine, const char *key)
{
	const char *told = interval_figures(interval, engine);
	const char *found = told ? strstr(told, key) : NULL;

	if (!found)
		test_fail(__FILE__, __LINE__, "no %s in: %s", key, told ? told : interval->told);
	return strtod(found + strlen(key), NULL);
}

struct keys {
	const char *low, *told, *high;
};

#define KEYS(name)                                                                                 \
	(&(struct keys){                                                                           \
		"P90 " name " low (ms)=", "P90 " name " (ms)=", "P90 " name " high (ms)=" })

/* All are rounded alike, which keeps their order. */
static void check_bounds(const struct interval *interval, const char *engine,
			 const struct keys *key, double truth)
{
	double truth_ms = statistic_round_python(truth, 3);
	double low_ms = figure(interval, engine, key->low);
	double told_ms = figure(interval, engine, key->told);
	double high_ms = figure(interval, engine, key->high);

	if (!(low_ms <= truth_ms && truth_ms <= high_ms && low_ms <= told_ms && told_ms <= high_ms))
		test_fail(__FILE__, __LINE__, "%s: low %g, true %g, told %g, high %g", engine,
			  low_ms, truth_ms, told_ms, high_ms);
}

TEST(vectors_folded_are_bounded_by_the_buckets_of_their_families)
{
	const char *engine = KVTAP_NIXL_TRANSFER;
	static double post_ms[SQUARES];
	struct interval interval;

	for (size_t i = 0; i < SQUARES; i++)
		post_ms[i] = (double)i / 1e3;
	record_squares(KVTAP_NIXL_TRANSFER, NULL);
	interval_begin(&interval);
	interval_end(&interval);
	check_bounds(&interval, engine, KEYS("xfer time"),
		     statistic_percentile(squares_ms(), SQUARES, 90));
	check_bounds(&interval, engine, KEYS("post time"),
		     statistic_percentile(post_ms, SQUARES, 90));
	CHECK(interval_contains(&interval, engine,
				"P90 xfer time low (ms)=750.0, P90 xfer time high (ms)=1000.0"));
	CHECK(interval_contains(&interval, engine,
				"P90 post time low (ms)=0.0, P90 post time high (ms)=1.0"));
	CHECK(interval_contains(&interval, engine, "Num successful transfers=1000,"));
	CHECK(figure(&interval, engine, "Estimated from records=") == SQUARES - RING);
	interval_free(&interval);
}

/* Mooncake's transfers have no family of vLLM's: then ours bound them. */
TEST(vectors_folded_are_bounded_for_each_connector)
{
	const struct kvtap_builtin_labels put = { .operation = "save_put", .status = "ok" };
	double truth_ms = statistic_percentile(squares_ms(), SQUARES, 90);
	struct interval interval;

	record_squares(KVTAP_MOONCAKE_SEND, NULL);
	record_squares(KVTAP_HF3FS_LOAD, NULL);
	record_squares(KVTAP_MOONCAKE_STORE, &put);
	interval_begin(&interval);
	interval_end(&interval);
	check_bounds(&interval, KVTAP_MOONCAKE_SEND, KEYS("xfer time"), truth_ms);
	check_bounds(&interval, KVTAP_HF3FS_LOAD, KEYS("load duration"), truth_ms);
	check_bounds(&interval, KVTAP_MOONCAKE_STORE,
		     &(struct keys){
			     "save_put_p90_low_ms=", "save_put_p90_ms=", "save_put_p90_high_ms=" },
		     statistic_nearest_rank(squares_ms(), SQUARES));
	interval_free(&interval);
}

TEST(vectors_folded_have_no_upper_bound_where_buckets_end)
{
	struct interval interval;
	struct kvtap *tap = interval_tap("long", &small);
	uint32_t series = interval_series(tap, KVTAP_NIXL_TRANSFER, NULL);

	for (int i = 0; i < RING; i++)
		record(tap, series, 1, 1);
	for (int i = 0; i < 100; i++)
		record(tap, series, 6000000, 1);
	kvtap_close(tap);
	interval_begin(&interval);
	interval_end(&interval);
	CHECK(interval_contains(&interval, "long", "P90 xfer time (ms)=5000.0,"));
	CHECK(interval_contains(&interval, "long",
				"P90 xfer time low (ms)=5000.0, P90 xfer time high (ms)=inf"));
	interval_free(&interval);
}

/* In portions that a ring has room for, so that none is folded: then buckets are 2^-7 wide. */
TEST(vectors_folded_have_close_bounds_where_only_too_many_are_the_cause)
{
	const struct kvtap_options options = { .ring_slots = 2 * PORTION, .ring_max = 1 };
	static double xfer_ms[PORTIONS * PORTION];
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("many", &options);
	uint32_t series = interval_series(tap, KVTAP_NIXL_TRANSFER, NULL);
	for (uint64_t i = 0; i < COUNT(xfer_ms); i++) {
		uint64_t xfer_us = 1000 + i * 7919 % 1000003;

		record(tap, series, xfer_us, 1);
		xfer_ms[i] = (double)xfer_us / 1e3;
		if (i % PORTION == PORTION - 1)
			free(exporter_scrape(&interval.exporter)); /* all drained */
	}
	kvtap_close(tap);
	interval_end(&interval);
	check_bounds(&interval, "many", KEYS("xfer time"),
		     statistic_percentile(xfer_ms, COUNT(xfer_ms), 90));
	CHECK(figure(&interval, "many", "P90 xfer time high (ms)=") <=
	      figure(&interval, "many", "P90 xfer time low (ms)=") * (1 + 0x1p-7));
	CHECK(figure(&interval, "many", "Estimated from records=") ==
	      COUNT(xfer_ms) - SAMPLE_LIMIT);
	interval_free(&interval);
}
