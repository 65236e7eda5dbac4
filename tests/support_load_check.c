/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_load_check.c - compare the truth of a load with a page
 */
#include "support_load.h"

#include "test.h"

/* A page without the sample says nothing of it. */
static void check(void *page, const char *key, unsigned digits, uint64_t value)
{
	if (!page_find(page, key))
		test_fail(__FILE__, __LINE__, "not on the page: %s", key);
	uint64_t found = page_scaled(page, digits, "%s", key);
	if (found != value)
		test_fail(__FILE__, __LINE__, "%s (in 10^-%u): %llu, recorded %llu", key, digits,
			  (unsigned long long)found, (unsigned long long)value);
}

void load_check(const struct page *page, const char *engine, const struct load_truth *truth,
		uint32_t shards)
{
	load_samples(truth, engine, shards, check, (void *)page);
}
