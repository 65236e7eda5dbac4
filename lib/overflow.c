/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overflow.c - the producer's side of overflow blocks; the reader's is reader_overflow.c
 *
 *   producer                                reader
 *     A store_release(redo...)                E load_acquire(sequence)
 *     B store_release(sequence, odd)            copy block, and redo if odd
 *     C store_release(word...)                F load_acquire(word, redo)
 *     D store_release(sequence, even)         G load_relaxed(sequence): unchanged?
 *
 * A seqlock whose writer may stop for ever in the middle. Even: the block is whole, the redo means
 * nothing. Odd: the redo is whole (B -> E), and applying it to the copy gives the state after the
 * fold, however much of C has happened. All of A and C are releases so that a reader that sees one
 * also sees the sequence before it (C -> F: odd; A -> F: the even before), which G then notices.
 * overflow_used: H store_release after the block's head, pairs with the reader's load_acquire.
 */
#include "overflow.h"

#include <string.h>

#include "plan.h"

static struct kvtap_block *block_at(struct kvtap_ring *ring, uint32_t offset)
{
	return (struct kvtap_block *)(ring->arena + offset);
}

void kvtap_overflow_lose(struct kvtap_ring *ring, const struct kvtap_record *record)
{
	kvtap_add_relaxed(&ring->shared->lost_records, 1); /* statistic */
	if ((record->op & ~KVTAP_OP_OVERLAPPED) == KVTAP_OP_TRANSFER)
		kvtap_add_relaxed(&ring->shared->lost_bytes, record->bytes); /* statistic */
}

void kvtap_overflow_refuse(struct kvtap_ring *ring)
{
	kvtap_add_relaxed(&ring->shared->refused_records, 1); /* statistic */
}

/* The arena is zero where no block has been: it was allocated so, and blocks are never given back. */
static struct kvtap_block *find_block(struct kvtap_ring *ring, const struct kvtap_plan *plan,
				      uint32_t series)
{
	uint32_t *offset = &kvtap_ring_blocks(ring)[series];
	uint32_t used = kvtap_load_relaxed(&ring->shared->overflow_used); /* own index */
	uint32_t bytes = kvtap_block_bytes(plan->words);
	struct kvtap_block *block;

	if (*offset)
		return block_at(ring, *offset - 1);
	if (bytes > ring->arena_bytes - used)
		return NULL;
	block = block_at(ring, used);
	block->series = series;
	block->words = plan->words;
	kvtap_store_release(&ring->shared->overflow_used, used + bytes); /* H */
	*offset = used + 1;
	return block;
}

/* Each returns the place of the next entry, which so stays in a register. */
static inline struct kvtap_redo_entry *redo(struct kvtap_redo_entry *entry, uint32_t word,
					    uint64_t value)
{
	kvtap_store_release(&entry->word, word);   /* A, pairs with F */
	kvtap_store_release(&entry->value, value); /* A, pairs with F */
	return entry + 1;
}

static inline uint64_t old_word(const struct kvtap_block *block, uint32_t word)
{
	return kvtap_load_relaxed(&block->word[word]); /* own index */
}

static inline struct kvtap_sum old_sum(const struct kvtap_block *block,
				       const struct kvtap_cell *cell)
{
	uint32_t word = cell->word;

	return (struct kvtap_sum){ { old_word(block, word), old_word(block, word + 1) } };
}

static inline struct kvtap_redo_entry *redo_bucket(struct kvtap_redo_entry *entry,
						   const struct kvtap_block *block,
						   const struct kvtap_cell *cell, uint32_t bucket)
{
	uint32_t word = cell->word + 2 + bucket;

	return redo(entry, word, old_word(block, word) + 1);
}

static inline struct kvtap_redo_entry *redo_field(struct kvtap_redo_entry *entry,
						  const struct kvtap_block *block,
						  const struct kvtap_cell *cell,
						  const struct kvtap_record *record)
{
	struct kvtap_sum sum = old_sum(block, cell);
	uint64_t value = kvtap_plan_field(record, cell->field);
	uint64_t high = sum.word[1];

	kvtap_plan_sum(&sum, value);
	entry = redo(entry, cell->word, sum.word[0]);
	if (kvtap_unlikely(sum.word[1] != high))
		entry = redo(entry, cell->word + 1, sum.word[1]);
	if (cell->metric == KVTAP_HISTOGRAM)
		entry = redo_bucket(entry, block, cell, kvtap_plan_bucket(cell, value));
	return entry;
}

static struct kvtap_redo_entry *redo_double(struct kvtap_redo_entry *entry,
					    const struct kvtap_block *block,
					    const struct kvtap_cell *cell,
					    const struct kvtap_record *record)
{
	struct kvtap_sum sum = old_sum(block, cell);

	if (cell->metric == KVTAP_GAUGE) {
		memcpy(&sum.word[0], &record->value, 8);
		sum.word[1] = record->end_ns;
	} else {
		kvtap_sum_add_double(&sum, record->value);
	}
	entry = redo(entry, cell->word, sum.word[0]);
	entry = redo(entry, cell->word + 1, sum.word[1]);
	if (cell->metric == KVTAP_HISTOGRAM)
		entry = redo_bucket(entry, block, cell,
				    kvtap_cell_bucket_double(cell, record->value));
	return entry;
}

static void apply(struct kvtap_ring_header *shared, struct kvtap_block *block, uint32_t entries)
{
	for (uint32_t i = 0; i < entries; i++) {
		const struct kvtap_redo_entry *entry = &shared->redo[i];

		kvtap_store_release(&block->word[kvtap_load_relaxed(&entry->word)],
				    kvtap_load_relaxed(&entry->value)); /* C, pairs with F */
	}
}

void kvtap_overflow_fold(struct kvtap_ring *ring, const struct kvtap_plan *plan,
			 const struct kvtap_record *record)
{
	struct kvtap_ring_header *shared = ring->shared;
	uint64_t sequence = kvtap_load_relaxed(&shared->fold_sequence); /* own index */
	struct kvtap_redo_entry *entry = shared->redo;
	struct kvtap_block *block;
	uint32_t entries;

	if (!plan || plan->op != (record->op & ~KVTAP_OP_OVERLAPPED)) {
		kvtap_overflow_refuse(ring);
		return;
	}
	block = find_block(ring, plan, record->series);
	if (!block) {
		kvtap_overflow_lose(ring, record);
		return;
	}
	entry = redo(entry, 0, old_word(block, 0) + 1);
	for (const struct kvtap_cell *cell = plan->cell, *end = cell + plan->cells; cell < end;
	     cell++) {
		if (!cell->field)
			entry = redo_double(entry, block, cell, record);
		else if (kvtap_plan_takes(cell, record->status))
			entry = redo_field(entry, block, cell, record);
	}
	entries = (uint32_t)(entry - shared->redo);
	kvtap_store_release(&shared->redo_block, (uint32_t)((uint8_t *)block - ring->arena));
	kvtap_store_release(&shared->redo_count, entries);	   /* A, pairs with F */
	kvtap_store_release(&shared->fold_sequence, sequence + 1); /* B, pairs with E */
	apply(shared, block, entries);
	kvtap_store_release(&shared->fold_sequence, sequence + 2); /* D, pairs with E */
}

void kvtap_overflow_recover(struct kvtap_ring *ring)
{
	struct kvtap_ring_header *shared = ring->shared;
	uint64_t sequence = kvtap_load_relaxed(&shared->fold_sequence); /* own index */
	uint32_t used = kvtap_load_relaxed(&shared->overflow_used);	/* own index */

	for (uint32_t offset = 0; offset < used;) {
		const struct kvtap_block *block = block_at(ring, offset);

		kvtap_ring_blocks(ring)[block->series] = offset + 1;
		offset += kvtap_block_bytes(block->words);
	}
	if (sequence % 2 == 0)
		return;
	apply(shared, block_at(ring, kvtap_load_relaxed(&shared->redo_block)), /* own index */
	      kvtap_load_relaxed(&shared->redo_count));			       /* own index */
	kvtap_store_release(&shared->fold_sequence, sequence + 1);	       /* D, pairs with E */
}
