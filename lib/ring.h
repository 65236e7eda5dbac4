/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - the producer's side of a ring
 *
 * struct kvtap_ring is private memory of one thread, in a page that fork wipes: in a child all is
 * zero, head equals limit, and the slow path that this leads to finds that there is no ring yet.
 */
#ifndef KVTAP_RING_H
#define KVTAP_RING_H

#include <stdbool.h>

#include "atomic.h"
#include "kvtap.h"
#include "kvtap_layout.h"

#define KVTAP_PARKED_MAX 8

enum kvtap_ring_state {
	KVTAP_RING_IDLE = 0,
	KVTAP_RING_BUSY = 1, /* inside a record; a signal handler must not begin another */
	KVTAP_RING_NONE = 2, /* no ring to be had: count and return */
};

struct kvtap_ring {
	_Atomic(uint32_t) state;
	_Atomic(uint32_t) parked; /* records that handlers left for the end of this one */
	uint64_t head;
	uint64_t limit; /* head may go up to here: last seen tail + slots */
	uint64_t mask;
	struct kvtap_record *records; /* NULL: no ring yet, or wiped by fork */
	struct kvtap_ring_header *shared;
	/* slow path */
	const struct kvtap_tail *tail;
	uint8_t *arena;
	uint32_t arena_bytes;
	bool unbound; /* there was no ring to be had; not tried again */
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

/* kvtap_ring_refresh - read how far the reader got; false: the ring is full */
bool kvtap_ring_refresh(struct kvtap_ring *ring);

/* kvtap_ring_park - keep a record that a handler made inside another one; false: no place */
bool kvtap_ring_park(struct kvtap_ring *ring, const struct kvtap_record *record);

/* Between enter and leave the ring is this call's alone. */
static inline bool kvtap_ring_enter(struct kvtap_ring *ring)
{
	if (kvtap_unlikely(kvtap_load_relaxed(&ring->state) != KVTAP_RING_IDLE)) /* own index */
		return false;
	kvtap_store_relaxed(&ring->state, KVTAP_RING_BUSY); /* own index */
	kvtap_signal_fence();
	return true;
}

/* true: records were parked meanwhile, and are the caller's to push */
static inline bool kvtap_ring_leave(struct kvtap_ring *ring)
{
	kvtap_signal_fence();
	kvtap_store_release(&ring->state, KVTAP_RING_IDLE); /* E, see ring.c */
	kvtap_signal_fence();
	return kvtap_unlikely(kvtap_load_relaxed(&ring->parked) != 0); /* own index */
}

/*
 * The reader's core has the lines of the slots since it copied them. Asking for one some records
 * ahead hides most of the time that it takes to come back.
 */
#define KVTAP_RING_AHEAD 8

static inline void kvtap_ring_fetch_ahead(struct kvtap_ring *ring)
{
	struct kvtap_record *slot = &ring->records[(ring->head + KVTAP_RING_AHEAD) & ring->mask];

#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*slot)); /* a no-op where it is not known */
#else
	__builtin_prefetch(slot, 1);
#endif
}

/* The slot of the next record; only with room: head != limit. */
static inline struct kvtap_record *kvtap_ring_slot(struct kvtap_ring *ring)
{
	kvtap_ring_fetch_ahead(ring);
	return &ring->records[ring->head & ring->mask];
}

static inline void kvtap_ring_publish(struct kvtap_ring *ring)
{
	kvtap_store_release(&ring->shared->head, ring->head); /* B, see ring.c */
}

#endif
