/* SPDX-License-Identifier: Apache-2.0 */
/* test_reduce_transfers.c - many transfers at once do what each alone would do to every family */
#include "test.h"

#include <string.h>

#include "../exporter/reduce.h"
#include "../lib/plan.h"

enum { RECORDS = REDUCE_RUN_MAX, ROUNDS = 40 };

static const double times[] = { 0.001, 0.005, 0.01, 0.1, 1 };
static const double sizes[] = { 1e3, 1e6, 20e6, 0x1p30 };
static const double rates[] = { 1e6, 1e9, 1e12 };

struct cell {
	const char *name;
	uint8_t metric, field, when;
	const double *bound;
	uint32_t bounds;
};

/* Two with the same bounds and field, as vLLM's deprecated families are; conditions of each sort. */
static const struct cell cells[] = {
	{ "time", KVTAP_HISTOGRAM, KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, times, 5 },
	{ "size", KVTAP_HISTOGRAM, KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, sizes, 4 },
	{ "size_again", KVTAP_HISTOGRAM, KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, sizes, 4 },
	{ "size_of_all", KVTAP_HISTOGRAM, KVTAP_FIELD_BYTES, KVTAP_WHEN_ALWAYS, sizes, 4 },
	{ "submitting", KVTAP_HISTOGRAM, KVTAP_FIELD_SUBMIT, KVTAP_WHEN_ALWAYS, times, 5 },
	{ "rate", KVTAP_HISTOGRAM, KVTAP_FIELD_THROUGHPUT, KVTAP_WHEN_OK, rates, 3 },
	{ "device", KVTAP_COUNTER, KVTAP_FIELD_DEVICE, KVTAP_WHEN_ALWAYS, NULL, 0 },
	{ "blocks", KVTAP_COUNTER, KVTAP_FIELD_DESCRIPTORS, KVTAP_WHEN_OK, NULL, 0 },
	{ "failures", KVTAP_COUNTER, KVTAP_FIELD_ONE, KVTAP_WHEN_FAILED, NULL, 0 },
	{ "timeouts", KVTAP_COUNTER, KVTAP_FIELD_ONE, KVTAP_WHEN_STATUS | KVTAP_TIMED_OUT, NULL,
	  0 },
};

#define CELLS (sizeof(cells) / sizeof(cells[0]))

struct fixture {
	struct series_table table;
	struct kvtap_plan plan;
	uint64_t limit[CELLS][KVTAP_BOUNDS_MAX];
	struct series *cell[CELLS];
	struct reduce_target target;
};

static struct fixture together, alone;
static struct kvtap_record record[RECORDS];
static uint16_t order[RECORDS];
static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void begin(struct fixture *f)
{
	CHECK_EQ(series_table_init(&f->table), 0);
	kvtap_plan_begin(&f->plan, KVTAP_OP_TRANSFER);
	for (uint32_t i = 0; i < CELLS; i++) {
		const struct cell *cell = &cells[i];
		struct kvtap_family_view view = {
			.name = { cell->name, (uint32_t)strlen(cell->name) },
			.metric = cell->metric,
			.flags = KVTAP_FAMILY_LAZY,
			.bound = cell->bound,
			.bounds = (uint16_t)cell->bounds,
		};
		struct budget budget = { 0 };
		struct family *family;

		kvtap_plan_cell(&f->plan, i + 1, cell->metric, cell->field, cell->when, cell->bound,
				cell->bounds, f->limit[i]);
		CHECK_EQ(family_declare(&family, &f->table.families, &view, &budget), 0);
		CHECK(family_feed(family, &f->plan.cell[i]));
		CHECK_EQ(series_get(&f->cell[i], &f->table, family, NULL, 0, &budget), 0);
	}
	f->target = (struct reduce_target){ .plan = &f->plan, .table = &f->table, .cell = f->cell };
}

/* Of all magnitudes, and some of the same time, so that the first of the slowest matters. */
static void fill_records(uint8_t status)
{
	for (uint32_t i = 0; i < RECORDS; i++) {
		record[i] = (struct kvtap_record){
			.op = KVTAP_OP_TRANSFER,
			.status = status,
			.duration_ns = random_bits() % 3 ? random_bits() >> random_bits() % 64
							 : UINT64_MAX >> random_bits() % 64,
			.submit_ns = random_bits() >> random_bits() % 64,
			.queue_ns = random_bits() >> random_bits() % 64,
			.bytes = random_bits() >> random_bits() % 64,
			.descriptors = (uint32_t)random_bits(),
			.end_ns = i,
			.request_id = random_bits() % 4 ? i + 1 : 0,
		};
		order[i] = (uint16_t)(random_bits() % RECORDS);
	}
}

static void reduce(struct fixture *f, const struct reduce_run *run)
{
	uint64_t refused[REFUSALS_COUNT] = { 0 };

	reduce_run(&f->target, run, refused);
	CHECK_EQ(refused[REFUSE_NONE], run->records);
}

static void reduce_both(uint32_t records, const uint16_t *in_order)
{
	reduce(&together, &(struct reduce_run){ record, in_order, records });
	for (uint32_t i = 0; i < records; i++)
		reduce(&alone,
		       &(struct reduce_run){ &record[in_order ? in_order[i] : i], NULL, 1 });
}

static void compare(const struct series *a, const struct series *b)
{
	CHECK_EQ(a->seen, b->seen);
	CHECK_EQ(a->changed, b->changed);
	CHECK(!memcmp(a->sum, b->sum, sizeof(a->sum)));
	if (!a->native)
		return;
	CHECK(!memcmp(a->bucket, b->bucket, (a->family->bounds + 1) * sizeof(a->bucket[0])));
	CHECK_EQ(native_count(a->native), native_count(b->native));
	CHECK_EQ(native_bytes(a->native), native_bytes(b->native));
	CHECK(!memcmp(a->native, b->native, native_bytes(a->native)));
	CHECK(!memcmp(&a->exemplars->slowest, &b->exemplars->slowest,
		      offsetof(struct exemplar, bucket) + sizeof(uint32_t)));
}

static void end(void)
{
	series_table_free(&together.table);
	series_table_free(&alone.table);
}

TEST(reduce_transfers_together_does_what_each_does_alone)
{
	begin(&together);
	begin(&alone);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t records = round % 2 ? RECORDS : 1 + (uint32_t)(random_bits() % RECORDS);

		fill_records(round % 5 == 4 ? (uint8_t)(round % 7) : KVTAP_OK);
		reduce_both(records, round % 3 ? order : NULL);
		for (uint32_t i = 0; i < CELLS; i++)
			compare(together.cell[i], alone.cell[i]);
	}
	end();
}

/* What is expected is computed from the fields, with nothing of what reduces. */
TEST(reduce_transfers_puts_each_value_where_it_belongs)
{
	begin(&together);
	begin(&alone);
	fill_records(KVTAP_OK);
	reduce(&together, &(struct reduce_run){ record, NULL, RECORDS });
	for (uint32_t i = 0; i < CELLS; i++) {
		const struct kvtap_cell *cell = &together.plan.cell[i];
		const struct series *series = together.cell[i];
		uint64_t bucket[KVTAP_BOUNDS_MAX + 1] = { 0 };
		struct native native;
		number_wide sum = 0;

		native_init(&native);
		for (uint32_t k = 0; k < RECORDS && kvtap_cell_takes(cell, KVTAP_OK); k++) {
			uint64_t value = kvtap_field_value(&record[k], cell->field);
			bool seconds = number_part_of(cell) == NUMBER_NANOSECONDS;

			sum += value;
			bucket[kvtap_cell_bucket(cell, value)]++;
			native_observe(&native, seconds ? (double)value / 1e9 : (double)value, 1);
		}
		CHECK(number_whole(series->sum[number_part_of(cell)].word) == sum);
		if (cell->metric != KVTAP_HISTOGRAM)
			continue;
		CHECK(!memcmp(series->bucket, bucket, (cell->bounds + 1) * sizeof(bucket[0])));
		CHECK(!memcmp(series->native, &native, native_bytes(&native)));
	}
	end();
}

TEST(reduce_transfers_refuses_all_or_none_when_a_family_is_absent)
{
	uint64_t refused[REFUSALS_COUNT] = { 0 };

	begin(&together);
	begin(&alone);
	fill_records(KVTAP_OK);
	together.cell[1] = NULL;
	together.target.other = true;
	reduce_run(&together.target, &(struct reduce_run){ record, NULL, RECORDS }, refused);
	CHECK_EQ(refused[REFUSE_CONFLICT], RECORDS);
	CHECK_EQ(together.table.other_records, RECORDS);
	reduce(&alone, &(struct reduce_run){ record, NULL, RECORDS });
	compare(together.cell[0], alone.cell[0]);
	compare(together.cell[2], alone.cell[2]);
	end();
}
