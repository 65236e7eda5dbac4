/* SPDX-License-Identifier: Apache-2.0 */
#include "support_kernels.h"

#include "../lib/cuda/marker.h"
#include "gpu_records.h"

static const struct double_cuda *control;

static void marker_begin(void **arguments)
{
	kvtap_marker_on_begin(*(struct kvtap_marker_state **)arguments[0], control->now());
}

static void marker_end(void **arguments)
{
	kvtap_marker_on_end(*(struct kvtap_marker_state **)arguments[0],
			    *(struct kvtap_device **)arguments[1], arguments[2], control->now());
}

static void calibrate(void **arguments)
{
	kvtap_device_host_store_release(*(uint64_t *)arguments[0], control->now());
}

/* As one thread: the double knows no grid. */
static void records(void **arguments)
{
	struct kvtap_device *device = *(struct kvtap_device **)arguments[0];
	uint32_t series = *(uint32_t *)arguments[1], each = *(uint32_t *)arguments[2];

	for (uint32_t number = 0; number < each; number++) {
		struct kvtap_transfer made = gpu_records_made(series, 0, number);

		kvtap_device_transfer(device, &made);
	}
}

void kernels_on_double(const struct double_cuda *double_cuda)
{
	control = double_cuda;
	control->set_kernel("kvtap_marker_begin", marker_begin, (const size_t[]){ 8, 0 });
	control->set_kernel("kvtap_marker_end", marker_end,
			    (const size_t[]){ 8, 8, sizeof(struct kvtap_transfer), 0 });
	control->set_kernel("kvtap_calibrate", calibrate, (const size_t[]){ 8, 0 });
	control->set_kernel("gpu_records", records, (const size_t[]){ 8, 4, 4, 4, 0 });
}
