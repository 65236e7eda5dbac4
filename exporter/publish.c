/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.c - the pointers to the current pages, and who holds a page
 *
 * RCU protects the way from the pointer to the reference count, the count protects the bytes. The
 * grace periods are liburcu's; the pointer and the count are C11 atomics, which also ThreadSanitizer
 * can follow. One reference of each page is the publication's own.
 *
 *   publisher                            response
 *   D load(references, acquire): only 1
 *     fill page                          rcu_read_lock
 *   A exchange(current, release)       B load(current, acquire)
 *     synchronize_rcu                  C fetch_add(references, relaxed)
 *     the old page may be taken again    rcu_read_unlock
 *                                        read page
 *                                      D fetch_sub(references, acq_rel)
 *
 * A pairs with B (message passing): who sees the pointer sees the bytes.
 * C needs no order: a page that was swapped out is not taken before the grace period has ended each
 *   section that could see the pointer, so no reference comes to a page that is being filled.
 * D pairs with every other D: all reads of a page come before it is filled again or freed.
 *
 * When it was wanted last, the number of skips and whether there is anything are relaxed: single
 * words of their own, of which no other memory is told.
 */
#include "publish.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <urcu-bp.h>

#include "clock.h"

#define WANTED_NS (300000 * CLOCK_MS)
#define UNUSED_NS (60000 * CLOCK_MS) /* after that a buffer that no response needed is freed */
#define ALWAYS UINT64_MAX
#define CHANNELS (PAGE_FORMATS * PAGE_ENCODINGS)

struct page {
	atomic_size_t references;
	size_t bytes, room;
	uint64_t taken_ns;
	char *data;
};

struct channel {
	_Atomic(struct page *) current;
	_Atomic uint64_t wanted_ns; /* when it was asked for; 0: never */
	struct page *buffer[PAGE_BUFFERS];
};

struct publication {
	struct channel channel[CHANNELS];
	_Atomic uint64_t skips;
	atomic_bool ready;
};

static struct channel *channel_of(const struct publication *publication, enum page_format format,
				  enum page_encoding encoding)
{
	return (struct channel *)&publication
		->channel[(int)format * PAGE_ENCODINGS + (int)encoding];
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

char *page_resize(struct page *page, size_t bytes)
{
	if (bytes > page->room || !page->data) {
		size_t room = bytes + bytes / 16 + 64; /* the next series need not move it */
		char *data = malloc(room);

		if (!data)
			return NULL;
		free(page->data);
		page->data = data;
		page->room = room;
	}
	page->bytes = bytes;
	return page->data;
}

struct publication *publication_create(void)
{
	struct publication *publication = calloc(1, sizeof(*publication));

	if (publication)
		atomic_init(&channel_of(publication, PAGE_TEXT, PAGE_IDENTITY)->wanted_ns, ALWAYS);
	return publication;
}

void publication_destroy(struct publication *publication)
{
	for (int i = 0; i < CHANNELS; i++)
		for (int j = 0; j < PAGE_BUFFERS; j++)
			if (publication->channel[i].buffer[j])
				page_release(publication->channel[i].buffer[j]);
	free(publication);
}

struct page *publication_acquire(struct publication *publication, enum page_format format,
				 enum page_encoding encoding)
{
	struct channel *channel = channel_of(publication, format, encoding);

	/* relaxed, see above */
	if (atomic_load_explicit(&channel->wanted_ns, memory_order_relaxed) != ALWAYS)
		atomic_store_explicit(&channel->wanted_ns, clock_ns(), memory_order_relaxed);
	rcu_read_lock();
	/* B */
	struct page *page = atomic_load_explicit(&channel->current, memory_order_acquire);
	if (page) /* C */
		atomic_fetch_add_explicit(&page->references, 1, memory_order_relaxed);
	rcu_read_unlock();
	return page;
}

bool publication_ready(const struct publication *publication)
{
	return atomic_load_explicit(&publication->ready, memory_order_relaxed); /* see above */
}

uint64_t publication_skips(const struct publication *publication)
{
	return atomic_load_explicit(&publication->skips, memory_order_relaxed); /* see above */
}

/* ---- the publisher's side ---- */

bool publication_wanted(const struct publication *publication, enum page_format format,
			enum page_encoding encoding)
{
	/* relaxed, see above */
	uint64_t wanted_ns =
		atomic_load_explicit(&channel_of(publication, format, encoding)->wanted_ns,
				     memory_order_relaxed);
	uint64_t now_ns = clock_ns();

	if (wanted_ns == ALWAYS)
		return true;
	return wanted_ns && (now_ns < wanted_ns || now_ns - wanted_ns < WANTED_NS);
}

const struct page *publication_current(const struct publication *publication,
				       enum page_format format, enum page_encoding encoding)
{
	/* relaxed: written by this thread */
	return atomic_load_explicit(&channel_of(publication, format, encoding)->current,
				    memory_order_relaxed);
}

static bool is_free(const struct channel *channel, const struct page *page)
{
	/* relaxed: written by this thread; D */
	return page != atomic_load_explicit(&channel->current, memory_order_relaxed) &&
	       atomic_load_explicit(&page->references, memory_order_acquire) == 1;
}

static struct page *make(struct page **page)
{
	*page = calloc(1, sizeof(**page));
	if (*page)
		atomic_init(&(*page)->references, 1);
	return *page;
}

struct page *publication_take(struct publication *publication, enum page_format format,
			      enum page_encoding encoding)
{
	struct channel *channel = channel_of(publication, format, encoding);
	struct page *page = NULL;

	for (int i = 0; i < PAGE_BUFFERS && !page; i++) {
		if (!channel->buffer[i])
			page = make(&channel->buffer[i]);
		else if (is_free(channel, channel->buffer[i]))
			page = channel->buffer[i];
	}
	if (page)
		page->taken_ns = clock_ns();
	else /* relaxed, see above */
		atomic_fetch_add_explicit(&publication->skips, 1, memory_order_relaxed);
	return page;
}

/* Returns: whether a page was taken away. */
static bool swap(struct channel *channel, struct page *page)
{
	/* A; relaxed would do for the old page, whose bytes the publisher does not write before D */
	return atomic_exchange_explicit(&channel->current, page, memory_order_release);
}

/* Free the data of buffers that were taken last before then. */
static void trim(struct channel *channel, uint64_t before_ns)
{
	for (int i = 0; i < PAGE_BUFFERS; i++) {
		struct page *page = channel->buffer[i];

		if (!page || page->taken_ns > before_ns || !is_free(channel, page))
			continue;
		free(page->data);
		page->data = NULL;
		page->room = page->bytes = 0;
	}
}

void publication_swap(struct publication *publication, const struct publication_pages *pages)
{
	struct page *const *page = &pages->page[0][0];
	uint64_t now_ns = clock_ns();
	bool old = false;

	for (int i = 0; i < CHANNELS; i++)
		if (page[i])
			old |= swap(&publication->channel[i], page[i]);
	if (old)
		synchronize_rcu();
	for (int i = 0; i < CHANNELS && now_ns > UNUSED_NS; i++)
		trim(&publication->channel[i], now_ns - UNUSED_NS);
	atomic_store_explicit(&publication->ready, true, memory_order_relaxed); /* see above */
}

void publication_withdraw(struct publication *publication, enum page_format format,
			  enum page_encoding encoding)
{
	struct channel *channel = channel_of(publication, format, encoding);

	if (swap(channel, NULL))
		synchronize_rcu();
	trim(channel, UINT64_MAX);
}

size_t publication_memory(const struct publication *publication)
{
	size_t bytes = sizeof(*publication);

	for (int i = 0; i < CHANNELS; i++)
		for (int j = 0; j < PAGE_BUFFERS; j++)
			if (publication->channel[i].buffer[j])
				bytes += publication->channel[i].buffer[j]->room;
	return bytes;
}
