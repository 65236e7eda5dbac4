/* SPDX-License-Identifier: Apache-2.0 */
/*
 * double_cuda_functions.h - the driver's functions that the double has
 *
 * X(symbol, name, version, arguments): the name in cuda.h's text, and the version in the name of its
 * type in cudaTypedefs.h, with which test_cuda_abi.c compares each.
 */
#ifndef DOUBLE_CUDA_FUNCTIONS_H
#define DOUBLE_CUDA_FUNCTIONS_H

#include "../lib/cuda/driver.h"

typedef int cu_query_status;
typedef void cu_context_parameters, cu_copy_attributes;
typedef void *cu_graph, *cu_graph_exec;
typedef unsigned long long cu_flags;
typedef void (*cu_host_function)(void *argument);

enum { /* CUresult, beyond those that kvtap knows */
       NOT_INITIALIZED = 3,
       INVALID_DEVICE = 101,
       ALREADY_REGISTERED = 712,
       NOT_REGISTERED = 713,
       NOT_PERMITTED = 800,
       CAPTURE_UNSUPPORTED = 900,
       CAPTURE_INVALIDATED = 901,
       CAPTURE_IMPLICIT = 906,
       CAPTURED_EVENT = 907,
       CAPTURE_WRONG_THREAD = 908,
};

enum { /* CUstreamCaptureMode */
       MODE_GLOBAL,
       MODE_THREAD_LOCAL,
       MODE_RELAXED,
};

#define DOUBLE_CONTEXT_FUNCTIONS(X)                                                                \
	X(cuInit, cuInit, 2000, (unsigned flags))                                                  \
	X(cuDriverGetVersion, cuDriverGetVersion, 2020, (int *version))                            \
	X(cuDeviceGet, cuDeviceGet, 2000, (kvtap_cu_device * device, int ordinal))                 \
	X(cuDeviceGetCount, cuDeviceGetCount, 2000, (int *count))                                  \
	X(cuDeviceGetName, cuDeviceGetName, 2000, (char *name, int bytes, kvtap_cu_device device)) \
	X(cuDeviceGetAttribute, cuDeviceGetAttribute, 2000,                                        \
	  (int *value, kvtap_cu_attribute attribute, kvtap_cu_device device))                      \
	X(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, 7000,                                \
	  (kvtap_cu_context * context, kvtap_cu_device device))                                    \
	X(cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxRelease, 11000,                          \
	  (kvtap_cu_device device))                                                                \
	X(cuCtxCreate_v2, cuCtxCreate, 3020,                                                       \
	  (kvtap_cu_context * context, unsigned flags, kvtap_cu_device device))                    \
	X(cuCtxCreate_v4, cuCtxCreate, 12050,                                                      \
	  (kvtap_cu_context * context, cu_context_parameters * parameters, unsigned flags,         \
	   kvtap_cu_device device))                                                                \
	X(cuCtxDestroy_v2, cuCtxDestroy, 4000, (kvtap_cu_context context))                         \
	X(cuCtxGetCurrent, cuCtxGetCurrent, 4000, (kvtap_cu_context * context))                    \
	X(cuCtxSetCurrent, cuCtxSetCurrent, 4000, (kvtap_cu_context context))                      \
	X(cuCtxPushCurrent_v2, cuCtxPushCurrent, 4000, (kvtap_cu_context context))                 \
	X(cuCtxPopCurrent_v2, cuCtxPopCurrent, 4000, (kvtap_cu_context * context))                 \
	X(cuCtxGetDevice, cuCtxGetDevice, 2000, (kvtap_cu_device * device))                        \
	X(cuCtxSynchronize, cuCtxSynchronize, 2000, (void))

#define DOUBLE_MEMORY_FUNCTIONS(X)                                                                 \
	X(cuMemAlloc_v2, cuMemAlloc, 3020, (kvtap_cu_pointer * address, size_t bytes))             \
	X(cuMemFree_v2, cuMemFree, 3020, (kvtap_cu_pointer address))                               \
	X(cuMemAllocHost_v2, cuMemAllocHost, 3020, (void **address, size_t bytes))                 \
	X(cuMemFreeHost, cuMemFreeHost, 2000, (void *address))                                     \
	X(cuMemHostRegister_v2, cuMemHostRegister, 6050,                                           \
	  (void *address, size_t bytes, unsigned flags))                                           \
	X(cuMemHostUnregister, cuMemHostUnregister, 4000, (void *address))                         \
	X(cuMemHostGetDevicePointer_v2, cuMemHostGetDevicePointer, 3020,                           \
	  (kvtap_cu_pointer * address, void *host, unsigned flags))                                \
	X(cuMemcpyAsync, cuMemcpyAsync, 4000,                                                      \
	  (kvtap_cu_pointer to, kvtap_cu_pointer from, size_t bytes, kvtap_cu_stream stream))      \
	X(cuMemcpyHtoD_v2, cuMemcpyHtoD, 3020,                                                     \
	  (kvtap_cu_pointer to, const void *from, size_t bytes))                                   \
	X(cuMemcpyHtoDAsync_v2, cuMemcpyHtoDAsync, 3020,                                           \
	  (kvtap_cu_pointer to, const void *from, size_t bytes, kvtap_cu_stream stream))           \
	X(cuMemcpyDtoH_v2, cuMemcpyDtoH, 3020, (void *to, kvtap_cu_pointer from, size_t bytes))    \
	X(cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync, 3020,                                           \
	  (void *to, kvtap_cu_pointer from, size_t bytes, kvtap_cu_stream stream))                 \
	X(cuMemcpyBatchAsync, cuMemcpyBatchAsync, 12080,                                           \
	  (kvtap_cu_pointer * to, kvtap_cu_pointer * from, size_t * bytes, size_t count,           \
	   cu_copy_attributes * attributes, size_t * attribute_at, size_t attribute_count,         \
	   size_t * failed, kvtap_cu_stream stream))                                               \
	X(cuMemcpyBatchAsync_v2, cuMemcpyBatchAsync, 13000,                                        \
	  (kvtap_cu_pointer * to, kvtap_cu_pointer * from, size_t * bytes, size_t count,           \
	   cu_copy_attributes * attributes, size_t * attribute_at, size_t attribute_count,         \
	   kvtap_cu_stream stream))                                                                \
	X(cuModuleLoadData, cuModuleLoadData, 2000, (kvtap_cu_module * module, const void *image)) \
	X(cuModuleUnload, cuModuleUnload, 2000, (kvtap_cu_module module))                          \
	X(cuModuleGetFunction, cuModuleGetFunction, 2000,                                          \
	  (kvtap_cu_function * function, kvtap_cu_module module, const char *name))                \
	X(cuLaunchKernel, cuLaunchKernel, 4000,                                                    \
	  (kvtap_cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,          \
	   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,            \
	   kvtap_cu_stream stream, void **arguments, void **extra))

#define DOUBLE_STREAM_FUNCTIONS(X)                                                                 \
	X(cuStreamCreate, cuStreamCreate, 2000, (kvtap_cu_stream * stream, unsigned flags))        \
	X(cuStreamDestroy_v2, cuStreamDestroy, 4000, (kvtap_cu_stream stream))                     \
	X(cuStreamQuery, cuStreamQuery, 2000, (kvtap_cu_stream stream))                            \
	X(cuStreamSynchronize, cuStreamSynchronize, 2000, (kvtap_cu_stream stream))                \
	X(cuStreamGetCtx, cuStreamGetCtx, 9020,                                                    \
	  (kvtap_cu_stream stream, kvtap_cu_context * context))                                    \
	X(cuStreamIsCapturing, cuStreamIsCapturing, 10000,                                         \
	  (kvtap_cu_stream stream, kvtap_cu_capture_status * status))                              \
	X(cuStreamBeginCapture_v2, cuStreamBeginCapture, 10010,                                    \
	  (kvtap_cu_stream stream, kvtap_cu_capture_mode mode))                                    \
	X(cuStreamEndCapture, cuStreamEndCapture, 10000,                                           \
	  (kvtap_cu_stream stream, cu_graph * graph))                                              \
	X(cuStreamWaitEvent, cuStreamWaitEvent, 3020,                                              \
	  (kvtap_cu_stream stream, kvtap_cu_event event, unsigned flags))                          \
	X(cuThreadExchangeStreamCaptureMode, cuThreadExchangeStreamCaptureMode, 10010,             \
	  (kvtap_cu_capture_mode * mode))                                                          \
	X(cuGraphInstantiateWithFlags, cuGraphInstantiateWithFlags, 11040,                         \
	  (cu_graph_exec * executable, cu_graph graph, cu_flags flags))                            \
	X(cuGraphLaunch, cuGraphLaunch, 10000, (cu_graph_exec executable, kvtap_cu_stream stream)) \
	X(cuGraphDestroy, cuGraphDestroy, 10000, (cu_graph graph))                                 \
	X(cuGraphExecDestroy, cuGraphExecDestroy, 10000, (cu_graph_exec executable))               \
	X(cuEventCreate, cuEventCreate, 2000, (kvtap_cu_event * event, unsigned flags))            \
	X(cuEventRecord, cuEventRecord, 2000, (kvtap_cu_event event, kvtap_cu_stream stream))      \
	X(cuEventQuery, cuEventQuery, 2000, (kvtap_cu_event event))                                \
	X(cuEventSynchronize, cuEventSynchronize, 2000, (kvtap_cu_event event))                    \
	X(cuEventElapsedTime, cuEventElapsedTime, 2000,                                            \
	  (float *milliseconds, kvtap_cu_event start, kvtap_cu_event end))                         \
	X(cuEventElapsedTime_v2, cuEventElapsedTime, 12080,                                        \
	  (float *milliseconds, kvtap_cu_event start, kvtap_cu_event end))                         \
	X(cuEventDestroy_v2, cuEventDestroy, 4000, (kvtap_cu_event event))                         \
	X(cuLaunchHostFunc, cuLaunchHostFunc, 10000,                                               \
	  (kvtap_cu_stream stream, cu_host_function function, void *argument))

#define DOUBLE_FUNCTIONS(X)                                                                        \
	X(cuGetProcAddress_v2, cuGetProcAddress, 12000,                                            \
	  (const char *symbol, void **function, int version, uint64_t flags,                       \
	   cu_query_status *status))                                                               \
	DOUBLE_CONTEXT_FUNCTIONS(X)                                                                \
	DOUBLE_MEMORY_FUNCTIONS(X)                                                                 \
	DOUBLE_STREAM_FUNCTIONS(X)

#endif
