/* SPDX-License-Identifier: Apache-2.0 */
/* support_table.h - families and series as workers would declare them; what fails fails the test */
#ifndef KVTAP_TESTS_SUPPORT_TABLE_H
#define KVTAP_TESTS_SUPPORT_TABLE_H

#include "../exporter/series.h"

struct kvtap_text table_text(const char *string);

/* @flags: KVTAP_FAMILY_LAZY or 0; @bound: [bounds] */
struct family *table_declare(struct series_table *table, const char *name, const char *help,
			     uint8_t metric, uint8_t flags, const double *bound, uint16_t bounds);
struct series *table_get_labels(struct series_table *table, struct family *family,
				const struct series_label *labels, size_t count);
/* table_get - with model_name="m" and one label more */
struct series *table_get(struct series_table *table, struct family *family, const char *name,
			 const char *value);

/* table_record - count a value of so many ns in a histogram, as a transfer of a request would */
void table_record(struct series_table *table, struct series *series, uint64_t ns,
		  uint64_t request_id);

#endif
