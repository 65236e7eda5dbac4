/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h - what all benches share: where threads run, samples, a timer, the lines that are printed
 *
 * A sample is the wall time of a burst of a few thousand operations, divided by their number: long
 * enough for the clock, short enough that most bursts meet no preemption. The median of the samples
 * of all rounds is what an operation costs; the 99th percentile shows what else ran meanwhile.
 * Knows nothing of taps and readers; that is collector.h.
 */
#ifndef KVTAP_BENCH_H
#define KVTAP_BENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* bench_environment - print the env line: cpu, kernel, compiler, flags, commit, load */
void bench_environment(void);

/* What a figure of a line has to reach. */
struct bench_bar {
	const char *key; /* of the figure in the line */
	double value;	 /* as it was measured */
	double limit;
	bool at_least; /* else at most */
};

/*
 * bench_bars - print bar="ratio<=2.5,ns_per_op_p50<=5" met=yes, after a line's other keys
 * @bars: [count]; a bar that can't be asked for here has a NULL key and is left out
 *
 * A bar that is missed is told and does not fail the command: another machine has other figures.
 */
void bench_bars(const struct bench_bar *bars, size_t count);

/* bench_cpus - CPUs that this process may use; bench_pin - run on the index'th, modulo their number */
uint32_t bench_cpus(void);
void bench_pin(uint32_t index);

uint64_t bench_now_ns(void);
/* bench_cpu_ns - CPU time of the calling thread; a system call */
uint64_t bench_cpu_ns(void);

/* bench_tsc_trusted - whether the kernel takes its time from the TSC, so that the library may too */
bool bench_tsc_trusted(void);

/* bench_fail - say why on stderr and end the program with 1 */
void bench_fail(const char *what, int rc) __attribute__((noreturn));

/* bench_allocate - zeroed and touched, on a cache line of its own; bench_fail if there is none */
void *bench_allocate(size_t bytes);

/* bench_built - the path of what was built beside this program; until the next call */
const char *bench_built(const char *name);

struct bench_samples {
	double *value; /* [room] */
	size_t count, room;
};

void bench_samples_add(struct bench_samples *samples, double value);
/* bench_percentile - 0 to 100, nearest rank; sorts the samples; 0 without any */
double bench_percentile(struct bench_samples *samples, double percent);
void bench_samples_free(struct bench_samples *samples);

/* Calls a function every period from a thread of its own, as a reader or a poller would run. */
struct bench_timer {
	void (*call)(void *arg);
	void *arg;
	uint64_t period_ns;
	uint32_t cpu; /* index for bench_pin */
	/* private */
	pthread_t thread;
	_Atomic(uint64_t) begun, ended; /* calls */
	_Atomic(bool) stop;
};

void bench_timer_start(struct bench_timer *timer);
void bench_timer_stop(struct bench_timer *timer);
/* bench_timer_wait - until a call that began after now has ended */
void bench_timer_wait(struct bench_timer *timer);

#endif
