/* SPDX-License-Identifier: Apache-2.0 */
/* test_pages.c - a page that was patched is the page that would have been rendered */

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_pages.h"
#include "support_table.h"
#include "test.h"

#define READERS 4

static const double bound[] = { 0.001, 0.5, 10 };

static struct page *acquire(struct pages_fixture *f, enum page_format format,
			    enum page_encoding encoding)
{
	return publication_acquire(f->publication, format, encoding);
}

static void add(struct pages_fixture *f, struct series *series, uint64_t amount)
{
	kvtap_sum_add(&series->sum[NUMBER_UNITS], amount);
	series_touch(&f->table, series);
}

static void set(struct pages_fixture *f, struct series *series, double value)
{
	series->value = value;
	series_touch(&f->table, series);
}

TEST(pages_are_there_when_there_are_no_families)
{
	struct pages_fixture f;

	pages_begin(&f);
	pages_want_all(&f);
	pages_settle_and_publish(&f);
	pages_check(&f);
	pages_end(&f);
}

TEST(pages_have_a_format_from_the_publication_after_it_was_wanted)
{
	struct pages_fixture f;

	pages_begin(&f);
	struct family *family = table_declare(&f.table, "c", "", KVTAP_COUNTER, 0, NULL, 0);
	struct series *series = table_get(&f.table, family, "e", "0");
	add(&f, series, 7);
	pages_settle_and_publish(&f);
	CHECK(pages_have(&f, PAGE_TEXT, " 000000000000000000000007\n"));
	CHECK(!acquire(&f, PAGE_OPENMETRICS, PAGE_IDENTITY));
	CHECK(!acquire(&f, PAGE_PROTOBUF, PAGE_GZIP));
	pages_settle_and_publish(&f);
	CHECK(pages_have(&f, PAGE_OPENMETRICS, " 000000000000000000000007\n"));
	struct page *page = acquire(&f, PAGE_PROTOBUF, PAGE_GZIP);
	CHECK(page);
	page_release(page);
	for (int i = 0; i < PAGE_FORMATS * PAGE_ENCODINGS; i++) {
		page = acquire(&f, i / PAGE_ENCODINGS, i % PAGE_ENCODINGS);
		if (page)
			page_release(page);
	}
	add(&f, series, 1);
	pages_settle_and_publish(&f);
	pages_check(&f);
	pages_end(&f);
}

TEST(pages_follow_gauges_into_what_is_no_number_and_back)
{
	static const double values[] = { 1, NAN, INFINITY, -INFINITY, NAN, -2.5, 0 };
	struct pages_fixture f;

	pages_begin(&f);
	pages_want_all(&f);
	struct family *family = table_declare(&f.table, "g", "", KVTAP_GAUGE, 0, NULL, 0);
	struct series *series = table_get(&f.table, family, "e", "0");
	struct series *other = table_get(&f.table, family, "e", "1");
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		set(&f, series, values[i]);
		set(&f, other, (double)i);
		pages_settle_and_publish(&f);
		pages_check(&f);
	}
	set(&f, series, NAN);
	pages_settle_and_publish(&f);
	CHECK(pages_have(&f, PAGE_OPENMETRICS, "{e=\"0\",model_name=\"m\"} NaN\n"));
	set(&f, series, 1.5);
	pages_settle_and_publish(&f);
	CHECK(pages_have(&f, PAGE_OPENMETRICS,
			 "{e=\"0\",model_name=\"m\"} 000000001.50000000000000\n"));
	pages_end(&f);
}

TEST(pages_leave_a_sum_out_of_openmetrics_while_it_is_negative)
{
	static const double steps[] = { 1, -3, 1, 5 };
	struct pages_fixture f;

	pages_begin(&f);
	pages_want_all(&f);
	struct family *family = table_declare(&f.table, "h", "", KVTAP_HISTOGRAM, 0, bound, 3);
	struct series *series = table_get(&f.table, family, "e", "0");
	double sum = 0;
	for (size_t i = 0; i < 4; i++) {
		kvtap_sum_add_double(&series->sum[NUMBER_DOUBLE], steps[i]);
		series_observe(series, steps[i], 1);
		series->bucket[1]++;
		series_touch(&f.table, series);
		pages_settle_and_publish(&f);
		pages_check(&f);
		sum += steps[i];
		CHECK_EQ(pages_have(&f, PAGE_OPENMETRICS, "h_sum"), sum >= 0);
	}
	pages_end(&f);
}

TEST(pages_show_a_lazy_series_from_its_first_record)
{
	struct pages_fixture f;

	pages_begin(&f);
	pages_want_all(&f);
	struct family *family =
		table_declare(&f.table, "l", "", KVTAP_COUNTER, KVTAP_FAMILY_LAZY, NULL, 0);
	struct series *series = table_get(&f.table, family, "e", "0");
	add(&f, series, 0); /* touched, but not on the page */
	pages_settle_and_publish(&f);
	CHECK(!pages_have(&f, PAGE_TEXT, "l_total{"));
	series->seen = true;
	family->layout++;
	add(&f, series, 5);
	pages_settle_and_publish(&f);
	CHECK(pages_have(&f, PAGE_TEXT,
			 "l_total{e=\"0\",model_name=\"m\"} 000000000000000000000005\n"));
	pages_check(&f);
	pages_end(&f);
}

TEST(pages_show_sums_of_more_than_64_bits)
{
	struct pages_fixture f;

	pages_begin(&f);
	pages_want_all(&f);
	struct family *family = table_declare(&f.table, "c", "", KVTAP_COUNTER, 0, NULL, 0);
	struct series *series = table_get(&f.table, family, "e", "0");
	pages_settle_and_publish(&f);
	for (int i = 0; i < 3; i++) {
		add(&f, series, UINT64_MAX);
		pages_settle_and_publish(&f);
		pages_check(&f);
	}
	CHECK(pages_have(&f, PAGE_TEXT, " 000055340232221128654845\n"));
	pages_end(&f);
}

/* ---- everything at once ---- */

static uint64_t random_state = 88172645463325252u;

static uint32_t random_below(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % limit;
}

static void change_histogram(struct pages_fixture *f, struct series *series)
{
	if (random_below(20) == 0) { /* may make the sum negative */
		kvtap_sum_add_double(&series->sum[NUMBER_DOUBLE], -(double)random_below(1000));
		series_touch(&f->table, series);
		return;
	}
	table_record(&f->table, series, (uint64_t)1 << random_below(50), random_below(3));
}

static void change_series(struct pages_fixture *f, struct series *series)
{
	static const double odd[] = { NAN, INFINITY, -INFINITY, 1e300, -1e-300 };

	if (!series->seen && series->family->lazy)
		series->family->layout++;
	series->seen = true;
	if (series->family->metric == KVTAP_HISTOGRAM)
		change_histogram(f, series);
	else if (series->family->metric == KVTAP_COUNTER)
		add(f, series, (uint64_t)1 << random_below(64));
	else
		set(f, series,
		    random_below(4) ? (double)random_below(1000000) / 7 : odd[random_below(5)]);
}

static void change_something(struct pages_fixture *f)
{
	struct families *families = &f->table.families;
	uint32_t metric = KVTAP_COUNTER + random_below(3);
	char text[32];

	snprintf(text, sizeof(text), "f%u", families->count);
	if (random_below(30) == 0 && families->count < 12)
		table_declare(&f->table, text, "Help.", (uint8_t)metric,
			      random_below(2) ? KVTAP_FAMILY_LAZY : 0, bound,
			      metric == KVTAP_HISTOGRAM ? 3 : 0);
	if (!families->count)
		return;
	struct family *family = families->family[random_below(families->count)];
	snprintf(text, sizeof(text), "%u", random_below(1000));
	if (random_below(10) == 0)
		table_get(&f->table, family, random_below(2) ? "a" : "z", text);
	for (struct series *series = family->first; series; series = series->next)
		if (random_below(3) == 0)
			change_series(f, series);
}

TEST(pages_are_as_if_rendered_when_anything_changes)
{
	struct pages_fixture f;

	pages_begin(&f);
	pages_want_all(&f);
	for (int round = 0; round < 2000; round++) {
		change_something(&f);
		if (random_below(3) == 0)
			continue;
		pages_settle_and_publish(&f);
		if (random_below(2)) /* this too notes places */
			pages_check(&f);
	}
	CHECK(f.table.count > 20);
	pages_end(&f);
}

/* Blocks of several chunks: a patch at a chunk's edge, and chunks that are used again. */
TEST(pages_compress_families_of_many_series)
{
	struct pages_fixture f;
	char value[32];

	pages_begin(&f);
	pages_want_all(&f);
	struct family *family = table_declare(&f.table, "c", "", KVTAP_COUNTER, 0, NULL, 0);
	for (int i = 0; i < 5000; i++) {
		snprintf(value, sizeof(value), "%d", i);
		table_get(&f.table, family, "e", value);
	}
	pages_settle_and_publish(&f);
	pages_check(&f);
	for (int round = 0; round < 5; round++) {
		table_get(&f.table, family, "z", round % 2 ? "a" : "b");
		for (struct series *series = family->first; series; series = series->next)
			if (random_below(1 << (3 * round)) == 0)
				add(&f, series, random_below(1000));
		pages_settle_and_publish(&f);
		pages_check(&f);
	}
	pages_end(&f);
}

/* ---- buffers that are held ---- */

TEST(pages_show_everything_after_publications_without_a_buffer)
{
	struct pages_fixture f;
	struct page *held[PAGE_BUFFERS];

	pages_begin(&f);
	pages_want_all(&f);
	struct family *family = table_declare(&f.table, "c", "", KVTAP_COUNTER, 0, NULL, 0);
	struct series *first = table_get(&f.table, family, "e", "0");
	struct series *second = table_get(&f.table, family, "e", "1");
	for (int i = 0; i < PAGE_BUFFERS; i++) {
		add(&f, first, 1);
		pages_settle_and_publish(&f);
		held[i] = acquire(&f, PAGE_TEXT, PAGE_IDENTITY);
	}
	CHECK_EQ(publication_skips(f.publication), 0);
	add(&f, second, 5);
	pages_settle_and_publish(&f);
	CHECK_EQ(publication_skips(f.publication), 1); /* text alone, and its gzip with it */
	CHECK(!pages_have(&f, PAGE_TEXT, "000005\n"));
	CHECK(pages_have(&f, PAGE_OPENMETRICS, "000005\n"));
	struct series *third = table_get(&f.table, family, "e", "2");
	add(&f, third, 6);
	pages_settle_and_publish(&f);
	for (int i = 0; i < PAGE_BUFFERS; i++)
		page_release(held[i]);
	add(&f, first, 1);
	pages_settle_and_publish(&f);
	pages_check(&f);
	pages_end(&f);
}

TEST(pages_that_are_held_stay_when_lines_come)
{
	struct pages_fixture f;
	char value[32];

	pages_begin(&f);
	pages_want_all(&f);
	struct family *family = table_declare(&f.table, "h", "", KVTAP_HISTOGRAM, 0, bound, 3);
	struct series *series = table_get(&f.table, family, "e", "x");
	pages_settle_and_publish(&f);
	struct page *held = acquire(&f, PAGE_TEXT, PAGE_IDENTITY);
	size_t bytes = page_bytes(held);
	char *copy = malloc(bytes);
	CHECK(copy);
	memcpy(copy, page_data(held), bytes);
	for (int i = 0; i < 50; i++) {
		snprintf(value, sizeof(value), "%d", i);
		table_get(&f.table, family, "e", value);
		table_record(&f.table, series, 1000, 1);
		pages_settle_and_publish(&f);
		pages_check(&f);
	}
	CHECK_EQ(page_bytes(held), bytes);
	CHECK(!memcmp(page_data(held), copy, bytes));
	page_release(held);
	free(copy);
	pages_end(&f);
}

/* ---- readers ---- */

struct crowd {
	struct pages_fixture f;
	_Atomic unsigned long torn, acquired;
	atomic_bool stop;
};

/* All numbers of a page are the same: those after the last space of each line. */
static bool agrees(const char *data, size_t bytes)
{
	const char *first = NULL, *end = data + bytes;

	for (const char *line = data, *next; line < end; line = next) {
		next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
		const char *number = next - 1 - NUMBER_COUNT_BYTES;

		if (*line == '#')
			continue;
		if (first && memcmp(number, first, NUMBER_COUNT_BYTES))
			return false;
		first = number;
	}
	return first;
}

static void *read_pages(void *arg)
{
	struct crowd *crowd = arg;

	for (int i = 0; !crowd->stop; i++) {
		enum page_format format = i % 2 ? PAGE_TEXT : PAGE_OPENMETRICS;
		struct page *page = acquire(&crowd->f, format, PAGE_IDENTITY);

		if (!page)
			continue;
		crowd->torn += !agrees(page_data(page), page_bytes(page));
		crowd->acquired++;
		page_release(page);
	}
	return NULL;
}

/* Counters and a histogram without bounds: each publication adds 1 to all, and sometimes a series. */
TEST(pages_agree_in_themselves_when_readers_take_them_all_the_time)
{
	struct crowd crowd = { 0 };
	struct pages_fixture *f = &crowd.f;
	struct series *series[64];
	pthread_t readers[READERS];
	char value[32];

	pages_begin(f);
	struct family *counter = table_declare(&f->table, "c", "", KVTAP_COUNTER, 0, NULL, 0);
	struct family *histogram = table_declare(&f->table, "h", "", KVTAP_HISTOGRAM, 0, NULL, 0);
	for (int i = 0; i < 64; i++) {
		snprintf(value, sizeof(value), "%d", i);
		series[i] = table_get(&f->table, i % 2 ? counter : histogram, "e", value);
	}
	pages_settle_and_publish(f);
	for (int i = 0; i < READERS; i++)
		CHECK_EQ(pthread_create(&readers[i], NULL, read_pages, &crowd), 0);
	for (int round = 0; round < 1000 || crowd.acquired < 10000; round++) {
		for (int i = 0; i < 64; i++) {
			add(f, series[i], 1);
			if (i % 2 == 0)
				series[i]->bucket[0]++;
		}
		counter->layout += round % 16 == 0;
		pages_settle_and_publish(f);
	}
	crowd.stop = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	CHECK_EQ(crowd.torn, 0);
	pages_end(f);
}
