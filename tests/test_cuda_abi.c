/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kvtap and the double of the driver declare of CUDA themselves, against the toolkit's headers:
 * each function has the type that cudaTypedefs.h gives to its version. It is compiled or it isn't.
 */
#include "double_cuda_functions.h"
#include "test.h"

#if !defined(KVTAP_NO_CUDA) && __has_include(<cuda.h>) && __has_include(<cudaTypedefs.h>)
#include <cuda.h>
#include <cudaTypedefs.h>

/* Our types are handles and enums in the place of CUDA's own: the lists below are with the latter. */
#define kvtap_cu_result CUresult
#define kvtap_cu_device CUdevice
#define kvtap_cu_pointer CUdeviceptr
#define kvtap_cu_context CUcontext
#define kvtap_cu_stream CUstream
#define kvtap_cu_event CUevent
#define kvtap_cu_module CUmodule
#define kvtap_cu_function CUfunction
#define kvtap_cu_attribute CUdevice_attribute
#define kvtap_cu_capture_status CUstreamCaptureStatus
#define kvtap_cu_capture_mode CUstreamCaptureMode
#define cu_query_status CUdriverProcAddressQueryResult
#define cu_context_parameters CUctxCreateParams
#define cu_copy_attributes CUmemcpyAttributes
#define cu_graph CUgraph
#define cu_graph_exec CUgraphExec
#define cu_flags unsigned long long
#define cu_host_function CUhostFn

#define IS_PFN(symbol, name, version, arguments)                                                   \
	_Static_assert(__builtin_types_compatible_p(kvtap_cu_result(*) arguments,                  \
						    PFN_##name##_v##version),                      \
		       #name " is not that of the toolkit");
DOUBLE_FUNCTIONS(IS_PFN)
#undef IS_PFN
#define IS_PFN(member, symbol, version, arguments)                                                 \
	_Static_assert(__builtin_types_compatible_p(kvtap_cu_result(*) arguments,                  \
						    PFN_##symbol##_v##version),                    \
		       #member " is not that of the toolkit");
KVTAP_CU_FUNCTIONS(IS_PFN)

#define IS(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
IS(KVTAP_CU_SUCCESS, CUDA_SUCCESS);
IS(KVTAP_CU_INVALID_VALUE, CUDA_ERROR_INVALID_VALUE);
IS(KVTAP_CU_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
IS(KVTAP_CU_DEINITIALIZED, CUDA_ERROR_DEINITIALIZED);
IS(KVTAP_CU_INVALID_IMAGE, CUDA_ERROR_INVALID_IMAGE);
IS(KVTAP_CU_INVALID_CONTEXT, CUDA_ERROR_INVALID_CONTEXT);
IS(KVTAP_CU_NO_BINARY_FOR_GPU, CUDA_ERROR_NO_BINARY_FOR_GPU);
IS(KVTAP_CU_INVALID_PTX, CUDA_ERROR_INVALID_PTX);
IS(KVTAP_CU_JIT_COMPILER_NOT_FOUND, CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
IS(KVTAP_CU_UNSUPPORTED_PTX_VERSION, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
IS(KVTAP_CU_JIT_COMPILATION_DISABLED, CUDA_ERROR_JIT_COMPILATION_DISABLED);
IS(KVTAP_CU_INVALID_HANDLE, CUDA_ERROR_INVALID_HANDLE);
IS(KVTAP_CU_NOT_FOUND, CUDA_ERROR_NOT_FOUND);
IS(KVTAP_CU_NOT_READY, CUDA_ERROR_NOT_READY);
IS(KVTAP_CU_CONTEXT_IS_DESTROYED, CUDA_ERROR_CONTEXT_IS_DESTROYED);
IS(KVTAP_CU_NOT_SUPPORTED, CUDA_ERROR_NOT_SUPPORTED);
IS(NOT_INITIALIZED, CUDA_ERROR_NOT_INITIALIZED);
IS(INVALID_DEVICE, CUDA_ERROR_INVALID_DEVICE);
IS(ALREADY_REGISTERED, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
IS(NOT_REGISTERED, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
IS(NOT_PERMITTED, CUDA_ERROR_NOT_PERMITTED);
IS(CAPTURE_UNSUPPORTED, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
IS(CAPTURE_INVALIDATED, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
IS(CAPTURE_IMPLICIT, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
IS(CAPTURED_EVENT, CUDA_ERROR_CAPTURED_EVENT);
IS(CAPTURE_WRONG_THREAD, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
IS(MODE_GLOBAL, CU_STREAM_CAPTURE_MODE_GLOBAL);
IS(MODE_THREAD_LOCAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
IS(MODE_RELAXED, CU_STREAM_CAPTURE_MODE_RELAXED);
IS(sizeof(kvtap_cu_pointer), sizeof(uint64_t));

TEST(cuda_abi_is_that_of_the_toolkit)
{
	void *stream = CU_STREAM_LEGACY;

	CHECK(stream == (void *)0x1);
	stream = CU_STREAM_PER_THREAD;
	CHECK(stream == (void *)0x2);
	CHECK(CUDA_VERSION >= 13000);
}
#else
TEST(cuda_abi_is_that_of_the_toolkit)
{
	SKIP("cuda.h is not there");
}
#endif
