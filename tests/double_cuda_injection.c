/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As the driver does, cuInit loads the library that CUDA_INJECTION64_PATH names. If that has loaded
 * the double of CUPTI, it is told of each copy.
 */
#include <dlfcn.h>
#include <stdlib.h>

#include "double_cuda_parts.h"
#include "double_cupti.h"

enum { TO_DEVICE = 1, TO_HOST = 2, ON_DEVICE = 8 }; /* CUpti_ActivityMemcpyKind */
enum { PINNED = 2, DEVICE = 3 };		    /* CUpti_ActivityMemoryKind */

static const struct double_cupti *cupti;

void double_inject(void)
{
	const char *path = getenv("CUDA_INJECTION64_PATH");
	void *library = path ? dlopen(path, RTLD_NOW) : NULL;
	const struct double_cupti *(*control)(void) = NULL;
	int (*initialise)(void) = NULL;

	if (library)
		*(void **)&initialise = dlsym(library, "InitializeInjection");
	if (!initialise || initialise() != 1)
		return;
	library = dlopen("libcupti.so.13", RTLD_NOW | RTLD_NOLOAD);
	if (library)
		*(void **)&control = dlsym(library, "double_cupti_control");
	cupti = control ? control() : NULL;
}

void double_tell_copy(const struct work *work, uint64_t end_ns)
{
	bool to_device, from_device;
	uint64_t ns = state.rate > 0 ? (uint64_t)((double)work->bytes / state.rate) : 0;

	if (!cupti)
		return;
	to_device = double_on_device(work->to);
	from_device = double_on_device(work->from);
	cupti->copy((struct double_copy){ .kind = !from_device ? TO_DEVICE
						  : to_device  ? ON_DEVICE
							       : TO_HOST,
					  .source = from_device ? DEVICE : PINNED,
					  .target = to_device ? DEVICE : PINNED,
					  .bytes = work->bytes,
					  .start = end_ns - ns,
					  .end = end_ns,
					  .count = 1 });
}
