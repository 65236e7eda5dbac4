/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_publish.c - a page that was acquired stays whole, whatever is published meanwhile
 *
 * That all pages are freed is asked of malloc, or of the leak check under AddressSanitizer, which
 * brings a malloc of its own.
 */
#include "../exporter/publish.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu-bp.h>

#include "test.h"

#define READERS 3
#define SWAPS 2000
#define PAGE_BYTES 4096

/* All bytes of a page are its number's; the caller can tell a page that is two. */
static struct page *make_page(int number)
{
	char *data = malloc(PAGE_BYTES);

	CHECK(data);
	memset(data, 'a' + number % 26, PAGE_BYTES);
	return page_create(data, PAGE_BYTES);
}

static bool is_whole(const struct page *page)
{
	const char *data = page_data(page);

	return page_bytes(page) == PAGE_BYTES && data[0] >= 'a' && data[0] <= 'z' &&
	       memcmp(data, data + 1, PAGE_BYTES - 1) == 0;
}

TEST(publish_acquire_gives_nothing_before_the_first_page)
{
	struct publication *publication = publication_create();

	CHECK(!publication_acquire(publication));
	publication_destroy(publication);
}

TEST(publish_acquire_gives_the_last_page_when_several_were_published)
{
	struct publication *publication = publication_create();

	publication_swap(publication, make_page(0));
	publication_swap(publication, make_page(1));
	struct page *page = publication_acquire(publication);
	CHECK(page);
	CHECK_EQ(page_data(page)[0], 'b');
	page_release(page);
	publication_destroy(publication);
}

TEST(publish_page_outlives_its_publication_when_a_response_holds_it)
{
	struct publication *publication = publication_create();

	publication_swap(publication, make_page(0));
	struct page *old = publication_acquire(publication);
	struct page *again = publication_acquire(publication);
	CHECK(old == again);
	publication_swap(publication, make_page(1));
	page_release(again);
	struct page *current = publication_acquire(publication);
	publication_destroy(publication);
	CHECK(is_whole(old));
	CHECK_EQ(page_data(old)[0], 'a');
	CHECK_EQ(page_data(current)[0], 'b');
	page_release(old);
	page_release(current);
}

struct section {
	struct publication *publication;
	sem_t entered;
	atomic_bool swapped;
};

static void *swap_when_entered(void *arg)
{
	struct section *section = arg;

	sem_wait(&section->entered);
	publication_swap(section->publication, make_page(1));
	section->swapped = true;
	return NULL;
}

/* This thread stands where publication_acquire() has the pointer and not yet the reference. */
TEST(publish_swap_keeps_the_old_page_when_a_reader_is_inside_its_section)
{
	struct section section = { .publication = publication_create() };
	pthread_t publisher;

	publication_swap(section.publication, make_page(0));
	CHECK_EQ(sem_init(&section.entered, 0, 0), 0);
	CHECK_EQ(pthread_create(&publisher, NULL, swap_when_entered, &section), 0);
	rcu_read_lock();
	struct page *page = publication_acquire(section.publication), *current = page;
	page_release(page);
	sem_post(&section.entered);
	while (current == page) { /* until the new page is there */
		current = publication_acquire(section.publication);
		page_release(current);
	}
	for (int i = 0; i < 1000; i++) {
		CHECK(!section.swapped); /* so the old page was not released either */
		sched_yield();
	}
	rcu_read_unlock();
	pthread_join(publisher, NULL);
	CHECK(section.swapped);
	publication_destroy(section.publication);
}

struct crowd {
	struct publication *publication;
	_Atomic unsigned long torn, acquired;
	atomic_bool stop;
};

static void *read_pages(void *arg)
{
	struct crowd *crowd = arg;
	struct page *held = NULL; /* one page is kept over the next acquire, as slow readers do */

	while (!crowd->stop) {
		struct page *page = publication_acquire(crowd->publication);
		CHECK(page);
		crowd->acquired++;
		crowd->torn += !is_whole(page);
		if (held) {
			crowd->torn += !is_whole(held);
			page_release(held);
		}
		held = page;
	}
	if (held)
		page_release(held);
	return NULL;
}

TEST(publish_keeps_acquired_pages_whole_when_pages_are_swapped)
{
	struct crowd crowd = { .publication = publication_create() };
	pthread_t readers[READERS];
	size_t before_bytes = mallinfo2().uordblks;

	publication_swap(crowd.publication, make_page(0));
	for (int i = 0; i < READERS; i++)
		CHECK_EQ(pthread_create(&readers[i], NULL, read_pages, &crowd), 0);
	for (int number = 1; number < SWAPS || crowd.acquired < SWAPS; number++)
		publication_swap(crowd.publication, make_page(number));
	crowd.stop = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	publication_destroy(crowd.publication);
	/* what the threads themselves leave is some pages' worth, not thousands */
	CHECK(mallinfo2().uordblks < before_bytes + 32 * PAGE_BYTES);
	CHECK_EQ(crowd.torn, 0);
}
