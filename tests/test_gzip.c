/* SPDX-License-Identifier: Apache-2.0 */
/* test_gzip.c - members of a block are its bytes, and only those that changed are made anew */
#include "../exporter/gzip.h"

#include <stdlib.h>
#include <string.h>

#include "support_gunzip.h"
#include "test.h"

#define BYTES (3 * GZIP_CHUNK_BYTES + 100)

static char *make_data(void)
{
	char *data = malloc(BYTES);

	CHECK(data);
	for (size_t i = 0; i < BYTES; i++)
		data[i] = (char)('a' + (i ^ i >> 9) % 26);
	return data;
}

static void check_block(const struct gzip_block *block, size_t total, const char *data,
			size_t bytes)
{
	char *stream = malloc(total), *plain = malloc(bytes + 1);

	CHECK(stream && plain);
	CHECK(gzip_copy(block, stream) == stream + total);
	CHECK_EQ(gunzip(plain, bytes + 1, stream, total), bytes);
	CHECK(!memcmp(plain, data, bytes));
	free(stream);
	free(plain);
}

TEST(gzip_update_makes_members_of_all_bytes)
{
	struct gzip *gzip = gzip_create();
	struct gzip_block block = { 0 };
	char *data = make_data();

	size_t total = gzip_update(gzip, &block, data, BYTES);
	CHECK_EQ(block.members, 4);
	check_block(&block, total, data, BYTES);
	gzip_free(&block);
	total = gzip_update(gzip, &block, data, GZIP_CHUNK_BYTES);
	CHECK_EQ(block.members, 1);
	check_block(&block, total, data, GZIP_CHUNK_BYTES);
	gzip_free(&block);
	total = gzip_update(gzip, &block, data, 0);
	CHECK(total);
	check_block(&block, total, data, 0);
	gzip_free(&block);
	gzip_destroy(gzip);
	free(data);
}

TEST(gzip_replace_keeps_members_of_what_is_the_same)
{
	struct gzip *gzip = gzip_create();
	struct gzip_block block = { 0 };
	char *data = make_data(), *next = make_data();

	gzip_update(gzip, &block, data, 3 * GZIP_CHUNK_BYTES);
	const void *kept = block.member[0].data;
	gzip_stale(&block, 2 * GZIP_CHUNK_BYTES, 2 * GZIP_CHUNK_BYTES + 1);
	next[GZIP_CHUNK_BYTES + 5] = 'X';
	gzip_replace(&block, data, 3 * GZIP_CHUNK_BYTES, next, BYTES);
	CHECK_EQ(block.members, 4);
	CHECK(block.member[0].data == kept && !block.member[0].stale);
	CHECK(block.member[1].stale && block.member[2].stale && block.member[3].stale);
	check_block(&block, gzip_update(gzip, &block, next, BYTES), next, BYTES);
	gzip_replace(&block, next, BYTES, next, 100); /* shorter */
	CHECK_EQ(block.members, 1);
	check_block(&block, gzip_update(gzip, &block, next, 100), next, 100);
	gzip_free(&block);
	gzip_destroy(gzip);
	free(data);
	free(next);
}

TEST(gzip_update_makes_anew_only_what_is_stale)
{
	struct gzip *gzip = gzip_create();
	struct gzip_block block = { 0 };
	char *data = make_data();

	gzip_update(gzip, &block, data, BYTES);
	data[10] = 'X';					    /* not told */
	memcpy(data + 2 * GZIP_CHUNK_BYTES - 2, "1234", 4); /* in two chunks */
	gzip_stale(&block, 2 * GZIP_CHUNK_BYTES - 2, 2 * GZIP_CHUNK_BYTES + 2);
	CHECK(!block.member[0].stale);
	CHECK(!block.member[3].stale);
	size_t total = gzip_update(gzip, &block, data, BYTES);
	data[10] = 'a' + 10;
	check_block(&block, total, data, BYTES);
	gzip_free(&block);
	gzip_destroy(gzip);
	free(data);
}
