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
	uint64_t drained, drained_bytes;
	uint64_t folded, folded_bytes;
	uint64_t wrong; /* records with another sequence, or a call that failed */
	struct kvtap_record batch[COLLECTOR_BATCH];
};

/* collector_open - a tap in a new folder under /dev/shm; slots 0: the default. Ends the program on error */
void collector_open(struct collector *collector, uint32_t slots);
/* collector_drain - take all records that are in the rings; arg: struct collector */
void collector_drain(void *arg);
/* collector_fold - add up what is in the overflow blocks; once, when nothing records any more */
void collector_fold(struct collector *collector);
void collector_close(struct collector *collector);

#endif
