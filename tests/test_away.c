/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_away.c - the exporter is stopped, not there, or restarted while workers record
 *
 * Records that find their ring full are folded. Afterwards each count, sum and bucket of a scrape is
 * compared with what the recording threads counted in memory of their own.
 */
#include "test.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "support_exporter.h"
#include "support_load.h"
#include "support_slow.h"

#define RECORDS (LOAD_SANITIZED ? 400000u : 10000000u)
#define THREADS 8
#define CHUNK 1000

struct recorder {
	const struct load *load;
	uint64_t records, seed;
	struct load_truth truth;
	pthread_t thread;
	/* of those that go on until they are told to stop */
	atomic_bool *stop;
	sem_t *step; /* posted once a chunk */
};

static void *record_all(void *argument)
{
	struct recorder *recorder = argument;

	load_record(recorder->load, &recorder->truth, &recorder->seed, recorder->records);
	return NULL;
}

static void *record_on(void *argument)
{
	struct recorder *recorder = argument;

	while (!atomic_load(recorder->stop)) {
		load_record(recorder->load, &recorder->truth, &recorder->seed, CHUNK);
		sem_post(recorder->step);
	}
	return NULL;
}

static struct recorder *recorders_create(const struct load *load, int count)
{
	struct recorder *recorder = calloc((size_t)count, sizeof(*recorder));

	CHECK(recorder);
	for (int i = 0; i < count; i++) {
		recorder[i].load = load;
		recorder[i].seed = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
	}
	return recorder;
}

static void recorders_start(struct recorder *recorder, int count, void *(*run)(void *))
{
	for (int i = 0; i < count; i++)
		CHECK_EQ(pthread_create(&recorder[i].thread, NULL, run, &recorder[i]), 0);
}

/* Wait for their end and add up what they recorded. */
static struct load_truth *recorders_join(struct recorder *recorder, int count)
{
	struct load_truth *truth = calloc(1, sizeof(*truth));

	CHECK(truth);
	for (int i = 0; i < count; i++) {
		CHECK_EQ(pthread_join(recorder[i].thread, NULL), 0);
		load_add(truth, &recorder[i].truth);
	}
	return truth;
}

static uint64_t drained(const struct page *page)
{
	return page_count(page, "kvtap_records_drained_total");
}

static uint64_t folded(const struct page *page)
{
	return page_count(page, "kvtap_records_folded_total");
}

static void check_nothing_lost(const struct page *page)
{
	static const char *const reasons[] = { "sequence", "series",   "operation",
					       "value",	   "conflict", "worker" };

	CHECK_EQ(page_count(page, "kvtap_records_lost_total"), 0);
	CHECK_EQ(page_count(page, "kvtap_lost_bytes_total"), 0);
	CHECK_EQ(page_count(page, "kvtap_declaration_conflicts_total"), 0);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		CHECK_EQ(page_count(page, "kvtap_records_refused_total{reason=\"%s\"}", reasons[i]),
			 0);
}

/* Returns: how many were folded. */
static uint64_t check_page(struct exporter *exporter, const struct load_truth *truth)
{
	struct page *page = page_scrape(exporter);

	uint64_t count = folded(page);

	CHECK_EQ(drained(page) + folded(page), truth->records);
	CHECK(count > 0);
	check_nothing_lost(page);
	load_check(page, "0", truth, LOAD_SHARDS_MAX);
	page_free(page);
	return count;
}

/* Twice: nothing is taken again in another pass. */
static void check_all(struct exporter *exporter, const struct load_truth *truth)
{
	uint64_t count = check_page(exporter, truth);

	CHECK_EQ(check_page(exporter, truth), count);
	printf("%llu records, %llu of them folded\n", (unsigned long long)truth->records,
	       (unsigned long long)count);
}

static void load_close(struct load *load, struct exporter *exporter)
{
	kvtap_close(load->tap);
	page_wait(exporter, "kvtap_workers", 0); /* then its files are gone */
}

static void halt(const struct exporter *exporter)
{
	int status;

	CHECK_EQ(kill(exporter->pid, SIGSTOP), 0);
	CHECK_EQ(waitpid(exporter->pid, &status, WUNTRACED), exporter->pid);
	CHECK(WIFSTOPPED(status));
}

static const struct kvtap_options engine_0 = { .engine = "0" };

TEST_TIMEOUT(away_exporter_that_was_stopped_is_exact, 300)
{
	struct exporter exporter;
	struct load load;

	exporter_start(&exporter, NULL);
	halt(&exporter);
	load_open(&load, &engine_0, LOAD_SHARDS_MAX);
	struct recorder *recorder = recorders_create(&load, THREADS);
	for (int i = 0; i < THREADS; i++)
		recorder[i].records = RECORDS / THREADS;
	recorders_start(recorder, THREADS, record_all);
	struct load_truth *truth = recorders_join(recorder, THREADS);
	CHECK_EQ(truth->records, RECORDS);
	CHECK_EQ(kill(exporter.pid, SIGCONT), 0);
	check_all(&exporter, truth);
	free(truth);

	/* the same threads' rings, with a reader that keeps up or does not */
	recorders_start(recorder, THREADS, record_all);
	truth = recorders_join(recorder, THREADS);
	CHECK_EQ(truth->records, 2 * RECORDS);
	check_all(&exporter, truth);
	free(truth);
	load_close(&load, &exporter);
	exporter_finish(&exporter);
	free(recorder);
}

TEST_TIMEOUT(away_exporter_that_was_not_started_is_exact, 300)
{
	struct exporter exporter;
	struct load load;

	load_open(&load, &engine_0, LOAD_SHARDS_MAX);
	struct recorder *recorder = recorders_create(&load, THREADS);
	for (int i = 0; i < THREADS; i++)
		recorder[i].records = RECORDS / THREADS;
	recorders_start(recorder, THREADS, record_all);
	struct load_truth *truth = recorders_join(recorder, THREADS);
	exporter_start(&exporter, NULL);
	check_all(&exporter, truth);
	load_close(&load, &exporter);
	exporter_finish(&exporter);
	free(truth);
	free(recorder);
}

TEST_TIMEOUT(away_worker_that_closed_before_the_exporter_came_is_exact, 300)
{
	struct exporter exporter;
	struct load load;
	struct load_truth *truth = calloc(1, sizeof(*truth));
	uint64_t seed = 42;

	CHECK(truth);
	load_open(&load, &engine_0, LOAD_SHARDS_MAX);
	load_record(&load, truth, &seed, 100000);
	kvtap_close(load.tap);
	exporter_start(&exporter, NULL);
	page_wait(&exporter, "kvtap_workers_closed_total", 1);
	check_all(&exporter, truth);
	exporter_finish(&exporter);
	free(truth);
}

/* The last page of an exporter that is told to stop while the recorders go on. */
static struct page *stop_and_see(struct exporter *exporter)
{
	struct slow slow;

	slow_begin(&slow, exporter);
	CHECK_EQ(kill(exporter->pid, SIGTERM), 0);
	log_wait(exporter, "msg=Stopping");
	char *text = slow_last(&slow);
	free(slow_end(&slow));
	exporter_stop(exporter);
	struct page *page = page_parse(text);
	free(text);
	return page;
}

/* Wait until so many more are recorded. */
static void wait_chunks(sem_t *step, int chunks)
{
	while (sem_trywait(step) == 0)
		;
	while (chunks--)
		CHECK_EQ(sem_wait(step), 0);
}

TEST_TIMEOUT(away_exporter_that_restarts_neither_loses_nor_doubles, 300)
{
	struct exporter exporter;
	struct kvtap *ballast = ballast_open();
	struct load load;
	atomic_bool stop = false;
	sem_t step;

	sem_init(&step, 0, 0);
	exporter_start(&exporter, NULL);
	load_open(&load, &engine_0, LOAD_SHARDS_MAX);
	struct recorder *recorder = recorders_create(&load, 2);
	for (int i = 0; i < 2; i++) {
		recorder[i].stop = &stop;
		recorder[i].step = &step;
	}
	recorders_start(recorder, 2, record_on);
	wait_chunks(&step, 500);
	struct page *first = stop_and_see(&exporter);
	wait_chunks(&step, 500);
	exporter_start(&exporter, NULL);
	wait_chunks(&step, 500);
	atomic_store(&stop, true);
	struct load_truth *truth = recorders_join(recorder, 2);
	struct page *last = page_scrape(&exporter);

	printf("%llu records: %llu, then %llu drained, %llu, then %llu folded\n",
	       (unsigned long long)truth->records, (unsigned long long)drained(first),
	       (unsigned long long)drained(last), (unsigned long long)folded(first),
	       (unsigned long long)folded(last));
	CHECK(drained(first) > 0 && drained(last) > drained(first) && folded(last) > 0);
	CHECK_EQ(drained(last) + folded(last), truth->records);
	check_nothing_lost(last);
	load_check(last, "0", truth, LOAD_SHARDS_MAX);
	kvtap_close(ballast);
	load_close(&load, &exporter);
	exporter_finish(&exporter);
	page_free(first);
	page_free(last);
	free(truth);
	free(recorder);
	sem_destroy(&step);
}
