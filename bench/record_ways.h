/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_ways.h - ways to record, and what each of them is measured against
 *
 * A way is a loop over a number of operations, as a connector would have it: what differs from one
 * transfer to the next is filled in, then handed over. The fill is the caller's own part and the
 * same in all of them. Knows nothing of who reads, and of time.
 */
#ifndef KVTAP_RECORD_WAYS_H
#define KVTAP_RECORD_WAYS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "kvtap.h"

#define RECORD_SLOTS 4096
#define RECORD_SERIES 256

/* Memory that is written like a ring, without any of its rules but publication for the reader. */
struct record_memory {
	_Alignas(128) struct kvtap_transfer *slot; /* [RECORD_SLOTS] */
	uint64_t head;				   /* the writer's */
	_Alignas(128) _Atomic(uint64_t) published;
	_Alignas(128) uint64_t tail; /* the reader's */
};

/* One thread, and what it records to. All borrowed. */
struct record_producer {
	struct kvtap *tap;
	struct kvtap_ring *ring;
	const uint32_t *series; /* [RECORD_SERIES] */
	struct record_memory *memory;
	uint64_t now_ns; /* that transfers end at, about */
};

struct record_way {
	void (*burst)(struct record_producer *producer, uint32_t count);
	bool records; /* into the tap; else the tap never hears of it */
};

extern const struct record_way record_nothing;
extern const struct record_way record_plain;	  /* the floor: 64-byte lines into plain memory */
extern const struct record_way record_fill;	  /* the caller's own part, handed to nobody */
extern const struct record_way record_clock;	  /* CLOCK_MONOTONIC and nothing else */
extern const struct record_way record_tsc;	  /* the CPU's counter and nothing else */
extern const struct record_way record_handle;	  /* kvtap_ring_transfer, the caller's time */
extern const struct record_way record_thread;	  /* kvtap_transfer, the caller's time */
extern const struct record_way record_now;	  /* kvtap_ring_transfer, the library's time */
extern const struct record_way record_batches_8;  /* kvtap_ring_transfers; counts are multiples */
extern const struct record_way record_batches_32; /* the same */
extern const struct record_way record_add;	  /* kvtap_ring_add and so on */
extern const struct record_way record_set;
extern const struct record_way record_observe;

/* record_bytes - carried by so many transfers of one burst */
uint64_t record_bytes(uint32_t count);

#endif
