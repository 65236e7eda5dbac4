/* SPDX-License-Identifier: Apache-2.0 */
/* crowd.c - see crowd.h */
#include "crowd.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "kvtap.h"

#define BYTES 65536u
#define TICK_NS 1000000
#define SPIN_RATE                                                                                  \
	1000000u /* from here on in bursts of BURST without sleep: a ring is full at once */
#define BURST 32
#define STACK_BYTES 65536

struct crowd_shared {
	_Atomic uint64_t rate, recorded;
	_Atomic uint64_t turns; /* of who records, each begun with the rate it read */
	_Atomic uint32_t ready; /* threads */
};

struct worker {
	struct crowd_shared *shared;
	struct kvtap *tap;
	uint32_t series;
	bool records; /* not silent */
};

/* ---- in a worker ---- */

static void record(const struct worker *worker, uint64_t count)
{
	const struct kvtap_transfer transfer = { .series = worker->series,
						 .end_ns = bench_now_ns(),
						 .duration_ns = 50000,
						 .bytes = BYTES };

	for (uint64_t i = 0; i < count; i++)
		kvtap_transfer(worker->tap, &transfer);
	atomic_fetch_add(&worker->shared->recorded, count);
}

/* What is owed since the rate was set, so that the rate holds whatever the machine does. */
static _Noreturn void record_at_rate(const struct worker *worker)
{
	struct crowd_shared *shared = worker->shared;
	const struct timespec tick = { .tv_nsec = TICK_NS };
	uint64_t rate = 0, began_ns = 0, done = 0;

	for (;;) {
		uint64_t now_ns = bench_now_ns(), asked = atomic_load(&shared->rate);

		if (asked != rate) {
			rate = asked;
			began_ns = now_ns;
			done = 0;
		}
		uint64_t owed = (now_ns - began_ns) / 1000 * rate / 1000000 - done;
		if (rate >= SPIN_RATE && owed > BURST)
			owed = BURST;
		if (rate < SPIN_RATE || owed == BURST) {
			record(worker, owed);
			done += owed;
		}
		atomic_fetch_add(&shared->turns, 1);
		if (rate < SPIN_RATE)
			nanosleep(&tick, NULL);
	}
}

static void *be_thread(void *arg)
{
	const struct worker *worker = arg;

	record(worker, 1);
	atomic_fetch_add(&worker->shared->ready, 1);
	for (;;)
		pause();
	return NULL;
}

static _Noreturn void work(struct worker *worker, const char *dir, uint32_t threads)
{
	pthread_attr_t small;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int rc = kvtap_open(&worker->tap, &(struct kvtap_options){ .dir = dir });
	if (rc == 0)
		rc = kvtap_builtin(worker->tap, &worker->series, KVTAP_OFFLOAD_LOAD, NULL);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	for (uint32_t i = 1; i < threads && rc == 0; i++) {
		pthread_t thread;

		rc = pthread_create(&thread, &small, be_thread, worker);
	}
	if (rc)
		bench_fail("start a worker", rc);
	if (!worker->records)
		be_thread(worker);
	record(worker, 1);
	atomic_fetch_add(&worker->shared->ready, 1);
	record_at_rate(worker);
}

/* ---- in the bench ---- */

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = TICK_NS }, NULL);
}

static void start(struct crowd *crowd, const char *dir, uint32_t threads)
{
	struct worker worker = { .shared = crowd->shared, .records = crowd->workers == 0 };
	pid_t pid = fork();

	if (pid < 0)
		bench_fail("start a worker", errno);
	if (pid == 0)
		work(&worker, dir, threads);
	crowd->pid[crowd->workers++] = pid;
}

static bool someone_ended(const struct crowd *crowd)
{
	for (uint32_t i = 0; i < crowd->workers; i++)
		if (waitpid(crowd->pid[i], NULL, WNOHANG) != 0)
			return true;
	return false;
}

void crowd_start(struct crowd *crowd, const char *dir, uint32_t workers, uint32_t threads)
{
	*crowd = (struct crowd){ .pid = bench_allocate((workers + 1) * sizeof(pid_t)) };
	crowd->shared = mmap(NULL, sizeof(*crowd->shared), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (crowd->shared == MAP_FAILED)
		bench_fail("map memory", errno);
	for (uint32_t i = 0; i < workers; i++)
		start(crowd, dir, threads);
	while (atomic_load(&crowd->shared->ready) < workers * threads) {
		if (someone_ended(crowd))
			bench_fail("start a worker", ECHILD);
		nap();
	}
}

void crowd_record(struct crowd *crowd, uint64_t rate)
{
	atomic_store(&crowd->shared->rate, rate);
	/* the turn at hand may still have the old rate; the one after it has not */
	uint64_t until = atomic_load(&crowd->shared->turns) + 2;
	while (atomic_load(&crowd->shared->turns) < until)
		nap();
}

uint64_t crowd_recorded(const struct crowd *crowd)
{
	return atomic_load(&crowd->shared->recorded);
}

double page_value(const char *page, const char *name)
{
	size_t bytes = strlen(name);

	for (const char *line = page; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, bytes) && line[bytes] == ' ')
			return strtod(line + bytes, NULL);
	}
	return 0;
}

bool crowd_on_page(const struct crowd *crowd, const char *page)
{
	double recorded = (double)crowd_recorded(crowd);

	return page_value(page, "vllm:kv_offload_load_size_count") == recorded &&
	       page_value(page, "vllm:kv_offload_load_bytes_total") == recorded * BYTES;
}

void crowd_stop(struct crowd *crowd)
{
	for (uint32_t i = 0; i < crowd->workers; i++)
		kill(crowd->pid[i], SIGKILL);
	for (uint32_t i = 0; i < crowd->workers; i++)
		waitpid(crowd->pid[i], NULL, 0);
	munmap(crowd->shared, sizeof(*crowd->shared));
	free(crowd->pid);
	*crowd = (struct crowd){ 0 };
}
