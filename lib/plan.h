/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - build the plans of kvtap_reader.h: what a record of a series changes, and where */
#ifndef KVTAP_PLAN_H
#define KVTAP_PLAN_H

#include "kvtap_reader.h"

/* kvtap_plan_begin - an empty plan for records of this op */
void kvtap_plan_begin(struct kvtap_plan *plan, uint8_t op);
/*
 * kvtap_plan_cell - append a cell; bound is borrowed for the plan's life, limit is [bounds] of the
 * caller's, filled in here. field 0: the record's double.
 */
void kvtap_plan_cell(struct kvtap_plan *plan, uint32_t family, uint8_t metric, uint8_t field,
		     uint8_t when, const double *bound, uint32_t bounds, uint64_t *limit);

/* kvtap_plan_op - the op of records to a family of this metric */
uint8_t kvtap_plan_op(uint8_t metric);

/* kvtap_plan_throughput - bytes a second, rounded down; out of line, as it divides 128 bits */
uint64_t kvtap_plan_throughput(const struct kvtap_record *record);

/* ---- inline for the fold; kvtap_reader.h has the same for readers ---- */

static inline uint64_t kvtap_plan_field(const struct kvtap_record *record, uint8_t field)
{
	uint64_t rest;

	switch (field) {
	case KVTAP_FIELD_ONE:
		return 1;
	case KVTAP_FIELD_BYTES:
		return record->bytes;
	case KVTAP_FIELD_DESCRIPTORS:
		return record->descriptors;
	case KVTAP_FIELD_DURATION:
		return record->duration_ns;
	case KVTAP_FIELD_SUBMIT:
		return record->submit_ns;
	case KVTAP_FIELD_QUEUE:
		return record->queue_ns;
	case KVTAP_FIELD_DEVICE:
		if (record->op & KVTAP_OP_OVERLAPPED)
			return record->duration_ns;
		if (record->submit_ns > record->duration_ns)
			return 0;
		rest = record->duration_ns - record->submit_ns;
		return record->queue_ns > rest ? 0 : rest - record->queue_ns;
	case KVTAP_FIELD_FAILED_DESCRIPTORS:
		return record->failed_descriptors;
	case KVTAP_FIELD_THROUGHPUT:
		return kvtap_plan_throughput(record);
	}
	return 0;
}

static inline bool kvtap_plan_takes(const struct kvtap_cell *cell, uint8_t status)
{
	return (uint8_t)(status - cell->first) <= (uint8_t)(cell->last - cell->first);
}

/* Halving without a branch on the value: the steps depend on the number of bounds alone. */
static inline uint32_t kvtap_plan_bucket(const struct kvtap_cell *cell, uint64_t value)
{
	const uint64_t *limit = cell->limit;
	size_t left = cell->bounds;

	while (left > 1) {
		const uint64_t *upper = limit + left / 2;

		left -= left / 2;
		limit = value >= upper[-1] ? upper : limit;
	}
	return (uint32_t)(limit - cell->limit) + (left && value >= *limit);
}

static inline void kvtap_plan_sum(struct kvtap_sum *sum, uint64_t value)
{
	sum->word[0] += value;
	sum->word[1] += sum->word[0] < value;
}

/* kvtap_block_bytes - what a block of so many words takes in the arena */
static inline uint32_t kvtap_block_bytes(uint32_t words)
{
	uint32_t bytes = (uint32_t)offsetof(struct kvtap_block, word) + words * 8;

	return (bytes + KVTAP_BLOCK_ALIGN - 1) & ~(KVTAP_BLOCK_ALIGN - 1u);
}

/* ---- checks that the writer makes on declarations and the reader on hostile bytes ---- */

/* kvtap_feed_valid - whether field and condition are of this version */
bool kvtap_feed_valid(uint32_t field, uint32_t when);
/* kvtap_kind_role_valid, kvtap_family_role_valid - whether it may have the role */
bool kvtap_kind_role_valid(uint32_t role);
bool kvtap_family_role_valid(uint32_t role, uint8_t metric);

bool kvtap_metric_name_valid(const char *name, size_t bytes);
bool kvtap_label_name_valid(const char *name, size_t bytes, bool histogram);
bool kvtap_bounds_valid(const double *bound, size_t bounds);

#endif
