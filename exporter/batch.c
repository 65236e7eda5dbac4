/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.c - records of one ring, checked and put together by series and status
 *
 * Series, status, op and sequence are the first eight bytes of a record, so a record that continues
 * a stretch is told by one comparison. The run of a series is found by a mark in its target. When the
 * status changes, so that order matters, the next run of the series begins.
 */
#include "batch.h"

#include <string.h>

_Static_assert(offsetof(struct kvtap_record, sequence) == 6 && BATCH_RECORDS <= UINT16_MAX, "head");

#define SEQUENCE_SHIFT (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 48 : 0)

static uint64_t head_of(const struct kvtap_record *record)
{
	uint64_t head;

	memcpy(&head, record, sizeof(head));
	return head;
}

static uint64_t sequence_at(uint64_t position)
{
	return (uint64_t)(uint16_t)position << SEQUENCE_SHIFT;
}

void batch_begin(struct batch *batch)
{
	batch->number++;
	batch->runs = batch->stretches = 0;
	memset(batch->refused, 0, sizeof(batch->refused));
}

/* How far records go on as the first does, whose sequence is right. */
static uint32_t stretch_end(const struct batch *batch, uint64_t position, uint32_t first,
			    uint32_t to)
{
	uint64_t same = head_of(&batch->record[first]) - sequence_at(position + first);
	uint32_t end = first + 1;

	while (end < to && head_of(&batch->record[end]) == (same | sequence_at(position + end)))
		end++;
	return end;
}

static struct batch_run *run_of(struct batch *batch, struct reduce_target *target,
				const struct kvtap_record *record)
{
	struct batch_run *run = &batch->run[target->run];

	if (target->batch == batch->number && run->status == record->status)
		return run;
	target->batch = batch->number;
	target->run = batch->runs;
	run = &batch->run[batch->runs++];
	*run = (struct batch_run){ .series = record->series, .status = record->status };
	return run;
}

static void add_stretch(struct batch *batch, struct batch_run *run, uint32_t first, uint32_t end)
{
	uint16_t at = (uint16_t)batch->stretches++;

	batch->stretch[at] = (struct batch_stretch){ .first = (uint16_t)first,
						     .records = (uint16_t)(end - first) };
	if (run->records)
		batch->stretch[run->last].next = at;
	else
		run->first = at;
	run->last = at;
	run->records = (uint16_t)(run->records + end - first);
}

/* Of transfers, those whose times overlap are in the same runs. */
static bool op_fits(uint8_t op, uint8_t planned)
{
	return op == planned ||
	       (planned == KVTAP_OP_TRANSFER && op == (KVTAP_OP_TRANSFER | KVTAP_OP_OVERLAPPED));
}

uint32_t batch_sort(struct batch *batch, const struct worker *worker, uint64_t position,
		    uint32_t from, uint32_t to, bool known)
{
	while (from < to) {
		const struct kvtap_record *record = &batch->record[from];
		struct reduce_target *target = worker_target(worker, record->series);
		uint32_t first = from;

		if (record->sequence != (uint16_t)(position + first)) {
			batch->refused[REFUSE_SEQUENCE]++;
			from++;
			continue;
		}
		if (!target && !known)
			return from;
		from = stretch_end(batch, position, first, to);
		if (!target)
			batch->refused[REFUSE_SERIES] += from - first;
		else if (!op_fits(record->op, target->plan->op))
			batch->refused[REFUSE_OPERATION] += from - first;
		else
			add_stretch(batch, run_of(batch, target, record), first, from);
	}
	return to;
}

/* Of a run in several stretches: which records they are. */
static uint16_t *put_in_order(struct batch *batch, const struct batch_run *run)
{
	uint16_t *next = batch->order;
	uint32_t at = run->first;

	for (uint32_t left = run->records; left; at = batch->stretch[at].next) {
		const struct batch_stretch *stretch = &batch->stretch[at];

		for (uint32_t i = 0; i < stretch->records; i++)
			*next++ = (uint16_t)(stretch->first + i);
		left -= stretch->records;
	}
	return batch->order;
}

/* In parts that reduce takes at once. */
static void reduce_all(struct batch *batch, struct reduce_target *target, struct reduce_run all)
{
	while (all.records) {
		struct reduce_run part = all;

		if (part.records > REDUCE_RUN_MAX)
			part.records = REDUCE_RUN_MAX;
		reduce_run(target, &part, batch->refused);
		all.records -= part.records;
		if (all.order)
			all.order += part.records;
		else
			all.record += part.records;
	}
}

void batch_reduce(struct batch *batch, const struct worker *worker)
{
	for (uint32_t i = 0; i < batch->runs; i++) {
		const struct batch_run *run = &batch->run[i];
		struct reduce_run all = { .record = batch->record, .records = run->records };

		if (run->first == run->last)
			all.record += batch->stretch[run->first].first;
		else
			all.order = put_in_order(batch, run);
		reduce_all(batch, worker_target(worker, run->series), all);
	}
}
