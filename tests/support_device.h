/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_device.h - a device ring whose GPU are the threads of the test
 *
 * What fails here fails the test. The protocol is that of kvtap_device.cuh; records tell by their
 * content which one of which producer they are, so that a torn or a doubled one is seen.
 */
#ifndef KVTAP_TESTS_SUPPORT_DEVICE_H
#define KVTAP_TESTS_SUPPORT_DEVICE_H

#include "kvtap_device.cuh"

#define DEVICE_PRODUCERS 8

struct device {
	struct kvtap_device memory; /* in the GPU's memory, but for this */
	struct kvtap_ring_header *shared;
	uint32_t series;
};

/* device_open - a device ring of a tap, for records of a series */
void device_open(struct device *device, struct kvtap *tap, uint32_t series);
/* device_made - record number of a producer, from 1 */
struct kvtap_transfer device_made(const struct device *device, uint32_t producer, uint64_t number);
/* device_record - write it; false: dropped */
bool device_record(struct device *device, uint32_t producer, uint64_t number);

/* What came out of a device ring. */
struct device_seen {
	uint64_t last[DEVICE_PRODUCERS]; /* number of each producer's last record */
	uint64_t records, torn, out_of_order;
};

/* device_take - records that were fetched, from an index of the ring on */
void device_take(const struct device *device, struct device_seen *seen,
		 const struct kvtap_record *records, size_t count, uint64_t index);

#endif
