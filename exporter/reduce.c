/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reduce.c - add what a record or an overflow block says to the series it feeds
 *
 * A block is checked as a whole before any of it is applied. A double sum takes no value that would
 * make it infinite, and no gauge's value comes from the future: one worker's nonsense must not end a
 * series that others share. But for the clock that says so, all of this is pure.
 */
#include "reduce.h"

#include <math.h>
#include <string.h>

#include "clock.h"

_Static_assert(KVTAP_FEEDS_MAX <= 32, "reduce_target.over_budget");

static double as_double(uint64_t word)
{
	double value;

	memcpy(&value, &word, sizeof(value));
	return value;
}

/* Why a cell has no series. */
static enum refusal absent(const struct reduce_target *target, uint32_t cell)
{
	return target->over_budget >> cell & 1 ? REFUSE_BUDGET : REFUSE_CONFLICT;
}

/*
 * Something was recorded into it; the first time it may add lines to the page. A child adds them
 * when its parent is computed.
 */
static void see(struct series_table *table, struct series *series)
{
	if (!series->seen && series->family->lazy && !series->gauge.parent)
		family_relayout(&table->families, series->family);
	series->seen = true;
	series_touch(table, series);
}

static void observe(const struct kvtap_cell *cell, struct series *series,
		    const struct kvtap_record *record, uint64_t value)
{
	uint32_t bucket = kvtap_cell_bucket(cell, value);
	double exposed = (double)value;

	if (number_part_of(cell) == NUMBER_NANOSECONDS)
		exposed /= 1e9;
	series->bucket[bucket]++;
	series_observe(series, exposed, 1);
	exemplar_offer(series->exemplars, record, exposed, bucket);
}

static enum refusal reduce_transfer(const struct reduce_target *target,
				    const struct kvtap_record *record)
{
	enum refusal refusal = REFUSE_NONE;

	for (uint32_t i = 0; i < target->plan->cells; i++) {
		const struct kvtap_cell *cell = &target->plan->cell[i];
		struct series *series = target->cell[i];

		if (!kvtap_cell_takes(cell, record->status))
			continue;
		if (!series) {
			refusal = absent(target, i);
			continue;
		}
		uint64_t value = kvtap_field_value(record, cell->field);
		kvtap_sum_add(&series->sum[number_part_of(cell)], value);
		if (target->interval)
			interval_add(target->interval, i, number_part_of(cell), value);
		if (cell->metric == KVTAP_HISTOGRAM)
			observe(cell, series, record, value);
		see(target->table, series);
	}
	return refusal;
}

static bool sum_add(struct kvtap_sum *sum, double value)
{
	struct kvtap_sum next = *sum;

	kvtap_sum_add_double(&next, value);
	if (!isfinite(as_double(next.word[0])) || !isfinite(as_double(next.word[1])))
		return false;
	*sum = next;
	return true;
}

/* A time that is not there yet is that of another clock, or no time at all. */
static void gauge_set(struct series_table *table, struct series *series, double value,
		      uint64_t when_ns)
{
	uint64_t now_ns = clock_ns();

	if (when_ns > now_ns)
		when_ns = now_ns;
	if (series->seen && when_ns < series->value_ns)
		return;
	series->value = value;
	series->value_ns = when_ns;
	see(table, series);
}

static enum refusal reduce_scalar(const struct reduce_target *target,
				  const struct kvtap_record *record)
{
	const struct kvtap_cell *cell = &target->plan->cell[0];
	struct series *series = target->cell[0];
	double value = record->value;

	if (record->op == KVTAP_OP_SET) {
		gauge_set(target->table, series, value, record->end_ns);
		return REFUSE_NONE;
	}
	if (!isfinite(value) || (record->op == KVTAP_OP_ADD && value < 0) ||
	    !sum_add(&series->sum[NUMBER_DOUBLE], value))
		return REFUSE_VALUE;
	if (record->op == KVTAP_OP_OBSERVE) {
		series->bucket[kvtap_cell_bucket_double(cell, value)]++;
		series_observe(series, value, 1);
	}
	see(target->table, series);
	return REFUSE_NONE;
}

enum refusal reduce_record(const struct reduce_target *target, const struct kvtap_record *record,
			   uint64_t position)
{
	if (record->sequence != (uint16_t)position)
		return REFUSE_SEQUENCE;
	if (!target)
		return REFUSE_SERIES;
	if (record->op != target->plan->op)
		return REFUSE_OPERATION;
	enum refusal refusal = record->op == KVTAP_OP_TRANSFER ? reduce_transfer(target, record)
			       : !target->cell[0]	       ? absent(target, 0)
							       : reduce_scalar(target, record);
	if (refusal == REFUSE_VALUE)
		return refusal;
	target->table->other_records += target->other;
	if (target->interval)
		interval_record(target->interval, record);
	return refusal;
}

static bool grew(const uint64_t *now, const uint64_t *before)
{
	return now[1] > before[1] || (now[1] == before[1] && now[0] >= before[0]);
}

/* Whether the sum of a counter only grew, and that of a histogram is a number. */
static bool sum_valid(const struct kvtap_cell *cell, const uint64_t *now, const uint64_t *before)
{
	if (cell->field)
		return grew(now, before);
	for (int i = 0; i < 2; i++)
		if (!isfinite(as_double(now[i])) || !isfinite(as_double(before[i])))
			return false;
	double step = (as_double(now[0]) - as_double(before[0])) +
		      (as_double(now[1]) - as_double(before[1]));
	return isfinite(step) && (cell->metric != KVTAP_COUNTER || step >= 0);
}

static bool cell_valid(const struct kvtap_cell *cell, const struct series *series,
		       const uint64_t *now, const uint64_t *applied)
{
	now += cell->word;
	applied += cell->word;
	if (cell->metric == KVTAP_GAUGE)
		return true;
	if (!sum_valid(cell, now, applied))
		return false;
	if (cell->metric == KVTAP_HISTOGRAM)
		for (uint32_t i = 0; i <= cell->bounds; i++)
			if (now[2 + i] < applied[2 + i])
				return false;
	if (!series || cell->field)
		return true;
	struct kvtap_sum sum = series->sum[NUMBER_DOUBLE];
	kvtap_sum_advance(&sum, now, applied, true);
	return isfinite(as_double(sum.word[0])) && isfinite(as_double(sum.word[1]));
}

/*
 * Of folded records only the bucket is known. In the native ones they count as its upper bound, those
 * above the last bound as that, so that the counts agree. Returns: whether there were any.
 */
static bool fold_bucket(const struct kvtap_cell *cell, struct series *series, uint32_t bucket,
			uint64_t records)
{
	uint32_t bound = bucket < cell->bounds ? bucket : cell->bounds - 1;

	if (!records)
		return false;
	series->bucket[bucket] += records;
	series_observe(series, cell->bounds ? cell->bound[bound] : 0, records);
	return true;
}

static void cell_advance(struct series_table *table, const struct kvtap_cell *cell,
			 struct series *series, const uint64_t *now, const uint64_t *applied)
{
	now += cell->word;
	applied += cell->word;
	if (cell->metric == KVTAP_GAUGE) {
		gauge_set(table, series, as_double(now[0]), now[1]);
		return;
	}
	bool moved = now[0] != applied[0] || now[1] != applied[1];
	kvtap_sum_advance(&series->sum[number_part_of(cell)], now, applied, !cell->field);
	for (uint32_t i = 0; cell->metric == KVTAP_HISTOGRAM && i <= cell->bounds; i++) {
		moved |= fold_bucket(cell, series, i, now[2 + i] - applied[2 + i]);
	}
	/* of a cell that only some records feed, an unmoved sum doesn't say that one came */
	if (moved || cell->when == KVTAP_WHEN_ALWAYS || !cell->field)
		see(table, series);
}

enum refusal reduce_block(const struct reduce_target *target, const uint64_t *now,
			  const uint64_t *applied)
{
	const struct kvtap_plan *plan = target->plan;
	enum refusal refusal = REFUSE_NONE;

	if (now[0] < applied[0])
		return REFUSE_VALUE;
	for (uint32_t i = 0; i < plan->cells; i++)
		if (!cell_valid(&plan->cell[i], target->cell[i], now, applied))
			return REFUSE_VALUE;
	if (target->other)
		target->table->other_records += now[0] - applied[0];
	if (target->interval)
		interval_fold(target->interval, now, applied);
	for (uint32_t i = 0; now[0] != applied[0] && i < plan->cells; i++) {
		if (target->cell[i])
			cell_advance(target->table, &plan->cell[i], target->cell[i], now, applied);
		else
			refusal = absent(target, i);
	}
	return refusal;
}
