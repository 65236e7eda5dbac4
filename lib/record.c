/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - the calls that record
 *
 * The path of one record: the thread's ring from its cache, a slot reserved if there is room and
 * nothing else is under way, 64 bytes, the new head. Everything else is out of line: the first record
 * of a thread or of a fork child (tap.c), a full ring (overflow.c), a handler that interrupted a
 * record (parked). bench/HOTPATH.md shows what becomes of it.
 */
#include <math.h>
#include <string.h>

#include "clock.h"
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

/* A new point of the calibration may set it back, but of two values of a gauge the later one stays. */
static uint64_t now_ns(struct kvtap_ring *ring)
{
	uint64_t now;

	if (!ring->tsc)
		return kvtap_clock_monotonic();
	now = kvtap_clock_tsc();
	if (kvtap_unlikely(now < ring->now_ns))
		now = ring->now_ns;
	ring->now_ns = now;
	return now;
}

__attribute__((noinline)) static struct kvtap_ring *first_ring(struct kvtap *tap)
{
	struct kvtap_ring *ring = kvtap_tap_bind(tap, NULL);

	thread_ring[tap->slot].ring = ring;
	thread_ring[tap->slot].id = tap->id;
	return ring;
}

/* NULL: the tap is switched off or was not opened, and the call is counted if that is to be seen. */
static inline struct kvtap_ring *find_ring(struct kvtap *tap)
{
	if (kvtap_likely(tap && thread_ring[tap->slot].id == tap->id))
		return thread_ring[tap->slot].ring;
	if (!tap || tap->disabled)
		return NULL;
	if (tap->id != KVTAP_ID_NONE)
		return first_ring(tap);
	kvtap_tap_ignore(tap, 0);
	return NULL;
}

struct kvtap_ring *kvtap_ring(struct kvtap *tap)
{
	if (!tap)
		tap = kvtap_tap_nothing();
	return tap->id == KVTAP_ID_NONE ? tap->none : find_ring(tap);
}

static struct kvtap *tap_of(struct kvtap_ring *ring)
{
	struct kvtap *nothing = kvtap_tap_nothing();

	return ring == nothing->none ? nothing : kvtap_ring_own(ring)->tap;
}

/* ---- slow paths ---- */

static void ignore(struct kvtap_ring *ring, uint64_t bytes)
{
	kvtap_tap_ignore(tap_of(ring), bytes);
}

static inline void fold(struct kvtap_ring *ring, const struct kvtap_record *record)
{
	const struct kvtap_plan *plan = NULL;

	if (record->series <= KVTAP_SERIES_MAX)
		plan = kvtap_ring_own(ring)->tap->plan[record->series];
	kvtap_overflow_fold(ring, plan, record);
}

/* Between enter and leave, and still so once the record is published. */
static inline void push_inside(struct kvtap_ring *ring, const struct kvtap_record *record)
{
	uint64_t index = kvtap_ring_head(ring);
	struct kvtap_record *slot;

	if (index == ring->limit && !kvtap_ring_refresh(ring)) {
		fold(ring, record);
		return;
	}
	slot = kvtap_ring_slot(ring, index);
	*slot = *record;
	slot->sequence = (uint16_t)index;
	kvtap_store_relaxed(&ring->reserved, index + 2); /* own index */
	kvtap_ring_publish(ring, index + 1);
}

/* Push what handlers parked while a record was being made; they may park more meanwhile. */
__attribute__((noinline)) static void push_parked(struct kvtap_ring *ring)
{
	do {
		uint32_t parked = kvtap_load_relaxed(&ring->parked); /* own index */
		uint32_t pushed = 0;

		if (!kvtap_ring_enter(ring))
			return;
		do {
			while (pushed < parked && pushed < KVTAP_PARKED_MAX)
				push_inside(ring, &ring->parked_record[pushed++]);
		} while (!kvtap_swap_relaxed(&ring->parked, &parked, 0)); /* own index */
	} while (kvtap_ring_leave(ring));
}

/* The first record of a thread in a fork child. False: it got no ring, or is about to get one. */
__attribute__((noinline)) static bool bind(struct kvtap_ring *ring)
{
	uint32_t parked;

	if (ring->binding)
		return false;
	ring->binding = true;
	kvtap_signal_fence();
	ring->unbound = kvtap_tap_bind(tap_of(ring), ring) != ring;
	kvtap_signal_fence();
	ring->binding = false;
	parked = ring->unbound ? kvtap_load_relaxed(&ring->parked) : 0; /* own index */
	for (uint32_t i = 0; i < parked && i < KVTAP_PARKED_MAX; i++)
		ignore(ring, ring->parked_record[i].bytes);
	return !ring->unbound;
}

/* False: there is no ring, or it is inside another record of this thread. */
static inline bool enter(struct kvtap_ring *ring)
{
	if (kvtap_unlikely(!ring->shared || ring->binding) && !bind(ring))
		return false;
	return kvtap_ring_enter(ring);
}

static inline void push_slow(struct kvtap_ring *ring, const struct kvtap_record *record)
{
	if (!enter(ring)) {
		if (ring->unbound || !kvtap_ring_park(ring, record))
			ignore(ring, record->bytes);
		return;
	}
	push_inside(ring, record);
	if (kvtap_ring_leave(ring))
		push_parked(ring);
}

/* A record without meaning: counted where the exporter sees it, once there is such a place. */
__attribute__((noinline)) static void refuse(struct kvtap_ring *ring)
{
	if (ring->unbound || (!ring->shared && !bind(ring)))
		ignore(ring, 0);
	else
		kvtap_overflow_refuse(ring);
}

/* ---- slots ---- */

/*
 * Two words into one 16-byte store, for a record is as fast as its stores. They are loaded one by
 * one, as the caller has just stored them so: a load over two such stores waits until they have
 * left the store buffer. For the same reason the Makefile forbids the compiler to join loads.
 */
static inline void store_pair(void *to, uint64_t low, const uint64_t *high)
{
#ifdef __x86_64__
	long long pair __attribute__((vector_size(16)));

	__asm__("movq %1, %0\n\tmovhps %2, %0" : "=&x"(pair) : "r"(low), "m"(*high));
	memcpy(to, &pair, sizeof(pair));
#else
	memcpy(to, &low, 8);
	memcpy((uint8_t *)to + 8, high, 8);
#endif
}

static inline void copy_pair(void *to, const uint64_t *low, const uint64_t *high)
{
#ifdef __x86_64__
	long long pair __attribute__((vector_size(16)));

	__asm__("movq %1, %0\n\tmovhps %2, %0" : "=&x"(pair) : "m"(*low), "m"(*high));
	memcpy(to, &pair, sizeof(pair));
#else
	store_pair(to, *low, high);
#endif
}

typedef uint32_t __attribute__((may_alias)) half_word;

static inline void copy_halves(void *to, const half_word *low, const half_word *high,
			       const uint64_t *second)
{
#ifdef __x86_64__
	long long pair __attribute__((vector_size(16))), half __attribute__((vector_size(16)));

	__asm__("movd %2, %0\n\tmovd %3, %1\n\tpunpckldq %1, %0\n\tmovhps %4, %0"
		: "=&x"(pair), "=&x"(half)
		: "m"(*low), "m"(*high), "m"(*second));
	memcpy(to, &pair, sizeof(pair));
#else
	memcpy(to, low, 4);
	memcpy((uint8_t *)to + 4, high, 4);
	memcpy((uint8_t *)to + 8, second, 8);
#endif
}

/* What the first word of a transfer's record takes from its place. */
#define PLACE_ONE (1ull << 48)

static inline uint64_t place_of(uint64_t index)
{
	return (uint64_t)KVTAP_OP_TRANSFER << 40 | index * PLACE_ONE;
}

/* A flag stands where the op is in a record, so that one load brings both beside the status. */
static inline uint64_t first_word(const struct kvtap_transfer *transfer, uint64_t place)
{
	uint16_t status_flags;

	memcpy(&status_flags, &transfer->status, sizeof(status_flags));
	return transfer->series | (uint64_t)status_flags << 32 | place;
}

static inline void fill_transfer(struct kvtap_record *record, const struct kvtap_transfer *transfer,
				 const uint64_t *end_ns, uint64_t place)
{
	store_pair(&record->series, first_word(transfer, place), end_ns);
	copy_pair(&record->duration_ns, &transfer->duration_ns, &transfer->submit_ns);
	/* gcc clears what a literal doesn't name by 16 bytes, two of which meet inside queue_ns */
	const half_word *queue = (const half_word *)&transfer->queue_ns;
	copy_halves(&record->queue_ns, &queue[0], &queue[1], &transfer->bytes);
	copy_halves(&record->descriptors, &transfer->descriptors, &transfer->failed_descriptors,
		    &transfer->request_id);
}

/* Of many, most have left the store buffer, so that wide loads don't wait. */
static inline void fill_one_of_many(struct kvtap_record *record,
				    const struct kvtap_transfer *transfer, uint64_t place)
{
	store_pair(&record->series, first_word(transfer, place), &transfer->end_ns);
	memcpy((uint8_t *)record + 16, (const uint8_t *)transfer + 16, sizeof(*record) - 16);
}

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

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are put together by shifts");
_Static_assert(KVTAP_TRANSFER_OVERLAPPED == KVTAP_OP_OVERLAPPED &&
		       offsetof(struct kvtap_transfer, flags) ==
			       offsetof(struct kvtap_transfer, status) + 1,
	       "put beside the op");

/* ---- transfers ---- */

__attribute__((noinline)) static void
transfer_slow(struct kvtap_ring *ring, const struct kvtap_transfer *transfer, uint64_t end_ns)
{
	struct kvtap_record record;

	fill_transfer(&record, transfer, &end_ns, place_of(0));
	push_slow(ring, &record);
}

/* The usual way makes no call, so that it needs no stack. */
__attribute__((always_inline)) static inline void
push_transfer(struct kvtap_ring *ring, const struct kvtap_transfer *transfer,
	      const uint64_t *end_ns)
{
	uint64_t index = kvtap_ring_next(ring);

	if (kvtap_unlikely(index == ring->limit || !kvtap_ring_reserve(ring, index, 1))) {
		if (!ring->unbound)
			transfer_slow(ring, transfer, *end_ns);
		else
			ignore(ring, transfer->bytes);
		return;
	}
	fill_transfer(kvtap_ring_slot(ring, index), transfer, end_ns, place_of(index));
	kvtap_ring_publish(ring, index + 1);
	if (kvtap_ring_has_parked(ring))
		push_parked(ring);
}

/* Without a series or a time. */
__attribute__((noinline)) static void transfer_odd(struct kvtap_ring *ring,
						   const struct kvtap_transfer *transfer)
{
	uint64_t end_ns;

	if (ring->unbound) {
		ignore(ring, transfer->bytes);
	} else if (!transfer->series) {
		refuse(ring);
	} else {
		end_ns = now_ns(ring);
		push_transfer(ring, transfer, &end_ns);
	}
}

void kvtap_ring_transfer(struct kvtap_ring *ring, const struct kvtap_transfer *transfer)
{
	if (kvtap_unlikely(!transfer->series || !transfer->end_ns))
		transfer_odd(ring, transfer);
	else
		push_transfer(ring, transfer, &transfer->end_ns);
}

void kvtap_transfer(struct kvtap *tap, const struct kvtap_transfer *transfer)
{
	struct kvtap_ring *ring = find_ring(tap);

	if (ring)
		kvtap_ring_transfer(ring, transfer);
}

/* ---- batches ---- */

/* Into a slot that is not published yet. False: refused, the slot is as it was. */
__attribute__((noinline)) static bool
fill_odd(struct kvtap_ring *ring, const struct kvtap_transfer *transfer, uint64_t index)
{
	uint64_t end_ns = transfer->end_ns;

	if (!transfer->series) {
		kvtap_overflow_refuse(ring);
		return false;
	}
	if (!end_ns)
		end_ns = now_ns(ring);
	fill_transfer(kvtap_ring_slot(ring, index), transfer, &end_ns, place_of(index));
	return true;
}

/* How many slots from index on follow each other in memory, as do those that are asked for. */
static inline uint64_t stretch(const struct kvtap_ring *ring, uint64_t index)
{
	uint64_t slot = index & ring->mask;
	uint64_t ahead = (index + KVTAP_RING_AHEAD) & ring->mask;

	return ring->mask + 1 - (slot > ahead ? slot : ahead);
}

/* Returns the index after the last slot that was filled. */
static inline uint64_t fill_stretch(struct kvtap_ring *ring, const struct kvtap_transfer *transfer,
				    uint64_t count, uint64_t index)
{
	struct kvtap_record *first = &ring->records[index & ring->mask], *slot = first;
	ptrdiff_t ahead = &ring->records[(index + KVTAP_RING_AHEAD) & ring->mask] - first;
	uint64_t place = place_of(index);

	for (const struct kvtap_transfer *end = transfer + count; transfer < end; transfer++) {
		if (kvtap_likely(transfer->series && transfer->end_ns)) {
			kvtap_ring_ask_for(slot + ahead);
			fill_one_of_many(slot, transfer, place);
		} else if (!fill_odd(ring, transfer, index + (uint64_t)(slot - first))) {
			continue;
		}
		slot++;
		place += PLACE_ONE;
	}
	return index + (uint64_t)(slot - first);
}

static void fold_one(struct kvtap_ring *ring, const struct kvtap_transfer *transfer)
{
	struct kvtap_record record;

	if (!transfer->series) {
		kvtap_overflow_refuse(ring);
		return;
	}
	fill_transfer(&record, transfer, &transfer->end_ns, place_of(0));
	if (!record.end_ns)
		record.end_ns = now_ns(ring);
	fold(ring, &record);
}

/* There is no ring, it is inside another record, or has less room than it seemed to have. */
__attribute__((noinline)) static void
transfers_slow(struct kvtap_ring *ring, const struct kvtap_transfer *transfers, size_t count)
{
	uint64_t index;

	if (!count || ring->unbound || !enter(ring)) {
		for (size_t i = 0; i < count; i++)
			kvtap_ring_transfer(ring, &transfers[i]);
		return;
	}
	index = kvtap_ring_head(ring);
	for (size_t i = 0; i < count; i++) {
		if (index == ring->limit)
			kvtap_ring_refresh(ring);
		if (index == ring->limit)
			fold_one(ring, &transfers[i]);
		else
			index += fill_odd(ring, &transfers[i], index);
	}
	kvtap_store_relaxed(&ring->reserved, index + 1); /* own index */
	kvtap_ring_publish(ring, index);
	if (kvtap_ring_leave(ring))
		push_parked(ring);
}

void kvtap_ring_transfers(struct kvtap_ring *ring, const struct kvtap_transfer *transfers,
			  size_t count)
{
	uint64_t index, last, run;

	if (count == 1) { /* too few for wide loads */
		kvtap_ring_transfer(ring, transfers);
		return;
	}
	index = kvtap_ring_next(ring);
	last = index + count;
	if (kvtap_unlikely(count - 1 >= ring->limit - index || /* no count is the most */
			   !kvtap_ring_reserve(ring, index, count))) {
		transfers_slow(ring, transfers, count);
		return;
	}
	do {
		run = stretch(ring, index);
		run = run < count ? run : count;
		index = fill_stretch(ring, transfers, run, index);
		transfers += run;
		count -= run;
	} while (count);
	kvtap_ring_publish(ring, index);
	if (kvtap_unlikely(index != last))		     /* some were refused */
		kvtap_store_relaxed(&ring->reserved, index); /* own index */
	kvtap_signal_fence();
	if (kvtap_ring_has_parked(ring))
		push_parked(ring);
}

/* ---- scalars ---- */

/* Reads the clock by itself, so that a tap that is switched off reads none. */
__attribute__((noinline)) static void value_slow(struct kvtap_ring *ring, uint8_t op,
						 uint32_t series, double value)
{
	struct kvtap_record record;

	if (ring->unbound) {
		ignore(ring, 0);
		return;
	}
	fill_value(&record, op, series, value, now_ns(ring), 0);
	push_slow(ring, &record);
}

static void push_value(struct kvtap_ring *ring, uint8_t op, uint32_t series, double value)
{
	uint64_t index = kvtap_ring_next(ring), end_ns;

	if (kvtap_unlikely(index == ring->limit)) {
		value_slow(ring, op, series, value);
		return;
	}
	end_ns = now_ns(ring);
	if (kvtap_unlikely(!kvtap_ring_reserve(ring, index, 1))) {
		value_slow(ring, op, series, value);
		return;
	}
	fill_value(kvtap_ring_slot(ring, index), op, series, value, end_ns, index);
	kvtap_ring_publish(ring, index + 1);
	if (kvtap_ring_has_parked(ring))
		push_parked(ring);
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
	struct kvtap_ring *ring = find_ring(tap);

	if (ring)
		kvtap_ring_add(ring, series, amount);
}

void kvtap_set(struct kvtap *tap, uint32_t series, double value)
{
	struct kvtap_ring *ring = find_ring(tap);

	if (ring)
		kvtap_ring_set(ring, series, value);
}

void kvtap_observe(struct kvtap *tap, uint32_t series, double value)
{
	struct kvtap_ring *ring = find_ring(tap);

	if (ring)
		kvtap_ring_observe(ring, series, value);
}
