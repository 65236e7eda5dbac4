/* SPDX-License-Identifier: Apache-2.0 */
/* test_marker.c - regions timed by two kernels, on the driver's double and by its clock */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/cuda/device_ring.h"
#include "kvtap_cuda.h"
#include "support_cuda.h"
#include "support_kernels.h"
#include "support_segment.h"
#include "test.h"

#define BYTES 4096 /* of the copy in a region, at a byte a ns */
#define DESCRIPTORS 3

static struct cuda_api api;
static const struct double_cuda *control;
static struct kvtap_cu cu;
static kvtap_cu_context context;
static kvtap_cu_stream stream;
static kvtap_cu_pointer from, to;
static struct kvtap *tap;
static struct kvtap_device_ring *ring;
static struct kvtap_marker *marker;
static uint32_t series;
static int logged;
static char last_log[512];

static void count_log(void *argument, enum kvtap_level level, const char *message)
{
	(void)argument;
	(void)level;
	logged++;
	snprintf(last_log, sizeof(last_log), "%s", message);
}

/* A driver with a context and a stream, and a tap; not the ring. */
static void begin_driver(void)
{
	struct kvtap_options options = small_options();
	int status;

	control = cuda_double(&api);
	kernels_on_double(control);
#define FIND(member, symbol, version, arguments)                                                   \
	CHECK_EQ(api.cuGetProcAddress_v2(#symbol, (void **)&cu.member, version, 0, &status), 0);
	KVTAP_CU_FUNCTIONS(FIND)
#undef FIND
	CHECK_EQ(api.cuCtxCreate_v2(&context, 0, 0), 0);
	CHECK_EQ(api.cuStreamCreate(&stream, 1), 0);
	CHECK_EQ(api.cuMemAlloc_v2(&from, BYTES), 0);
	CHECK_EQ(api.cuMemAlloc_v2(&to, BYTES), 0);
	options.ring_slots = KVTAP_DEVICE_SLOTS_MAX;
	options.log = count_log;
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	series = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
}

/* And the ring and a marker; from now on the clock is moved by hand. */
static void begin(void)
{
	begin_driver();
	CHECK_EQ(kvtap_device_ring_make(&ring, tap, &cu), 0);
	CHECK_EQ(kvtap_marker_open(&marker, ring, series, BYTES, DESCRIPTORS), 0);
	control->set_manual(true);
	control->set_rate(1);
}

static void end(void)
{
	control->set_manual(false); /* the ring waits for its stream */
	kvtap_marker_close(marker);
	kvtap_device_ring_close(ring);
	kvtap_close(tap);
	CHECK_EQ(control->violations(), 0);
	remove_segments();
}

static void put_copy(void)
{
	CHECK_EQ(api.cuMemcpyAsync(to, from, BYTES, stream), 0);
}

static void put_region(void)
{
	CHECK_EQ(kvtap_marker_begin(marker, stream), 0);
	put_copy();
	CHECK_EQ(kvtap_marker_end(marker, stream), 0);
}

/* All that is in the ring; to be freed. */
static struct kvtap_record *take(size_t expected, struct kvtap_losses *losses)
{
	struct kvtap_record *records = calloc(KVTAP_DEVICE_SLOTS_MAX, sizeof(*records));
	enum kvtap_reject why;
	struct watch watch;

	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_rings(watch.reader), 1);
	CHECK_EQ(kvtap_reader_fetch(watch.reader, &why, 0, records, KVTAP_DEVICE_SLOTS_MAX, NULL),
		 expected);
	CHECK_EQ(kvtap_reader_losses(watch.reader, losses), 0);
	watch_close(&watch);
	return records;
}

static void check_durations(size_t count, uint64_t duration_ns)
{
	struct kvtap_losses losses;
	struct kvtap_record *records = take(count, &losses);

	for (size_t i = 0; i < count; i++) {
		CHECK_EQ(records[i].series, series);
		CHECK_EQ(records[i].op, KVTAP_OP_TRANSFER);
		CHECK_EQ(records[i].duration_ns, duration_ns);
		CHECK_EQ(records[i].bytes, BYTES);
		CHECK_EQ(records[i].descriptors, DESCRIPTORS);
	}
	CHECK_EQ(losses.lost_records, 0);
	free(records);
}

static cu_graph_exec capture(void (*put)(void))
{
	cu_graph_exec executable;
	cu_graph graph;

	CHECK_EQ(api.cuStreamBeginCapture_v2(stream, 0), 0);
	put();
	CHECK_EQ(api.cuStreamEndCapture(stream, &graph), 0);
	CHECK_EQ(api.cuGraphInstantiateWithFlags(&executable, graph, 0), 0);
	CHECK_EQ(api.cuGraphDestroy(graph), 0);
	return executable;
}

/* ---- what is recorded ---- */

TEST(marker_record_has_the_time_between_its_kernels)
{
	begin();
	put_copy(); /* before the region: none of its time */
	put_region();
	control->advance(2 * BYTES);
	check_durations(1, BYTES);
	end();
}

TEST(marker_records_nothing_before_the_region_has_ended)
{
	struct kvtap_losses losses;

	begin();
	put_region();
	control->advance(BYTES - 1);
	free(take(0, &losses));
	control->advance(1);
	free(take(1, &losses));
	end();
}

TEST(marker_graph_replayed_10000_times_gives_10000_records)
{
	cu_graph_exec executable;

	begin();
	executable = capture(put_region);
	for (int i = 0; i < 10000; i++) {
		CHECK_EQ(api.cuGraphLaunch(executable, stream), 0);
		control->advance(BYTES);
	}
	check_durations(10000, BYTES);
	CHECK_EQ(api.cuGraphExecDestroy(executable), 0);
	end();
}

TEST(marker_two_markers_nest_in_one_stream)
{
	struct kvtap_losses losses;
	struct kvtap_marker *outer;
	struct kvtap_record *records;

	begin();
	CHECK_EQ(kvtap_marker_open(&outer, ring, series, 7, 1), 0);
	CHECK_EQ(kvtap_marker_begin(outer, stream), 0);
	put_copy();
	put_region();
	CHECK_EQ(kvtap_marker_end(outer, stream), 0);
	control->advance(2 * BYTES);
	records = take(2, &losses);
	CHECK_EQ(records[0].duration_ns, BYTES);
	CHECK_EQ(records[1].duration_ns, 2 * BYTES);
	CHECK_EQ(records[1].bytes, 7);
	free(records);
	kvtap_marker_close(outer);
	end();
}

TEST(marker_second_begin_counts_when_there_are_two)
{
	begin();
	CHECK_EQ(kvtap_marker_begin(marker, stream), 0);
	put_copy();
	put_region();
	control->advance(2 * BYTES);
	check_durations(1, BYTES);
	end();
}

TEST(marker_end_without_a_begin_is_counted_as_lost)
{
	struct kvtap_losses losses;

	begin();
	put_region();
	CHECK_EQ(kvtap_marker_end(marker, stream), 0);
	control->advance(BYTES);
	free(take(1, &losses));
	CHECK_EQ(losses.lost_records, 1);
	CHECK_EQ(losses.lost_bytes, BYTES);
	end();
}

/* ---- what is asked of the driver ---- */

TEST(marker_puts_two_launches_and_no_other_work_into_a_capture)
{
	static const char *const work[] = { "cuMem*", "cuEvent*", "cuStream*", "cuModule*",
					    "cuLaunchHostFunc" };
	uint64_t before[sizeof(work) / sizeof(work[0])], launches;

	begin();
	CHECK_EQ(api.cuStreamBeginCapture_v2(stream, 0), 0);
	launches = control->calls("cuLaunchKernel");
	for (size_t i = 0; i < sizeof(work) / sizeof(work[0]); i++)
		before[i] = control->calls(work[i]);
	CHECK_EQ(kvtap_marker_begin(marker, stream), 0);
	CHECK_EQ(kvtap_marker_end(marker, stream), 0);
	for (size_t i = 0; i < sizeof(work) / sizeof(work[0]); i++)
		CHECK_EQ(control->calls(work[i]), before[i]);
	CHECK_EQ(control->calls("cuLaunchKernel"), launches + 2);
	end();
}

TEST(marker_needs_no_current_context)
{
	begin();
	CHECK_EQ(api.cuCtxSetCurrent(NULL), 0);
	CHECK_EQ(kvtap_marker_begin(marker, stream), 0);
	CHECK_EQ(kvtap_marker_end(marker, stream), 0);
	CHECK_EQ(api.cuCtxSetCurrent(context), 0);
	control->advance(0);
	check_durations(1, 0);
	end();
}

TEST(marker_launch_that_fails_is_told_and_logged_once)
{
	begin();
	control->fail("cuLaunchKernel", 719, 3);
	CHECK_EQ(kvtap_marker_begin(marker, stream), -EIO);
	CHECK_EQ(kvtap_marker_end(marker, stream), -EIO);
	CHECK_EQ(logged, 1);
	CHECK_STR(last_log, "marker: cuLaunchKernel: CUDA error 719");
	CHECK_EQ(kvtap_marker_end(marker, stream), -EIO);
	put_region();
	control->advance(BYTES);
	check_durations(1, BYTES);
	end();
}

TEST(marker_is_not_opened_without_memory)
{
	struct kvtap_marker *other = marker;

	begin();
	control->fail("cuMemAlloc", 2, 1);
	CHECK_EQ(kvtap_marker_open(&other, ring, series, 1, 1), -ENOMEM);
	CHECK(other == NULL);
	CHECK_STR(last_log, "marker: cuMemAlloc: CUDA error 2");
	end();
}

TEST(marker_takes_null_as_one_that_could_not_be_opened)
{
	CHECK_EQ(kvtap_marker_open(&marker, NULL, 1, 1, 1), -ENODEV);
	CHECK(marker == NULL);
	CHECK_EQ(kvtap_marker_begin(NULL, stream), -EIO);
	CHECK_EQ(kvtap_marker_end(NULL, stream), -EIO);
	kvtap_marker_close(NULL);
}

TEST(marker_close_gives_the_memory_back)
{
	uint64_t freed;

	begin();
	freed = control->calls("cuMemFree");
	kvtap_marker_close(marker);
	CHECK_EQ(control->calls("cuMemFree"), freed + 1);
	marker = NULL;
	end();
}

TEST(marker_close_outlives_its_context)
{
	begin();
	CHECK_EQ(api.cuCtxDestroy_v2(context), 0);
	CHECK_EQ(kvtap_marker_begin(marker, stream), -EIO);
	end();
}

TEST(marker_does_nothing_in_a_child)
{
	int status;
	pid_t pid;

	begin();
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		bool refused = kvtap_marker_begin(marker, stream) == -EIO &&
			       kvtap_marker_end(marker, stream) == -EIO;

		kvtap_marker_close(marker);
		_exit(!refused || control->violations());
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	end();
}

/* ---- kernels that the driver doesn't take ---- */

extern const char kvtap_kernels_ptx[]; /* kernels.c */

/* The double takes anything for an image; a driver doesn't. */
TEST(marker_kernels_are_in_the_text_that_the_driver_is_given)
{
	CHECK(strstr(kvtap_kernels_ptx, "\n.version 7.0\n.target sm_75\n"));
	CHECK(strstr(kvtap_kernels_ptx, ".entry kvtap_marker_begin("));
	CHECK(strstr(kvtap_kernels_ptx, ".entry kvtap_marker_end("));
	CHECK(strstr(kvtap_kernels_ptx, ".entry kvtap_calibrate("));
}

static void check_refused(const char *function, int result, int expected)
{
	uint64_t loaded, unloaded;

	begin_driver();
	loaded = control->calls("cuModuleLoadData");
	unloaded = control->calls("cuModuleUnload");
	control->fail(function, result, 1);
	CHECK_EQ(kvtap_device_ring_make(&ring, tap, &cu), expected);
	CHECK(ring == NULL);
	CHECK_EQ(logged, 1);
	CHECK_EQ(control->calls("cuModuleLoadData"), loaded + 1);
	CHECK_EQ(control->calls("cuModuleUnload"),
		 unloaded + (strcmp(function, "cuModuleGetFunction") == 0));
	end();
}

TEST(marker_kernels_are_not_supported_by_a_driver_that_refuses_their_ptx_version)
{
	check_refused("cuModuleLoadData", 222, -ENOTSUP);
}

TEST(marker_kernels_are_not_supported_by_a_driver_without_its_compiler)
{
	check_refused("cuModuleLoadData", 221, -ENOTSUP);
}

TEST(marker_kernels_are_not_supported_by_a_driver_that_finds_no_function)
{
	check_refused("cuModuleGetFunction", 500, -ENOTSUP);
}

TEST(marker_kernels_are_not_loaded_without_memory)
{
	check_refused("cuModuleLoadData", 2, -ENOMEM);
}

TEST(marker_kernels_are_not_loaded_by_a_context_with_an_error)
{
	check_refused("cuModuleLoadData", 700, -EIO);
}
