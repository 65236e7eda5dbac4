/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marker.h - what a marker's two kernels do; for the GPU, and for tests on the host
 */
#ifndef KVTAP_CUDA_MARKER_H
#define KVTAP_CUDA_MARKER_H

#include "kvtap_device.cuh"

/* In device memory, which nobody clears: what a begin left there is known by the second word. */
struct kvtap_marker_state {
	uint64_t began; /* ticks */
	uint64_t check; /* ~began; anything else: no region is open */
};

/* @ticks: kvtap_device_ticks() */
KVTAP_DEVICE_FUNCTION void kvtap_marker_on_begin(struct kvtap_marker_state *state, uint64_t ticks)
{
	state->began = ticks;
	state->check = ~ticks;
}

/* An end without its begin has no duration: it is counted as lost. */
KVTAP_DEVICE_FUNCTION void kvtap_marker_on_end(struct kvtap_marker_state *state,
					       struct kvtap_device *device,
					       const struct kvtap_transfer *region, uint64_t ticks)
{
	struct kvtap_transfer transfer = *region;

	if (state->check != ~state->began) {
		kvtap_device_drop(device, transfer.bytes);
		return;
	}
	state->check = state->began;
	transfer.duration_ns = ticks > state->began ? ticks - state->began : 0;
	kvtap_device_transfer(device, &transfer);
}

#endif
