/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reduce_transfers.c - add what transfers of one series and status say to the series that they feed
 *
 * Of a histogram's values only how many there are of each piece is counted, and the buckets of both
 * kinds are brought up to date by piece. Families of the same field and bounds, as vLLM's deprecated
 * ones are, share the counting.
 */
#include "columns.h"
#include "integer_buckets.h"
#include "reduce.h"

/* How many values there are of each piece; all 0 between two runs. */
struct tally {
	uint32_t count[INTEGER_PIECES_MAX];
	uint16_t piece[COLUMNS_RECORDS]; /* [pieces] of which there are any */
	uint32_t pieces;
};

/* Too big for a stack, and only one thread reduces. */
static struct columns columns;
static struct tally tally;

static const struct integer_buckets *buckets_of(const struct reduce_target *target, uint32_t cell)
{
	return target->cell[cell]->family->integers[number_part_of(&target->plan->cell[cell])];
}

static bool is_histogram(const struct reduce_target *target, uint32_t cell)
{
	return target->plan->cell[cell].metric == KVTAP_HISTOGRAM;
}

/* Bit by cell: those that the run feeds, exposed or not. */
static uint32_t fed_cells(const struct kvtap_plan *plan, uint8_t status)
{
	uint32_t fed = 0;

	for (uint32_t i = 0; i < plan->cells; i++)
		fed |= (uint32_t)((uint8_t)(status - plan->cell[i].first) <=
				  (uint8_t)(plan->cell[i].last - plan->cell[i].first))
		       << i;
	return fed;
}

/* Those of the fed cells that have a series; the others into *refusal. */
static uint32_t exposed_cells(const struct reduce_target *target, uint32_t fed,
			      enum refusal *refusal)
{
	for (uint32_t left = fed; left; left &= left - 1) {
		uint32_t cell = (uint32_t)__builtin_ctz(left);

		if (target->cell[cell])
			continue;
		*refusal = reduce_absent(target, cell);
		fed &= ~(1u << cell);
	}
	return fed;
}

static uint32_t fields_of(const struct kvtap_plan *plan, uint32_t cells)
{
	uint32_t fields = 0;

	for (; cells; cells &= cells - 1)
		fields |= 1u << plan->cell[__builtin_ctz(cells)].field;
	return fields;
}

/* ---- histograms ---- */

static void count_pieces(const struct integer_buckets *buckets, const uint64_t *value)
{
	uint32_t pieces = 0;

	for (uint32_t i = 0; i < columns.records; i++) {
		uint32_t piece = integer_piece(buckets, value[i]);
		uint32_t before = tally.count[piece]++;

		tally.piece[pieces] = (uint16_t)piece;
		pieces += !before;
	}
	tally.pieces = pieces;
}

static void apply_pieces(const struct integer_buckets *buckets, struct series *series)
{
	bool reshaped = false;

	for (uint32_t i = 0; i < tally.pieces; i++) {
		uint32_t piece = tally.piece[i], records = tally.count[piece];

		series->bucket[buckets->bucket[piece]] += records;
		reshaped |= native_observe_at(series->native, buckets->native[piece], records);
	}
	if (reshaped)
		series->family->block[PAGE_PROTOBUF].stale = true;
}

static void clear_pieces(void)
{
	for (uint32_t i = 0; i < tally.pieces; i++)
		tally.count[tally.piece[i]] = 0;
}

/* Into all histograms among the cells. */
static void observe(const struct reduce_target *target, uint32_t cells)
{
	while (cells) {
		uint32_t first = (uint32_t)__builtin_ctz(cells);
		uint8_t field = target->plan->cell[first].field;
		const struct integer_buckets *buckets = buckets_of(target, first);

		count_pieces(buckets, columns.value[field]);
		for (uint32_t left = cells; left; left &= left - 1) {
			uint32_t cell = (uint32_t)__builtin_ctz(left);

			if (target->plan->cell[cell].field != field ||
			    buckets_of(target, cell) != buckets)
				continue;
			apply_pieces(buckets, target->cell[cell]);
			cells &= ~(1u << cell);
		}
		clear_pieces();
	}
}

/* ---- exemplars ---- */

/* The first of the slowest that names a request and takes at least so long. */
static const struct kvtap_record *find_slowest(uint64_t least_ns)
{
	const uint64_t *duration_ns = columns.value[KVTAP_FIELD_DURATION];
	const struct kvtap_record *slowest = NULL;

	for (uint32_t i = 0; i < columns.records; i++) {
		if (duration_ns[i] < least_ns || !columns_record(&columns, i)->request_id)
			continue;
		slowest = columns_record(&columns, i);
		if (duration_ns[i] == UINT64_MAX)
			break;
		least_ns = duration_ns[i] + 1;
	}
	return slowest;
}

/* What an exemplar must take at least to be a slower one for any of the cells. */
static uint64_t slow_ns(const struct reduce_target *target, uint32_t cells)
{
	uint64_t least_ns = UINT64_MAX;

	for (; cells; cells &= cells - 1) {
		const struct exemplar *slowest =
			&target->cell[__builtin_ctz(cells)]->exemplars->slowest;
		uint64_t its_ns = slowest->request_id ? slowest->duration_ns : 0;

		if (its_ns < least_ns)
			least_ns = its_ns;
	}
	return least_ns;
}

static void offer(const struct reduce_target *target, uint32_t cells)
{
	const struct kvtap_record *slowest = find_slowest(slow_ns(target, cells));

	for (; slowest && cells; cells &= cells - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(cells);
		const struct kvtap_cell *cell = &target->plan->cell[i];
		uint64_t value = kvtap_field_value(slowest, cell->field);
		bool seconds = number_part_of(cell) == NUMBER_NANOSECONDS;

		exemplar_offer(target->cell[i]->exemplars, slowest,
			       seconds ? (double)value / 1e9 : (double)value,
			       kvtap_cell_bucket(cell, value));
	}
}

/* ---- all cells ---- */

static void add(const struct reduce_target *target, uint32_t cell)
{
	enum number_part part = number_part_of(&target->plan->cell[cell]);
	number_wide sum = columns.sum[target->plan->cell[cell].field];
	struct series *series = target->cell[cell];

	number_add(&series->sum[part], sum);
	if (target->interval)
		interval_add(target->interval, cell, part, sum, columns.records);
	reduce_see(target->table, series);
}

enum refusal reduce_transfers(const struct reduce_target *target, const struct reduce_run *run)
{
	enum refusal refusal = REFUSE_NONE;
	uint8_t status = run->record[run->order ? run->order[0] : 0].status;
	uint32_t cells = exposed_cells(target, fed_cells(target->plan, status), &refusal);
	uint32_t fields = fields_of(target->plan, cells), histograms = 0;

	for (uint32_t left = cells; left; left &= left - 1)
		if (is_histogram(target, (uint32_t)__builtin_ctz(left)))
			histograms |= left & -left;
	if (histograms)
		fields |= 1u << KVTAP_FIELD_DURATION;
	if (target->interval)
		fields |= interval_fields(target->interval, status);
	columns.record = run->record;
	columns.order = run->order;
	columns.records = run->records;
	columns_fill(&columns, fields);
	for (uint32_t left = cells; left; left &= left - 1)
		add(target, (uint32_t)__builtin_ctz(left));
	observe(target, histograms);
	if (histograms)
		offer(target, histograms);
	if (target->interval)
		interval_transfers(target->interval, &columns, status);
	return refusal;
}
