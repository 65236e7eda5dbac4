/* SPDX-License-Identifier: Apache-2.0 */
/*
 * columns.c - the fields of many transfers, one after the other, and their sums; pure
 *
 * Goes through as few records at a time as stay in a level-1 cache while all fields are read.
 */
#include "columns.h"

#include <stddef.h>
#include <string.h>

#define STRETCH 128 /* records, 8 KiB */

struct stretch {
	struct columns *columns;
	uint32_t from, to;
};

/* Where a field stands in a record, and how wide; 0: it has to be computed. */
static size_t place_of(uint8_t field, size_t *bytes)
{
	*bytes = 8;
	switch (field) {
	case KVTAP_FIELD_BYTES:
		return offsetof(struct kvtap_record, bytes);
	case KVTAP_FIELD_DURATION:
		return offsetof(struct kvtap_record, duration_ns);
	case KVTAP_FIELD_SUBMIT:
		return offsetof(struct kvtap_record, submit_ns);
	case KVTAP_FIELD_QUEUE:
		return offsetof(struct kvtap_record, queue_ns);
	}
	*bytes = 4;
	switch (field) {
	case KVTAP_FIELD_DESCRIPTORS:
		return offsetof(struct kvtap_record, descriptors);
	case KVTAP_FIELD_FAILED_DESCRIPTORS:
		return offsetof(struct kvtap_record, failed_descriptors);
	}
	return 0;
}

/* Inlined for each width, with an order and without. */
static inline __attribute__((always_inline)) void copy(const struct stretch *stretch, uint8_t field,
						       const uint16_t *order, size_t place,
						       size_t bytes)
{
	const char *base = (const char *)stretch->columns->record + place;
	uint64_t *value = stretch->columns->value[field];
	number_wide sum = 0;

	for (uint32_t i = stretch->from; i < stretch->to; i++) {
		size_t record = order ? order[i] : i;
		uint64_t one = 0;

		if (bytes == 4) {
			uint32_t half;
			memcpy(&half, base + record * sizeof(struct kvtap_record), 4);
			one = half;
		} else {
			memcpy(&one, base + record * sizeof(struct kvtap_record), 8);
		}
		value[i] = one;
		sum += one;
	}
	stretch->columns->sum[field] += sum;
}

static void count(const struct stretch *stretch)
{
	for (uint32_t i = stretch->from; i < stretch->to; i++)
		stretch->columns->value[KVTAP_FIELD_ONE][i] = 1;
	stretch->columns->sum[KVTAP_FIELD_ONE] += stretch->to - stretch->from;
}

static void compute(const struct stretch *stretch, uint8_t field)
{
	struct columns *columns = stretch->columns;

	for (uint32_t i = stretch->from; i < stretch->to; i++) {
		uint64_t one = kvtap_field_value(columns_record(columns, i), field);

		columns->value[field][i] = one;
		columns->sum[field] += one;
	}
}

static void fill(const struct stretch *stretch, uint8_t field)
{
	const uint16_t *order = stretch->columns->order;
	size_t bytes, place = place_of(field, &bytes);

	if (field == KVTAP_FIELD_ONE)
		count(stretch);
	else if (!place)
		compute(stretch, field);
	else if (order && bytes == 4)
		copy(stretch, field, order, place, 4);
	else if (order)
		copy(stretch, field, order, place, 8);
	else if (bytes == 4)
		copy(stretch, field, NULL, place, 4);
	else
		copy(stretch, field, NULL, place, 8);
}

void columns_fill(struct columns *columns, uint32_t fields)
{
	struct stretch stretch = { .columns = columns };

	for (uint32_t left = fields; left; left &= left - 1)
		columns->sum[__builtin_ctz(left)] = 0;
	for (; stretch.from < columns->records; stretch.from = stretch.to) {
		uint32_t left = columns->records - stretch.from;

		stretch.to = stretch.from + (left < STRETCH ? left : STRETCH);
		for (uint32_t rest = fields; rest; rest &= rest - 1)
			fill(&stretch, (uint8_t)__builtin_ctz(rest));
	}
}
