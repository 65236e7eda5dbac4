/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - the calls that record
 *
 * The path of one record: the thread's ring from its cache, enter, a slot if there is room, 64 bytes,
 * the new head, leave. Everything else is out of line: the first record of a thread or of a fork
 * child (tap.c), a full ring (overflow.c), a handler that interrupted a record (parked).
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "overflow.h"
#include "ring.h"
#include "tap.h"

_Static_assert(sizeof(struct kvtap_transfer) == sizeof(struct kvtap_record), "copied as one line");
_Static_assert(offsetof(struct kvtap_transfer, end_ns) == offsetof(struct kvtap_record, end_ns) &&
		       offsetof(struct kvtap_transfer, duration_ns) ==
			       offsetof(struct kvtap_record, duration_ns) &&
		       offsetof(struct kvtap_transfer, submit_ns) ==
			       offsetof(struct kvtap_record, submit_ns) &&
		       offsetof(struct kvtap_transfer, queue_ns) ==
			       offsetof(struct kvtap_record, queue_ns) &&
		       offsetof(struct kvtap_transfer, bytes) ==
			       offsetof(struct kvtap_record, bytes) &&
		       offsetof(struct kvtap_transfer, descriptors) ==
			       offsetof(struct kvtap_record, descriptors) &&
		       offsetof(struct kvtap_transfer, request_id) ==
			       offsetof(struct kvtap_record, request_id),
	       "copied as one line");

/* Initial-exec, so that reading it can't allocate, also in a signal handler. */
static _Thread_local struct {
	uint64_t id; /* of the tap */
	struct kvtap_ring *ring;
} thread_ring[KVTAP_TAPS_MAX];

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

__attribute__((noinline)) static struct kvtap_ring *first_ring(struct kvtap *tap)
{
	struct kvtap_ring *ring;

	if (!tap)
		tap = kvtap_tap_nothing();
	if (tap->id == KVTAP_ID_NONE) /* switched off, or not opened */
		return tap->none;
	ring = kvtap_tap_bind(tap, NULL);
	thread_ring[tap->slot].ring = ring;
	thread_ring[tap->slot].id = tap->id;
	return ring;
}

static inline struct kvtap_ring *find_ring(struct kvtap *tap)
{
	if (kvtap_unlikely(!tap || thread_ring[tap->slot].id != tap->id))
		return first_ring(tap);
	return thread_ring[tap->slot].ring;
}

struct kvtap_ring *kvtap_ring(struct kvtap *tap)
{
	return find_ring(tap);
}

static struct kvtap *tap_of(struct kvtap_ring *ring)
{
	struct kvtap *nothing = kvtap_tap_nothing();

	return ring == nothing->none ? nothing : kvtap_ring_own(ring)->tap;
}

/* ---- slow paths, between enter and leave ---- */

static void write_record(struct kvtap_ring *ring, const struct kvtap_record *record)
{
	struct kvtap_record *slot = kvtap_ring_slot(ring);

	*slot = *record;
	slot->sequence = (uint16_t)ring->head++;
}

/* true: there is room now. May bind the ring, so a record on a wiped page lands here too. */
static bool make_room(struct kvtap_ring *ring)
{
	if (kvtap_unlikely(!ring->records) && !ring->unbound)
		ring->unbound = kvtap_tap_bind(tap_of(ring), ring) != ring;
	return ring->records && kvtap_ring_refresh(ring);
}

static void fold(struct kvtap_ring *ring, const struct kvtap_record *record)
{
	const struct kvtap_plan *plan = NULL;

	if (!ring->records) {
		kvtap_tap_ignore(tap_of(ring), record);
		return;
	}
	if (record->series <= KVTAP_SERIES_MAX)
		plan = kvtap_ring_own(ring)->tap->plan[record->series];
	kvtap_overflow_fold(ring, plan, record);
}

__attribute__((noinline)) static void push_slow(struct kvtap_ring *ring,
						const struct kvtap_record *record)
{
	if (!make_room(ring)) {
		fold(ring, record);
		return;
	}
	write_record(ring, record);
	kvtap_ring_publish(ring);
}

/* The ring is inside another record of this thread, or there is none. */
__attribute__((noinline)) static void push_outside(struct kvtap_ring *ring,
						   const struct kvtap_record *record)
{
	if (kvtap_load_relaxed(&ring->state) == KVTAP_RING_NONE) { /* own index */
		kvtap_tap_ignore(tap_of(ring), record);
		return;
	}
	if (!kvtap_ring_park(ring, record))
		kvtap_tap_ignore(tap_of(ring), record);
}

/* Push what handlers parked while a record was being made; they may park more meanwhile. */
__attribute__((noinline)) static void push_parked(struct kvtap_ring *ring)
{
	while (kvtap_ring_enter(ring)) {
		uint32_t parked = kvtap_load_relaxed(&ring->parked); /* own index */
		uint32_t pushed = 0;

		do {
			while (pushed < parked && pushed < KVTAP_PARKED_MAX)
				push_slow(ring, &ring->parked_record[pushed++]);
		} while (!kvtap_swap_relaxed(&ring->parked, &parked, 0)); /* own index */
		if (!kvtap_ring_leave(ring))
			return;
	}
}

static inline void leave(struct kvtap_ring *ring)
{
	if (kvtap_ring_leave(ring))
		push_parked(ring);
}

/* A record without meaning: counted where the exporter sees it, once there is such a place. */
__attribute__((noinline)) static void refuse(struct kvtap_ring *ring)
{
	static const struct kvtap_record nothing;

	bool entered = kvtap_ring_enter(ring);

	if (entered)
		make_room(ring);
	if (ring->shared)
		kvtap_overflow_refuse(ring);
	else
		kvtap_tap_ignore(tap_of(ring), &nothing);
	if (entered)
		leave(ring);
}

/* ---- transfers ---- */

/*
 * Field by field, and the Makefile forbids the compiler to join them: the caller has just stored
 * them so, and a load over two such stores waits until they have left the store buffer.
 */
static inline void fill_transfer(struct kvtap_record *record, const struct kvtap_transfer *transfer,
				 uint64_t end_ns, uint64_t index)
{
	uint64_t first = transfer->series | (uint64_t)transfer->status << 32 |
			 (uint64_t)KVTAP_OP_TRANSFER << 40 | index << 48;

	memcpy(record, &first, sizeof(first));
	record->end_ns = end_ns;
	record->duration_ns = transfer->duration_ns;
	record->submit_ns = transfer->submit_ns;
	record->queue_ns = transfer->queue_ns;
	record->bytes = transfer->bytes;
	record->descriptors = transfer->descriptors;
	record->failed_descriptors = transfer->failed_descriptors;
	record->request_id = transfer->request_id;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "the first word is put together by shifts");

__attribute__((noinline)) static void transfer_slow(struct kvtap_ring *ring,
						    const struct kvtap_transfer *transfer,
						    uint64_t end_ns, bool entered)
{
	struct kvtap_record record;

	fill_transfer(&record, transfer, end_ns, 0);
	if (!entered) {
		push_outside(ring, &record);
		return;
	}
	push_slow(ring, &record);
	leave(ring);
}

/* The usual way makes no call, so that it needs no stack. */
__attribute__((always_inline)) static inline void
push_transfer(struct kvtap_ring *ring, const struct kvtap_transfer *transfer, uint64_t end_ns)
{
	bool entered = kvtap_ring_enter(ring);

	if (kvtap_unlikely(!entered || ring->head == ring->limit)) {
		transfer_slow(ring, transfer, end_ns, entered);
		return;
	}
	fill_transfer(kvtap_ring_slot(ring), transfer, end_ns, ring->head);
	ring->head++;
	kvtap_ring_publish(ring);
	leave(ring);
}

__attribute__((noinline)) static void transfer_now(struct kvtap_ring *ring,
						   const struct kvtap_transfer *transfer)
{
	push_transfer(ring, transfer, now_ns());
}

void kvtap_ring_transfer(struct kvtap_ring *ring, const struct kvtap_transfer *transfer)
{
	if (kvtap_unlikely(!transfer->series))
		refuse(ring);
	else if (kvtap_unlikely(!transfer->end_ns))
		transfer_now(ring, transfer);
	else
		push_transfer(ring, transfer, transfer->end_ns);
}

void kvtap_transfer(struct kvtap *tap, const struct kvtap_transfer *transfer)
{
	kvtap_ring_transfer(find_ring(tap), transfer);
}

/* Within enter and leave: into a slot that is not published yet, or folded. */
static void batch_one(struct kvtap_ring *ring, const struct kvtap_transfer *transfer)
{
	uint64_t end_ns = transfer->end_ns;
	struct kvtap_record record;

	if (kvtap_unlikely(!transfer->series)) {
		if (ring->records || make_room(ring) || ring->records)
			kvtap_overflow_refuse(ring);
		return;
	}
	if (kvtap_unlikely(!end_ns))
		end_ns = now_ns();
	if (kvtap_likely(ring->head != ring->limit || make_room(ring))) {
		fill_transfer(kvtap_ring_slot(ring), transfer, end_ns, ring->head);
		ring->head++;
		return;
	}
	fill_transfer(&record, transfer, end_ns, 0);
	fold(ring, &record);
}

void kvtap_ring_transfers(struct kvtap_ring *ring, const struct kvtap_transfer *transfers,
			  size_t count)
{
	if (kvtap_unlikely(!kvtap_ring_enter(ring))) {
		for (size_t i = 0; i < count; i++)
			kvtap_ring_transfer(ring, &transfers[i]);
		return;
	}
	for (size_t i = 0; i < count; i++)
		batch_one(ring, &transfers[i]);
	if (ring->records)
		kvtap_ring_publish(ring);
	leave(ring);
}

/* ---- scalars ---- */

static inline void fill_value(struct kvtap_record *record, uint8_t op, uint32_t series,
			      double value, uint64_t end_ns, uint64_t index)
{
	*record = (struct kvtap_record){
		.series = series,
		.op = op,
		.sequence = (uint16_t)index,
		.end_ns = end_ns,
		.value = value,
	};
}

__attribute__((noinline)) static void value_slow(struct kvtap_ring *ring, uint8_t op,
						 uint32_t series, double value, uint64_t end_ns,
						 bool entered)
{
	struct kvtap_record record;

	fill_value(&record, op, series, value, end_ns, 0);
	if (!entered) {
		push_outside(ring, &record);
		return;
	}
	push_slow(ring, &record);
	leave(ring);
}

static void push_value(struct kvtap_ring *ring, uint8_t op, uint32_t series, double value)
{
	uint64_t end_ns = now_ns();
	bool entered = kvtap_ring_enter(ring);

	if (kvtap_unlikely(!entered || ring->head == ring->limit)) {
		value_slow(ring, op, series, value, end_ns, entered);
		return;
	}
	fill_value(kvtap_ring_slot(ring), op, series, value, end_ns, ring->head);
	ring->head++;
	kvtap_ring_publish(ring);
	leave(ring);
}

void kvtap_ring_add(struct kvtap_ring *ring, uint32_t series, double amount)
{
	if (kvtap_unlikely(!series || !(amount >= 0) || !isfinite(amount)))
		refuse(ring);
	else
		push_value(ring, KVTAP_OP_ADD, series, amount);
}

void kvtap_ring_set(struct kvtap_ring *ring, uint32_t series, double value)
{
	if (kvtap_unlikely(!series))
		refuse(ring);
	else
		push_value(ring, KVTAP_OP_SET, series, value);
}

void kvtap_ring_observe(struct kvtap_ring *ring, uint32_t series, double value)
{
	if (kvtap_unlikely(!series || !isfinite(value)))
		refuse(ring);
	else
		push_value(ring, KVTAP_OP_OBSERVE, series, value);
}

void kvtap_add(struct kvtap *tap, uint32_t series, double amount)
{
	kvtap_ring_add(find_ring(tap), series, amount);
}

void kvtap_set(struct kvtap *tap, uint32_t series, double value)
{
	kvtap_ring_set(find_ring(tap), series, value);
}

void kvtap_observe(struct kvtap *tap, uint32_t series, double value)
{
	kvtap_ring_observe(find_ring(tap), series, value);
}
