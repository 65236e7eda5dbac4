/* SPDX-License-Identifier: Apache-2.0 */
/* test_columns.c - each field of each record is in its column, whatever order they are read in */
#include "../exporter/columns.h"

#include "test.h"

enum { ALL_FIELDS = (1 << COLUMNS_FIELDS) - 2 };

static struct kvtap_record record[COLUMNS_RECORDS];
static uint16_t order[COLUMNS_RECORDS];
static struct columns columns;
static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Of all magnitudes, so that the sums go beyond 64 bits. */
static void fill_records(void)
{
	for (uint32_t i = 0; i < COLUMNS_RECORDS; i++) {
		int shift = (int)(random_bits() % 64);

		record[i] = (struct kvtap_record){ .duration_ns = random_bits() >> shift,
						   .submit_ns = random_bits() >> shift,
						   .queue_ns = random_bits() >> shift,
						   .bytes = random_bits() >> shift % 8,
						   .descriptors = (uint32_t)random_bits(),
						   .failed_descriptors = (uint32_t)random_bits() };
		order[i] = (uint16_t)(random_bits() % COLUMNS_RECORDS);
	}
}

static void check(uint32_t records, const uint16_t *in_order)
{
	columns.record = record;
	columns.order = in_order;
	columns.records = records;
	columns_fill(&columns, ALL_FIELDS);
	for (uint8_t field = 1; field < COLUMNS_FIELDS; field++) {
		number_wide sum = 0;

		for (uint32_t i = 0; i < records; i++) {
			const struct kvtap_record *its = &record[in_order ? in_order[i] : i];

			CHECK_EQ(columns.value[field][i], kvtap_field_value(its, field));
			sum += kvtap_field_value(its, field);
		}
		CHECK(columns.sum[field] == sum);
	}
}

TEST(columns_have_each_field_and_its_sum)
{
	fill_records();
	check(COLUMNS_RECORDS, NULL);
	check(COLUMNS_RECORDS, order);
	check(1, NULL);
	check(129, order);
}

TEST(columns_fill_leaves_the_other_fields_alone)
{
	fill_records();
	columns.sum[KVTAP_FIELD_BYTES] = 7;
	columns.record = record;
	columns.records = 5;
	columns.order = NULL;
	columns_fill(&columns, 1u << KVTAP_FIELD_ONE);
	CHECK(columns.sum[KVTAP_FIELD_ONE] == 5);
	CHECK(columns.sum[KVTAP_FIELD_BYTES] == 7);
}
