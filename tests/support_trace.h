/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_trace.h - kill a process at each instruction of what it does
 *
 * The instructions are recorded once, by single steps. For each of them a new process is then
 * brought to it, by a hardware breakpoint and the single steps that are left, and killed there.
 * Knows nothing of what the process does.
 */
#ifndef KVTAP_TESTS_SUPPORT_TRACE_H
#define KVTAP_TESTS_SUPPORT_TRACE_H

#include <stdint.h>
#include <sys/types.h>

struct trace_scenario {
	const char *name;
	void (*prepare)(void);	   /* in the victim, not traced */
	void (*act)(void);	   /* in the victim: each instruction of it is a point */
	void (*paused)(pid_t pid); /* in the test, at each trace_pause() of the victim */
	void (*killed)(pid_t pid); /* in the test; the victim is dead and reaped */
	uint32_t stride;	   /* of each so many points kill at one; 0: at all */
};

struct trace_result {
	uint32_t points;
	uint32_t own;	  /* of them in this program: the library, not libc */
	uint32_t skipped; /* not killed at: iterations of a rep beyond the first 64; or by stride */
	uint32_t beside;  /* killed beside the recorded instruction: the run went another way */
	uint32_t own_beside;
};

/* trace_unavailable - why this machine or this build can't do it, or NULL */
const char *trace_unavailable(void);

/* trace_pause - in the victim: let the test do something that belongs to this moment */
void trace_pause(void);

/* trace_kill - kill a victim at each point, and let one go to the end */
struct trace_result trace_kill(const struct trace_scenario *scenario);

#endif
