/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.h - who owns a segment, and is it alive?
 *
 * Four witnesses, of which none is enough alone:
 *   beacon  a robust mutex word in each ring, held by its thread; the kernel marks it when the
 *           thread ends in any way, also by SIGKILL or exec. An OOM kill can leave it unmarked.
 *   lock    a POSIX lock on the segment file; the kernel drops it when the process ends, a zombie
 *           included. Lost early if the program closes descriptors that it does not know.
 *   process pid and start time in /proc; only from the same pid namespace.
 *   boot    a segment of an earlier boot has no owner.
 */
#ifndef KVTAP_OWNER_H
#define KVTAP_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "kvtap_layout.h"

struct kvtap_owner {
	uint8_t boot_id[16];
	uint64_t start_ticks;
	uint64_t pid_namespace;
	uint32_t pid;
	bool proc_foreign; /* of self: /proc shows the processes of another pid namespace */
};

/* kvtap_owner_self - this process; 0 or a negative errno */
int kvtap_owner_self(struct kvtap_owner *owner);

enum kvtap_owner_process {
	KVTAP_PROCESS_RUNS,    /* certainly: same pid and start time, not a finished zombie */
	KVTAP_PROCESS_GONE,    /* certainly */
	KVTAP_PROCESS_UNKNOWN, /* another pid namespace, or a /proc that doesn't show it */
};

/* kvtap_owner_process - look the owner up in /proc; self is the asking process */
enum kvtap_owner_process kvtap_owner_process(const struct kvtap_owner *owner,
					     const struct kvtap_owner *self);

/*
 * kvtap_owner_maps - whether the owner, which runs, still maps this file; true if that can't be known
 * It no longer does after exec, which keeps pid and start time.
 */
bool kvtap_owner_maps(const struct kvtap_owner *owner, int fd);

/* kvtap_owner_lock - take the POSIX lock that says: owned; 0 or a negative errno */
int kvtap_owner_lock(int fd);
/* kvtap_owner_locked - whether another process holds it */
bool kvtap_owner_locked(int fd);

/* kvtap_beacon_light - make the calling thread the holder of a new beacon; 0 or a negative errno */
int kvtap_beacon_light(struct kvtap_ring_header *ring);
/* kvtap_beacon_take - take over the beacon of a thread that ended; -EBUSY: its holder lives */
int kvtap_beacon_take(struct kvtap_ring_header *ring);
/* kvtap_beacon_drop - the calling thread gives its beacon up; false: it is another thread's */
bool kvtap_beacon_drop(struct kvtap_ring_header *ring);
/* kvtap_beacon_word_lit - whether a beacon word, read by anybody, says that its holder lives */
bool kvtap_beacon_word_lit(uint32_t word);

#endif
