/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval.h - what was recorded since the last line of the interval log, by engine and connector
 *
 * Apart from the series of the pages: keyed by model_name and engine, so the ranks of an engine pool
 * whatever the pages do. Counts and sums are exact. They begin at 0 with each interval and live as
 * long as this process. Only the drain thread calls.
 *
 * A family or a connector of which two workers say different things belongs to the one that came
 * first; what the other records is then not in the log. Nor is a series for which there is no memory,
 * or no room: engines, ranks and operations are workers' words, that come and go within an interval.
 */
#ifndef KVTAP_EXPORTER_INTERVAL_H
#define KVTAP_EXPORTER_INTERVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "columns.h"
#include "kvtap_reader.h"
#include "number.h"
#include "sample.h"

/* One label set of a family: what the connector's stats of vLLM hold under its name. */
struct interval_figure {
	struct interval_figure *next;
	struct interval_family *family;
	uint32_t users; /* targets */
	bool touched;	/* recorded into in this interval */
	uint64_t count; /* of a histogram: observations */
	struct kvtap_sum sum[NUMBER_PARTS];
	double value;	   /* of a gauge: the latest */
	uint64_t value_ns; /* CLOCK_MONOTONIC */
	uint32_t bytes;
	const char *values; /* [bytes] each label value with a 32-bit length before it */
};

struct interval_family {
	struct interval_family *next;
	struct kvtap_text name;
	uint8_t metric, unit, role;
	uint16_t labels;
	uint32_t id;			      /* in the dictionary of the first worker: the order */
	void *figures;			      /* tsearch(3) by values */
	struct interval_figure *first, *last; /* as they appeared */
};

/* What one rank of an engine transferred. */
struct interval_rank {
	struct interval_rank *next;
	uint32_t users;
	uint64_t records;
	number_wide bytes, duration_ns;
	struct kvtap_text name; /* of the label rank; without it the segment's uuid */
};

/* All transfers of one role, and one operation where the role has them. */
struct interval_transfers {
	struct interval_transfers *next;
	uint32_t users;
	uint8_t role; /* enum kvtap_role */
	struct kvtap_text operation;
	/* of an operation all records count as records, else those with status OK */
	uint64_t records, failed, errors; /* errors: with the label status="error" */
	number_wide duration_ns, submit_ns, bytes, descriptors, failed_descriptors;
	struct samples samples;
	struct interval_rank *ranks;
	void *by_rank; /* the same: tsearch(3) by name */
};

struct interval_connector {
	struct interval_connector *next;
	struct kvtap_text name;
	uint8_t summary; /* enum kvtap_summary */
	struct interval_family *families;
	struct interval_transfers *transfers;
	void *by_operation; /* the same: tsearch(3) by role and operation */
};

struct interval_engine {
	struct interval_engine *next;
	struct kvtap_text model_name, engine; /* empty: no such label */
	struct interval_connector *connectors;
};

struct intervals {
	struct interval_engine *engines, *last; /* as they appeared */
	void *by_engine;			/* the same: tsearch(3) by both labels */
	size_t bytes;				/* of all but samples */
	struct sample_pool pool;
};

#define INTERVAL_BYTES_MAX (64u << 20) /* of intervals.bytes */

/* intervals_create - samples: how many are kept at most in an interval; NULL: no memory */
struct intervals *intervals_create(size_t samples);
void intervals_destroy(struct intervals *intervals);
/* intervals_reset - a new interval begins: all at 0, and what no target is left of is freed */
void intervals_reset(struct intervals *intervals);

/* Where the records of one series of a worker go. */
struct interval_target;

/**
 * interval_open - of a series that was just read
 * @intervals: NULL: nobody asks
 * @exposed:   bit by cell: its family is on the page; what isn't is not in the log either
 * @other:     bit by cell: it has no series of its own on the page, so no figure of its own here
 *
 * Returns: NULL if no connector wants it, or there is no memory; the reader is borrowed until
 * interval_close().
 */
struct interval_target *interval_open(struct intervals *intervals,
				      const struct kvtap_reader *reader,
				      const struct kvtap_series_view *view, uint32_t exposed,
				      uint32_t other);
/* interval_close - what it recorded stays until the interval ends */
void interval_close(struct interval_target *target);

/* interval_record - one record to a family that was applied to the series of the page */
void interval_record(struct interval_target *target, const struct kvtap_record *record);
/* interval_fields - bit by field: what interval_transfers() has to find in the columns */
uint32_t interval_fields(const struct interval_target *target, uint8_t status);
/* interval_transfers - transfers of this status that were applied so, but for interval_add() */
void interval_transfers(struct interval_target *target, const struct columns *columns,
			uint8_t status);
/* interval_fold - the difference of two states of an overflow block that was applied so */
void interval_fold(struct interval_target *target, const uint64_t *now, const uint64_t *applied);

/* ---- between the files of interval -------------------------------------------------------- */

/*
 * Found, or made from what key or view say, which is copied. NULL: no memory or no room. The last
 * three count one more user.
 */
struct interval_engine *interval_get_engine(struct intervals *intervals,
					    const struct interval_engine *key);
/* NULL also if the name has another summary, or the engine more connectors than a worker may have */
struct interval_connector *interval_get_connector(struct intervals *intervals,
						  struct interval_engine *engine,
						  const struct kvtap_connector_view *view);
struct interval_family *interval_get_family(struct intervals *intervals,
					    struct interval_connector *connector,
					    const struct kvtap_family_view *view, uint32_t id);
/* value: [family->labels]; other: it is the series "other", whatever they are */
struct interval_figure *interval_get_figure(struct intervals *intervals,
					    struct interval_family *family,
					    const struct kvtap_text *value, bool other);
struct interval_transfers *interval_get_transfers(struct intervals *intervals,
						  struct interval_connector *connector,
						  const struct interval_transfers *key);
struct interval_rank *interval_get_rank(struct intervals *intervals,
					struct interval_transfers *transfers,
					const struct interval_rank *key);

bool interval_same(const struct kvtap_text *a, const struct kvtap_text *b);

#define INTERVAL_NO_CELL UINT8_MAX

struct interval_target {
	struct intervals *intervals;
	const struct kvtap_plan *plan;
	struct interval_transfers *transfers; /* NULL: its connector sums up no transfers */
	struct interval_rank *rank;
	bool operation; /* transfers->role is */
	bool error;	/* the label status says so */
	bool sampled;	/* its connector tells more of transfers than how many failed */
	/* cells that tell of folded records what transfers has; INTERVAL_NO_CELL: none */
	uint8_t ok_cell, failed_cell;
	uint8_t sum_cell[KVTAP_FIELD_FAILED_DESCRIPTORS + 1]; /* by enum kvtap_field */
	uint8_t time_cell[SAMPLE_TIMES];
	struct interval_figure *figure[]; /* [plan->cells]; NULL: none */
};

/* interval_add - of so many transfers the sum of a field that was applied to the series of a cell */
static inline void interval_add(struct interval_target *target, uint32_t cell,
				enum number_part part, number_wide sum, uint32_t records)
{
	struct interval_figure *figure = target->figure[cell];

	if (!figure)
		return;
	figure->touched = true;
	figure->count += records;
	number_add(&figure->sum[part], sum);
}

/* interval_map - which cells tell what of the transfers of a target */
void interval_map(struct interval_target *target);

#endif
