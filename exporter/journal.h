/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h - what must not be lost or counted twice when the exporter is killed
 *
 * The totals of all series, and how far each worker's rings, overflow blocks and losses are in them,
 * are committed together into a state file in the namespace's folder. After a restart, whenever it
 * was killed, the exporter goes on from the last commit. Records are given back to their worker only
 * after it. Gauges of the exporter itself and what is read anew from the process are not kept.
 *
 * Only the drain thread calls. When the file can't grow, a commit fails, which is logged and counted:
 * nothing was committed, and all of it is tried again with the next one. Until then nothing more is to
 * be taken from workers, who fold meanwhile.
 */
#ifndef KVTAP_EXPORTER_JOURNAL_H
#define KVTAP_EXPORTER_JOURNAL_H

#include <stdbool.h>
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
 * JOURNAL_REFUSED and replaced. A later call begins anew in another folder with what is in memory;
 * also there a file that is found is set aside.
 * Logs what happened. Returns: 0 or a negative errno; then each commit fails.
 */
int journal_open(struct journal *journal, int folder);

/**
 * journal_commit - all that was touched and noted since the last commit, at once; settles series
 * Returns: whether it is committed, or nothing is kept as no state was ever opened.
 */
bool journal_commit(struct journal *journal);
/* journal_stuck - whether the last commit failed */
bool journal_stuck(const struct journal *journal);

/* journal_progress - how far the workers are in the totals; committed with them */
struct progress_set *journal_progress(struct journal *journal);

/* journal_bytes - size of the file; journal_errors - commits and openings that failed */
uint64_t journal_bytes(const struct journal *journal);
uint64_t journal_errors(const struct journal *journal);

#endif
