/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - the time that durations and deadlines are measured in */
#ifndef KVTAP_EXPORTER_CLOCK_H
#define KVTAP_EXPORTER_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_MS 1000000ull

/* clock_ns - CLOCK_MONOTONIC in nanoseconds; no system call */
static inline uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* clock_real_ns - CLOCK_REALTIME in nanoseconds since the epoch; no system call */
static inline uint64_t clock_real_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* clock_deadline - the time so many milliseconds from now, for pthread_cond_clockwait(3) */
static inline struct timespec clock_deadline(int timeout_ms)
{
	uint64_t end_ns = clock_ns() + (uint64_t)timeout_ms * CLOCK_MS;

	return (struct timespec){ .tv_sec = (time_t)(end_ns / 1000000000u),
				  .tv_nsec = (long)(end_ns % 1000000000u) };
}

#endif
