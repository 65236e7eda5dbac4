/* SPDX-License-Identifier: Apache-2.0 */
/* test_drain.c - workers in processes of their own, drained and rendered in this one */
#include "test.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvtap.h"
#include "support_load.h"
#include "support_parts.h"
#include "support_segment.h"

struct script {
	const char *engine, *rank;
	uint8_t metric; /* of the family "own" */
	enum kvtap_gauge_mode mode;
	int records;
	bool closes;
};

static void work(const struct script *script)
{
	struct kvtap *tap;
	uint32_t load, family, series;

	CHECK_EQ(kvtap_open(&tap, &(struct kvtap_options){ .engine = script->engine,
							   .rank = script->rank,
							   .ring_slots = 16 }),
		 0);
	CHECK_EQ(kvtap_builtin(tap, &load, KVTAP_OFFLOAD_LOAD, NULL), 0);
	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){ .name = "own",
							      .metric = script->metric,
							      .gauge_mode = script->mode }),
		 0);
	CHECK_EQ(kvtap_family_series(tap, &series, family, NULL, 0), 0);
	for (int i = 0; i < script->records; i++) {
		kvtap_transfer(tap, &(struct kvtap_transfer){
					    .series = load, .duration_ns = 2000, .bytes = 1000 });
		if (script->metric == KVTAP_GAUGE)
			kvtap_set(tap, series, i);
		else
			kvtap_add(tap, series, 0.5);
	}
	if (script->closes)
		kvtap_close(tap);
}

/* A worker process that ends before this returns. */
static void worker(struct script script)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		work(&script);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

TEST(drain_takes_everything_of_a_worker_that_closed)
{
	struct parts exporter;

	parts_begin(&exporter, false);
	worker((struct script){
		.engine = "0", .metric = KVTAP_COUNTER, .records = 1000, .closes = true });
	parts_scrape_until(&exporter, "kvtap_workers_closed_total 1");
	CHECK(parts_has(&exporter, "vllm:kv_offload_load_bytes_total{engine=\"0\"} 1000000"));
	CHECK(parts_has(&exporter, "vllm:kv_offload_load_time_total{engine=\"0\"} 0.002"));
	CHECK(parts_has(&exporter, "vllm:kv_offload_load_size_count{engine=\"0\"} 1000"));
	CHECK(parts_has(&exporter, "own_total{engine=\"0\"} 500"));
	CHECK(parts_has(&exporter, "kvtap_records_drained_total 16"));
	CHECK(parts_has(&exporter, "kvtap_records_folded_total 1984"));
	CHECK(parts_has(&exporter, "kvtap_workers 0"));
	parts_end(&exporter);
}

TEST(drain_goes_on_with_the_series_when_a_worker_comes_back)
{
	struct parts exporter;
	struct script script = { .engine = "0", .metric = KVTAP_COUNTER, .records = 5 };

	parts_begin(&exporter, false);
	worker(script);
	parts_scrape_until(&exporter, "kvtap_workers_dead_total 1");
	CHECK(parts_has(&exporter, "own_total{engine=\"0\"} 2.5"));
	worker(script);
	parts_scrape_until(&exporter, "kvtap_workers_dead_total 2");
	CHECK(parts_has(&exporter, "own_total{engine=\"0\"} 5"));
	CHECK(parts_has(&exporter, "vllm:kv_offload_load_size_count{engine=\"0\"} 10"));
	parts_end(&exporter);
}

TEST(drain_removes_the_files_of_ended_workers)
{
	struct parts exporter;
	char command[512];

	parts_begin(&exporter, false);
	worker((struct script){ .engine = "0", .metric = KVTAP_COUNTER, .records = 5 });
	parts_scrape_until(&exporter, "kvtap_workers_dead_total 1");
	snprintf(command, sizeof(command), "test \"$(ls -A %s/kvtap.default)\" = " JOURNAL_NAME,
		 test_folder());
	CHECK_EQ(system(command), 0);
	parts_end(&exporter);
}

TEST(drain_adds_up_ranks_unless_they_are_labels)
{
	struct script a = { .engine = "0", .rank = "0", .metric = KVTAP_COUNTER, .records = 5 };
	struct script b = { .engine = "0", .rank = "1", .metric = KVTAP_COUNTER, .records = 7 };
	struct parts exporter;

	parts_begin(&exporter, false);
	worker(a);
	worker(b);
	parts_scrape_until(&exporter, "kvtap_workers_dead_total 2");
	CHECK(parts_has(&exporter, "own_total{engine=\"0\"} 6"));
	parts_end(&exporter);
	parts_begin(&exporter, true);
	worker(a);
	worker(b);
	parts_scrape_until(&exporter, "kvtap_workers_dead_total 4");
	CHECK(parts_has(&exporter, "own_total{engine=\"0\"} 6"));
	CHECK(parts_has(&exporter, "own_total{engine=\"0\",rank=\"0\"} 2.5"));
	CHECK(parts_has(&exporter, "own_total{engine=\"0\",rank=\"1\"} 3.5"));
	parts_end(&exporter);
}

TEST(drain_keeps_the_first_of_conflicting_declarations)
{
	struct parts exporter;

	parts_begin(&exporter, false);
	worker((struct script){ .engine = "0",
				.metric = KVTAP_GAUGE,
				.mode = KVTAP_GAUGE_MOSTRECENT,
				.records = 3 });
	parts_scrape_until(&exporter, "kvtap_workers_dead_total 1");
	CHECK(parts_has(&exporter, "own{engine=\"0\"} 2"));
	worker((struct script){ .engine = "1", .metric = KVTAP_HISTOGRAM });
	parts_scrape_until(&exporter, "kvtap_workers_dead_total 2");
	CHECK(parts_has(&exporter, "own{engine=\"0\"} 2"));
	CHECK(parts_has(&exporter, "kvtap_declaration_conflicts_total 1"));
	CHECK(!strstr(exporter.page.data, "own_bucket"));
	parts_end(&exporter);
}

TEST(drain_counts_records_of_the_wrong_kind)
{
	struct parts exporter;

	parts_begin(&exporter, false);
	worker((struct script){ .engine = "0", .metric = KVTAP_HISTOGRAM, .records = 4 });
	parts_scrape_until(&exporter, "kvtap_workers_dead_total 1");
	CHECK(parts_has(&exporter, "own_count{engine=\"0\"} 0"));
	CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"operation\"} 4"));
	CHECK(parts_has(&exporter, "vllm:kv_offload_load_size_count{engine=\"0\"} 4"));
	parts_end(&exporter);
}

TEST(drain_gives_up_a_segment_that_was_truncated_and_serves_the_others)
{
	struct parts exporter;
	char command[512];

	parts_begin(&exporter, false);
	worker((struct script){ .engine = "0", .metric = KVTAP_COUNTER, .records = 4 });
	discover_poll(exporter.discover, true); /* opened and mapped */
	snprintf(command, sizeof(command), "truncate -s 4096 %s/kvtap.default/*.seg",
		 test_folder());
	CHECK_EQ(system(command), 0);
	worker((struct script){ .engine = "1", .metric = KVTAP_COUNTER, .records = 4 });
	parts_scrape_until(&exporter, "own_total{engine=\"1\"} 2");
	CHECK(parts_has(&exporter, "kvtap_segments_rejected_total{reason=\"truncated\"} 1"));
	parts_end(&exporter);
}

TEST(drain_counts_a_rejected_file_once)
{
	struct parts exporter;
	char command[512];

	parts_begin(&exporter, false);
	snprintf(command, sizeof(command),
		 "cd %s/kvtap.default && mkfifo .f && mv .f 1.f.seg && ln -s / .l && mv -T .l "
		 "2.l.seg",
		 test_folder());
	CHECK_EQ(system(command), 0);
	parts_scrape(&exporter);
	worker((struct script){ .engine = "1", .metric = KVTAP_COUNTER, .records = 4 });
	parts_scrape_until(&exporter, "own_total{engine=\"1\"} 2");
	CHECK(parts_has(&exporter, "kvtap_segments_rejected_total{reason=\"not_regular\"} 2"));
	parts_end(&exporter);
}

/* ---- no room ---- */

/* A worker that declares more than its share: the page has that share, and who comes later all. */
TEST(drain_keeps_a_page_within_the_budget_of_each_worker)
{
	static const char *const label[] = { "text" };
	double bounds[64];
	char value[4001];
	const char *const values[] = { value };
	struct kvtap_family big = { .name = "big",
				    .metric = KVTAP_HISTOGRAM,
				    .label_names = label,
				    .label_count = 1,
				    .bounds = bounds,
				    .bound_count = 64 };
	struct parts exporter;
	struct kvtap *tap[2];
	uint32_t family, series = 0;

	for (int i = 0; i < 64; i++)
		bounds[i] = i;
	memset(value, 'x', sizeof(value) - 1);
	value[4000] = '\0';
	for (int t = 0; t < 2; t++) {
		tap[t] = small_tap();
		CHECK_EQ(kvtap_family_declare(tap[t], &family, &big), 0);
		for (int i = t ? 299 : 0; i < 300; i++) { /* 80 MB */
			value[0] = (char)('a' + i / 26);
			value[1] = (char)('a' + i % 26);
			CHECK_EQ(kvtap_family_series(tap[t], &series, family, values, 1), 0);
		}
		if (t == 0)
			parts_begin(&exporter, false);
		kvtap_observe(tap[t], series, 1);
		parts_scrape(&exporter);
		CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"budget\"} 0"));
		CHECK(parts_has(&exporter, "kvtap_records_over_budget_total 1"));
		CHECK(parts_has(&exporter, "big_count{text=\"other\"} 1"));
		CHECK(exporter.page.bytes > 60u << 20);
		CHECK(exporter.page.bytes < WORKER_BYTES_MAX + (1u << 20));
	}
	CHECK(parts_has(&exporter, "kvtap_records_drained_total 2"));
	kvtap_close(tap[0]);
	kvtap_close(tap[1]);
	parts_end(&exporter);
}

TEST(drain_refuses_records_of_families_beyond_the_budget)
{
	struct parts exporter;
	struct kvtap *tap = small_tap();
	uint32_t series = 0;
	char name[32];

	for (int i = 0; i <= WORKER_FAMILIES_MAX; i++) {
		snprintf(name, sizeof(name), "family_%d", i);
		series = counter_series(tap, name);
	}
	kvtap_add(tap, series, 1);
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"budget\"} 1"));
	CHECK(parts_has(&exporter, "kvtap_series_refused_total 1"));
	CHECK(parts_has(&exporter, "family_255_total 0"));
	CHECK(!parts_has(&exporter, "family_256_total 1"));
	kvtap_close(tap);
	parts_end(&exporter);
}

/* ---- no memory; sanitizers have a realloc of their own ---- */

#if !LOAD_SANITIZED

#define MANY 37 /* series: no other memory of a pass has the size of so many targets */

/* Memory for so many targets: at the first, declare another series; the second is not there. */
static const size_t first_bytes = MANY * sizeof(struct reduce_target);
static const size_t second_bytes = (MANY + 1) * sizeof(struct reduce_target);
static struct kvtap *short_tap;
static bool short_of_memory, short_tap_closes;
static int failures;

static void declare_another(void)
{
	uint32_t series = counter_series(short_tap, "another");

	if (short_tap_closes)
		kvtap_close(short_tap);
	else
		kvtap_add(short_tap, series, 7);
}

void *realloc(void *old, size_t bytes)
{
	static void *(*real)(void *, size_t);
	static bool declared;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "realloc");
	if (short_of_memory && bytes == first_bytes && !declared) {
		declared = true;
		declare_another();
	}
	if (short_of_memory && bytes == second_bytes) {
		failures++;
		return NULL;
	}
	return real(old, bytes);
}

/* A pass that runs out of memory when it takes over what was declared since it began. */
static void pass_without_memory(struct parts *exporter, bool closes)
{
	char name[32];
	uint32_t series = 0;

	parts_begin(exporter, false);
	short_tap = small_tap();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "one_of_many_%d", i);
		series = counter_series(short_tap, name);
	}
	for (int i = 0; i < 3; i++)
		kvtap_add(short_tap, series, 1);
	discover_poll(exporter->discover, true);
	short_tap_closes = closes;
	short_of_memory = true;
	drain_pass(exporter->drain, true);
	short_of_memory = false;
	CHECK(failures > 0);
	parts_render(exporter);
}

TEST(drain_leaves_records_in_the_ring_that_it_has_no_memory_for)
{
	struct parts exporter;

	pass_without_memory(&exporter, false);
	CHECK(parts_has(&exporter, "one_of_many_36_total 3"));
	CHECK(parts_has(&exporter, "kvtap_records_drained_total 3"));
	CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"series\"} 0"));
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "one_of_many_36_total 3"));
	CHECK(parts_has(&exporter, "another_total 7"));
	CHECK(parts_has(&exporter, "kvtap_records_drained_total 4"));
	CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"series\"} 0"));
	kvtap_close(short_tap);
	parts_end(&exporter);
}

TEST(drain_keeps_an_ended_worker_that_it_has_no_memory_for)
{
	struct parts exporter;

	pass_without_memory(&exporter, true);
	int folder = namespace_folder();
	CHECK(parts_has(&exporter, "kvtap_workers 1"));
	CHECK(parts_has(&exporter, "kvtap_workers_closed_total 0"));
	CHECK_EQ(count_files(folder, KVTAP_SEGMENT_SUFFIX), 1);
	parts_scrape_until(&exporter, "kvtap_workers_closed_total 1");
	CHECK(parts_has(&exporter, "another_total 0"));
	CHECK(parts_has(&exporter, "one_of_many_36_total 3"));
	CHECK_EQ(count_files(folder, KVTAP_SEGMENT_SUFFIX), 0);
	CHECK_EQ(count_files(folder, KVTAP_TAILS_SUFFIX), 0);
	close(folder);
	parts_end(&exporter);
}

#endif

/* ---- what workers and segments tell only once ---- */

TEST(drain_does_not_count_losses_again_when_the_exporter_restarts)
{
	struct parts exporter;
	struct kvtap *tap = small_tap();
	uint32_t series = counter_series(tap, "added");

	for (int i = 0; i < 3; i++)
		kvtap_add(tap, series, -1);
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"worker\"} 3"));
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"worker\"} 3"));
	parts_end(&exporter);
	parts_begin(&exporter, false);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"worker\"} 3"));
	kvtap_add(tap, series, -1);
	parts_scrape(&exporter);
	CHECK(parts_has(&exporter, "kvtap_records_refused_total{reason=\"worker\"} 4"));
	kvtap_close(tap);
	parts_end(&exporter);
}

TEST(drain_counts_no_rejection_without_a_reason)
{
	struct parts exporter;

	parts_begin(&exporter, false);
	self_add_rejected(&exporter.self, KVTAP_REJECT_NONE);
	parts_scrape(&exporter);
	CHECK(!strstr(exporter.page.data, "reason=\"none\""));
	parts_end(&exporter);
}
