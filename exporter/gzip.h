/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip.h - a block of bytes as gzip members, each compressed only when its bytes change
 *
 * Members (RFC 1952) one after the other are one gzip stream, so a page can be put together from
 * those of its blocks. Knows nothing of what is in a block. One thread at a time.
 */
#ifndef KVTAP_EXPORTER_GZIP_H
#define KVTAP_EXPORTER_GZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GZIP_CHUNK_BYTES ((size_t)64 << 10) /* of the block, in one member */

struct gzip_member {
	unsigned char *data;
	size_t bytes;
	bool stale; /* the block's bytes are others now */
};

struct gzip_block { /* all zero at first: nothing is kept */
	struct gzip_member *member;
	size_t members;
};

struct gzip; /* the compressor */

struct gzip *gzip_create(void);
void gzip_destroy(struct gzip *gzip);

/* gzip_stale - bytes of the block were written over; nothing to do while nothing is kept */
static inline void gzip_stale(struct gzip_block *block, size_t from, size_t end)
{
	if (!block->member)
		return;
	for (size_t i = from / GZIP_CHUNK_BYTES; i <= (end - 1) / GZIP_CHUNK_BYTES; i++)
		block->member[i].stale = true;
}

/**
 * gzip_replace - the block is another: keep the members of chunks that are the same
 * @old: [old_bytes] the block before
 * @data: [bytes] the block now
 */
void gzip_replace(struct gzip_block *block, const char *old, size_t old_bytes, const char *data,
		  size_t bytes);

/**
 * gzip_update - compress what is stale, or all if nothing is kept
 * @data: [bytes] the block; as many as last time, or gzip_replace() or gzip_free() came before
 *
 * Returns: bytes of all members; 0: no memory, and nothing is kept.
 */
size_t gzip_update(struct gzip *gzip, struct gzip_block *block, const char *data, size_t bytes);
/* gzip_copy - write all members to out; returns its end */
char *gzip_copy(const struct gzip_block *block, char *out);
/* gzip_memory - bytes that are kept */
size_t gzip_memory(const struct gzip_block *block);
/* gzip_free - keep nothing */
void gzip_free(struct gzip_block *block);

#endif
