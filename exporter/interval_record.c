/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval_record.c - records and blocks into the accumulators of an interval
 *
 * The way of each record of a connector. Of folded records there are the sums and buckets of the
 * families that their kind feeds: which of them stand for what is looked up once a series.
 */
#include <math.h>
#include <string.h>

#include "clock.h"
#include "interval.h"

/* ---- which cells tell what ---- */

/* Whether a cell has exactly the records that count as records of these transfers. */
static bool takes_records(const struct interval_target *target, const struct kvtap_cell *cell)
{
	return kvtap_cell_takes(cell, KVTAP_OK) &&
	       kvtap_cell_takes(cell, KVTAP_FAILED) == target->operation;
}

static uint8_t find_sum(const struct interval_target *target, uint8_t field)
{
	for (uint32_t i = 0; i < target->plan->cells; i++)
		if (target->plan->cell[i].field == field &&
		    takes_records(target, &target->plan->cell[i]))
			return (uint8_t)i;
	return INTERVAL_NO_CELL;
}

/* The histogram of a field with the most buckets. */
static uint8_t find_buckets(const struct interval_target *target, uint8_t field)
{
	const struct kvtap_plan *plan = target->plan;
	uint8_t found = INTERVAL_NO_CELL;

	for (uint32_t i = 0; i < plan->cells; i++)
		if (plan->cell[i].field == field && plan->cell[i].metric == KVTAP_HISTOGRAM &&
		    takes_records(target, &plan->cell[i]) &&
		    (found == INTERVAL_NO_CELL || plan->cell[i].bounds > plan->cell[found].bounds))
			found = (uint8_t)i;
	return found;
}

/* A cell that counts successes: any histogram of them, or a counter of one each. */
static uint8_t find_ok(const struct interval_target *target)
{
	for (uint32_t i = 0; i < target->plan->cells; i++) {
		const struct kvtap_cell *cell = &target->plan->cell[i];

		if (takes_records(target, cell) &&
		    (cell->metric == KVTAP_HISTOGRAM || cell->field == KVTAP_FIELD_ONE))
			return (uint8_t)i;
	}
	return INTERVAL_NO_CELL;
}

static uint8_t find_failed(const struct interval_target *target)
{
	for (uint32_t i = 0; i < target->plan->cells; i++)
		if (target->plan->cell[i].field == KVTAP_FIELD_ONE &&
		    target->plan->cell[i].when == KVTAP_WHEN_FAILED)
			return (uint8_t)i;
	return INTERVAL_NO_CELL;
}

void interval_map(struct interval_target *target)
{
	for (uint8_t field = 0; field <= KVTAP_FIELD_FAILED_DESCRIPTORS; field++)
		target->sum_cell[field] = field ? find_sum(target, field) : INTERVAL_NO_CELL;
	target->time_cell[SAMPLE_DURATION] = find_buckets(target, KVTAP_FIELD_DURATION);
	target->time_cell[SAMPLE_SUBMIT] = find_buckets(target, KVTAP_FIELD_SUBMIT);
	target->ok_cell = find_ok(target);
	target->failed_cell = find_failed(target);
}

/* ---- records ---- */

/* Whether transfers of this status are told of one by one. */
static bool is_sampled(const struct interval_target *target, uint8_t status)
{
	return target->transfers && target->sampled && (status == KVTAP_OK || target->operation);
}

uint32_t interval_fields(const struct interval_target *target, uint8_t status)
{
	return is_sampled(target, status)
		       ? 1u << KVTAP_FIELD_DURATION | 1u << KVTAP_FIELD_SUBMIT |
				 1u << KVTAP_FIELD_BYTES | 1u << KVTAP_FIELD_DESCRIPTORS |
				 1u << KVTAP_FIELD_FAILED_DESCRIPTORS
		       : 0;
}

static void add_samples(struct interval_target *target, const struct columns *columns)
{
	struct interval_transfers *transfers = target->transfers;
	const number_wide *sum = columns->sum;

	transfers->errors += target->error ? columns->records : 0;
	transfers->duration_ns += sum[KVTAP_FIELD_DURATION];
	transfers->submit_ns += sum[KVTAP_FIELD_SUBMIT];
	transfers->bytes += sum[KVTAP_FIELD_BYTES];
	transfers->descriptors += sum[KVTAP_FIELD_DESCRIPTORS];
	transfers->failed_descriptors += sum[KVTAP_FIELD_FAILED_DESCRIPTORS];
	target->rank->records += columns->records;
	target->rank->bytes += sum[KVTAP_FIELD_BYTES];
	target->rank->duration_ns += sum[KVTAP_FIELD_DURATION];
	samples_add(&transfers->samples, &target->intervals->pool,
		    &(struct sample_columns){ .duration_ns = columns->value[KVTAP_FIELD_DURATION],
					      .submit_ns = columns->value[KVTAP_FIELD_SUBMIT],
					      .bytes = columns->value[KVTAP_FIELD_BYTES],
					      .count = columns->records });
}

void interval_transfers(struct interval_target *target, const struct columns *columns,
			uint8_t status)
{
	if (!target->transfers)
		return;
	if (status != KVTAP_OK && !target->operation)
		target->transfers->failed += columns->records;
	else
		target->transfers->records += columns->records;
	if (is_sampled(target, status))
		add_samples(target, columns);
}

static void set_gauge(struct interval_figure *figure, double value, uint64_t when_ns)
{
	uint64_t now_ns = clock_ns();

	if (when_ns > now_ns)
		when_ns = now_ns;
	if (when_ns < figure->value_ns)
		return;
	figure->value = value;
	figure->value_ns = when_ns;
	figure->touched = true;
}

static void record_scalar(struct interval_figure *figure, const struct kvtap_record *record)
{
	if (record->op == KVTAP_OP_SET) {
		set_gauge(figure, record->value, record->end_ns);
		return;
	}
	figure->touched = true;
	figure->count++;
	kvtap_sum_add_double(&figure->sum[NUMBER_DOUBLE], record->value);
}

void interval_record(struct interval_target *target, const struct kvtap_record *record)
{
	if (!target->transfers)
		record_scalar(target->figure[0], record);
}

/* ---- blocks ---- */

static uint64_t records_in(const struct kvtap_cell *cell, const uint64_t *now,
			   const uint64_t *applied)
{
	uint64_t records = 0;

	now += cell->word;
	applied += cell->word;
	if (cell->metric != KVTAP_HISTOGRAM)
		return now[0] - applied[0];
	for (uint32_t i = 0; i <= cell->bounds; i++)
		records += now[2 + i] - applied[2 + i];
	return records;
}

static number_wide sum_in(const struct interval_target *target, enum kvtap_field field,
			  const uint64_t *now, const uint64_t *applied)
{
	uint8_t cell = target->sum_cell[field];

	if (cell == INTERVAL_NO_CELL)
		return 0;
	uint32_t word = target->plan->cell[cell].word;
	return number_whole(now + word) - number_whole(applied + word);
}

static void fold_times(struct interval_target *target, enum sample_time time, const uint64_t *now,
		       const uint64_t *applied)
{
	if (target->time_cell[time] == INTERVAL_NO_CELL)
		return;
	const struct kvtap_cell *cell = &target->plan->cell[target->time_cell[time]];
	double low = 0;

	now += cell->word + 2;
	applied += cell->word + 2;
	for (uint32_t i = 0; i <= cell->bounds; i++) {
		double high = i < cell->bounds ? cell->bound[i] : INFINITY;

		if (now[i] > applied[i])
			sample_fold(&target->transfers->samples, &target->intervals->pool, time,
				    low, high, now[i] - applied[i]);
		low = high > 0 ? high : 0;
	}
}

/* How many of the folded records count as records; the others failed. */
static uint64_t count_ok(const struct interval_target *target, const uint64_t *now,
			 const uint64_t *applied)
{
	uint64_t all = now[0] - applied[0], ok = all;

	if (target->operation)
		return all;
	if (target->ok_cell != INTERVAL_NO_CELL)
		ok = records_in(&target->plan->cell[target->ok_cell], now, applied);
	else if (target->failed_cell != INTERVAL_NO_CELL)
		ok = all - records_in(&target->plan->cell[target->failed_cell], now, applied);
	return ok < all ? ok : all;
}

static void fold_transfers(struct interval_target *target, const uint64_t *now,
			   const uint64_t *applied)
{
	struct interval_transfers *transfers = target->transfers;
	uint64_t ok = count_ok(target, now, applied);

	transfers->records += ok;
	transfers->failed += now[0] - applied[0] - ok;
	if (!target->sampled)
		return;
	number_wide bytes = sum_in(target, KVTAP_FIELD_BYTES, now, applied);
	number_wide duration_ns = sum_in(target, KVTAP_FIELD_DURATION, now, applied);
	transfers->errors += target->error ? ok : 0;
	transfers->duration_ns += duration_ns;
	transfers->submit_ns += sum_in(target, KVTAP_FIELD_SUBMIT, now, applied);
	transfers->bytes += bytes;
	transfers->descriptors += sum_in(target, KVTAP_FIELD_DESCRIPTORS, now, applied);
	transfers->failed_descriptors +=
		sum_in(target, KVTAP_FIELD_FAILED_DESCRIPTORS, now, applied);
	target->rank->records += ok;
	target->rank->bytes += bytes;
	target->rank->duration_ns += duration_ns;
	for (int time = 0; time < SAMPLE_TIMES; time++)
		fold_times(target, time, now, applied);
}

static void fold_figure(struct interval_figure *figure, const struct kvtap_cell *cell,
			const uint64_t *now, const uint64_t *applied)
{
	const uint64_t *to = now + cell->word, *from = applied + cell->word;
	double value;

	if (cell->metric == KVTAP_GAUGE) {
		memcpy(&value, &to[0], sizeof(value));
		set_gauge(figure, value, to[1]);
		return;
	}
	uint64_t records = cell->metric == KVTAP_HISTOGRAM ? records_in(cell, now, applied) : 0;
	figure->count += records;
	kvtap_sum_advance(&figure->sum[number_part_of(cell)], to, from, !cell->field);
	/* of a cell that only some records feed, an unmoved sum doesn't say that one came */
	if (records || to[0] != from[0] || to[1] != from[1] || cell->when == KVTAP_WHEN_ALWAYS ||
	    !cell->field)
		figure->touched = true;
}

void interval_fold(struct interval_target *target, const uint64_t *now, const uint64_t *applied)
{
	if (now[0] == applied[0])
		return;
	for (uint32_t i = 0; i < target->plan->cells; i++)
		if (target->figure[i])
			fold_figure(target->figure[i], &target->plan->cell[i], now, applied);
	if (target->transfers)
		fold_transfers(target, now, applied);
}
