/* SPDX-License-Identifier: Apache-2.0 */
/* state_file.h - the bytes of a state file, as state.c writes and state_open.c checks them */
#ifndef KVTAP_EXPORTER_STATE_FILE_H
#define KVTAP_EXPORTER_STATE_FILE_H

#include <stdatomic.h>
#include <string.h>

#include "state.h"

#define STATE_ALIGN 64u
#define STATE_GROW ((uint64_t)1 << 18)
#define STATE_BYTES_MAX ((uint64_t)16 << 30)

struct state_header {
	char magic[8];
	uint32_t version;
	uint32_t header_bytes;
	uint8_t boot_id[16];
	_Atomic(uint64_t) generation; /* stamped, as all that follow */
	_Atomic(uint64_t) used;	      /* where the next item goes */
	uint64_t reserved[2];
};

struct state_head {
	uint32_t bytes; /* of the item; never changes, a multiple of STATE_ALIGN */
	uint32_t fixed_bytes, value_bytes;
	uint8_t type, reserved[3];
	_Atomic(uint64_t) born, died; /* stamped generations; born 0: free; died 0: no */
	uint64_t sum;		      /* over the four fields above and the fixed part */
};

struct state_slot {
	_Atomic(uint64_t) generation; /* stamped; 0: nothing */
	uint64_t sum;		      /* over all of the value that is in use */
	uint64_t bytes;		      /* of it */
};

_Static_assert(sizeof(struct state_header) == STATE_ALIGN && sizeof(struct state_head) % 8 == 0,
	       "layout");

struct state_class { /* free items of one size */
	uint32_t bytes;
	uint32_t count, room;
	uint64_t *item;
};

struct state {
	uint8_t *base;
	uint64_t bytes; /* mapped, all of it allocated */
	int fd;
	struct state_class *class;
	uint32_t classes;
	uint64_t *dead; /* removed, not yet committed */
	uint32_t dead_count, dead_room;
};

static inline struct state_header *state_header(const struct state *state)
{
	return (struct state_header *)state->base;
}

static inline struct state_head *state_head_at(const struct state *state, uint64_t item)
{
	return (struct state_head *)(state->base + item);
}

/*
 * A word that changes by one store can have no sum beside it, so it carries one: 48 bits of a number
 * and 16 that depend on it and on the word's place.
 */
#define STAMP_BITS 48

static inline uint64_t state_stamp(const struct state *state, const _Atomic(uint64_t) *word,
				   uint64_t number)
{
	uint64_t place = (uint64_t)((const uint8_t *)word - state->base);
	uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15u ^ (place + 1) * 0xff51afd7ed558ccdu;

	return number | (mixed ^ mixed << 29) >> STAMP_BITS << STAMP_BITS;
}

static inline uint64_t state_load(const _Atomic(uint64_t) *word)
{
	/* relaxed: own index, or checked later, see state_word_valid() */
	return atomic_load_explicit(word, memory_order_relaxed) & (UINT64_MAX >> (64 - STAMP_BITS));
}

/* Ordered for a process that looks after this one's death; see state.c. */
static inline void state_store(const struct state *state, _Atomic(uint64_t) *word, uint64_t number)
{
	atomic_store_explicit(word, state_stamp(state, word, number), memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
}

static inline bool state_word_valid(const struct state *state, const _Atomic(uint64_t) *word)
{
	return atomic_load_explicit(word, memory_order_relaxed) ==
	       state_stamp(state, word, state_load(word));
}

static inline uint64_t state_generation(const struct state *state)
{
	return state_load(&state_header(state)->generation);
}

static inline uint64_t state_round_up(uint64_t bytes, uint64_t to)
{
	return (bytes + to - 1) / to * to;
}

static inline uint8_t *state_fixed(struct state_head *head)
{
	return (uint8_t *)(head + 1);
}

static inline struct state_slot *state_slot_of(struct state_head *head, int which)
{
	uint64_t fixed = state_round_up(head->fixed_bytes, 8);
	uint64_t slot = sizeof(struct state_slot) + state_round_up(head->value_bytes, 8);

	return (struct state_slot *)(state_fixed(head) + fixed + (uint64_t)which * slot);
}

static inline uint64_t state_item_bytes(uint32_t fixed_bytes, uint32_t value_bytes)
{
	uint64_t slots =
		value_bytes ? 2 * (sizeof(struct state_slot) + state_round_up(value_bytes, 8)) : 0;

	return state_round_up(sizeof(struct state_head) + state_round_up(fixed_bytes, 8) + slots,
			      STATE_ALIGN);
}

static inline uint64_t state_mix(uint64_t sum, const uint64_t word[2])
{
	unsigned __int128 product =
		(unsigned __int128)(sum ^ word[0]) * (word[1] ^ 0xff51afd7ed558ccdu);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/*
 * Finds what a disk or a mistake did; it is no proof against somebody who means it. In four lanes, as
 * each step of one has to wait for a multiplication.
 */
static inline uint64_t state_sum(uint64_t seed, const void *data, uint32_t bytes)
{
	uint64_t a = seed ^ 0x9e3779b97f4a7c15u, b = a + 1, c = a + 2, d = a + 3, word[8] = { 0 };
	const uint8_t *at = data;

	for (; bytes >= sizeof(word); bytes -= sizeof(word), at += sizeof(word)) {
		memcpy(word, at, sizeof(word));
		a = state_mix(a, word);
		b = state_mix(b, word + 2);
		c = state_mix(c, word + 4);
		d = state_mix(d, word + 6);
	}
	memset(word, 0, sizeof(word));
	memcpy(word, at, bytes);
	a = state_mix(state_mix(a, word) ^ b, word + 2);
	c = state_mix(state_mix(c, word + 4) ^ d, word + 6);
	return state_mix(a, (uint64_t[2]){ c, bytes });
}

static inline uint64_t state_head_sum(struct state_head *head, uint64_t item)
{
	uint64_t seed = state_sum(item, head, offsetof(struct state_head, born));

	return state_sum(seed, state_fixed(head), head->fixed_bytes);
}

static inline uint64_t state_slot_sum(uint64_t item, const struct state_slot *slot,
				      uint64_t generation)
{
	uint64_t seed = item ^ generation << 32 ^ generation >> 32;

	return state_sum(seed ^ slot->bytes << 16, slot + 1, (uint32_t)slot->bytes);
}

static inline bool state_is_free(const struct state_head *head)
{
	return !state_load(&head->born) || state_load(&head->died);
}

/* state_grow - map at least so many bytes of the file; 0 or a negative errno */
int state_grow(struct state *state, uint64_t bytes);
/* state_release - a free item can be used anew */
void state_release(struct state *state, uint64_t item);

#endif
