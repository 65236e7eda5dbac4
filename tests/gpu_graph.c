/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_graph.c - a graph with a marked region, replayed 10,000 times: a record for each */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../lib/cuda/device_ring.h"
#include "support_gpu.h"
#include "support_segment.h"
#include "test.h"

#define REPLAYS 10000
#define BYTES (UINT64_C(1) << 20)

static struct gpu gpu;

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void check_records(uint32_t series)
{
	static struct kvtap_record records[REPLAYS + 1];
	static uint64_t duration_ns[REPLAYS];
	struct kvtap_losses losses;
	enum kvtap_reject why;
	struct watch watch;
	size_t zero = 0;

	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	CHECK_EQ(kvtap_reader_fetch(watch.reader, &why, 0, records, REPLAYS + 1, NULL), REPLAYS);
	CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
	CHECK_EQ(losses.lost_records, 0);
	for (int i = 0; i < REPLAYS; i++) {
		CHECK_EQ(records[i].series, series);
		CHECK_EQ(records[i].bytes, BYTES);
		CHECK(i == 0 || records[i].end_ns >= records[i - 1].end_ns);
		duration_ns[i] = records[i].duration_ns;
		zero += duration_ns[i] == 0;
	}
	qsort(duration_ns, REPLAYS, sizeof(duration_ns[0]), by_value);
	printf("gpu: %d replays, a region of %llu bytes took %llu ns (median)\n", REPLAYS,
	       (unsigned long long)BYTES, (unsigned long long)duration_ns[REPLAYS / 2]);
	/* no device moves a MiB to the host in less than its clock's step */
	CHECK(zero == 0 || gpu.is_double);
	watch_close(&watch);
}

static void replay(void)
{
	struct kvtap_options options = small_options();
	struct kvtap_device_ring *ring;
	struct kvtap_marker *marker;
	cu_graph_exec executable;
	kvtap_cu_pointer from;
	const char *missing;
	struct kvtap_cu cu;
	struct kvtap *tap;
	uint32_t series;
	void *to;

	gpu_open(&gpu);
	CHECK_EQ(kvtap_cu_find(&cu, &missing), 0);
	CHECK_CU(gpu.cu.cuMemAlloc_v2(&from, BYTES));
	CHECK_CU(gpu.cu.cuMemAllocHost_v2(&to, BYTES));
	options.ring_slots = KVTAP_DEVICE_SLOTS_MAX;
	options.log = gpu_log;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	CHECK_EQ(kvtap_device_ring_make(&ring, tap, &cu), 0);
	CHECK_EQ(kvtap_marker_open(&marker, ring, series, BYTES, 1), 0);
	gpu_begin_capture(&gpu);
	CHECK_EQ(kvtap_marker_begin(marker, gpu.stream), 0);
	CHECK_CU(gpu.cu.cuMemcpyDtoHAsync_v2(to, from, BYTES, gpu.stream));
	CHECK_EQ(kvtap_marker_end(marker, gpu.stream), 0);
	executable = gpu_end_capture(&gpu);
	for (int i = 0; i < REPLAYS; i++)
		CHECK_CU(gpu.cu.cuGraphLaunch(executable, gpu.stream));
	CHECK_CU(gpu.cu.cuStreamSynchronize(gpu.stream));
	check_records(series);
	CHECK_CU(gpu.cu.cuGraphExecDestroy(executable));
	kvtap_marker_close(marker);
	kvtap_device_ring_close(ring);
	kvtap_close(tap);
	remove_segments();
}

TEST_TIMEOUT(gpu_graph_replayed_10000_times_gives_10000_records, 120)
{
	gpu_test(replay);
}
