/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd.h - worker processes of some threads each, for the real exporter: all of them silent, or one not
 *
 * Each thread has recorded one transfer, so it has a ring, and waits; the first thread of the first
 * worker records at a rate when it is told to. All record to the same series, so that what grows
 * with them is what a worker and a ring cost, not what a series costs.
 */
#ifndef KVTAP_BENCH_CROWD_H
#define KVTAP_BENCH_CROWD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct crowd {
	pid_t *pid; /* [workers] */
	uint32_t workers;
	struct crowd_shared *shared;
};

/* crowd_start - in dir, and wait until each of the threads has recorded; no workers: an empty one */
void crowd_start(struct crowd *crowd, const char *dir, uint32_t workers, uint32_t threads);
/* crowd_record - so many transfers a second from now on; 0: none, and the last one has returned */
void crowd_record(struct crowd *crowd, uint64_t rate);
/* crowd_recorded - transfers of all of them so far */
uint64_t crowd_recorded(const struct crowd *crowd);
/* crowd_on_page - whether a page has all that was recorded, to the transfer and to the byte */
bool crowd_on_page(const struct crowd *crowd, const char *page);
void crowd_stop(struct crowd *crowd);

/* page_value - of a sample without labels; 0: it is not on the page */
double page_value(const char *page, const char *name);

#endif
