/* SPDX-License-Identifier: Apache-2.0 */
/* test_device.c - the protocol of kvtap_device.cuh, by threads, against the real reader */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/reader.h"
#include "../lib/tap.h"
#include "support_device.h"
#include "support_segment.h"
#include "test.h"

static struct kvtap *tap;
static struct device device;
static struct watch watch;
static struct device_seen seen;

static void begin(uint32_t slots)
{
	struct kvtap_options options = small_options();

	options.ring_slots = slots;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	device_open(&device, tap, builtin_series(tap, KVTAP_NIXL_TRANSFER));
	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
}

static void end(void)
{
	CHECK_EQ(seen.torn, 0);
	CHECK_EQ(seen.out_of_order, 0);
	kvtap_close(tap);
	watch_close(&watch);
	remove_segments();
}

/* One look of a reader at ring 0. */
static size_t drain(void)
{
	static struct kvtap_record records[4096];
	enum kvtap_reject why;
	ssize_t count = kvtap_reader_fetch(watch.reader, &why, 0, records, 4096, NULL);

	CHECK(count >= 0);
	device_take(&device, &seen, records, (size_t)count, kvtap_reader_position(watch.reader, 0));
	kvtap_reader_take(watch.reader, 0, (size_t)count);
	CHECK_EQ(kvtap_reader_give_back(watch.reader, 0), 0);
	return (size_t)count;
}

static void record(uint64_t first, uint64_t last)
{
	for (uint64_t number = first; number <= last; number++)
		CHECK(device_record(&device, 0, number));
}

/* What the ring's header tells is what the device dropped. */
static void check_losses(uint64_t records, uint64_t bytes)
{
	struct kvtap_losses losses;

	CHECK_EQ(device.memory.dropped_records, records);
	CHECK_EQ(device.memory.dropped_bytes, bytes);
	CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
	CHECK_EQ(losses.lost_records, records);
	CHECK_EQ(losses.lost_bytes, bytes);
}

/* ---- many producers ---- */

static struct producer {
	pthread_t thread;
	uint32_t index;
	uint64_t records, dropped, dropped_bytes;
} producers[DEVICE_PRODUCERS];

static _Atomic(uint32_t) running;

/* Each again until it is taken, so that as many as are asked for are; what is not is dropped. */
static void *produce(void *arg)
{
	struct producer *producer = arg;

	for (uint64_t number = 1; number <= producer->records; number++)
		while (!device_record(&device, producer->index, number)) {
			producer->dropped++;
			producer->dropped_bytes += number;
			sched_yield();
		}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

/* One try each: most are dropped. */
static void *overflow(void *arg)
{
	struct producer *producer = arg;

	for (uint64_t number = 1; number <= producer->records; number++)
		if (!device_record(&device, producer->index, number)) {
			producer->dropped++;
			producer->dropped_bytes += number;
		}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void start(void *(*run)(void *), uint64_t records)
{
	atomic_store(&running, DEVICE_PRODUCERS);
	for (uint32_t i = 0; i < DEVICE_PRODUCERS; i++) {
		producers[i] = (struct producer){ .index = i, .records = records };
		CHECK_EQ(pthread_create(&producers[i].thread, NULL, run, &producers[i]), 0);
	}
}

/* Drain while they run, and what is left; all they made is found or told as dropped. */
static void finish(uint64_t records)
{
	uint64_t dropped = 0, bytes = 0;

	while (atomic_load(&running))
		drain();
	for (int i = 0; i < DEVICE_PRODUCERS; i++) {
		CHECK_EQ(pthread_join(producers[i].thread, NULL), 0);
		dropped += producers[i].dropped;
		bytes += producers[i].dropped_bytes;
	}
	while (drain())
		;
	CHECK_EQ(seen.records, device.memory.claimed);
	CHECK_EQ(seen.records, records);
	check_losses(dropped, bytes);
	printf("device: %llu records of %d producers, %llu times full\n",
	       (unsigned long long)seen.records, DEVICE_PRODUCERS, (unsigned long long)dropped);
}

TEST_TIMEOUT(device_records_of_many_producers_are_whole_and_in_order, 240)
{
	uint64_t each = (with_tsan() ? 200000 : 10000000) / DEVICE_PRODUCERS;

	begin(4096);
	start(produce, each);
	finish(each * DEVICE_PRODUCERS);
	for (int i = 0; i < DEVICE_PRODUCERS; i++)
		CHECK_EQ(seen.last[i], each);
	end();
}

/* The smallest ring is lapped, and full, most often. */
TEST_TIMEOUT(device_records_are_whole_and_in_order_in_the_smallest_ring, 240)
{
	uint64_t each = (with_tsan() ? 20000 : 1000000) / DEVICE_PRODUCERS;

	begin(SMALL_SLOTS);
	start(produce, each);
	finish(each * DEVICE_PRODUCERS);
	end();
}

TEST(device_drops_of_many_producers_are_all_reported_when_they_have_ended)
{
	uint64_t each = with_tsan() ? 5000 : 200000, dropped = 0;

	begin(SMALL_SLOTS);
	start(overflow, each);
	for (int i = 0; i < DEVICE_PRODUCERS; i++) {
		CHECK_EQ(pthread_join(producers[i].thread, NULL), 0);
		dropped += producers[i].dropped;
	}
	CHECK_EQ(dropped, each * DEVICE_PRODUCERS - SMALL_SLOTS);
	CHECK_EQ(device.memory.reporting, 0);
	uint64_t bytes = 0;
	for (int i = 0; i < DEVICE_PRODUCERS; i++)
		bytes += producers[i].dropped_bytes;
	check_losses(dropped, bytes);
	end();
}

/* The reader's mapping is another one than the tap's, so that ThreadSanitizer sees no race between them. */
TEST(device_slots_are_ordered_in_one_mapping)
{
	static uint64_t tail;
	uint64_t each = 100000 / DEVICE_PRODUCERS;
	struct kvtap_record record;

	begin(SMALL_SLOTS);
	device.memory.host_tail = (uintptr_t)&tail;
	start(produce, each);
	while (seen.records < each * DEVICE_PRODUCERS) {
		const struct kvtap_record *slots =
			(const struct kvtap_record *)(uintptr_t)device.memory.records;
		const struct kvtap_record *slot = &slots[seen.records % SMALL_SLOTS];

		if (!kvtap_reader_is_there(kvtap_device_load_acquire((const uint64_t *)slot),
					   seen.records)) {
			sched_yield();
			continue;
		}
		record = *slot;
		device_take(&device, &seen, &record, 1, seen.records);
		kvtap_device_store_release(&tail, seen.records);
	}
	for (int i = 0; i < DEVICE_PRODUCERS; i++)
		CHECK_EQ(pthread_join(producers[i].thread, NULL), 0);
	end();
}

/* ---- indices ---- */

TEST(device_full_ring_drops_and_counts_exactly)
{
	begin(SMALL_SLOTS);
	record(1, SMALL_SLOTS);
	for (uint64_t number = 100; number < 105; number++)
		CHECK(!device_record(&device, 0, number));
	check_losses(5, 100 + 101 + 102 + 103 + 104);
	CHECK_EQ(drain(), SMALL_SLOTS);
	record(200, 199 + SMALL_SLOTS);
	CHECK_EQ(drain(), SMALL_SLOTS);
	CHECK_EQ(device.memory.claimed, 2 * SMALL_SLOTS);
	end();
}

TEST(device_sequence_goes_round_in_the_largest_ring)
{
	uint64_t number = 0, part = KVTAP_DEVICE_SLOTS_MAX / 4 * 3;

	begin(KVTAP_DEVICE_SLOTS_MAX);
	while (number < 5 * (UINT16_MAX + 1)) {
		record(number + 1, number + part);
		number += part;
		while (drain())
			;
		CHECK_EQ(seen.records, number);
	}
	record(number + 1, number + KVTAP_DEVICE_SLOTS_MAX);
	CHECK(!device_record(&device, 0, 1));
	while (drain())
		;
	CHECK_EQ(seen.records, device.memory.claimed);
	end();
}

TEST(device_sequence_goes_round_after_65536_laps)
{
	begin(SMALL_SLOTS);
	for (uint64_t lap = 0; lap < UINT16_MAX + 3; lap++) {
		record(lap * SMALL_SLOTS + 1, (lap + 1) * SMALL_SLOTS);
		CHECK_EQ(drain(), SMALL_SLOTS);
		CHECK_EQ(drain(), 0);
	}
	end();
}

/* As one lane of a warp claims for all of it. */
TEST(device_claim_of_many_gets_what_there_is)
{
	uint64_t index = 7;

	begin(SMALL_SLOTS);
	CHECK_EQ(kvtap_device_claim(&device.memory, 10, &index), 10);
	CHECK_EQ(index, 0);
	CHECK_EQ(kvtap_device_claim(&device.memory, 10, &index), 6);
	CHECK_EQ(index, 10);
	CHECK_EQ(kvtap_device_claim(&device.memory, 1, &index), 0);
	for (uint64_t i = 0; i < SMALL_SLOTS; i++) {
		struct kvtap_transfer transfer = device_made(&device, 0, i + 1);

		kvtap_device_write(&device.memory, i, &transfer);
	}
	CHECK_EQ(drain(), SMALL_SLOTS);
	end();
}

TEST(device_record_waits_for_those_that_were_claimed_before)
{
	struct kvtap_transfer first, second;
	uint64_t index;

	begin(SMALL_SLOTS);
	first = device_made(&device, 0, 1);
	second = device_made(&device, 0, 2);
	CHECK_EQ(kvtap_device_claim(&device.memory, 2, &index), 2);
	kvtap_device_write(&device.memory, index + 1, &second);
	CHECK_EQ(drain(), 0);
	kvtap_device_write(&device.memory, index, &first);
	CHECK_EQ(drain(), 2);
	end();
}

TEST(device_tail_that_cannot_be_is_ignored)
{
	uint64_t tail = 0, wrong[] = { 17, 1000, UINT64_MAX, 1ull << 63 };

	begin(SMALL_SLOTS);
	device.memory.host_tail = (uintptr_t)&tail;
	record(1, SMALL_SLOTS);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		tail = wrong[i];
		CHECK(!device_record(&device, 0, 1));
	}
	tail = 1;
	record(SMALL_SLOTS + 1, SMALL_SLOTS + 1);
	end();
}

TEST(device_without_a_ring_records_nothing)
{
	CHECK(!kvtap_device_transfer(NULL, &(struct kvtap_transfer){ .series = 1 }));
}

TEST(device_record_without_a_time_gets_the_clock_of_the_offset)
{
	struct kvtap_record got;
	enum kvtap_reject why;
	uint64_t before;

	begin(SMALL_SLOTS);
	device.memory.clock_offset = 1ll << 50;
	before = kvtap_device_now(&device.memory);
	CHECK(kvtap_device_transfer(&device.memory,
				    &(struct kvtap_transfer){ .series = device.series }));
	CHECK_EQ(kvtap_reader_fetch(watch.reader, &why, 0, &got, 1, NULL), 1);
	CHECK(got.end_ns >= before && got.end_ns <= kvtap_device_now(&device.memory));
	CHECK(before > 1ull << 50);
	end();
}

/* ---- the ring in the tap ---- */

static void *add(void *counter)
{
	kvtap_add(tap, *(uint32_t *)counter, 1);
	return NULL;
}

static void *open_here(void *nothing)
{
	device_open(&device, tap, device.series);
	return nothing;
}

TEST(device_ring_is_taken_over_by_no_thread)
{
	uint32_t counter;

	tap = small_tap();
	counter = counter_series(tap, "c");
	device.series = builtin_series(tap, KVTAP_NIXL_TRANSFER);
	run_thread(open_here, NULL); /* whose end lets go of the ring's beacon */
	run_thread(add, &counter);
	run_thread(add, &counter); /* takes over the last one's */
	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_rings(watch.reader), 2);
	CHECK(device_record(&device, 0, 1));
	CHECK_EQ(watch_drain(&watch), 3);
	CHECK_EQ(watch.wrong, 0);
	CHECK_EQ(watch_total(&watch, counter)->records, 2);
	CHECK_EQ(device.shared->head, 0);
	end();
}

static int try_open(const struct kvtap_options *options)
{
	struct kvtap_ring_header *shared;
	const struct kvtap_tail *tail;
	int rc = kvtap_open(&tap, options);

	return rc < 0 && rc != -EINVAL ? rc : kvtap_tap_device_ring(tap, &shared, &tail);
}

TEST(device_ring_of_a_tap_that_has_too_many_slots_is_refused)
{
	struct kvtap_options options = small_options();

	options.ring_slots = 2 * KVTAP_DEVICE_SLOTS_MAX;
	CHECK_EQ(try_open(&options), -ENOTSUP);
	kvtap_close(tap);
	remove_segments();
}

TEST(device_ring_of_a_tap_that_has_no_ring_left_is_refused)
{
	struct kvtap_options options = small_options();
	struct kvtap_ring_header *shared;
	const struct kvtap_tail *tail;

	options.ring_max = 1;
	CHECK_EQ(try_open(&options), 0);
	CHECK_EQ(kvtap_tap_device_ring(tap, &shared, &tail), -EUSERS);
	kvtap_close(tap);
	remove_segments();
}

TEST(device_ring_of_a_tap_that_could_not_be_opened_is_refused)
{
	struct kvtap_options options = small_options();

	options.ring_slots = 17;
	CHECK_EQ(try_open(&options), -ENODEV);
	kvtap_close(tap);
}

/* ---- the reader ---- */

static struct kvtap_watch words[16];

static void check_seen(bool quiet)
{
	CHECK_EQ(kvtap_watch_quiet(words, kvtap_reader_watch(watch.reader, NULL, 0)), quiet);
	CHECK_EQ(kvtap_reader_quiet(watch.reader), quiet);
}

static void look(void)
{
	struct kvtap_block_view block;
	enum kvtap_reject why;
	uint32_t cursor = 0;

	CHECK_EQ(kvtap_reader_refresh(watch.reader, &why), 0);
	CHECK_EQ(kvtap_reader_block(watch.reader, &why, 0, &cursor, &block), 0);
	CHECK(kvtap_reader_watch(watch.reader, words, 16) <= 16);
}

TEST(device_record_is_seen_by_who_watches)
{
	begin(SMALL_SLOTS);
	for (uint64_t number = 1; number < 3 * SMALL_SLOTS; number++) {
		look();
		check_seen(true);
		record(number, number);
		check_seen(false);
		look(); /* what was there before is as new */
		check_seen(false);
		CHECK_EQ(drain(), 1);
	}
	end();
}

TEST(device_drop_is_seen_by_who_watches)
{
	begin(SMALL_SLOTS);
	record(1, SMALL_SLOTS);
	CHECK_EQ(drain(), SMALL_SLOTS);
	record(SMALL_SLOTS + 1, 2 * SMALL_SLOTS);
	kvtap_reader_take(watch.reader, 0, SMALL_SLOTS); /* given back to nobody */
	look();
	check_seen(true);
	CHECK(!device_record(&device, 0, 1));
	check_seen(false);
	end();
}

TEST(device_ring_is_read_on_by_the_next_reader)
{
	begin(SMALL_SLOTS);
	record(1, 20 - SMALL_SLOTS);
	drain();
	record(21 - SMALL_SLOTS, 20);
	watch_close(&watch);
	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	CHECK_EQ(drain(), SMALL_SLOTS);
	CHECK_EQ(seen.records, 20);
	end();
}

/* xorshift64, https://www.jstatsoft.org/article/view/v008i14 */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Any bytes in the slots, and any position: a fetch ends, with no more than a ring. */
TEST(device_slots_of_any_bytes_are_fetched_within_a_ring)
{
	static struct kvtap_record records[SMALL_SLOTS + 1];
	uint64_t state = 88172645463325252, found = 0, pending;
	enum kvtap_reject why;

	begin(SMALL_SLOTS);
	for (int round = 0; round < 100000; round++) {
		uint64_t position = next_random(&state);
		uint64_t *slot = (uint64_t *)(uintptr_t)device.memory.records;

		for (uint64_t i = position; i != position + SMALL_SLOTS; i++) /* most look right */
			slot[i % SMALL_SLOTS * 8] =
				next_random(&state) & 7 ? 1ull << 40 | i << 48 : state;
		kvtap_reader_resume(watch.reader, 0, position);
		ssize_t count = kvtap_reader_fetch(watch.reader, &why, 0, records, SMALL_SLOTS + 1,
						   &pending);
		CHECK(count >= 0 && count <= SMALL_SLOTS && pending == (uint64_t)count);
		found += (uint64_t)count;
		kvtap_reader_quiet(watch.reader);
		kvtap_reader_watch(watch.reader, words, 16);
	}
	CHECK(found > 100000);
	end();
}

/* ---- the worker's end ---- */

/* A child that has a device ring, does this, and is killed. */
static void die_after(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		tap = small_tap();
		device_open(&device, tap, builtin_series(tap, KVTAP_NIXL_TRANSFER));
		run();
		raise(SIGKILL);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	watch_open(&watch, pid);
	CHECK_EQ(kvtap_reader_life(watch.reader, false), KVTAP_DEAD);
}

static void record_some(void)
{
	record(1, 9);
}

TEST(device_records_of_a_worker_that_was_killed_are_all_there)
{
	die_after(record_some);
	CHECK(kvtap_reader_retire(watch.reader));
	CHECK_EQ(watch_drain(&watch), 9);
	CHECK_EQ(watch.wrong, 0);
	watch_close(&watch);
	remove_segments();
}

/* Two laps, so that what was claimed last still has older records in its place. */
static void leave_holes(void)
{
	uint64_t index;

	watch_open(&watch, getpid());
	record(1, 12);
	CHECK_EQ(watch_drain(&watch), 12);
	record(13, 20);
	CHECK_EQ(kvtap_device_claim(&device.memory, 1, &index), 1);
	record(21, 21);
	CHECK_EQ(kvtap_device_claim(&device.memory, 2, &index), 2);
	record(22, 22);
	CHECK_EQ(kvtap_device_claim(&device.memory, 1, &index), 1);
}

TEST(device_records_behind_one_that_was_never_written_are_taken_at_the_end)
{
	die_after(leave_holes);
	CHECK_EQ(watch_drain(&watch), 8);
	CHECK(kvtap_reader_retire(watch.reader));
	CHECK_EQ(watch_drain(&watch), 5);
	CHECK_EQ(watch.wrong,
		 3); /* the fourth has nothing behind it that shows that it was claimed */
	CHECK_EQ(kvtap_reader_position(watch.reader, 0), 25);
	watch_close(&watch);
	remove_segments();
}

TEST(device_ring_keeps_its_worker_alive_after_the_lock_is_gone)
{
	begin(SMALL_SLOTS);
	int fd = openat(watch.folder, watch.name, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	close(fd); /* which gives up this process's POSIX locks of the file */
	CHECK_EQ(kvtap_reader_life(watch.reader, false), KVTAP_ALIVE);
	end();
}
