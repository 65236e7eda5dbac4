/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut.c - the numbers of requested and answered cuts, and who waits for them
 *
 * The drain waits in its poll(2) on an eventfd; scrapes stand in a list. The numbers, the list and
 * the eventfd change under one lock, so a request either is seen by cut_begin() or leaves the
 * descriptor readable for the next pass. The lock is held for some instructions only, and never
 * while somebody is told; the recording workers have no part in it.
 */
#include "cut.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct cut {
	pthread_mutex_t lock;
	uint64_t requested, answered; /* under lock; answered <= requested, or UINT64_MAX */
	struct cut_waiter *waiting;   /* under lock */
	_Atomic uint64_t timeouts;    /* relaxed: statistic */
	bool (*fresh)(void *context);
	void *context;
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
	return cut;
}

void cut_destroy(struct cut *cut)
{
	pthread_mutex_destroy(&cut->lock);
	close(cut->fd);
	free(cut);
}

void cut_request(struct cut *cut, struct cut_waiter *waiter)
{
	pthread_mutex_lock(&cut->lock);
	bool ended = cut->answered == UINT64_MAX;
	if (!ended) {
		waiter->request = ++cut->requested;
		waiter->next = cut->waiting;
		cut->waiting = waiter;
		eventfd_write(cut->fd, 1);
	}
	pthread_mutex_unlock(&cut->lock);
	if (ended)
		waiter->answer(waiter, true);
}

/* Takes out of the list who is answered by a number or past his deadline; lock is held. */
static struct cut_waiter *take(struct cut *cut, uint64_t answered, uint64_t now_ns)
{
	struct cut_waiter *taken = NULL, **link = &cut->waiting, *waiter;

	while ((waiter = *link)) {
		if (waiter->request > answered && waiter->deadline_ns > now_ns) {
			link = &waiter->next;
			continue;
		}
		*link = waiter->next;
		waiter->next = taken;
		taken = waiter;
	}
	return taken;
}

static void answer_all(struct cut_waiter *taken, bool in_time)
{
	while (taken) {
		struct cut_waiter *waiter = taken;

		taken = waiter->next;
		waiter->answer(waiter, in_time);
	}
}

uint64_t cut_expire(struct cut *cut, uint64_t now_ns)
{
	uint64_t earliest = UINT64_MAX, timeouts = 0;

	pthread_mutex_lock(&cut->lock);
	struct cut_waiter *taken = take(cut, 0, now_ns);
	for (const struct cut_waiter *left = cut->waiting; left; left = left->next)
		if (left->deadline_ns < earliest)
			earliest = left->deadline_ns;
	pthread_mutex_unlock(&cut->lock);
	for (const struct cut_waiter *waiter = taken; waiter; waiter = waiter->next)
		timeouts++;
	atomic_fetch_add_explicit(&cut->timeouts, timeouts, memory_order_relaxed);
	answer_all(taken, false);
	return earliest;
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
	struct cut_waiter *taken = take(cut, request, 0);
	pthread_mutex_unlock(&cut->lock);
	answer_all(taken, true);
}

void cut_set_fresh(struct cut *cut, bool (*fresh)(void *context), void *context)
{
	cut->fresh = fresh;
	cut->context = context;
}

bool cut_fresh(const struct cut *cut)
{
	return cut->fresh && cut->fresh(cut->context);
}

uint64_t cut_timeouts(const struct cut *cut)
{
	return atomic_load_explicit(&cut->timeouts, memory_order_relaxed);
}
