/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overflow.h - fold a record into its series' block when the ring is full
 *
 * A fold is all or nothing at whatever instruction the process dies: the new absolute values are
 * written to the redo first, then the sequence says that it is complete, then they are applied.
 */
#ifndef KVTAP_OVERFLOW_H
#define KVTAP_OVERFLOW_H

#include "kvtap_reader.h"
#include "ring.h"

/* kvtap_overflow_fold - by the producer; what has no place is counted as lost. Wait-free. */
void kvtap_overflow_fold(struct kvtap_ring *ring, const struct kvtap_plan *plan,
			 const struct kvtap_record *record);

/* kvtap_overflow_recover - finish the fold of a thread that ended inside it, and index its blocks */
void kvtap_overflow_recover(struct kvtap_ring *ring);

/* kvtap_overflow_lose - count a record that could not be kept */
void kvtap_overflow_lose(struct kvtap_ring *ring, const struct kvtap_record *record);

/* kvtap_overflow_refuse - count a record that has no meaning */
void kvtap_overflow_refuse(struct kvtap_ring *ring);

#endif
