/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_kill.h - what the tests that kill at every instruction share: the count that outlives a
 * victim, the reader of what it left, and the findings at all points of a scenario
 */
#ifndef KVTAP_TESTS_SUPPORT_KILL_H
#define KVTAP_TESTS_SUPPORT_KILL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "support_segment.h"
#include "support_trace.h"

/* Shared with the victims, of which there is one at a time. */
struct kill_memory {
	_Atomic(uint64_t) calls; /* that returned */
	uint32_t series[8];
};

extern struct kill_memory *memory;

struct kill_found {
	uint64_t torn, blocked, missing, doubled, inexact, lost; /* each a failure */
	uint64_t in_flight, unseen, orphans;			 /* each as it may be */
};

extern struct kill_found found;

extern struct watch watch; /* of the victim */

/* kill_run - run a scenario and say what was found; skips where that can't be done */
void kill_run(const struct trace_scenario *scenario);

/* kill_watch - begin to read what a victim has, if that was not begun */
void kill_watch(pid_t pid);
/* kill_judge - of a dead victim: it is taken for dead, which blocks nobody, and has lost nothing */
void kill_judge(void);
/* kill_forget - end the reading, and remove the files */
void kill_forget(void);

#endif
