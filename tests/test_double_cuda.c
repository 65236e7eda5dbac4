/* SPDX-License-Identifier: Apache-2.0 */
/* The double of the driver, by which the tests of spans stand and fall. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "double_cuda_functions.h"
#include "support_cuda.h"
#include "support_segment.h"
#include "test.h"

#define US 1000
#define MS 1000000

static struct cuda_api cu;
static const struct double_cuda *double_cuda;

static const struct double_cuda *begin(void)
{
	double_cuda = cuda_double(&cu);
	double_cuda->set_manual(true);
	return double_cuda;
}

static void *context_of(int device)
{
	void *context;

	CHECK_EQ(cu.cuCtxCreate_v2(&context, 0, device), 0);
	return context;
}

static void *new_stream(void)
{
	void *stream;

	CHECK_EQ(cu.cuStreamCreate(&stream, 1), 0);
	return stream;
}

static void *new_event(void)
{
	void *event;

	CHECK_EQ(cu.cuEventCreate(&event, 0), 0);
	return event;
}

TEST(double_cuda_finds_the_version_asked_for)
{
	void *function;
	int status;

	begin();
	CHECK_EQ(cu.cuGetProcAddress_v2("cuMemcpyBatchAsync", &function, 12080, 0, &status), 0);
	CHECK(function == (void *)(uintptr_t)cu.cuMemcpyBatchAsync);
	CHECK_EQ(cu.cuGetProcAddress_v2("cuMemcpyBatchAsync", &function, 13000, 0, &status), 0);
	CHECK(function == (void *)(uintptr_t)cu.cuMemcpyBatchAsync_v2);
	CHECK_EQ(cu.cuGetProcAddress_v2("cuMemcpyBatchAsync", &function, 12070, 0, &status), 500);
	CHECK_EQ(status, 2);
	CHECK_EQ(cu.cuGetProcAddress_v2("cuNothing", &function, 13000, 0, &status), 500);
	CHECK_EQ(status, 1);
	CHECK(!function);
}

TEST(double_cuda_times_a_copy_by_the_manual_clock)
{
	const struct double_cuda *control = begin();
	void *stream, *start, *end, *host;
	uint64_t device;
	float ms = -1;

	context_of(0);
	control->set_rate(2); /* bytes a ns */
	stream = new_stream();
	start = new_event();
	end = new_event();
	CHECK_EQ(cu.cuMemAllocHost_v2(&host, 4000000), 0);
	memset(host, 7, 4000000);
	CHECK_EQ(cu.cuMemAlloc_v2(&device, 4000000), 0);
	CHECK_EQ(cu.cuEventElapsedTime(&ms, start, end), 400);
	CHECK_EQ(cu.cuEventRecord(start, stream), 0);
	CHECK_EQ(cu.cuMemcpyHtoDAsync_v2(device, host, 4000000, stream), 0);
	CHECK_EQ(cu.cuEventRecord(end, stream), 0);
	control->advance(2 * MS - 1);
	CHECK_EQ(cu.cuEventQuery(start), 0);
	CHECK_EQ(cu.cuEventQuery(end), KVTAP_CU_NOT_READY);
	CHECK_EQ(cu.cuEventElapsedTime(&ms, start, end), KVTAP_CU_NOT_READY);
	control->advance(1);
	CHECK_EQ(cu.cuEventQuery(end), 0);
	CHECK_EQ(cu.cuEventElapsedTime(&ms, start, end), 0);
	CHECK(ms == 2.0f);
	CHECK_EQ(memcmp((void *)(uintptr_t)device, host, 4000000), 0);
	control->reset();
}

TEST(double_cuda_does_streams_beside_each_other)
{
	const struct double_cuda *control = begin();
	void *stream[2], *end[2];
	static char from[3 * US], to[3 * US];
	int i;

	context_of(0);
	control->set_rate(1);
	for (i = 0; i < 2; i++) {
		stream[i] = new_stream();
		end[i] = new_event();
		cu.cuMemcpyHtoDAsync_v2((uintptr_t)to, from, (size_t)(i == 0 ? 3 : 1) * US,
					stream[i]);
		cu.cuEventRecord(end[i], stream[i]);
	}
	control->advance(1 * US);
	CHECK_EQ(cu.cuEventQuery(end[0]), KVTAP_CU_NOT_READY);
	CHECK_EQ(cu.cuEventQuery(end[1]), 0);
	cu.cuStreamWaitEvent(stream[1], end[0], 0);
	cu.cuEventRecord(end[1], stream[1]);
	control->advance(1 * US);
	CHECK_EQ(cu.cuEventQuery(end[1]), KVTAP_CU_NOT_READY);
	control->advance(1 * US);
	CHECK_EQ(cu.cuEventQuery(end[1]), 0);
	control->reset();
}

TEST(double_cuda_follows_the_clock_and_waits)
{
	const struct double_cuda *control = cuda_double(&cu);
	void *stream, *start, *end;
	static char from[MS], to[MS];
	float ms;

	context_of(1);
	control->set_rate(1);
	stream = new_stream();
	start = new_event();
	end = new_event();
	CHECK_EQ(cu.cuEventRecord(start, stream), 0);
	CHECK_EQ(cu.cuMemcpyHtoDAsync_v2((uintptr_t)to, from, MS, stream), 0);
	CHECK_EQ(cu.cuEventRecord(end, stream), 0);
	CHECK_EQ(cu.cuStreamSynchronize(stream), 0);
	CHECK_EQ(cu.cuEventQuery(end), 0);
	CHECK_EQ(cu.cuEventElapsedTime(&ms, start, end), 0);
	CHECK(ms >= 1.0f);
	control->reset();
}

static uint64_t kernel_saw_ns;

static void kernel(void **arguments)
{
	uint64_t **to = arguments[0];
	uint32_t *add = arguments[1];

	**to += *add;
	kernel_saw_ns = double_cuda->now();
}

TEST(double_cuda_replays_a_graph_of_kernels)
{
	const struct double_cuda *control = begin();
	static const size_t sizes[] = { 8, 4, 0 };
	uint64_t sum = 0, *to = &sum;
	uint32_t add = 5;
	void *module, *function, *stream, *graph, *executable, *arguments[] = { &to, &add };
	int status = -1, i;

	context_of(0);
	stream = new_stream();
	control->set_kernel("add", kernel, sizes);
	CHECK_EQ(cu.cuModuleLoadData(&module, ""), 0);
	CHECK_EQ(cu.cuModuleGetFunction(&function, module, "subtract"), 500);
	CHECK_EQ(cu.cuModuleGetFunction(&function, module, "add"), 0);
	CHECK_EQ(cu.cuStreamBeginCapture_v2(stream, 0), 0);
	CHECK_EQ(cu.cuStreamIsCapturing(stream, &status), 0);
	CHECK_EQ(status, 1);
	CHECK_EQ(cu.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL), 0);
	add = 0; /* was copied */
	CHECK_EQ(cu.cuStreamEndCapture(stream, &graph), 0);
	CHECK_EQ(cu.cuGraphInstantiateWithFlags(&executable, graph, 0), 0);
	CHECK_EQ(cu.cuGraphDestroy(graph), 0);
	control->advance(0);
	CHECK_EQ(sum, 0);
	for (i = 0; i < 3; i++)
		CHECK_EQ(cu.cuGraphLaunch(executable, stream), 0);
	control->advance(7);
	CHECK_EQ(sum, 15);
	CHECK_EQ(kernel_saw_ns, control->now() - 7);
	CHECK_EQ(control->violations(), 0);
	control->reset();
}

static void *query_elsewhere(void *event)
{
	int mode = 2;

	CHECK_EQ(cu.cuThreadExchangeStreamCaptureMode(&mode), 0);
	CHECK_EQ(mode, 0);
	CHECK_EQ(cu.cuEventQuery(event), 0);
	CHECK_EQ(double_cuda->violations(), 0);
	CHECK_EQ(cu.cuThreadExchangeStreamCaptureMode(&mode), 0);
	CHECK_EQ(mode, 2);
	CHECK_EQ(cu.cuEventQuery(event), 900);
	CHECK_EQ(double_cuda->violations(), 1);
	return NULL;
}

TEST(double_cuda_breaks_a_capture_when_another_thread_queries)
{
	const struct double_cuda *control = begin();
	void *stream, *event, *graph;
	int status;

	context_of(0);
	stream = new_stream();
	event = new_event();
	CHECK_EQ(cu.cuStreamBeginCapture_v2(stream, 0), 0);
	run_thread(query_elsewhere, event);
	CHECK_EQ(cu.cuStreamIsCapturing(stream, &status), 0);
	CHECK_EQ(status, 2);
	CHECK_EQ(cu.cuStreamEndCapture(stream, &graph), 901);
	CHECK(!graph);
	CHECK_EQ(cu.cuEventQuery(event), 0);
	control->reset();
}

TEST(double_cuda_lets_other_threads_query_in_a_thread_local_capture)
{
	const struct double_cuda *control = begin();
	void *stream, *event, *graph;

	context_of(0);
	stream = new_stream();
	event = new_event();
	CHECK_EQ(cu.cuStreamBeginCapture_v2(stream, 1), 0);
	CHECK_EQ(cu.cuEventRecord(event, stream), 0);
	CHECK_EQ(cu.cuStreamEndCapture(stream, &graph), 0);
	CHECK_EQ(control->violations(), 0);
	CHECK_EQ(cu.cuEventQuery(event), 907);
	CHECK_EQ(control->violations(), 1);
	control->reset();
}

static int host_result;

static void host_function(void *event)
{
	host_result = cu.cuEventQuery(event);
}

TEST(double_cuda_tells_a_call_in_a_host_function)
{
	const struct double_cuda *control = begin();
	void *stream, *event;

	context_of(0);
	stream = new_stream();
	event = new_event();
	CHECK_EQ(cu.cuLaunchHostFunc(stream, host_function, event), 0);
	control->advance(0);
	CHECK_EQ(host_result, 800);
	CHECK_EQ(control->violations(), 1);
	CHECK_EQ(cu.cuEventQuery(event), 0);
	control->reset();
}

TEST(double_cuda_keeps_a_sticky_error_in_its_context)
{
	const struct double_cuda *control = begin();
	void *bad = context_of(0), *bad_event = new_event(), *bad_stream = new_stream();
	void *good = context_of(1), *good_event = new_event(), *good_stream = new_stream();

	host_result = -1;
	CHECK(bad != good);
	CHECK_EQ(cu.cuLaunchHostFunc(bad_stream, host_function, bad_event), 0);
	control->stick(bad, 700);
	control->advance(1);
	CHECK_EQ(host_result, -1);
	CHECK_EQ(cu.cuEventQuery(bad_event), 700);
	CHECK_EQ(cu.cuEventRecord(bad_event, bad_stream), 700);
	CHECK_EQ(cu.cuEventRecord(good_event, good_stream), 0);
	CHECK_EQ(cu.cuEventRecord(good_event, (void *)1), 0);
	CHECK_EQ(cu.cuEventRecord(bad_event, good_stream), 700);
	CHECK_EQ(control->violations(), 0);
	control->reset();
}

TEST(double_cuda_knows_destroyed_and_foreign_handles)
{
	const struct double_cuda *control = begin();
	void *context = context_of(0), *event = new_event(), *other = new_event();

	CHECK_EQ(control->live_events(), 2);
	CHECK_EQ(cu.cuEventQuery((void *)"no event"), 400);
	CHECK_EQ(control->violations(), 0);
	CHECK_EQ(cu.cuEventDestroy_v2(event), 0);
	CHECK_EQ(control->live_events(), 1);
	CHECK_EQ(cu.cuEventQuery(event), 400);
	CHECK_EQ(control->violations(), 1);
	CHECK_EQ(cu.cuCtxDestroy_v2(context), 0);
	CHECK_EQ(control->live_events(), 0);
	CHECK_EQ(cu.cuCtxPushCurrent_v2(context), 709);
	CHECK_EQ(control->violations(), 1);
	CHECK_EQ(cu.cuEventQuery(other), 709);
	CHECK_EQ(control->violations(), 2);
	control->reset();
}

static void *thread_default(void *first)
{
	void **handle = first;

	CHECK_EQ(cu.cuCtxSetCurrent(handle[0]), 0);
	CHECK_EQ(cu.cuStreamQuery((void *)2), 0);
	CHECK_EQ(cu.cuStreamQuery((void *)1), 0);
	return NULL;
}

TEST(double_cuda_has_a_default_stream_a_thread)
{
	const struct double_cuda *control = begin();
	void *handle[1] = { context_of(0) }, *event = new_event(), *context;

	CHECK_EQ(cu.cuEventRecord(event, (void *)2), 0);
	CHECK_EQ(cu.cuStreamQuery((void *)2), KVTAP_CU_NOT_READY);
	run_thread(thread_default, handle);
	CHECK_EQ(cu.cuStreamGetCtx((void *)2, &context), 0);
	CHECK(context == handle[0]);
	CHECK_EQ(cu.cuCtxPopCurrent_v2(NULL), 0);
	CHECK_EQ(cu.cuStreamGetCtx((void *)2, &context), 201);
	control->reset();
}

TEST(double_cuda_fails_and_counts_by_name)
{
	const struct double_cuda *control = begin();
	void *event, *function;

	context_of(0);
	event = new_event();
	control->fail("cuEventQuery", 999, 2);
	CHECK_EQ(cu.cuEventQuery(event), 999);
	CHECK_EQ(cu.cuEventQuery(event), 999);
	CHECK_EQ(cu.cuEventQuery(event), 0);
	CHECK_EQ(control->calls("cuEventQuery"), 3);
	CHECK_EQ(control->calls("cuEvent*"), 4);
	CHECK_EQ(control->calls("*Synchronize"), 0);
	control->hide("cuEventQuery");
	CHECK_EQ(cu.cuGetProcAddress_v2("cuEventQuery", &function, 13000, 0, NULL), 500);
	control->fail("*", 4, -1);
	CHECK_EQ(cu.cuEventQuery(event), 4);
	CHECK_EQ(cu.cuCtxGetCurrent(&function), 4);
	control->reset();
}

TEST(double_cuda_refuses_a_child)
{
	const struct double_cuda *control = begin();
	void *context = context_of(0);
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(cu.cuCtxGetCurrent(&context) == 3 && control->violations() == 1 ? 0 : 1);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_EQ(status, 0);
	CHECK_EQ(control->violations(), 0);
	control->reset();
}
