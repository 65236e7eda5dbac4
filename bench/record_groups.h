/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_groups.h - what single records cost at worst, and the first ones after a pause
 *
 * Groups of one or 16 records are timed, each between two readings of the clock. The median of
 * groups without any record is what the clock costs, and is taken off. Floors are groups of plain
 * stores under the same conditions, whose tail is the machine's.
 */
#ifndef KVTAP_RECORD_GROUPS_H
#define KVTAP_RECORD_GROUPS_H

#include <stdbool.h>

/* record_groups_round - measure once all cases that have the word in their mode; "": all */
void record_groups_round(const char *only);
/* record_groups_print - their lines, after the last round; false: a check failed */
bool record_groups_print(void);

#endif
