/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series.h - the series of all workers, by family and label set
 *
 * A series lives as long as the exporter: a worker that comes back with the same labels goes on
 * with it. Only the drain thread calls, writes and renders, so a page is a consistent cut.
 */
#ifndef KVTAP_EXPORTER_SERIES_H
#define KVTAP_EXPORTER_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <urcu-bp.h>
#include <urcu/rculfhash.h>

#include "family.h"
#include "number.h"
#include "text.h"

struct series {
	struct cds_lfht_node node;
	struct family *family;
	struct series *next;		    /* of the family */
	struct kvtap_sum sum[NUMBER_PARTS]; /* counter, histogram */
	double value;			    /* gauge */
	uint64_t value_ns;		    /* CLOCK_MONOTONIC of the value */
	uint64_t created_ns;		    /* CLOCK_REALTIME of its first appearance */
	bool seen;			    /* something was recorded into it */
	bool changed;			    /* stands in table->changed */
	bool unpublished;		    /* stands in table->unpublished */
	uint32_t label_bytes;
	uint32_t le_at;	   /* where an le label belongs: a label begins here, or it is the end */
	const char *label; /* [label_bytes] a="1",b="2": escaped, sorted by name, none empty */
	uint64_t bucket[]; /* histogram: [bounds + 1], not cumulative */
};

/* Series that changed, each once, in the order in which they did. */
struct series_list {
	struct series **series; /* [room], which all series of the table fit into */
	uint32_t count;
};

struct series_table {
	struct families families;
	struct cds_lfht *series;
	struct text scratch;
	uint32_t count;
	uint32_t room; /* of both lists */
	uint64_t refused;
	struct series_list changed;	/* since the last commit */
	struct series_list unpublished; /* committed since the last page */
};

struct series_label {
	struct kvtap_text name, value;
};

int series_table_init(struct series_table *table);
void series_table_free(struct series_table *table);

/**
 * series_get - the series of a family with these labels, made if it is new
 * @series: NULL on error
 * @labels: [count], the worker's constant labels and the family's; in any order. One with an empty
 *          value is the same as none, so it is left out.
 * @budget: of the worker, for a new one; NULL: of the exporter itself
 *
 * Returns: 0, -EEXIST: two labels of one name or an le of its own on a histogram (counted as a
 * conflict), -ENOSPC: no budget (counted as refused), or -ENOMEM.
 */
int series_get(struct series **series, struct series_table *table, struct family *family,
	       const struct series_label *labels, size_t count, struct budget *budget);

/* series_touch - note that a series changed; on the way of each record, so it can't fail */
static inline void series_touch(struct series_table *table, struct series *series)
{
	if (series->changed)
		return;
	series->changed = true;
	table->changed.series[table->changed.count++] = series;
}

/* series_settle - what changed is committed: it goes over to what the next page has to show */
void series_settle(struct series_table *table);

#endif
