/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain.h - take records out of all workers and reduce them; judge which workers are alive
 *
 * One thread calls everything here, and it is the only one that writes series. A page that it
 * renders between two passes is therefore a consistent cut: all numbers of one record or none.
 */
#ifndef KVTAP_EXPORTER_DRAIN_H
#define KVTAP_EXPORTER_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "interval.h"
#include "journal.h"
#include "self.h"
#include "series.h"

struct drain;

/* drain_create - intervals: told of all records that a connector has; NULL: nobody asks */
struct drain *drain_create(struct series_table *table, struct self *self, struct journal *journal,
			   bool rank_label, struct intervals *intervals);
/* drain_destroy - close all workers, leaving their files; the journal is still there */
void drain_destroy(struct drain *drain);

/**
 * drain_offer - a segment was found in the folder; a discover_offer
 * @first: not offered before: count and log what is wrong with it
 *
 * Returns: true when it needs no other offer: it was opened, or it can't be trusted.
 */
bool drain_offer(void *drain, int folder, const char *name, bool first);

/* drain_sweep - forget what is known of workers whose segments were in the folder and are gone */
void drain_sweep(struct drain *drain, int folder);

/**
 * drain_pass - go through all workers once
 * @all: take everything that was committed before the call; else no more than a share a ring, so
 *       that one busy ring can't keep the others waiting
 *
 * Returns: whether anything on the page changed but the exporter's own durations.
 */
bool drain_pass(struct drain *drain, bool all);

/**
 * drain_published - a page was published that shows all that was taken so far
 * @until_ns: CLOCK_MONOTONIC
 */
void drain_published(struct drain *drain, uint64_t until_ns);
/* drain_stale - from now on it may lack something: before what tells of new workers is read */
void drain_stale(struct drain *drain);
/* drain_fresh - whether that page holds all that is committed; any thread */
bool drain_fresh(struct drain *drain);

/* drain_took - whether the last pass found records */
bool drain_took(const struct drain *drain);
/* drain_fill - share of the fullest ring that was in use when the last pass came; 1 if one has folded */
double drain_fill(const struct drain *drain);

#endif
