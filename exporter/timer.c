/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timer.c - one thread that looks at deadlines when the earliest has come, and else sleeps
 *
 * due_ns is never later than a deadline that was told: a deadline that comes while the thread looks
 * lowers due_ns, and what look() returns can only lower it further.
 */
#include "timer.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "clock.h"

struct timer {
	uint64_t (*look)(void *context, uint64_t now_ns);
	void *context;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t earlier;
	uint64_t due_ns; /* under lock, as is what follows */
	bool stopping;
};

static void sleep_until(struct timer *timer, uint64_t due_ns)
{
	struct timespec due = { .tv_sec = (time_t)(due_ns / 1000000000u),
				.tv_nsec = (long)(due_ns % 1000000000u) };

	if (due_ns == UINT64_MAX)
		pthread_cond_wait(&timer->earlier, &timer->lock);
	else
		pthread_cond_clockwait(&timer->earlier, &timer->lock, CLOCK_MONOTONIC, &due);
}

static void *run(void *arg)
{
	struct timer *timer = arg;

	pthread_mutex_lock(&timer->lock);
	while (!timer->stopping) {
		uint64_t now_ns = clock_ns();
		if (timer->due_ns > now_ns) {
			sleep_until(timer, timer->due_ns);
			continue;
		}
		timer->due_ns = UINT64_MAX;
		pthread_mutex_unlock(&timer->lock);
		uint64_t next_ns = timer->look(timer->context, now_ns);
		pthread_mutex_lock(&timer->lock);
		if (next_ns < timer->due_ns)
			timer->due_ns = next_ns;
	}
	pthread_mutex_unlock(&timer->lock);
	return NULL;
}

int timer_start(struct timer **timer, uint64_t (*look)(void *context, uint64_t now_ns),
		void *context)
{
	struct timer *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->look = look;
	made->context = context;
	made->due_ns = UINT64_MAX;
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->earlier, NULL);
	int rc = pthread_create(&made->thread, NULL, run, made);
	if (rc != 0) {
		free(made);
		return -rc;
	}
	*timer = made;
	return 0;
}

void timer_stop(struct timer *timer)
{
	pthread_mutex_lock(&timer->lock);
	timer->stopping = true;
	pthread_cond_signal(&timer->earlier);
	pthread_mutex_unlock(&timer->lock);
	pthread_join(timer->thread, NULL);
	pthread_cond_destroy(&timer->earlier);
	pthread_mutex_destroy(&timer->lock);
	free(timer);
}

void timer_expect(struct timer *timer, uint64_t deadline_ns)
{
	pthread_mutex_lock(&timer->lock);
	if (deadline_ns < timer->due_ns) {
		timer->due_ns = deadline_ns;
		pthread_cond_signal(&timer->earlier);
	}
	pthread_mutex_unlock(&timer->lock);
}
