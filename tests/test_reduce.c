/* SPDX-License-Identifier: Apache-2.0 */
/* test_reduce.c - what records and overflow blocks do to series, and what is refused */
#include "test.h"

#include <math.h>
#include <string.h>

#include "../exporter/clock.h"
#include "../exporter/reduce.h"
#include "support_number.h"

static const double bounds[] = { 0.001, 0.01 };
static const uint64_t limits[] = { 1000001, 10000001 };
static const double sizes[] = { 100 };
static const uint64_t size_limits[] = { 101 };

/* A kind of three families, as built from a dictionary; and one series for each of them. */
struct fixture {
	struct series_table table;
	struct kvtap_plan plan;
	struct series *cell[3];
	struct reduce_target target;
};

static struct series *series(struct fixture *f, const char *name, uint8_t metric,
			     const double *bound, uint16_t count)
{
	struct kvtap_family_view view = {
		.name = { name, (uint32_t)strlen(name) },
		.metric = metric,
		.bound = bound,
		.bounds = count,
	};

	struct budget budget = { 0 };
	struct family *family;
	struct series *made;

	CHECK_EQ(family_declare(&family, &f->table.families, &view, &budget), 0);
	CHECK_EQ(series_get(&made, &f->table, family, NULL, 0, &budget), 0);
	return made;
}

static void begin(struct fixture *f, uint8_t op)
{
	memset(f, 0, sizeof(*f));
	CHECK_EQ(series_table_init(&f->table), 0);
	f->plan.op = op;
	f->plan.words = 1;
	f->target = (struct reduce_target){ .plan = &f->plan, .table = &f->table, .cell = f->cell };
}

static void add_cell(struct fixture *f, const char *name, struct kvtap_cell cell)
{
	cell.word = f->plan.words;
	f->plan.words += cell.metric == KVTAP_HISTOGRAM ? 3 + cell.bounds : 2;
	f->cell[f->plan.cells] = series(f, name, cell.metric, cell.bound, (uint16_t)cell.bounds);
	CHECK(family_feed(f->cell[f->plan.cells]->family, &cell));
	f->plan.cell[f->plan.cells++] = cell;
}

static void begin_transfer(struct fixture *f)
{
	begin(f, KVTAP_OP_TRANSFER);
	add_cell(f, "time",
		 (struct kvtap_cell){ .metric = KVTAP_HISTOGRAM,
				      .field = KVTAP_FIELD_DURATION,
				      .bounds = 2,
				      .bound = bounds,
				      .limit = limits });
	add_cell(f, "bytes",
		 (struct kvtap_cell){ .metric = KVTAP_COUNTER, .field = KVTAP_FIELD_BYTES });
	add_cell(f, "failed",
		 (struct kvtap_cell){ .metric = KVTAP_COUNTER,
				      .field = KVTAP_FIELD_ONE,
				      .when = KVTAP_WHEN_FAILED,
				      .first = 1,
				      .last = UINT8_MAX });
}

static void begin_scalar(struct fixture *f, uint8_t op, uint8_t metric)
{
	begin(f, op);
	bool histogram = metric == KVTAP_HISTOGRAM;
	add_cell(f, "scalar",
		 (struct kvtap_cell){ .metric = metric,
				      .bounds = histogram,
				      .bound = sizes,
				      .limit = size_limits });
}

/* What one record came to. */
static enum refusal reduce(struct fixture *f, const struct kvtap_record *record)
{
	uint64_t refused[REFUSALS_COUNT] = { 0 };
	enum refusal refusal = REFUSE_NONE;

	reduce_run(&f->target, &(struct reduce_run){ .record = record, .records = 1 }, refused);
	while (!refused[refusal])
		refusal++;
	return refusal;
}

static enum refusal scalar(struct fixture *f, double value, uint64_t end_ns)
{
	struct kvtap_record record = { .op = f->plan.op, .end_ns = end_ns, .value = value };

	return reduce(f, &record);
}

static const char *total(const struct series *of)
{
	static char out[NUMBER_FIELD_BYTES + 1];

	number_field_sum(out, of->sum);
	return number_plain(out);
}

TEST(reduce_transfer_feeds_the_families_of_its_status)
{
	struct fixture f;
	struct kvtap_record record = { .op = KVTAP_OP_TRANSFER,
				       .duration_ns = 1000000,
				       .bytes = 1 << 20 };

	begin_transfer(&f);
	CHECK_EQ(reduce(&f, &record), REFUSE_NONE);
	record.duration_ns = 1000001;
	CHECK_EQ(reduce(&f, &record), REFUSE_NONE);
	CHECK(!f.cell[2]->seen);
	record.status = 3;
	CHECK_EQ(reduce(&f, &record), REFUSE_NONE);
	CHECK_EQ(f.cell[0]->bucket[0], 1);
	CHECK_EQ(f.cell[0]->bucket[1], 1);
	CHECK_EQ(f.cell[0]->bucket[2], 0);
	CHECK_STR(total(f.cell[0]), "0.002000001");
	CHECK_STR(total(f.cell[1]), "2097152");
	CHECK_STR(total(f.cell[2]), "1");
	series_table_free(&f.table);
}

TEST(reduce_transfer_feeds_the_others_when_one_family_conflicts)
{
	struct fixture f;
	struct kvtap_record record = { .op = KVTAP_OP_TRANSFER, .bytes = 5 };

	begin_transfer(&f);
	f.cell[0] = NULL;
	CHECK_EQ(reduce(&f, &record), REFUSE_CONFLICT);
	CHECK_STR(total(f.cell[1]), "5");
	series_table_free(&f.table);
}

TEST(reduce_tells_a_family_without_room_from_one_that_conflicts)
{
	struct fixture f;
	struct kvtap_record record = { .op = KVTAP_OP_TRANSFER, .bytes = 5 };
	uint64_t before[10] = { 0 };
	uint64_t now[] = { 1, 0, 0, 1, 0, 0, 7, 0, 0, 0 };

	begin_transfer(&f);
	f.cell[0] = NULL;
	f.target.over_budget = 1;
	CHECK_EQ(reduce(&f, &record), REFUSE_BUDGET);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_BUDGET);
	CHECK_STR(total(f.cell[1]), "12");
	series_table_free(&f.table);
	begin_scalar(&f, KVTAP_OP_ADD, KVTAP_COUNTER);
	f.cell[0] = NULL;
	CHECK_EQ(scalar(&f, 1, 0), REFUSE_CONFLICT);
	f.target.over_budget = 1;
	CHECK_EQ(scalar(&f, 1, 0), REFUSE_BUDGET);
	series_table_free(&f.table);
}

TEST(reduce_add_takes_finite_amounts_that_are_not_negative)
{
	struct fixture f;

	begin_scalar(&f, KVTAP_OP_ADD, KVTAP_COUNTER);
	CHECK_EQ(scalar(&f, 1.5, 0), REFUSE_NONE);
	CHECK_EQ(scalar(&f, 0, 0), REFUSE_NONE);
	CHECK_EQ(scalar(&f, -1, 0), REFUSE_VALUE);
	CHECK_EQ(scalar(&f, NAN, 0), REFUSE_VALUE);
	CHECK_EQ(scalar(&f, INFINITY, 0), REFUSE_VALUE);
	CHECK_STR(total(f.cell[0]), "1.5");
	series_table_free(&f.table);
}

TEST(reduce_add_never_makes_a_sum_infinite)
{
	struct fixture f;

	begin_scalar(&f, KVTAP_OP_ADD, KVTAP_COUNTER);
	CHECK_EQ(scalar(&f, 1e308, 0), REFUSE_NONE);
	CHECK_EQ(scalar(&f, 1e308, 0), REFUSE_VALUE);
	CHECK_STR(total(f.cell[0]), "1e+308");
	series_table_free(&f.table);
}

TEST(reduce_observe_takes_finite_values)
{
	struct fixture f;

	begin_scalar(&f, KVTAP_OP_OBSERVE, KVTAP_HISTOGRAM);
	CHECK_EQ(scalar(&f, 100, 0), REFUSE_NONE);
	CHECK_EQ(scalar(&f, 100.5, 0), REFUSE_NONE);
	CHECK_EQ(scalar(&f, -300, 0), REFUSE_NONE);
	CHECK_EQ(scalar(&f, NAN, 0), REFUSE_VALUE);
	CHECK_EQ(scalar(&f, -INFINITY, 0), REFUSE_VALUE);
	CHECK_EQ(f.cell[0]->bucket[0], 2);
	CHECK_EQ(f.cell[0]->bucket[1], 1);
	CHECK_STR(total(f.cell[0]), "-99.5");
	series_table_free(&f.table);
}

TEST(reduce_set_keeps_the_latest_value)
{
	struct fixture f;

	begin_scalar(&f, KVTAP_OP_SET, KVTAP_GAUGE);
	CHECK_EQ(scalar(&f, 1, 100), REFUSE_NONE);
	CHECK_EQ(scalar(&f, 2, 99), REFUSE_NONE);
	CHECK(f.cell[0]->value == 1);
	CHECK_EQ(scalar(&f, 3, 100), REFUSE_NONE);
	CHECK(f.cell[0]->value == 3);
	CHECK_EQ(scalar(&f, NAN, 101), REFUSE_NONE);
	CHECK(isnan(f.cell[0]->value));
	series_table_free(&f.table);
}

TEST(reduce_set_is_not_stopped_by_a_value_from_the_future)
{
	struct fixture f;
	uint64_t before[3] = { 0 };
	uint64_t now[] = { 1, 0, UINT64_MAX };

	begin_scalar(&f, KVTAP_OP_SET, KVTAP_GAUGE);
	CHECK_EQ(scalar(&f, 1, UINT64_MAX), REFUSE_NONE);
	CHECK(f.cell[0]->value == 1);
	CHECK_EQ(scalar(&f, 2, clock_ns()), REFUSE_NONE);
	CHECK(f.cell[0]->value == 2);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_NONE);
	CHECK(f.cell[0]->value == 0);
	CHECK_EQ(scalar(&f, 3, clock_ns()), REFUSE_NONE);
	CHECK(f.cell[0]->value == 3);
	series_table_free(&f.table);
}

/* word[0]; time: sum, 3 buckets; bytes; failed */
TEST(reduce_block_applies_the_difference)
{
	struct fixture f;
	uint64_t before[] = { 1, 500, 0, 1, 0, 0, 10, 0, 0, 0 };
	uint64_t now[] = { 4, 20000500, 0, 1, 1, 1, 70, 1, 1, 0 };

	begin_transfer(&f);
	CHECK_EQ(f.plan.words, 10);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_NONE);
	CHECK_STR(total(f.cell[0]), "0.02");
	CHECK_EQ(f.cell[0]->bucket[0], 0);
	CHECK_EQ(f.cell[0]->bucket[1], 1);
	CHECK_EQ(f.cell[0]->bucket[2], 1);
	CHECK_STR(total(f.cell[1]), "18446744073709551676");
	CHECK_STR(total(f.cell[2]), "1");
	series_table_free(&f.table);
}

TEST(reduce_block_refuses_as_a_whole_what_went_back)
{
	struct fixture f;
	uint64_t before[] = { 2, 500, 1, 1, 0, 0, 10, 0, 1, 0 };
	uint64_t now[10];

	begin_transfer(&f);
	for (int i = 0; i < 10; i++) {
		if (!before[i])
			continue;
		memcpy(now, before, sizeof(now));
		now[0]++;
		now[i] = before[i] - 1;
		CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_VALUE);
	}
	for (int i = 0; i < 3; i++)
		CHECK_STR(total(f.cell[i]), "0");
	series_table_free(&f.table);
}

TEST(reduce_block_shows_a_lazy_series_only_if_it_was_fed)
{
	struct fixture f;
	uint64_t before[10] = { 0 };
	uint64_t now[] = { 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };

	begin_transfer(&f);
	CHECK_EQ(reduce_block(&f.target, before, before), REFUSE_NONE);
	CHECK(!f.cell[0]->seen);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_NONE);
	CHECK(f.cell[0]->seen);
	CHECK(!f.cell[2]->seen);
	series_table_free(&f.table);
}

static uint64_t word(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

TEST(reduce_block_checks_sums_of_doubles)
{
	struct fixture f;
	uint64_t before[] = { 1, word(2), 0 };
	uint64_t now[] = { 2, word(2.5), 0 };

	begin_scalar(&f, KVTAP_OP_ADD, KVTAP_COUNTER);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_NONE);
	CHECK_STR(total(f.cell[0]), "0.5");
	now[1] = word(1);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_VALUE);
	now[1] = word(NAN);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_VALUE);
	now[1] = word(3);
	now[2] = word(INFINITY);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_VALUE);
	CHECK_STR(total(f.cell[0]), "0.5");
	series_table_free(&f.table);
}

TEST(reduce_block_lets_the_sum_of_a_histogram_fall)
{
	struct fixture f;
	uint64_t before[] = { 1, word(2), 0, 1, 0 };
	uint64_t now[] = { 2, word(-2), 0, 2, 0 };

	begin_scalar(&f, KVTAP_OP_OBSERVE, KVTAP_HISTOGRAM);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_NONE);
	CHECK_STR(total(f.cell[0]), "-4");
	CHECK_EQ(f.cell[0]->bucket[0], 1);
	series_table_free(&f.table);
}

TEST(reduce_block_sets_a_gauge_if_it_is_later)
{
	struct fixture f;
	uint64_t before[3] = { 0 };
	uint64_t now[] = { 1, word(7), 50 };

	begin_scalar(&f, KVTAP_OP_SET, KVTAP_GAUGE);
	CHECK_EQ(scalar(&f, 1, 60), REFUSE_NONE);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_NONE);
	CHECK(f.cell[0]->value == 1);
	now[2] = 70;
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_NONE);
	CHECK(f.cell[0]->value == 7);
	series_table_free(&f.table);
}

TEST(reduce_transfer_feeds_native_buckets_and_the_exemplar)
{
	struct fixture f;
	struct kvtap_record record = {
		.op = KVTAP_OP_TRANSFER, .duration_ns = 500000000, .end_ns = 9, .request_id = 7
	};

	begin_transfer(&f);
	CHECK_EQ(reduce(&f, &record), REFUSE_NONE);
	record.duration_ns++;
	record.request_id = 0;
	CHECK_EQ(reduce(&f, &record), REFUSE_NONE);
	const struct native *native = f.cell[0]->native;
	CHECK_EQ(native->buckets, 2); /* half a second, and more than that */
	CHECK_EQ(native_index(&native->bucket[0]), -8);
	CHECK_EQ(native_index(&native->bucket[1]), -7);
	const struct exemplar *slowest = &f.cell[0]->exemplars->slowest;
	CHECK_EQ(slowest->request_id, 7);
	CHECK_EQ(slowest->bucket, 2);
	CHECK(slowest->value == 0.5);
	CHECK_EQ(slowest->end_ns, 9);
	CHECK(!f.cell[1]->native && !f.cell[1]->exemplars);
	series_table_free(&f.table);
}

TEST(reduce_block_counts_folded_records_as_their_bound_in_native_buckets)
{
	struct fixture f;
	uint64_t before[] = { 1, 500, 0, 1, 0, 0, 0, 0, 0, 0 };
	uint64_t now[] = { 7, 99000500, 0, 3, 1, 3, 0, 0, 0, 0 };

	begin_transfer(&f);
	CHECK_EQ(reduce_block(&f.target, now, before), REFUSE_NONE);
	const struct native *native = f.cell[0]->native;
	CHECK_EQ(native_count(native), 6);
	CHECK_EQ(native->buckets, 2);
	CHECK_EQ(native->bucket[0].count, 2); /* 0.001 */
	CHECK_EQ(native->bucket[1].count, 4); /* 0.01, and what is above it */
	series_table_free(&f.table);
}
