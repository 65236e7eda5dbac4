/* SPDX-License-Identifier: Apache-2.0 */
/* test_reduce_differential.c - a batch of hostile records does what each alone does by the book */
#include "test.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "../exporter/batch.h"
#include "../lib/plan.h"

enum { ROUNDS = 30, BATCHES = 2, FAMILIES = 10, TARGETS = 12, TRANSFERS = 8 };
enum { SERIES_SOME = 120 }; /* more than there are cells that find one of their own */

/* What a series should hold: computed record by record, in the order of the ring. */
struct expected {
	struct series *series;
	uint32_t feeders; /* targets */
	number_wide sum[NUMBER_DOUBLE];
	struct kvtap_sum exact;
	uint64_t bucket[KVTAP_BOUNDS_MAX + 1];
	struct native native;
	struct exemplar slowest;
	double value;
	uint64_t value_ns;
	bool seen;
};

struct declared {
	char name[2];
	uint8_t metric;
	double bound[KVTAP_BOUNDS_MAX];
	uint32_t bounds;
	struct family *family; /* NULL: not exposed */
	bool conflict;	       /* of another shape than its name has already */
};

struct fixture {
	struct series_table table;
	struct declared declared[FAMILIES];
	struct kvtap_plan plan[TARGETS];
	uint64_t limit[TARGETS][KVTAP_FEEDS_MAX][KVTAP_BOUNDS_MAX];
	struct series *cell[TARGETS][KVTAP_FEEDS_MAX];
	struct expected *expects[TARGETS][KVTAP_FEEDS_MAX];
	struct reduce_target target[TARGETS];
	struct worker worker;
	struct expected expected[SERIES_SOME];
	uint32_t series;
	uint64_t refused[REFUSALS_COUNT], other_records;
	uint32_t short_ns; /* transfers take less, so many take the same; 0: any time */
	bool clean;	   /* nothing breaks a run */
};

static struct fixture f;
static struct batch batch;
static uint64_t random_state = 88172645463325252u;
/* what the rounds came across */
static uint64_t all_refused[REFUSALS_COUNT], all_other;

static uint64_t random_bits(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint32_t below(uint32_t end)
{
	return (uint32_t)(random_bits() >> 32) % end;
}

/* Of all magnitudes, and around powers of two. */
static uint64_t some_integer(void)
{
	uint64_t any = random_bits() >> below(64);

	return below(8) ? any : UINT64_MAX >> below(64);
}

/* ---- declarations ---- */

/* Ascending: of all magnitudes, or so near to each other that some have the same integer. */
static void make_bounds(struct declared *declared)
{
	double at = below(2) ? -1 : 1e-9 * below(3);

	declared->bounds = below(3) ? below(20) : below(KVTAP_BOUNDS_MAX + 1);
	for (uint32_t i = 0; i < declared->bounds; i++) {
		double step = below(3) ? ldexp(1, (int)below(60) - 30) : 0.3 + below(3);
		double next = at + step;

		at = next > at ? next : nextafter(at, INFINITY);
		declared->bound[i] = at;
	}
}

static void declare(struct declared *declared, uint32_t i, struct budget *budget)
{
	static const uint8_t metrics[] = { KVTAP_HISTOGRAM, KVTAP_HISTOGRAM, KVTAP_COUNTER,
					   KVTAP_GAUGE };
	struct kvtap_text label = { "l", 1 };

	*declared = (struct declared){ .name = { (char)('a' + i % (FAMILIES - 2)) },
				       .metric = i < 4 ? metrics[i] : metrics[below(4)] };
	if (declared->metric == KVTAP_HISTOGRAM)
		make_bounds(declared);
	struct kvtap_family_view view = {
		.name = { declared->name, 1 },
		.metric = declared->metric,
		.flags = below(2) ? KVTAP_FAMILY_LAZY : 0,
		.labels = 1,
		.label = &label,
		.bound = declared->bound,
		.bounds = (uint16_t)declared->bounds,
	};
	int rc = family_declare(&declared->family, &f.table.families, &view, budget);
	declared->conflict = rc == -EEXIST;
	CHECK(!rc || declared->conflict || rc == -ENOSPC);
}

/* ---- targets ---- */

static uint8_t some_when(void)
{
	uint8_t form = (uint8_t)below(5);

	if (form < 3)
		return form; /* OK, FAILED, ALWAYS */
	return form == 3 ? (uint8_t)(KVTAP_WHEN_STATUS | below(below(2) ? 6 : 64))
			 : (uint8_t)(KVTAP_WHEN_FROM | below(below(2) ? 6 : 128));
}

static struct expected *expect(struct series *series)
{
	for (uint32_t i = 0; i < f.series; i++)
		if (f.expected[i].series == series)
			return &f.expected[i];
	CHECK(f.series < SERIES_SOME);
	struct expected *made = &f.expected[f.series++];
	*made = (struct expected){ .series = series };
	native_init(&made->native);
	return made;
}

/* A series of the cell's family, as worker.c finds it; a scalar one has a label of its own. */
static void find_cell(uint32_t t, uint32_t c, struct declared *declared, struct budget *budget)
{
	struct reduce_target *target = &f.target[t];
	char value = (char)(t < TRANSFERS ? '0' + below(4) : 'a' + t);
	struct series_label label = { { "l", 1 }, { &value, 1 } };
	int rc = declared->conflict ? -EEXIST : -ENOSPC;

	if (declared->family) {
		CHECK(family_feed(declared->family, &f.plan[t].cell[c]));
		rc = series_get(&f.cell[t][c], &f.table, declared->family, &label, 1, budget);
	}
	CHECK(rc != -ENOMEM);
	if (rc == -ENOSPC)
		target->over_budget |= 1u << c;
	target->other |= rc == -ENOSPC && f.cell[t][c];
	f.expects[t][c] = f.cell[t][c] ? expect(f.cell[t][c]) : NULL;
}

static void make_target(uint32_t t, struct budget *budget)
{
	uint32_t cells = t < TRANSFERS ? 1 + below(below(2) ? 6 : KVTAP_FEEDS_MAX) : 1;

	if (!t)
		cells = KVTAP_FEEDS_MAX;
	f.target[t] =
		(struct reduce_target){ .plan = &f.plan[t], .table = &f.table, .cell = f.cell[t] };
	kvtap_plan_begin(&f.plan[t], KVTAP_OP_TRANSFER);
	for (uint32_t c = 0; c < cells; c++) {
		struct declared *declared = &f.declared[t < TRANSFERS ? below(FAMILIES) : t % 4];
		uint8_t field = (uint8_t)(1 + below(KVTAP_FIELD_THROUGHPUT));

		if (t >= TRANSFERS) {
			f.plan[t].op = kvtap_plan_op(declared->metric);
			field = 0;
		} else if (declared->metric == KVTAP_GAUGE) {
			declared = &f.declared[0]; /* a reader refuses the other */
		}
		kvtap_plan_cell(&f.plan[t], 1, declared->metric, field, some_when(),
				declared->bound, declared->bounds, f.limit[t][c]);
		f.cell[t][c] = NULL;
		find_cell(t, c, declared, budget);
	}
	for (uint32_t i = 0; i < f.series; i++)
		for (uint32_t c = 0; c < cells; c++)
			if (f.expects[t][c] == &f.expected[i]) {
				f.expected[i].feeders++;
				break;
			}
}

static void begin(void)
{
	static struct budget budget;

	memset(&f, 0, sizeof(f));
	budget = (struct budget){ 0 };
	CHECK_EQ(series_table_init(&f.table), 0);
	f.table.families.limits.all.series = below(2) ? 8 + below(16) : 1000;
	f.table.families.limits.worker.series = below(2) ? 8 + below(16) : 1000;
	for (uint32_t i = 0; i < FAMILIES; i++)
		declare(&f.declared[i], i, &budget);
	for (uint32_t t = 0; t < TARGETS; t++)
		make_target(t, &budget);
	f.worker = (struct worker){ .target = f.target, .targets = TARGETS };
	f.short_ns = below(2) ? 0 : 1u << below(20);
}

/* ---- records ---- */

/* Such that a sum that many targets feed is exact in any order; NaN and infinite ones are refused. */
static double some_double(void)
{
	static const double hostile[] = { NAN, INFINITY, -INFINITY, -1, 0, -0.0 };

	return below(4) ? ldexp((double)below(1000), (int)below(8)) : hostile[below(6)];
}

static void fill_record(struct kvtap_record *record, uint64_t position, uint32_t t, uint8_t status)
{
	*record = (struct kvtap_record){
		.series = t + 1,
		.status = status,
		.op = t < TARGETS ? f.plan[t].op : KVTAP_OP_TRANSFER,
		.sequence = (uint16_t)position,
		.end_ns = below(4) ? below(1000) : UINT64_MAX,
		.duration_ns = f.short_ns ? below(f.short_ns) : some_integer(),
		.submit_ns = some_integer(),
		.queue_ns = some_integer(),
		.bytes = some_integer(),
		.descriptors = (uint32_t)some_integer(),
		.failed_descriptors = (uint32_t)some_integer(),
		.request_id = below(4) ? some_integer() : 0,
	};
	if (record->op != KVTAP_OP_TRANSFER)
		record->value = below(64) || f.target[t].other ? some_double() : DBL_MAX;
	switch (f.clean ? 64 : below(64)) {
	case 0:
		record->sequence = (uint16_t)random_bits();
		break;
	case 1:
		record->series = below(2) ? (uint32_t)random_bits() : 0;
		break;
	case 2:
		record->op = (uint8_t)below(6);
	}
}

/* Long runs, series and statuses that take turns, and neither. */
static uint32_t fill_batch(uint64_t position)
{
	uint32_t records = below(2) ? BATCH_RECORDS : 1 + below(BATCH_RECORDS);
	uint32_t t = 0, left = 0, turns = 1 + below(4);
	uint8_t status = 0;

	f.clean = below(2);
	for (uint32_t i = 0; i < records; i++, left--) {
		if (!left) {
			left = 1 + below(below(2) ? 4 : 3000);
			turns = 1 + below(4);
			t = below(TARGETS);
			status = (uint8_t)(below(2) ? KVTAP_OK : below(below(2) ? 6 : 256));
		}
		fill_record(&batch.record[i], position + i, (t + i % turns) % TARGETS,
			    turns == 2 ? (uint8_t)(status + i % 3) : status);
	}
	return records;
}

/* ---- what is expected ---- */

static void expect_exemplar(struct expected *expected, const struct kvtap_record *record,
			    const struct kvtap_cell *cell, double value, uint32_t bucket)
{
	struct exemplar *slowest = &expected->slowest;

	if (cell->metric == KVTAP_HISTOGRAM && record->request_id &&
	    (!slowest->request_id || record->duration_ns > slowest->duration_ns))
		*slowest = (struct exemplar){ record->request_id, record->duration_ns, value,
					      record->end_ns, bucket };
}

static enum refusal expect_transfer(uint32_t t, const struct kvtap_record *record)
{
	enum refusal refusal = REFUSE_NONE;

	for (uint32_t c = 0; c < f.plan[t].cells; c++) {
		const struct kvtap_cell *cell = &f.plan[t].cell[c];
		struct expected *expected = f.expects[t][c];
		uint64_t value = kvtap_field_value(record, cell->field);
		bool seconds = kvtap_field_unit(cell->field) < 1;
		double as_double = seconds ? (double)value / 1e9 : (double)value;
		uint32_t bucket = kvtap_cell_bucket(cell, value);

		if (!kvtap_cell_takes(cell, record->status))
			continue;
		if (!expected) {
			refusal =
				f.target[t].over_budget >> c & 1 ? REFUSE_BUDGET : REFUSE_CONFLICT;
			continue;
		}
		expected->sum[seconds ? NUMBER_NANOSECONDS : NUMBER_UNITS] += value;
		expected->seen = true;
		expect_exemplar(expected, record, cell, as_double, bucket);
		if (cell->metric != KVTAP_HISTOGRAM)
			continue;
		expected->bucket[bucket]++;
		native_observe(&expected->native, as_double, 1);
	}
	f.other_records += f.target[t].other;
	return refusal;
}

static enum refusal expect_number(struct expected *expected, const struct kvtap_cell *cell,
				  const struct kvtap_record *record)
{
	struct kvtap_sum sum = expected->exact;
	double part[2];

	kvtap_sum_add_double(&sum, record->value);
	memcpy(part, sum.word, sizeof(part));
	if (!isfinite(part[0]) || !isfinite(part[1]) ||
	    (cell->metric == KVTAP_COUNTER && record->value < 0))
		return REFUSE_VALUE;
	expected->exact = sum;
	expected->seen = true;
	if (cell->metric != KVTAP_HISTOGRAM)
		return REFUSE_NONE;
	expected->bucket[kvtap_cell_bucket_double(cell, record->value)]++;
	native_observe(&expected->native, record->value, 1);
	return REFUSE_NONE;
}

static enum refusal expect_scalar(uint32_t t, const struct kvtap_record *record)
{
	struct expected *expected = f.expects[t][0];
	enum refusal refusal = REFUSE_NONE;

	if (!expected)
		refusal = f.target[t].over_budget & 1 ? REFUSE_BUDGET : REFUSE_CONFLICT;
	else if (record->op != KVTAP_OP_SET)
		refusal = expect_number(expected, &f.plan[t].cell[0], record);
	else if (!expected->seen || record->end_ns >= expected->value_ns) {
		expected->value = record->value;
		expected->value_ns = record->end_ns; /* the future: UINT64_MAX stands for now */
		expected->seen = true;
	}
	if (refusal != REFUSE_VALUE)
		f.other_records += f.target[t].other;
	return refusal;
}

static void expect_record(const struct kvtap_record *record, uint64_t position)
{
	uint32_t t = record->series - 1;
	enum refusal refusal;

	if (record->sequence != (uint16_t)position)
		refusal = REFUSE_SEQUENCE;
	else if (t >= TARGETS)
		refusal = REFUSE_SERIES;
	else if (record->op != f.plan[t].op)
		refusal = REFUSE_OPERATION;
	else
		refusal = t < TRANSFERS ? expect_transfer(t, record) : expect_scalar(t, record);
	f.refused[refusal]++;
}

/* Of several targets, those of the same duration may come in any order. */
static void compare(const struct expected *expected)
{
	const struct series *series = expected->series;
	const struct exemplar *slowest = &expected->slowest;

	CHECK_EQ(series->seen, expected->seen);
	CHECK(!memcmp(&series->value, &expected->value, sizeof(double)));
	for (int i = 0; i < NUMBER_DOUBLE; i++)
		CHECK(number_whole(series->sum[i].word) == expected->sum[i]);
	CHECK(!memcmp(&series->sum[NUMBER_DOUBLE], &expected->exact, sizeof(expected->exact)));
	if (!series->native)
		return;
	CHECK(!memcmp(series->bucket, expected->bucket,
		      (series->family->bounds + 1) * sizeof(uint64_t)));
	CHECK_EQ(native_bytes(series->native), native_bytes(&expected->native));
	CHECK(!memcmp(series->native, &expected->native, native_bytes(&expected->native)));
	CHECK_EQ(series->exemplars->slowest.duration_ns, slowest->duration_ns);
	CHECK_EQ(!series->exemplars->slowest.request_id, !slowest->request_id);
	if (expected->feeders == 1)
		CHECK(!memcmp(&series->exemplars->slowest, slowest,
			      offsetof(struct exemplar, bucket) + sizeof(slowest->bucket)));
}

static void run_batch(void)
{
	uint64_t position = below(2) ? random_bits() : UINT16_MAX - below(BATCH_RECORDS);
	uint32_t records = fill_batch(position), part = below(records + 1);

	batch_begin(&batch);
	CHECK_EQ(batch_sort(&batch, &f.worker, position, 0, part, true), part);
	CHECK_EQ(batch_sort(&batch, &f.worker, position, part, records, true), records);
	batch_reduce(&batch, &f.worker);
	memset(f.refused, 0, sizeof(f.refused));
	for (uint32_t i = 0; i < records; i++)
		expect_record(&batch.record[i], position + i);
	for (int i = 0; i < REFUSALS_COUNT; i++) {
		CHECK_EQ(batch.refused[i], f.refused[i]);
		all_refused[i] += f.refused[i];
	}
	CHECK_EQ(f.table.other_records, f.other_records);
	for (uint32_t i = 0; i < f.series; i++)
		compare(&f.expected[i]);
}

TEST(reduce_differential_a_batch_does_what_its_records_do_one_by_one)
{
	for (int round = 0; round < ROUNDS; round++) {
		begin();
		for (int i = 0; i < BATCHES; i++)
			run_batch();
		all_other += f.other_records;
		series_table_free(&f.table);
	}
	for (int i = 0; i < REFUSE_WORKER; i++)
		CHECK(all_refused[i]);
	CHECK(all_other);
}
