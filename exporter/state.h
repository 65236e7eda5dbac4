/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - a file of items that change together: all of a commit or none, whenever we are killed
 *
 * Knows bytes, not what they mean. Each item has a fixed part, written once, and two slots of which
 * one holds the last committed value. A change is written into the other slot, and one store of the
 * file's generation makes all changes since the last one count. The file is in shared memory, so
 * what is written survives the process; no system call is made but to grow.
 *
 * All that is read back is checked first: a file that is not ours, of another version or of another
 * boot, or whose sums don't fit is refused as a whole. Not MT-safe.
 */
#ifndef KVTAP_EXPORTER_STATE_H
#define KVTAP_EXPORTER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state;

/**
 * state_open - open the file NAME in the folder, or make it, and hold it
 * @state:  NULL on error
 * @why:    what is wrong with the file that is there, in words; static
 * @holder: process that holds it, 0: one of another pid namespace
 *
 * Returns: 0; -EPROTO: it can't be trusted, see *why; -EWOULDBLOCK: see *holder; or the negative errno of
 * a system call.
 */
int state_open(struct state **state, const char **why, int *holder, int folder, const char *name);
/* state_close - without a commit: what was not committed did not happen */
void state_close(struct state *state);

/* state_holder - the process that holds the file NAME; 0: unknown or none */
int state_holder(int folder, const char *name);

/**
 * state_add - make an item; it is there from the next commit on
 * @type:  1 to 255, of the caller's own
 * @fixed: [fixed_bytes]
 * @bytes: of its longest value; 0: it has none
 *
 * Returns: the item, or 0: no room for it (errno).
 */
uint64_t state_add(struct state *state, uint8_t type, const void *fixed, uint32_t fixed_bytes,
		   uint32_t bytes);
/**
 * state_value - begin to write the item's next value
 *
 * Returns: where, [bytes]: until the next call but state_end().
 */
void *state_value(struct state *state, uint64_t item);
/* state_end - the value is complete: so many bytes */
void state_end(struct state *state, uint64_t item, uint32_t bytes);
/* state_room - bytes of the item's longest value */
uint32_t state_room(const struct state *state, uint64_t item);
/* state_remove - from the next commit on it is gone; nothing else may be done with it */
void state_remove(struct state *state, uint64_t item);
/* state_commit - all of the above at once, or nothing of it, if we are killed before it returns */
void state_commit(struct state *state);

struct state_item {
	uint64_t item;
	uint8_t type;
	uint32_t fixed_bytes;
	uint32_t bytes; /* of the value */
	uint32_t room;	/* of the longest value */
	const void *fixed;
	const void *value; /* NULL: it has none yet */
};

/**
 * state_next - go through the items, in the order of their place, with their newest values
 * @item: item->item 0: the first
 */
bool state_next(const struct state *state, struct state_item *item);

/* state_get - read the item item->item again */
void state_get(const struct state *state, struct state_item *item);

/* state_bytes - size of the file */
uint64_t state_bytes(const struct state *state);

#endif
