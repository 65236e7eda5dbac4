/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_load_check.c - compare the truth of a load with one page, or with two that add up
 */
#include "support_load.h"

#include <stdbool.h>
#include <stddef.h>

#include "test.h"

struct pages {
	const struct page *page[2]; /* the second may be NULL */
};

/* A page without the sample says nothing of it. */
static void check(void *context, const char *key, unsigned digits, uint64_t value)
{
	const struct pages *pages = context;
	uint64_t found = 0;
	bool any = false;

	for (int i = 0; i < 2; i++) {
		if (!pages->page[i] || !page_find(pages->page[i], key))
			continue;
		found += page_scaled(pages->page[i], digits, "%s", key);
		any = true;
	}
	if (!any)
		test_fail(__FILE__, __LINE__, "not on the page: %s", key);
	if (found != value)
		test_fail(__FILE__, __LINE__, "%s (in 10^-%u): %llu, recorded %llu", key, digits,
			  (unsigned long long)found, (unsigned long long)value);
}

void load_check_sum(const struct page *first, const struct page *second, const char *engine,
		    const struct load_truth *truth, uint32_t shards)
{
	load_samples(truth, engine, shards, check, &(struct pages){ { first, second } });
}

void load_check(const struct page *page, const char *engine, const struct load_truth *truth,
		uint32_t shards)
{
	load_check_sum(page, NULL, engine, truth, shards);
}
