/* SPDX-License-Identifier: Apache-2.0 */
/* support_pages.c - series with their publication, and whether its pages are what they should be */
#include "support_pages.h"

#include <stdlib.h>
#include <string.h>

#include "support_gunzip.h"
#include "support_render.h"
#include "test.h"

void pages_begin(struct pages_fixture *f)
{
	CHECK_EQ(series_table_init(&f->table), 0);
	f->publication = publication_create();
	f->pages = pages_create(&f->table, f->publication);
	CHECK(f->publication && f->pages);
}

void pages_end(struct pages_fixture *f)
{
	pages_destroy(f->pages);
	publication_destroy(f->publication);
	series_table_free(&f->table);
}

void pages_settle_and_publish(struct pages_fixture *f)
{
	series_settle(&f->table);
	CHECK(pages_publish(f->pages));
	CHECK_EQ(f->table.unpublished.count, 0);
}

static struct page *acquire(struct pages_fixture *f, enum page_format format,
			    enum page_encoding encoding)
{
	return publication_acquire(f->publication, format, encoding);
}

void pages_want_all(struct pages_fixture *f)
{
	for (int i = 0; i < PAGE_FORMATS * PAGE_ENCODINGS; i++)
		CHECK(!acquire(f, i / PAGE_ENCODINGS, i % PAGE_ENCODINGS));
}

static void check_gzip(struct pages_fixture *f, enum page_format format, const struct text *plain)
{
	struct page *page = acquire(f, format, PAGE_GZIP);
	char *out = malloc(plain->bytes + 1);

	CHECK(page && out);
	CHECK_EQ(gunzip(out, plain->bytes + 1, page_data(page), page_bytes(page)), plain->bytes);
	CHECK(!plain->bytes || !memcmp(out, plain->data, plain->bytes));
	page_release(page);
	free(out);
}

static void check_format(struct pages_fixture *f, enum page_format format)
{
	struct page *page = acquire(f, format, PAGE_IDENTITY);
	struct text expected = { 0 };

	render_page(&expected, &f->table, format);
	CHECK(page && !expected.failed);
	CHECK_EQ(page_bytes(page), expected.bytes);
	CHECK(!expected.bytes || !memcmp(page_data(page), expected.data, expected.bytes));
	page_release(page);
	check_gzip(f, format, &expected);
	text_free(&expected);
}

void pages_check(struct pages_fixture *f)
{
	for (int format = 0; format < PAGE_FORMATS; format++)
		check_format(f, format);
}

bool pages_have(struct pages_fixture *f, enum page_format format, const char *text)
{
	struct page *page = acquire(f, format, PAGE_IDENTITY);

	CHECK(page);
	bool found = memmem(page_data(page), page_bytes(page), text, strlen(text));
	page_release(page);
	return found;
}
