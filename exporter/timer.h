/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timer.h - one thread that looks at deadlines when the earliest has come, and else sleeps
 *
 * Knows nothing of what the deadlines are for.
 */
#ifndef KVTAP_EXPORTER_TIMER_H
#define KVTAP_EXPORTER_TIMER_H

#include <stdint.h>

struct timer;

/**
 * timer_start - begin to look
 * @timer: owned by the caller
 * @look:  called with clock_ns() from the timer's thread, without a lock; returns when to look next,
 *         UINT64_MAX: when timer_expect() says so
 *
 * Returns: 0 or a negative errno.
 */
int timer_start(struct timer **timer, uint64_t (*look)(void *context, uint64_t now_ns),
		void *context);
/* timer_stop - after it look is called no more */
void timer_stop(struct timer *timer);
/* timer_expect - there is a deadline at this time; any thread */
void timer_expect(struct timer *timer, uint64_t deadline_ns);

#endif
