/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workers.h - worker processes that have as many series as a bench wants, for the real exporter
 *
 * Counters with four labels, 10,000 a worker. The first worker records when it is told to, over all
 * of its series by turns.
 */
#ifndef KVTAP_BENCH_WORKERS_H
#define KVTAP_BENCH_WORKERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WORKERS_FAMILY "bench_requests_total"
#define WORKERS_MAX 32

struct workers {
	pid_t pid[WORKERS_MAX];
	uint32_t count;
	struct workers_shared *shared;
};

/* workers_folder - a new folder on /dev/shm, for workers and exporter; one at a time */
const char *workers_folder(void);
/* workers_remove - the folder and all that is in it; also at exit */
void workers_remove(void);

/* workers_start - in dir, and wait until all series are declared; each is at 1 then */
void workers_start(struct workers *workers, const char *dir, uint32_t series);
/* workers_record - so many records a second from now on; 0: none, and the last one has returned */
void workers_record(struct workers *workers, uint32_t rate);
/* workers_recorded - the sum of all their counters */
uint64_t workers_recorded(const struct workers *workers);
void workers_stop(struct workers *workers);

#endif
