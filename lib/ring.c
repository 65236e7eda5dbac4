/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.c - single producer, single consumer, free-running 64-bit indices
 *
 *   producer (ring.h, here)              consumer (reader.c)
 *   A load_acquire(tail)   refresh       C load_acquire(head)   kvtap_reader_fetch
 *     write slot                           copy slot
 *   B store_release(head)  publish       D store_release(tail)  kvtap_reader_give_back
 *
 *   B -> C  publish (message passing): who sees the head sees the slots before it
 *   D -> A  reuse   (message passing): who sees the tail may overwrite what was copied
 *
 *   E store_release(reserved)  kvtap_ring_leave      F load_acquire(reserved), G load_acquire(head)
 *                                                      kvtap_ring_attach
 *   E -> F, B -> G  succession (message passing): who takes over an ended thread's ring sees what
 *                   its last call did, by whichever of the two stores that call ended with
 *
 * A producer that dies between "write slot" and B leaves a slot that nobody looks at.
 */
#include "ring.h"

#include <errno.h>
#include <sys/mman.h>

struct kvtap_ring *kvtap_ring_create(struct kvtap *tap)
{
	struct kvtap_ring *ring = mmap(NULL, KVTAP_RING_MAPPED, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (ring == MAP_FAILED)
		return NULL;
	if (madvise(ring, KVTAP_RING_OWN, MADV_WIPEONFORK) < 0) {
		int error = errno == EINVAL ? ENOSYS : errno;

		munmap(ring, KVTAP_RING_MAPPED);
		errno = error;
		return NULL;
	}
	kvtap_ring_own(ring)->tap = tap;
	return ring;
}

void kvtap_ring_destroy(struct kvtap_ring *ring)
{
	munmap(ring, KVTAP_RING_MAPPED);
}

void kvtap_ring_attach(struct kvtap_ring *ring, struct kvtap_ring_header *shared,
		       const struct kvtap_tail *tail, uint32_t slots, uint32_t arena_bytes)
{
	uint64_t head = kvtap_load_acquire(&shared->head); /* G, pairs with B */

	kvtap_load_acquire(&ring->reserved); /* F, pairs with E */
	ring->shared = shared;
	ring->tail = tail;
	ring->mask = slots - 1;
	ring->arena_bytes = arena_bytes;
	ring->records = (struct kvtap_record *)((uint8_t *)shared + KVTAP_RING_RECORDS);
	ring->arena = (uint8_t *)(ring->records + slots);
	kvtap_store_relaxed(&ring->reserved, head); /* own index */
	ring->limit = head;			    /* the first record looks at the tail */
}

/* Subtraction form throughout: a tail that is ahead of head or behind the last one is ignored. */
bool kvtap_ring_refresh(struct kvtap_ring *ring)
{
	uint64_t slots = ring->mask + 1;
	uint64_t head = kvtap_ring_head(ring);
	uint64_t tail = kvtap_load_acquire(&ring->tail->tail); /* A, pairs with D */

	if (head - tail <= slots)
		ring->limit = tail + slots;
	return head != ring->limit;
}

/* Handlers nest but never run beside each other, so a claimed place is filled before anyone looks. */
bool kvtap_ring_park(struct kvtap_ring *ring, const struct kvtap_record *record)
{
	uint32_t place = kvtap_add_relaxed(&ring->parked, 1); /* own index */

	if (place >= KVTAP_PARKED_MAX)
		return false;
	ring->parked_record[place] = *record;
	return true;
}
