/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_ways.c - ways to record, and what each of them is measured against
 *
 * Loops only: no check, no count and no clock in them but what they are there for.
 */
#include "record_ways.h"

#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "bench.h"

#define BYTES 4096

/* As a connector would: what differs from one transfer to the next is written before the call. */
static inline void fill(const struct record_producer *producer, struct kvtap_transfer *transfer,
			uint32_t i)
{
	transfer->series = producer->series[i % RECORD_SERIES];
	transfer->end_ns = producer->now_ns + i;
	transfer->duration_ns = 1000000 + i * 100000;
	transfer->submit_ns = 20000 + i;
	transfer->bytes = BYTES * (uint64_t)(1 + i);
	transfer->descriptors = 1 + i;
	transfer->request_id = i;
}

uint64_t record_bytes(uint32_t count)
{
	return BYTES * ((uint64_t)count * (count + 1) / 2);
}

static void do_nothing(struct record_producer *producer, uint32_t count)
{
	(void)producer;
	(void)count;
}

/* The fill goes straight to where a record would, and what it leaves out follows. */
static void store_plainly(struct record_producer *producer, uint32_t count)
{
	struct record_memory *memory = producer->memory;
	uint64_t head = memory->head;

	for (uint32_t i = 0; i < count; i++) {
		struct kvtap_transfer *slot = &memory->slot[head++ % RECORD_SLOTS];

		fill(producer, slot, i);
		slot->status = KVTAP_OK;
		slot->queue_ns = 0;
		slot->failed_descriptors = 0;
	}
	memory->head = head;
	atomic_store_explicit(&memory->published, head, memory_order_release);
}

/* The barrier makes the compiler have the transfer in memory, as a call does. */
static void fill_only(struct record_producer *producer, uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		fill(producer, &transfer, i);
		__asm__ volatile("" : : "r"(&transfer) : "memory");
	}
}

static void read_clock(struct record_producer *producer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		producer->now_ns = bench_now_ns();
}

static void read_tsc(struct record_producer *producer, uint32_t count)
{
#ifdef __x86_64__
	for (uint32_t i = 0; i < count; i++)
		producer->now_ns = __rdtsc();
#else
	read_clock(producer, count);
#endif
}

static void by_handle(struct record_producer *producer, uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		fill(producer, &transfer, i);
		kvtap_ring_transfer(producer->ring, &transfer);
	}
}

static void by_thread(struct record_producer *producer, uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		fill(producer, &transfer, i);
		kvtap_transfer(producer->tap, &transfer);
	}
}

static void without_time(struct record_producer *producer, uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		fill(producer, &transfer, i);
		transfer.end_ns = 0;
		kvtap_ring_transfer(producer->ring, &transfer);
	}
}

static inline void in_batches(struct record_producer *producer, uint32_t count, uint32_t batch)
{
	struct kvtap_transfer transfer[32] = { 0 };

	for (uint32_t i = 0; i < count; i += batch) {
		for (uint32_t j = 0; j < batch; j++)
			fill(producer, &transfer[j], i + j);
		kvtap_ring_transfers(producer->ring, transfer, batch);
	}
}

static void in_batches_of_8(struct record_producer *producer, uint32_t count)
{
	in_batches(producer, count, 8);
}

static void in_batches_of_32(struct record_producer *producer, uint32_t count)
{
	in_batches(producer, count, 32);
}

static void add(struct record_producer *producer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		kvtap_ring_add(producer->ring, producer->series[0], i);
}

static void set(struct record_producer *producer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		kvtap_ring_set(producer->ring, producer->series[0], i);
}

static void observe(struct record_producer *producer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		kvtap_ring_observe(producer->ring, producer->series[0], i);
}

const struct record_way record_nothing = { do_nothing, false };
const struct record_way record_plain = { store_plainly, false };
const struct record_way record_fill = { fill_only, false };
const struct record_way record_clock = { read_clock, false };
const struct record_way record_tsc = { read_tsc, false };
const struct record_way record_handle = { by_handle, true };
const struct record_way record_thread = { by_thread, true };
const struct record_way record_now = { without_time, true };
const struct record_way record_batches_8 = { in_batches_of_8, true };
const struct record_way record_batches_32 = { in_batches_of_32, true };
const struct record_way record_add = { add, true };
const struct record_way record_set = { set, true };
const struct record_way record_observe = { observe, true };
