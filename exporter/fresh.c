/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fresh.c - whether the current page already holds all that was recorded, without asking the drain
 *
 *   drain                              scrape
 *     fill the list                      rcu_read_lock
 *   A exchange(list, release)          B load(list, acquire)
 *     synchronize_rcu                    look at the words
 *   D load(looks, acquire)             C fetch_add(looks, release)
 *     free the old list, unmap           rcu_read_unlock
 *
 * A pairs with B (message passing): who sees the list sees what is in it. The grace period keeps the
 * list, and the segments that it points into, until nobody looks any more.
 * C pairs with D: all looks that the grace period waited for come before the end of what they saw.
 *   liburcu orders that too, but not in words that ThreadSanitizer or the C standard know.
 */
#include "fresh.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <urcu-bp.h>

#include "clock.h"

struct list {
	struct kvtap_watch *watch;
	size_t count;
	uint64_t until_ns;
};

struct fresh {
	_Atomic(struct list *) list;
	atomic_size_t looks;
};

struct fresh *fresh_create(void)
{
	return calloc(1, sizeof(struct fresh));
}

static void swap(struct fresh *fresh, struct list *list)
{
	/* A; relaxed would do for the old list, which this thread has made */
	struct list *old = atomic_exchange_explicit(&fresh->list, list, memory_order_release);

	if (!old)
		return;
	synchronize_rcu();
	atomic_load_explicit(&fresh->looks, memory_order_acquire); /* D */
	free(old->watch);
	free(old);
}

void fresh_destroy(struct fresh *fresh)
{
	swap(fresh, NULL);
	free(fresh);
}

void fresh_set(struct fresh *fresh, struct kvtap_watch *watch, size_t count, uint64_t until_ns)
{
	struct list *list = watch ? malloc(sizeof(*list)) : NULL;

	if (list)
		*list = (struct list){ watch, count, until_ns };
	else
		free(watch);
	swap(fresh, list);
}

void fresh_clear(struct fresh *fresh)
{
	swap(fresh, NULL);
}

bool fresh_now(struct fresh *fresh)
{
	rcu_read_lock();
	/* B */
	const struct list *list = atomic_load_explicit(&fresh->list, memory_order_acquire);
	bool is =
		list && clock_ns() < list->until_ns && kvtap_watch_quiet(list->watch, list->count);
	atomic_fetch_add_explicit(&fresh->looks, 1, memory_order_release); /* C */
	rcu_read_unlock();
	return is;
}
