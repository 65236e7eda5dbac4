/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dictionary.c - append-only entries with an index by content
 *
 * Knows the bytes of entries and how to find equal ones; what they mean is declare.c's.
 */
#include "dictionary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* At most this many entries, so the table is never more than half full. */
#define ENTRIES_MAX                                                                                \
	(1 + KVTAP_FAMILIES_MAX + KVTAP_KINDS_MAX + KVTAP_SERIES_MAX + KVTAP_CONNECTORS_MAX)
#define INDEX_SLOTS (1u << 18)

_Static_assert(ENTRIES_MAX * 2 <= INDEX_SLOTS, "probing ends at an empty slot");

void kvtap_entry_begin(struct kvtap_entry_builder *builder, const struct kvtap_entry *head)
{
	*builder = (struct kvtap_entry_builder){ 0 };
	kvtap_entry_bytes(builder, head, sizeof(*head));
}

static void reserve(struct kvtap_entry_builder *builder, size_t bytes)
{
	size_t capacity = builder->capacity ? builder->capacity : 256;
	uint8_t *data;

	if (builder->error || builder->bytes + bytes <= builder->capacity)
		return;
	if (bytes > KVTAP_ENTRY_MAX || builder->bytes + bytes > KVTAP_ENTRY_MAX) {
		builder->error = -E2BIG;
		return;
	}
	while (capacity < builder->bytes + bytes)
		capacity *= 2;
	data = realloc(builder->data, capacity);
	if (!data) {
		builder->error = -ENOMEM;
		return;
	}
	builder->data = data;
	builder->capacity = capacity;
}

void kvtap_entry_bytes(struct kvtap_entry_builder *builder, const void *data, size_t bytes)
{
	reserve(builder, bytes);
	if (builder->error || bytes == 0)
		return;
	memcpy(builder->data + builder->bytes, data, bytes);
	builder->bytes += bytes;
}

void kvtap_entry_string(struct kvtap_entry_builder *builder, const char *text)
{
	uint32_t bytes = (uint32_t)strnlen(text, KVTAP_STRING_MAX + 1);

	if (bytes > KVTAP_STRING_MAX && !builder->error)
		builder->error = -E2BIG;
	kvtap_entry_bytes(builder, &bytes, sizeof(bytes));
	kvtap_entry_bytes(builder, text, bytes);
}

int kvtap_entry_end(struct kvtap_entry_builder *builder)
{
	static const uint8_t zero[8];
	uint32_t bytes;

	kvtap_entry_bytes(builder, zero, -builder->bytes & 7);
	if (builder->error)
		return builder->error;
	bytes = (uint32_t)builder->bytes;
	memcpy(builder->data + offsetof(struct kvtap_entry, bytes), &bytes, sizeof(bytes));
	return 0;
}

void kvtap_entry_free(struct kvtap_entry_builder *builder)
{
	free(builder->data);
}

/* Lazily touched: a dictionary costs what is in it. */
static void *map_private(size_t bytes)
{
	void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return data == MAP_FAILED ? NULL : data;
}

int kvtap_dictionary_init(struct kvtap_dictionary *dictionary, uint64_t capacity)
{
	*dictionary = (struct kvtap_dictionary){ .capacity = capacity };
	dictionary->data = map_private(capacity);
	dictionary->index = map_private(INDEX_SLOTS * sizeof(*dictionary->index));
	if (dictionary->data && dictionary->index)
		return 0;
	kvtap_dictionary_destroy(dictionary);
	return -ENOMEM;
}

void kvtap_dictionary_destroy(struct kvtap_dictionary *dictionary)
{
	if (dictionary->data)
		munmap(dictionary->data, dictionary->capacity);
	if (dictionary->index)
		munmap(dictionary->index, INDEX_SLOTS * sizeof(*dictionary->index));
	*dictionary = (struct kvtap_dictionary){ 0 };
}

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint32_t hash(const uint8_t *data, size_t bytes)
{
	uint64_t value = 0xcbf29ce484222325;

	for (size_t i = 0; i < bytes; i++)
		value = (value ^ data[i]) * 0x100000001b3;
	return (uint32_t)(value ^ value >> 32);
}

/* The slot of an equal entry, or the empty slot where it would go. */
static uint64_t *find_slot(const struct kvtap_dictionary *dictionary,
			   const struct kvtap_entry_builder *entry)
{
	uint32_t at = hash(entry->data, entry->bytes) % INDEX_SLOTS;

	for (;; at = (at + 1) % INDEX_SLOTS) {
		uint64_t slot = dictionary->index[at];
		uint64_t offset = ((slot >> 32) - 1) * 8;

		if (!slot || (entry->bytes <= dictionary->used - offset &&
			      memcmp(dictionary->data + offset, entry->data, entry->bytes) == 0))
			return &dictionary->index[at];
	}
}

uint32_t kvtap_dictionary_find(const struct kvtap_dictionary *dictionary,
			       const struct kvtap_entry_builder *entry)
{
	return (uint32_t)*find_slot(dictionary, entry);
}

int kvtap_dictionary_append(struct kvtap_dictionary *dictionary,
			    const struct kvtap_entry_builder *entry, uint32_t id)
{
	if (entry->bytes > dictionary->capacity - dictionary->used)
		return -ENOSPC;
	*find_slot(dictionary, entry) = (dictionary->used / 8 + 1) << 32 | id;
	memcpy(dictionary->data + dictionary->used, entry->data, entry->bytes);
	dictionary->used += entry->bytes;
	return 0;
}

/* The index still names what was cut, but nothing beyond used is ever equal to an entry. */
void kvtap_dictionary_cut(struct kvtap_dictionary *dictionary, uint32_t entries)
{
	uint64_t offset = 0;
	struct kvtap_entry entry;

	for (uint32_t i = 0; i < entries && offset < dictionary->used; i++) {
		memcpy(&entry, dictionary->data + offset, sizeof(entry));
		offset += entry.bytes;
	}
	dictionary->used = offset;
}
