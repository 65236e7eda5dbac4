/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e2e_hotpath.c - make so many records in one way, for bench/hotpath.sh to count instructions
 *
 *	e2e_hotpath CASE RECORDS
 *
 * Nobody reads: the ring has room for all, or, to see folds, for almost none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvtap.h"

#define SLOTS (1u << 15)
#define BATCH 32

static struct kvtap *tap;
static struct kvtap_ring *ring;
static struct kvtap_transfer transfer[BATCH]; /* filled once: the counts are the library's alone */

static void by_handle(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		kvtap_ring_transfer(ring, transfer);
}

static void by_thread(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		kvtap_transfer(tap, transfer);
}

static void by_batch(uint32_t count)
{
	for (uint32_t i = 0; i < count; i += BATCH)
		kvtap_ring_transfers(ring, transfer, BATCH);
}

static const struct way {
	const char *name;
	void (*record)(uint32_t count);
	const char *kind;
	uint32_t slots;
	const char *disable;
} ways[] = {
	{ "handle", by_handle, KVTAP_OFFLOAD_LOAD, SLOTS, "0" },
	{ "thread_found", by_thread, KVTAP_OFFLOAD_LOAD, SLOTS, "0" },
	{ "batch_32", by_batch, KVTAP_OFFLOAD_LOAD, SLOTS, "0" },
	{ "disabled", by_thread, KVTAP_OFFLOAD_LOAD, SLOTS, "1" },
	{ "fold_offload", by_handle, KVTAP_OFFLOAD_LOAD, 16, "0" },
	{ "fold_nixl", by_handle, KVTAP_NIXL_TRANSFER, 16, "0" },
};

static int run(const struct way *way, uint32_t count)
{
	const char *dir = getenv("KVTAP_DIR");
	uint32_t series = 1;

	setenv("KVTAP_DISABLE", way->disable, 1);
	if (kvtap_open(&tap, &(struct kvtap_options){ .dir = dir, .ring_slots = way->slots }) < 0)
		return 1;
	ring = kvtap_ring(tap);
	kvtap_builtin(tap, &series, way->kind, NULL);
	for (int i = 0; i < BATCH; i++)
		transfer[i] = (struct kvtap_transfer){ .series = series ? series : 1,
						       .end_ns = 1,
						       .duration_ns = 1000000,
						       .bytes = 1 << 20,
						       .descriptors = 3 };
	way->record(1024); /* what happens once is done with */
	way->record(count);
	kvtap_close(tap);
	return 0;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 3 && i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strcmp(argv[1], ways[i].name) == 0)
			return run(&ways[i], (uint32_t)atoi(argv[2]));
	fprintf(stderr, "usage: e2e_hotpath CASE RECORDS\n");
	return 2;
}
