/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cross_core.h - how far apart two CPUs are: the time of a cache line from one to the other
 *
 * A virtual machine's CPUs may be threads of one core in one second, cores of one cache in the
 * next, and cores of different caches after that. All that is written on one and read on the other
 * then has another cost, so a bench looks before and after it measures, and keeps apart what was
 * measured in different states.
 */
#ifndef KVTAP_CROSS_CORE_H
#define KVTAP_CROSS_CORE_H

#include <stddef.h>
#include <stdint.h>

#define CROSS_CORE_STATES 4

/*
 * cross_core_look - measure from the first CPU to the last; takes under 2 ms
 *
 * Returns: the state, below CROSS_CORE_STATES; a new number where it is none that was seen before.
 * 0 always on a single CPU.
 */
uint32_t cross_core_look(void);

/* cross_core_ns - median of a state's looks, one way; 0: never seen; cross_core_looks - their number */
double cross_core_ns(uint32_t state);
size_t cross_core_looks(uint32_t state);

/* cross_core_states - those seen, most often seen first; returns their number */
uint32_t cross_core_states(uint32_t state[CROSS_CORE_STATES]);

#endif
