/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_ring.c - one producer, one consumer: wrap, order, batches, signal handlers
 *
 * Every record carries a number and fields computed from it, so a torn or stale slot shows. Looks
 * into struct kvtap_ring to start at chosen indices; what happens on a full ring is in
 * test_overflow.c.
 */
#include "../lib/ring.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

static struct kvtap *tap;
static struct kvtap_ring *ring;
static uint32_t series;

static void open_ring(uint32_t slots)
{
	struct kvtap_options options = small_options();

	options.ring_slots = slots;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	ring = kvtap_ring(tap);
}

/* What the reader would write, whether or not a sane one does. */
static void set_tail(uint64_t tail)
{
	int folder = namespace_folder();
	char name[256], *suffix;

	CHECK(find_segment(name, folder, 0));
	suffix = strstr(name, KVTAP_SEGMENT_SUFFIX);
	snprintf(suffix, 16, KVTAP_TAILS_SUFFIX);
	int fd = openat(folder, name, O_RDWR | O_CLOEXEC);
	CHECK_EQ(pwrite(fd, &tail, sizeof(tail), KVTAP_TAILS_OFFSET), sizeof(tail));
	close(fd);
	close(folder);
}

static void start_at(uint64_t index)
{
	set_tail(index);
	ring->limit = index;
	kvtap_store_relaxed(&ring->reserved, index);
	kvtap_store_release(&ring->shared->head, index); /* nobody reads yet */
}

/* splitmix64, https://prng.di.unimi.it/splitmix64.c */
static uint64_t mix(uint64_t value)
{
	value += 0x9e3779b97f4a7c15;
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
	value = (value ^ value >> 27) * 0x94d049bb133111eb;
	return value ^ value >> 31;
}

static struct kvtap_transfer numbered(uint64_t number)
{
	return (struct kvtap_transfer){ .series = series,
					.end_ns = mix(number) | 1,
					.duration_ns = mix(number + 1),
					.bytes = mix(number + 2),
					.descriptors = (uint32_t)mix(number + 3),
					.request_id = number };
}

static void record_number(uint64_t number)
{
	struct kvtap_transfer transfer = numbered(number);

	kvtap_ring_transfer(ring, &transfer);
}

static void check_numbered(const struct kvtap_record *record)
{
	struct kvtap_transfer meant = numbered(record->request_id);

	CHECK_EQ(record->series, meant.series);
	CHECK_EQ(record->end_ns, meant.end_ns);
	CHECK_EQ(record->duration_ns, meant.duration_ns);
	CHECK_EQ(record->bytes, meant.bytes);
	CHECK_EQ(record->descriptors, meant.descriptors);
	CHECK_EQ(record->op, KVTAP_OP_TRANSFER);
}

/* Up to capacity records of ring 0, with their sequence checked; committed. */
static size_t fetch(struct watch *watch, struct kvtap_record *record, size_t capacity)
{
	enum kvtap_reject why;
	ssize_t count = kvtap_reader_fetch(watch->reader, &why, 0, record, capacity, NULL);
	uint64_t position = kvtap_reader_position(watch->reader, 0);

	CHECK(count >= 0);
	for (ssize_t i = 0; i < count; i++) {
		CHECK_EQ(record[i].sequence, (uint16_t)(position + (uint64_t)i));
		check_numbered(&record[i]);
	}
	kvtap_reader_take(watch->reader, 0, (size_t)count);
	CHECK_EQ(kvtap_reader_give_back(watch->reader, 0), 0);
	return (size_t)count;
}

/* Writes and reads 100 records in uneven steps; all arrive, in order. */
static void pass_100(struct watch *watch)
{
	struct kvtap_record record[SMALL_SLOTS];
	uint64_t written = 0, read = 0;

	kvtap_reader_rings(watch->reader);
	while (read < 100) {
		for (int i = 0; i < 11 && written < 100; i++)
			record_number(written++);
		for (size_t got; (got = fetch(watch, record, 4)) > 0;)
			for (size_t i = 0; i < got; i++)
				CHECK_EQ(record[i].request_id, read++);
	}
	CHECK_EQ(written, 100);
}

static void check_passes_from(uint64_t index)
{
	struct watch watch;

	open_ring(SMALL_SLOTS);
	start_at(index);
	watch_open(&watch, 0);
	pass_100(&watch);
	CHECK_EQ(kvtap_load_relaxed(&ring->shared->head), index + 100);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(ring_passes_records_in_order_from_every_slot)
{
	for (uint64_t index = 0; index < SMALL_SLOTS; index++)
		check_passes_from(index);
}

TEST(ring_passes_records_when_its_head_wraps_at_2_to_the_64)
{
	for (uint64_t index = UINT64_MAX - 20; index != 3; index++)
		check_passes_from(index);
}

TEST(ring_passes_records_when_the_sequence_wraps_at_2_to_the_16)
{
	check_passes_from(UINT16_MAX - 50);
}

TEST(ring_passes_records_when_the_head_wraps_at_2_to_the_32)
{
	check_passes_from(UINT32_MAX - 50ull);
}

TEST(ring_holds_exactly_its_slots)
{
	struct kvtap_record record[2 * SMALL_SLOTS];
	struct watch watch;

	open_ring(SMALL_SLOTS);
	for (uint64_t i = 0; i < SMALL_SLOTS + 1; i++)
		record_number(i);
	watch_open(&watch, 0);
	kvtap_reader_rings(watch.reader);
	CHECK_EQ(fetch(&watch, record, 2 * SMALL_SLOTS), SMALL_SLOTS);
	CHECK_EQ(record[SMALL_SLOTS - 1].request_id, SMALL_SLOTS - 1);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(ring_tells_how_many_records_are_pending)
{
	struct kvtap_record record[4];
	enum kvtap_reject why;
	struct watch watch;
	uint64_t pending;

	open_ring(SMALL_SLOTS);
	for (uint64_t i = 0; i < 9; i++)
		record_number(i);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	CHECK_EQ(kvtap_reader_fetch(watch.reader, &why, 0, record, 4, &pending), 4);
	CHECK_EQ(pending, 9);
	kvtap_reader_take(watch.reader, 0, 3);
	CHECK_EQ(kvtap_reader_fetch(watch.reader, &why, 0, record, 4, &pending), 4);
	CHECK_EQ(pending, 6);
	CHECK_EQ(record[0].request_id, 3);
	kvtap_close(tap);
	watch_remove(&watch);
}

/* A full ring at index 100 whose tail is set to something absurd stays full. */
static void check_tail_ignored(uint64_t tail)
{
	open_ring(SMALL_SLOTS);
	start_at(100);
	for (uint64_t i = 0; i < SMALL_SLOTS; i++)
		record_number(i);
	CHECK_EQ(kvtap_ring_head(ring), ring->limit);
	set_tail(tail);
	CHECK(!kvtap_ring_refresh(ring));
	CHECK_EQ(kvtap_ring_head(ring), 100 + SMALL_SLOTS);
	CHECK_EQ(ring->limit, kvtap_ring_head(ring));
	kvtap_close(tap);
	remove_segments();
}

TEST(ring_refresh_ignores_a_tail_ahead_of_the_head)
{
	check_tail_ignored(100 + SMALL_SLOTS + 1);
	check_tail_ignored(UINT64_MAX);
}

TEST(ring_refresh_ignores_a_tail_more_than_a_ring_behind)
{
	check_tail_ignored(99);
	check_tail_ignored(0);
}

TEST(ring_refresh_takes_a_tail_at_the_head)
{
	open_ring(SMALL_SLOTS);
	for (uint64_t i = 0; i < SMALL_SLOTS; i++)
		record_number(i);
	set_tail(SMALL_SLOTS);
	CHECK(kvtap_ring_refresh(ring));
	CHECK_EQ(ring->limit, 2 * SMALL_SLOTS);
	kvtap_close(tap);
	remove_segments();
}

/* ---- batches ---- */

#define BATCH 512
#define BATCHES 400

static _Atomic(uint64_t) taken; /* by the reader */

static void wait_taken(uint64_t count)
{
	while (kvtap_load_acquire(&taken) < count)
		sched_yield();
}

static void *write_batches(void *unused)
{
	static struct kvtap_transfer transfer[BATCH];
	struct kvtap_ring *own = kvtap_ring(tap);

	(void)unused;
	for (uint64_t batch = 0; batch < BATCHES; batch++) {
		for (uint64_t i = 0; i < BATCH; i++)
			transfer[i] = numbered(batch * BATCH + i);
		wait_taken(batch < 4 ? 0 : (batch - 4) * BATCH); /* so that it has room */
		kvtap_ring_transfers(own, transfer, BATCH);
	}
	return NULL;
}

static void read_batches(struct watch *watch)
{
	static struct kvtap_record record[8 * BATCH];

	for (uint64_t number = 0; number < BATCH * BATCHES;) {
		size_t got =
			kvtap_reader_rings(watch->reader) ? fetch(watch, record, 8 * BATCH) : 0;

		CHECK_EQ(got % BATCH, 0); /* whole batches or nothing */
		for (size_t i = 0; i < got; i++)
			CHECK_EQ(record[i].request_id, number++);
		kvtap_store_release(&taken, number);
	}
}

TEST(ring_publishes_a_batch_at_once)
{
	struct watch watch;
	pthread_t writer;
	struct kvtap_options options = small_options();

	options.ring_slots = 8 * BATCH;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	watch_open(&watch, 0);
	CHECK_EQ(pthread_create(&writer, NULL, write_batches, NULL), 0);
	read_batches(&watch);
	pthread_join(writer, NULL);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(ring_takes_a_batch_that_is_larger_than_itself)
{
	struct kvtap_transfer transfer[5 * SMALL_SLOTS];
	struct watch watch;

	open_ring(SMALL_SLOTS);
	for (uint64_t i = 0; i < 5 * SMALL_SLOTS; i++) {
		transfer[i] = numbered(i);
		transfer[i].bytes = i;
	}
	kvtap_ring_transfers(ring, transfer, 0);
	kvtap_ring_transfers(ring, transfer, 5 * SMALL_SLOTS);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 5 * SMALL_SLOTS);
	CHECK_EQ(watch.records, SMALL_SLOTS);
	CHECK_EQ(watch.wrong, 0);
	CHECK_EQ(total_sum(watch_total(&watch, series), 0), 80 * 79 / 2);
	kvtap_close(tap);
	watch_remove(&watch);
}

/* ---- two threads ---- */

#define PASSED 300000ull

static void *write_numbers(void *unused)
{
	struct kvtap_ring *own = kvtap_ring(tap);

	(void)unused;
	for (uint64_t i = 0; i < PASSED; i++) {
		struct kvtap_transfer transfer = numbered(i);

		if (i % 32 == 0)
			wait_taken(i < 64 ? 0 : i - 64);
		kvtap_ring_transfer(own, &transfer);
	}
	return NULL;
}

/* 128 slots and never more than 96 on their way: none is folded, and each slot is used often. */
TEST(ring_passes_records_between_two_threads_in_order_and_whole)
{
	struct kvtap_record record[40];
	struct kvtap_options options = small_options();
	struct watch watch;
	pthread_t writer;

	options.ring_slots = 128;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	watch_open(&watch, 0);
	CHECK_EQ(pthread_create(&writer, NULL, write_numbers, NULL), 0);
	for (uint64_t number = 0; number < PASSED;) {
		size_t got = kvtap_reader_rings(watch.reader) ? fetch(&watch, record, 40) : 0;

		for (size_t i = 0; i < got; i++)
			CHECK_EQ(record[i].request_id, number++);
		kvtap_store_release(&taken, number);
		if (!got)
			sched_yield();
	}
	pthread_join(writer, NULL);
	kvtap_close(tap);
	watch_remove(&watch);
}

/* ---- signal handlers ---- */

TEST(ring_parks_8_records_of_handlers_and_counts_the_others)
{
	struct kvtap_stats stats;
	struct watch watch;

	open_ring(SMALL_SLOTS);
	record_number(0);
	CHECK(kvtap_ring_enter(ring)); /* as if a record were interrupted */
	for (uint64_t i = 1; i <= KVTAP_PARKED_MAX + 2; i++)
		kvtap_ring_transfer(ring, &(struct kvtap_transfer){
						  .series = series, .end_ns = 1, .bytes = 3 });
	CHECK(kvtap_ring_leave(ring));
	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.lost_records, 2);
	CHECK_EQ(stats.lost_bytes, 6);
	record_number(1); /* publishes those that are parked, too */
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 2 + KVTAP_PARKED_MAX);
	CHECK_EQ(watch.wrong, 0);
	CHECK_EQ(kvtap_load_relaxed(&ring->parked), 0);
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(ring_parks_scalars_and_batches_too)
{
	struct kvtap_transfer batch[3];
	struct watch watch;
	uint32_t counter;

	open_ring(SMALL_SLOTS);
	counter = counter_series(tap, "parked");
	for (int i = 0; i < 3; i++)
		batch[i] = numbered((uint64_t)i);
	CHECK(kvtap_ring_enter(ring));
	kvtap_ring_add(ring, counter, 2.5);
	kvtap_ring_transfers(ring, batch, 3);
	CHECK(kvtap_ring_leave(ring));
	kvtap_add(tap, counter, 1);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 5);
	CHECK(total_double(watch_total(&watch, counter), 0) == 3.5);
	CHECK_EQ(watch_total(&watch, series)->records, 3);
	kvtap_close(tap);
	watch_remove(&watch);
}

#define STORM_SLOTS (1u << 17)
#define STORM_LOOP 100000ull
#define STORM_BASE (1ull << 32) /* numbers of the handler's records begin here */
#define STORM_HANDLED 20000
#define STORM_PARKED 20

static volatile sig_atomic_t storm_over, handled, parked;
static _Atomic(uint32_t) storm_began;

static void on_storm(int signal)
{
	(void)signal;
	if (handled >= STORM_HANDLED)
		return;
	if (kvtap_ring_is_inside(ring))
		parked++;
	record_number(STORM_BASE + (uint64_t)handled);
	handled++;
}

static void *record_in_storm(void *unused)
{
	uint64_t number = 0;

	(void)unused;
	ring = kvtap_ring(tap);
	kvtap_store_release(&storm_began, 1);
	while (number < STORM_LOOP)
		record_number(number++);
	/* half of a fresh record's time is spent inside the ring: go on until handlers met that */
	while (parked < STORM_PARKED && handled < STORM_HANDLED)
		for (int i = 0; i < 1000; i++)
			kvtap_ring_add(ring, 0, 1);
	storm_over = 1;
	return NULL;
}

/* Each once but for those that came while 8 were parked: what is missing is what was counted. */
static void check_storm(struct watch *watch, const struct kvtap_stats *stats)
{
	static struct kvtap_record record[STORM_SLOTS];
	static bool seen_loop[STORM_LOOP], seen_handler[STORM_HANDLED];
	size_t got = kvtap_reader_rings(watch->reader) ? fetch(watch, record, STORM_SLOTS) : 0;
	uint64_t lost_bytes = 0;

	CHECK_EQ(got + stats->lost_records, STORM_LOOP + (uint64_t)handled);
	for (size_t i = 0; i < got; i++) {
		uint64_t number = record[i].request_id;
		bool *seen = number < STORM_BASE ? &seen_loop[number]
						 : &seen_handler[number - STORM_BASE];

		CHECK(!*seen);
		*seen = true;
	}
	for (uint64_t i = 0; i < STORM_LOOP; i++)
		CHECK(seen_loop[i]);
	for (uint64_t i = 0; i < (uint64_t)handled; i++)
		lost_bytes += seen_handler[i] ? 0 : numbered(STORM_BASE + i).bytes;
	CHECK_EQ(lost_bytes, stats->lost_bytes);
}

TEST(ring_keeps_each_record_of_a_storm_of_handlers_once)
{
	struct sigaction action = { .sa_handler = on_storm, .sa_flags = SA_RESTART };
	struct kvtap_options options = small_options();
	struct kvtap_stats stats;
	struct watch watch;
	pthread_t thread;

	if (with_tsan())
		SKIP("ThreadSanitizer holds signals back until a library call");
	options.ring_slots = STORM_SLOTS;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	CHECK_EQ(pthread_create(&thread, NULL, record_in_storm, NULL), 0);
	while (!kvtap_load_acquire(&storm_began))
		sched_yield();
	while (!storm_over)
		pthread_kill(thread, SIGUSR1);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	kvtap_stats(tap, &stats);
	CHECK(parked >= STORM_PARKED);
	watch_open(&watch, 0);
	check_storm(&watch, &stats);
	kvtap_close(tap);
	watch_remove(&watch);
}
