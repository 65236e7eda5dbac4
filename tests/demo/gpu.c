/* SPDX-License-Identifier: Apache-2.0 */
/* gpu.c - see gpu.h */
#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const char *what, int result)
{
	if (!result)
		return;
	fprintf(stderr, "offload worker: %s: CUDA error %d\n", what, result);
	exit(1);
}

bool gpu_open(struct cuda_driver *cuda, struct truth *truth)
{
	truth->on_device = cuda_driver_open(cuda, 0);
	snprintf(truth->device, sizeof(truth->device), "%s",
		 truth->on_device ? cuda->name : cuda->why);
	return truth->on_device;
}

int gpu_declare(const struct gpu_lane *lane, struct recorder *recorder)
{
	int error = kvtap_cuda_builtin(lane->spans, &recorder->series[EVENT_STORE], lane->stream,
				       KVTAP_OFFLOAD_STORE, NULL);

	if (!error)
		error = kvtap_cuda_builtin(lane->spans, &recorder->series[EVENT_LOAD], lane->stream,
					   KVTAP_OFFLOAD_LOAD, NULL);
	if (error)
		fprintf(stderr, "offload worker: series of the GPU: %s\n", strerror(-error));
	return error;
}

void gpu_lane_open(struct gpu_lane *lane, const struct cuda_driver *cuda, struct kvtap *tap)
{
	lane->cuda = cuda;
	check("make a stream", cuda->stream_new(&lane->stream, CUDA_STREAM_NON_BLOCKING));
	int error = kvtap_cuda_open(&lane->spans, tap, NULL);
	if (error) {
		fprintf(stderr, "offload worker: spans: %s\n", strerror(-error));
		exit(1);
	}
}

void gpu_lane_enter(const struct gpu_lane *lane)
{
	check("take the context", lane->cuda->context_set(lane->cuda->context));
}

void *gpu_device_memory(const struct gpu_lane *lane, size_t bytes)
{
	cuda_address address;

	check("allocate device memory", lane->cuda->memory_new(&address, bytes));
	return (void *)(uintptr_t)address; /* host and device share one address space */
}

void *gpu_pinned_memory(const struct gpu_lane *lane, size_t bytes)
{
	void *memory;

	check("pin host memory", lane->cuda->pinned_new(&memory, bytes));
	return memory;
}

void gpu_copy(const struct gpu_lane *lane, void *to, const void *from, size_t bytes)
{
	check("copy", lane->cuda->copy((cuda_address)(uintptr_t)to, (cuda_address)(uintptr_t)from,
				       bytes, lane->stream));
}

void gpu_wait(const struct gpu_lane *lane)
{
	check("wait for a stream", lane->cuda->stream_wait(lane->stream));
}

void gpu_lane_close(struct gpu_lane *lane)
{
	kvtap_cuda_close(lane->spans);
	lane->cuda->stream_free(lane->stream);
}
