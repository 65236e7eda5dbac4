/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_trace.c - see support_trace.h
 *
 * A stop costs as much as some thousand instructions, so a point is reached with few of them: at an
 * instruction shortly before it that had not run often by then, the anchor, a breakpoint stops the
 * victim as often as it ran, and single steps do the rest. Without debug registers all are steps.
 */
#include "support_trace.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INSTRUMENTED 1
#endif
#endif

const char *trace_unavailable(void)
{
#ifdef INSTRUMENTED
	return "instrumented code is not the code that is killed";
#elif !defined(__x86_64__)
	return "debug registers are read and written as x86-64 has them";
#else
	return NULL;
#endif
}

void trace_pause(void)
{
	raise(SIGUSR2);
}

#ifdef __x86_64__

#define WINDOW 256	       /* steps that an anchor may lie before its point */
#define ITERATIONS 64	       /* of one rep that are points, as one is like the other */
#define TABLE (1u << 20)       /* slots of counts by address, at most half full */
#define NEVER (UINT32_MAX / 2) /* an occurrence that is no anchor */

struct trace {		      /* a step of a rep is one iteration of it */
	uint64_t *address;    /* [points] */
	uint32_t *occurrence; /* [points] how often the address had run by then, or NEVER */
	uint32_t points;
	bool breakpoints;
};

extern char __executable_start, etext;

/*
 * Looks all symbols up at the start, by starting anew: else the dynamic linker would do it in the
 * trace, and no more once this process has called the same function.
 */
__attribute__((constructor)) static void bind_now(int argc, char **argv)
{
	(void)argc;
	if (getenv("LD_BIND_NOW"))
		return;
	setenv("LD_BIND_NOW", "1", 1);
	execv("/proc/self/exe", argv);
}

/* Victims run on this processor too: then a stop needs no wake-up across processors. */
static void stay_here(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static uint64_t address_of(pid_t pid)
{
	return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL);
}

static bool set_debug_register(pid_t pid, int number, uint64_t value)
{
	size_t offset = offsetof(struct user, u_debugreg) + (size_t)number * 8;

	return ptrace(PTRACE_POKEUSER, pid, offset, value) == 0;
}

/* The victim stands before the first instruction of act, but for the rest of raise(3). */
static pid_t start(const struct trace_scenario *scenario)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHECK_EQ(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
		scenario->prepare();
		raise(SIGUSR1);
		scenario->act();
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR1);
	return pid;
}

/* Until the next step or breakpoint. False: the victim has come to its end. */
static bool go_on(const struct trace_scenario *scenario, pid_t pid, int request)
{
	for (;;) {
		int status;

		CHECK_EQ(ptrace(request, pid, NULL, NULL), 0);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status)) {
			CHECK_EQ(WEXITSTATUS(status), 0);
			return false;
		}
		CHECK(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGTRAP)
			return true;
		CHECK_EQ(WSTOPSIG(status), SIGUSR2);
		scenario->paused(pid);
	}
}

static void finish(const struct trace_scenario *scenario, pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	scenario->killed(pid);
}

/* How often each address has run so far, itself included. Iterations of one rep count once. */
static void count_occurrences(struct trace *trace)
{
	struct {
		uint64_t address;
		uint32_t count;
	} * slot, *table = calloc(TABLE, sizeof(*table));

	trace->occurrence = calloc(trace->points, sizeof(uint32_t));
	CHECK(table && trace->occurrence && trace->points <= TABLE / 2);
	for (uint32_t i = 0; i < trace->points; i++) {
		uint64_t address = trace->address[i];

		slot = &table[address * 0x9e3779b97f4a7c15 >> 44];
		while (slot->address && slot->address != address)
			slot = slot == table + TABLE - 1 ? table : slot + 1;
		slot->address = address;
		/* at the first address the victim stands already */
		if (address == trace->address[0] || address == trace->address[i - 1])
			trace->occurrence[i] = NEVER;
		else
			trace->occurrence[i] = ++slot->count;
	}
	free(table);
}

static void record(const struct trace_scenario *scenario, struct trace *trace)
{
	pid_t pid = start(scenario);
	uint32_t capacity = 0;

	trace->breakpoints = set_debug_register(pid, 0, address_of(pid)) &&
			     set_debug_register(pid, 7, 1) && set_debug_register(pid, 7, 0);
	do {
		if (trace->points == capacity) {
			capacity = capacity ? 2 * capacity : 4096;
			trace->address = realloc(trace->address, capacity * sizeof(uint64_t));
			CHECK(trace->address);
		}
		trace->address[trace->points++] = address_of(pid);
	} while (go_on(scenario, pid, PTRACE_SINGLESTEP));
	scenario->killed(pid);
	count_occurrences(trace);
}

static bool in_program(uint64_t address)
{
	return address >= (uintptr_t)&__executable_start && address < (uintptr_t)&etext;
}

/*
 * The anchor from which a point takes the fewest stops; 0: the start. That of a point in the program
 * is there too: libc's way depends on what it prints, a process id for example.
 */
static uint32_t find_anchor(const struct trace *trace, uint32_t point)
{
	bool own = in_program(trace->address[point]);
	uint32_t best = 0, stops = point;

	for (uint32_t i = point; trace->breakpoints && i > 0 && point - i < WINDOW; i--) {
		if (own && !in_program(trace->address[i]))
			break;
		if (trace->occurrence[i] + (point - i) >= stops)
			continue;
		best = i;
		stops = trace->occurrence[i] + (point - i);
	}
	return best;
}

/* False: the victim has come to its end, as the run went another way than the recorded one. */
static bool reach(const struct trace_scenario *scenario, const struct trace *trace, pid_t pid,
		  uint32_t point)
{
	uint32_t anchor = find_anchor(trace, point);

	if (anchor) {
		CHECK(set_debug_register(pid, 0, trace->address[anchor]));
		CHECK(set_debug_register(pid, 7, 1)); /* execution, one byte, this thread */
		for (uint32_t i = 0; i < trace->occurrence[anchor]; i++)
			if (!go_on(scenario, pid, PTRACE_CONT))
				return false;
		CHECK(set_debug_register(pid, 7, 0));
	}
	for (uint32_t i = anchor; i < point; i++)
		if (!go_on(scenario, pid, PTRACE_SINGLESTEP))
			return false;
	return true;
}

/* How many of the steps before this one are of the same rep. */
static uint32_t iteration(const struct trace *trace, uint32_t point)
{
	uint32_t before = 0;

	while (before < point && before < ITERATIONS &&
	       trace->address[point - before - 1] == trace->address[point])
		before++;
	return before;
}

/* Another one each time. */
static bool is_chosen(const struct trace_scenario *scenario, uint32_t point)
{
	return !scenario->stride || (point + (uint32_t)getpid()) % scenario->stride == 0;
}

struct trace_result trace_kill(const struct trace_scenario *scenario)
{
	struct trace trace = { 0 };
	struct trace_result result = { 0 };

	stay_here();
	record(scenario, &trace);
	for (uint32_t point = 0; point < trace.points; point++) {
		if (iteration(&trace, point) == ITERATIONS || !is_chosen(scenario, point)) {
			result.skipped++;
			continue;
		}
		pid_t pid = start(scenario);
		bool there = reach(scenario, &trace, pid, point);

		bool own = in_program(trace.address[point]);
		bool beside = !there || address_of(pid) != trace.address[point];

		result.points++;
		result.own += own;
		result.beside += beside;
		result.own_beside += own && beside;
		if (there)
			finish(scenario, pid);
		else
			scenario->killed(pid);
	}
	free(trace.address);
	free(trace.occurrence);
	return result;
}

#else

struct trace_result trace_kill(const struct trace_scenario *scenario)
{
	(void)scenario;
	return (struct trace_result){ 0 };
}

#endif
