/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.h - hand finished pages from the drain to the responses
 *
 * For each format and encoding one pointer, swapped by RCU, and a few buffers. A response takes a
 * reference inside a short read-side section and keeps the bytes as they are by the reference alone
 * while it writes to its socket. Knows nothing of what is on a page.
 */
#ifndef KVTAP_EXPORTER_PUBLISH_H
#define KVTAP_EXPORTER_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum page_format { PAGE_TEXT, PAGE_OPENMETRICS, PAGE_PROTOBUF, PAGE_FORMATS };
enum page_encoding { PAGE_IDENTITY, PAGE_GZIP, PAGE_ENCODINGS };

/* Buffers of a format and encoding: so many less one may be held by responses. */
#define PAGE_BUFFERS 8

struct page; /* finished bytes; they do not change while somebody holds it */

const char *page_data(const struct page *page);
size_t page_bytes(const struct page *page);
/* page_release - give back one reference; any thread */
void page_release(struct page *page);

struct publication;

struct publication *publication_create(void);
/* publication_destroy - no reader may come any more; references already taken stay valid */
void publication_destroy(struct publication *publication);
/**
 * publication_acquire - the current page with a reference; any thread
 *
 * Notes that this format and encoding is wanted: it is kept up to date until nobody has asked for
 * it for five minutes; PAGE_TEXT with PAGE_IDENTITY always is.
 * Returns: NULL: it was not wanted before and comes with the next publication, or nothing was
 * published yet.
 */
struct page *publication_acquire(struct publication *publication, enum page_format format,
				 enum page_encoding encoding);
/* publication_ready - whether something was published; any thread */
bool publication_ready(const struct publication *publication);
/* publication_skips - how often a page stayed as it was for want of a free buffer; any thread */
uint64_t publication_skips(const struct publication *publication);

/* ---- the publisher's side: one thread ---- */

/* The pages of one publication; NULL: that one stays as it is. */
struct publication_pages {
	struct page *page[PAGE_FORMATS][PAGE_ENCODINGS];
};

/* publication_wanted - whether this format and encoding is to be kept up to date */
bool publication_wanted(const struct publication *publication, enum page_format format,
			enum page_encoding encoding);
/* publication_current - the page that responses get, or NULL */
const struct page *publication_current(const struct publication *publication,
				       enum page_format format, enum page_encoding encoding);
/* publication_take - a page that nobody holds, to be filled; NULL: none, which is counted as a skip */
struct page *publication_take(struct publication *publication, enum page_format format,
			      enum page_encoding encoding);
/* page_resize - of a page that was taken: its bytes, whose content is undefined; NULL: no memory */
char *page_resize(struct page *page, size_t bytes);
/* publication_swap - publish pages that were taken and filled, all at once */
void publication_swap(struct publication *publication, const struct publication_pages *pages);
/* publication_withdraw - nobody wants this format and encoding any more: free what can be freed */
void publication_withdraw(struct publication *publication, enum page_format format,
			  enum page_encoding encoding);
/* publication_memory - bytes of all buffers */
size_t publication_memory(const struct publication *publication);

#endif
