/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.h - the CUDA driver of this process, found at run time
 *
 * Own declarations, so that this builds without the toolkit; tests/test_cuda_abi.c compares each with cuda.h where
 * that is there. Versions are those that cuGetProcAddress is asked for: a newer driver then gives
 * the function of that version, whatever its newest symbol is.
 */
#ifndef KVTAP_CUDA_DRIVER_H
#define KVTAP_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef int kvtap_cu_result; /* CUresult */
typedef int kvtap_cu_device; /* CUdevice: the ordinal's handle */
typedef int kvtap_cu_attribute, kvtap_cu_capture_status, kvtap_cu_capture_mode; /* enums */
typedef uint64_t kvtap_cu_pointer;						/* CUdeviceptr */
typedef void *kvtap_cu_context, *kvtap_cu_stream, *kvtap_cu_event, *kvtap_cu_module,
	*kvtap_cu_function;

enum { /* CUresult */
       KVTAP_CU_SUCCESS = 0,
       KVTAP_CU_INVALID_VALUE = 1,
       KVTAP_CU_OUT_OF_MEMORY = 2,
       KVTAP_CU_DEINITIALIZED = 4,
       KVTAP_CU_INVALID_IMAGE = 200,
       KVTAP_CU_INVALID_CONTEXT = 201,
       KVTAP_CU_NO_BINARY_FOR_GPU = 209,
       KVTAP_CU_INVALID_PTX = 218,
       KVTAP_CU_JIT_COMPILER_NOT_FOUND = 221,
       KVTAP_CU_UNSUPPORTED_PTX_VERSION = 222,
       KVTAP_CU_JIT_COMPILATION_DISABLED = 223,
       KVTAP_CU_INVALID_HANDLE = 400,
       KVTAP_CU_NOT_FOUND = 500,
       KVTAP_CU_NOT_READY = 600,
       KVTAP_CU_CONTEXT_IS_DESTROYED = 709,
       KVTAP_CU_NOT_SUPPORTED = 801,
};

/*
 * All that kvtap calls: X(member, symbol, version, arguments). Versions: 1000 * major + 10 * minor,
 * of the release in which this form of the function came.
 */
#define KVTAP_CU_FUNCTIONS(X)                                                                      \
	X(ctx_get_current, cuCtxGetCurrent, 4000, (kvtap_cu_context * context))                    \
	X(ctx_push_current, cuCtxPushCurrent, 4000, (kvtap_cu_context context))                    \
	X(ctx_pop_current, cuCtxPopCurrent, 4000, (kvtap_cu_context * context))                    \
	X(ctx_get_device, cuCtxGetDevice, 2000, (kvtap_cu_device * device))                        \
	X(device_get_attribute, cuDeviceGetAttribute, 2000,                                        \
	  (int *value, kvtap_cu_attribute attribute, kvtap_cu_device device))                      \
	X(stream_create, cuStreamCreate, 2000, (kvtap_cu_stream * stream, unsigned flags))         \
	X(stream_destroy, cuStreamDestroy, 4000, (kvtap_cu_stream stream))                         \
	X(stream_get_ctx, cuStreamGetCtx, 9020,                                                    \
	  (kvtap_cu_stream stream, kvtap_cu_context * context))                                    \
	X(stream_is_capturing, cuStreamIsCapturing, 10000,                                         \
	  (kvtap_cu_stream stream, kvtap_cu_capture_status * status))                              \
	X(thread_exchange_stream_capture_mode, cuThreadExchangeStreamCaptureMode, 10010,           \
	  (kvtap_cu_capture_mode * mode))                                                          \
	X(event_create, cuEventCreate, 2000, (kvtap_cu_event * event, unsigned flags))             \
	X(event_destroy, cuEventDestroy, 4000, (kvtap_cu_event event))                             \
	X(event_record, cuEventRecord, 2000, (kvtap_cu_event event, kvtap_cu_stream stream))       \
	X(event_query, cuEventQuery, 2000, (kvtap_cu_event event))                                 \
	X(event_elapsed_time, cuEventElapsedTime, 2000,                                            \
	  (float *milliseconds, kvtap_cu_event start, kvtap_cu_event end))                         \
	X(launch_host_func, cuLaunchHostFunc, 10000,                                               \
	  (kvtap_cu_stream stream, void (*function)(void *), void *argument))                      \
	X(mem_alloc, cuMemAlloc, 3020, (kvtap_cu_pointer * address, size_t bytes))                 \
	X(mem_free, cuMemFree, 3020, (kvtap_cu_pointer address))                                   \
	X(mem_host_register, cuMemHostRegister, 6050,                                              \
	  (void *address, size_t bytes, unsigned flags))                                           \
	X(mem_host_unregister, cuMemHostUnregister, 4000, (void *address))                         \
	X(mem_host_get_device_pointer, cuMemHostGetDevicePointer, 3020,                            \
	  (kvtap_cu_pointer * address, void *host, unsigned flags))                                \
	X(memcpy_htod_async, cuMemcpyHtoDAsync, 3020,                                              \
	  (kvtap_cu_pointer to, const void *from, size_t bytes, kvtap_cu_stream stream))           \
	X(module_load_data, cuModuleLoadData, 2000, (kvtap_cu_module * module, const void *image)) \
	X(module_unload, cuModuleUnload, 2000, (kvtap_cu_module module))                           \
	X(module_get_function, cuModuleGetFunction, 2000,                                          \
	  (kvtap_cu_function * function, kvtap_cu_module module, const char *name))                \
	X(launch_kernel, cuLaunchKernel, 4000,                                                     \
	  (kvtap_cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,          \
	   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,            \
	   kvtap_cu_stream stream, void **arguments, void **extra))

struct kvtap_cu {
#define KVTAP_CU_MEMBER(member, symbol, version, arguments) kvtap_cu_result(*member) arguments;
	KVTAP_CU_FUNCTIONS(KVTAP_CU_MEMBER)
#undef KVTAP_CU_MEMBER
};

/*
 * kvtap_cu_find - the driver that the process has loaded; it is never loaded by this
 * @cu: filled in
 * Returns: 0, or -ENOSYS: none, or one that lacks a function (@missing: its name, or NULL).
 */
int kvtap_cu_find(struct kvtap_cu *cu, const char **missing);

#endif
