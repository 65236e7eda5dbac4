/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_program.c - a CUDA program that knows nothing of kvtap: copies 100 times 1 MiB to device 0, and 50
 * times 2 MiB back
 *
 * Exit status: 0; 77: there is no GPU; 1: a call failed. Which one is on stderr. KVTAP_GPU_DRIVER: as in
 * support_gpu.h.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "support_cuda.h"

#define MIB ((size_t)1 << 20)
#define NO_GPU 77

static void *library;

static void *find(const char *symbol)
{
	void *function = dlsym(library, symbol);

	if (!function) {
		fprintf(stderr, "%s is missing\n", symbol);
		exit(1);
	}
	return function;
}

static int status = NO_GPU; /* if a call fails */

static void check(const char *call, int result)
{
	if (result) {
		fprintf(stderr, "%s: CUDA error %d\n", call, result);
		exit(status);
	}
}

#define FUNCTION(symbol) ((__typeof__(((struct cuda_api *)0)->symbol))find(#symbol))
#define CALL(symbol, ...) check(#symbol, FUNCTION(symbol)(__VA_ARGS__))

int main(void)
{
	const char *path = getenv("KVTAP_GPU_DRIVER");
	kvtap_cu_context context;
	kvtap_cu_pointer device;
	kvtap_cu_stream stream;
	void *host;

	library = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		return NO_GPU;
	}
	CALL(cuInit, 0);
	CALL(cuDevicePrimaryCtxRetain, &context, 0);
	CALL(cuCtxSetCurrent, context);
	status = 1;
	CALL(cuStreamCreate, &stream, 1);
	CALL(cuMemAlloc_v2, &device, 2 * MIB);
	CALL(cuMemAllocHost_v2, &host, 2 * MIB);
	for (int i = 0; i < 100; i++)
		CALL(cuMemcpyHtoDAsync_v2, device, host, MIB, stream);
	for (int i = 0; i < 50; i++)
		CALL(cuMemcpyDtoHAsync_v2, host, device, 2 * MIB, stream);
	CALL(cuStreamSynchronize, stream);
	return 0;
}
