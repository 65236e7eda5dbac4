/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_exporter_kill.c - the exporter is killed again and again while eight threads record
 *
 * Two workers, one with rings so small that it folds all the time, count what they record in memory
 * of their own. Exporters are killed after a random time: while they start, or after a scrape. No
 * counter of a scrape is smaller than in an earlier one, and at the end all of them are exact.
 *
 *	KILLS=10000 make check T=exporter_kill
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support_exporter.h"
#include "support_load.h"
#include "test.h"

#define KILLS (LOAD_SANITIZED ? 50 : 200)
#define KILLS_A_SECOND 2 /* at least */
#define WORKERS 2
#define THREADS 4
#define SHARDS 2
#define CHUNK 100	 /* records */
#define PAUSE_NS 500000	 /* between two chunks, so that the exporter has a CPU */
#define START_NS 6000000 /* a life that ends while it starts, at most */
#define LIFE_NS 20000000 /* after a scrape, at most */

static struct shared {
	atomic_bool stop;
	struct load_truth truth[WORKERS][THREADS];
} * shared;

struct recorder {
	const struct load *load;
	struct load_truth *truth;
	uint64_t seed;
	pthread_t thread;
};

static uint64_t seed;

/* xorshift64, https://www.jstatsoft.org/article/view/v008i14 */
static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void sleep_ns(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = (long)ns }, NULL);
}

/* ---- workers ---- */

static void *record(void *argument)
{
	struct recorder *recorder = argument;

	while (!atomic_load(&shared->stop)) {
		load_record(recorder->load, recorder->truth, &recorder->seed, CHUNK);
		sleep_ns(PAUSE_NS);
	}
	return NULL;
}

static _Noreturn void work(int index)
{
	struct recorder recorder[THREADS];
	struct load load;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	load_open(&load,
		  &(struct kvtap_options){ .engine = index ? "1" : "0",
					   .ring_slots = index ? 4096 : 64 },
		  SHARDS);
	for (int i = 0; i < THREADS; i++) {
		recorder[i] = (struct recorder){ &load, &shared->truth[index][i],
						 seed + (uint64_t)(THREADS * index + i), 0 };
		CHECK_EQ(pthread_create(&recorder[i].thread, NULL, record, &recorder[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(recorder[i].thread, NULL), 0);
	kvtap_close(load.tap);
	_exit(0);
}

static void start_workers(pid_t pid[WORKERS])
{
	for (int i = 0; i < WORKERS; i++) {
		pid[i] = fork();
		CHECK(pid[i] >= 0);
		if (pid[i] == 0)
			work(i);
	}
}

static void end_workers(const pid_t pid[WORKERS])
{
	int status;

	atomic_store(&shared->stop, true);
	for (int i = 0; i < WORKERS; i++) {
		CHECK_EQ(waitpid(pid[i], &status, 0), pid[i]);
		CHECK_EQ(status, 0);
	}
}

/* ---- scrapes ---- */

/* What the workers recorded; what the exporter says of itself may begin anew with it. */
static bool is_of_workers(const char *key)
{
	return strncmp(key, "load_", 5) == 0 || strncmp(key, "vllm:", 5) == 0;
}

/* All samples of the load are counters, counts, sums of what is not negative, and buckets. */
static void check_no_step_back(const struct page *before, const struct page *now)
{
	for (size_t i = 0; i < before->samples; i++) {
		const struct page_sample *sample = &before->sample[i];
		const char *value = page_find(now, sample->key);

		if (!is_of_workers(sample->key))
			continue;
		if (!value || strtold(value, NULL) < strtold(sample->value, NULL))
			test_fail(__FILE__, __LINE__,
				  "%s: %s, before the exporter was killed it was %s", sample->key,
				  value ? value : "not there", sample->value);
	}
}

/* Returns the page, to compare the next one with. */
static struct page *scrape(struct exporter *exporter, struct page *before)
{
	struct page *page = page_scrape(exporter);

	if (before) {
		check_no_step_back(before, page);
		page_free(before);
	}
	return page;
}

static struct page *live_and_die(struct page *before)
{
	struct exporter exporter;

	exporter_begin(&exporter, NULL);
	if (next_random() % 3 == 0) {
		sleep_ns(next_random() % START_NS);
	} else {
		exporter_await(&exporter);
		before = scrape(&exporter, before);
		sleep_ns(next_random() % LIFE_NS);
	}
	exporter_kill(&exporter);
	return before;
}

/* Everything is on the page, and once; once more after a start that ends well. */
static void check_totals(struct page *before)
{
	static const char *const engine[WORKERS] = { "0", "1" };
	struct load_truth *truth = calloc(WORKERS, sizeof(*truth));
	struct exporter exporter;
	uint64_t records = 0;

	CHECK(truth);
	for (int i = 0; i < WORKERS * THREADS; i++)
		load_add(&truth[i / THREADS], &shared->truth[i / THREADS][i % THREADS]);
	for (int start = 0; start < 2; start++) {
		exporter_start(&exporter, NULL);
		page_wait(&exporter, "kvtap_workers", 0);
		before = scrape(&exporter, before);
		for (int i = 0; i < WORKERS; i++)
			load_check(before, engine[i], &truth[i], SHARDS);
		exporter_stop(&exporter);
	}
	for (int i = 0; i < WORKERS; i++)
		records += truth[i].records;
	printf("exporter kills: %llu records\n", (unsigned long long)records);
	page_free(before);
	free(truth);
}

/* The alarm ends the test as a time-out would, later when there are more kills to do. */
TEST_TIMEOUT(exporter_kill_under_load_loses_doubles_and_takes_back_nothing, 7200)
{
	const char *asked = getenv("KILLS");
	int kills = asked ? atoi(asked) : KILLS;
	struct page *before = NULL;
	pid_t pid[WORKERS];

	if (!exporter_path())
		SKIP("the exporter was not built beside this test");
	CHECK(kills > 0);
	alarm(60 + (unsigned)kills / KILLS_A_SECOND);
	test_leaves_files(); /* the state that goes from one exporter to the next */
	seed = (uint64_t)time(NULL) | 1;
	printf("exporter kills: %d, seed %llu\n", kills, (unsigned long long)seed);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	start_workers(pid);
	for (int i = 0; i < kills; i++)
		before = live_and_die(before);
	end_workers(pid);
	check_totals(before);
}
