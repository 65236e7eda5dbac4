/* SPDX-License-Identifier: Apache-2.0 */
#include "support_cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

/* $BUILD/tests/test_x -> $BUILD/doubles/libcuda.so.1 */
static void *load(void)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 64);
	char *slash;
	int up;

	CHECK(length > 0);
	path[length] = '\0';
	for (up = 0; up < 2; up++) {
		slash = strrchr(path, '/');
		CHECK(slash != NULL);
		*slash = '\0';
	}
	strcat(path, "/doubles/libcuda.so.1");
	return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
}

const struct double_cuda *cuda_double(struct cuda_api *cu)
{
	const struct double_cuda *(*control)(void);
	void *library = load();

	if (!library)
		test_fail(__FILE__, __LINE__, "%s", dlerror());
#define FIND(symbol, name, version, arguments)                                                     \
	*(void **)&cu->symbol = dlsym(library, #symbol);                                           \
	CHECK(cu->symbol != NULL);
	DOUBLE_FUNCTIONS(FIND)
#undef FIND
	*(void **)&control = dlsym(library, "double_cuda_control");
	CHECK_EQ(cu->cuInit(0), 0);
	return control();
}
