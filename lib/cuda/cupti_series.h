/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cupti_series.h - the series of a copy, found by numbers; how many there may be
 *
 * A process may copy on any number of streams and under 256 labels. The first streams have a label
 * value of their own, later ones are "other"; past a number of series so are new labels and
 * streams, so that no copy goes uncounted.
 */
#ifndef KVTAP_CUDA_CUPTI_SERIES_H
#define KVTAP_CUDA_CUPTI_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "cupti_options.h"
#include "kvtap.h"

struct kvtap_copy_key {
	uint8_t direction, memory; /* CUpti_ActivityMemcpyKind, CUpti_ActivityMemoryKind */
	bool timed;
	uint32_t device, stream, label; /* label: kvtap_label_find */
};

struct kvtap_copy_series;

/* kvtap_copy_series_open - declare the families of copies; NULL: no memory, or the tap refused */
struct kvtap_copy_series *kvtap_copy_series_open(struct kvtap *tap, uint32_t streams);
/* kvtap_copy_series_find - a series, or 0 where the tap refused */
uint32_t kvtap_copy_series_find(struct kvtap_copy_series *series, struct kvtap_copy_key key);

#endif
