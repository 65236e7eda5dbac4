/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pools.h - two pools of KV blocks and copies between them, as an engine's connector makes
 *
 * The next block is always the one that was not touched for longest, at a place that has nothing to
 * do with the last one's: no copy finds its block in a cache that is smaller than a pool, whatever
 * was timed before it. Knows nothing of time and records.
 */
#ifndef KVTAP_BENCH_POOLS_H
#define KVTAP_BENCH_POOLS_H

#include <stdbool.h>
#include <stdint.h>

#define POOL_BYTES (256u << 20) /* each of the two */

struct pools {
	uint8_t *from, *to; /* [POOL_BYTES] */
	uint32_t block_bytes, blocks;
	uint32_t *from_order, *to_order; /* [blocks] */
	uint64_t next;
};

/* pools_open - on large pages where the kernel has them; no two words of the first pool are equal */
void pools_open(struct pools *pools);
/* pools_divide - into blocks of a power of two of bytes, to be copied in a new order */
void pools_divide(struct pools *pools, uint32_t block_bytes, uint64_t *random);
/* pools_copy - the next block */
void pools_copy(struct pools *pools);
/* pools_spoil - overwrite both ends of what the copy so many copies from now will write */
void pools_spoil(struct pools *pools, uint64_t ahead);
/* pools_equal - is what the last copy wrote what it read? */
bool pools_equal(const struct pools *pools);
void pools_close(struct pools *pools);

#endif
