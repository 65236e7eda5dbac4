/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_span.c - spans on a real stream, beside CUPTI's own times of the same copies */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../lib/cuda/cupti_abi.h"
#include "double_cupti.h"
#include "support_gpu.h"
#include "support_segment.h"
#include "test.h"

#define MIB (UINT64_C(1) << 20)
#define COPIES 32 /* in a span: what the two events stand apart from the copies is shared by them */
#define SPANS 10000

static struct gpu gpu;
static struct kvtap *tap;
static struct kvtap_cuda *cuda;
static uint32_t series;
static kvtap_cu_pointer device;
static void *host;

static void begin(void)
{
	struct kvtap_options options = small_options();

	gpu_open(&gpu);
	options.log = gpu_log;
	options.ring_slots = 4096;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	CHECK_EQ(kvtap_cuda_open(&cuda, tap, NULL), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	CHECK_CU(gpu.cu.cuMemAlloc_v2(&device, 64 * MIB));
	CHECK_CU(gpu.cu.cuMemAllocHost_v2(&host, 64 * MIB));
}

static void end(void)
{
	struct kvtap_cuda_stats stats;

	kvtap_cuda_stats(cuda, &stats);
	CHECK_EQ(stats.in_flight, 0);
	CHECK_EQ(stats.failed, 0);
	kvtap_cuda_close(cuda);
	kvtap_close(tap);
	remove_segments();
}

static void put_span(kvtap_stream stream, uint64_t bytes, uint32_t copies)
{
	struct kvtap_span *span = kvtap_span_begin(cuda, stream, series);

	CHECK(span != NULL);
	for (uint32_t i = 0; i < copies; i++) {
		CHECK_CU(gpu.cu.cuMemcpyHtoDAsync_v2(device, host, bytes, stream));
		kvtap_span_add(span, bytes, 1);
	}
	kvtap_span_end(span);
}

/* ---- beside CUPTI ---- */

static struct kvtap_cupti cupti;
static uint8_t buffer[1 << 20] __attribute__((aligned(8)));
static bool buffer_out;
static struct {
	uint64_t first_ns, last_ns, bytes;
	uint32_t copies;
} seen;

static void requested(uint8_t **to, size_t *bytes, size_t *records_max)
{
	*to = buffer_out ? NULL : buffer;
	*bytes = buffer_out ? 0 : sizeof(buffer);
	*records_max = 0;
	buffer_out = true;
}

static void completed(void *context, uint32_t stream, uint8_t *from, size_t bytes, size_t valid)
{
	void *record = NULL;

	(void)context, (void)stream, (void)bytes;
	while (cupti.next_record(from, valid, &record) == KVTAP_CUPTI_SUCCESS) {
		const struct kvtap_cupti_copy *copy = record;

		if (copy->kind != KVTAP_CUPTI_KIND_MEMCPY)
			continue;
		if (!seen.copies || copy->start < seen.first_ns)
			seen.first_ns = copy->start;
		if (copy->end > seen.last_ns)
			seen.last_ns = copy->end;
		seen.bytes += copy->bytes;
		seen.copies++;
	}
	buffer_out = false;
}

/* The doubles know nothing of each other: the test moves the clock, and tells the one of the copies. */
static const struct double_cuda *clock_of_double;
static const struct double_cupti *double_cupti;

static void find_doubles(void *library)
{
	const struct double_cuda *(*cuda_control)(void);
	const struct double_cupti *(*cupti_control)(void);

	*(void **)&cuda_control = dlsym(RTLD_DEFAULT, "double_cuda_control");
	*(void **)&cupti_control = dlsym(library, "double_cupti_control");
	CHECK(cuda_control && cupti_control);
	clock_of_double = cuda_control();
	clock_of_double->set_manual(true);
	clock_of_double->set_rate(1);
	double_cupti = cupti_control();
}

static void wait_for_copies(uint64_t bytes, uint32_t copies)
{
	if (gpu.is_double) {
		uint64_t start = clock_of_double->now();

		clock_of_double->advance(bytes * copies);
		for (uint32_t i = 0; i < copies; i++, start += bytes)
			double_cupti->copy(
				(struct double_copy){ .kind = KVTAP_CUPTI_COPY_H2D,
						      .source = KVTAP_CUPTI_MEMORY_PINNED,
						      .target = KVTAP_CUPTI_MEMORY_DEVICE,
						      .bytes = bytes,
						      .start = start,
						      .end = start + bytes,
						      .count = 1 });
	}
	CHECK_CU(gpu.cu.cuStreamSynchronize(gpu.stream));
	CHECK_EQ(kvtap_cuda_harvest(cuda, 0), 1);
	CHECK_EQ(cupti.flush_all(KVTAP_CUPTI_FLUSH_FORCED), 0);
}

static void open_cupti(void)
{
	void *library = dlopen("libcupti.so.13", RTLD_NOW);

	if (!library)
		library = dlopen("libcupti.so.12", RTLD_NOW);
	if (!library)
		SKIP("%s", dlerror());
#define FIND(member, symbol, arguments)                                                            \
	*(void **)&cupti.member = dlsym(library, symbol);                                          \
	CHECK(cupti.member != NULL);
	KVTAP_CUPTI_FUNCTIONS(FIND)
#undef FIND
	CHECK_EQ(cupti.register_callbacks(requested, completed), 0);
	CHECK_EQ(cupti.enable(KVTAP_CUPTI_KIND_MEMCPY), 0);
	if (gpu.is_double)
		find_doubles(library);
}

/* Duration of the one record that came since the last call. */
static uint64_t last_duration(struct watch *watch)
{
	struct kvtap_record record;
	enum kvtap_reject why;

	CHECK(kvtap_reader_rings(watch->reader) >= 1);
	CHECK_EQ(kvtap_reader_fetch(watch->reader, &why, 0, &record, 1, NULL), 1);
	kvtap_reader_take(watch->reader, 0, 1);
	CHECK_EQ(kvtap_reader_give_back(watch->reader, 0), 0);
	return record.duration_ns;
}

static void compare(struct watch *watch, uint64_t bytes)
{
	uint64_t span_ns, cupti_ns;
	double apart;

	put_span(gpu.stream, bytes, COPIES); /* warm */
	wait_for_copies(bytes, COPIES);
	last_duration(watch);
	memset(&seen, 0, sizeof(seen));
	put_span(gpu.stream, bytes, COPIES);
	wait_for_copies(bytes, COPIES);
	span_ns = last_duration(watch);
	cupti_ns = seen.last_ns - seen.first_ns;
	CHECK_EQ(seen.copies, COPIES);
	CHECK_EQ(seen.bytes, COPIES * bytes);
	apart = (double)span_ns / (double)cupti_ns - 1;
	printf("gpu: %d copies of %llu MiB: span %llu ns, CUPTI %llu ns, %+.2f %%\n", COPIES,
	       (unsigned long long)(bytes / MIB), (unsigned long long)span_ns,
	       (unsigned long long)cupti_ns, apart * 100);
	CHECK(fabs(apart) <= 0.02);
}

static void beside_cupti(void)
{
	static const uint64_t mib[] = { 1, 4, 16, 64 };
	struct watch watch;

	gpu_open(&gpu);
	open_cupti();
	begin();
	put_span(gpu.stream, MIB, 1); /* the ring is there from the first record on */
	wait_for_copies(MIB, 1);
	watch_open(&watch, getpid());
	last_duration(&watch);
	for (size_t i = 0; i < sizeof(mib) / sizeof(mib[0]); i++)
		compare(&watch, mib[i] * MIB);
	watch_close(&watch);
	end();
}

TEST_TIMEOUT(gpu_span_device_time_is_within_2_percent_of_cuptis, 120)
{
	gpu_test(beside_cupti);
}

/* ---- what it costs, and where ---- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* One at a time, as jobs come: nothing waits for the device but between two of them. */
static void cost(void)
{
	uint64_t begin_ns = 0, end_ns = 0, harvest_ns = 0;
	struct kvtap_cuda_stats stats;

	begin();
	for (int i = 0; i < SPANS; i++) {
		uint64_t t[4];
		struct kvtap_span *span;

		t[0] = now_ns();
		span = kvtap_span_begin(cuda, gpu.stream, series);
		t[1] = now_ns();
		kvtap_span_end(span);
		t[2] = now_ns();
		CHECK_CU(gpu.cu.cuStreamSynchronize(gpu.stream));
		t[3] = now_ns();
		CHECK_EQ(kvtap_cuda_harvest(cuda, 0), 1);
		harvest_ns += now_ns() - t[3];
		begin_ns += t[1] - t[0];
		end_ns += t[2] - t[1];
	}
	kvtap_cuda_stats(cuda, &stats);
	CHECK_EQ(stats.recorded, SPANS);
	printf("gpu: a span costs %llu ns of CPU: begin %llu, end %llu, harvest %llu\n",
	       (unsigned long long)((begin_ns + end_ns + harvest_ns) / SPANS),
	       (unsigned long long)(begin_ns / SPANS), (unsigned long long)(end_ns / SPANS),
	       (unsigned long long)(harvest_ns / SPANS));
	end();
}

TEST_TIMEOUT(gpu_span_cost_of_10000_spans_is_told, 120)
{
	gpu_test(cost);
}

static void on_default_stream(void)
{
	struct kvtap_cuda_stats stats;

	begin();
	put_span(KVTAP_STREAM_DEFAULT, MIB, 1);
	put_span((kvtap_stream)0x2, MIB, 1); /* the thread's own; may harvest the first one */
	CHECK_CU(gpu.cu.cuCtxSynchronize());
	kvtap_cuda_harvest(cuda, 0);
	kvtap_cuda_stats(cuda, &stats);
	CHECK_EQ(stats.recorded, 2);
	end();
}

TEST(gpu_span_times_both_default_streams)
{
	gpu_test(on_default_stream);
}

static void in_capture(void)
{
	struct kvtap_cuda_stats stats;
	cu_graph_exec executable;

	begin();
	put_span(gpu.stream, MIB, 1); /* one that is not harvested yet */
	gpu_begin_capture(&gpu);
	CHECK(kvtap_span_begin(cuda, gpu.stream, series) == NULL);
	CHECK_CU(gpu.cu.cuMemcpyHtoDAsync_v2(device, host, MIB, gpu.stream));
	kvtap_cuda_harvest(cuda, 0);
	executable = gpu_end_capture(&gpu);
	CHECK_CU(gpu.cu.cuGraphLaunch(executable, gpu.stream));
	CHECK_CU(gpu.cu.cuStreamSynchronize(gpu.stream));
	kvtap_cuda_harvest(cuda, 0);
	kvtap_cuda_stats(cuda, &stats);
	CHECK_EQ(stats.untimed_capture, 1);
	CHECK_EQ(stats.recorded, 1);
	CHECK_CU(gpu.cu.cuGraphExecDestroy(executable));
	end();
}

TEST(gpu_span_leaves_a_capture_whole)
{
	gpu_test(in_capture);
}
