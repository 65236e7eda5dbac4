/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_watch.c - whether a worker has done something since a reader last took all there was
 *
 * A few words of each ring and of the header tell it, at the cost of loading them: no lock, no system
 * call, and no part of the reader's own state, so any thread may ask.
 *
 *   other thread                    worker
 *   w load_acquire(word)            B store_release(head), and the like of the other words
 *   The word alone is the answer; what it announces is read later, by the reader's own acquires.
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

		add(&list, &ring->head, reader->ring[i].tail);
		add(&list, &ring->fold_sequence, reader->ring[i].folds_read);
		add(&list, &ring->lost_records, reader->ring[i].lost);
		add(&list, &ring->refused_records, reader->ring[i].refused);
	}
	return list.count;
}

bool kvtap_watch_quiet(const struct kvtap_watch *watch, size_t count)
{
	uint64_t now;

	for (size_t i = 0; i < count; i++)
		if (!kvtap_guard_load64(watch[i].word, &now) || now != watch[i].taken) /* w */
			return false;
	return true;
}
