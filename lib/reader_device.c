/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_device.c - how far a ring is filled that a GPU writes
 *
 *   reader                                         GPU, kvtap_device.cuh
 *   C load_acquire(slot's head)  device_head       B store_release(slot's head)
 *
 * Slots are taken in order, so that a record waits for those that were claimed before it and are still
 * being written. The bytes are anybody's: at worst a slot that is none is taken for a record, which the
 * caller's checks are for.
 */
#include "atomic.h"
#include "guard.h"
#include "reader.h"

struct look {
	const struct kvtap_reader *reader;
	uint32_t ring;
	uint64_t from, to; /* indices; to is moved to the end of the records */
};

static bool is_there(const struct look *look, uint64_t index)
{
	const _Atomic(uint64_t) *head = kvtap_reader_slot_head(look->reader, look->ring, index);

	return kvtap_reader_is_there(kvtap_load_acquire(head), index); /* C, pairs with B */
}

static void look_ahead(void *arg)
{
	struct look *look = arg;
	uint64_t index = look->from;

	while (index != look->to && is_there(look, index))
		index++;
	look->to = index;
}

static void look_back(void *arg)
{
	struct look *look = arg;
	uint64_t index = look->to;

	while (index != look->from && !is_there(look, index - 1))
		index--;
	look->to = index;
}

/*
 * Once nothing is written any more, a slot that is not there is one whose writer was killed, and no
 * reason to leave those behind it: all up to the last one are taken, and what is missing between them
 * is refused by its sequence.
 */
bool kvtap_reader_device_head(struct kvtap_reader *reader, uint32_t ring, uint64_t *head)
{
	struct kvtap_reader_ring *own = &reader->ring[ring];
	uint64_t slots = reader->header.ring_slots;
	struct look look = { .reader = reader, .ring = ring };

	if (own->seen - own->tail > slots) /* resumed elsewhere */
		own->seen = own->tail;
	look.from = own->seen;
	look.to = own->tail + slots;
	if (!kvtap_guard_run(reader->retired ? look_back : look_ahead, &look))
		return false;
	*head = own->seen = look.to;
	return true;
}
