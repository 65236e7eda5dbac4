/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages.h - keep the pages of all formats up to date with the series
 *
 * Only the drain thread calls: series change in no other, so all pages of a publication show one
 * and the same cut.
 */
#ifndef KVTAP_EXPORTER_PAGES_H
#define KVTAP_EXPORTER_PAGES_H

#include "publish.h"
#include "series.h"

struct pages;

/* pages_create - both have to outlive it; NULL: no memory */
struct pages *pages_create(struct series_table *table, struct publication *publication);
void pages_destroy(struct pages *pages);

/**
 * pages_publish - show all that was settled, in each format and encoding that is wanted
 *
 * Takes table->unpublished over. A page with no free buffer stays as it was, and shows everything
 * next time.
 * Returns: false: out of memory; the pages that it was for stay as they were, until next time.
 */
bool pages_publish(struct pages *pages);

/* pages_published - how many publications there were */
uint64_t pages_published(const struct pages *pages);
/* pages_memory - bytes of all buffers and of what is kept to make pages */
size_t pages_memory(const struct pages *pages);

#endif
