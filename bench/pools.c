/* SPDX-License-Identifier: Apache-2.0 */
/* pools.c - see pools.h */
#include "pools.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "paired.h"

#define LARGE_PAGE_BYTES (2u << 20)

/* Touched, so that no copy meets a page fault. */
static uint8_t *open_pool(void)
{
	void *pool = NULL;
	int rc = posix_memalign(&pool, LARGE_PAGE_BYTES, POOL_BYTES);

	if (rc)
		bench_fail("allocate a pool", rc);
	madvise(pool, POOL_BYTES, MADV_HUGEPAGE);
	memset(pool, 0, POOL_BYTES);
	return pool;
}

void pools_open(struct pools *pools)
{
	uint64_t random = 0;

	*pools = (struct pools){ .from = open_pool(), .to = open_pool() };
	for (size_t i = 0; i < POOL_BYTES; i += sizeof(random)) {
		uint64_t word = paired_random(&random);

		memcpy(pools->from + i, &word, sizeof(word));
	}
}

void pools_divide(struct pools *pools, uint32_t block_bytes, uint64_t *random)
{
	uint32_t blocks = POOL_BYTES / block_bytes;

	free(pools->from_order);
	free(pools->to_order);
	pools->from_order = bench_allocate(blocks * sizeof(*pools->from_order));
	pools->to_order = bench_allocate(blocks * sizeof(*pools->to_order));
	paired_shuffle(random, pools->from_order, blocks);
	paired_shuffle(random, pools->to_order, blocks);
	pools->block_bytes = block_bytes;
	pools->blocks = blocks;
	pools->next = 0;
}

static uint8_t *block(const struct pools *pools, uint8_t *pool, const uint32_t *order, uint64_t n)
{
	return pool + (size_t)order[n & (pools->blocks - 1)] * pools->block_bytes;
}

static uint8_t *from(const struct pools *pools, uint64_t n)
{
	return block(pools, pools->from, pools->from_order, n);
}

static uint8_t *to(const struct pools *pools, uint64_t n)
{
	return block(pools, pools->to, pools->to_order, n);
}

void pools_copy(struct pools *pools)
{
	uint64_t n = pools->next++;

	memcpy(to(pools, n), from(pools, n), pools->block_bytes);
}

void pools_spoil(struct pools *pools, uint64_t ahead)
{
	uint8_t *spoilt = to(pools, pools->next + ahead);

	memset(spoilt, 0, sizeof(uint64_t));
	memset(spoilt + pools->block_bytes - sizeof(uint64_t), 0, sizeof(uint64_t));
}

bool pools_equal(const struct pools *pools)
{
	uint64_t n = pools->next - 1;

	return memcmp(to(pools, n), from(pools, n), pools->block_bytes) == 0;
}

void pools_close(struct pools *pools)
{
	free(pools->from);
	free(pools->to);
	free(pools->from_order);
	free(pools->to_order);
	*pools = (struct pools){ 0 };
}
