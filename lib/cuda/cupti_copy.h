/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cupti_copy.h - CUPTI's records of copies become kvtap transfers
 *
 * One thread reads all buffers, in the order in which they came back: nothing here is locked.
 */
#ifndef KVTAP_CUDA_CUPTI_COPY_H
#define KVTAP_CUDA_CUPTI_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "cupti_abi.h"
#include "cupti_buffers.h"
#include "cupti_options.h"
#include "kvtap.h"

struct kvtap_copies;

/* kvtap_copies_open - declare the families; NULL: there is no memory, or the tap refused */
struct kvtap_copies *kvtap_copies_open(struct kvtap *tap, const struct kvtap_cupti *cupti,
				       const struct kvtap_cupti_options *options);
/*
 * kvtap_copies_clock - before the first read: whether records are stamped by kvtap_cupti_now; if not,
 * a copy ends when it is read
 */
void kvtap_copies_clock(struct kvtap_copies *copies, bool own);
/* kvtap_copies_read - record what is in a buffer */
void kvtap_copies_read(struct kvtap_copies *copies, const struct kvtap_buffer *buffer);
/* kvtap_copies_health - the families about the library: what CUPTI dropped, and the stall */
void kvtap_copies_health(struct kvtap_copies *copies, double stalled_seconds);

#endif
