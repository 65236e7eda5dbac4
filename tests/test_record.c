/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_record.c - a signal handler that records, after every single instruction of a call that does
 *
 * The trap flag stops the thread after each instruction, and the handler of that trap, which runs
 * with the flag off, makes records of its own: after one instruction, for each of the call's, or
 * after every one. All of it has to arrive, once and whole.
 */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "support_segment.h"
#include "support_trace.h"
#include "test.h"

#define SLOTS 4096
#define NUMBERS 8192
#define ALL UINT32_MAX
#define NONE (UINT32_MAX - 1)

static struct kvtap *tap;
static struct kvtap_ring *ring;
static uint32_t series, counter;
static _Atomic(uint64_t) number; /* of the next record */
static uint32_t instruction;	 /* that ended last */
static uint32_t chosen;		 /* the handler records after this one, or after ALL */
static uint32_t records;	 /* that it makes each time */
static struct watch watch;

static struct kvtap_transfer numbered(uint64_t own)
{
	return (struct kvtap_transfer){ .series = series,
					.end_ns = ~own,
					.duration_ns = own * 3,
					.submit_ns = own * 5,
					.queue_ns = own * 7,
					.bytes = own * 11,
					.descriptors = (uint32_t)own,
					.failed_descriptors = (uint32_t)own + 1,
					.request_id = own };
}

/* ---- calls ---- */

static void record_transfer(void)
{
	struct kvtap_transfer transfer = numbered(number++);

	kvtap_ring_transfer(ring, &transfer);
}

static void record_batch(void)
{
	struct kvtap_transfer batch[3];

	for (int i = 0; i < 3; i++)
		batch[i] = numbered(number++);
	kvtap_ring_transfers(ring, batch, 3);
}

/* Its value is its number. */
static void record_scalar(void)
{
	kvtap_ring_add(ring, counter, (double)number++);
}

/* ---- a trap after each instruction of them ---- */

#ifdef __x86_64__

static void on_trap(int signal)
{
	(void)signal;
	if (chosen == ALL || instruction == chosen)
		for (uint32_t i = 0; i < records; i++)
			record_transfer();
	instruction++;
}

static inline void step(void (*call)(void))
{
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq" : : : "memory", "cc");
	call();
	__asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" : : : "memory", "cc");
}

#else

static void step(void (*call)(void))
{
	call();
}

#endif

/* ---- what has to be there ---- */

static uint64_t number_of(const struct kvtap_record *record)
{
	return record->op == KVTAP_OP_ADD ? (uint64_t)record->value : record->request_id;
}

static bool whole(const struct kvtap_record *record, uint16_t sequence)
{
	struct kvtap_transfer transfer = numbered(number_of(record));
	struct kvtap_record expected = { .series = counter,
					 .op = KVTAP_OP_ADD,
					 .end_ns = record->end_ns,
					 .value = record->value };

	if (record->op == KVTAP_OP_TRANSFER) {
		memcpy(&expected, &transfer, sizeof(expected));
		expected.op = KVTAP_OP_TRANSFER;
	}
	expected.sequence = sequence;
	return memcmp(record, &expected, sizeof(expected)) == 0;
}

/* Each number once, in the ring or folded; what 8 places to park were too few for is counted. */
static void check_arrived(void)
{
	static struct kvtap_record record[SLOTS];
	static bool seen[NUMBERS];
	enum kvtap_reject why;
	uint64_t position;
	ssize_t count;

	CHECK(number <= NUMBERS);
	kvtap_reader_rings(watch.reader);
	position = kvtap_reader_position(watch.reader, 0);
	count = kvtap_reader_fetch(watch.reader, &why, 0, record, SLOTS, NULL);
	CHECK(count >= 0);
	memset(seen, 0, sizeof(seen));
	for (ssize_t i = 0; i < count; i++) {
		uint64_t own = number_of(&record[i]);

		CHECK(whole(&record[i], (uint16_t)(position + (uint64_t)i)));
		CHECK(own < number && !seen[own]);
		seen[own] = true;
	}
	watch_drain(&watch);
	CHECK_EQ(watch.wrong, 0);
}

/* Everything since the tap was opened. */
static uint64_t lost(void)
{
	struct kvtap_stats stats;

	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.refused_records + stats.ignored_calls, 0);
	return stats.lost_records;
}

static void open_ring(uint32_t slots)
{
	struct kvtap_options options = small_options();
	struct sigaction action = { .sa_handler = on_trap, .sa_flags = SA_NODEFER };

	if (trace_unavailable())
		SKIP("%s", trace_unavailable());
	options.ring_slots = slots;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	counter = counter_series(tap, "stepped");
	ring = kvtap_ring(tap);
	CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
	watch_open(&watch, 0);
}

/* Returns: after how many instructions of the call the handler came. */
static uint32_t step_with(void (*call)(void), uint32_t at, uint32_t count)
{
	uint64_t before = watch.records + watch.folded + lost();

	number = 0;
	chosen = at;
	records = count;
	instruction = 0;
	step(call);
	check_arrived();
	CHECK_EQ(watch.records + watch.folded + lost() - before, number);
	return instruction;
}

/* The handler records 1, 2 and 3 times after one instruction, for each of the call. */
static void check_each(void (*call)(void), uint32_t slots)
{
	uint32_t instructions;

	open_ring(slots);
	instructions = step_with(call, NONE, 0);
	CHECK(instructions > 20);
	for (uint32_t at = 0; at < instructions; at++)
		for (uint32_t count = 1; count <= 3; count++)
			step_with(call, at, count);
	CHECK_EQ(lost(), 0);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(record_of_a_handler_after_any_instruction_of_a_transfer_arrives_once)
{
	check_each(record_transfer, SLOTS);
}

TEST(record_of_a_handler_after_any_instruction_of_a_batch_arrives_once)
{
	check_each(record_batch, SLOTS);
}

TEST(record_of_a_handler_after_any_instruction_of_a_scalar_arrives_once)
{
	check_each(record_scalar, SLOTS);
}

/* Most of the calls refresh their limit, or fold. */
TEST(record_of_a_handler_after_any_instruction_arrives_once_when_the_ring_is_small)
{
	check_each(record_transfer, SMALL_SLOTS);
}

/* The call goes on in the handler's traces: what is parked is pushed while more is parked. */
static void check_all(void (*call)(void))
{
	open_ring(SLOTS);
	for (uint32_t count = 1; count <= 3; count++)
		step_with(call, ALL, count);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(record_of_handlers_after_every_instruction_of_a_transfer_arrives_once_or_is_counted)
{
	check_all(record_transfer);
}

TEST(record_of_handlers_after_every_instruction_of_a_batch_arrives_once_or_is_counted)
{
	check_all(record_batch);
}
