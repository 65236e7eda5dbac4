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
	reduce_see(table, series);
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
	reduce_see(target->table, series);
	return REFUSE_NONE;
}

static void reduce_scalars(const struct reduce_target *target, const struct reduce_run *run,
			   uint64_t refused[REFUSALS_COUNT])
{
	for (uint32_t i = 0; i < run->records; i++) {
		const struct kvtap_record *record = &run->record[run->order ? run->order[i] : i];
		enum refusal refusal =
			target->cell[0] ? reduce_scalar(target, record) : reduce_absent(target, 0);

		refused[refusal]++;
		if (refusal == REFUSE_VALUE)
			continue;
		target->table->other_records += target->other;
		if (target->interval)
			interval_record(target->interval, record);
	}
}

void reduce_run(const struct reduce_target *target, const struct reduce_run *run,
		uint64_t refused[REFUSALS_COUNT])
{
	if (target->plan->op != KVTAP_OP_TRANSFER) {
		reduce_scalars(target, run, refused);
		return;
	}
	refused[reduce_transfers(target, run)] += run->records;
	if (target->other)
		target->table->other_records += run->records;
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
		reduce_see(table, series);
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
			refusal = reduce_absent(target, i);
	}
	return refusal;
}
