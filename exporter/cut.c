/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut.c - the numbers of requested and answered cuts, and who waits for them
 *
 * Scrapes wait on a condition variable, the drain in its poll(2) on an eventfd. Both numbers and
 * the eventfd change under one lock, so a request either is seen by cut_begin() or leaves the
 * descriptor readable for the next pass. The lock is held for some instructions only; the recording
 * workers have no part in it.
 */
#include "cut.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"

struct cut {
	pthread_mutex_t lock;
	pthread_cond_t answer;
	uint64_t requested, answered; /* under lock; answered <= requested */
	_Atomic uint64_t timeouts;    /* relaxed: statistic */
	int fd;
};

struct cut *cut_create(void)
{
	struct cut *cut = calloc(1, sizeof(*cut));

	if (!cut)
		return NULL;
	cut->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cut->fd < 0) {
		free(cut);
		return NULL;
	}
	pthread_mutex_init(&cut->lock, NULL);
	pthread_cond_init(&cut->answer, NULL);
	return cut;
}

void cut_destroy(struct cut *cut)
{
	pthread_cond_destroy(&cut->answer);
	pthread_mutex_destroy(&cut->lock);
	close(cut->fd);
	free(cut);
}

bool cut_request(struct cut *cut, int timeout_ms)
{
	struct timespec deadline = clock_deadline(timeout_ms);

	pthread_mutex_lock(&cut->lock);
	uint64_t request = ++cut->requested;
	eventfd_write(cut->fd, 1);
	while (cut->answered < request)
		if (pthread_cond_clockwait(&cut->answer, &cut->lock, CLOCK_MONOTONIC, &deadline))
			break;
	bool answered = cut->answered >= request;
	pthread_mutex_unlock(&cut->lock);
	if (!answered)
		atomic_fetch_add_explicit(&cut->timeouts, 1, memory_order_relaxed);
	return answered;
}

int cut_fd(const struct cut *cut)
{
	return cut->fd;
}

uint64_t cut_begin(struct cut *cut)
{
	eventfd_t ignored;

	pthread_mutex_lock(&cut->lock);
	eventfd_read(cut->fd, &ignored);
	uint64_t request = cut->requested;
	pthread_mutex_unlock(&cut->lock);
	return request;
}

void cut_end(struct cut *cut, uint64_t request)
{
	pthread_mutex_lock(&cut->lock);
	cut->answered = request;
	pthread_cond_broadcast(&cut->answer);
	pthread_mutex_unlock(&cut->lock);
}

uint64_t cut_timeouts(const struct cut *cut)
{
	return atomic_load_explicit(&cut->timeouts, memory_order_relaxed);
}
