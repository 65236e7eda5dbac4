/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_gpu.h - a real GPU for a test: its driver, a context, a stream, graphs
 *
 * What fails here fails the test; where there is no GPU the test is skipped, and says what is missing.
 * KVTAP_GPU_DRIVER names another library than libcuda.so.1: the double, to try a test without a GPU.
 */
#ifndef KVTAP_TESTS_SUPPORT_GPU_H
#define KVTAP_TESTS_SUPPORT_GPU_H

#include <stdbool.h>

#include "kvtap_cuda.h"
#include "support_cuda.h"

struct gpu {
	struct cuda_api cu;	/* NULL: a driver that is too old for that one */
	kvtap_cu_stream stream; /* waits for no other */
	bool is_double;
	int version; /* 1000 * major + 10 * minor */
	char name[128];
};

/*
 * gpu_test - run a test's body in a process of its own: a driver keeps descriptors open, which the
 * runner would find
 */
void gpu_test(void (*body)(void));

/* gpu_open - device 0, its primary context current; the process's end gives all back */
void gpu_open(struct gpu *gpu);

/* gpu_begin_capture, gpu_end_capture - what is put into gpu->stream in between, as a graph to launch */
void gpu_begin_capture(struct gpu *gpu);
cu_graph_exec gpu_end_capture(struct gpu *gpu);

/* gpu_log - a kvtap_options.log that says on stderr what kvtap does */
void gpu_log(void *argument, enum kvtap_level level, const char *message);

#define CHECK_CU(call) CHECK_EQ(call, KVTAP_CU_SUCCESS)

#endif
