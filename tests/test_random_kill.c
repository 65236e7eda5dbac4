/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_random_kill.c - workers are killed and restarted under the exporter's eyes, a thousand times
 *
 * Each worker counts, in memory that outlives it, the records whose call returned; its successor
 * has the same labels and goes on counting. What the exporter says is compared at scrapes on the
 * way and at the end: a kill may hide one record from the count, the one that was in its call.
 */
#include <math.h>
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
#include "support_segment.h"
#include "test.h"

#define KILLS 1000
#define WORKERS 4
#define LIFE_NS 5000000 /* at most */
#define RECORD_BYTES (2 << 20)
#define KILLS_A_SCRAPE 20
#define GONE_SECONDS 20

static struct worker {
	pid_t pid;
	uint64_t end_ns;
	_Atomic(uint64_t) records; /* by the worker */
	uint64_t kills, exported;
} * workers;

static uint64_t seed;

/* xorshift64, https://www.jstatsoft.org/article/view/v008i14 */
static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Until it is killed: as fast as it can, so that a small ring folds and a big one seldom does. */
static _Noreturn void work(struct worker *worker, uint32_t slots)
{
	struct kvtap_options options = small_options();
	char engine[2] = { (char)('0' + (worker - workers)), '\0' };
	struct kvtap *tap;
	uint32_t load;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	options.model_name = "m";
	options.engine = engine;
	options.ring_slots = slots;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	for (uint64_t records = atomic_load(&worker->records);;) {
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = load,
							      .duration_ns = 1000,
							      .bytes = RECORD_BYTES });
		atomic_store_explicit(&worker->records, ++records, memory_order_release);
	}
}

static void start(struct worker *worker)
{
	uint32_t slots = next_random() % 2 ? SMALL_SLOTS : 4096;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		work(worker, slots);
	worker->pid = pid;
	worker->end_ns = now_ns() + next_random() % LIFE_NS;
}

static void end(struct worker *worker)
{
	struct timespec until = { (time_t)(worker->end_ns / 1000000000),
				  (long)(worker->end_ns % 1000000000) };
	int status;

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	CHECK_EQ(kill(worker->pid, SIGKILL), 0);
	CHECK_EQ(waitpid(worker->pid, &status, 0), worker->pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	worker->kills++;
}

static struct worker *first_to_end(void)
{
	struct worker *first = workers;

	for (struct worker *worker = workers; worker < workers + WORKERS; worker++)
		if (worker->end_ns < first->end_ns)
			first = worker;
	return first;
}

/* A sample of one worker; 0: not on the page yet. Labels: those of a bucket begin with engine. */
static uint64_t sample(const char *page, const struct worker *worker, const char *name,
		       const char *le)
{
	char text[256];

	snprintf(text, sizeof(text), "vllm:kv_offload_load_%s{engine=\"%d\"%s,model_name=\"m\"}",
		 name, (int)(worker - workers), le);
	double value = page_value(page, text);
	return isnan(value) ? 0 : (uint64_t)value;
}

/* One scrape: nothing lost, nothing made up, nothing gone back, all numbers of one moment. */
static void check_scrape(struct exporter *exporter, uint64_t alive)
{
	uint64_t committed[WORKERS];

	for (int i = 0; i < WORKERS; i++)
		committed[i] = atomic_load(&workers[i].records);
	char *page = exporter_scrape(exporter);
	for (int i = 0; i < WORKERS; i++) {
		struct worker *worker = &workers[i];
		uint64_t records = sample(page, worker, "size_count", "");
		uint64_t most = atomic_load(&worker->records) + worker->kills + alive;

		if (records < committed[i] || records > most)
			test_fail(__FILE__, __LINE__,
				  "worker %d: exported %llu, committed %llu before and %llu after, "
				  "%llu kills",
				  i, (unsigned long long)records, (unsigned long long)committed[i],
				  (unsigned long long)atomic_load(&worker->records),
				  (unsigned long long)worker->kills);
		CHECK(records >= worker->exported);
		CHECK_EQ(sample(page, worker, "bytes_total", ""), records * RECORD_BYTES);
		CHECK_EQ(sample(page, worker, "size_sum", ""), records * RECORD_BYTES);
		CHECK_EQ(sample(page, worker, "size_bucket", ",le=\"+Inf\""), records);
		worker->exported = records;
	}
	free(page);
}

/* The exporter notices by itself and says so nowhere else: ask it until it does. */
static void wait_until_gone(struct exporter *exporter)
{
	uint64_t limit_ns = now_ns() + GONE_SECONDS * 1000000000ull;
	double left;

	do {
		char *page = exporter_scrape(exporter);

		left = page_value(page, "kvtap_workers");
		free(page);
		CHECK(now_ns() < limit_ns);
	} while (left != 0);
}

/* What died while it opened is swept by age: nothing wakes who waits for that. */
static void wait_until_swept(struct exporter *exporter)
{
	uint64_t limit_ns = now_ns() + GONE_SECONDS * 1000000000ull;
	int folder = namespace_folder();

	CHECK(folder >= 0);
	while (count_files(folder, KVTAP_SEGMENT_SUFFIX) ||
	       count_files(folder, KVTAP_TAILS_SUFFIX)) {
		free(exporter_scrape(exporter));
		CHECK(now_ns() < limit_ns);
	}
	close(folder);
}

static void report(void)
{
	uint64_t records = 0, hidden = 0;

	for (int i = 0; i < WORKERS; i++) {
		records += atomic_load(&workers[i].records);
		hidden += workers[i].exported - atomic_load(&workers[i].records);
	}
	printf("random kills: %d, records committed %llu, exported beyond that %llu\n", KILLS,
	       (unsigned long long)records, (unsigned long long)hidden);
	CHECK(records > KILLS);
	CHECK(hidden <= KILLS);
}

TEST_TIMEOUT(random_kill_of_workers_under_load_keeps_every_record, 240)
{
	struct exporter exporter;

	if (!exporter_path())
		SKIP("the exporter was not built beside this test");
	test_leaves_files(); /* of workers that died while they opened */
	seed = now_ns() | 1;
	printf("random kills: seed %llu\n", (unsigned long long)seed);
	workers = mmap(NULL, WORKERS * sizeof(*workers), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(workers != MAP_FAILED);
	exporter_start(&exporter, NULL);
	for (int i = 0; i < WORKERS; i++)
		start(&workers[i]);
	for (int kills = 0; kills < KILLS; kills++) {
		struct worker *worker = first_to_end();

		end(worker);
		if (kills + WORKERS < KILLS)
			start(worker);
		else
			worker->end_ns = UINT64_MAX;
		if (kills % KILLS_A_SCRAPE == 0)
			check_scrape(&exporter, 1);
	}
	check_scrape(&exporter, 0);
	report();
	wait_until_gone(&exporter);
	check_scrape(&exporter, 0);
	wait_until_swept(&exporter);
	exporter_stop(&exporter);
}
