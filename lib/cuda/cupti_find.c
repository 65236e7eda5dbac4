/* SPDX-License-Identifier: Apache-2.0 */
#include "cupti_find.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

static const char *const sonames[] = { "libcupti.so.13", "libcupti.so.12" };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct runtime {
	char folder[3072]; /* of libcudart; "": the process has none of its own */
	char major[8];
};

/* Only notes the path: the loader is locked in here. */
static int note_runtime(struct dl_phdr_info *info, size_t bytes, void *argument)
{
	struct runtime *runtime = argument;
	const char *name = strrchr(info->dlpi_name, '/');
	unsigned major;

	(void)bytes;
	if (!name || sscanf(name, "/libcudart.so.%u", &major) != 1 || major > 999 ||
	    (size_t)(name - info->dlpi_name) >= sizeof(runtime->folder))
		return 0;
	memcpy(runtime->folder, info->dlpi_name, (size_t)(name - info->dlpi_name));
	snprintf(runtime->major, sizeof(runtime->major), "%u", major);
	return 1;
}

static void *beside_runtime(void)
{
	static const char *const places[] = { "", "/../extras/CUPTI/lib64",
					      "/../../cuda_cupti/lib" };
	struct runtime runtime = { "", "" };
	char path[4096];
	void *library = NULL;

	if (!dl_iterate_phdr(note_runtime, &runtime))
		return NULL;
	for (size_t i = 0; i < COUNT(places) && !library; i++) {
		snprintf(path, sizeof(path), "%s%s/libcupti.so.%s", runtime.folder, places[i],
			 runtime.major);
		library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	}
	return library;
}

static void *by_soname(int flags)
{
	void *library = NULL;

	for (size_t i = 0; i < COUNT(sonames) && !library; i++)
		library = dlopen(sonames[i], RTLD_NOW | RTLD_LOCAL | flags);
	return library;
}

const char *kvtap_cupti_find(struct kvtap_cupti *cupti)
{
	void *library = by_soname(RTLD_NOLOAD);

	if (!library)
		library = beside_runtime();
	if (!library)
		library = by_soname(0);
	if (!library)
		return "no_libcupti";
		/* the form that POSIX gives for a function out of dlsym */
#define FIND(member, symbol, arguments)                                                            \
	*(void **)&cupti->member = dlsym(library, symbol);                                         \
	if (!cupti->member)                                                                        \
		return "old_libcupti";
	KVTAP_CUPTI_FUNCTIONS(FIND)
#undef FIND
	if (cupti->get_version(&cupti->version) != KVTAP_CUPTI_SUCCESS)
		return "old_libcupti";
	return NULL;
}
