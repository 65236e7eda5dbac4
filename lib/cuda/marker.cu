/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marker.cu - the kernels that kvtap launches itself, each with one thread; marker.ptx is made of it
 */
#include "marker.h"

extern "C" __global__ void kvtap_marker_begin(struct kvtap_marker_state *state)
{
	kvtap_marker_on_begin(state, kvtap_device_ticks());
}

extern "C" __global__ void kvtap_marker_end(struct kvtap_marker_state *state,
					    struct kvtap_device *device, struct kvtap_transfer region)
{
	kvtap_marker_on_end(state, device, &region, kvtap_device_ticks());
}

/* @at: a word of host memory, as the device sees it; not 0 afterwards: %globaltimer */
extern "C" __global__ void kvtap_calibrate(uint64_t at)
{
	kvtap_device_host_store_release(at, kvtap_device_ticks());
}
