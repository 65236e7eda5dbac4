/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_cupti.h - a program with libkvtap-cupti in it, and the page of an exporter beside it
 *
 * The program is a child: it starts with the environment of the test, does as a driver in cuInit
 * does, runs what the test gives it, and lives until it is told to exit().
 */
#ifndef KVTAP_TESTS_SUPPORT_CUPTI_H
#define KVTAP_TESTS_SUPPORT_CUPTI_H

#include <sys/types.h>

#include "double_cupti.h"
#include "support_page.h"

/* CUPTI's numbers */
enum { H2D = 1, D2H = 2, D2D = 8, H2H = 9, P2P = 10 };
enum { PAGEABLE = 1, PINNED = 2, DEVICE = 3, MANAGED = 5 };

struct program {
	pid_t pid;
	int said, told; /* pipes */
};

/* built_path - of a file beside the test's own folder, in a buffer of the call's own */
const char *built_path(const char *name);

/* cupti_load - load the double of CUPTI; Returns: its controls */
const struct double_cupti *cupti_load(void);
/* cupti_inject - load libkvtap-cupti.so, and call it as the driver does in cuInit */
void cupti_inject(void);

/* cupti_a_copy - one of 4 KiB from pinned memory to device 0 by stream 7, which took 2 us until now */
struct double_copy cupti_a_copy(const struct double_cupti *cupti);

/* program_start - run a function in a child, and wait until it has returned there */
void program_start(struct program *program, void (*run)(void));
/* program_end - let it exit(), and wait for its end; fails unless it exits with 0 */
void program_end(struct program *program);

/* page_of - start an exporter, scrape it, and stop it; for programs that have ended */
struct page *page_of(void);

#endif
