/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h - what must not be lost or counted twice when the exporter is killed
 *
 * The totals of all series, and how far each worker's rings, overflow blocks and losses are in them,
 * are committed together into a state file in the namespace's folder. After a restart, whenever it
 * was killed, the exporter goes on from the last commit. Records are given back to their worker only
 * after it. Gauges of the exporter itself and what is read anew from the process are not kept.
 *
 * Only the drain thread calls. When the file can't grow, what is new is not kept; this is logged
 * and counted, and tried again at the next commit.
 */
#ifndef KVTAP_EXPORTER_JOURNAL_H
#define KVTAP_EXPORTER_JOURNAL_H

#include <stdint.h>

#include "progress.h"
#include "series.h"

#define JOURNAL_NAME "exporter.state"
#define JOURNAL_REFUSED "exporter.state.refused"

struct journal;

struct journal *journal_create(struct series_table *table);
void journal_destroy(struct journal *journal);

/**
 * journal_open - go on with the state file in the folder, or begin a new one
 * @folder: borrowed until the journal is opened elsewhere or destroyed
 *
 * The first call restores the series into the table. A file that can't be trusted is set aside as
 * JOURNAL_REFUSED and replaced. A later call begins anew in another folder with what is in memory.
 * Logs what happened. Returns: 0 or a negative errno; then nothing is kept.
 */
int journal_open(struct journal *journal, int folder);

/* journal_commit - all that was touched and noted since the last commit, at once; settles series */
void journal_commit(struct journal *journal);

/* journal_progress - how far the workers are in the totals; committed with them */
struct progress_set *journal_progress(struct journal *journal);

/* journal_bytes - size of the file; journal_errors - commits that could not keep all */
uint64_t journal_bytes(const struct journal *journal);
uint64_t journal_errors(const struct journal *journal);

#endif
