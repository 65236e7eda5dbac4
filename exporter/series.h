/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series.h - the series of all workers, by family and label set
 *
 * A series outlives its workers: one that comes back with the same labels goes on with it. When the
 * last has gone it stays for idle_timeout_ns, and is then removed. What is over a budget goes to the
 * family's series "other".
 *
 * A gauge shows what its workers set, each in a child of its own: a series that isn't printed and
 * isn't in the family's list, but is written like any other. Which of them counts is the family's
 * gauge mode; with "all" a gauge has the worker's pid for a label and one child.
 *
 * Only the drain thread calls, writes and renders, so a page is a consistent cut.
 */
#ifndef KVTAP_EXPORTER_SERIES_H
#define KVTAP_EXPORTER_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <urcu-bp.h>
#include <urcu/rculfhash.h>

#include "exemplar.h"
#include "family.h"
#include "native.h"
#include "number.h"
#include "text.h"

#define SERIES_UUID_BYTES 16
#define SERIES_LABELS_MAX (2 * KVTAP_LABELS_MAX + 1) /* constant labels, the family's, pid */

/* Of a gauge beside its value. */
struct series_gauge {
	/* of one that is printed */
	struct series *first_child; /* by next */
	bool kept;		    /* workers that ended left a value: */
	double kept_value;
	uint64_t kept_ns; /* CLOCK_MONOTONIC */
	/* of a child */
	struct series *parent;			  /* NULL: it is none */
	struct series *worker_next, *worker_prev; /* in the table's list for its uuid */
	uint8_t uuid[SERIES_UUID_BYTES];	  /* of the worker's segment */
};

struct series {
	struct cds_lfht_node node;
	struct family *family;
	struct series *next, *prev;	      /* of the family, or of the parent */
	struct series *idle_next, *idle_prev; /* in the table's list, while users is 0 */
	uint64_t idle_ns;		      /* CLOCK_MONOTONIC since when it is there */
	struct kvtap_sum sum[NUMBER_PARTS];   /* counter, histogram */
	double value;			      /* gauge */
	uint64_t value_ns;		      /* CLOCK_MONOTONIC of the value */
	uint64_t created_ns;		      /* CLOCK_REALTIME of its first appearance */
	struct series_gauge gauge;
	uint32_t users;			     /* targets of open workers; children */
	uint32_t changed_at, unpublished_at; /* where it stands in these lists */
	uint32_t place[PAGE_FORMATS]; /* of its first number in the family's block; 0: none */
	uint8_t form;		      /* enum format_form that it is rendered in */
	bool seen;		      /* something was recorded into it */
	bool changed;		      /* stands in table->changed */
	bool unpublished;	      /* stands in table->unpublished */
	bool transient;		      /* not kept over a restart: it is read anew */
	uint64_t kept;		      /* the journal's item, 0: none */
	struct native *native;	      /* histogram, else NULL */
	struct exemplars *exemplars;  /* histogram, else NULL */
	uint32_t label_bytes;
	uint32_t le_at;	   /* where an le label belongs: a label begins here, or it is the end */
	const char *label; /* [label_bytes] a="1",b="2": escaped, sorted by name, none empty */
	uint64_t bucket[]; /* histogram: [bounds + 1], not cumulative */
};

/* Series that changed, each once; in the order in which they did, until one is removed. */
struct series_list {
	struct series **series; /* [room], which all series of the table fit into */
	uint32_t count;
};

struct series_table {
	struct families families;
	struct cds_lfht *series;
	struct text scratch;
	uint32_t count;	   /* with children */
	uint32_t children; /* of gauges */
	uint32_t room;	   /* of both lists */
	uint64_t refused;
	uint64_t other_records;		/* reduced into a series "other" */
	struct series_list changed;	/* since the last commit */
	struct series_list unpublished; /* committed since the last page */
	uint64_t idle_timeout_ns;	/* 0: never remove for idleness; the caller's */
	uint64_t now_ns;		/* CLOCK_MONOTONIC of the last series_expire() */
	uint64_t expire_due;
	struct series *idle_first, *idle_last; /* longest idle first */
	struct series *child[256];	       /* lists of children by the uuid's first byte */
	/* told of each series before it is removed, but not by series_table_free(); or NULL */
	void (*removed)(void *context, struct series *series);
	void *context;
};

struct series_label {
	struct kvtap_text name, value;
};

int series_table_init(struct series_table *table);
void series_table_free(struct series_table *table);

/**
 * series_get - the series of a family with these labels, made if it is new
 * @series: NULL on error, but see -ENOSPC
 * @labels: [count] up to SERIES_LABELS_MAX, the worker's constant labels and the family's; in any
 *          order. One with an empty value is the same as none, so it is left out.
 * @budget: of the worker, for a new one; NULL: of the exporter itself, which is not refused
 *
 * A gauge's series is then given its children, which keep it: one that has none is not to last.
 *
 * Returns: 0, -EEXIST: two labels of one name or an le of its own on a histogram (counted as a
 * conflict), -ENOSPC: no budget (counted as refused); then @series is the family's series "other",
 * but NULL for a gauge or if there is no room even for that; or -ENOMEM.
 */
int series_get(struct series **series, struct series_table *table, struct family *family,
	       const struct series_label *labels, size_t count, struct budget *budget);

/**
 * series_child - the child of a gauge for one worker, made if it is new
 * @child:  NULL on error; then also the parent is gone if it has no other child and nothing kept
 * @parent: from series_get()
 * @uuid:   of the worker's segment
 * @budget: that the parent was made with
 *
 * Returns: 0, -ENOSPC (counted as refused) or -ENOMEM.
 */
int series_child(struct series **child, struct series_table *table, struct series *parent,
		 const uint8_t uuid[SERIES_UUID_BYTES], struct budget *budget);

/**
 * series_end_worker - a worker has ended: its gauges' values are kept or go, as the mode says
 *
 * Children that are still in use are left: a uuid is a worker's word, and may come twice. A gauge
 * without a child or a value that was kept is removed.
 * Returns: whether the worker had any.
 */
bool series_end_worker(struct series_table *table, const uint8_t uuid[SERIES_UUID_BYTES]);

/* series_hold - an open worker refers to it: it is not idle */
void series_hold(struct series_table *table, struct series *series);
/* series_release - one that did has gone */
void series_release(struct series_table *table, struct series *series);

/**
 * series_expire - remove what nobody used for idle_timeout_ns, and families that are left empty
 * @now_ns: CLOCK_MONOTONIC
 *
 * Works at most once a second, and a bounded time; the exporter's own series stay.
 * Returns: whether something was removed.
 */
bool series_expire(struct series_table *table, uint64_t now_ns);

/* series_touch - note that a series changed; on the way of each record, so it can't fail */
static inline void series_touch(struct series_table *table, struct series *series)
{
	if (series->changed)
		return;
	series->changed = true;
	series->changed_at = table->changed.count;
	table->changed.series[table->changed.count++] = series;
}

/* series_observe - count a value n times in the native buckets beside those with bounds */
static inline void series_observe(struct series *series, double value, uint64_t n)
{
	if (native_observe(series->native, value, n))
		series->family->block[PAGE_PROTOBUF].stale = true;
}

/*
 * series_settle - what changed is committed: it goes over to what the next page has to show, and
 * gauges show what has become of their children
 */
void series_settle(struct series_table *table);

/* ---- between the files of this table ------------------------------------------------------ */

/*
 * series_make - a series that stands in no list of a family or parent yet, and is idle
 * Returns: 0, -ENOSPC (counted as refused) or -ENOMEM.
 */
int series_make(struct series **series, struct series_table *table, struct family *family,
		struct series *parent, const struct text *label, struct budget *budget);
/* series_find, series_link - in the hash table of all series, children included */
struct series *series_find(struct series_table *table, unsigned long hash, cds_lfht_match_fct match,
			   const void *key);
void series_link(struct series_table *table, unsigned long hash, struct series *series);
/* series_cost - what was taken of a budget for it */
struct budget series_cost(const struct series *series);
/* series_remove - out of all lists, and free it; it is idle and has no children */
void series_remove(struct series_table *table, struct series *series);
/* series_child_unlink - a child out of its parent's and its worker's list */
void series_child_unlink(struct series_table *table, struct series *child);
/* series_child_end - keep what the mode wants kept, and remove it, and its parent if that is all */
void series_child_end(struct series_table *table, struct series *child);
/* series_combine - compute the value of a gauge from its children's and what was kept */
void series_combine(struct series_table *table, struct series *series);

#endif
