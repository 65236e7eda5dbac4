/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_many.c - 64 worker processes with 4 recording threads each, at once
 *
 * Workers are forked by the test, record behind a common barrier, and leave what they recorded in
 * shared memory that no part of kvtap knows. A byte on a pipe is an order or an answer.
 */
#include "test.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support_exporter.h"
#include "support_load.h"

#define WORKERS (LOAD_SANITIZED ? 16 : 64)
#define THREADS 4
#define SHARDS 4
#define RECORDS 5000 /* of each thread, in each round */

struct shared {
	pthread_barrier_t ready; /* all threads of all workers */
	struct load_truth truth[64];
};

struct crew {
	struct shared *shared;
	pid_t pid[64];
	int orders[2], answers[2]; /* pipes: to the workers, from them */
};

struct recorder {
	struct load *load;
	struct shared *shared;
	uint64_t seed;
	struct load_truth truth;
	pthread_t thread;
};

static void *record(void *argument)
{
	struct recorder *recorder = argument;

	pthread_barrier_wait(&recorder->shared->ready);
	load_record(recorder->load, &recorder->truth, &recorder->seed, RECORDS);
	return NULL;
}

/* Small rings, so that 256 of them fit into the /dev/shm of a container, and some records fold. */
static void open_worker(struct load *load, int index)
{
	char engine[12];

	snprintf(engine, sizeof(engine), "%d", index);
	load_open(load,
		  &(struct kvtap_options){
			  .engine = engine, .ring_slots = 256, .overflow_bytes = 16 << 10 },
		  SHARDS);
}

static void record_round(struct load *load, struct shared *shared, int index)
{
	struct recorder *recorder = calloc(THREADS, sizeof(*recorder));

	CHECK(recorder);
	for (int i = 0; i < THREADS; i++) {
		recorder[i].load = load;
		recorder[i].shared = shared;
		recorder[i].seed = 0x9e3779b97f4a7c15u + (uint64_t)(index * THREADS + i);
		CHECK_EQ(pthread_create(&recorder[i].thread, NULL, record, &recorder[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_join(recorder[i].thread, NULL), 0);
		load_add(&shared->truth[index], &recorder[i].truth);
	}
	free(recorder);
}

static _Noreturn void work(struct crew *crew, int index)
{
	struct load load;
	char order;

	close(crew->orders[1]);
	close(crew->answers[0]);
	open_worker(&load, index);
	record_round(&load, crew->shared, index);
	CHECK_EQ(write(crew->answers[1], "d", 1), 1);
	CHECK_EQ(read(crew->orders[0], &order, 1), 0); /* until the other end is closed */
	kvtap_close(load.tap);
	exit(0);
}

static void crew_start(struct crew *crew)
{
	pthread_barrierattr_t attributes;

	crew->shared = mmap(NULL, sizeof(*crew->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(crew->shared != MAP_FAILED);
	pthread_barrierattr_init(&attributes);
	pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&crew->shared->ready, &attributes, WORKERS * THREADS);
	CHECK_EQ(pipe(crew->orders), 0);
	CHECK_EQ(pipe(crew->answers), 0);
	fflush(stdout);
	for (int i = 0; i < WORKERS; i++) {
		crew->pid[i] = fork();
		CHECK(crew->pid[i] >= 0);
		if (crew->pid[i] == 0)
			work(crew, i);
	}
	close(crew->orders[0]);
	close(crew->answers[1]);
}

static void crew_wait_recorded(struct crew *crew)
{
	char answer;

	for (int i = 0; i < WORKERS; i++)
		CHECK_EQ(read(crew->answers[0], &answer, 1), 1);
}

/* Tell all to close their taps, and wait for their end. */
static void crew_end(struct crew *crew)
{
	close(crew->orders[1]);
	for (int i = 0; i < WORKERS; i++) {
		int status;

		CHECK_EQ(waitpid(crew->pid[i], &status, 0), crew->pid[i]);
		CHECK_EQ(status, 0);
	}
	close(crew->answers[0]);
}

static void crew_free(struct crew *crew)
{
	pthread_barrier_destroy(&crew->shared->ready);
	munmap(crew->shared, sizeof(*crew->shared));
}

static uint64_t recorded(const struct shared *shared)
{
	uint64_t sum = 0;

	for (int i = 0; i < WORKERS; i++)
		sum += shared->truth[i].records;
	return sum;
}

/* Every count, sum and bucket of every worker. Returns: the series on the page. */
static uint64_t check_all(struct exporter *exporter, const struct shared *shared)
{
	struct page *page = page_scrape(exporter);
	uint64_t drained = page_count(page, "kvtap_records_drained_total");
	uint64_t folded = page_count(page, "kvtap_records_folded_total");
	uint64_t series = page_count(page, "kvtap_series");

	CHECK_EQ(drained + folded, recorded(shared));
	CHECK_EQ(page_count(page, "kvtap_records_lost_total"), 0);
	for (int i = 0; i < WORKERS; i++) {
		char engine[12];

		snprintf(engine, sizeof(engine), "%d", i);
		load_check(page, engine, &shared->truth[i], SHARDS);
	}
	page_free(page);
	return series;
}

TEST_TIMEOUT(many_workers_are_all_seen_and_exact, 300)
{
	struct exporter exporter;
	struct crew crew;

	exporter_start(&exporter, NULL);
	crew_start(&crew);
	crew_wait_recorded(&crew);
	page_wait(&exporter, "kvtap_workers", WORKERS);
	check_all(&exporter, crew.shared);
	crew_end(&crew);
	page_wait(&exporter, "kvtap_workers_closed_total", WORKERS);
	crew_free(&crew);
	exporter_finish(&exporter);
}

struct effort {
	double seconds, cpu_seconds;
	uint64_t wake_ups; /* of all threads */
};

static double seconds_of(clockid_t clock)
{
	struct timespec time;

	CHECK_EQ(clock_gettime(clock, &time), 0);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t wake_ups(pid_t pid, const char *thread)
{
	static const char field[] = "voluntary_ctxt_switches:";
	char path[300], line[256];
	uint64_t count = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, thread);
	FILE *status = fopen(path, "re");
	CHECK(status);
	while (fgets(line, sizeof(line), status))
		if (!strncmp(line, field, strlen(field)))
			count = strtoull(line + strlen(field), NULL, 10);
	fclose(status);
	return count;
}

static struct effort effort_so_far(pid_t pid)
{
	struct effort effort = { .seconds = seconds_of(CLOCK_MONOTONIC) };
	char path[64];
	clockid_t clock;

	CHECK_EQ(clock_getcpuclockid(pid, &clock), 0);
	effort.cpu_seconds = seconds_of(clock);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *threads = opendir(path);
	CHECK(threads);
	for (const struct dirent *entry; (entry = readdir(threads));)
		if (entry->d_name[0] != '.')
			effort.wake_ups += wake_ups(pid, entry->d_name);
	closedir(threads);
	return effort;
}

/*
 * CPU time and wake-ups, not durations: a loaded machine gives the exporter less of them, never more.
 * At rest it wakes some 10 times a second and takes under a hundredth of a core; if it does not come
 * to rest, that is 1,000 times or all of a core. The bounds are far from both.
 */
TEST_TIMEOUT(many_workers_that_rest_let_the_exporter_rest, 300)
{
	const struct timespec interval = { .tv_sec = 2 };
	struct exporter exporter;
	struct crew crew;

	exporter_start(&exporter, NULL);
	crew_start(&crew);
	crew_wait_recorded(&crew);
	page_wait(&exporter, "kvtap_workers", WORKERS);
	struct effort before = effort_so_far(exporter.pid);
	CHECK_EQ(nanosleep(&interval, NULL), 0); /* what is measured */
	struct effort after = effort_so_far(exporter.pid);
	double seconds = after.seconds - before.seconds;
	double cpu = (after.cpu_seconds - before.cpu_seconds) / seconds;
	double wakes = (double)(after.wake_ups - before.wake_ups) / seconds;
	printf("%d idle workers: %.1f %% of a core, %.0f wake-ups a second\n", WORKERS, 100 * cpu,
	       wakes);
	if (!LOAD_SANITIZED) { /* which wake up and compute by themselves */
		CHECK(cpu < 0.1);
		CHECK(wakes < 100);
	}
	check_all(&exporter, crew.shared);
	crew_end(&crew);
	page_wait(&exporter, "kvtap_workers_closed_total", WORKERS);
	crew_free(&crew);
	exporter_finish(&exporter);
}

TEST_TIMEOUT(many_workers_that_ended_keep_their_counters_and_go_on_with_them, 300)
{
	struct exporter exporter;
	struct crew crew;
	struct load load;
	uint64_t seed = 7;

	exporter_start(&exporter, NULL);
	crew_start(&crew);
	crew_wait_recorded(&crew);
	crew_end(&crew);
	page_wait(&exporter, "kvtap_workers_closed_total", WORKERS);
	page_wait(&exporter, "kvtap_workers", 0);
	uint64_t series = check_all(&exporter, crew.shared);
	open_worker(&load, 7);
	load_record(&load, &crew.shared->truth[7], &seed, RECORDS);
	CHECK_EQ(check_all(&exporter, crew.shared), series);
	kvtap_close(load.tap);
	page_wait(&exporter, "kvtap_workers_closed_total", WORKERS + 1);
	CHECK_EQ(check_all(&exporter, crew.shared), series);
	crew_free(&crew);
	exporter_finish(&exporter);
}
