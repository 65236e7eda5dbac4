/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

#include <errno.h>
#include <string.h>

/* The text is in this file, so that there is nothing to find at run time; it ends with a NUL. */
__asm__(".pushsection .rodata\n"
	".globl kvtap_kernels_ptx\n"
	".hidden kvtap_kernels_ptx\n"
	"kvtap_kernels_ptx:\n"
	".incbin \"lib/cuda/marker.ptx\"\n"
	".byte 0\n"
	".popsection\n");
extern const char kvtap_kernels_ptx[] __attribute__((visibility("hidden")));

static int error_of(kvtap_cu_result result)
{
	switch (result) {
	case KVTAP_CU_SUCCESS:
		return 0;
	case KVTAP_CU_OUT_OF_MEMORY:
		return -ENOMEM;
	case KVTAP_CU_INVALID_IMAGE:
	case KVTAP_CU_NO_BINARY_FOR_GPU:
	case KVTAP_CU_INVALID_PTX:
	case KVTAP_CU_JIT_COMPILER_NOT_FOUND:
	case KVTAP_CU_UNSUPPORTED_PTX_VERSION:
	case KVTAP_CU_JIT_COMPILATION_DISABLED:
	case KVTAP_CU_NOT_FOUND:
	case KVTAP_CU_NOT_SUPPORTED:
		return -ENOTSUP;
	default:
		return -EIO;
	}
}

static kvtap_cu_result load(const struct kvtap_cu *cu, struct kvtap_kernels *kernels)
{
	kvtap_cu_result result = cu->module_load_data(&kernels->module, kvtap_kernels_ptx);
	const struct {
		kvtap_cu_function *function;
		const char *name;
	} named[] = {
		{ &kernels->marker_begin, "kvtap_marker_begin" },
		{ &kernels->marker_end, "kvtap_marker_end" },
		{ &kernels->calibrate, "kvtap_calibrate" },
	};

	if (result != KVTAP_CU_SUCCESS)
		kernels->module = NULL;
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]) && result == KVTAP_CU_SUCCESS; i++)
		result = cu->module_get_function(named[i].function, kernels->module, named[i].name);
	return result;
}

int kvtap_kernels_load(const struct kvtap_cu *cu, struct kvtap_kernels *kernels,
		       kvtap_cu_result *result)
{
	memset(kernels, 0, sizeof(*kernels));
	kvtap_cu_result said = load(cu, kernels);

	if (said != KVTAP_CU_SUCCESS)
		kvtap_kernels_unload(cu, kernels);
	if (result)
		*result = said;
	return error_of(said);
}

void kvtap_kernels_unload(const struct kvtap_cu *cu, struct kvtap_kernels *kernels)
{
	if (kernels->module)
		cu->module_unload(kernels->module);
	memset(kernels, 0, sizeof(*kernels));
}

kvtap_cu_result kvtap_kernels_launch(const struct kvtap_cu *cu, kvtap_cu_function function,
				     kvtap_cu_stream stream, void **arguments)
{
	return cu->launch_kernel(function, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL);
}
