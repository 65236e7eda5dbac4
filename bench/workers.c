/* SPDX-License-Identifier: Apache-2.0 */
/* workers.c - see workers.h */
#include "workers.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "kvtap.h"

#define SERIES_EACH 10000u
#define RING_SLOTS 16384u
#define TICK_NS 1000000

struct workers_shared {
	_Atomic uint32_t ready, rate;
	_Atomic uint64_t recorded;
	_Atomic uint64_t ticks; /* that began with the rate they read */
};

static char folder[64]; /* that is there */

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *position)
{
	(void)stat;
	(void)type;
	(void)position;
	return remove(path);
}

void workers_remove(void)
{
	if (*folder)
		nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	*folder = '\0';
}

const char *workers_folder(void)
{
	unsetenv("KVTAP_DISABLE"); /* the environment wins over options */
	unsetenv("KVTAP_DIR");
	unsetenv("KVTAP_NAMESPACE");
	unsetenv("KVTAP_RING_SLOTS");
	snprintf(folder, sizeof(folder), "/dev/shm/kvtap-bench.XXXXXX");
	if (!mkdtemp(folder))
		bench_fail("make a folder in /dev/shm", errno);
	atexit(workers_remove); /* a bench that fails leaves nothing */
	return folder;
}

/* ---- in a worker ---- */

static void declare(struct kvtap *tap, uint32_t *id, uint32_t first, uint32_t count)
{
	static const char *const labels[] = { "code", "handler", "method", "worker" };
	uint32_t family;
	int rc =
		kvtap_family_declare(tap, &family,
				     &(struct kvtap_family){ .name = WORKERS_FAMILY,
							     .help = "Requests that were answered.",
							     .metric = KVTAP_COUNTER,
							     .label_names = labels,
							     .label_count = 4 });

	for (uint32_t i = 0; i < count && rc == 0; i++) {
		char text[16];
		const char *const values[] = { "200", "/api/v1/query_range", "get", text };

		snprintf(text, sizeof(text), "%06u", first + i);
		rc = kvtap_family_series(tap, &id[i], family, values, 4);
	}
	if (rc < 0)
		bench_fail("declare series", rc);
}

static _Noreturn void work(struct workers_shared *shared, const char *dir, uint32_t first,
			   uint32_t count)
{
	/* a ring that holds a record of each series: the overflow arena has no room for so many */
	const struct kvtap_options options = { .dir = dir, .ring_slots = RING_SLOTS };
	const struct timespec tick = { .tv_nsec = TICK_NS };
	uint32_t *series = calloc(count, sizeof(*series));
	struct kvtap *tap;
	uint64_t owed = 0, next = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int rc = series ? kvtap_open(&tap, &options) : -ENOMEM;
	if (rc < 0)
		bench_fail("open a tap", rc);
	declare(tap, series, first, count);
	for (uint32_t i = 0; i < count; i++)
		kvtap_add(tap, series[i], 1);
	atomic_fetch_add(&shared->recorded, count);
	atomic_fetch_add(&shared->ready, 1);
	while (first) /* only the first one records */
		pause();
	for (;; nanosleep(&tick, NULL)) {
		owed += atomic_load(&shared->rate);
		for (; owed >= 1000; owed -= 1000) {
			kvtap_add(tap, series[next++ % count], 1);
			atomic_fetch_add(&shared->recorded, 1);
		}
		atomic_fetch_add(&shared->ticks, 1);
	}
}

/* ---- in the bench ---- */

static void start(struct workers *workers, const char *dir, uint32_t first, uint32_t count)
{
	pid_t pid = fork();

	if (pid < 0 || workers->count == WORKERS_MAX)
		bench_fail("start a worker", pid < 0 ? errno : E2BIG);
	if (pid == 0)
		work(workers->shared, dir, first, count);
	workers->pid[workers->count++] = pid;
}

void workers_start(struct workers *workers, const char *dir, uint32_t series)
{
	const struct timespec pause = { .tv_nsec = TICK_NS };

	*workers = (struct workers){ 0 };
	workers->shared = mmap(NULL, sizeof(*workers->shared), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (workers->shared == MAP_FAILED)
		bench_fail("map memory", errno);
	for (uint32_t first = 0; first < series; first += SERIES_EACH)
		start(workers, dir, first,
		      series - first < SERIES_EACH ? series - first : SERIES_EACH);
	while (atomic_load(&workers->shared->ready) < workers->count) {
		if (waitpid(-1, NULL, WNOHANG) > 0)
			bench_fail("start a worker", ECHILD);
		nanosleep(&pause, NULL);
	}
}

void workers_record(struct workers *workers, uint32_t rate)
{
	const struct timespec pause = { .tv_nsec = TICK_NS };

	atomic_store(&workers->shared->rate, rate);
	/* the tick at hand may still have the old rate; the one after it has not */
	uint64_t until = atomic_load(&workers->shared->ticks) + 2;
	while (atomic_load(&workers->shared->ticks) < until)
		nanosleep(&pause, NULL);
}

uint64_t workers_recorded(const struct workers *workers)
{
	return atomic_load(&workers->shared->recorded);
}

void workers_stop(struct workers *workers)
{
	for (uint32_t i = 0; i < workers->count; i++)
		kill(workers->pid[i], SIGTERM);
	for (uint32_t i = 0; i < workers->count; i++)
		waitpid(workers->pid[i], NULL, 0);
	munmap(workers->shared, sizeof(*workers->shared));
	workers->count = 0;
}
