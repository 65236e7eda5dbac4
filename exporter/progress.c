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
	    !item->value || !name_valid(worker))
		return false;
	struct progress *progress = list(set);
	if (!progress)
		return false;
	progress->worker = *worker;
	progress->item = item->item;
	memcpy(&progress->value, item->value, sizeof(progress->value));
	return true;
}

static bool known(const struct progress_set *set, uint64_t worker)
{
	for (const struct progress *progress = set->first; progress; progress = progress->next)
		if (progress->item == worker)
			return true;
	return false;
}

bool progress_knows(const struct progress_set *set, const uint8_t uuid[16])
{
	for (const struct progress *progress = set->first; progress; progress = progress->next)
		if (!memcmp(progress->worker.uuid, uuid, 16))
			return true;
	return false;
}

static bool restore_part(const struct progress_set *set, const struct state_item *item)
{
	const struct part_fixed *part = item->fixed;

	return item->fixed_bytes == sizeof(*part) && item->bytes % 8 == 0 && item->value &&
	       (item->type == ITEM_BLOCK || item->bytes == 8) && known(set, part->worker);
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

static bool is_part(const struct state_item *item, const struct progress *progress)
{
	return (item->type == ITEM_RING || item->type == ITEM_BLOCK) &&
	       ((const struct part_fixed *)item->fixed)->worker == progress->item;
}

static void resume(struct progress *progress)
{
	struct state_item item = { 0 };

	kvtap_reader_resume_losses(progress->reader, &progress->value.told);
	while (state_next(progress->set->state, &item))
		if (is_part(&item, progress))
			resume_part(progress, &item);
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

static void note(struct progress *progress, uint64_t *place, uint8_t type, uint32_t ring,
		 uint32_t offset, const uint64_t *words, uint32_t count)
{
	struct part_fixed part = { progress->item, ring, offset };

	if (place && !*place)
		*place = add(progress->set, type, &part, sizeof(part), count * 8);
	if (place && *place)
		write_value(progress->set, *place, words, count * sizeof(*words));
	progress->set->failed += !place;
}

void progress_ring(struct progress *progress, uint32_t ring)
{
	uint64_t position = kvtap_reader_position(progress->reader, ring);

	if (progress->item)
		note(progress, &progress->ring[ring], ITEM_RING, ring, 0, &position, 1);
}

void progress_block(struct progress *progress, const struct kvtap_block_view *block)
{
	if (progress->item)
		note(progress, block_place(progress, block->ring, block->offset), ITEM_BLOCK,
		     block->ring, block->offset, block->now, block->words);
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

/* Of a worker that is read; of another one they are found by their type. */
static void remove_parts(struct progress *progress)
{
	struct state *state = progress->set->state;

	for (uint32_t ring = 0; ring < progress->rings; ring++) {
		remove_part(state, progress->ring[ring]);
		for (uint32_t i = 0; progress->block[ring] && i < progress->blocks; i++)
			remove_part(state, progress->block[ring][i]);
	}
}

static void find_and_remove_parts(struct progress *progress)
{
	struct state_item item = { 0 };

	while (state_next(progress->set->state, &item))
		if (is_part(&item, progress))
			state_remove(progress->set->state, item.item);
}

void progress_forget(struct progress *progress)
{
	if (progress->item) {
		if (progress->reader)
			remove_parts(progress);
		else
			find_and_remove_parts(progress);
		state_remove(progress->set->state, progress->item);
	}
	unlist(progress);
}

void progress_close(struct progress *progress)
{
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
