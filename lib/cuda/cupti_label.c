/* SPDX-License-Identifier: Apache-2.0 */
#include "cupti_label.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (4 * KVTAP_LABELS_MAX) /* a name that isn't listed ends soon at an empty one */

static const char *names[KVTAP_LABELS_MAX + 2]; /* by id */
static uint16_t slots[SLOTS];			/* id, 0: empty */
static uint32_t count;

/* The slot of a name, or the empty one where it would be. */
static uint16_t *slot_of(const char *name)
{
	uint32_t hash = 2166136261u;

	for (const char *at = name; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 16777619u;
	for (uint32_t i = hash % SLOTS;; i = (i + 1) % SLOTS) {
		if (!slots[i] || strcmp(names[slots[i]], name) == 0)
			return &slots[i];
	}
}

bool kvtap_labels_set(const char *list)
{
	char *rest = list ? strdup(list) : NULL; /* kept: the names are in it */
	char *copy = rest, *name;

	if (list && !rest)
		return false;
	while ((name = rest ? strsep(&rest, ",") : NULL)) {
		uint16_t *slot = slot_of(name);

		if (!*name || *slot)
			continue;
		if (count == KVTAP_LABELS_MAX) {
			memset(slots, 0, sizeof(slots));
			count = 0;
			free(copy);
			return false;
		}
		names[++count] = name;
		*slot = (uint16_t)count;
	}
	return true;
}

uint32_t kvtap_labels_count(void)
{
	return count;
}

uint32_t kvtap_label_find(const char *name)
{
	return *slot_of(name);
}

const char *kvtap_label_name(uint32_t id)
{
	if (id == KVTAP_LABEL_OTHER)
		return "other";
	return id && id <= count ? names[id] : "";
}
