/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu.h - the offload worker's GPU, where there is one: memory, copies, and spans that time them
 *
 * The first device of the driver, loaded at run time. A call of it that fails ends the worker, which
 * says so.
 */
#ifndef DEMO_GPU_H
#define DEMO_GPU_H

#include <stdbool.h>

#include "../../bench/cuda_driver.h"
#include "kvtap_cuda.h"
#include "truth.h"

/* Of one thread; its spans are its own, so that it knows when they are recorded. */
struct gpu_lane {
	const struct cuda_driver *cuda;
	void *stream;
	struct kvtap_cuda *spans;
};

/* gpu_open - whether there is one; leaves in the truth which, or why not */
bool gpu_open(struct cuda_driver *cuda, struct truth *truth);
/* gpu_declare - the series of stores and loads, with the device's label; 0 or a negative errno */
int gpu_declare(const struct gpu_lane *lane, struct recorder *recorder);

void gpu_lane_open(struct gpu_lane *lane, const struct cuda_driver *cuda, struct kvtap *tap);
/* gpu_lane_enter - the calling thread makes the lane's copies */
void gpu_lane_enter(const struct gpu_lane *lane);
void *gpu_device_memory(const struct gpu_lane *lane, size_t bytes);
void *gpu_pinned_memory(const struct gpu_lane *lane, size_t bytes);
/* gpu_copy - put one into the stream; either side may be the device's */
void gpu_copy(const struct gpu_lane *lane, void *to, const void *from, size_t bytes);
void gpu_wait(const struct gpu_lane *lane);
void gpu_lane_close(struct gpu_lane *lane);

#endif
