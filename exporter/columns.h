/* SPDX-License-Identifier: Apache-2.0 */
/*
 * columns.h - the fields of many transfers, one after the other, and their sums; pure
 *
 * A record is a cache line, so whoever goes through many for each family in turn reads each line many
 * times over. Here each is read once.
 */
#ifndef KVTAP_EXPORTER_COLUMNS_H
#define KVTAP_EXPORTER_COLUMNS_H

#include <stdint.h>

#include "kvtap_reader.h"
#include "number.h"

#define COLUMNS_RECORDS 1024
#define COLUMNS_FIELDS (KVTAP_FIELD_THROUGHPUT + 1)

struct columns {
	const struct kvtap_record *record;
	const uint16_t *order; /* [records] which of record they are; NULL: one after the other */
	uint32_t records;      /* at most COLUMNS_RECORDS */
	/* by enum kvtap_field, of those that were filled */
	number_wide sum[COLUMNS_FIELDS];
	uint64_t value[COLUMNS_FIELDS][COLUMNS_RECORDS];
};

/* columns_fill - bit by field: only these */
void columns_fill(struct columns *columns, uint32_t fields);

static inline const struct kvtap_record *columns_record(const struct columns *columns, uint32_t i)
{
	return &columns->record[columns->order ? columns->order[i] : i];
}

#endif
