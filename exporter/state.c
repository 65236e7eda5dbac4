/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c - a file of items that change together: all of a commit or none, whenever we are killed
 *
 * Stores to shared memory outlive the process in the order of the program, so what keeps a kill at
 * any instruction harmless is the compiler's order alone, which state_store() keeps:
 *
 *   G  header.generation  the commit: a slot of a later generation is not valid
 *   U  header.used        after the head of an item that it lets in
 *   B  born               before anything else of an item that is used anew: until G has reached it,
 *                         the item is free
 *   S  slot.generation    0 before the slot is written, its own after it
 *
 * All pair with check() in state_open.c of a later process, which reads them after this one is gone: nothing runs at
 * the same time. It undoes what was not committed, and each step of that may be done twice.
 */
#include "state_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- room --------------------------------------------------------------------------------- */

int state_grow(struct state *state, uint64_t bytes)
{
	bytes = state_round_up(bytes, STATE_GROW);
	if (bytes > STATE_BYTES_MAX)
		return -EFBIG;
	int rc = posix_fallocate(state->fd, 0, (off_t)bytes); /* no SIGBUS later */
	if (rc)
		return -rc;
	void *base = state->base
			     ? mremap(state->base, state->bytes, bytes, MREMAP_MAYMOVE)
			     : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, state->fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	state->base = base;
	state->bytes = bytes;
	return 0;
}

static struct state_class *class_of(struct state *state, uint32_t bytes)
{
	for (uint32_t i = 0; i < state->classes; i++)
		if (state->class[i].bytes == bytes)
			return &state->class[i];
	struct state_class *grown = realloc(state->class, (state->classes + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	state->class = grown;
	grown[state->classes] = (struct state_class){ .bytes = bytes };
	return &grown[state->classes++];
}

/* Out of memory, the item stays unused until the file is opened again. */
void state_release(struct state *state, uint64_t item)
{
	struct state_class *class = class_of(state, state_head_at(state, item)->bytes);

	if (!class)
		return;
	if (class->count == class->room) {
		uint32_t room = class->room ? class->room * 2 : 16;
		uint64_t *grown = realloc(class->item, room * sizeof(*grown));

		if (!grown)
			return;
		class->item = grown;
		class->room = room;
	}
	class->item[class->count++] = item;
}

/* The smallest free item that fits and isn't half empty; 0: none. */
static uint64_t reuse(struct state *state, uint64_t bytes)
{
	struct state_class *best = NULL;

	for (uint32_t i = 0; i < state->classes; i++) {
		struct state_class *class = &state->class[i];

		if (class->count && class->bytes >= bytes && class->bytes <= 2 * bytes &&
		    (!best || class->bytes < best->bytes))
			best = class;
	}
	return best ? best->item[--best->count] : 0;
}

static uint64_t extend(struct state *state, uint64_t bytes)
{
	uint64_t item = state_load(&state_header(state)->used);

	if (bytes > UINT32_MAX) {
		errno = EFBIG;
		return 0;
	}
	int rc = item + bytes > state->bytes ? state_grow(state, item + bytes) : 0;
	if (rc) {
		errno = -rc;
		return 0;
	}
	struct state_head *head = state_head_at(state, item);
	*head = (struct state_head){ .bytes = (uint32_t)bytes };
	state_store(state, &head->born, 0);
	state_store(state, &head->died, 0);
	state_store(state, &state_header(state)->used, item + bytes); /* U */
	return item;
}

/* ---- writing ------------------------------------------------------------------------------ */

uint64_t state_add(struct state *state, uint8_t type, const void *fixed, uint32_t fixed_bytes,
		   uint32_t bytes)
{
	uint64_t wanted = state_item_bytes(fixed_bytes, bytes), item = reuse(state, wanted);

	if (!item)
		item = extend(state, wanted);
	if (!item)
		return 0;
	struct state_head *head = state_head_at(state, item);
	state_store(state, &head->born, state_generation(state) + 1); /* B */
	state_store(state, &head->died, 0);
	head->type = type;
	head->fixed_bytes = fixed_bytes;
	head->value_bytes = bytes;
	if (fixed_bytes)
		memcpy(state_fixed(head), fixed, fixed_bytes);
	head->sum = state_head_sum(head, item);
	for (int i = 0; bytes && i < 2; i++)
		state_store(state, &state_slot_of(head, i)->generation, 0);
	return item;
}

/* The slot that does not hold the committed value. */
static struct state_slot *next_slot(const struct state *state, uint64_t item)
{
	struct state_head *head = state_head_at(state, item);
	struct state_slot *slot[2] = { state_slot_of(head, 0), state_slot_of(head, 1) };
	uint64_t first = state_load(&slot[0]->generation);
	uint64_t second = state_load(&slot[1]->generation);

	/* what is being written has 0 or the next generation, what is committed neither */
	if (first == 0 || first > state_generation(state))
		return slot[0];
	if (second == 0 || second > state_generation(state))
		return slot[1];
	return first < second ? slot[0] : slot[1];
}

void *state_value(struct state *state, uint64_t item)
{
	struct state_slot *slot = next_slot(state, item);

	state_store(state, &slot->generation, 0); /* S */
	return slot + 1;
}

void state_end(struct state *state, uint64_t item, uint32_t bytes)
{
	struct state_slot *slot = next_slot(state, item);
	uint64_t next = state_generation(state) + 1;

	assert(bytes <= state_room(state, item)); /* else it has written over its neighbour */
	slot->bytes = bytes;
	slot->sum = state_slot_sum(item, slot, next);
	state_store(state, &slot->generation, next); /* S */
}

uint32_t state_room(const struct state *state, uint64_t item)
{
	return state_head_at(state, item)->value_bytes;
}

void state_remove(struct state *state, uint64_t item)
{
	state_store(state, &state_head_at(state, item)->died, state_generation(state) + 1);
	if (state->dead_count == state->dead_room) {
		uint32_t room = state->dead_room ? state->dead_room * 2 : 64;
		uint64_t *grown = realloc(state->dead, room * sizeof(*grown));

		if (!grown)
			return; /* it is used again after the next start */
		state->dead = grown;
		state->dead_room = room;
	}
	state->dead[state->dead_count++] = item;
}

void state_commit(struct state *state)
{
	state_store(state, &state_header(state)->generation, state_generation(state) + 1); /* G */
	while (state->dead_count)
		state_release(state, state->dead[--state->dead_count]);
}

/* ---- reading ------------------------------------------------------------------------------ */

static const struct state_slot *newest(struct state_head *head)
{
	const struct state_slot *best = NULL;
	uint64_t latest = 0;

	for (int i = 0; head->value_bytes && i < 2; i++) {
		struct state_slot *slot = state_slot_of(head, i);
		uint64_t its = state_load(&slot->generation);

		if (its > latest) {
			latest = its;
			best = slot;
		}
	}
	return best;
}

void state_get(const struct state *state, struct state_item *item)
{
	struct state_head *head = state_head_at(state, item->item);
	const struct state_slot *slot = newest(head);

	*item = (struct state_item){ .item = item->item,
				     .type = head->type,
				     .fixed_bytes = head->fixed_bytes,
				     .bytes = slot ? (uint32_t)slot->bytes : 0,
				     .room = head->value_bytes,
				     .fixed = state_fixed(head),
				     .value = slot ? slot + 1 : NULL };
}

bool state_next(const struct state *state, struct state_item *item)
{
	uint64_t used = state_load(&state_header(state)->used);
	uint64_t at = item->item ? item->item + state_head_at(state, item->item)->bytes
				 : sizeof(struct state_header);

	while (at < used && state_is_free(state_head_at(state, at)))
		at += state_head_at(state, at)->bytes;
	if (at >= used)
		return false;
	item->item = at;
	state_get(state, item);
	return true;
}
