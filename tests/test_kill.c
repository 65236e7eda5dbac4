/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_kill.c - SIGKILL at every instruction of calls that record, and of close
 *
 * A victim makes calls whose content follows from their number and counts those that returned in
 * memory that outlives it. After each kill a reader has to find the records of exactly these calls,
 * and at most of the one that was under way: whole, in order, with sums and buckets that agree.
 */
#include <string.h>

#include "support_kill.h"
#include "test.h"

enum { LOAD, NIXL, COUNTER, GAUGE, HISTOGRAM, SERIES };

static struct kvtap *tap; /* in the victim */
static uint64_t in_flight_max = 1;

static const double bounds[] = { 1, 10, 20.5, 40, 60 };

/* ---- calls ---- */

static unsigned series_of(uint64_t number)
{
	return number % SERIES;
}

static struct kvtap_transfer transfer_of(uint64_t number)
{
	return (struct kvtap_transfer){ .series = memory->series[series_of(number)],
					.status = series_of(number) == NIXL && number / SERIES % 2,
					.end_ns = number,
					.duration_ns = number * 1000003,
					.submit_ns = number * 77001,
					.queue_ns = number * 5,
					.bytes = number * 700001,
					.descriptors = (uint32_t)number * 3,
					.request_id = ~number };
}

static void call(uint64_t number)
{
	struct kvtap_transfer transfer = transfer_of(number);

	switch (series_of(number)) {
	case LOAD:
		kvtap_transfer(tap, &transfer);
		break;
	case NIXL:
		kvtap_ring_transfer(kvtap_ring(tap), &transfer);
		break;
	case COUNTER:
		kvtap_add(tap, transfer.series, (double)number);
		break;
	case GAUGE:
		kvtap_set(tap, transfer.series, (double)number);
		break;
	case HISTOGRAM:
		kvtap_observe(tap, transfer.series, (double)number);
		break;
	}
	atomic_store(&memory->calls, number);
}

static void calls(uint64_t first, uint64_t last)
{
	for (uint64_t number = first; number <= last; number++)
		call(number);
}

static void open_tap(void)
{
	tap = small_tap();
	memory->series[LOAD] = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	memory->series[NIXL] = builtin_series(tap, KVTAP_NIXL_TRANSFER);
	memory->series[COUNTER] = counter_series(tap, "kill_counter");
	memory->series[GAUGE] = gauge_series(tap, "kill_gauge");
	memory->series[HISTOGRAM] =
		histogram_series(tap, "kill_histogram", bounds, sizeof(bounds) / sizeof(bounds[0]));
}

/* ---- what a reader must find ---- */

static uint8_t op_of(unsigned series)
{
	static const uint8_t op[] = { KVTAP_OP_TRANSFER, KVTAP_OP_TRANSFER, KVTAP_OP_ADD,
				      KVTAP_OP_SET, KVTAP_OP_OBSERVE };

	return op[series];
}

/* The number of the call that made a record, or 0: no call made it. */
static uint64_t number_of(const struct kvtap_record *record, uint64_t index)
{
	uint64_t number =
		record->op == KVTAP_OP_TRANSFER ? ~record->request_id : (uint64_t)record->value;
	struct kvtap_transfer transfer = transfer_of(number);
	struct kvtap_record expected = { .series = transfer.series,
					 .op = op_of(series_of(number)),
					 .sequence = (uint16_t)index,
					 .end_ns = record->end_ns,
					 .value = (double)number };

	if (expected.op == KVTAP_OP_TRANSFER) {
		memcpy(&expected, &transfer, sizeof(expected));
		expected.op = KVTAP_OP_TRANSFER;
		expected.sequence = (uint16_t)index;
	}
	return memcmp(record, &expected, sizeof(expected)) == 0 ? number : 0;
}

/* Looks at the records that are there and leaves them. */
static void check_records(void)
{
	struct kvtap_record record[SMALL_SLOTS];
	enum kvtap_reject why;

	for (uint32_t ring = 0; ring < kvtap_reader_rings(watch.reader); ring++) {
		uint64_t position = kvtap_reader_position(watch.reader, ring), last = 0;
		ssize_t count =
			kvtap_reader_fetch(watch.reader, &why, ring, record, SMALL_SLOTS, NULL);

		CHECK(count >= 0);
		for (ssize_t i = 0; i < count; i++) {
			uint64_t number = number_of(&record[i], position + (uint64_t)i);

			found.torn += number <= last;
			last = number;
		}
	}
}

static double field_of(uint64_t number, const struct kvtap_cell *cell)
{
	struct kvtap_transfer transfer = transfer_of(number);

	switch (cell->field) {
	case 0:
	case KVTAP_FIELD_ONE:
		return cell->field ? 1 : (double)number;
	case KVTAP_FIELD_BYTES:
		return (double)transfer.bytes;
	case KVTAP_FIELD_DESCRIPTORS:
		return transfer.descriptors;
	case KVTAP_FIELD_DURATION:
		return (double)transfer.duration_ns;
	case KVTAP_FIELD_SUBMIT:
		return (double)transfer.submit_ns;
	}
	test_fail(__FILE__, __LINE__, "no such field: %d", cell->field);
}

/* What a cell must be after the first calls; doubles hold these sums exactly. */
static bool cell_right(const struct kvtap_cell *cell, const struct total_cell *got, unsigned series,
		       uint64_t last)
{
	uint64_t bucket[KVTAP_BOUNDS_MAX + 1] = { 0 };
	double sum = 0, value = 0, parts[2];

	for (uint64_t number = 1; number <= last; number++) {
		bool failed = transfer_of(number).status != 0;
		uint32_t at = 0;

		if (series_of(number) != series ||
		    (cell->field && cell->when != KVTAP_WHEN_ALWAYS &&
		     failed != (cell->when == KVTAP_WHEN_FAILED)))
			continue;
		value = field_of(number, cell);
		sum += value;
		if (cell->field >= KVTAP_FIELD_DURATION)
			value /= 1e9;
		while (at < cell->bounds && value > cell->bound[at])
			at++;
		bucket[at]++;
	}
	if (cell->metric == KVTAP_GAUGE)
		return got->value == value;
	if (cell->metric == KVTAP_HISTOGRAM &&
	    memcmp(bucket, got->bucket, (cell->bounds + 1) * sizeof(*bucket)) != 0)
		return false;
	memcpy(parts, got->sum.word, sizeof(parts));
	if (!cell->field)
		return parts[0] + parts[1] == sum;
	return got->sum.word[1] == 0 && (double)got->sum.word[0] == sum;
}

static void check_totals(uint64_t last)
{
	for (unsigned series = 0; series < SERIES; series++) {
		const struct kvtap_plan *plan;
		const struct total *total;

		if (!memory->series[series])
			continue;
		total = watch_total(&watch, memory->series[series]);
		plan = kvtap_reader_plan(watch.reader, memory->series[series]);
		for (uint32_t i = 0; i < plan->cells; i++)
			found.inexact += !cell_right(&plan->cell[i], &total->cell[i], series, last);
	}
}

static void drain(pid_t pid)
{
	kill_watch(pid);
	check_records();
	watch_drain(&watch);
}

static void check_calls(pid_t pid)
{
	uint64_t committed = atomic_load(&memory->calls), total;

	kill_watch(pid);
	kill_judge();
	drain(pid);
	total = watch.records + watch.folded;
	found.missing += total < committed;
	found.doubled += total > committed + in_flight_max;
	found.in_flight += total > committed;
	check_totals(total);
	atomic_store(&memory->calls, 0);
	memset(memory->series, 0, sizeof(memory->series));
}

static void killed(pid_t pid)
{
	check_calls(pid);
	kill_forget();
}

/* ---- push and fold ---- */

static void prepare_push(void)
{
	open_tap();
	call(1);
}

/* Drained twice, so that pushes, looks at the tail and folds follow each other. */
static void act_push(void)
{
	calls(2, 10);
	trace_pause();
	calls(11, 30);
	trace_pause();
	calls(31, 33);
}

TEST_TIMEOUT(kill_push_at_every_instruction, 600)
{
	kill_run(&(struct trace_scenario){ "push", prepare_push, act_push, drain, killed, 0 });
}

static void prepare_batch(void)
{
	open_tap();
	calls(1, 9);
}

/* Two as one, of different kinds; the ring has room for them. */
static void act_batch(void)
{
	struct kvtap_transfer transfers[2];

	transfers[0] = transfer_of(10);
	transfers[1] = transfer_of(11);
	kvtap_ring_transfers(kvtap_ring(tap), transfers, 2);
	atomic_store(&memory->calls, 11);
}

TEST_TIMEOUT(kill_batch_at_every_instruction, 600)
{
	in_flight_max = 2;
	kill_run(&(struct trace_scenario){ "batch", prepare_batch, act_batch, drain, killed, 0 });
}

static void prepare_fold(void)
{
	open_tap();
	calls(1, SMALL_SLOTS);
}

/* Each series twice: the first fold makes its block. */
static void act_fold(void)
{
	calls(SMALL_SLOTS + 1, SMALL_SLOTS + 2 * SERIES);
}

TEST_TIMEOUT(kill_fold_at_every_instruction, 600)
{
	kill_run(&(struct trace_scenario){ "fold", prepare_fold, act_fold, drain, killed, 0 });
}

/* ---- a ring that outlives its thread ---- */

static void *fill_ring(void *nothing)
{
	calls(1, SMALL_SLOTS + SERIES);
	return nothing;
}

static void prepare_adoption(void)
{
	open_tap();
	run_thread(fill_ring, NULL);
}

static void act_adoption(void)
{
	calls(SMALL_SLOTS + SERIES + 1, SMALL_SLOTS + SERIES + 2);
	trace_pause();
	calls(SMALL_SLOTS + SERIES + 3, SMALL_SLOTS + SERIES + 4);
}

TEST_TIMEOUT(kill_adoption_of_a_ring_at_every_instruction, 600)
{
	kill_run(&(struct trace_scenario){ "adoption", prepare_adoption, act_adoption, drain,
					   killed, 0 });
}

/* ---- close ---- */

static void act_close(void)
{
	kvtap_close(tap);
}

static void prepare_close(void)
{
	open_tap();
	calls(1, SMALL_SLOTS + SERIES);
}

TEST_TIMEOUT(kill_close_at_every_instruction, 600)
{
	kill_run(&(struct trace_scenario){ "close", prepare_close, act_close, drain, killed, 0 });
}
