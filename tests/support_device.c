/* SPDX-License-Identifier: Apache-2.0 */
/* support_device.c - records that tell who made them */
#include "support_device.h"

#include <string.h>

#include "../lib/tap.h"
#include "test.h"

void device_open(struct device *device, struct kvtap *tap, uint32_t series)
{
	const struct kvtap_tail *tail;

	CHECK_EQ(kvtap_tap_device_ring(tap, &device->shared, &tail), 0);
	device->series = series;
	device->memory = (struct kvtap_device){
		.records = (uintptr_t)device->shared + KVTAP_RING_RECORDS,
		.host_tail = (uintptr_t)&tail->tail,
		.lost = (uintptr_t)&device->shared->lost_records,
		.slots = tap->ring_slots,
	};
}

struct kvtap_transfer device_made(const struct device *device, uint32_t producer, uint64_t number)
{
	uint64_t id = (uint64_t)producer << 48 | number;

	return (struct kvtap_transfer){ .series = device->series,
					.status = (uint8_t)(number % 3 == 2),
					.flags = number % 2 ? KVTAP_TRANSFER_OVERLAPPED : 0,
					.end_ns = id,
					.duration_ns = id * 3,
					.submit_ns = id * 5,
					.queue_ns = id * 7,
					.bytes = number,
					.descriptors = (uint32_t)id * 11,
					.failed_descriptors = (uint32_t)id * 13,
					.request_id = ~id };
}

bool device_record(struct device *device, uint32_t producer, uint64_t number)
{
	struct kvtap_transfer transfer = device_made(device, producer, number);

	return kvtap_device_transfer(&device->memory, &transfer);
}

void device_take(const struct device *device, struct device_seen *seen,
		 const struct kvtap_record *records, size_t count, uint64_t index)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t id = records[i].end_ns, number = id & 0xffffffffffff;
		uint32_t producer = (uint32_t)(id >> 48) % DEVICE_PRODUCERS;
		struct kvtap_transfer made = device_made(device, producer, number);
		struct kvtap_record expected;

		memcpy(&expected, &made, sizeof(expected));
		expected.op = KVTAP_OP_TRANSFER | made.flags;
		expected.sequence = (uint16_t)(index + i);
		seen->torn += memcmp(&expected, &records[i], sizeof(expected)) != 0;
		seen->out_of_order += number <= seen->last[producer];
		seen->last[producer] = number;
	}
	seen->records += count;
}
