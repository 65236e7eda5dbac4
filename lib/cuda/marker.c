/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marker.c - time a region by a kernel before and a kernel behind it
 *
 * All that a kernel is told are its arguments, which a graph keeps with it; the only thing in device
 * memory is what the begin leaves for the end. So nothing is done in a capture but the launch.
 */
#include "marker.h"

#include <errno.h>
#include <stdlib.h>

#include "device_ring.h"
#include "kvtap_cuda.h"

struct kvtap_marker {
	struct kvtap_device_ring *ring;
	kvtap_cu_pointer state; /* struct kvtap_marker_state */
	struct kvtap_transfer region;
	kvtap_cu_result said; /* by the last launch: a region is often put somewhere */
};

static int told(const struct kvtap_device_ring *ring, const char *call, kvtap_cu_result result)
{
	kvtap_tap_log(kvtap_device_ring_tap(ring), KVTAP_LOG_ERROR, "marker: %s: CUDA error %d",
		      call, result);
	return result == KVTAP_CU_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

int kvtap_marker_open(struct kvtap_marker **result, struct kvtap_device_ring *ring, uint32_t series,
		      uint64_t bytes, uint32_t descriptors)
{
	struct kvtap_marker *marker;
	kvtap_cu_result said;
	int mode;

	*result = NULL;
	if (!ring || !kvtap_device_ring_enter(ring, &mode))
		return -ENODEV;
	marker = calloc(1, sizeof(*marker));
	said = !marker ? KVTAP_CU_OUT_OF_MEMORY
		       : kvtap_device_ring_driver(ring)
				 ->mem_alloc(&marker->state, sizeof(struct kvtap_marker_state));
	kvtap_device_ring_leave(ring, mode);
	if (said != KVTAP_CU_SUCCESS) {
		free(marker);
		return told(ring, "cuMemAlloc", said);
	}
	marker->ring = ring;
	marker->region = (struct kvtap_transfer){ .series = series,
						  .bytes = bytes,
						  .descriptors = descriptors };
	*result = marker;
	return 0;
}

static int launch(struct kvtap_marker *marker, kvtap_cu_function function, kvtap_stream stream,
		  void **arguments)
{
	kvtap_cu_result said = KVTAP_CU_INVALID_CONTEXT;
	int mode;

	if (kvtap_device_ring_enter(marker->ring, &mode)) {
		said = kvtap_kernels_launch(kvtap_device_ring_driver(marker->ring), function,
					    stream, arguments);
		kvtap_device_ring_leave(marker->ring, mode);
	}
	if (said != KVTAP_CU_SUCCESS && said != marker->said)
		told(marker->ring, "cuLaunchKernel", said);
	marker->said = said;
	return said == KVTAP_CU_SUCCESS ? 0 : -EIO;
}

int kvtap_marker_begin(struct kvtap_marker *marker, kvtap_stream stream)
{
	if (!marker)
		return -EIO;
	return launch(marker, kvtap_device_ring_kernels(marker->ring)->marker_begin, stream,
		      (void *[]){ &marker->state });
}

int kvtap_marker_end(struct kvtap_marker *marker, kvtap_stream stream)
{
	if (!marker)
		return -EIO;
	uint64_t device = kvtap_device_ring_producer(marker->ring);

	return launch(marker, kvtap_device_ring_kernels(marker->ring)->marker_end, stream,
		      (void *[]){ &marker->state, &device, &marker->region });
}

void kvtap_marker_close(struct kvtap_marker *marker)
{
	int mode;

	if (!marker)
		return;
	if (kvtap_device_ring_enter(marker->ring, &mode)) {
		kvtap_device_ring_driver(marker->ring)->mem_free(marker->state);
		kvtap_device_ring_leave(marker->ring, mode);
	}
	free(marker);
}
