/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.c - see clock.h
 *
 *   who takes a point                       who reads
 *     A swap(sequence, odd), of its value     D load_acquire(sequence)
 *     B store_release(ticks, ns, ...)         E load_acquire(ticks, ns, ...)
 *     C store_release(sequence, even)         F load_relaxed(sequence): unchanged?
 *
 * A seqlock whose reader never waits: where it finds a point being taken, by another thread or by
 * the code that it interrupted as a signal handler, it asks the kernel's clock. C -> D, message
 * passing: an even sequence brings its point, for readers and for the next one who takes one.
 * B -> E: who sees one word of a new point sees the odd sequence at F.
 */
#include "clock.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#define SOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"
#define POINT_TICKS 20000 /* in which both clocks are read, else something came in between */

static struct kvtap_calibration process;

static uint64_t count(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return 0;
#endif
}

bool kvtap_clock_trusted(void)
{
#ifdef __x86_64__
	unsigned a, b, c, d = 0;
	char source[8] = "";
	int fd;

	if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || !(d & 1u << 8)) /* invariant TSC */
		return false;
	fd = open(SOURCE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, source, sizeof(source) - 1) < 0)
		source[0] = 0;
	close(fd);
	return strcmp(source, "tsc\n") == 0;
#else
	return false;
#endif
}

static uint64_t scale(uint64_t value, uint64_t by, uint64_t over)
{
	return (uint64_t)((unsigned __int128)value * by / over);
}

static uint64_t extrapolate(uint64_t ns, uint64_t ticks, uint64_t rate)
{
	return ns + (uint64_t)((unsigned __int128)ticks * rate >> 32);
}

static bool agrees(uint64_t expected, uint64_t ns, uint64_t elapsed_ns)
{
	uint64_t off = expected > ns ? expected - ns : ns - expected;

	return off <= elapsed_ns / (1000000 / KVTAP_CLOCK_OFF_PPM) + KVTAP_CLOCK_OFF_NS;
}

static void set_point(struct kvtap_calibration *clock, uint64_t ticks, uint64_t ns)
{
	kvtap_store_release(&clock->ticks, ticks); /* B, pairs with E */
	kvtap_store_release(&clock->ns, ns);	   /* B, pairs with E */
}

static void turn_off(struct kvtap_calibration *clock)
{
	kvtap_store_release(&clock->period, 0); /* B, pairs with E */
	kvtap_store_relaxed(&clock->off, 1);	/* checked later, under the sequence */
}

/* Between A and C. The rate is that between the last two points; young ones are not good for long. */
static void take(struct kvtap_calibration *clock, uint64_t ticks, uint64_t ns)
{
	uint64_t last_ns = kvtap_load_relaxed(&clock->ns);	     /* own index */
	uint64_t passed = ticks - kvtap_load_relaxed(&clock->ticks); /* own index */
	uint64_t rate = kvtap_load_relaxed(&clock->rate);	     /* own index */
	uint64_t elapsed_ns = ns - last_ns;
	uint64_t period_ns = KVTAP_CLOCK_PERIOD_NS;

	if (!last_ns) {
		set_point(clock, ticks, ns);
		return;
	}
	/* also a point that was read before the last one was, and lost the race to be set */
	if ((int64_t)elapsed_ns < KVTAP_CLOCK_FIRST_NS)
		return;
	if ((int64_t)passed <= 0 || scale(elapsed_ns, 1ull << 32, passed) == 0 ||
	    (rate && !agrees(extrapolate(last_ns, passed, rate), ns, elapsed_ns))) {
		turn_off(clock);
		return;
	}
	if (elapsed_ns < period_ns / 10)
		period_ns = 10 * elapsed_ns;
	rate = scale(elapsed_ns, 1ull << 32, passed);
	set_point(clock, ticks, ns);
	kvtap_store_release(&clock->rate, rate); /* B, pairs with E */
	kvtap_store_release(&clock->period, scale(period_ns, 1ull << 32, rate)); /* B */
}

bool kvtap_clock_update(struct kvtap_calibration *clock, uint64_t ticks, uint64_t ns)
{
	uint64_t sequence = kvtap_load_acquire(&clock->sequence); /* D, pairs with C */

	if (kvtap_load_relaxed(&clock->off) || sequence % 2 || /* for good, or checked below */
	    !kvtap_swap_relaxed(&clock->sequence, &sequence, sequence + 1)) /* A */
		return false;
	kvtap_signal_fence();
	take(clock, ticks, ns);
	kvtap_store_release(&clock->sequence, sequence + 2); /* C, pairs with D */
	return true;
}

__attribute__((noinline)) static uint64_t read_point(struct kvtap_calibration *clock)
{
	uint64_t before = count();
	uint64_t ns = kvtap_clock_monotonic();
	uint64_t took = count() - before;

	if (took < POINT_TICKS)
		kvtap_clock_update(clock, before + took / 2, ns);
	return ns;
}

uint64_t kvtap_clock_read(struct kvtap_calibration *clock, uint64_t ticks)
{
	uint64_t sequence = kvtap_load_acquire(&clock->sequence);    /* D, pairs with C */
	uint64_t ns = kvtap_load_acquire(&clock->ns);		     /* E, pairs with B */
	uint64_t rate = kvtap_load_acquire(&clock->rate);	     /* E, pairs with B */
	uint64_t period = kvtap_load_acquire(&clock->period);	     /* E, pairs with B */
	uint64_t passed = ticks - kvtap_load_acquire(&clock->ticks); /* E, pairs with B */

	if (kvtap_likely(passed < period && sequence % 2 == 0 &&
			 kvtap_load_relaxed(&clock->sequence) == sequence)) /* F */
		return extrapolate(ns, passed, rate);
	return read_point(clock);
}

uint64_t kvtap_clock_tsc(void)
{
	return kvtap_clock_read(&process, count());
}
