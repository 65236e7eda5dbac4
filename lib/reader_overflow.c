/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_overflow.c - the reader's side of overflow blocks; the protocol is in overflow.c
 *
 * A copy is good if the fold sequence was the same before and after it: even, the block is whole;
 * odd, a fold is under way (its thread may have been stopped or killed there), and its redo, which
 * is whole then, turns the copy into the state after it.
 */
#include "reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "atomic.h"
#include "guard.h"
#include "plan.h"

#define ATTEMPTS 16

struct place {
	const struct kvtap_ring_header *shared;
	const uint8_t *arena;
	const struct kvtap_block *block;
	uint32_t offset, words;
};

/* The redo entries of a fold that is under way in this block; false: SIGBUS or nonsense. */
static bool apply_redo(const struct place *place, uint64_t *words)
{
	uint32_t block, count;

	if (!kvtap_guard_load32(&place->shared->redo_block, &block) ||
	    !kvtap_guard_load32(&place->shared->redo_count, &count))
		return false;
	if (block != place->offset)
		return true;
	if (count > KVTAP_REDO_ENTRIES)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t word, value;

		if (!kvtap_guard_load64(&place->shared->redo[i].word, &word) ||
		    !kvtap_guard_load64(&place->shared->redo[i].value, &value) ||
		    word >= place->words)
			return false;
		words[word] = value;
	}
	return true;
}

/* 0, -EAGAIN, or -EPROTO: nonsense in a redo that did not change meanwhile */
static int copy_block(const struct place *place, uint64_t *words)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		uint64_t before, after;
		bool good;

		if (!kvtap_guard_load64(&place->shared->fold_sequence, &before) || /* E */
		    !kvtap_guard_words(words, place->block->word, place->words))   /* F */
			return -EPROTO;
		good = before % 2 == 0 || apply_redo(place, words);
		if (!kvtap_guard_load64(&place->shared->fold_sequence, &after)) /* G */
			return -EPROTO;
		if (before == after)
			return good ? 0 : -EPROTO;
	}
	return -EAGAIN;
}

static int allocate_applied(struct kvtap_reader *reader, struct kvtap_reader_ring *own)
{
	if (!own->applied)
		own->applied = calloc(1, reader->header.overflow_bytes + 8);
	return own->applied ? 0 : -ENOMEM;
}

/* The head of the block at an offset, checked against the arena and the series' plan. */
static int find_block(struct kvtap_reader *reader, enum kvtap_reject *why, struct place *place,
		      uint32_t used, uint32_t *series)
{
	struct {
		uint32_t series, words;
	} head;
	const struct kvtap_plan *plan;

	place->block = (const struct kvtap_block *)(place->arena + place->offset);
	if (used - place->offset < sizeof(head))
		return kvtap_reader_reject(why, KVTAP_REJECT_OVERFLOW);
	if (!kvtap_guard_copy(&head, place->block, sizeof(head)))
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	if (!kvtap_reader_plan(reader, head.series)) {
		int rc = kvtap_reader_refresh(reader, why);

		if (rc < 0)
			return rc;
	}
	plan = kvtap_reader_plan(reader, head.series);
	if (!plan || plan->words != head.words ||
	    kvtap_block_bytes(head.words) > used - place->offset)
		return kvtap_reader_reject(why, KVTAP_REJECT_OVERFLOW);
	place->words = head.words;
	*series = head.series;
	return 0;
}

int kvtap_reader_block(struct kvtap_reader *reader, enum kvtap_reject *why, uint32_t ring,
		       uint32_t *cursor, struct kvtap_block_view *block)
{
	const struct kvtap_ring_header *shared = kvtap_reader_ring_at(reader, ring);
	struct kvtap_reader_ring *own = &reader->ring[ring];
	struct place place = { .shared = shared, .offset = *cursor };
	uint32_t used, series;
	int rc;

	place.arena = (const uint8_t *)shared + KVTAP_RING_RECORDS +
		      (size_t)reader->header.ring_slots * sizeof(struct kvtap_record);
	if (*cursor == 0 && !kvtap_guard_load64(&shared->fold_sequence, &own->folds)) /* E */
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	if (*cursor == 0 && own->folds == own->folds_read)
		return 0;
	if (!kvtap_guard_load32(&shared->overflow_used, &used)) /* pairs with H in overflow.c */
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	if (used > reader->header.overflow_bytes || used % KVTAP_BLOCK_ALIGN || *cursor > used)
		return kvtap_reader_reject(why, KVTAP_REJECT_OVERFLOW);
	if (*cursor == used) {
		own->folds_read = own->folds;
		return 0;
	}
	rc = find_block(reader, why, &place, used, &series);
	if (rc < 0)
		return rc;
	rc = allocate_applied(reader, own);
	if (rc < 0)
		return rc;
	rc = copy_block(&place, reader->block);
	if (rc < 0)
		return rc == -EPROTO ? kvtap_reader_reject(why, KVTAP_REJECT_OVERFLOW) : rc;
	*block = (struct kvtap_block_view){ .series = series,
					    .words = place.words,
					    .ring = ring,
					    .offset = place.offset,
					    .now = reader->block,
					    .applied = own->applied + place.offset / 8 };
	*cursor += kvtap_block_bytes(place.words);
	return 1;
}

void kvtap_reader_block_take(struct kvtap_reader *reader, const struct kvtap_block_view *block)
{
	memcpy(reader->ring[block->ring].applied + block->offset / 8, block->now,
	       block->words * sizeof(*block->now));
}

bool kvtap_reader_resume_block(struct kvtap_reader *reader, uint32_t ring, uint32_t offset,
			       const uint64_t *applied, uint32_t words)
{
	uint64_t bytes = (uint64_t)words * sizeof(*applied), room = reader->header.overflow_bytes;

	if (ring >= reader->header.ring_max || offset % 8 || bytes > room ||
	    offset > room - bytes || allocate_applied(reader, &reader->ring[ring]))
		return false;
	memcpy(reader->ring[ring].applied + offset / 8, applied, bytes);
	return true;
}
