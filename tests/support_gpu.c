/* SPDX-License-Identifier: Apache-2.0 */
#include "support_gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_kernels.h"
#include "test.h"

void gpu_test(void (*body)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		body();
		exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	if (WEXITSTATUS(status))
		_exit(WEXITSTATUS(status)); /* it has said why; also why it was skipped */
}

void gpu_open(struct gpu *gpu)
{
	const char *path = getenv("KVTAP_GPU_DRIVER");
	void *library = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
	const struct double_cuda *(*control)(void);
	kvtap_cu_context context;
	kvtap_cu_device device;
	int result;

	if (!library)
		SKIP("no GPU: %s", dlerror());
#define FIND(symbol, name, version, arguments) *(void **)&gpu->cu.symbol = dlsym(library, #symbol);
	DOUBLE_FUNCTIONS(FIND)
#undef FIND
	*(void **)&control = dlsym(library, "double_cuda_control");
	gpu->is_double = control != NULL;
	result = gpu->cu.cuInit(0);
	if (result != KVTAP_CU_SUCCESS)
		SKIP("no GPU: cuInit: CUDA error %d", result);
	result = gpu->cu.cuDeviceGet(&device, 0);
	if (result != KVTAP_CU_SUCCESS)
		SKIP("no GPU: cuDeviceGet: CUDA error %d", result);
	CHECK_CU(gpu->cu.cuDriverGetVersion(&gpu->version));
	CHECK_CU(gpu->cu.cuDeviceGetName(gpu->name, sizeof(gpu->name), device));
	CHECK_CU(gpu->cu.cuDevicePrimaryCtxRetain(&context, device));
	CHECK_CU(gpu->cu.cuCtxSetCurrent(context));
	CHECK_CU(gpu->cu.cuStreamCreate(&gpu->stream, 1));
	if (control)
		kernels_on_double(control());
}

void gpu_begin_capture(struct gpu *gpu)
{
	CHECK_CU(gpu->cu.cuStreamBeginCapture_v2(gpu->stream, 0));
}

cu_graph_exec gpu_end_capture(struct gpu *gpu)
{
	cu_graph_exec executable;
	cu_graph graph;

	CHECK_CU(gpu->cu.cuStreamEndCapture(gpu->stream, &graph));
	CHECK_CU(gpu->cu.cuGraphInstantiateWithFlags(&executable, graph, 0));
	CHECK_CU(gpu->cu.cuGraphDestroy(graph));
	return executable;
}

void gpu_log(void *argument, enum kvtap_level level, const char *message)
{
	(void)argument;
	fprintf(stderr, "kvtap: %d: %s\n", (int)level, message);
}
