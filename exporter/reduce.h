/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reduce.h - add what a record or an overflow block says to the series it feeds
 *
 * What a worker wrote is checked here once more, in private memory: a reader has checked only that
 * the bytes are where they should be.
 */
#ifndef KVTAP_EXPORTER_REDUCE_H
#define KVTAP_EXPORTER_REDUCE_H

#include "interval.h"
#include "kvtap_reader.h"
#include "series.h"

/* Why a record was refused, as label values. The last is counted by the worker itself. */
#define REFUSALS(X)                                                                                \
	X(NONE, "none")                                                                            \
	X(SEQUENCE, "sequence")	  /* the slot does not hold the record that belongs there */       \
	X(SERIES, "series")	  /* its series is not in the dictionary */                        \
	X(OPERATION, "operation") /* not what its series takes */                                  \
	X(VALUE, "value")	  /* not a number that the metric takes */                         \
	X(CONFLICT, "conflict")	  /* a family it feeds is not exposed */                           \
	X(BUDGET, "budget")	  /* the same, because the page has no room for it */              \
	X(WORKER, "worker")	  /* the worker refused it, for one of the above */

enum refusal {
#define REFUSAL_ENUM(id, text) REFUSE_##id,
	REFUSALS(REFUSAL_ENUM)
#undef REFUSAL_ENUM
		REFUSALS_COUNT
};

/* What a series id of one worker stands for. */
struct reduce_target {
	const struct kvtap_plan *plan;
	struct series_table *table; /* of the series */
	struct series **cell;	    /* [plan->cells]; NULL: not exposed; of a gauge the child */
	/* bit by cell: for want of room, not for a conflict, it is not exposed or a series "other" */
	uint32_t over_budget;
	bool other;			  /* a cell is a series "other" */
	struct interval_target *interval; /* of its connectors; NULL: it has none */
	/* batch.c's: the last run of this series in the batch of that number */
	uint64_t batch;
	uint32_t run;
};

/* Records of one series and one status, in order, which have the op of its plan. */
struct reduce_run {
	const struct kvtap_record *record;
	const uint16_t *order; /* [records] which of record they are; NULL: one after the other */
	uint32_t records;      /* up to REDUCE_RUN_MAX */
};

#define REDUCE_RUN_MAX 1024

/**
 * reduce_run - apply them, each as if it were alone
 * @target:  of their series
 * @refused: how many came to what is added: to NONE, or why nothing was applied; with CONFLICT and
 *           BUDGET what could be applied was
 *
 * Records of a target with a series "other" are counted in table->other_records.
 */
void reduce_run(const struct reduce_target *target, const struct reduce_run *run,
		uint64_t refused[REFUSALS_COUNT]);

/**
 * reduce_block - apply the difference of two states of an overflow block
 * @target: of its series
 * @now, @applied: [target->plan->words]
 *
 * Returns: REFUSE_NONE, CONFLICT or BUDGET as above, or VALUE: a count or a sum went back or is not finite,
 * and nothing was applied.
 */
enum refusal reduce_block(const struct reduce_target *target, const uint64_t *now,
			  const uint64_t *applied);

/* ---- between the files of reduce ---------------------------------------------------------- */

/* reduce_transfers - as reduce_run, of transfers, which all come to the same */
enum refusal reduce_transfers(const struct reduce_target *target, const struct reduce_run *run);

/* reduce_absent - why a cell has no series */
static inline enum refusal reduce_absent(const struct reduce_target *target, uint32_t cell)
{
	return target->over_budget >> cell & 1 ? REFUSE_BUDGET : REFUSE_CONFLICT;
}

/*
 * reduce_see - something was recorded into it; the first time it may add lines to the page. A child
 * adds them when its parent is computed.
 */
static inline void reduce_see(struct series_table *table, struct series *series)
{
	if (!series->seen && series->family->lazy && !series->gauge.parent)
		family_relayout(&table->families, series->family);
	series->seen = true;
	series_touch(table, series);
}

#endif
