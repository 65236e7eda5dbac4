/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_device.c - 10 million records from a kernel, as fast as it can: none torn, none unaccounted for
 *
 * KVTAP_GPU_RECORDS: another number of them, a multiple of 10,000, for tools that slow a GPU down.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/cuda/device_ring.h"
#include "gpu_records.h"
#include "support_gpu.h"
#include "support_segment.h"
#include "test.h"

#define BLOCKS 100
#define THREADS 100 /* a block: the last warp is not full */
#define RECORDS 10000000

__asm__(".pushsection .rodata\n"
	"gpu_records_ptx:\n"
	".incbin \"tests/gpu_records.ptx\"\n"
	".byte 0\n"
	".popsection\n");
extern const char gpu_records_ptx[] __attribute__((visibility("hidden")));

static struct gpu gpu;
static struct kvtap_cu cu;
static struct kvtap *tap;
static struct kvtap_device_ring *ring;
static struct watch watch;
static uint32_t series;
static uint64_t taken, torn, out_of_order, bytes;
static int64_t last[BLOCKS * THREADS];

static void begin(void)
{
	struct kvtap_options options = small_options();
	const char *missing;

	gpu_open(&gpu);
	printf("gpu: %s, driver's CUDA %d.%d\n", gpu.name, gpu.version / 1000,
	       gpu.version % 1000 / 10);
	CHECK_EQ(kvtap_cu_find(&cu, &missing), 0);
	options.ring_slots = KVTAP_DEVICE_SLOTS_MAX;
	options.log = gpu_log;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	CHECK_EQ(kvtap_device_ring_make(&ring, tap, &cu), 0);
	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	memset(last, -1, sizeof(last));
}

static void check(const struct kvtap_record *record, uint64_t index)
{
	uint32_t thread = (uint32_t)(~record->request_id >> 32);
	uint32_t number = (uint32_t)~record->request_id;
	struct kvtap_transfer made = gpu_records_made(series, thread, number);
	struct kvtap_record expected;

	memcpy(&expected, &made, sizeof(expected));
	expected.op = KVTAP_OP_TRANSFER;
	expected.sequence = (uint16_t)index;
	if (memcmp(&expected, record, sizeof(expected)) || thread >= BLOCKS * THREADS) {
		torn++;
		return;
	}
	out_of_order += (int64_t)number <= last[thread];
	last[thread] = number;
	bytes += made.bytes;
}

static size_t drain(void)
{
	static struct kvtap_record records[4096];
	enum kvtap_reject why;
	ssize_t count = kvtap_reader_fetch(watch.reader, &why, 0, records, 4096, NULL);

	CHECK(count >= 0);
	for (ssize_t i = 0; i < count; i++)
		check(&records[i], kvtap_reader_position(watch.reader, 0) + (uint64_t)i);
	kvtap_reader_take(watch.reader, 0, (size_t)count);
	CHECK_EQ(kvtap_reader_give_back(watch.reader, 0), 0);
	taken += (uint64_t)count;
	return (size_t)count;
}

/* What the device itself says that it claimed and dropped is what came out and what the header tells. */
static void check_sums(uint64_t threads, uint64_t each)
{
	struct kvtap_losses losses;
	struct kvtap_device device;

	CHECK_CU(gpu.cu.cuMemcpyDtoH_v2(&device, kvtap_device_ring_producer(ring), sizeof(device)));
	CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
	printf("gpu: %llu records taken, %llu dropped\n", (unsigned long long)taken,
	       (unsigned long long)losses.lost_records);
	CHECK_EQ(torn, 0);
	CHECK_EQ(out_of_order, 0);
	CHECK_EQ(device.claimed, taken);
	CHECK_EQ(device.dropped_records, losses.lost_records);
	CHECK_EQ(device.dropped_bytes, losses.lost_bytes);
	CHECK_EQ(taken + losses.lost_records, threads * each);
	CHECK_EQ(bytes + losses.lost_bytes, threads * (each * (each - 1) / 2));
	CHECK(taken >= KVTAP_DEVICE_SLOTS_MAX);
}

static void run(uint32_t by_warp)
{
	/* the double has no grid: one thread makes them all */
	uint64_t threads = gpu.is_double ? 1 : BLOCKS * THREADS;
	const char *asked = getenv("KVTAP_GPU_RECORDS");
	uint32_t each = (uint32_t)((asked ? strtoull(asked, NULL, 10) : RECORDS) / threads);
	kvtap_cu_pointer producer = kvtap_device_ring_producer(ring);
	void *arguments[] = { &producer, &series, &each, &by_warp };
	kvtap_cu_function function;
	kvtap_cu_module module;
	int result;

	CHECK_CU(gpu.cu.cuModuleLoadData(&module, gpu_records_ptx));
	CHECK_CU(gpu.cu.cuModuleGetFunction(&function, module, "gpu_records"));
	CHECK_CU(gpu.cu.cuLaunchKernel(function, BLOCKS, 1, 1, THREADS, 1, 1, 0, gpu.stream,
				       arguments, NULL));
	while ((result = gpu.cu.cuStreamQuery(gpu.stream)) == KVTAP_CU_NOT_READY)
		drain();
	CHECK_CU(result);
	while (drain())
		;
	check_sums(threads, each);
	CHECK_CU(gpu.cu.cuModuleUnload(module));
}

static void end(void)
{
	kvtap_device_ring_close(ring);
	kvtap_close(tap);
	watch_close(&watch);
	remove_segments();
}

static void by_thread(void)
{
	begin();
	run(0);
	end();
}

static void by_warp(void)
{
	begin();
	run(1);
	end();
}

TEST_TIMEOUT(gpu_device_records_of_10000_threads_are_whole_and_accounted_for, 300)
{
	gpu_test(by_thread);
}

TEST_TIMEOUT(gpu_device_records_by_warp_are_whole_and_accounted_for, 300)
{
	gpu_test(by_warp);
}
