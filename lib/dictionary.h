/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dictionary.h - the worker's declarations, as the bytes that readers see
 *
 * Kept in private memory, which a fork child inherits, and copied to the segment from there: a child
 * gives its own segment the same dictionary and all ids stay valid in it.
 */
#ifndef KVTAP_DICTIONARY_H
#define KVTAP_DICTIONARY_H

#include <stddef.h>
#include <stdint.h>

#include "kvtap_layout.h"

/* An entry under construction. */
struct kvtap_entry_builder {
	uint8_t *data;
	size_t bytes, capacity;
	int error; /* sticky: -ENOMEM or -E2BIG */
};

#define KVTAP_ENTRY_MAX (1u << 17)

void kvtap_entry_begin(struct kvtap_entry_builder *builder, const struct kvtap_entry *head);
void kvtap_entry_bytes(struct kvtap_entry_builder *builder, const void *data, size_t bytes);
void kvtap_entry_string(struct kvtap_entry_builder *builder, const char *text);
/* kvtap_entry_end - pad and set the length; the builder's error, if any */
int kvtap_entry_end(struct kvtap_entry_builder *builder);
void kvtap_entry_free(struct kvtap_entry_builder *builder);

struct kvtap_dictionary {
	uint8_t *data; /* [capacity], mapped */
	uint64_t used, capacity;
	uint64_t *index; /* hash table: offset / 8 + 1 in the high half, id in the low */
};

/* kvtap_dictionary_init - 0 or a negative errno; capacity as in the segment */
int kvtap_dictionary_init(struct kvtap_dictionary *dictionary, uint64_t capacity);
void kvtap_dictionary_destroy(struct kvtap_dictionary *dictionary);
/* kvtap_dictionary_find - the id of an entry with exactly these bytes, or 0 */
uint32_t kvtap_dictionary_find(const struct kvtap_dictionary *dictionary,
			       const struct kvtap_entry_builder *entry);
/* kvtap_dictionary_append - 0 or -ENOSPC; publishing it is the caller's */
int kvtap_dictionary_append(struct kvtap_dictionary *dictionary,
			    const struct kvtap_entry_builder *entry, uint32_t id);
/* kvtap_dictionary_cut - keep this many entries */
void kvtap_dictionary_cut(struct kvtap_dictionary *dictionary, uint32_t entries);

#endif
