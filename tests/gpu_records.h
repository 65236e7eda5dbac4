/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_records.h - records that tell by their content who made them; for kernels and for the host
 */
#ifndef KVTAP_TESTS_GPU_RECORDS_H
#define KVTAP_TESTS_GPU_RECORDS_H

#include "kvtap_device.cuh"

/* gpu_records_made - record number of a thread, from 0; every field differs from record to record */
KVTAP_DEVICE_FUNCTION struct kvtap_transfer gpu_records_made(uint32_t series, uint32_t thread,
							     uint32_t number)
{
	uint64_t id = (uint64_t)thread << 32 | number;
	struct kvtap_transfer made = {};

	made.series = series;
	made.end_ns = id + 1; /* 0 is now */
	made.duration_ns = id * 3;
	made.submit_ns = id * 5;
	made.queue_ns = id * 7;
	made.bytes = number;
	made.descriptors = (uint32_t)id * 11;
	made.failed_descriptors = (uint32_t)(id >> 32) * 13;
	made.request_id = ~id;
	return made;
}

#endif
