/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collector.h - a tap in a folder of its own and the reader of its segment, for benches
 *
 * The reader is the one that the exporter uses, without what the exporter does with the records: it
 * checks each one's sequence and counts it and its bytes, so that a bench can tell what it recorded
 * from what arrived. Records in rings and records folded into overflow blocks are told apart.
 */
#ifndef KVTAP_COLLECTOR_H
#define KVTAP_COLLECTOR_H

#include "kvtap.h"
#include "kvtap_reader.h"

#define COLLECTOR_BATCH 512

struct collector {
	char dir[64];
	int folder;
	struct kvtap *tap;
	struct kvtap_reader *reader;
	int segment, tails; /* descriptors of the files, which have no name any more */
	uint64_t open_ns;   /* what kvtap_open() took */
	uint64_t drained, drained_bytes;
	uint64_t folded, folded_bytes;
	uint64_t wrong; /* records with another sequence, or a call that failed */
	/* set after opening, or NULL: shown each record that is drained */
	void (*show)(void *show_arg, const struct kvtap_record *record);
	void *show_arg;
	struct kvtap_record batch[COLLECTOR_BATCH];
};

/* collector_open - a tap in a new folder under /dev/shm; slots 0: the default. Ends the program on error */
void collector_open(struct collector *collector, uint32_t slots);
/* collector_open_options - the same with options; its folder and namespace are the collector's */
void collector_open_options(struct collector *collector, const struct kvtap_options *options);
/* collector_attach - a reader of the one segment in a namespace's folder; false: there is none */
bool collector_attach(struct collector *collector, const char *path);
/* collector_drain - take all records that are in the rings; arg: struct collector */
void collector_drain(void *arg);
/* collector_fold - add up what is in the overflow blocks; once, when nothing records any more */
void collector_fold(struct collector *collector);
/* collector_bytes - shared memory that the worker takes by now: segment and tails */
uint64_t collector_bytes(const struct collector *collector);
void collector_close(struct collector *collector);

#endif
