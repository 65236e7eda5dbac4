/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.h - how far each worker's rings, overflow blocks and losses are in the totals
 *
 * Kept as items of the state file, which whoever owns it commits together with the totals. Knows
 * nothing of series. Only the drain thread calls.
 */
#ifndef KVTAP_EXPORTER_PROGRESS_H
#define KVTAP_EXPORTER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "kvtap_reader.h"
#include "state.h"

struct progress; /* of one worker */

struct progress_set {
	struct state *state; /* NULL: nothing is kept */
	struct progress *first;
	uint64_t failed; /* notes that had no room in the file */
};

/* item types of the state file that belong to this module: from here on */
#define PROGRESS_ITEMS 16

/* progress_is_worker - whether an item is a worker's, which is restored before its parts */
bool progress_is_worker(const struct state_item *item);
/* progress_restore - of one committed item; false: it is not whole, or not of this module */
bool progress_restore(struct progress_set *set, const struct state_item *item);
/* progress_knows - whether a worker with this segment is known */
bool progress_knows(const struct progress_set *set, const uint8_t uuid[16]);
/* progress_free - all of them; none may be read any more */
void progress_free(struct progress_set *set);
/* progress_move - to another, new state file, or to none: workers that are read begin there anew */
void progress_move(struct progress_set *set, struct state *state);

/**
 * progress_begin - begin or go on with a worker
 * @name:   of its segment
 * @reader: resumed where the last commit left it; borrowed until the progress ends
 * @ended:  whether it had been taken to its end before; then only its files are left to remove
 *
 * Returns: owned by the set, until progress_close or progress_forget; NULL: no memory.
 */
struct progress *progress_begin(struct progress_set *set, const char *name,
				struct kvtap_reader *reader, bool *ended);

/**
 * progress_room_ring, progress_room_block - before something is taken: make room to note it
 * Returns: 0; -ENOSPC: there is none, so it has to stay where it is; or -EPROTO: a block that is not
 * what it was before.
 */
int progress_room_ring(struct progress *progress, uint32_t ring);
int progress_room_block(struct progress *progress, const struct kvtap_block_view *block);
/* progress_ring, progress_block, progress_losses - note what the reader took, for the next commit */
void progress_ring(struct progress *progress, uint32_t ring);
void progress_block(struct progress *progress, const struct kvtap_block_view *block);
void progress_losses(struct progress *progress);
/* progress_end - all of the worker is taken: with the next commit */
void progress_end(struct progress *progress);
/* progress_forget - its files are gone */
void progress_forget(struct progress *progress);
/* progress_close - stop reading it, and remember how far */
void progress_close(struct progress *progress);

/**
 * progress_sweep - forget workers that nobody reads and whose segments are gone from the folder
 * @gone: told of each, by its segment
 */
void progress_sweep(struct progress_set *set, int folder,
		    void (*gone)(void *context, const uint8_t uuid[16]), void *context);

#endif
