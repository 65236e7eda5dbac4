/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap.h - a tap: options, declarations, the segment of this process, its rings
 *
 * struct kvtap survives a fork; struct kvtap_live, in a page that fork wipes, does not: in a child
 * it reads as "no segment, lock free", and the first call that needs it makes the child's own.
 */
#ifndef KVTAP_TAP_H
#define KVTAP_TAP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "dictionary.h"
#include "kvtap.h"
#include "kvtap_reader.h"
#include "ring.h"
#include "segment.h"

#define KVTAP_TAPS_MAX 8
#define KVTAP_ID_NONE UINT64_MAX /* of a tap without rings: no thread has one cached */

struct kvtap_live {
	pthread_mutex_t lock;	/* zero is unlocked, on glibc and musl */
	_Atomic(uint32_t) open; /* after segment */
	bool ring_logged;
	int error; /* opening failed; not tried again */
	struct kvtap_segment *segment;
	struct kvtap_ring *ring[KVTAP_RINGS_MAX]; /* private side of each ring of the segment */
};

/* A declared family or kind, kept to check later declarations against. */
struct kvtap_declared {
	char *name;
	char **label_names; /* [labels] */
	uint32_t labels;
	uint8_t metric;	       /* family */
	uint8_t gauge_mode;    /* family */
	double *bound;	       /* family: [plan.cell[0].bounds] */
	uint64_t *limit;       /* of the cells, one after the other */
	uint32_t entry_offset; /* in the dictionary */
	struct kvtap_plan plan;
};

struct kvtap {
	uint64_t id;   /* never used twice in a process, so that a stale cache can't match */
	uint32_t slot; /* place in each thread's cache of rings */
	bool disabled;
	bool tsc; /* the clock of its rings */
	struct kvtap_live *live;
	struct kvtap_ring *none;	 /* what a thread without a ring records to */
	struct kvtap_segment *inherited; /* of the parent, in a fork child */
	struct kvtap_dictionary dictionary;
	struct kvtap_declared *family[KVTAP_FAMILIES_MAX + 1];
	struct kvtap_declared *kind[KVTAP_KINDS_MAX + 1];
	char *connector[KVTAP_CONNECTORS_MAX + 1]; /* names */
	uint32_t families, kinds, connectors, series;
	uint32_t groups;		/* KVTAP_GROUP_* of which all is declared */
	const struct kvtap_plan **plan; /* [KVTAP_SERIES_MAX + 1], mapped; an entry is set once */
	char *constant[2 * KVTAP_LABELS_MAX];
	uint32_t constants;
	char *dir, *name_space;
	uint32_t ring_slots, ring_max, overflow_bytes;
	void (*log)(void *log_arg, enum kvtap_level level, const char *message);
	void *log_arg;
	_Atomic(uint64_t) ignored_calls;
};

/* kvtap_tap_log - tell the host, if it wants to know */
void kvtap_tap_log(const struct kvtap *tap, enum kvtap_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * kvtap_tap_lock - take the lock, with a segment of this process behind it
 * Returns: 0 and the lock held, or a negative errno and the lock not held.
 */
int kvtap_tap_lock(struct kvtap *tap);
void kvtap_tap_unlock(struct kvtap *tap);

/* kvtap_tap_bind - give the calling thread a ring, into its own handle if it had one before a fork */
struct kvtap_ring *kvtap_tap_bind(struct kvtap *tap, struct kvtap_ring *handle);

/*
 * kvtap_tap_device_ring - a fresh ring for a GPU, all its pages there; its beacon is the caller's
 * @shared, @tail: valid until the tap is closed
 * Returns: 0, -EUSERS (ring_max are in use), -ENOSPC, -ENOTSUP (too many slots), -ENODEV, or another.
 */
int kvtap_tap_device_ring(struct kvtap *tap, struct kvtap_ring_header **shared,
			  const struct kvtap_tail **tail);

/* kvtap_tap_ignore - count a record, of so many bytes, of a thread without a ring or to no tap */
void kvtap_tap_ignore(struct kvtap *tap, uint64_t bytes);

/* kvtap_tap_nothing - the tap behind NULL and behind a failed allocation */
struct kvtap *kvtap_tap_nothing(void);

/* kvtap_declare_constants - the dictionary's first entry; 0 or a negative errno */
int kvtap_declare_constants(struct kvtap *tap);
void kvtap_declare_free(struct kvtap *tap);

#endif
