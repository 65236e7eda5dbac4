/* SPDX-License-Identifier: Apache-2.0 */
/* test_device_exporter.c - what a GPU records, on the page of the real exporter */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support_device.h"
#include "support_exporter.h"
#include "support_load.h"
#include "support_segment.h"
#include "test.h"

#define THREADS 2
#define SLOTS 4096
#define CHUNK 100
#define PAUSE_NS 500000	 /* between two chunks, so that the exporter has a CPU */
#define LIFE_NS 15000000 /* of an exporter, at most */
#define KILLS (LOAD_SANITIZED ? 25 : 100)

/* Seen by all processes; its addresses are the worker's. */
static struct shared {
	struct device device;
	atomic_bool stop;
	uint64_t last[THREADS]; /* record of each producer */
	uint64_t bytes[THREADS];
} * shared;

static struct kvtap *tap;

static uint32_t device_series(void)
{
	struct kvtap_feed feeds[] = { { .field = KVTAP_FIELD_ONE, .when = KVTAP_WHEN_ALWAYS },
				      { .field = KVTAP_FIELD_BYTES, .when = KVTAP_WHEN_ALWAYS } };
	struct kvtap_kind kind = { .name = "device", .feeds = feeds, .feed_count = 2 };
	uint32_t id, series;

	CHECK_EQ(kvtap_family_declare(tap, &feeds[0].family,
				      &(struct kvtap_family){ .name = "device_records_total",
							      .help = "h",
							      .metric = KVTAP_COUNTER }),
		 0);
	CHECK_EQ(kvtap_family_declare(tap, &feeds[1].family,
				      &(struct kvtap_family){ .name = "device_bytes_total",
							      .help = "h",
							      .metric = KVTAP_COUNTER }),
		 0);
	CHECK_EQ(kvtap_kind_declare(tap, &id, &kind), 0);
	CHECK_EQ(kvtap_kind_series(tap, &series, id, NULL, 0), 0);
	return series;
}

static void begin(uint32_t slots)
{
	struct kvtap_options options = small_options();

	options.ring_slots = slots;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	device_open(&shared->device, tap, device_series());
}

static void prepare(void)
{
	if (!exporter_path())
		SKIP("the exporter was not built beside this test");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
}

static void record(uint32_t producer, uint64_t count)
{
	while (count) {
		uint64_t number = shared->last[producer] + 1;

		if (!device_record(&shared->device, producer, number)) {
			sched_yield();
			continue;
		}
		shared->last[producer] = number;
		shared->bytes[producer] += number;
		count--;
	}
}

static void *record_chunk(void *producer)
{
	record((uint32_t)(uintptr_t)producer, CHUNK);
	return NULL;
}

static void start(pthread_t thread[THREADS], void *(*run)(void *))
{
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, run, (void *)i), 0);
}

static void join(pthread_t thread[THREADS])
{
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
}

static void check_page(struct exporter *exporter)
{
	char *page = exporter_scrape(exporter);

	CHECK_EQ(page_value(page, "device_records_total"), shared->last[0] + shared->last[1]);
	CHECK_EQ(page_value(page, "device_bytes_total"), shared->bytes[0] + shared->bytes[1]);
	free(page);
}

TEST(device_records_are_on_the_next_page)
{
	struct exporter exporter;
	pthread_t thread[THREADS];

	prepare();
	begin(SMALL_SLOTS);
	exporter_start(&exporter, NULL);
	for (int round = 0; round < 50; round++) {
		start(thread, record_chunk);
		join(thread);
		check_page(&exporter);
		check_page(&exporter);
	}
	kvtap_close(tap);
	exporter_stop(&exporter);
	test_leaves_files();
}

TEST(device_drops_are_on_the_page_as_lost)
{
	struct exporter exporter;

	prepare();
	begin(SMALL_SLOTS);
	record(0, SMALL_SLOTS);
	for (uint64_t number = 101; number <= 105; number++)
		CHECK(!device_record(&shared->device, 1, number));
	exporter_start(&exporter, NULL);
	check_page(&exporter);
	char *page = exporter_scrape(&exporter);
	CHECK_EQ(page_value(page, "kvtap_records_lost_total"), 5);
	CHECK_EQ(page_value(page, "kvtap_lost_bytes_total"), 515);
	free(page);
	kvtap_close(tap);
	exporter_stop(&exporter);
	test_leaves_files();
}

/* ---- kills ---- */

static void *record_until_stop(void *producer)
{
	while (!atomic_load(&shared->stop)) {
		record_chunk(producer);
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	return NULL;
}

/* A worker whose end is a kill, after it has done this. */
static pid_t start_worker(uint32_t slots, void (*work)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		begin(slots);
		work();
		raise(SIGKILL);
	}
	return pid;
}

static void await_worker(pid_t pid)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void await_end(struct exporter *exporter)
{
	double workers;

	do { /* the test's time-out is the bound */
		char *page = exporter_scrape(exporter);

		workers = page_value(page, "kvtap_workers");
		free(page);
	} while (workers != 0);
}

static void record_ring(void)
{
	record(0, SMALL_SLOTS - 3);
}

TEST(device_records_of_a_killed_worker_are_on_the_page)
{
	struct exporter exporter;

	prepare();
	await_worker(start_worker(SMALL_SLOTS, record_ring));
	exporter_start(&exporter, NULL);
	await_end(&exporter);
	check_page(&exporter);
	exporter_stop(&exporter);
	test_leaves_files();
}

static void leave_a_hole(void)
{
	uint64_t index;

	record(0, 5);
	kvtap_device_claim(&shared->device.memory, 1, &index);
	record(0, 5);
}

TEST(device_slot_that_was_never_written_is_on_the_page_as_refused)
{
	struct exporter exporter;

	prepare();
	await_worker(start_worker(SMALL_SLOTS, leave_a_hole));
	exporter_start(&exporter, NULL);
	await_end(&exporter);
	check_page(&exporter);
	char *page = exporter_scrape(&exporter);
	CHECK_EQ(page_value(page, "kvtap_records_refused_total{reason=\"sequence\"}"), 1);
	free(page);
	exporter_stop(&exporter);
	test_leaves_files();
}

static void record_all_the_time(void)
{
	pthread_t thread[THREADS];

	start(thread, record_until_stop);
	join(thread);
}

/* xorshift64, https://www.jstatsoft.org/article/view/v008i14 */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

TEST_TIMEOUT(device_records_are_counted_once_when_exporters_are_killed, 240)
{
	uint64_t seed = (uint64_t)time(NULL) | 1;
	struct exporter exporter;
	pid_t pid;

	prepare();
	printf("device: seed %llu\n", (unsigned long long)seed);
	pid = start_worker(SLOTS, record_all_the_time);
	for (int i = 0; i < KILLS; i++) {
		exporter_begin(&exporter, NULL);
		if (next_random(&seed) % 3) {
			exporter_await(&exporter);
			free(exporter_scrape(&exporter));
		}
		nanosleep(&(struct timespec){ .tv_nsec = (long)(next_random(&seed) % LIFE_NS) },
			  NULL);
		exporter_kill(&exporter);
	}
	exporter_start(&exporter, NULL); /* makes room, for who waits for that */
	atomic_store(&shared->stop, true);
	await_worker(pid);
	await_end(&exporter);
	check_page(&exporter);
	CHECK_EQ(shared->device.memory.claimed, shared->last[0] + shared->last[1]);
	printf("device: %llu records, %llu times full\n",
	       (unsigned long long)shared->device.memory.claimed,
	       (unsigned long long)shared->device.memory.dropped_records);
	exporter_stop(&exporter);
	test_leaves_files();
}
