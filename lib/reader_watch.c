/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_watch.c - whether a worker has done something since a reader last took all there was
 *
 * A few words of each ring and of the header tell it, at the cost of loading them: no lock, no system
 * call, and no part of the reader's own state, so any thread may ask.
 *
 *   other thread                    worker
 *   w load_acquire(word)            B store_release(head, or a slot's), and the like of the others
 *   The word alone is the answer; what it announces is read later, by the reader's own acquires.
 *
 * The reader itself asks the same of all rings of a worker before each pass. Most are silent, so what
 * this costs is what an idle worker costs: one guard around all loads, which wait for memory together.
 */
#include "reader.h"

#include "atomic.h"
#include "guard.h"

struct list {
	struct kvtap_watch *watch;
	size_t room, count;
};

static void add(struct list *list, const _Atomic(uint64_t) *word, uint64_t taken)
{
	if (list->count < list->room)
		list->watch[list->count] = (struct kvtap_watch){ word, taken };
	list->count++;
}

/* Of a device ring, the next slot: what stands there, unless that is a record, which was not taken. */
static void add_slot(struct list *list, const struct kvtap_reader *reader, uint32_t ring)
{
	uint64_t next = reader->ring[ring].tail, now;
	const _Atomic(uint64_t) *head = kvtap_reader_slot_head(reader, ring, next);

	if (!kvtap_guard_load64(head, &now) || kvtap_reader_is_there(now, next)) /* w */
		now = ~now;
	add(list, head, now);
}

size_t kvtap_reader_watch(const struct kvtap_reader *reader, struct kvtap_watch *watch, size_t room)
{
	const struct kvtap_segment_header *live = kvtap_reader_live(reader);
	struct list list = { watch, room, 0 };

	/* with ring_count in the upper half, as the layout has it; it is little-endian */
	add(&list, (const _Atomic(uint64_t) *)&live->state,
	    KVTAP_SEGMENT_READY | (uint64_t)reader->rings << 32);
	add(&list, &live->dictionary_used, reader->dictionary.parsed);
	add(&list, &live->lost_records, reader->ringless_lost);
	for (uint32_t i = 0; i < reader->rings; i++) {
		const struct kvtap_ring_header *ring = kvtap_reader_ring_at(reader, i);

		if (reader->ring[i].device)
			add_slot(&list, reader, i);
		else
			add(&list, &ring->head, reader->ring[i].tail);
		add(&list, &ring->fold_sequence, reader->ring[i].folds_read);
		add(&list, &ring->lost_records, reader->ring[i].lost);
		add(&list, &ring->refused_records, reader->ring[i].refused);
	}
	return list.count;
}

struct look {
	const struct kvtap_watch *watch;
	size_t count;
	bool quiet;
};

static void look_at_words(void *arg)
{
	struct look *look = arg;
	bool quiet = true;

	for (size_t i = 0; i < look->count && quiet; i++) /* w */
		quiet = kvtap_load_acquire(look->watch[i].word) == look->watch[i].taken;
	look->quiet = quiet;
}

bool kvtap_watch_quiet(const struct kvtap_watch *watch, size_t count)
{
	struct look look = { .watch = watch, .count = count };

	return kvtap_guard_run(look_at_words, &look) && look.quiet;
}

struct look_at_worker {
	const struct kvtap_reader *reader;
	bool quiet;
};

static bool slot_quiet(const struct kvtap_reader *reader, uint32_t ring)
{
	uint64_t next = reader->ring[ring].tail;
	const _Atomic(uint64_t) *head = kvtap_reader_slot_head(reader, ring, next);

	return !kvtap_reader_is_there(kvtap_load_acquire(head), next); /* w */
}

static bool ring_quiet(const struct kvtap_ring_header *ring, const struct kvtap_reader_ring *own)
{
	/* w; no branch between them, so that none waits for another */
	uint64_t moved = own->device ? 0 : kvtap_load_acquire(&ring->head) ^ own->tail;

	moved |= kvtap_load_acquire(&ring->fold_sequence) ^ own->folds_read;
	moved |= kvtap_load_acquire(&ring->lost_records) ^ own->lost;
	moved |= kvtap_load_acquire(&ring->refused_records) ^ own->refused;
	return !moved;
}

static void look_at_worker(void *arg)
{
	struct look_at_worker *look = arg;
	const struct kvtap_reader *reader = look->reader;
	const struct kvtap_segment_header *live = kvtap_reader_live(reader);
	/* w */
	bool quiet = kvtap_load_acquire(&live->ring_count) == reader->rings &&
		     kvtap_load_acquire(&live->dictionary_used) == reader->dictionary.parsed &&
		     kvtap_load_acquire(&live->lost_records) == reader->ringless_lost;

	for (uint32_t i = 0; i < reader->rings && quiet; i++)
		quiet = ring_quiet(kvtap_reader_ring_at(reader, i), &reader->ring[i]) &&
			(!reader->ring[i].device || slot_quiet(reader, i));
	look->quiet = quiet;
}

bool kvtap_reader_quiet(const struct kvtap_reader *reader)
{
	struct look_at_worker look = { .reader = reader };

	return kvtap_guard_run(look_at_worker, &look) && look.quiet;
}
