/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vectors_families.c - known figures of offloading, family by family, and of several connectors
 *
 * A transfer has its size and its time together, so what vLLM adds up apart (bytes, times, sizes) is
 * recorded here as the transfers that have these sums.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_vectors.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MS 1000000ull

#define CHECK_VALUE(page, sample, value)                                                           \
	do {                                                                                       \
		double got = page_value(page, sample);                                             \
		if (!(got == (value)))                                                             \
			test_fail(__FILE__, __LINE__, "%s is %.17g", sample, got);                 \
	} while (0)

static void record(struct kvtap *tap, const char *kind, uint64_t bytes, uint64_t ms)
{
	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = interval_series(tap, kind, NULL),
						      .duration_ns = ms * MS,
						      .bytes = bytes });
}

static void set_gauge(struct kvtap *tap, double value)
{
	kvtap_set(tap, interval_series(tap, "vllm:kv_offload_cpu_cache_usage_perc", NULL), value);
}

static void observe_delay(struct kvtap *tap, double seconds)
{
	kvtap_observe(tap, interval_series(tap, "vllm:kv_offload_lookup_sync_delay_seconds", NULL),
		      seconds);
}

static void skip_stores(struct kvtap *tap, double stores)
{
	kvtap_add(tap, interval_series(tap, "vllm:kv_offload_stores_skipped", NULL), stores);
}

/* Each side on a rank of its own. */
static void record_o1(struct interval *interval)
{
	static const struct kvtap_options ranks[] = { { .rank = "0" }, { .rank = "1" } };
	struct kvtap *one = interval_tap("O1", &ranks[0]), *other = interval_tap("O1", &ranks[1]);

	record(one, KVTAP_OFFLOAD_LOAD, 16, 1000);
	record(one, KVTAP_OFFLOAD_LOAD, 8, 500);
	record(one, KVTAP_OFFLOAD_STORE, 1, 100);
	record(one, KVTAP_OFFLOAD_STORE, 2, 200);
	skip_stores(one, 1);
	set_gauge(one, 3);
	observe_delay(one, 0.1);
	free(exporter_scrape(&interval->exporter)); /* these are the earlier ones */
	record(other, KVTAP_OFFLOAD_LOAD, 3, 600);
	record(other, KVTAP_OFFLOAD_LOAD, 7, 500);
	record(other, KVTAP_OFFLOAD_STORE, 16, 2000);
	skip_stores(other, 3);
	set_gauge(other, 1);
	observe_delay(other, 0.2);
	observe_delay(other, 0.3);
	kvtap_close(one);
	kvtap_close(other);
}

/* vLLM adds .1, .2 and .3 up to 0.6000000000000001 before Python 3.12; we are exact, as that is. */
TEST(vectors_families_add_counters_keep_the_last_gauge_and_join_histograms)
{
	struct interval interval;

	interval_begin(&interval);
	record_o1(&interval);
	interval_end(&interval);
	static const char *const figures[] = {
		"vllm:kv_offload_load_bytes=34",
		"vllm:kv_offload_load_time=2.6",
		"vllm:kv_offload_load_size_count=4, vllm:kv_offload_load_size_sum=34",
		"vllm:kv_offload_store_bytes=19",
		"vllm:kv_offload_store_time=2.3",
		"vllm:kv_offload_store_size_count=3, vllm:kv_offload_store_size_sum=19",
		"vllm:kv_offload_lookup_sync_delay_seconds_count=3, ",
		"vllm:kv_offload_lookup_sync_delay_seconds_sum=0.6, ",
		"vllm:kv_offload_cpu_cache_usage_perc=1.0",
		"vllm:kv_offload_stores_skipped=4",
	};
	for (size_t i = 0; i < COUNT(figures); i++)
		if (!interval_contains(&interval, "O1", figures[i]))
			test_fail(__FILE__, __LINE__, "%s is not in: %s", figures[i],
				  interval.told);
	interval_free(&interval);
}

static uint32_t own_counter(struct kvtap *tap, const char *connector, const char *name,
			    const char *label, const char *value)
{
	struct kvtap_family family = { .name = name,
				       .help = "Things.",
				       .metric = KVTAP_COUNTER,
				       .label_names = &label,
				       .label_count = label ? 1 : 0,
				       .unit = KVTAP_UNIT_COUNT };
	uint32_t id, series;

	CHECK_EQ(kvtap_connector_declare(tap, &family.connector,
					 &(struct kvtap_connector){
						 .name = connector,
						 .summary = KVTAP_SUMMARY_FAMILIES }),
		 0);
	CHECK_EQ(kvtap_family_declare(tap, &id, &family), 0);
	CHECK_EQ(kvtap_family_series(tap, &series, id, &value, family.label_count), 0);
	return series;
}

TEST(vectors_families_show_label_values_as_a_tuple_of_python)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("O2", NULL);
	uint32_t a = own_counter(tap, "OffloadingConnector", "my_counter", "label", "a");
	uint32_t b = own_counter(tap, "OffloadingConnector", "my_counter", "label", "b");
	uint32_t c = own_counter(tap, "OffloadingConnector", "my_counter", "label", "it's \\");
	kvtap_add(tap, a, 10);
	kvtap_add(tap, b, 3);
	kvtap_add(tap, a, 7);
	kvtap_add(tap, c, 5);
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "O2",
		       "my_counter:('a',)=17, my_counter:('b',)=3, my_counter:(\"it's \\\\\",)=5");
	CHECK_VALUE(interval.page, "my_counter_total{engine=\"O2\",label=\"a\",model_name=\"m\"}",
		    17);
	interval_free(&interval);
}

/* Neither is in the order of the alphabet. */
static uint32_t counter_of_two(struct kvtap *tap, const char *zone, const char *disk)
{
	struct kvtap_family family = { .name = "moves",
				       .help = "Things.",
				       .metric = KVTAP_COUNTER,
				       .label_names = (const char *[]){ "zone", "disk" },
				       .label_count = 2,
				       .unit = KVTAP_UNIT_COUNT };
	uint32_t id, series;

	CHECK_EQ(kvtap_connector_declare(tap, &family.connector,
					 &(struct kvtap_connector){
						 .name = "OffloadingConnector",
						 .summary = KVTAP_SUMMARY_FAMILIES }),
		 0);
	CHECK_EQ(kvtap_family_declare(tap, &id, &family), 0);
	CHECK_EQ(kvtap_family_series(tap, &series, id, (const char *[]){ zone, disk }, 2), 0);
	return series;
}

TEST(vectors_families_show_several_label_values_in_the_order_of_declaration)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("two", NULL);
	kvtap_add(tap, counter_of_two(tap, "west", "b"), 1);
	kvtap_add(tap, counter_of_two(tap, "east", "z"), 2);
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "two", "moves:('west', 'b')=1, moves:('east', 'z')=2");
	CHECK_VALUE(interval.page,
		    "moves_total{disk=\"b\",engine=\"two\",model_name=\"m\",zone=\"west\"}", 1);
	interval_free(&interval);
}

TEST(vectors_families_are_told_in_the_order_of_declaration)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("O3", NULL);
	record(tap, KVTAP_OFFLOAD_LOAD, 16, 0);
	record(tap, KVTAP_OFFLOAD_LOAD, 8, 0);
	record(tap, KVTAP_OFFLOAD_LOAD, 3, 0);
	record(tap, KVTAP_OFFLOAD_LOAD, 7, 0);
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "O3",
		       "vllm:kv_offload_load_bytes=34, vllm:kv_offload_load_time=0.0, "
		       "vllm:kv_offload_load_size_count=4, vllm:kv_offload_load_size_sum=34");
	interval_free(&interval);
}

#define LABELS "{engine=\"O4\",model_name=\"m\"}"
#define TYPED(type) "{engine=\"O4\",model_name=\"m\",transfer_type=\"" type "\"}"

TEST(vectors_families_feed_the_deprecated_ones_with_the_same_six)
{
	struct interval interval;
	const struct kvtap_options options = { .groups = KVTAP_GROUP_OFFLOAD_DEPRECATED };

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("O4", &options);
	record(tap, KVTAP_OFFLOAD_LOAD, 16, 1000);
	record(tap, KVTAP_OFFLOAD_LOAD, 8, 500);
	record(tap, KVTAP_OFFLOAD_STORE, 1, 100);
	record(tap, KVTAP_OFFLOAD_STORE, 2, 200);
	kvtap_close(tap);
	interval_end(&interval);
	CHECK_VALUE(interval.page, "vllm:kv_offload_load_bytes_total" LABELS, 24);
	CHECK_VALUE(interval.page, "vllm:kv_offload_load_time_total" LABELS, 1.5);
	CHECK_VALUE(interval.page, "vllm:kv_offload_load_size_count" LABELS, 2);
	CHECK_VALUE(interval.page, "vllm:kv_offload_load_size_sum" LABELS, 24);
	CHECK_VALUE(interval.page, "vllm:kv_offload_store_bytes_total" LABELS, 3);
	CHECK_VALUE(interval.page, "vllm:kv_offload_store_time_total" LABELS, 0.3);
	CHECK_VALUE(interval.page, "vllm:kv_offload_store_size_count" LABELS, 2);
	CHECK_VALUE(interval.page, "vllm:kv_offload_total_bytes_total" TYPED("CPU_to_GPU"), 24);
	CHECK_VALUE(interval.page, "vllm:kv_offload_total_time_total" TYPED("CPU_to_GPU"), 1.5);
	CHECK_VALUE(interval.page, "vllm:kv_offload_size_sum" TYPED("CPU_to_GPU"), 24);
	CHECK_VALUE(interval.page, "vllm:kv_offload_total_bytes_total" TYPED("GPU_to_CPU"), 3);
	CHECK_VALUE(interval.page, "vllm:kv_offload_total_time_total" TYPED("GPU_to_CPU"), 0.3);
	CHECK_VALUE(interval.page, "vllm:kv_offload_size_count" TYPED("GPU_to_CPU"), 2);
	interval_free(&interval);
}

TEST(vectors_families_of_one_engine_give_another_no_series)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *idle = interval_tap("0", NULL), *tap = interval_tap("1", NULL);
	interval_series(idle, KVTAP_OFFLOAD_LOAD, NULL);
	record(tap, KVTAP_OFFLOAD_LOAD, 100, 1);
	kvtap_close(idle);
	kvtap_close(tap);
	interval_end(&interval);
	CHECK_VALUE(interval.page,
		    "vllm:kv_offload_load_bytes_total{engine=\"1\",model_name=\"m\"}", 100);
	CHECK(!strstr(interval.page, "engine=\"0\""));
	CHECK(!interval_figures(&interval, "0"));
	interval_check(&interval, "1", "vllm:kv_offload_load_bytes=100");
	interval_free(&interval);
}

static void record_x1(const char *rank, int transfers, double foos)
{
	struct kvtap *tap = interval_tap("X1", &(struct kvtap_options){ .rank = rank });
	uint32_t series = interval_series(tap, KVTAP_NIXL_TRANSFER, NULL);
	uint32_t foo = own_counter(tap, "Foo", "foo", NULL, NULL);

	for (int i = 0; i < transfers; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
							      .duration_ns = MS,
							      .bytes = 1 << 20,
							      .descriptors = 1 });
	if (foos > 0)
		kvtap_add(tap, foo, foos);
	kvtap_close(tap);
}

TEST(vectors_families_of_several_connectors_are_told_by_connector)
{
	struct interval interval;

	interval_begin(&interval);
	record_x1("0", 2, 1);
	record_x1("1", 3, 0);
	record_x1("2", 0, 5);
	interval_end(&interval);
	CHECK(interval_contains(&interval, "X1",
				"NixlPullConnector={'Num successful transfers': 5, 'Avg xfer time "
				"(ms)': 1.0, 'P90 xfer time (ms)': 1.0, "));
	CHECK(interval_contains(&interval, "X1", "Foo={'foo': 6}"));
	interval_free(&interval);
}

static void record_tier(struct kvtap *tap, const char *kind, uint8_t status, uint64_t ms)
{
	const struct kvtap_builtin_labels labels = { .tier = "1:fs" };

	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = interval_series(tap, kind, &labels),
						      .status = status,
						      .duration_ns = ms * MS,
						      .bytes = 16 });
}

#define TIER "{engine=\"T1\",model_name=\"m\",tier=\"1:fs\"}"

TEST(vectors_families_of_tiers_count_bytes_of_what_succeeded)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("T1", NULL);
	record_tier(tap, KVTAP_TIERING_WRITE, KVTAP_OK, 500);
	record_tier(tap, KVTAP_TIERING_READ, KVTAP_OK, 250);
	record_tier(tap, KVTAP_TIERING_WRITE, KVTAP_FAILED, 7);
	record_tier(tap, KVTAP_TIERING_READ, KVTAP_FAILED, 7);
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "T1",
		       "vllm:kv_offload_tiering_read_bytes:('1:fs',)=16, "
		       "vllm:kv_offload_tiering_read_time:('1:fs',)=0.25, "
		       "vllm:kv_offload_tiering_write_bytes:('1:fs',)=16, "
		       "vllm:kv_offload_tiering_write_time:('1:fs',)=0.5, "
		       "vllm:kv_offload_tiering_promotion_job_failures:('1:fs',)=1, "
		       "vllm:kv_offload_tiering_cascade_job_failures:('1:fs',)=1, "
		       "Num failed transfers=2");
	CHECK_VALUE(interval.page, "vllm:kv_offload_tiering_write_bytes_total" TIER, 16);
	CHECK_VALUE(interval.page, "vllm:kv_offload_tiering_read_time_total" TIER, 0.25);
	CHECK_VALUE(interval.page, "vllm:kv_offload_tiering_cascade_job_failures_total" TIER, 1);
	CHECK_VALUE(interval.page, "vllm:kv_offload_tiering_promotion_job_failures_total" TIER, 1);
	interval_free(&interval);
}

static void set_tier(struct kvtap *tap, const char *name, const char *tier, double value)
{
	const struct kvtap_builtin_labels labels = { .tier = tier };

	kvtap_set(tap, interval_series(tap, name, &labels), value);
}

TEST(vectors_families_of_tiers_have_their_gauges_and_what_has_no_tier)
{
	struct interval interval;

	interval_begin(&interval);
	struct kvtap *tap = interval_tap("T2", NULL);
	set_tier(tap, "vllm:kv_offload_tiering_active_promotion_jobs", "1:fs", 1);
	set_tier(tap, "vllm:kv_offload_tiering_primary_read_usage_perc", "0:primary", 3. / 6);
	set_tier(tap, "vllm:kv_offload_tiering_primary_write_usage_perc", "0:primary", 2. / 6);
	kvtap_add(tap,
		  interval_series(tap, "vllm:kv_offload_tiering_promotion_allocation_failures",
				  NULL),
		  1);
	kvtap_close(tap);
	interval_end(&interval);
	interval_check(&interval, "T2",
		       "vllm:kv_offload_tiering_promotion_allocation_failures=1, "
		       "vllm:kv_offload_tiering_primary_write_usage_perc:('0:primary',)="
		       "0.3333333333333333, "
		       "vllm:kv_offload_tiering_primary_read_usage_perc:('0:primary',)=0.5, "
		       "vllm:kv_offload_tiering_active_promotion_jobs:('1:fs',)=1");
	interval_free(&interval);
}
