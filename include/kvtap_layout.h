/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvtap_layout.h - the bytes that a worker and a reader share
 *
 * A worker process owns one segment file and, beside it, one tails file, both in the folder
 * <KVTAP_DIR>/kvtap.<namespace>/ and named <pid>.<uuid>.seg and <pid>.<uuid>.tails.
 *
 *   segment, written by the worker, mapped read-only by readers
 *     0                    struct kvtap_segment_header
 *     dictionary_offset    entries (struct kvtap_entry), append-only, valid up to dictionary_used
 *     rings_offset         ring_max rings of ring_bytes each; the first ring_count are in use
 *       + 0                struct kvtap_ring_header
 *       + 4096             ring_slots records
 *       + 4096 + slots*64  overflow arena: blocks (struct kvtap_block), valid up to overflow_used
 *   tails, made by the worker, written by the reader, mapped read-only by the worker
 *     0                    struct kvtap_tails_header
 *     4096                 ring_max tails (struct kvtap_tail)
 *
 * Both files have their full size from the start and are sparse; what is in use is allocated before
 * anybody writes to it, so that a full file system is an error at open and never a SIGBUS.
 * All integers are in the machine's byte order; the asymmetric magic refuses a foreign one.
 * Times are CLOCK_MONOTONIC in integer nanoseconds. Reserved bytes are zero.
 *
 * This header has no functions. "written by" names the only writer of each field.
 */
#ifndef KVTAP_LAYOUT_H
#define KVTAP_LAYOUT_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define KVTAP_ATOMIC(type) type /* same bytes; C++ code reads them through kvtap_reader.h */
#define KVTAP_LAYOUT_ASSERT static_assert
#else
#define KVTAP_ATOMIC(type) _Atomic(type)
#define KVTAP_LAYOUT_ASSERT _Static_assert
#endif

#define KVTAP_SEGMENT_MAGIC "\x89KVTAP\r\n"
#define KVTAP_TAILS_MAGIC "\x89KVTLS\r\n"
#define KVTAP_LAYOUT_MAJOR 1 /* another one is refused */
#define KVTAP_LAYOUT_MINOR 3 /* 1: gauge modes; 2: KVTAP_CONNECTORS, units; 3: KVTAP_DEVICES */
/* feature_incompat: the reader itself remembers what it applied of overflow blocks and losses */
#define KVTAP_READER_REMEMBERS 1u
/* feature_incompat: connectors, more feeds, and fields and conditions of feeds since minor 2 */
#define KVTAP_CONNECTORS 2u
/* feature_incompat: KVTAP_OP_OVERLAPPED; rings with a GPU as their producer */
#define KVTAP_DEVICES 4u

#define KVTAP_SEGMENT_SUFFIX ".seg"
#define KVTAP_TAILS_SUFFIX ".tails"
#define KVTAP_TEMPORARY_PREFIX ".tmp."

/* Limits that a reader enforces and a writer keeps. */
#define KVTAP_RINGS_MAX 1024
#define KVTAP_RING_RECORDS 4096 /* from the start of a ring */
#define KVTAP_SLOTS_MIN 16
#define KVTAP_SLOTS_MAX (1u << 20)
#define KVTAP_OVERFLOW_MAX (16u << 20)
#define KVTAP_DICTIONARY_MAX (64u << 20)
#define KVTAP_SEGMENT_MAX (64ull << 30)
#define KVTAP_FAMILIES_MAX 1024
#define KVTAP_KINDS_MAX 256
#define KVTAP_CONNECTORS_MAX 64
#define KVTAP_SERIES_MAX 65536
#define KVTAP_NAME_MAX 255    /* bytes of a metric or label name */
#define KVTAP_STRING_MAX 4096 /* bytes of a help text or a label value */
#define KVTAP_LABELS_MAX 16   /* label names of a family or a kind; constant labels of a tap */
#define KVTAP_BOUNDS_MAX 64   /* finite bucket bounds of a histogram */
#define KVTAP_FEEDS_MAX 32    /* families that one transfer record feeds */

enum kvtap_segment_state {
	KVTAP_SEGMENT_OPENING = 0, /* never seen under the final name */
	KVTAP_SEGMENT_READY = 1,
	KVTAP_SEGMENT_CLOSED = 2, /* clean close: no record follows */
};

/* What a record does. A transfer feeds the families of its kind; the others one series. */
enum kvtap_op {
	KVTAP_OP_TRANSFER = 1,
	KVTAP_OP_ADD = 2,
	KVTAP_OP_SET = 3,
	KVTAP_OP_OBSERVE = 4,
};

/* A bit beside KVTAP_OP_TRANSFER: submit and queue time are beside duration_ns, not part of it. */
#define KVTAP_OP_OVERLAPPED 0x80

struct kvtap_record {
	uint32_t series; /* dictionary id, from 1 */
	uint8_t status;	 /* transfer: 0 ok, else a failure class */
	uint8_t op;
	uint16_t sequence; /* low bits of the ring index: two producers or stale bytes show here */
	uint64_t end_ns;
	union {
		uint64_t
			duration_ns; /* transfer: submit + queue + device time; or KVTAP_OP_OVERLAPPED */
		double value;	     /* add, set, observe */
	};
	uint64_t submit_ns; /* time in the caller's own post or submit call */
	uint64_t queue_ns;  /* time queued before the device began */
	uint64_t bytes;
	uint32_t descriptors;
	uint32_t failed_descriptors; /* of descriptors */
	uint64_t request_id;	     /* request or job, 0 for none */
};

struct kvtap_segment_header {
	/* static: written by the worker before the file gets its name */
	char magic[8];
	uint16_t major;
	uint16_t minor;
	uint32_t header_bytes;
	uint32_t feature_compat;   /* a reader may ignore unknown bits */
	uint32_t feature_incompat; /* a reader must refuse unknown bits */
	uint32_t record_bytes;
	uint32_t ring_slots; /* a power of two */
	uint32_t ring_max;
	uint32_t overflow_bytes; /* arena of one ring */
	uint64_t segment_bytes;
	uint64_t dictionary_offset;
	uint64_t dictionary_bytes;
	uint64_t rings_offset;
	uint64_t ring_bytes; /* distance between rings */
	uint8_t boot_id[16];
	uint8_t uuid[16];
	uint64_t start_ticks;	/* field 22 of /proc/PID/stat, proc(5) */
	uint64_t pid_namespace; /* inode of /proc/PID/ns/pid */
	uint64_t opened_monotonic_ns;
	uint64_t opened_realtime_ns;
	uint32_t pid;	  /* in its own pid namespace */
	uint32_t beacons; /* 1: the first word of a beacon is a futex word with the owner's tid */
	uint8_t reserved0[104];
	/* live: written by the worker's threads */
	KVTAP_ATOMIC(uint32_t) state;
	KVTAP_ATOMIC(uint32_t) ring_count;
	KVTAP_ATOMIC(uint64_t) dictionary_used;
	KVTAP_ATOMIC(uint64_t) lost_records; /* of threads that could not get a ring */
	KVTAP_ATOMIC(uint64_t) lost_bytes;
	uint8_t reserved1[96];
};

/* One word that a fold is about to change, as an absolute value: applying it twice is harmless. */
struct kvtap_redo_entry {
	KVTAP_ATOMIC(uint64_t) word; /* index into kvtap_block.word */
	KVTAP_ATOMIC(uint64_t) value;
};

#define KVTAP_REDO_ENTRIES (1 + 3 * KVTAP_FEEDS_MAX) /* records + (sum, sum, bucket) a feed */

/*
 * Who writes a ring. A GPU has no thread that could store the head, so that each of its slots says
 * itself that it is there: its first 8 bytes (series, status, op, sequence) are written last, by one
 * release store. The slot of index i holds that record if op is not 0 and sequence is the low half
 * of i. The slots before it may still be empty; they were claimed before. Nobody claims beyond tail
 * + slots, and slots is at most KVTAP_DEVICE_SLOTS_MAX, so that the last lap's record is none.
 */
enum kvtap_producers {
	KVTAP_PRODUCERS_THREAD = 0, /* one at a time, which holds the beacon */
	KVTAP_PRODUCERS_DEVICE = 1, /* threads of a GPU: head stays 0, nothing is folded */
};

#define KVTAP_DEVICE_SLOTS_MAX 32768u

/*
 * Written by the ring's producer, except the beacon, which the kernel marks when the thread dies. Of
 * a device ring: the beacon is held by the thread that opened it; the GPU writes lost_*, nothing else.
 */
struct kvtap_ring_header {
	union {
		pthread_mutex_t beacon; /* robust, process-shared, held by the producer for life */
		KVTAP_ATOMIC(uint32_t) beacon_word;
		uint8_t beacon_bytes[128];
	};
	KVTAP_ATOMIC(uint64_t) head; /* records published since the ring was made; free-running */
	uint8_t reserved0[120];
	/* only on slow paths */
	KVTAP_ATOMIC(uint64_t) lost_records; /* the overflow arena was full; of a GPU: the ring */
	KVTAP_ATOMIC(uint64_t) lost_bytes;
	KVTAP_ATOMIC(uint64_t)
	refused_records; /* NaN, infinite or negative where that has no meaning */
	KVTAP_ATOMIC(uint32_t) overflow_used; /* bytes */
	KVTAP_ATOMIC(uint32_t) producers;     /* enum kvtap_producers; never changes */
	KVTAP_ATOMIC(uint64_t)
	fold_sequence;			   /* odd: the redo below is complete and being applied */
	KVTAP_ATOMIC(uint32_t) redo_block; /* offset in the arena */
	KVTAP_ATOMIC(uint32_t) redo_count;
	struct kvtap_redo_entry redo[KVTAP_REDO_ENTRIES];
};

/*
 * Overflow block: everything folded for one series by one ring. word[0] counts the records; then,
 * for each feed in order: counter and histogram: sum, 2 words; gauge: value and its time, 2 words;
 * histogram: bounds + 1 bucket counts, not cumulative. A sum fed by a transfer field is a 128-bit
 * integer (low word first); one fed by a double is a double-double (high part first).
 */
struct kvtap_block {
	uint32_t series;
	uint32_t words;
	KVTAP_ATOMIC(uint64_t) word[1]; /* words of them */
};

#define KVTAP_BLOCK_ALIGN 16

enum kvtap_entry_type {
	KVTAP_ENTRY_CONSTANTS = 1, /* labels pairs: name, value */
	KVTAP_ENTRY_FAMILY = 2,	   /* double bound[count]; name, help, labels names */
	KVTAP_ENTRY_KIND = 3, /* struct kvtap_feed_entry[count]; name, labels names, fixed values */
	KVTAP_ENTRY_FAMILY_SERIES = 4, /* target family; labels values */
	KVTAP_ENTRY_KIND_SERIES = 5,   /* target kind; labels values */
	KVTAP_ENTRY_CONNECTOR = 6,     /* metric: enum kvtap_summary; name */
};

/*
 * Dictionary entry: this head, the fixed part named above, then the strings, each a uint32_t length
 * and that many bytes without a NUL. Families, kinds and series are numbered from 1 in the order in
 * which they stand here, and so are connectors; an entry refers only to earlier ones.
 */
struct kvtap_entry {
	uint32_t bytes; /* with this head; a multiple of 8 */
	uint16_t type;
	uint8_t metric; /* family: enum kvtap_metric */
	uint8_t flags; /* family: KVTAP_FAMILY_LAZY, above it a gauge's mode, above that the unit */
	uint32_t target; /* family and kind: connector or 0, above it the role */
	uint16_t labels;
	uint16_t count;
};

#define KVTAP_ENTRY_MODE_SHIFT 1 /* enum kvtap_gauge_mode in flags; 0 is what minor 0 has there */
#define KVTAP_ENTRY_MODE_MASK 0xf
#define KVTAP_ENTRY_UNIT_SHIFT 5 /* enum kvtap_unit in flags */
#define KVTAP_ENTRY_UNIT_MASK 0x7
#define KVTAP_ENTRY_ROLE_SHIFT 16 /* enum kvtap_role in target */
#define KVTAP_LABEL_FIXED 0xff

struct kvtap_feed_entry {
	uint32_t family;
	uint8_t field; /* enum kvtap_field */
	uint8_t when;  /* enum kvtap_when */
	uint8_t reserved[2];
	/* for each label of the family: index of the kind's label, or FIXED: the next fixed value */
	uint8_t source[KVTAP_LABELS_MAX];
};

struct kvtap_tails_header {
	char magic[8]; /* written by the worker, once */
	uint16_t major;
	uint16_t minor;
	uint32_t ring_max;
	uint64_t reserved0;
	uint64_t tails_bytes;
	uint8_t uuid[16];
	uint8_t reserved1[80];
	/* written by the reader */
	KVTAP_ATOMIC(uint32_t) retired; /* the worker was taken for dead */
	uint8_t reserved2[124];
};

#define KVTAP_TAILS_OFFSET 4096 /* from the start of the tails file */

struct kvtap_tail {
	KVTAP_ATOMIC(uint64_t) tail; /* written by the reader: records taken; free-running */
	uint8_t reserved[120];
};

KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_record) == 64, "one cache line");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, status) == 4, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, op) == 5, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, sequence) == 6, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, end_ns) == 8, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, duration_ns) == 16, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, value) == 16, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, submit_ns) == 24, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, queue_ns) == 32, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, bytes) == 40, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, descriptors) == 48, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, failed_descriptors) == 52, "record");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_record, request_id) == 56, "record");

KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_segment_header) == 384, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, major) == 8, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, minor) == 10, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, header_bytes) == 12, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, feature_compat) == 16, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, feature_incompat) == 20, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, record_bytes) == 24, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, ring_slots) == 28, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, ring_max) == 32, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, overflow_bytes) == 36, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, segment_bytes) == 40, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, dictionary_offset) == 48, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, dictionary_bytes) == 56, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, rings_offset) == 64, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, ring_bytes) == 72, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, boot_id) == 80, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, uuid) == 96, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, start_ticks) == 112, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, pid_namespace) == 120, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, opened_monotonic_ns) == 128, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, opened_realtime_ns) == 136, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, pid) == 144, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, beacons) == 148, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, reserved0) == 152, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, state) == 256, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, ring_count) == 260, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, dictionary_used) == 264, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, lost_records) == 272, "header");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_segment_header, lost_bytes) == 280, "header");

KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_redo_entry) == 16, "redo");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_redo_entry, word) == 0, "redo");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_redo_entry, value) == 8, "redo");

KVTAP_LAYOUT_ASSERT(sizeof(pthread_mutex_t) <= 128, "the beacon has a line pair of its own");
KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_ring_header) <= KVTAP_RING_RECORDS, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, beacon) == 0, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, head) == 128, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, lost_records) == 256, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, lost_bytes) == 264, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, refused_records) == 272, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, overflow_used) == 280, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, producers) == 284, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, fold_sequence) == 288, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, redo_block) == 296, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, redo_count) == 300, "ring");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_ring_header, redo) == 304, "ring");

KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_block, series) == 0, "block");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_block, words) == 4, "block");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_block, word) == 8, "block");

KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_entry) == 16, "entry");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_entry, bytes) == 0, "entry");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_entry, type) == 4, "entry");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_entry, metric) == 6, "entry");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_entry, flags) == 7, "entry");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_entry, target) == 8, "entry");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_entry, labels) == 12, "entry");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_entry, count) == 14, "entry");
KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_feed_entry) == 24, "feed");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_feed_entry, family) == 0, "feed");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_feed_entry, field) == 4, "feed");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_feed_entry, when) == 5, "feed");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_feed_entry, source) == 8, "feed");

KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_tails_header) == 256, "tails");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_tails_header, major) == 8, "tails");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_tails_header, ring_max) == 12, "tails");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_tails_header, tails_bytes) == 24, "tails");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_tails_header, uuid) == 32, "tails");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_tails_header, retired) == 128, "tails");
KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_tail) == 128, "tails");

#endif /* KVTAP_LAYOUT_H */
