/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.h - records of one ring, checked and put together by series and status
 *
 * Series take turns in a ring as engines and peers do, but of one series the records stay in the order
 * in which they came. Knows which series a worker has; takes nothing out of a ring. Only the drain
 * thread calls.
 */
#ifndef KVTAP_EXPORTER_BATCH_H
#define KVTAP_EXPORTER_BATCH_H

#include "reduce.h"
#include "worker.h"

#define BATCH_RECORDS 4096 /* 256 KiB: a ring of the usual size */

/* Records next to each other. */
struct batch_stretch {
	uint16_t first, records, next; /* next: of the same run */
};

struct batch_run {
	uint32_t series;
	uint8_t status;
	uint16_t first, last; /* stretches */
	uint16_t records;
};

struct batch {
	struct kvtap_record record[BATCH_RECORDS];
	uint64_t number; /* of all batches before; what a target's mark is good for */
	uint32_t runs, stretches;
	struct batch_run run[BATCH_RECORDS];
	struct batch_stretch stretch[BATCH_RECORDS];
	uint16_t order[BATCH_RECORDS];
	uint64_t refused[REFUSALS_COUNT]; /* records, by reason; NONE: applied */
};

/* batch_begin - other records are in it now */
void batch_begin(struct batch *batch);

/**
 * batch_sort - put records into runs; what can't be taken is counted as refused
 * @position: in the ring, of record[0]
 * @from, @to: in the batch
 * @known: whether the worker's dictionary is as new as the records
 *
 * Returns: up to where: to, or the first record with a series that is not known (yet).
 */
uint32_t batch_sort(struct batch *batch, const struct worker *worker, uint64_t position,
		    uint32_t from, uint32_t to, bool known);

/* batch_reduce - all runs; the worker's targets are as they were for batch_sort() or more */
void batch_reduce(struct batch *batch, const struct worker *worker);

#endif
