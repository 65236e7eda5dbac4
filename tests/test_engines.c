/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_engines.c - several engines in a process, several processes on an engine, and label sets that
 *		    threads declare while others record
 *
 * The real exporter drains all the while; what its page has to say is kept by who records.
 */
#include "../lib/tap.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_exporter.h"
#include "support_load.h"
#include "support_segment.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define THREADS 8
#define RANKS 8
#define SHARDS 4
#define RECORDS 4000 /* of each thread and each rank; the rings are smaller, so that some fold */

static void end(struct exporter *exporter)
{
	exporter_stop(exporter);
	remove_segments(); /* of those it hasn't yet seen to be gone */
}

/* ---- engines ---- */

struct engine {
	const char *name;
	struct load load;
	struct load_truth truth[THREADS];
};

struct recorder {
	struct engine *engine; /* [2] */
	uint32_t index;
	pthread_t thread;
};

/* Both engines by turns, so that a thread that mixed up its rings would be found out. */
static void *record_both(void *argument)
{
	const struct recorder *recorder = argument;
	uint64_t seed = 0x9e3779b97f4a7c15u + recorder->index;

	for (int turn = 0; turn < 40; turn++) {
		struct engine *engine = &recorder->engine[turn % 2];

		load_record(&engine->load, &engine->truth[recorder->index], &seed,
			    turn % 2 ? RECORDS / 20 : RECORDS / 40);
	}
	return NULL;
}

static void record_engines(struct engine engine[2])
{
	struct recorder recorder[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		recorder[i] = (struct recorder){ .engine = engine, .index = i };
		CHECK_EQ(pthread_create(&recorder[i].thread, NULL, record_both, &recorder[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(recorder[i].thread, NULL), 0);
	for (int i = 0; i < 2; i++)
		for (uint32_t k = 1; k < THREADS; k++)
			load_add(&engine[i].truth[0], &engine[i].truth[k]);
}

static void check_none_lost(const struct page *page, uint64_t records)
{
	uint64_t drained = page_count(page, "kvtap_records_drained_total");

	CHECK_EQ(drained + page_count(page, "kvtap_records_folded_total"), records);
	CHECK_EQ(page_count(page, "kvtap_records_lost_total"), 0);
}

TEST(engines_two_in_a_process_have_totals_of_their_own)
{
	struct engine *engine = calloc(2, sizeof(*engine));
	struct exporter exporter;

	CHECK(engine);
	exporter_start(&exporter, NULL);
	for (int i = 0; i < 2; i++) {
		engine[i].name = i ? "1" : "0";
		load_open(&engine[i].load,
			  &(struct kvtap_options){ .engine = engine[i].name, .ring_slots = 256 },
			  SHARDS);
	}
	record_engines(engine);
	struct page *page = page_scrape(&exporter);
	for (int i = 0; i < 2; i++)
		load_check(page, engine[i].name, &engine[i].truth[0], SHARDS);
	check_none_lost(page, engine[0].truth[0].records + engine[1].truth[0].records);
	page_free(page);
	for (int i = 0; i < 2; i++)
		kvtap_close(engine[i].load.tap);
	end(&exporter);
	free(engine);
}

/* ---- ranks ---- */

static _Noreturn void work_as_rank(struct load_truth *truth, int index)
{
	uint64_t seed = 0x2545f4914f6cdd1du + (uint64_t)index;
	struct load load;
	char rank[12];

	snprintf(rank, sizeof(rank), "%d", index);
	load_open(&load, &(struct kvtap_options){ .engine = "0", .rank = rank, .ring_slots = 256 },
		  SHARDS);
	load_record(&load, truth, &seed, RECORDS + (uint64_t)index);
	kvtap_close(load.tap);
	exit(0);
}

/* Returns: what each of them recorded; to be unmapped. */
static struct load_truth *record_ranks(void)
{
	struct load_truth *truth = mmap(NULL, RANKS * sizeof(*truth), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[RANKS];

	CHECK(truth != MAP_FAILED);
	fflush(stdout);
	for (int i = 0; i < RANKS; i++) {
		pid[i] = fork();
		CHECK(pid[i] >= 0);
		if (pid[i] == 0)
			work_as_rank(&truth[i], i);
	}
	for (int i = 0; i < RANKS; i++) {
		int status;

		CHECK_EQ(waitpid(pid[i], &status, 0), pid[i]);
		CHECK_EQ(status, 0);
	}
	return truth;
}

static void pool(struct load_truth *all, const struct load_truth truth[RANKS])
{
	memset(all, 0, sizeof(*all));
	for (int i = 0; i < RANKS; i++)
		load_add(all, &truth[i]);
}

TEST(engines_ranks_of_one_engine_feed_the_same_series)
{
	static struct load_truth all;
	struct exporter exporter;

	exporter_start(&exporter, NULL);
	struct load_truth *truth = record_ranks();
	pool(&all, truth);
	char *text = exporter_scrape(&exporter);
	CHECK(!strstr(text, "rank=\""));
	struct page *page = page_parse(text);
	load_check(page, "0", &all, SHARDS);
	check_none_lost(page, all.records);
	page_free(page);
	free(text);
	end(&exporter);
	munmap(truth, RANKS * sizeof(*truth));
}

/* The page that a rank alone would have, in place: its samples without the label, and no others'. */
static void only_rank(char *page, int rank)
{
	char label[32], *out = page;

	snprintf(label, sizeof(label), ",rank=\"%d\"", rank);
	for (char *line = page, *next; *line; line = next) {
		next = line + strcspn(line, "\n") + 1;
		char *found = memmem(line, (size_t)(next - line), label, strlen(label));

		if (!found && *line != '#')
			continue;
		char *from = found ? found + strlen(label) : line;
		size_t before = found ? (size_t)(found - line) : 0, after = (size_t)(next - from);

		memmove(out, line, before);
		memmove(out + before, from, after);
		out += before + after;
	}
	*out = '\0';
}

TEST(engines_ranks_kept_apart_have_totals_of_their_own)
{
	static const char *const flags[] = { "--label.rank", NULL };
	static struct load_truth all;
	struct exporter exporter;

	exporter_start(&exporter, flags);
	struct load_truth *truth = record_ranks();
	char *text = exporter_scrape(&exporter);
	struct page *page = page_parse(text);

	pool(&all, truth);
	check_none_lost(page, all.records);
	page_free(page);
	CHECK(!strstr(text, "{engine=\"0\",model_name=\"" LOAD_MODEL "\"}")); /* pooled */
	for (int i = 0; i < RANKS; i++) {
		char *copy = strdup(text);

		CHECK(copy);
		only_rank(copy, i);
		page = page_parse(copy);
		load_check(page, "0", &truth[i], SHARDS);
		page_free(page);
		free(copy);
	}
	free(text);
	end(&exporter);
	munmap(truth, RANKS * sizeof(*truth));
}

/* ---- label sets ---- */

#define SETS (LOAD_SANITIZED ? 1000u : 10000u)
#define SETS_MAX 10000u
/* a block of the kind below, for each set, in each thread's arena: then nothing may be lost */
#define ARENA (2u << 20)

static struct kvtap *tap;
static uint32_t kind;
static uint32_t series[THREADS][SETS_MAX];
static pthread_barrier_t together;

static void declare_kind(void)
{
	static const char *const labels[] = { "peer", "tier" };
	struct kvtap_feed feeds[] = { { .field = KVTAP_FIELD_BYTES },
				      { .field = KVTAP_FIELD_ONE } };

	CHECK_EQ(kvtap_family_declare(tap, &feeds[0].family,
				      &(struct kvtap_family){ .name = "set_bytes",
							      .metric = KVTAP_HISTOGRAM,
							      .label_names = labels,
							      .label_count = 2,
							      .bounds = (double[]){ 4000, 8000 },
							      .bound_count = 2 }),
		 0);
	CHECK_EQ(kvtap_family_declare(tap, &feeds[1].family,
				      &(struct kvtap_family){ .name = "set_moves",
							      .metric = KVTAP_COUNTER,
							      .label_names = labels,
							      .label_count = 2 }),
		 0);
	CHECK_EQ(kvtap_kind_declare(tap, &kind,
				    &(struct kvtap_kind){ .name = "set_move",
							  .label_names = labels,
							  .label_count = 2,
							  .feeds = feeds,
							  .feed_count = COUNT(feeds) }),
		 0);
}

/* All sets, each thread from another one on: many are declared by several threads at once. */
static void *declare_and_record(void *argument)
{
	uint32_t thread = *(uint32_t *)argument;

	pthread_barrier_wait(&together);
	for (uint32_t i = 0; i < SETS; i++) {
		uint32_t set = (i + thread % 4 * (SETS / 4)) % SETS;
		char peer[24], tier[24];

		snprintf(peer, sizeof(peer), "10.0.%u.%u", set / 100 % 10, set % 100);
		snprintf(tier, sizeof(tier), "%u:fs", set / 1000);
		CHECK_EQ(kvtap_kind_series(tap, &series[thread][set], kind,
					   (const char *const[]){ peer, tier }, 2),
			 0);
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series[thread][set],
							      .bytes = set,
							      .duration_ns = 1 });
	}
	return NULL;
}

static void check_same_series(void)
{
	bool *seen = calloc(SETS + 1, sizeof(*seen));

	CHECK(seen);
	for (uint32_t i = 0; i < SETS; i++) {
		for (uint32_t thread = 1; thread < THREADS; thread++)
			CHECK_EQ(series[thread][i], series[0][i]);
		CHECK(series[0][i] >= 1 && series[0][i] <= SETS);
		CHECK(!seen[series[0][i]]);
		seen[series[0][i]] = true;
	}
	free(seen);
}

/* page_parse has refused a page that has a sample twice. */
static void check_sets(const struct page *page)
{
	for (uint32_t set = 0; set < SETS; set++) {
		char labels[128];

		snprintf(labels, sizeof(labels), "{peer=\"10.0.%u.%u\",tier=\"%u:fs\"}",
			 set / 100 % 10, set % 100, set / 1000);
		CHECK_EQ(page_count(page, "set_moves_total%s", labels), THREADS);
		CHECK_EQ(page_count(page, "set_bytes_count%s", labels), THREADS);
		CHECK_EQ(page_count(page, "set_bytes_sum%s", labels), THREADS * set);
	}
	size_t samples = 0;
	for (size_t i = 0; i < page->samples; i++)
		samples += strncmp(page->sample[i].key, "set_", 4) == 0;
	CHECK_EQ(samples, SETS * 6);
	check_none_lost(page, THREADS * SETS);
}

TEST_TIMEOUT(engines_thousands_of_label_sets_declared_by_8_threads_while_they_record, 240)
{
	struct kvtap_stats stats;
	struct exporter exporter;
	pthread_t thread[THREADS];
	uint32_t index[THREADS];

	exporter_start(&exporter, NULL);
	CHECK_EQ(kvtap_open(&tap, &(struct kvtap_options){ .ring_slots = 256,
							   .ring_max = THREADS + 1,
							   .overflow_bytes = ARENA }),
		 0);
	declare_kind();
	CHECK_EQ(pthread_barrier_init(&together, NULL, THREADS), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		index[i] = i;
		CHECK_EQ(pthread_create(&thread[i], NULL, declare_and_record, &index[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	pthread_barrier_destroy(&together);
	check_same_series();
	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.lost_records + stats.refused_records + stats.ignored_calls, 0);
	struct page *page = page_scrape(&exporter);
	check_sets(page);
	page_free(page);
	kvtap_close(tap);
	end(&exporter);
}

/* ---- no lock ---- */

#define SLOTS 16

/* The ring of a thread is the last thing that it needs the lock for. */
static void *record_what_was_declared(void *declared)
{
	kvtap_ring(tap);
	pthread_barrier_wait(&together);
	pthread_barrier_wait(&together);
	for (int i = 0; i < 2 * SLOTS; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = *(uint32_t *)declared,
							      .bytes = 1 });
	return NULL;
}

/* Else the join never ends. More than a ring holds, so that the label set gets a block too. */
TEST(engines_declare_under_a_lock_that_records_of_new_label_sets_do_not_need)
{
	uint32_t declared;
	pthread_t thread;
	struct watch watch;

	CHECK_EQ(kvtap_open(&tap, &(struct kvtap_options){ .ring_slots = SLOTS }), 0);
	declare_kind();
	CHECK_EQ(pthread_barrier_init(&together, NULL, 2), 0);
	CHECK_EQ(pthread_create(&thread, NULL, record_what_was_declared, &declared), 0);
	pthread_barrier_wait(&together);
	CHECK_EQ(kvtap_kind_series(tap, &declared, kind, (const char *const[]){ "a", "1:fs" }, 2),
		 0);
	CHECK_EQ(kvtap_tap_lock(tap), 0);
	pthread_barrier_wait(&together);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	kvtap_tap_unlock(tap);
	watch_open(&watch, 0);
	watch_drain(&watch);
	CHECK_EQ(watch.records, SLOTS);
	CHECK_EQ(total_sum(watch_total(&watch, declared), 0), 2 * SLOTS);
	kvtap_close(tap);
	watch_remove(&watch);
}
