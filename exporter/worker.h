/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h - one open segment, and which series its ids stand for
 *
 * Knows the dictionary; nothing of rings, nor of when a worker is opened or given up.
 */
#ifndef KVTAP_EXPORTER_WORKER_H
#define KVTAP_EXPORTER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "kvtap_reader.h"
#include "reduce.h"
#include "series.h"

struct worker_family {
	struct family *family; /* NULL: not exposed */
	bool over_budget;      /* for want of room, not for a conflict */
};

struct progress;

struct worker {
	struct kvtap_reader *reader;
	struct progress *progress; /* the drain's; how far it is in the totals */
	char *name;
	int folder;		      /* its own descriptor: the reader borrows it for its life */
	bool rank_label;	      /* whether the constant label rank is exposed */
	struct intervals *intervals;  /* NULL: nobody asks */
	struct worker_family *family; /* [families] */
	uint32_t families;
	struct reduce_target *target; /* [targets] */
	uint32_t targets;
	uint32_t *moved; /* [ring_max] rings of which records were taken and not given back */
	uint32_t moves;
	struct budget budget; /* what was made for it */
	uint32_t rejected;    /* bit by enum kvtap_reject: counted before */
};

/**
 * worker_open - open the segment NAME in the folder, whose descriptor is duplicated
 * Returns: 0 or an error of kvtap_reader_open() or dup(2), with *why.
 */
int worker_open(struct worker **worker, enum kvtap_reject *why, int folder, const char *name,
		bool rank_label, struct intervals *intervals);
/* worker_close - read it no more: its series have one user less, its gauges stay */
void worker_close(struct worker *worker, struct series_table *table);
/* worker_end - the same of one that has ended, or was given up: its gauges end too */
void worker_end(struct worker *worker, struct series_table *table);

/**
 * worker_refresh - take over what was declared since
 * Returns: as kvtap_reader_refresh(); after -ENOMEM another call goes on where this one stopped.
 */
int worker_refresh(struct worker *worker, enum kvtap_reject *why, struct series_table *table);

/* worker_target - what a series id stands for; NULL: not declared when it was last refreshed */
struct reduce_target *worker_target(const struct worker *worker, uint32_t series);

#endif
