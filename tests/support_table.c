/* SPDX-License-Identifier: Apache-2.0 */
/* support_table.c - families and series as workers would declare them */
#include "support_table.h"

#include <string.h>

#include "test.h"

static struct budget budget; /* of a worker */

struct kvtap_text table_text(const char *string)
{
	return (struct kvtap_text){ string, (uint32_t)strlen(string) };
}

struct family *table_declare(struct series_table *table, const char *name, const char *help,
			     uint8_t metric, uint8_t flags, const double *bound, uint16_t bounds)
{
	struct kvtap_family_view view = {
		.name = table_text(name),
		.help = table_text(help),
		.metric = metric,
		.flags = flags,
		.bounds = bounds,
		.bound = bound,
	};
	struct family *family;

	CHECK_EQ(family_declare(&family, &table->families, &view, &budget), 0);
	return family;
}

struct series *table_get_labels(struct series_table *table, struct family *family,
				const struct series_label *labels, size_t count)
{
	struct series *series;

	CHECK_EQ(series_get(&series, table, family, labels, count, &budget), 0);
	return series;
}

struct series *table_get(struct series_table *table, struct family *family, const char *name,
			 const char *value)
{
	struct series_label labels[] = {
		{ table_text("model_name"), table_text("m") },
		{ table_text(name), table_text(value) },
	};

	return table_get_labels(table, family, labels, 2);
}

void table_record(struct series_table *table, struct series *series, uint64_t ns,
		  uint64_t request_id)
{
	const struct family *family = series->family;
	struct kvtap_record record = { .duration_ns = ns, .request_id = request_id };
	double seconds = (double)ns / 1e9;
	uint32_t bucket = 0;

	while (bucket < family->bounds && seconds > family->bound[bucket])
		bucket++;
	series->bucket[bucket]++;
	series_observe(series, seconds, 1);
	exemplar_offer(series->exemplars, &record, seconds, bucket);
	kvtap_sum_add(&series->sum[NUMBER_NANOSECONDS], ns);
	series_touch(table, series);
}
