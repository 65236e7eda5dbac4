/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - what one record changes in the families of its series
 *
 * The fold in the worker and the reduction in the exporter both go by these functions, so that they
 * can't disagree on a bucket or a sum. Knows records and cells; nothing of rings or segments.
 */
#include "plan.h"

#include <math.h>
#include <string.h>

#define NANOSECOND 1e-9

_Static_assert(1 + KVTAP_FEEDS_MAX * (2 + KVTAP_BOUNDS_MAX + 1) <= UINT16_MAX, "kvtap_cell.word");

uint64_t kvtap_field_value(const struct kvtap_record *record, uint8_t field)
{
	return kvtap_plan_field(record, field);
}

double kvtap_field_unit(uint8_t field)
{
	return field >= KVTAP_FIELD_DURATION && field <= KVTAP_FIELD_DEVICE ? NANOSECOND : 1;
}

uint64_t kvtap_plan_throughput(const struct kvtap_record *record)
{
	uint64_t duration_ns = record->duration_ns ? record->duration_ns : 1;
	unsigned __int128 rate = (unsigned __int128)record->bytes * 1000000000 / duration_ns;

	return rate > UINT64_MAX ? UINT64_MAX : (uint64_t)rate;
}

bool kvtap_cell_takes(const struct kvtap_cell *cell, uint8_t status)
{
	return kvtap_plan_takes(cell, status);
}

uint32_t kvtap_cell_bucket(const struct kvtap_cell *cell, uint64_t value)
{
	return kvtap_plan_bucket(cell, value);
}

uint32_t kvtap_cell_bucket_double(const struct kvtap_cell *cell, double value)
{
	uint32_t bucket = 0;

	for (uint32_t i = 0; i < cell->bounds; i++)
		bucket += value > cell->bound[i];
	return bucket;
}

void kvtap_sum_add(struct kvtap_sum *sum, uint64_t value)
{
	kvtap_plan_sum(sum, value);
}

/* Knuth's TwoSum (The Art of Computer Programming 2, 4.2.2, theorem B): the error is exact. */
static double two_sum(double a, double b, double *error)
{
	double sum = a + b;
	double b_part = sum - a;

	*error = (a - (sum - b_part)) + (b - b_part);
	return sum;
}

void kvtap_sum_add_double(struct kvtap_sum *sum, double value)
{
	double high, low, error;

	memcpy(&high, &sum->word[0], 8);
	memcpy(&low, &sum->word[1], 8);
	high = two_sum(high, value, &error);
	low += error;
	high = two_sum(high, low, &low); /* keeps |low| at half a unit of high */
	memcpy(&sum->word[0], &high, 8);
	memcpy(&sum->word[1], &low, 8);
}

static void advance_integer(struct kvtap_sum *sum, const uint64_t now[2], const uint64_t before[2])
{
	uint64_t low = now[0] - before[0];
	uint64_t high = now[1] - before[1] - (now[0] < before[0]);

	sum->word[0] += low;
	sum->word[1] += high + (sum->word[0] < low);
}

void kvtap_sum_advance(struct kvtap_sum *sum, const uint64_t now[2], const uint64_t before[2],
		       bool is_double)
{
	double part;

	if (!is_double) {
		advance_integer(sum, now, before);
		return;
	}
	for (int i = 0; i < 2; i++) {
		memcpy(&part, &now[i], 8);
		kvtap_sum_add_double(sum, part);
		memcpy(&part, &before[i], 8);
		kvtap_sum_add_double(sum, -part);
	}
}

void kvtap_plan_begin(struct kvtap_plan *plan, uint8_t op)
{
	*plan = (struct kvtap_plan){ .words = 1, .op = op };
}

/*
 * The smallest integer whose exposed value is above the bound, so that buckets of integers need no
 * floating point. Dividing by 1e9 rounds correctly, multiplying by 1e-9 doesn't: 5 ms has to land
 * in le="0.005".
 */
static uint64_t integer_limit(double bound, double unit)
{
	double scaled = unit == NANOSECOND ? bound * 1e9 : bound;
	uint64_t value;

	if (bound < 0)
		return 0;
	if (scaled >= 0x1p63)
		return UINT64_MAX;
	value = (uint64_t)scaled;
	if (unit == NANOSECOND && scaled < 0x1p53) { /* beyond, doubles are whole nanoseconds */
		while (value > 0 && (double)value / 1e9 > bound)
			value--;
		while ((double)(value + 1) / 1e9 <= bound)
			value++;
	}
	return value + 1;
}

/* The statuses that a condition takes stand in a row. */
static uint8_t first_status(uint8_t when)
{
	if (when >= KVTAP_WHEN_FROM)
		return when - KVTAP_WHEN_FROM;
	if (when >= KVTAP_WHEN_STATUS)
		return when - KVTAP_WHEN_STATUS;
	return when == KVTAP_WHEN_FAILED;
}

static uint8_t last_status(uint8_t when)
{
	bool one = when == KVTAP_WHEN_OK || (when & ~0x3f) == KVTAP_WHEN_STATUS;

	return one ? first_status(when) : UINT8_MAX;
}

void kvtap_plan_cell(struct kvtap_plan *plan, uint32_t family, uint8_t metric, uint8_t field,
		     uint8_t when, const double *bound, uint32_t bounds, uint64_t *limit)
{
	for (uint32_t i = 0; i < bounds; i++)
		limit[i] = integer_limit(bound[i], kvtap_field_unit(field));
	plan->cell[plan->cells++] = (struct kvtap_cell){
		.family = family,
		.metric = metric,
		.field = field,
		.when = when,
		.word = (uint16_t)plan->words,
		.bounds = bounds,
		.first = first_status(when),
		.last = last_status(when),
		.bound = bound,
		.limit = limit,
	};
	plan->words += metric == KVTAP_HISTOGRAM ? 2 + bounds + 1 : 2;
}

uint8_t kvtap_plan_op(uint8_t metric)
{
	if (metric == KVTAP_COUNTER)
		return KVTAP_OP_ADD;
	return metric == KVTAP_GAUGE ? KVTAP_OP_SET : KVTAP_OP_OBSERVE;
}

static bool name_byte(char c, bool first, bool colon)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':'))
		return true;
	return !first && c >= '0' && c <= '9';
}

static bool name_valid(const char *name, size_t bytes, bool colon)
{
	if (bytes == 0 || bytes > KVTAP_NAME_MAX)
		return false;
	for (size_t i = 0; i < bytes; i++)
		if (!name_byte(name[i], i == 0, colon))
			return false;
	return true;
}

/* The charset of https://prometheus.io/docs/concepts/data_model/ before UTF-8 names. */
bool kvtap_metric_name_valid(const char *name, size_t bytes)
{
	return name_valid(name, bytes, true);
}

bool kvtap_label_name_valid(const char *name, size_t bytes, bool histogram)
{
	if (!name_valid(name, bytes, false) || (bytes >= 2 && memcmp(name, "__", 2) == 0))
		return false;
	return !(histogram && bytes == 2 && memcmp(name, "le", 2) == 0);
}

bool kvtap_feed_valid(uint32_t field, uint32_t when)
{
	if (field < KVTAP_FIELD_ONE || field > KVTAP_FIELD_THROUGHPUT)
		return false;
	return when <= KVTAP_WHEN_ALWAYS || (when >= KVTAP_WHEN_STATUS && when <= UINT8_MAX);
}

bool kvtap_kind_role_valid(uint32_t role)
{
	return role <= KVTAP_ROLE_OPERATION;
}

bool kvtap_family_role_valid(uint32_t role, uint8_t metric)
{
	return role == KVTAP_ROLE_NONE ||
	       (metric == KVTAP_COUNTER &&
		(role == KVTAP_ROLE_FAILED_NOTIFICATION || role == KVTAP_ROLE_EXPIRED_REQUEST));
}

bool kvtap_bounds_valid(const double *bound, size_t bounds)
{
	for (size_t i = 0; i < bounds; i++)
		if (!isfinite(bound[i]) || (i && bound[i] <= bound[i - 1]))
			return false;
	return true;
}
