/* SPDX-License-Identifier: Apache-2.0 */
/* test_device_ring.c - the host's side of a device ring, with the double of the driver */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lib/clock.h"
#include "../lib/cuda/device_ring.h"
#include "kvtap_cuda.h"
#include "kvtap_device.cuh"
#include "support_cuda.h"
#include "support_segment.h"
#include "test.h"

#define LATER (kvtap_clock_monotonic() + KVTAP_DEVICE_CALIBRATE_NS)

static struct cuda_api api;
static struct kvtap_cu cu;
static const struct double_cuda *control;
static void *context;
static struct kvtap *tap;
static uint32_t series;
static int64_t skew = 1000000000000; /* of the device's clock */

static int64_t later_ns; /* how far this process is ahead */

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, time);

	if (clock == CLOCK_MONOTONIC)
		time->tv_sec += later_ns / 1000000000;
	return rc;
}

static void calibrate(void **arguments)
{
	kvtap_device_host_store_release(*(uint64_t *)arguments[0], control->now() - (uint64_t)skew);
}

static void nothing(void **arguments)
{
	(void)arguments;
}

static void load_double(void)
{
	static const size_t sizes[] = { 8, 0 };
	int status;

	control = cuda_double(&api);
#define FIND(member, symbol, version, arguments)                                                   \
	CHECK_EQ(api.cuGetProcAddress_v2(#symbol, (void **)&cu.member, version, 0, &status), 0);
	KVTAP_CU_FUNCTIONS(FIND)
#undef FIND
	control->set_kernel("kvtap_calibrate", calibrate, sizes);
	control->set_kernel("kvtap_marker_begin", nothing, sizes);
	control->set_kernel("kvtap_marker_end", nothing, sizes);
}

static void begin_slots(uint32_t slots)
{
	struct kvtap_options options = small_options();

	load_double();
	CHECK_EQ(api.cuCtxCreate_v2(&context, 0, 0), 0);
	options.ring_slots = slots;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_NIXL_TRANSFER);
}

static void begin(void)
{
	begin_slots(SMALL_SLOTS);
}

static void end(void)
{
	CHECK_EQ(control->violations(), 0);
	CHECK_EQ(control->calls("cu*Synchronize"), 0); /* of whatever the program has there */
	CHECK_EQ(control->live_events(), 0);
	kvtap_close(tap);
	remove_segments();
}

static struct kvtap_device_ring *open_ring(void)
{
	struct kvtap_device_ring *ring;

	CHECK_EQ(kvtap_device_ring_make(&ring, tap, &cu), 0);
	return ring;
}

/* Device memory is host memory. */
static struct kvtap_device *memory_of(const struct kvtap_device_ring *ring)
{
	return (struct kvtap_device *)(uintptr_t)kvtap_device_ring_producer(ring);
}

static void record(const struct kvtap_device_ring *ring, int count)
{
	for (int i = 0; i < count; i++)
		CHECK(kvtap_device_transfer(memory_of(ring),
					    &(struct kvtap_transfer){ .series = series }));
}

/* More than a ring, so that the device has to see the tail. */
static void record_and_drain(const struct kvtap_device_ring *ring)
{
	struct watch watch;

	watch_open(&watch, getpid());
	for (int i = 0; i < 5; i++) {
		record(ring, SMALL_SLOTS - 1);
		CHECK_EQ(watch_drain(&watch), SMALL_SLOTS - 1);
	}
	CHECK_EQ(watch.wrong, 0);
	watch_close(&watch);
}

TEST(device_ring_gives_kernels_a_ring_of_the_segment)
{
	begin();
	struct kvtap_device_ring *ring = open_ring();
	record_and_drain(ring);
	kvtap_device_ring_close(ring);
	end();
}

TEST(device_ring_works_where_the_tail_is_registered_to_be_read_only)
{
	begin();
	control->set_attribute(113, 1);
	struct kvtap_device_ring *ring = open_ring();
	record_and_drain(ring);
	kvtap_device_ring_close(ring);
	end();
}

/* Their tails are in one page. */
TEST(device_ring_may_be_opened_more_than_once)
{
	begin();
	struct kvtap_device_ring *first = open_ring(), *second = open_ring();
	record_and_drain(first);
	record_and_drain(second);
	kvtap_device_ring_close(first);
	record_and_drain(second);
	kvtap_device_ring_close(second);
	end();
}

TEST(device_ring_tells_the_device_how_far_its_clock_is_off)
{
	begin();
	uint64_t before = kvtap_clock_monotonic();
	struct kvtap_device_ring *ring = open_ring();
	int64_t took = (int64_t)(kvtap_clock_monotonic() - before);
	int64_t off = memory_of(ring)->clock_offset - skew;
	CHECK(off >= 0 && off <= took);
	kvtap_device_ring_close(ring);
	end();
}

TEST(device_ring_follows_the_clock_when_it_is_time)
{
	begin();
	struct kvtap_device_ring *ring = open_ring();
	int64_t before = memory_of(ring)->clock_offset;
	uint64_t launches = control->calls("cuLaunchKernel");

	kvtap_device_ring_calibrate(ring, kvtap_clock_monotonic());
	CHECK_EQ(control->calls("cuLaunchKernel"), launches);
	skew += 1000000000000;
	while ((int64_t)kvtap_device_load((uint64_t *)&memory_of(ring)->clock_offset) == before)
		kvtap_device_ring_calibrate(ring, LATER);
	CHECK(memory_of(ring)->clock_offset >= skew);
	kvtap_device_ring_close(ring);
	end();
}

TEST(device_ring_does_not_wait_for_a_busy_device_to_tell_the_time)
{
	begin();
	struct kvtap_device_ring *ring = open_ring();
	int64_t before = memory_of(ring)->clock_offset;

	control->set_manual(true); /* nothing runs */
	kvtap_device_ring_calibrate(ring, LATER);
	uint64_t launches = control->calls("cuLaunchKernel");
	kvtap_device_ring_calibrate(ring, LATER); /* one is under way */
	CHECK_EQ(control->calls("cuLaunchKernel"), launches);
	CHECK_EQ(memory_of(ring)->clock_offset, before);
	control->advance(0);
	kvtap_device_ring_calibrate(ring, LATER); /* it came too late to be of use */
	CHECK(control->calls("cuLaunchKernel") > launches);
	CHECK_EQ(memory_of(ring)->clock_offset, before);
	control->set_manual(false);
	kvtap_device_ring_close(ring);
	end();
}

TEST(device_ring_minds_no_capture)
{
	void *stream, *graph;

	begin();
	CHECK_EQ(api.cuStreamCreate(&stream, 1), 0);
	CHECK_EQ(api.cuStreamBeginCapture_v2(stream, 0), 0); /* global mode */
	struct kvtap_device_ring *ring = open_ring();
	record_and_drain(ring);
	kvtap_device_ring_calibrate(ring, LATER);
	kvtap_device_ring_close(ring);
	CHECK_EQ(api.cuStreamEndCapture(stream, &graph), 0);
	CHECK(graph);
	end();
}

/* ---- what can't be ---- */

static void check_refused(int error)
{
	struct kvtap_device_ring *ring = (struct kvtap_device_ring *)1;

	CHECK_EQ(kvtap_device_ring_make(&ring, tap, &cu), error);
	CHECK(!ring);
	CHECK_EQ(control->live_events(), 0);
	CHECK_EQ(kvtap_device_ring_producer(ring), 0);
	kvtap_device_ring_close(ring);
}

TEST(device_ring_needs_a_context_and_makes_none)
{
	void *popped;
	uint64_t made;

	begin();
	CHECK_EQ(api.cuCtxPopCurrent_v2(&popped), 0);
	made = control->calls("cuCtxCreate*") + control->calls("cuDevicePrimaryCtxRetain");
	check_refused(-ENODEV);
	CHECK_EQ(control->calls("cuCtxCreate*") + control->calls("cuDevicePrimaryCtxRetain"), made);
	end();
}

TEST(device_ring_needs_a_tap_that_is_open)
{
	begin();
	kvtap_close(tap);
	remove_segments();
	struct kvtap_options options = small_options();
	options.ring_slots = 17;
	CHECK_EQ(kvtap_open(&tap, &options), -EINVAL);
	check_refused(-ENODEV);
	kvtap_close(tap);
}

TEST(device_ring_needs_a_device_that_maps_host_memory)
{
	begin();
	control->set_attribute(19, 0);
	check_refused(-ENOTSUP);
	end();
}

TEST(device_ring_has_at_most_32768_slots)
{
	begin_slots(2 * KVTAP_DEVICE_SLOTS_MAX);
	check_refused(-ENOTSUP);
	end();
}

TEST(device_ring_needs_a_ring_that_is_free)
{
	struct kvtap_device_ring *ring[SMALL_RINGS];

	begin();
	for (int i = 0; i < SMALL_RINGS; i++)
		ring[i] = open_ring();
	struct kvtap_device_ring *last;
	CHECK_EQ(kvtap_device_ring_make(&last, tap, &cu), -ENOSPC);
	for (int i = 0; i < SMALL_RINGS; i++)
		kvtap_device_ring_close(ring[i]);
	end();
}

/* Whatever the driver refuses: an error, and all is given back. */
TEST(device_ring_gives_all_back_when_the_driver_refuses)
{
	static const struct {
		const char *function;
		int result, error;
	} refused[] = {
		{ "cuCtxPushCurrent", 201, -ENODEV },	{ "cuCtxGetDevice", 201, -EIO },
		{ "cuDeviceGetAttribute", 1, -EIO },	{ "cuStreamCreate", 2, -ENOMEM },
		{ "cuEventCreate", 2, -ENOMEM },	{ "cuMemAlloc", 2, -ENOMEM },
		{ "cuModuleLoadData", 218, -ENOTSUP },	{ "cuModuleGetFunction", 500, -ENOTSUP },
		{ "cuMemHostRegister", 801, -ENOTSUP }, { "cuMemHostGetDevicePointer", 1, -EIO },
		{ "cuMemcpyHtoDAsync", 700, -EIO },	{ "cuLaunchKernel", 719, -EIO },
		{ "cuEventRecord", 700, -EIO },
	};

	begin();
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		uint64_t taken = control->calls("cuMemHostRegister") +
				 control->calls("cuMemAlloc") + control->calls("cuStreamCreate");
		uint64_t given = control->calls("cuMemHostUnregister") +
				 control->calls("cuMemFree") + control->calls("cuStreamDestroy");

		kvtap_close(tap); /* each time all its rings are free */
		struct kvtap_options options = small_options();
		CHECK_EQ(kvtap_open(&tap, &options), 0);
		control->fail(refused[i].function, refused[i].result, 1);
		check_refused(refused[i].error);
		taken = control->calls("cuMemHostRegister") + control->calls("cuMemAlloc") +
			control->calls("cuStreamCreate") - taken;
		given = control->calls("cuMemHostUnregister") + control->calls("cuMemFree") +
			control->calls("cuStreamDestroy") - given;
		/* but for the call that failed */
		CHECK_EQ(taken - given, !strcmp(refused[i].function, "cuStreamCreate") ||
						!strcmp(refused[i].function, "cuMemAlloc") ||
						!strcmp(refused[i].function, "cuMemHostRegister"));
	}
	end();
}

TEST(device_ring_of_a_context_that_failed_is_closed_all_the_same)
{
	begin();
	struct kvtap_device_ring *ring = open_ring();
	control->stick(context, 700);
	kvtap_device_ring_calibrate(ring, LATER);
	kvtap_device_ring_close(ring);
	CHECK_EQ(control->violations(), 0);
	kvtap_close(tap);
	remove_segments();
}

TEST(device_ring_of_a_context_that_is_gone_is_closed_all_the_same)
{
	begin();
	struct kvtap_device_ring *ring = open_ring();
	CHECK_EQ(api.cuCtxDestroy_v2(context), 0);
	kvtap_device_ring_calibrate(ring, LATER);
	kvtap_device_ring_close(ring);
	CHECK_EQ(control->violations(), 0);
	kvtap_close(tap);
	remove_segments();
}

TEST(device_ring_in_a_child_touches_nothing)
{
	int status;

	begin();
	struct kvtap_device_ring *ring = open_ring();
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		kvtap_device_ring_calibrate(ring, LATER);
		kvtap_device_ring_close(ring);
		_exit(control->violations() == 0 ? 0 : 1);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	record_and_drain(ring);
	kvtap_device_ring_close(ring);
	end();
}

TEST(device_ring_is_calibrated_by_a_harvest_when_it_is_time)
{
	struct kvtap_device_ring *ring;
	struct kvtap_cuda *cuda;

	begin();
	CHECK_EQ(kvtap_cuda_open(&cuda, tap, NULL), 0);
	CHECK_EQ(kvtap_device_ring_open(&ring, cuda), 0);
	record_and_drain(ring);
	uint64_t launched = control->calls("cuLaunchKernel");
	later_ns += 4000000000;
	kvtap_cuda_harvest(cuda, 0);
	CHECK_EQ(control->calls("cuLaunchKernel"), launched);
	later_ns += 4000000000;
	kvtap_cuda_harvest(cuda, 0);
	CHECK(control->calls("cuLaunchKernel") > launched);
	kvtap_device_ring_close(ring);
	launched = control->calls("cuLaunchKernel");
	later_ns += 8000000000;
	kvtap_cuda_harvest(cuda, 0);
	CHECK_EQ(control->calls("cuLaunchKernel"), launched);
	kvtap_cuda_close(cuda);
	end();
}

TEST(device_ring_is_not_opened_without_a_driver_or_in_a_child)
{
	struct kvtap_device_ring *ring;
	struct kvtap_cuda *cuda;
	int status;

	begin();
	CHECK_EQ(kvtap_device_ring_open(&ring, NULL), -ENODEV);
	CHECK(!ring);
	CHECK_EQ(kvtap_cuda_open(&cuda, tap, NULL), 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(kvtap_device_ring_open(&ring, cuda) == -ENODEV ? 0 : 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_EQ(api.cuCtxSetCurrent(NULL), 0);
	CHECK_EQ(kvtap_device_ring_open(&ring, cuda), -ENODEV);
	kvtap_cuda_close(cuda);
	end();
}
