/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_ring.h - the host's side of a ring that kernels write, see kvtap_device.cuh
 */
#ifndef KVTAP_CUDA_DEVICE_RING_H
#define KVTAP_CUDA_DEVICE_RING_H

#include "../tap.h"
#include "kernels.h"

#define KVTAP_DEVICE_CALIBRATE_NS 5000000000 /* between two looks at the device's clock */

struct kvtap_cuda;
struct kvtap_device_ring;

/* kvtap_device_ring_make - kvtap_device_ring_open() by its parts, which are borrowed until close */
int kvtap_device_ring_make(struct kvtap_device_ring **result, struct kvtap *tap,
			   const struct kvtap_cu *cu);

/*
 * kvtap_device_ring_calibrate - once the last time is KVTAP_DEVICE_CALIBRATE_NS ago, see again how far
 * the device's clock is from CLOCK_MONOTONIC
 *
 * By one thread at a time. It looks for the kernel's answer for some 0.1 ms;
 * a device that is too busy for that keeps the offset it has.
 */
void kvtap_device_ring_calibrate(struct kvtap_device_ring *ring, uint64_t now_ns);
/* kvtap_device_rings_calibrate - those of all rings, with each harvest and its lock */
void kvtap_device_rings_calibrate(struct kvtap_cuda *cuda);

/* what a marker on the ring needs */
const struct kvtap_cu *kvtap_device_ring_driver(const struct kvtap_device_ring *ring);
const struct kvtap_kernels *kvtap_device_ring_kernels(const struct kvtap_device_ring *ring);
struct kvtap *kvtap_device_ring_tap(const struct kvtap_device_ring *ring);
/* kvtap_device_ring_enter, kvtap_device_ring_leave - with its context, and no capture that minds */
bool kvtap_device_ring_enter(const struct kvtap_device_ring *ring, int *mode);
void kvtap_device_ring_leave(const struct kvtap_device_ring *ring, int mode);

#endif
