/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_records.cu - kernels that record as fast as a GPU can; gpu_records.ptx is made of it
 *
 * Each thread makes so many records; @by_warp: by one claim a warp.
 */
#include "gpu_records.h"

extern "C" __global__ void gpu_records(struct kvtap_device *device, uint32_t series, uint32_t each,
				       uint32_t by_warp)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;

	for (uint32_t number = 0; number < each; number++) {
		struct kvtap_transfer made = gpu_records_made(series, thread, number);

		if (by_warp)
			kvtap_device_transfer_warp(device, &made);
		else
			kvtap_device_transfer(device, &made);
	}
}
