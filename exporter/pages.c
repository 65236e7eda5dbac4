/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages.c - keep the pages of all formats up to date with the series
 *
 * A page is the blocks of the families in order of first declaration. The next page is a copy of the
 * current one in a buffer that no response holds, in which the numbers of the series that changed
 * are written over; blocks whose lines changed are rendered anew and put between copies of the
 * others. Knows neither what a block looks like nor who gets a page.
 */
#include "pages.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "format.h"

/* How many series ahead memory is asked for: first the series, then its place on the page. */
#define SERIES_AHEAD 24
#define PLACE_AHEAD 12

/* One format. */
struct sheet {
	bool complete;	  /* blocks and places are those of the current page */
	bool behind;	  /* the current page lacks more than what is unpublished */
	uint64_t members; /* families.members of the current page */
	size_t bytes;	  /* of the last page */
	struct gzip_block tail;
};

struct pages {
	struct series_table *table;
	struct publication *publication;
	struct gzip *gzip;
	struct sheet sheet[PAGE_FORMATS];
	uint64_t classified; /* families.members */
	uint64_t published;
};

struct pages *pages_create(struct series_table *table, struct publication *publication)
{
	struct pages *pages = calloc(1, sizeof(*pages));

	if (!pages)
		return NULL;
	pages->table = table;
	pages->publication = publication;
	pages->gzip = gzip_create();
	if (pages->gzip)
		return pages;
	free(pages);
	return NULL;
}

static void free_gzip(struct pages *pages, enum page_format format)
{
	const struct families *families = &pages->table->families;

	for (uint32_t i = 0; i < families->count; i++)
		gzip_free(&families->family[i]->block[format].gzip);
	gzip_free(&pages->sheet[format].tail);
}

void pages_destroy(struct pages *pages)
{
	for (int format = 0; format < PAGE_FORMATS; format++)
		free_gzip(pages, format);
	gzip_destroy(pages->gzip);
	free(pages);
}

/* ---- layout ---- */

static struct page_block *block_of(const struct pages *pages, uint32_t i, enum page_format format)
{
	return &pages->table->families.family[i]->block[format];
}

static bool must_render(const struct pages *pages, uint32_t i, enum page_format format)
{
	const struct sheet *sheet = &pages->sheet[format];
	const struct page_block *block = block_of(pages, i, format);

	return !sheet->complete || block->stale ||
	       block->layout != pages->table->families.family[i]->layout;
}

/* Render what has to be; returns whether the page has to be put together anew. */
static bool render(struct pages *pages, struct text *fresh, enum page_format format)
{
	const struct sheet *sheet = &pages->sheet[format];
	bool any = !sheet->complete || sheet->members != pages->table->families.members;

	for (uint32_t i = 0; i < pages->table->families.count; i++) {
		struct family *family = pages->table->families.family[i];
		struct page_block *block = &family->block[format];

		block->fresh = must_render(pages, i, format);
		if (!block->fresh)
			continue;
		any = true;
		block->fresh_at = fresh->bytes;
		format_render(fresh, family, format);
		block->fresh_bytes = fresh->bytes - block->fresh_at;
		block->layout = family->layout;
		block->stale = false;
	}
	return any;
}

static size_t total_bytes(const struct pages *pages, enum page_format format)
{
	size_t bytes = strlen(format_tail(format));

	for (uint32_t i = 0; i < pages->table->families.count; i++) {
		const struct page_block *block = block_of(pages, i, format);

		bytes += block->fresh ? block->fresh_bytes : block->bytes;
	}
	return bytes;
}

/* Put the blocks one after the other; those that are not fresh come from the current page. */
static void put_together(struct pages *pages, enum page_format format, char *out, const char *old,
			 const char *fresh)
{
	const char *tail = format_tail(format);
	size_t at = 0;

	for (uint32_t i = 0; i < pages->table->families.count; i++) {
		struct page_block *block = block_of(pages, i, format);
		const char *from = block->fresh ? fresh + block->fresh_at : old + block->at;
		size_t bytes = block->fresh ? block->fresh_bytes : block->bytes;

		if (bytes)
			memcpy(out + at, from, bytes);
		if (block->fresh && block->gzip.member)
			gzip_replace(&block->gzip, old + block->at, block->bytes, from, bytes);
		block->at = at;
		block->bytes = bytes;
		at += bytes;
	}
	memcpy(out + at, tail, strlen(tail));
}

/* The page as it was, but with all lines that there are now; NULL: no memory. */
static char *lay_out(struct pages *pages, enum page_format format, struct page *page)
{
	const struct page *current = publication_current(pages->publication, format, PAGE_IDENTITY);
	struct sheet *sheet = &pages->sheet[format];
	struct text fresh = { 0 };

	bool any = render(pages, &fresh, format);
	size_t bytes = any ? total_bytes(pages, format) : sheet->bytes;
	char *out = fresh.failed ? NULL : page_resize(page, bytes);
	sheet->complete = out;
	if (out && any)
		put_together(pages, format, out, current ? page_data(current) : NULL, fresh.data);
	else if (out)
		memcpy(out, page_data(current), bytes);
	sheet->bytes = bytes;
	sheet->members = pages->table->families.members;
	text_free(&fresh);
	return out;
}

/* ---- numbers ---- */

static void patch(const struct series *series, char *page, enum page_format format)
{
	struct page_block *block = &series->family->block[format];
	uint32_t place = series->place[format];

	if (!place)
		return;
	char *end = format_patch(page + block->at + place, series, format);
	gzip_stale(&block->gzip, place, (size_t)(end - (page + block->at)));
}

static void patch_all(const struct pages *pages, char *page, enum page_format format)
{
	const struct families *families = &pages->table->families;

	for (uint32_t i = 0; i < families->count; i++)
		for (const struct series *series = families->family[i]->first; series;
		     series = series->next)
			patch(series, page, format);
}

static void fetch_series(const struct series_list *list, uint32_t i)
{
	if (i >= list->count)
		return;
	__builtin_prefetch(list->series[i]);
	__builtin_prefetch((const char *)list->series[i] + 64);
}

static void fetch_place(const struct series_list *list, uint32_t i, const char *page,
			enum page_format format)
{
	if (i >= list->count)
		return;
	const struct series *series = list->series[i];
	const char *at = page + series->family->block[format].at + series->place[format];
	__builtin_prefetch(at, 1);
	__builtin_prefetch(at + NUMBER_FIELD_BYTES, 1);
}

static void patch_unpublished(const struct pages *pages, char *page, enum page_format format)
{
	const struct series_list *list = &pages->table->unpublished;

	for (uint32_t i = 0; i < list->count; i++) {
		fetch_series(list, i + SERIES_AHEAD);
		fetch_place(list, i + PLACE_AHEAD, page, format);
		patch(list->series[i], page, format);
	}
}

/* ---- what has no fixed width ---- */

static void stale_exemplar(struct family *family)
{
	family->block[PAGE_OPENMETRICS].stale = family->block[PAGE_PROTOBUF].stale = true;
}

/* Unless nobody wants it. */
static bool is_complete(const struct pages *pages, enum page_format format)
{
	return pages->sheet[format].complete ||
	       !(publication_wanted(pages->publication, format, PAGE_IDENTITY) ||
		 publication_wanted(pages->publication, format, PAGE_GZIP));
}

/* For a page that is new: of all series, changed or not. */
static void turn_exemplars(struct pages *pages, uint64_t now_ns, uint64_t real_ns)
{
	const struct families *families = &pages->table->families;

	for (uint32_t i = 0; i < families->count; i++)
		for (struct series *series = families->family[i]->first;
		     series && series->exemplars; series = series->next)
			if (exemplar_turn(series->exemplars, now_ns, real_ns))
				stale_exemplar(series->family);
}

/* Another exemplar, or a number that OpenMetrics can't pad, makes a block be rendered anew. */
static void find_stale(struct pages *pages)
{
	const struct series_list *list = &pages->table->unpublished;
	uint64_t now_ns = clock_ns(), real_ns = clock_real_ns();

	if (!is_complete(pages, PAGE_OPENMETRICS) || !is_complete(pages, PAGE_PROTOBUF))
		turn_exemplars(pages, now_ns, real_ns);
	if (!pages->sheet[PAGE_OPENMETRICS].complete && !pages->sheet[PAGE_PROTOBUF].complete)
		return;
	for (uint32_t i = 0; i < list->count; i++) {
		struct series *series = list->series[i];

		fetch_series(list, i + SERIES_AHEAD);
		if (series->exemplars && exemplar_turn(series->exemplars, now_ns, real_ns))
			stale_exemplar(series->family);
		if (series->form != format_form(series))
			series->family->block[PAGE_OPENMETRICS].stale = true;
	}
}

/* ---- publication ---- */

static size_t update_gzip(struct pages *pages, enum page_format format, const char *page)
{
	struct sheet *sheet = &pages->sheet[format];
	const char *tail = format_tail(format);
	size_t total = gzip_update(pages->gzip, &sheet->tail, tail, strlen(tail));

	for (uint32_t i = 0; total && i < pages->table->families.count; i++) {
		struct page_block *block = block_of(pages, i, format);
		size_t bytes =
			gzip_update(pages->gzip, &block->gzip, page + block->at, block->bytes);

		total = bytes ? total + bytes : 0;
	}
	return total;
}

/* The same page compressed. */
static bool publish_gzip(struct pages *pages, enum page_format format, const struct page *plain,
			 struct publication_pages *next)
{
	struct page *page = publication_take(pages->publication, format, PAGE_GZIP);

	if (!page)
		return true;
	size_t bytes = update_gzip(pages, format, page_data(plain));
	char *out = bytes ? page_resize(page, bytes) : NULL;
	if (!out)
		return false;
	for (uint32_t i = 0; i < pages->table->families.count; i++)
		out = gzip_copy(&block_of(pages, i, format)->gzip, out);
	gzip_copy(&pages->sheet[format].tail, out);
	next->page[format][PAGE_GZIP] = page;
	return true;
}

static void withdraw(struct pages *pages, enum page_format format, enum page_encoding encoding)
{
	if (!publication_current(pages->publication, format, encoding))
		return;
	publication_withdraw(pages->publication, format, encoding);
	if (encoding == PAGE_GZIP)
		free_gzip(pages, format);
	else
		pages->sheet[format].complete = false;
}

static bool publish_format(struct pages *pages, enum page_format format,
			   struct publication_pages *next)
{
	struct sheet *sheet = &pages->sheet[format];
	bool gzip = publication_wanted(pages->publication, format, PAGE_GZIP);

	if (!gzip)
		withdraw(pages, format, PAGE_GZIP);
	if (!gzip && !publication_wanted(pages->publication, format, PAGE_IDENTITY)) {
		withdraw(pages, format, PAGE_IDENTITY);
		return true;
	}
	struct page *page = publication_take(pages->publication, format, PAGE_IDENTITY);
	if (!page) {
		sheet->behind = true;
		return true;
	}
	char *data = lay_out(pages, format, page);
	if (!data) {
		sheet->behind = true;
		return false;
	}
	if (sheet->behind)
		patch_all(pages, data, format);
	else
		patch_unpublished(pages, data, format);
	sheet->behind = false;
	next->page[format][PAGE_IDENTITY] = page;
	return !gzip || publish_gzip(pages, format, page, next);
}

static void empty_unpublished(struct series_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		fetch_series(list, i + SERIES_AHEAD);
		list->series[i]->unpublished = false;
	}
	list->count = 0;
}

bool pages_publish(struct pages *pages)
{
	struct publication_pages next = { 0 };
	bool enough = true;

	if (pages->classified != pages->table->families.members)
		format_classify(&pages->table->families);
	pages->classified = pages->table->families.members;
	find_stale(pages);
	for (int format = 0; format < PAGE_FORMATS; format++)
		enough &= publish_format(pages, format, &next);
	publication_swap(pages->publication, &next);
	empty_unpublished(&pages->table->unpublished);
	pages->published++;
	return enough;
}

uint64_t pages_published(const struct pages *pages)
{
	return pages->published;
}

size_t pages_memory(const struct pages *pages)
{
	size_t bytes = publication_memory(pages->publication);

	for (int format = 0; format < PAGE_FORMATS; format++)
		for (uint32_t i = 0; i < pages->table->families.count; i++)
			bytes += gzip_memory(&block_of(pages, i, format)->gzip);
	return bytes;
}
