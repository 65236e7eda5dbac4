/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.c - how far each worker's rings, overflow blocks and losses are in the totals
 *
 * An item for the worker, one for each of its rings and one for each overflow block, made when there
 * is first something to say of it, so that a note costs as many bytes as it changes. What an item
 * holds is given to the reader as it is: a reader checks what it is resumed with.
 */
#include "progress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITEM_WORKER = PROGRESS_ITEMS, ITEM_RING, ITEM_BLOCK };

#define NAME_BYTES 200

struct worker_fixed {
	uint8_t uuid[16];
	char name[NAME_BYTES]; /* of the segment; NUL-terminated */
};

struct worker_value {
	uint64_t ended;
	struct kvtap_losses told;
};

struct part_fixed { /* of a ring, or of a block of it */
	uint64_t worker;
	uint32_t ring, offset;
};

struct progress {
	struct progress_set *set;
	struct progress *next;
	struct worker_fixed worker;
	struct worker_value value;
	struct kvtap_reader *reader; /* NULL: nobody reads it */
	uint64_t item;		     /* 0: not kept */
	uint32_t rings;
	uint32_t blocks;  /* that a ring's arena has room for, by their offsets */
	uint64_t *ring;	  /* [rings] items, 0: none yet */
	uint64_t **block; /* [rings] NULL, or [blocks] items */
	/* as restored, until it is read or forgotten */
	uint64_t *part; /* [parts] items of rings and blocks */
	uint32_t parts, part_room;
};

static uint64_t add(struct progress_set *set, uint8_t type, const void *fixed, uint32_t fixed_bytes,
		    uint32_t bytes)
{
	uint64_t item = set->state ? state_add(set->state, type, fixed, fixed_bytes, bytes) : 0;

	set->failed += !item;
	return item;
}

static void write_value(struct progress_set *set, uint64_t item, const void *value, size_t bytes)
{
	memcpy(state_value(set->state, item), value, bytes);
	state_end(set->state, item, (uint32_t)bytes);
}

static void free_parts(struct progress *progress)
{
	for (uint32_t i = 0; progress->block && i < progress->rings; i++)
		free(progress->block[i]);
	free(progress->block);
	free(progress->ring);
	progress->block = NULL;
	progress->ring = NULL;
}

static void unlist(struct progress *progress)
{
	struct progress **at = &progress->set->first;

	while (*at != progress)
		at = &(*at)->next;
	*at = progress->next;
	free_parts(progress);
	free(progress->part);
	free(progress);
}

static struct progress *list(struct progress_set *set)
{
	struct progress *progress = calloc(1, sizeof(*progress));

	if (!progress)
		return NULL;
	progress->set = set;
	progress->next = set->first;
	set->first = progress;
	return progress;
}

void progress_free(struct progress_set *set)
{
	while (set->first)
		unlist(set->first);
}

static void write_worker(struct progress *progress)
{
	if (progress->item)
		write_value(progress->set, progress->item, &progress->value,
			    sizeof(progress->value));
}

static void make_item(struct progress *progress)
{
	progress->item = add(progress->set, ITEM_WORKER, &progress->worker,
			     sizeof(progress->worker), sizeof(progress->value));
	write_worker(progress);
}

/* What was taken of it before is not known there; nor has the new folder a segment of it. */
static void begin_anew(struct progress *progress)
{
	memset(progress->ring, 0, progress->rings * sizeof(uint64_t));
	for (uint32_t i = 0; i < progress->rings; i++) {
		free(progress->block[i]);
		progress->block[i] = NULL;
	}
	make_item(progress);
}

void progress_move(struct progress_set *set, struct state *state)
{
	set->state = state;
	for (struct progress *progress = set->first, *next; progress; progress = next) {
		next = progress->next;
		if (progress->reader)
			begin_anew(progress);
		else
			unlist(progress);
	}
}

/* ---- restoring ---------------------------------------------------------------------------- */

static bool name_valid(const struct worker_fixed *worker)
{
	return memchr(worker->name, '\0', NAME_BYTES) && worker->name[0] != '.' &&
	       !strchr(worker->name, '/');
}

static bool restore_worker(struct progress_set *set, const struct state_item *item)
{
	const struct worker_fixed *worker = item->fixed;

	if (item->fixed_bytes != sizeof(*worker) || item->bytes != sizeof(struct worker_value) ||
	    item->room != item->bytes || !item->value || !name_valid(worker))
		return false;
	struct progress *progress = list(set);
	if (!progress)
		return false;
	progress->worker = *worker;
	progress->item = item->item;
	memcpy(&progress->value, item->value, sizeof(progress->value));
	return true;
}

static struct progress *find_item(const struct progress_set *set, uint64_t worker)
{
	for (struct progress *progress = set->first; progress; progress = progress->next)
		if (progress->item == worker)
			return progress;
	return NULL;
}

bool progress_knows(const struct progress_set *set, const uint8_t uuid[16])
{
	for (const struct progress *progress = set->first; progress; progress = progress->next)
		if (!memcmp(progress->worker.uuid, uuid, 16))
			return true;
	return false;
}

static bool add_part(struct progress *progress, uint64_t item)
{
	if (progress->parts == progress->part_room) {
		uint32_t room = progress->part_room ? progress->part_room * 2 : 8;
		uint64_t *grown = realloc(progress->part, room * sizeof(*grown));

		if (!grown)
			return false;
		progress->part = grown;
		progress->part_room = room;
	}
	progress->part[progress->parts++] = item;
	return true;
}

static bool restore_part(const struct progress_set *set, const struct state_item *item)
{
	const struct part_fixed *part = item->fixed;

	if (item->fixed_bytes != sizeof(*part) || item->bytes % 8 || !item->value ||
	    item->bytes != item->room || (item->type == ITEM_RING && item->bytes != 8))
		return false;
	struct progress *progress = find_item(set, part->worker);
	return progress && add_part(progress, item->item);
}

bool progress_is_worker(const struct state_item *item)
{
	return item->type == ITEM_WORKER;
}

bool progress_restore(struct progress_set *set, const struct state_item *item)
{
	switch (item->type) {
	case ITEM_WORKER:
		return restore_worker(set, item);
	case ITEM_RING:
	case ITEM_BLOCK:
		return restore_part(set, item);
	}
	return false;
}

/* ---- a worker ----------------------------------------------------------------------------- */

static uint64_t *block_place(struct progress *progress, uint32_t ring, uint32_t offset)
{
	uint32_t index = offset / KVTAP_BLOCK_ALIGN;

	if (!progress->block[ring])
		progress->block[ring] = calloc(progress->blocks, sizeof(uint64_t));
	return progress->block[ring] && index < progress->blocks ? &progress->block[ring][index]
								 : NULL;
}

static void resume_part(struct progress *progress, const struct state_item *item)
{
	const struct part_fixed *part = item->fixed;
	uint64_t *place = NULL;

	if (part->ring >= progress->rings)
		return;
	if (item->type == ITEM_RING) {
		uint64_t position;

		memcpy(&position, item->value, sizeof(position));
		kvtap_reader_resume(progress->reader, part->ring, position);
		kvtap_reader_give_back(progress->reader, part->ring);
		place = &progress->ring[part->ring];
	} else if (kvtap_reader_resume_block(progress->reader, part->ring, part->offset,
					     item->value, item->bytes / 8)) {
		place = block_place(progress, part->ring, part->offset);
	}
	if (place)
		*place = item->item;
}

/* After this its places are all that is known of its parts. */
static void resume(struct progress *progress)
{
	kvtap_reader_resume_losses(progress->reader, &progress->value.told);
	for (uint32_t i = 0; i < progress->parts; i++) {
		struct state_item item = { .item = progress->part[i] };

		state_get(progress->set->state, &item);
		resume_part(progress, &item);
	}
	free(progress->part);
	progress->part = NULL;
	progress->parts = progress->part_room = 0;
}

static struct progress *find(struct progress_set *set, const char *name, const uint8_t uuid[16])
{
	for (struct progress *progress = set->first; progress; progress = progress->next)
		if (!progress->reader && !strcmp(progress->worker.name, name) &&
		    !memcmp(progress->worker.uuid, uuid, 16))
			return progress;
	return NULL;
}

static struct progress *create(struct progress_set *set, const char *name, const uint8_t uuid[16])
{
	struct progress *progress = strlen(name) < NAME_BYTES ? list(set) : NULL;

	if (!progress)
		return NULL;
	strcpy(progress->worker.name, name);
	memcpy(progress->worker.uuid, uuid, 16);
	make_item(progress);
	return progress;
}

struct progress *progress_begin(struct progress_set *set, const char *name,
				struct kvtap_reader *reader, bool *ended)
{
	const struct kvtap_identity *identity = kvtap_reader_identity(reader);
	struct progress *progress = find(set, name, identity->uuid);
	bool before = progress;

	if (!before)
		progress = create(set, name, identity->uuid);
	if (!progress)
		return NULL;
	progress->rings = identity->ring_max;
	progress->blocks = identity->overflow_bytes / KVTAP_BLOCK_ALIGN;
	progress->ring = calloc(progress->rings, sizeof(uint64_t));
	progress->block = calloc(progress->rings, sizeof(uint64_t *));
	if (!progress->ring || !progress->block) {
		free_parts(progress);
		return NULL;
	}
	progress->reader = reader;
	*ended = progress->value.ended;
	if (before && progress->item)
		resume(progress);
	return progress;
}

/* ---- notes -------------------------------------------------------------------------------- */

/* The item at a place, made if there is none. */
static int make_room(struct progress *progress, uint64_t *place, uint8_t type, uint32_t ring,
		     uint32_t offset, uint32_t words)
{
	struct progress_set *set = progress->set;

	if (!set->state)
		return 0; /* nothing is kept */
	if (!progress->item)
		make_item(progress);
	struct part_fixed part = { progress->item, ring, offset };
	if (progress->item && place && !*place)
		*place = add(set, type, &part, sizeof(part), words * 8);
	if (!progress->item || !place || !*place)
		return -ENOSPC;
	return state_room(set->state, *place) == words * 8 ? 0 : -EPROTO;
}

int progress_room_ring(struct progress *progress, uint32_t ring)
{
	return make_room(progress, &progress->ring[ring], ITEM_RING, ring, 0, 1);
}

int progress_room_block(struct progress *progress, const struct kvtap_block_view *block)
{
	return make_room(progress, block_place(progress, block->ring, block->offset), ITEM_BLOCK,
			 block->ring, block->offset, block->words);
}

void progress_ring(struct progress *progress, uint32_t ring)
{
	uint64_t position = kvtap_reader_position(progress->reader, ring);

	if (progress->ring[ring])
		write_value(progress->set, progress->ring[ring], &position, sizeof(position));
}

void progress_block(struct progress *progress, const struct kvtap_block_view *block)
{
	const uint64_t *place = block_place(progress, block->ring, block->offset);

	if (place && *place)
		write_value(progress->set, *place, block->now, block->words * sizeof(*block->now));
}

void progress_losses(struct progress *progress)
{
	progress->value.told = kvtap_reader_told(progress->reader);
	write_worker(progress);
}

void progress_end(struct progress *progress)
{
	progress->value.ended = 1;
	write_worker(progress);
}

static void remove_part(struct state *state, uint64_t item)
{
	if (item)
		state_remove(state, item);
}

static void remove_parts(struct progress *progress)
{
	struct state *state = progress->set->state;

	for (uint32_t i = 0; i < progress->parts; i++)
		state_remove(state, progress->part[i]);
	for (uint32_t ring = 0; progress->ring && ring < progress->rings; ring++) {
		remove_part(state, progress->ring[ring]);
		for (uint32_t i = 0; progress->block[ring] && i < progress->blocks; i++)
			remove_part(state, progress->block[ring][i]);
	}
}

void progress_forget(struct progress *progress)
{
	if (progress->item) {
		remove_parts(progress);
		state_remove(progress->set->state, progress->item);
	}
	unlist(progress);
}

/* What was in a place is a part again, for whoever reads it next. */
static void keep_part(struct progress *progress, uint64_t item)
{
	if (item && !add_part(progress, item))
		progress->set->failed++;
}

void progress_close(struct progress *progress)
{
	for (uint32_t ring = 0; progress->item && ring < progress->rings; ring++) {
		keep_part(progress, progress->ring[ring]);
		for (uint32_t i = 0; progress->block[ring] && i < progress->blocks; i++)
			keep_part(progress, progress->block[ring][i]);
	}
	free_parts(progress);
	progress->reader = NULL;
	if (!progress->item)
		unlist(progress);
}

void progress_sweep(struct progress_set *set, int folder,
		    void (*gone)(void *context, const uint8_t uuid[16]), void *context)
{
	for (struct progress *progress = set->first, *next; progress; progress = next) {
		next = progress->next;
		if (progress->reader ||
		    !faccessat(folder, progress->worker.name, F_OK, AT_SYMLINK_NOFOLLOW) ||
		    errno != ENOENT)
			continue;
		gone(context, progress->worker.uuid);
		progress_forget(progress);
	}
}
