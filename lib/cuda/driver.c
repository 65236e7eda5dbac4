/* SPDX-License-Identifier: Apache-2.0 */
/* driver.c - find the functions of driver.h in the driver that the process has loaded */
#include "driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

/* of CUDA 12, and of 11.3: flags 0 ask for the functions whose default stream is the legacy one */
typedef kvtap_cu_result (*get_v2)(const char *, void **, int, uint64_t, int *);
typedef kvtap_cu_result (*get_v1)(const char *, void **, int, uint64_t);

struct finder {
	get_v2 get_v2;
	get_v1 get_v1;
};

/* POSIX has dlsym give a function as an object's address; C has no conversion for that. */
static void look_up(void *function, void *library, const char *name)
{
	void *address = dlsym(library, name);

	memcpy(function, &address, sizeof(address));
}

static void *find(const struct finder *finder, const char *symbol, int version)
{
	void *function = NULL;
	int status = 0;
	kvtap_cu_result result = finder->get_v2
					 ? finder->get_v2(symbol, &function, version, 0, &status)
					 : finder->get_v1(symbol, &function, version, 0);

	return result == KVTAP_CU_SUCCESS ? function : NULL;
}

int kvtap_cu_find(struct kvtap_cu *cu, const char **missing)
{
	/* held for good: the functions must not go while a thread may be in one */
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
	struct finder finder;
	void *function;

	*missing = NULL;
	if (!library)
		return -ENOSYS;
	look_up(&finder.get_v2, library, "cuGetProcAddress_v2");
	look_up(&finder.get_v1, library, "cuGetProcAddress");
	*missing = "cuGetProcAddress";
	if (!finder.get_v2 && !finder.get_v1)
		return -ENOSYS;
#define FIND(member, symbol, version, arguments)                                                   \
	*missing = #symbol;                                                                        \
	function = find(&finder, #symbol, version);                                                \
	if (!function)                                                                             \
		return -ENOSYS;                                                                    \
	memcpy(&cu->member, &function, sizeof(function));
	KVTAP_CU_FUNCTIONS(FIND)
#undef FIND
	*missing = NULL;
	return 0;
}
