/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cupti_buffers.h - the buffers that CUPTI fills with records
 *
 * CUPTI asks for one on a thread of the program's, and gives it back on that or on one of its own.
 * Both only move it between lists: the records are read by the one thread that waits here.
 */
#ifndef KVTAP_CUDA_CUPTI_BUFFERS_H
#define KVTAP_CUDA_CUPTI_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVTAP_CUPTI_BUFFERS 16
#define KVTAP_CUPTI_BUFFER_BYTES ((size_t)128 << 10) /* 2 MiB in all, made when first asked for */

struct kvtap_buffer {
	uint8_t *bytes;
	size_t valid_bytes;
};

/* For cuptiActivityRegisterCallbacks. No buffer is free: none is given, and CUPTI counts the loss. */
void kvtap_buffers_requested(uint8_t **buffer, size_t *bytes, size_t *records_max);
void kvtap_buffers_completed(void *context, uint32_t stream, uint8_t *buffer, size_t bytes,
			     size_t valid_bytes);

/* kvtap_buffers_init - once, before CUPTI is told of the calls above */
void kvtap_buffers_init(void);
/*
 * kvtap_buffers_wait - the buffer that came back first, or NULL at a time of CLOCK_MONOTONIC or,
 * when none is left, because of kvtap_buffers_stop
 */
struct kvtap_buffer *kvtap_buffers_wait(uint64_t until_ns);
/* kvtap_buffers_free - it may be filled anew */
void kvtap_buffers_free(struct kvtap_buffer *buffer);
/* kvtap_buffers_stop - kvtap_buffers_wait waits no more; stopped - whether that was said */
void kvtap_buffers_stop(void);
bool kvtap_buffers_stopped(void);
/*
 * kvtap_buffers_stalled_ns - for how long CUPTI has had buffers and given none back
 * Returns: 0 if it has none.
 */
uint64_t kvtap_buffers_stalled_ns(uint64_t now_ns);

/* kvtap_cupti_now - CLOCK_MONOTONIC, ns; also what CUPTI stamps records by */
uint64_t kvtap_cupti_now(void);

#endif
