/* SPDX-License-Identifier: Apache-2.0 */
/* test_publish.c - a page that was acquired stays whole, whatever is published meanwhile */
#include "../exporter/publish.h"

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
static bool publish_as(struct publication *publication, enum page_format format,
		       enum page_encoding encoding, int number)
{
	struct page *page = publication_take(publication, format, encoding);
	struct publication_pages next = { 0 };

	if (!page)
		return false;
	char *data = page_resize(page, PAGE_BYTES);
	CHECK(data);
	memset(data, 'a' + number % 26, PAGE_BYTES);
	next.page[format][encoding] = page;
	publication_swap(publication, &next);
	return true;
}

static bool publish(struct publication *publication, int number)
{
	return publish_as(publication, PAGE_TEXT, PAGE_IDENTITY, number);
}

static struct page *acquire(struct publication *publication)
{
	return publication_acquire(publication, PAGE_TEXT, PAGE_IDENTITY);
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

	CHECK(!publication_ready(publication));
	CHECK(!acquire(publication));
	publish(publication, 0);
	CHECK(publication_ready(publication));
	publication_destroy(publication);
}

TEST(publish_acquire_gives_the_last_page_when_several_were_published)
{
	struct publication *publication = publication_create();

	publish(publication, 0);
	publish(publication, 1);
	struct page *page = acquire(publication);
	CHECK(page);
	CHECK_EQ(page_data(page)[0], 'b');
	page_release(page);
	publication_destroy(publication);
}

TEST(publish_acquire_makes_a_format_wanted)
{
	struct publication *publication = publication_create();

	CHECK(publication_wanted(publication, PAGE_TEXT, PAGE_IDENTITY));
	CHECK(!publication_wanted(publication, PAGE_TEXT, PAGE_GZIP));
	CHECK(!publication_wanted(publication, PAGE_PROTOBUF, PAGE_GZIP));
	CHECK(!publication_acquire(publication, PAGE_PROTOBUF, PAGE_GZIP));
	CHECK(publication_wanted(publication, PAGE_PROTOBUF, PAGE_GZIP));
	CHECK(!publication_wanted(publication, PAGE_PROTOBUF, PAGE_IDENTITY));
	CHECK(publish_as(publication, PAGE_PROTOBUF, PAGE_GZIP, 3));
	struct page *page = publication_acquire(publication, PAGE_PROTOBUF, PAGE_GZIP);
	CHECK(page);
	CHECK_EQ(page_data(page)[0], 'd');
	CHECK(!acquire(publication));
	page_release(page);
	publication_destroy(publication);
}

TEST(publish_withdraw_leaves_pages_to_those_who_hold_them)
{
	struct publication *publication = publication_create();

	publish(publication, 0);
	struct page *page = acquire(publication);
	publication_withdraw(publication, PAGE_TEXT, PAGE_IDENTITY);
	CHECK(!acquire(publication));
	CHECK(is_whole(page));
	CHECK(publish(publication, 1));
	CHECK_EQ(page_data(page)[0], 'a');
	page_release(page);
	publication_destroy(publication);
}

TEST(publish_page_outlives_its_publication_when_a_response_holds_it)
{
	struct publication *publication = publication_create();

	publish(publication, 0);
	struct page *old = acquire(publication);
	struct page *again = acquire(publication);
	CHECK(old == again);
	publish(publication, 1);
	page_release(again);
	struct page *current = acquire(publication);
	publication_destroy(publication);
	CHECK(is_whole(old));
	CHECK_EQ(page_data(old)[0], 'a');
	CHECK_EQ(page_data(current)[0], 'b');
	page_release(old);
	page_release(current);
}

TEST(publish_take_gives_nothing_when_all_buffers_are_held)
{
	struct publication *publication = publication_create();
	struct page *held[PAGE_BUFFERS];

	for (int i = 0; i < PAGE_BUFFERS; i++) {
		CHECK(publish(publication, i));
		held[i] = acquire(publication);
	}
	CHECK_EQ(publication_skips(publication), 0);
	CHECK(!publish(publication, 8));
	CHECK_EQ(publication_skips(publication), 1);
	for (int i = 0; i < PAGE_BUFFERS; i++) {
		CHECK(is_whole(held[i]));
		CHECK_EQ(page_data(held[i])[0], 'a' + i);
	}
	page_release(held[7]); /* it is current */
	CHECK(!publish(publication, 9));
	page_release(held[3]);
	CHECK(publish(publication, 10));
	CHECK_EQ(publication_skips(publication), 2);
	for (int i = 0; i < PAGE_BUFFERS - 1; i++)
		if (i != 3)
			page_release(held[i]);
	publication_destroy(publication);
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
	publish(section->publication, 1);
	section->swapped = true;
	return NULL;
}

/* This thread stands where publication_acquire() has the pointer and not yet the reference. */
TEST(publish_swap_keeps_the_old_page_when_a_reader_is_inside_its_section)
{
	struct section section = { .publication = publication_create() };
	pthread_t publisher;

	publish(section.publication, 0);
	CHECK_EQ(sem_init(&section.entered, 0, 0), 0);
	CHECK_EQ(pthread_create(&publisher, NULL, swap_when_entered, &section), 0);
	rcu_read_lock();
	struct page *page = acquire(section.publication), *current = page;
	page_release(page);
	sem_post(&section.entered);
	while (current == page) { /* until the new page is there */
		current = acquire(section.publication);
		page_release(current);
	}
	for (int i = 0; i < 1000; i++) {
		CHECK(!section.swapped); /* so the old page can't be taken either */
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
		struct page *page = acquire(crowd->publication);
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

	publish(crowd.publication, 0);
	for (int i = 0; i < READERS; i++)
		CHECK_EQ(pthread_create(&readers[i], NULL, read_pages, &crowd), 0);
	for (int number = 1; number < SWAPS || crowd.acquired < SWAPS; number++)
		publish(crowd.publication, number);
	crowd.stop = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	CHECK(publication_memory(crowd.publication) < 2 * PAGE_BUFFERS * PAGE_BYTES);
	publication_destroy(crowd.publication);
	CHECK_EQ(crowd.torn, 0);
}
