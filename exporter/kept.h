/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept.h - families and series as bytes of a state file, and back; pure
 *
 * What is read back is checked as if a stranger had written it: names against the charset, labels
 * one by one. Whether it may be declared is for the tables to say.
 */
#ifndef KVTAP_EXPORTER_KEPT_H
#define KVTAP_EXPORTER_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "series.h"
#include "text.h"

/* kept_family - append the fixed part of a family's item */
void kept_family(struct text *bytes, const struct family *family);

struct kept_family {
	struct kvtap_family_view view; /* points into the bytes read and to what is below */
	bool own;
	struct kvtap_text label[KVTAP_LABELS_MAX];
	double bound[KVTAP_BOUNDS_MAX];
	struct text help; /* to be freed */
};

/* kept_family_read - false: it is not whole, or there is no memory */
bool kept_family_read(struct kept_family *kept, const void *bytes, size_t count);

/* kept_series - append the fixed part of a series' item; its family has one */
void kept_series(struct text *bytes, const struct series *series);

struct kept_series {
	uint64_t family; /* item */
	uint64_t created_ns;
	bool other;			 /* its family's series "other" */
	bool child;			 /* of the gauge with these labels, for the worker: */
	uint8_t uuid[SERIES_UUID_BYTES]; /* of the worker's segment */
	struct series_label label[SERIES_LABELS_MAX];
	size_t labels;
	struct text values; /* of the labels; to be freed */
};

bool kept_series_read(struct kept_series *kept, const void *bytes, size_t count);

/* kept_value_room - bytes of the longest value of a series of this family */
uint32_t kept_value_room(const struct family *family);
/* kept_value - write the value; returns its bytes */
uint32_t kept_value(void *value, const struct series *series);
/* kept_value_read - false: no value that such a series can have; the series is as it was */
bool kept_value_read(struct series *series, const void *value, size_t count);

#endif
