/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_driver.h - the CUDA driver and one device of it, loaded at run time
 *
 * What makes copies: memory, streams and the two ways to ask for many. Own declarations, so that it
 * builds without the toolkit. Versions are those of lib/cuda/driver.h; the batch is of 12.8, whose
 * form later headers name no more. Knows nothing of kvtap.
 */
#ifndef KVTAP_BENCH_CUDA_DRIVER_H
#define KVTAP_BENCH_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t cuda_address; /* CUdeviceptr, which host memory has too */

/* CUmemcpyAttributes: of each copy of a batch. Hints are for managed memory only */
struct cuda_copy_attributes {
	int source_order; /* 1: as the stream goes */
	int hint[4];
	unsigned flags;
};

/* X(member, symbol, version, arguments) */
#define CUDA_FUNCTIONS(X)                                                                          \
	X(init, "cuInit", 2000, (unsigned flags))                                                  \
	X(driver_version, "cuDriverGetVersion", 2020, (int *version))                              \
	X(device_get, "cuDeviceGet", 2000, (int *device, int ordinal))                             \
	X(device_name, "cuDeviceGetName", 2000, (char *name, int bytes, int device))               \
	X(device_attribute, "cuDeviceGetAttribute", 2000, (int *value, int attribute, int device)) \
	X(context_retain, "cuDevicePrimaryCtxRetain", 7000, (void **context, int device))          \
	X(context_set, "cuCtxSetCurrent", 4000, (void *context))                                   \
	X(memory_new, "cuMemAlloc", 3020, (cuda_address * address, size_t bytes))                  \
	X(memory_free, "cuMemFree", 3020, (cuda_address address))                                  \
	X(pinned_new, "cuMemAllocHost", 3020, (void **address, size_t bytes))                      \
	X(pinned_free, "cuMemFreeHost", 2000, (void *address))                                     \
	X(stream_new, "cuStreamCreate", 2000, (void **stream, unsigned flags))                     \
	X(stream_free, "cuStreamDestroy", 4000, (void *stream))                                    \
	X(stream_wait, "cuStreamSynchronize", 2000, (void *stream))                                \
	X(copy, "cuMemcpyAsync", 4000,                                                             \
	  (cuda_address to, cuda_address from, size_t bytes, void *stream))

/* These may be missing: members are NULL then. */
#define CUDA_FUNCTIONS_MAYBE(X)                                                                    \
	X(copy_batch, "cuMemcpyBatchAsync", 12080,                                                 \
	  (cuda_address * to, cuda_address * from, size_t * bytes, size_t count,                   \
	   struct cuda_copy_attributes * attributes, size_t * attributes_from,                     \
	   size_t attributes_count, size_t * failed, void *stream))                                \
	X(device_bus, "cuDeviceGetPCIBusId", 4010, (char *bus, int bytes, int device))

enum { /* CUdevice_attribute, CUstream_flags */
       CUDA_CLOCK_KHZ = 13,
       CUDA_MEMORY_CLOCK_KHZ = 36,
       CUDA_COMPUTE_MAJOR = 75,
       CUDA_COMPUTE_MINOR = 76,
       CUDA_STREAM_NON_BLOCKING = 1,
};

struct cuda_driver {
#define CUDA_MEMBER(member, symbol, version, arguments) int(*member) arguments;
	CUDA_FUNCTIONS(CUDA_MEMBER)
	CUDA_FUNCTIONS_MAYBE(CUDA_MEMBER)
#undef CUDA_MEMBER
	int version; /* 1000 * major + 10 * minor */
	int device;
	void *context; /* the device's primary one, never released: the process's end does that */
	char name[128];
	char why[128]; /* there is none */
};

/**
 * cuda_driver_open - load the driver, make the device's primary context this thread's
 * Returns: whether it is there; if not, why says what is missing
 */
int cuda_driver_open(struct cuda_driver *cuda, int ordinal);

#endif
