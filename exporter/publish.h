/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.h - hand finished pages from the drain to the responses
 *
 * One pointer, swapped by RCU. A response takes a reference inside a short read-side section and
 * keeps the bytes alive by the reference count alone while it writes to its socket.
 */
#ifndef KVTAP_EXPORTER_PUBLISH_H
#define KVTAP_EXPORTER_PUBLISH_H

#include <stddef.h>

struct page; /* finished bytes; immutable once published */

/* page_create - a page that owns data (from malloc) of so many bytes; NULL: no memory, data freed */
struct page *page_create(char *data, size_t bytes);
const char *page_data(const struct page *page);
size_t page_bytes(const struct page *page);
/* page_release - give back one reference; any thread */
void page_release(struct page *page);

struct publication;

struct publication *publication_create(void);
/* publication_destroy - no reader may come any more; references already taken stay valid */
void publication_destroy(struct publication *publication);
/* publication_swap - publish page, whose reference is given; one publisher thread */
void publication_swap(struct publication *publication, struct page *page);
/* publication_acquire - the current page with a reference, or NULL before the first; any thread */
struct page *publication_acquire(struct publication *publication);

#endif
