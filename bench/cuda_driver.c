/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_driver.c - see cuda_driver.h */
#include "cuda_driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

typedef int get_function(const char *symbol, void *function, int version, uint64_t flags,
			 int *found);

static int missing(struct cuda_driver *cuda, const char *what, int result)
{
	if (result)
		snprintf(cuda->why, sizeof(cuda->why), "%s: CUDA error %d", what, result);
	else
		snprintf(cuda->why, sizeof(cuda->why), "%s", what);
	return 0;
}

static int find_functions(struct cuda_driver *cuda, get_function *get)
{
	int found;

#define FIND(member, symbol, version, arguments)                                                   \
	if (get(symbol, &cuda->member, version, 0, &found) != 0 || !cuda->member)                  \
		return missing(cuda, symbol " in " LIBRARY, 0);
#define FIND_MAYBE(member, symbol, version, arguments)                                             \
	if (get(symbol, &cuda->member, version, 0, &found) != 0)                                   \
		cuda->member = NULL;
	CUDA_FUNCTIONS(FIND)
	CUDA_FUNCTIONS_MAYBE(FIND_MAYBE)
#undef FIND
#undef FIND_MAYBE
	return 1;
}

int cuda_driver_open(struct cuda_driver *cuda, int ordinal)
{
	get_function *get = NULL;
	int result;

	memset(cuda, 0, sizeof(*cuda));
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_GLOBAL);
	if (!library)
		return missing(cuda, LIBRARY, 0);
	*(void **)&get = dlsym(library, "cuGetProcAddress_v2");
	if (!get)
		return missing(cuda, "a driver of CUDA 12", 0);
	if (!find_functions(cuda, get))
		return 0;
	result = cuda->init(0);
	if (result)
		return missing(cuda, "cuInit", result);
	result = cuda->device_get(&cuda->device, ordinal);
	if (!result)
		result = cuda->context_retain(&cuda->context, cuda->device);
	if (!result)
		result = cuda->context_set(cuda->context);
	if (result)
		return missing(cuda, "a context of the device", result);
	cuda->driver_version(&cuda->version);
	cuda->device_name(cuda->name, sizeof(cuda->name), cuda->device);
	return 1;
}
