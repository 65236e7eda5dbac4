/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip.c - a block of bytes as gzip members, each compressed only when its bytes change
 *
 * The fastest level: a page is compressed between two passes over all rings. An empty block is one
 * empty member, so that no page is without one.
 */
#include "gzip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define LEVEL 1
#define WINDOW_BITS (15 + 16) /* with gzip's header and check sum */
#define MEMORY_LEVEL 8

struct gzip {
	z_stream stream;
	unsigned char *out; /* [room] as much as a chunk can take */
	size_t room;
};

struct gzip *gzip_create(void)
{
	struct gzip *gzip = calloc(1, sizeof(*gzip));

	if (!gzip)
		return NULL;
	if (deflateInit2(&gzip->stream, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
			 Z_DEFAULT_STRATEGY) != Z_OK) {
		free(gzip);
		return NULL;
	}
	gzip->room = deflateBound(&gzip->stream, GZIP_CHUNK_BYTES);
	gzip->out = malloc(gzip->room);
	if (gzip->out)
		return gzip;
	gzip_destroy(gzip);
	return NULL;
}

void gzip_destroy(struct gzip *gzip)
{
	deflateEnd(&gzip->stream);
	free(gzip->out);
	free(gzip);
}

static bool compress_member(struct gzip *gzip, struct gzip_member *member, const char *data,
			    size_t bytes)
{
	z_stream *stream = &gzip->stream;

	deflateReset(stream);
	stream->next_in = (z_const Bytef *)data;
	stream->avail_in = (uInt)bytes;
	stream->next_out = gzip->out;
	stream->avail_out = (uInt)gzip->room;
	if (deflate(stream, Z_FINISH) != Z_STREAM_END)
		return false;
	unsigned char *kept = realloc(member->data, stream->total_out);
	if (!kept)
		return false;
	memcpy(kept, gzip->out, stream->total_out);
	*member = (struct gzip_member){ .data = kept, .bytes = stream->total_out };
	return true;
}

static size_t member_count(size_t bytes)
{
	return bytes ? (bytes - 1) / GZIP_CHUNK_BYTES + 1 : 1;
}

static bool make_members(struct gzip_block *block, size_t bytes)
{
	size_t members = member_count(bytes);

	block->member = calloc(members, sizeof(*block->member));
	if (!block->member)
		return false;
	block->members = members;
	for (size_t i = 0; i < members; i++)
		block->member[i].stale = true;
	return true;
}

void gzip_replace(struct gzip_block *block, const char *old, size_t old_bytes, const char *data,
		  size_t bytes)
{
	struct gzip_block next = { 0 };
	size_t whole = (old_bytes < bytes ? old_bytes : bytes) / GZIP_CHUNK_BYTES;

	if (block->member && make_members(&next, bytes)) {
		for (size_t i = 0; i < whole; i++) {
			size_t from = i * GZIP_CHUNK_BYTES;
			struct gzip_member *kept = &block->member[i];

			if (kept->stale || memcmp(old + from, data + from, GZIP_CHUNK_BYTES))
				continue;
			next.member[i] = *kept;
			kept->data = NULL;
		}
	}
	gzip_free(block);
	*block = next;
}

size_t gzip_update(struct gzip *gzip, struct gzip_block *block, const char *data, size_t bytes)
{
	size_t total = 0;

	if (!block->member && !make_members(block, bytes))
		return 0;
	for (size_t i = 0; i < block->members; i++) {
		struct gzip_member *member = &block->member[i];
		size_t from = i * GZIP_CHUNK_BYTES, left = bytes - from;

		if (member->stale &&
		    !compress_member(gzip, member, data + from,
				     left < GZIP_CHUNK_BYTES ? left : GZIP_CHUNK_BYTES)) {
			gzip_free(block);
			return 0;
		}
		total += member->bytes;
	}
	return total;
}

char *gzip_copy(const struct gzip_block *block, char *out)
{
	for (size_t i = 0; i < block->members; i++) {
		memcpy(out, block->member[i].data, block->member[i].bytes);
		out += block->member[i].bytes;
	}
	return out;
}

size_t gzip_memory(const struct gzip_block *block)
{
	size_t bytes = block->members * sizeof(*block->member);

	for (size_t i = 0; i < block->members; i++)
		bytes += block->member[i].bytes;
	return bytes;
}

void gzip_free(struct gzip_block *block)
{
	for (size_t i = 0; i < block->members; i++)
		free(block->member[i].data);
	free(block->member);
	*block = (struct gzip_block){ 0 };
}
