/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pages_time.c - what time does to pages, with a clock of the test's own
 *
 * The clock that all code of this program reads is the kernel's and some more.
 */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "support_pages.h"
#include "support_table.h"
#include "test.h"

static time_t ahead_s;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	long rc = syscall(SYS_clock_gettime, clock, now);

	now->tv_sec += ahead_s;
	return (int)rc;
}

static struct page *acquire(struct pages_fixture *f, enum page_format format,
			    enum page_encoding encoding)
{
	return publication_acquire(f->publication, format, encoding);
}

static struct series *begin(struct pages_fixture *f)
{
	static const double bound[] = { 1 };

	pages_begin(f);
	pages_want_all(f);
	return table_get(&f->table, table_declare(&f->table, "h", "", KVTAP_HISTOGRAM, 0, bound, 1),
			 "e", "0");
}

TEST(pages_time_drops_a_format_that_nobody_asked_for_in_five_minutes)
{
	struct pages_fixture f;
	struct series *series = begin(&f);

	pages_settle_and_publish(&f);
	ahead_s += 299;
	pages_settle_and_publish(&f);
	struct page *page = acquire(&f, PAGE_OPENMETRICS, PAGE_GZIP); /* so its identity is too */
	CHECK(page);
	page_release(page);
	ahead_s += 2;
	table_record(&f.table, series, 5, 1);
	pages_settle_and_publish(&f);
	CHECK(!acquire(&f, PAGE_PROTOBUF, PAGE_IDENTITY));
	CHECK(!acquire(&f, PAGE_PROTOBUF, PAGE_GZIP));
	CHECK(!acquire(&f, PAGE_TEXT, PAGE_GZIP));
	page = acquire(&f, PAGE_OPENMETRICS, PAGE_IDENTITY);
	CHECK(page);
	page_release(page);
	table_record(&f.table, series, 50000000, 1);
	pages_settle_and_publish(&f);
	pages_check(&f);
	pages_end(&f);
}

TEST(pages_time_leaves_text_to_the_next_who_asks)
{
	struct pages_fixture f;

	begin(&f);
	pages_settle_and_publish(&f);
	ahead_s += 10000;
	pages_settle_and_publish(&f);
	struct page *page = acquire(&f, PAGE_TEXT, PAGE_IDENTITY);
	CHECK(page);
	page_release(page);
	pages_end(&f);
}

TEST(pages_time_frees_buffers_that_are_not_needed_for_a_minute)
{
	struct pages_fixture f;
	struct page *held[PAGE_BUFFERS];

	begin(&f);
	for (int i = 0; i < PAGE_BUFFERS; i++) {
		pages_settle_and_publish(&f);
		held[i] = acquire(&f, PAGE_TEXT, PAGE_IDENTITY);
	}
	size_t most = pages_memory(f.pages);
	size_t bytes = page_bytes(held[0]);
	for (int i = 0; i < PAGE_BUFFERS; i++)
		page_release(held[i]);
	ahead_s += 61;
	pages_settle_and_publish(&f);
	CHECK(pages_memory(f.pages) + 6 * bytes <= most);
	pages_settle_and_publish(&f);
	pages_check(&f);
	pages_end(&f);
}

TEST(pages_time_brings_another_exemplar_after_its_window)
{
	struct pages_fixture f;
	struct series *series = begin(&f);

	table_record(&f.table, series, 5, 41);
	pages_settle_and_publish(&f);
	CHECK(pages_have(&f, PAGE_OPENMETRICS, "request_id=\"41\""));
	table_record(&f.table, series, 6, 42);
	ahead_s += 15;
	pages_settle_and_publish(&f);
	CHECK(pages_have(&f, PAGE_OPENMETRICS, "request_id=\"42\""));
	CHECK(!pages_have(&f, PAGE_OPENMETRICS, "request_id=\"41\""));
	CHECK(!pages_have(&f, PAGE_TEXT, "request_id"));
	pages_check(&f);
	pages_end(&f);
}
