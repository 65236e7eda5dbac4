/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_page.h - take a page in text format 0.0.4 apart, strictly
 *
 * A page that is not as it should be fails the test. A sample's key is its name and labels as they
 * stand on the page: 'x_bucket{engine="0",le="1.0"}'; its value is without padding. Knows nothing of workers.
 */
#ifndef KVTAP_TESTS_SUPPORT_PAGE_H
#define KVTAP_TESTS_SUPPORT_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "support_exporter.h"

struct page_sample {
	const char *key, *value;
};

struct page_family {
	const char *name, *type;
	const char *help; /* NULL: none */
};

struct page {
	char *text;		    /* cut in place */
	struct page_sample *sample; /* [samples] sorted by key */
	size_t samples, sample_room;
	struct page_family *family; /* [families] in order */
	size_t families, family_room;
};

/**
 * page_parse - copy, check and index a page
 *
 * Checked: UTF-8; one HELP (if any), then one TYPE, then all samples of a family; no family and no
 * sample twice; label names in order, values escaped; counters end in _total; of each histogram
 * series increasing bounds, cumulative buckets, +Inf, _sum, and a _count that is the +Inf bucket.
 */
struct page *page_parse(const char *text);
void page_free(struct page *page);

/* page_scrape - page_parse of a scrape */
struct page *page_scrape(struct exporter *exporter);
/* page_wait - scrape until a sample has this value; Returns: the ms it took; fails after 10 s */
int64_t page_wait(struct exporter *exporter, const char *key, double value);
/* log_wait - wait until the exporter has said this; fails after 10 s */
void log_wait(struct exporter *exporter, const char *text);
/* exporter_forget - remove the folder of an exporter that has ended: its state is all that is there */
void exporter_forget(const char *name_space);
/* exporter_finish - exporter_stop, and exporter_forget */
void exporter_finish(struct exporter *exporter);

/* page_find - the value of the sample with this key as text, or NULL */
const char *page_find(const struct page *page, const char *key);
/* page_family - by name, or NULL */
const struct page_family *page_family(const struct page *page, const char *name);

/* page_number - the value of a sample, which must be there */
double page_number(const struct page *page, const char *key);
/* page_scaled - times 10^digits, exactly; fails if that is no integer of 64 bits */
uint64_t page_scaled(const struct page *page, unsigned digits, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* page_count - page_scaled without digits */
#define page_count(page, ...) page_scaled(page, 0, __VA_ARGS__)

#endif
