/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.c - what all benches share: where threads run, samples, a timer, the lines that are printed
 *
 * BENCH_FLAGS comes from the build; the commit from BENCH_COMMIT in the environment, which "make
 * bench" sets. Knows nothing of what is measured.
 */
#include "bench.h"

#include <errno.h>
#include <libgen.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

void bench_fail(const char *what, int rc)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(rc < 0 ? -rc : rc));
	exit(1);
}

/* ---- environment ---- */

static void cpu_name(char *name, size_t bytes)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	char line[256];

	snprintf(name, bytes, "unknown");
	while (file && fgets(line, sizeof(line), file)) {
		char *value = strchr(line, ':');

		if (!value || strncmp(line, "model name", 10) != 0)
			continue;
		value[strcspn(value, "\n")] = 0;
		snprintf(name, bytes, "%s", value + strspn(value, ": "));
		break;
	}
	if (file)
		fclose(file);
}

void bench_environment(void)
{
	const char *commit = getenv("BENCH_COMMIT");
	struct utsname system;
	double load[1] = { 0 };
	char cpu[128];

	cpu_name(cpu, sizeof(cpu));
	uname(&system);
	getloadavg(load, 1);
	printf("env cpu=\"%s\" cpus=%u kernel=%s cc=\"%s\" flags=\"%s\" commit=%s load=%.2f\n", cpu,
	       bench_cpus(), system.release, COMPILER, BENCH_FLAGS,
	       commit && *commit ? commit : "unknown", load[0]);
}

/* ---- bars ---- */

static bool bar_met(const struct bench_bar *bar)
{
	return bar->at_least ? bar->value >= bar->limit : bar->value <= bar->limit;
}

void bench_bars(const struct bench_bar *bars, size_t count)
{
	const char *before = " bar=\"";
	bool met = true;

	for (size_t i = 0; i < count; i++) {
		if (!bars[i].key)
			continue;
		printf("%s%s%s%g", before, bars[i].key,
		       bars[i].at_least ? ">=" : "<=", bars[i].limit);
		met &= bar_met(&bars[i]);
		before = ",";
	}
	if (*before == ',')
		printf("\" met=%s", met ? "yes" : "no");
}

/* ---- where and when ---- */

/* As the program was started: pinning a thread narrows what it would see itself. */
static cpu_set_t allowed;

__attribute__((constructor)) static void read_allowed(void)
{
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		CPU_SET(0, &allowed);
}

uint32_t bench_cpus(void)
{
	return (uint32_t)CPU_COUNT(&allowed);
}

void bench_pin(uint32_t index)
{
	uint32_t left = index % bench_cpus();
	cpu_set_t one;
	int rc;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || left-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		rc = pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
		if (rc)
			bench_fail("pin a thread", rc);
		return;
	}
}

static uint64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

bool bench_tsc_trusted(void)
{
	FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "r");
	char name[16] = "";

	if (file && !fgets(name, sizeof(name), file))
		name[0] = 0;
	if (file)
		fclose(file);
	return strcmp(name, "tsc\n") == 0;
}

void *bench_allocate(size_t bytes)
{
	void *data;
	int rc = posix_memalign(&data, 64, bytes);

	if (rc)
		bench_fail("allocate", rc);
	memset(data, 0, bytes);
	return data;
}

const char *bench_built(const char *name)
{
	static char path[4200];
	char self[4096];
	ssize_t bytes = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (bytes < 0)
		bench_fail("find the build folder", errno);
	self[bytes] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dirname(self), name);
	return path;
}

/* ---- samples ---- */

void bench_samples_add(struct bench_samples *samples, double value)
{
	if (samples->count == samples->room) {
		samples->room = samples->room ? 2 * samples->room : 1024;
		samples->value = realloc(samples->value, samples->room * sizeof(*samples->value));
		if (!samples->value)
			bench_fail("keep samples", 12);
	}
	samples->value[samples->count++] = value;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

double bench_percentile(struct bench_samples *samples, double percent)
{
	size_t rank = (size_t)((double)samples->count * percent / 100);

	if (!samples->count)
		return 0;
	qsort(samples->value, samples->count, sizeof(*samples->value), compare);
	return samples->value[rank < samples->count ? rank : samples->count - 1];
}

void bench_samples_free(struct bench_samples *samples)
{
	free(samples->value);
	*samples = (struct bench_samples){ 0 };
}

/* ---- timer ---- */

static void *run_timer(void *arg)
{
	struct bench_timer *timer = arg;
	uint64_t next_ns = bench_now_ns();

	bench_pin(timer->cpu);
	while (!atomic_load(&timer->stop)) {
		next_ns += timer->period_ns;
		struct timespec next = { .tv_sec = (time_t)(next_ns / 1000000000),
					 .tv_nsec = (long)(next_ns % 1000000000) };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		atomic_fetch_add(&timer->begun, 1);
		timer->call(timer->arg);
		atomic_fetch_add(&timer->ended, 1);
	}
	return NULL;
}

void bench_timer_start(struct bench_timer *timer)
{
	int rc = pthread_create(&timer->thread, NULL, run_timer, timer);

	if (rc)
		bench_fail("start a thread", rc);
}

void bench_timer_stop(struct bench_timer *timer)
{
	atomic_store(&timer->stop, true);
	pthread_join(timer->thread, NULL);
}

void bench_timer_wait(struct bench_timer *timer)
{
	uint64_t begun = atomic_load(&timer->begun);

	while (atomic_load(&timer->ended) <= begun)
		sched_yield(); /* the timer may need this CPU */
}
