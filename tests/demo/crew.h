/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crew.h - the worker processes of one run: start them, kill one, let them finish
 *
 * Keeps what each incarnation counted until the end. Knows nothing of the exporter.
 */
#ifndef DEMO_CREW_H
#define DEMO_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "report.h"

#define OFFLOAD_MAX 64
#define CREW_MAX (OFFLOAD_MAX + 3) /* the pair, and the killed one */

struct crew {
	uint32_t threads, blocks; /* of an offload worker */
	size_t count;
	struct counted worker[CREW_MAX]; /* truth is owned */
	bool running[CREW_MAX];
};

/* crew_start - the pair and so many offload workers; 0, or -1 after saying why */
int crew_start(struct crew *crew, uint32_t offload_workers, uint32_t threads);
/* crew_kill_one - SIGKILL the last offload worker, start it again with the same labels; 0 or -1 */
int crew_kill_one(struct crew *crew);
/* crew_reap - false, after saying which, if a worker ended that was not told to */
bool crew_reap(struct crew *crew);
/* crew_finish - all end after the transfer at hand; false, after saying so, if one failed */
bool crew_finish(struct crew *crew);
/* crew_destroy - SIGKILL what still runs and give back the truths */
void crew_destroy(struct crew *crew);

#endif
