/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - what time it is, for records that bring none
 *
 * The kernel's CLOCK_MONOTONIC, or the CPU's own counter, calibrated to it: about half the cost.
 * Nothing here makes a system call but kvtap_clock_trusted.
 */
#ifndef KVTAP_CLOCK_H
#define KVTAP_CLOCK_H

#include <stdbool.h>
#include <time.h>

#include "atomic.h"

#define KVTAP_CLOCK_FIRST_NS 10000000	 /* between the first two points, from which a rate comes */
#define KVTAP_CLOCK_PERIOD_NS 1000000000 /* after which another point is taken */
/*
 * How far what follows from the last points may be off from the next one: the kernel slews its clock
 * by at most 500 ppm (adjtimex(2)), in either direction, and a point is not read in an instant.
 */
#define KVTAP_CLOCK_OFF_PPM 1000
#define KVTAP_CLOCK_OFF_NS 10000

/* A calibration; zero is none yet. */
struct kvtap_calibration {
	_Atomic(uint64_t) sequence;  /* odd: being written */
	_Atomic(uint64_t) ticks, ns; /* the last point */
	_Atomic(uint64_t) rate;	     /* nanoseconds a tick, times 2^32 */
	_Atomic(uint64_t) period;    /* ticks that it is good for */
	_Atomic(uint32_t) off;	     /* for good: the two clocks did not agree */
};

static inline uint64_t kvtap_clock_monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * kvtap_clock_trusted - whether the CPU's counter runs at one rate at all times, and the kernel goes
 * by it itself; to be asked when a tap is opened
 */
bool kvtap_clock_trusted(void);

/* kvtap_clock_tsc - CLOCK_MONOTONIC by the counter, ns. Wait-free, async-signal-safe. */
uint64_t kvtap_clock_tsc(void);

/* kvtap_clock_read - the same by a calibration of the caller's, at a count of the counter */
uint64_t kvtap_clock_read(struct kvtap_calibration *clock, uint64_t ticks);

/* kvtap_clock_update - take a point; false: another call is taking one */
bool kvtap_clock_update(struct kvtap_calibration *clock, uint64_t ticks, uint64_t ns);

#endif
