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
};

/**
 * reduce_record - apply one record
 * @target:   of its series; NULL if that is unknown
 * @position: index in its ring
 *
 * Records of a target with a series "other" are counted in table->other_records.
 * Returns: REFUSE_NONE or why nothing was applied; with CONFLICT and BUDGET what could be applied
 * was.
 */
enum refusal reduce_record(const struct reduce_target *target, const struct kvtap_record *record,
			   uint64_t position);

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

#endif
