/* SPDX-License-Identifier: Apache-2.0 */
/*
 * double_cuda.h - a double of the CUDA driver: states that hardware can't be made to show
 *
 * $BUILD/doubles/libcuda.so.1 has the driver's own functions, found as in the real one by
 * cuGetProcAddress_v2 or dlsym, for devices 0 and 1. Device memory is host memory. A stream's work is
 * done in order, each stream beside the others, in the devices' own time:
 *   following  (at first) the devices' clock is CLOCK_MONOTONIC; a thread of the double does work
 *              when it is due: a copy takes bytes / rate, all else 0 ns
 *   by hand    set_manual(true): the clock stands, and advance() moves it and does what is due, also
 *              advance(0); nothing is done before
 * What is done late has the time at which it was due, which is also what now() says in a kernel or
 * host function. Left out: what the legacy stream waits for.
 *
 * For programs that are tested from outside, the environment: DOUBLE_CUDA_LOSE=N, the Nth copy of the
 * process is not made; DOUBLE_CUDA_FAIL=PATTERN, calls of these functions return 999.
 *
 * A test loads it by its path with RTLD_GLOBAL before kvtap looks, gets its controls by
 * dlsym("double_cuda_control"), and begins with cuInit. In a child of a process that did, each call
 * is a violation; at exit the driver is gone, and all calls return 4. A function is named as in
 * cuda.h's text, without _v2, or by a pattern of fnmatch(3).
 */
#ifndef DOUBLE_CUDA_H
#define DOUBLE_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct double_cuda {
	void (*reset)(void); /* as just loaded; no thread may be in a call */
	void (*set_manual)(bool manual);
	void (*advance)(uint64_t ns);
	uint64_t (*now)(void);				 /* the devices' clock, ns */
	void (*set_rate)(double bytes_a_ns);		 /* of copies; 0: they take no time */
	void (*set_attribute)(int attribute, int value); /* what cuDeviceGetAttribute says */
	/* the next @times calls return @result; -1: for ever */
	void (*fail)(const char *function, int result, int times);
	void (*hide)(const char *function); /* cuGetProcAddress doesn't find it */
	/* a context's sticky error: from now on its calls return it, and what it had to do isn't done */
	void (*stick)(void *context, int result);
	uint64_t (*calls)(const char *function);
	/* calls that a driver would have punished: a query while somebody captures in global mode, work
	 * for the legacy stream during a capture, a call in a host function or a child, use of a
	 * destroyed stream or event (to name a destroyed context is none); each is told on stderr */
	uint64_t (*violations)(void);
	uint64_t (*live_events)(void); /* not those of lost contexts */
	/* what cuModuleGetFunction finds in any module: function(arguments) on cuLaunchKernel, when due.
	 * @sizes: of its arguments, ends with 0; they are copied at the launch */
	void (*set_kernel)(const char *name, void (*function)(void **arguments),
			   const size_t *sizes);
};

const struct double_cuda *double_cuda_control(void);

#endif /* DOUBLE_CUDA_H */
