/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - the producer's side of a ring
 *
 * struct kvtap_ring is private memory of one thread, in a page that fork wipes: in a child all is
 * zero, reserved equals limit, and the slow path that this leads to finds that there is no ring yet.
 *
 * From the shared head to reserved are the slots that are being written. A call takes some by storing
 * reserved and looks at the head afterwards, so that each handler runs either before the store, and
 * then the head has moved on if it recorded, or sees that a record is under way, and parks its own:
 *   head == reserved  nothing is under way
 *   head <  reserved  a record is; the caller is a handler that interrupted it
 *   head >  reserved  nothing is; handlers recorded just before a store of reserved
 */
#ifndef KVTAP_RING_H
#define KVTAP_RING_H

#include <stdbool.h>

#include "atomic.h"
#include "kvtap.h"
#include "kvtap_layout.h"

#define KVTAP_PARKED_MAX 8

struct kvtap_ring {
	_Atomic(uint64_t) reserved; /* slots before it are written, or being written */
	uint64_t limit;		    /* reserved may go up to here: last seen tail + slots */
	uint64_t mask;
	struct kvtap_record *records;
	struct kvtap_ring_header *shared; /* NULL: no ring yet, or wiped by fork */
	_Atomic(uint32_t) parked;	  /* records that handlers left for the end of this one */
	bool unbound;			  /* no ring to be had: count and return */
	bool tsc;			  /* its clock */
	uint64_t now_ns;		  /* of the last record that read it */
	/* slow path */
	bool binding; /* a handler must not do it too */
	uint32_t arena_bytes;
	uint8_t *arena;
	const struct kvtap_tail *tail;
	struct kvtap_record parked_record[KVTAP_PARKED_MAX];
};

/*
 * Offsets from a struct kvtap_ring: a block index that fork wipes too, and what it must not wipe.
 * 64 KiB is the largest page of any Linux, so that MADV_WIPEONFORK takes one part without the other.
 */
#define KVTAP_RING_BLOCKS (64u << 10)
#define KVTAP_RING_OWN (KVTAP_RING_BLOCKS + 4 * (KVTAP_SERIES_MAX + (16u << 10)))
#define KVTAP_RING_MAPPED (KVTAP_RING_OWN + (64u << 10))

_Static_assert(KVTAP_RING_OWN % (64u << 10) == 0, "page boundary");

struct kvtap_ring_own { /* survives fork */
	struct kvtap *tap;
};

static inline struct kvtap_ring_own *kvtap_ring_own(struct kvtap_ring *ring)
{
	return (struct kvtap_ring_own *)((uint8_t *)ring + KVTAP_RING_OWN);
}

/* kvtap_ring_blocks - [KVTAP_SERIES_MAX + 1] offset + 1 of the overflow block of a series, 0: none */
static inline uint32_t *kvtap_ring_blocks(struct kvtap_ring *ring)
{
	return (uint32_t *)((uint8_t *)ring + KVTAP_RING_BLOCKS);
}

/* kvtap_ring_create - private memory of a ring, all zero; NULL: no memory or an old kernel, errno */
struct kvtap_ring *kvtap_ring_create(struct kvtap *tap);
void kvtap_ring_destroy(struct kvtap_ring *ring);

/* kvtap_ring_attach - point it to a shared ring whose beacon the calling thread holds */
void kvtap_ring_attach(struct kvtap_ring *ring, struct kvtap_ring_header *shared,
		       const struct kvtap_tail *tail, uint32_t slots, uint32_t arena_bytes);

/* kvtap_ring_refresh - read how far the reader got; false: there is no slot after the head */
bool kvtap_ring_refresh(struct kvtap_ring *ring);

/* kvtap_ring_park - keep a record that a handler made inside another one; false: no place */
bool kvtap_ring_park(struct kvtap_ring *ring, const struct kvtap_record *record);

static inline uint64_t kvtap_ring_head(struct kvtap_ring *ring)
{
	return kvtap_load_relaxed(&ring->shared->head); /* own index */
}

/*
 * The index of the next slot, to be read before the limit: the other way round a handler that moves
 * both on between the two reads makes room appear where there is none.
 */
static inline uint64_t kvtap_ring_next(struct kvtap_ring *ring)
{
	uint64_t index = kvtap_load_relaxed(&ring->reserved); /* own index */

	kvtap_signal_fence();
	return index;
}

/* Take count slots from kvtap_ring_next on; false: nothing is taken. */
static inline bool kvtap_ring_reserve(struct kvtap_ring *ring, uint64_t index, uint64_t count)
{
	kvtap_store_relaxed(&ring->reserved, index + count); /* own index */
	kvtap_signal_fence();
	if (kvtap_likely(kvtap_ring_head(ring) == index))
		return true;
	kvtap_store_relaxed(&ring->reserved, index); /* own index */
	return false;
}

/* Of the slots that were reserved, those before index; all of them: the ring is free again. */
static inline void kvtap_ring_publish(struct kvtap_ring *ring, uint64_t index)
{
	kvtap_store_release(&ring->shared->head, index); /* B, see ring.c */
	kvtap_signal_fence();
}

static inline bool kvtap_ring_has_parked(struct kvtap_ring *ring)
{
	return kvtap_unlikely(kvtap_load_relaxed(&ring->parked) != 0); /* own index */
}

/* In this order: records that handlers make between the two loads only move the head on. */
static inline bool kvtap_ring_is_inside(struct kvtap_ring *ring)
{
	uint64_t reserved = kvtap_ring_next(ring);

	return (int64_t)(reserved - kvtap_ring_head(ring)) > 0;
}

/*
 * For what takes more than to write slots; false: inside another record. Until kvtap_ring_leave
 * handlers park, also when something is published meanwhile, if reserved is kept beyond it.
 */
static inline bool kvtap_ring_enter(struct kvtap_ring *ring)
{
	if (kvtap_ring_is_inside(ring))
		return false;
	while (!kvtap_ring_reserve(ring, kvtap_ring_head(ring), 1))
		; /* a handler recorded just now */
	return true;
}

/* true: records were parked meanwhile, and are the caller's to push */
static inline bool kvtap_ring_leave(struct kvtap_ring *ring)
{
	kvtap_store_release(&ring->reserved, kvtap_ring_head(ring)); /* E, see ring.c */
	kvtap_signal_fence();
	return kvtap_ring_has_parked(ring);
}

/*
 * The reader's core has the lines of the slots since it copied them. Asking for one some records
 * ahead hides most of the time that it takes to come back, however far that core is.
 */
#define KVTAP_RING_AHEAD 64

static inline void kvtap_ring_ask_for(struct kvtap_record *slot)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*slot)); /* or a no-op */
#else
	__builtin_prefetch(slot, 1);
#endif
}

static inline struct kvtap_record *kvtap_ring_slot(struct kvtap_ring *ring, uint64_t index)
{
	kvtap_ring_ask_for(&ring->records[(index + KVTAP_RING_AHEAD) & ring->mask]);
	return &ring->records[index & ring->mask];
}

#endif
