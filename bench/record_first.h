/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_first.h - what a tap costs to open, a thread its first record, and both in shared memory
 *
 * The calls that record may make system calls once a thread; this is what that takes.
 */
#ifndef KVTAP_RECORD_FIRST_H
#define KVTAP_RECORD_FIRST_H

#include <stdbool.h>

/* record_first_round - measure its cases once, which are of one tap */
void record_first_round(void);
/* record_first_print - their lines, after the last round, if there was any; false: a check failed */
bool record_first_print(void);

#endif
