/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.h - a worker's segment and tails files
 *
 * Made under a temporary name that is locked from its first moment, filled, then renamed: nobody
 * sees half a segment. Knows files and mappings, nothing of what records mean.
 */
#ifndef KVTAP_SEGMENT_H
#define KVTAP_SEGMENT_H

#include <stdbool.h>
#include <sys/types.h>

#include "kvtap_layout.h"
#include "owner.h"

struct kvtap_segment_parameters {
	const char *dir;	/* the tmpfs folder, there already */
	const char *name_space; /* folder in it, made if missing */
	uint32_t ring_slots, ring_max, overflow_bytes;
	uint64_t dictionary_bytes;
};

struct kvtap_segment {
	struct kvtap_segment *next; /* older ones of the same tap */
	struct kvtap_segment_header *header;
	uint8_t *base;				/* of the mapping, as header */
	const struct kvtap_tails_header *tails; /* read-only */
	size_t bytes, tails_mapped;
	uint64_t dictionary_allocated;
	int fd; /* holds the lock; the program may close it behind our back */
	dev_t device;
	ino_t inode;
	const char *step; /* after an error: the system call that failed, for the log */
};

/* kvtap_segment_create - 0 or a negative errno; the segment is visible and ready on success */
int kvtap_segment_create(struct kvtap_segment *segment,
			 const struct kvtap_segment_parameters *parameters,
			 const uint8_t *dictionary, uint64_t dictionary_used);

/* kvtap_segment_allocate - back a range with memory, so that writing there can't fault; -ENOSPC */
int kvtap_segment_allocate(struct kvtap_segment *segment, uint64_t offset, uint64_t bytes);

/* kvtap_segment_declare - copy the dictionary's growth and publish it; 0 or -ENOSPC */
int kvtap_segment_declare(struct kvtap_segment *segment, const uint8_t *dictionary, uint64_t used);

/* kvtap_segment_ring - address of ring number index; index < ring_max */
struct kvtap_ring_header *kvtap_segment_ring(const struct kvtap_segment *segment, uint32_t index);
const struct kvtap_tail *kvtap_segment_tail(const struct kvtap_segment *segment, uint32_t index);

/*
 * kvtap_segment_close - mark it closed and unmap it
 *
 * The mapping stays if other threads still hold beacons in it: the kernel's list of their robust
 * mutexes runs through that memory.
 */
void kvtap_segment_close(struct kvtap_segment *segment);

/* kvtap_segment_abandon - in a fork child: let go of the parent's descriptor */
void kvtap_segment_abandon(struct kvtap_segment *segment);

#endif
