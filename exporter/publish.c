/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.c - the pointer to the current page, and who holds a page
 *
 * RCU protects the way from the pointer to the reference count, the count protects the bytes. The
 * grace periods are liburcu's; the pointer and the count are C11 atomics, which also ThreadSanitizer
 * can follow.
 *
 *   publisher                            response
 *     fill page                          rcu_read_lock
 *   A exchange(current, release)       B load(current, acquire)
 *     synchronize_rcu                  C fetch_add(references, relaxed)
 *   D fetch_sub(references, acq_rel)     rcu_read_unlock
 *     free, if it was the last           read page
 *                                      D fetch_sub(references, acq_rel)
 *
 * A pairs with B (message passing): who sees the pointer sees the bytes.
 * C needs no order: the grace period keeps the publisher's reference until each section that could
 *   see the pointer has ended, so the count can't be 0 there.
 * D pairs with every other D: all reads of a page come before it is freed.
 */
#include "publish.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <urcu-bp.h>

struct page {
	atomic_size_t references;
	size_t bytes;
	char *data;
};

struct publication {
	_Atomic(struct page *) current;
};

struct page *page_create(char *data, size_t bytes)
{
	struct page *page = malloc(sizeof(*page));

	if (!page) {
		free(data);
		return NULL;
	}
	atomic_init(&page->references, 1);
	page->bytes = bytes;
	page->data = data;
	return page;
}

const char *page_data(const struct page *page)
{
	return page->data;
}

size_t page_bytes(const struct page *page)
{
	return page->bytes;
}

void page_release(struct page *page)
{
	/* D */
	if (atomic_fetch_sub_explicit(&page->references, 1, memory_order_acq_rel) > 1)
		return;
	free(page->data);
	free(page);
}

struct publication *publication_create(void)
{
	return calloc(1, sizeof(struct publication));
}

void publication_destroy(struct publication *publication)
{
	/* relaxed: checked by the caller, no publisher and no reader comes any more */
	struct page *page = atomic_load_explicit(&publication->current, memory_order_relaxed);

	if (page)
		page_release(page);
	free(publication);
}

void publication_swap(struct publication *publication, struct page *page)
{
	/* A; relaxed would do for the old page, whose bytes the publisher does not read */
	struct page *old =
		atomic_exchange_explicit(&publication->current, page, memory_order_release);

	if (!old)
		return;
	synchronize_rcu();
	page_release(old);
}

struct page *publication_acquire(struct publication *publication)
{
	rcu_read_lock();
	/* B */
	struct page *page = atomic_load_explicit(&publication->current, memory_order_acquire);
	if (page) /* C */
		atomic_fetch_add_explicit(&page->references, 1, memory_order_relaxed);
	rcu_read_unlock();
	return page;
}
