/* SPDX-License-Identifier: Apache-2.0 */
/* test_batch.c - records of one ring are checked, and each series gets its own in order */
#include "../exporter/batch.h"

#include <string.h>

#include "test.h"

enum { SERIES = 3 };

/* Gauges, each with a series: what was set last tells the order. */
struct fixture {
	struct series_table table;
	struct kvtap_plan plan;
	struct series *cell[SERIES];
	struct reduce_target target[SERIES];
	struct worker worker;
};

static struct fixture f;
static struct batch batch;

static struct series *gauge(const char *name)
{
	struct kvtap_family_view view = { .name = { name, 1 }, .metric = KVTAP_GAUGE };
	struct budget budget = { 0 };
	struct family *family;
	struct series *made;

	CHECK_EQ(family_declare(&family, &f.table.families, &view, &budget), 0);
	CHECK_EQ(series_get(&made, &f.table, family, NULL, 0, &budget), 0);
	return made;
}

static void begin(void)
{
	static const char *const names[SERIES] = { "a", "b", "c" };

	CHECK_EQ(series_table_init(&f.table), 0);
	f.plan = (struct kvtap_plan){ .op = KVTAP_OP_SET, .cells = 1 };
	f.plan.cell[0].metric = KVTAP_GAUGE;
	for (int i = 0; i < SERIES; i++) {
		f.cell[i] = gauge(names[i]);
		f.target[i] = (struct reduce_target){ .plan = &f.plan,
						      .table = &f.table,
						      .cell = &f.cell[i] };
	}
	f.worker = (struct worker){ .target = f.target, .targets = SERIES };
	memset(&batch, 0, sizeof(batch));
	batch_begin(&batch);
}

static void put(uint32_t i, uint32_t series, uint8_t status, uint64_t position)
{
	batch.record[i] = (struct kvtap_record){ .series = series,
						 .status = status,
						 .op = KVTAP_OP_SET,
						 .sequence = (uint16_t)position,
						 .end_ns = 1,
						 .value = i };
}

TEST(batch_refuses_what_does_not_belong_there)
{
	begin();
	for (uint32_t i = 0; i < 6; i++)
		put(i, 1, 0, 7 + i);
	batch.record[1].sequence++;
	batch.record[2].series = SERIES + 1;
	batch.record[3].series = 0;
	batch.record[4].op = KVTAP_OP_ADD;
	CHECK_EQ(batch_sort(&batch, &f.worker, 7, 0, 6, true), 6);
	batch_reduce(&batch, &f.worker);
	CHECK_EQ(batch.refused[REFUSE_SEQUENCE], 1);
	CHECK_EQ(batch.refused[REFUSE_SERIES], 2);
	CHECK_EQ(batch.refused[REFUSE_OPERATION], 1);
	CHECK_EQ(batch.refused[REFUSE_NONE], 2);
	CHECK(f.cell[0]->value == 5);
	series_table_free(&f.table);
}

TEST(batch_takes_overlapping_times_of_transfers_alone)
{
	begin();
	for (uint32_t i = 0; i < 3; i++)
		put(i, 1, 0, i);
	batch.record[1].op |= KVTAP_OP_OVERLAPPED;
	CHECK_EQ(batch_sort(&batch, &f.worker, 0, 0, 3, true), 3);
	CHECK_EQ(batch.refused[REFUSE_OPERATION], 1);
	f.plan.op = KVTAP_OP_TRANSFER;
	for (uint32_t i = 0; i < 3; i++)
		batch.record[i].op = KVTAP_OP_TRANSFER | (i == 1 ? KVTAP_OP_OVERLAPPED : 0);
	batch_begin(&batch);
	CHECK_EQ(batch_sort(&batch, &f.worker, 0, 0, 3, true), 3);
	CHECK_EQ(batch.refused[REFUSE_OPERATION], 0);
	CHECK_EQ(batch.run[0].records, 3);
	series_table_free(&f.table);
}

TEST(batch_compares_the_low_bits_of_the_position)
{
	begin();
	for (uint32_t i = 0; i < 8; i++)
		put(i, 1, 0, 0xabcdfffc + i);
	CHECK_EQ(batch_sort(&batch, &f.worker, 0xabcdfffc, 0, 8, true), 8);
	batch_reduce(&batch, &f.worker);
	CHECK_EQ(batch.refused[REFUSE_NONE], 8);
	series_table_free(&f.table);
}

TEST(batch_sort_stops_at_a_series_that_is_not_known_yet)
{
	begin();
	for (uint32_t i = 0; i < 4; i++)
		put(i, i == 2 ? SERIES : 1, 0, i);
	f.worker.targets = 1;
	CHECK_EQ(batch_sort(&batch, &f.worker, 0, 0, 4, false), 2);
	f.worker.targets = SERIES;
	CHECK_EQ(batch_sort(&batch, &f.worker, 0, 2, 4, true), 4);
	batch_reduce(&batch, &f.worker);
	CHECK_EQ(batch.refused[REFUSE_NONE], 4);
	CHECK(f.cell[0]->value == 3);
	CHECK(f.cell[SERIES - 1]->value == 2);
	series_table_free(&f.table);
}

TEST(batch_puts_the_records_of_a_series_into_one_run)
{
	begin();
	for (uint32_t i = 0; i < BATCH_RECORDS; i++)
		put(i, 1 + i % SERIES, 0, i);
	CHECK_EQ(batch_sort(&batch, &f.worker, 0, 0, BATCH_RECORDS, true), BATCH_RECORDS);
	CHECK_EQ(batch.runs, SERIES);
	batch_reduce(&batch, &f.worker);
	CHECK_EQ(batch.refused[REFUSE_NONE], BATCH_RECORDS);
	for (uint32_t i = 0; i < SERIES; i++)
		CHECK((uint32_t)f.cell[i]->value % SERIES == i &&
		      f.cell[i]->value >= BATCH_RECORDS - SERIES);
	series_table_free(&f.table);
}

TEST(batch_reduces_all_of_a_series_that_is_alone)
{
	begin();
	for (uint32_t i = 0; i < BATCH_RECORDS; i++)
		put(i, 2, 0, i);
	CHECK_EQ(batch_sort(&batch, &f.worker, 0, 0, BATCH_RECORDS, true), BATCH_RECORDS);
	CHECK_EQ(batch.runs, 1);
	CHECK_EQ(batch.stretches, 1);
	batch_reduce(&batch, &f.worker);
	CHECK_EQ(batch.refused[REFUSE_NONE], BATCH_RECORDS);
	CHECK(f.cell[1]->value == BATCH_RECORDS - 1);
	series_table_free(&f.table);
}

TEST(batch_keeps_the_order_of_a_series_when_its_status_changes)
{
	begin();
	for (uint32_t i = 0; i < 9; i++)
		put(i, 1, i % 3 == 1, i);
	batch_sort(&batch, &f.worker, 0, 0, 9, true);
	for (uint32_t i = 0; i < batch.runs; i++)
		for (uint32_t at = batch.run[i].first;; at = batch.stretch[at].next) {
			CHECK_EQ(batch.record[batch.stretch[at].first].status, batch.run[i].status);
			if (at == batch.run[i].last)
				break;
		}
	batch_reduce(&batch, &f.worker);
	CHECK(f.cell[0]->value == 8);
	series_table_free(&f.table);
}

TEST(batch_forgets_the_runs_of_the_one_before)
{
	begin();
	put(0, 1, 0, 0);
	batch_sort(&batch, &f.worker, 0, 0, 1, true);
	batch_reduce(&batch, &f.worker);
	batch_begin(&batch);
	put(0, 2, 0, 1);
	put(1, 1, 0, 2);
	batch_sort(&batch, &f.worker, 1, 0, 2, true);
	CHECK_EQ(batch.runs, 2);
	batch_reduce(&batch, &f.worker);
	CHECK_EQ(batch.refused[REFUSE_NONE], 2);
	CHECK(f.cell[0]->value == 1);
	series_table_free(&f.table);
}
