/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "double_cuda_parts.h"

#define DEVICES 2
#define DRIVER_VERSION 13000

/* ---- devices and contexts ------------------------------------------------------------------ */

int double_current(struct context **context)
{
	const struct thread *thread = double_thread();

	*context = thread->depth > 0 ? thread->stack[thread->depth - 1] : NULL;
	if (!*context)
		return KVTAP_CU_INVALID_CONTEXT;
	return (*context)->object.dead ? KVTAP_CU_CONTEXT_IS_DESTROYED : (*context)->sticky;
}

static int get_device(int *device, int ordinal)
{
	*device = ordinal;
	return ordinal >= 0 && ordinal < DEVICES ? 0 : INVALID_DEVICE;
}

static int device_name(char *name, int bytes, int device)
{
	snprintf(name, (size_t)bytes, "double %d", device);
	return get_device(&device, device);
}

static int device_attribute(int *value, int attribute, int device)
{
	if (attribute < 1 || attribute > 255)
		return KVTAP_CU_INVALID_VALUE;
	*value = state.attribute[attribute];
	return get_device(&device, device);
}

static int make_context(void **handle, int device)
{
	struct thread *thread = double_thread();
	struct context *context;
	int result = get_device(&device, device);

	if (result)
		return result;
	context = double_make(CONTEXT, sizeof(*context), NULL);
	context->device = device;
	*handle = context->object.handle;
	thread->stack[thread->depth++] = context;
	return 0;
}

static int retain_primary(void **handle, int device)
{
	int result = get_device(&device, device);

	if (result)
		return result;
	if (!state.primary[device]) {
		state.primary[device] = double_make(CONTEXT, sizeof(struct context), NULL);
		state.primary[device]->device = device;
	}
	state.primary[device]->retained++;
	*handle = state.primary[device]->object.handle;
	return 0;
}

/* With all that is in it. */
static void bury(struct context *context)
{
	size_t i;

	context->object.dead = true;
	for (i = 0; i < state.objects; i++)
		if (state.object[i]->context == context)
			state.object[i]->dead = true;
}

static int release_primary(int device)
{
	int result = get_device(&device, device);

	if (result || !state.primary[device])
		return result ? result : KVTAP_CU_INVALID_CONTEXT;
	if (--state.primary[device]->retained == 0) {
		bury(state.primary[device]);
		state.primary[device] = NULL;
	}
	return 0;
}

static int destroy_context(void *handle)
{
	struct thread *thread = double_thread();
	struct context *context;
	int result = double_find(&context, handle, CONTEXT);

	if (result)
		return result;
	bury(context);
	if (thread->depth > 0 && thread->stack[thread->depth - 1] == context)
		thread->depth--;
	return 0;
}

static int get_current(void **handle)
{
	struct context *context;

	double_current(&context);
	*handle = context ? context->object.handle : NULL;
	return 0;
}

static int push_current(void *handle)
{
	struct thread *thread = double_thread();
	struct context *context;
	int result = double_find(&context, handle, CONTEXT);

	if (!result && thread->depth == sizeof(thread->stack) / sizeof(*thread->stack))
		result = KVTAP_CU_INVALID_VALUE;
	if (!result)
		thread->stack[thread->depth++] = context;
	return result;
}

static int pop_current(void **handle)
{
	struct thread *thread = double_thread();

	if (thread->depth == 0)
		return KVTAP_CU_INVALID_CONTEXT;
	if (handle)
		get_current(handle);
	thread->depth--;
	return 0;
}

static int set_current(void *handle)
{
	struct context *context;
	int result = handle ? double_find(&context, handle, CONTEXT) : 0;

	if (!result && double_thread()->depth > 0)
		double_thread()->depth--;
	return result || !handle ? result : push_current(handle);
}

static int context_device(int *device)
{
	struct context *context;
	int result = double_current(&context);

	if (context)
		*device = context->device;
	return context && context->sticky ? 0 : result;
}

static int synchronize_context(void)
{
	struct context *context;
	int result = double_current(&context);
	size_t i;

	result = result ? result : double_unsafe();
	for (i = 0; i < state.objects && !result; i++)
		if (state.object[i]->kind == STREAM && state.object[i]->context == context)
			result = double_drain((struct stream *)state.object[i]);
	return result;
}

kvtap_cu_result cuInit(unsigned flags)
{
	int result = double_enter(AT_cuInit);
	bool first = !result && !state.ready;

	state.ready |= first;
	result = double_leave(result ? result : (int)flags);
	if (first)
		double_inject();
	return result;
}

DOUBLE_CALL(cuDriverGetVersion, (int *version), (*version = DRIVER_VERSION, 0))
DOUBLE_CALL(cuDeviceGet, (int *device, int ordinal), get_device(device, ordinal))
DOUBLE_CALL(cuDeviceGetCount, (int *count), (*count = DEVICES, 0))
DOUBLE_CALL(cuDeviceGetName, (char *name, int bytes, int device), device_name(name, bytes, device))
DOUBLE_CALL(cuDeviceGetAttribute, (int *value, int attribute, int device),
	    device_attribute(value, attribute, device))
DOUBLE_CALL(cuDevicePrimaryCtxRetain, (void **context, int device), retain_primary(context, device))
DOUBLE_CALL(cuDevicePrimaryCtxRelease_v2, (int device), release_primary(device))
DOUBLE_CALL(cuCtxCreate_v2, (void **context, unsigned flags, int device),
	    ((void)flags, make_context(context, device)))
DOUBLE_CALL(cuCtxCreate_v4, (void **context, void *parameters, unsigned flags, int device),
	    ((void)parameters, (void)flags, make_context(context, device)))
DOUBLE_CALL(cuCtxDestroy_v2, (void *context), destroy_context(context))
DOUBLE_CALL(cuCtxGetCurrent, (void **context), get_current(context))
DOUBLE_CALL(cuCtxSetCurrent, (void *context), set_current(context))
DOUBLE_CALL(cuCtxPushCurrent_v2, (void *context), push_current(context))
DOUBLE_CALL(cuCtxPopCurrent_v2, (void **context), pop_current(context))
DOUBLE_CALL(cuCtxGetDevice, (int *device), context_device(device))
DOUBLE_CALL(cuCtxSynchronize, (void), synchronize_context())

/* ---- memory -------------------------------------------------------------------------------- */

/* Memory of a kind that has an address; @inside: or that it is in. */
static struct memory *find_memory(enum kind kind, const void *address, bool inside)
{
	struct memory *memory;
	size_t i;

	for (i = 0; i < state.objects; i++) {
		memory = (struct memory *)state.object[i];
		if (state.object[i]->kind == kind && !state.object[i]->dead &&
		    (memory->address == address ||
		     (inside && (uintptr_t)address - (uintptr_t)memory->address < memory->bytes)))
			return memory;
	}
	return NULL;
}

bool double_on_device(const void *address)
{
	return find_memory(MEMORY, address, true);
}

static int allocate(enum kind kind, void **address, size_t bytes)
{
	struct context *context;
	struct memory *memory;
	int result = double_current(&context);

	result = result ? result : double_unsafe();
	if (result || bytes == 0)
		return result ? result : KVTAP_CU_INVALID_VALUE;
	memory = double_make(kind, sizeof(*memory), context);
	memory->bytes = bytes;
	memory->address = aligned_alloc(256, (bytes + 255) / 256 * 256);
	if (!memory->address)
		abort();
	*address = memory->address;
	return 0;
}

static int allocate_device(uint64_t *address, size_t bytes)
{
	void *memory;
	int result = allocate(MEMORY, &memory, bytes);

	if (!result)
		*address = (uintptr_t)memory;
	return result;
}

/* The address is not given to anybody else before reset: late use is use of freed memory. */
static int give_back(enum kind kind, void *address)
{
	struct memory *memory = find_memory(kind, address, false);
	struct context *context;
	int result = double_current(&context);

	result = result ? result : double_unsafe();
	if (result || !memory)
		return result ? result : KVTAP_CU_INVALID_VALUE;
	free(memory->address);
	memory->address = NULL;
	memory->object.dead = true;
	return 0;
}

static int register_memory(void *address, size_t bytes)
{
	struct context *context;
	struct memory *memory;
	int result = double_current(&context);

	result = result ? result : double_unsafe();
	if (result || !address || bytes == 0)
		return result ? result : KVTAP_CU_INVALID_VALUE;
	if (find_memory(REGISTERED, address, true))
		return ALREADY_REGISTERED;
	memory = double_make(REGISTERED, sizeof(*memory), context);
	memory->address = address;
	memory->bytes = bytes;
	return 0;
}

static int unregister_memory(void *address)
{
	struct memory *memory = find_memory(REGISTERED, address, false);
	struct context *context;
	int result = double_current(&context);

	result = result ? result : double_unsafe();
	if (result || !memory)
		return result ? result : NOT_REGISTERED;
	memory->object.dead = true;
	return 0;
}

static int device_pointer(uint64_t *address, void *host)
{
	struct context *context;
	int result = double_current(&context);

	if (!result && !find_memory(REGISTERED, host, true) &&
	    !find_memory(HOST_MEMORY, host, true))
		result = KVTAP_CU_INVALID_VALUE;
	*address = (uintptr_t)host;
	return result;
}

static int copy(void *to, const void *from, size_t bytes, void *stream)
{
	struct work work = { .kind = COPY, .to = to, .from = from, .bytes = bytes };

	return double_submit(stream, &work);
}

/* By hand, nobody would move the clock meanwhile. */
static int copy_now(void *to, const void *from, size_t bytes)
{
	struct stream *stream;
	int result = double_unsafe();

	result = result ? result : double_stream(&stream, NULL);
	if (!result && state.manual)
		memcpy(to, from, bytes);
	if (result || state.manual)
		return result;
	result = copy(to, from, bytes, NULL);
	return result ? result : double_drain(stream);
}

static int copy_batch(uint64_t *to, uint64_t *from, size_t *bytes, size_t count, void *stream)
{
	int result = (uintptr_t)stream < 2 || count == 0 ? KVTAP_CU_INVALID_VALUE : 0;
	size_t i;

	for (i = 0; i < count && !result; i++)
		result = copy((void *)to[i], (void *)from[i], bytes[i], stream);
	return result;
}

DOUBLE_CALL(cuMemAlloc_v2, (uint64_t * address, size_t bytes), allocate_device(address, bytes))
DOUBLE_CALL(cuMemFree_v2, (uint64_t address), give_back(MEMORY, (void *)address))
DOUBLE_CALL(cuMemAllocHost_v2, (void **address, size_t bytes),
	    allocate(HOST_MEMORY, address, bytes))
DOUBLE_CALL(cuMemFreeHost, (void *address), give_back(HOST_MEMORY, address))
DOUBLE_CALL(cuMemHostRegister_v2, (void *address, size_t bytes, unsigned flags),
	    ((void)flags, register_memory(address, bytes)))
DOUBLE_CALL(cuMemHostUnregister, (void *address), unregister_memory(address))
DOUBLE_CALL(cuMemHostGetDevicePointer_v2, (uint64_t * address, void *host, unsigned flags),
	    ((void)flags, device_pointer(address, host)))
DOUBLE_CALL(cuMemcpyAsync, (uint64_t to, uint64_t from, size_t bytes, void *stream),
	    copy((void *)to, (void *)from, bytes, stream))
DOUBLE_CALL(cuMemcpyHtoD_v2, (uint64_t to, const void *from, size_t bytes),
	    copy_now((void *)to, from, bytes))
DOUBLE_CALL(cuMemcpyHtoDAsync_v2, (uint64_t to, const void *from, size_t bytes, void *stream),
	    copy((void *)to, from, bytes, stream))
DOUBLE_CALL(cuMemcpyDtoH_v2, (void *to, uint64_t from, size_t bytes),
	    copy_now(to, (void *)from, bytes))
DOUBLE_CALL(cuMemcpyDtoHAsync_v2, (void *to, uint64_t from, size_t bytes, void *stream),
	    copy(to, (void *)from, bytes, stream))
DOUBLE_CALL(cuMemcpyBatchAsync,
	    (uint64_t * to, uint64_t *from, size_t *bytes, size_t count, void *attributes,
	     size_t *attribute_at, size_t attribute_count, size_t *failed, void *stream),
	    ((void)attributes, (void)attribute_at, (void)attribute_count, *failed = SIZE_MAX,
	     copy_batch(to, from, bytes, count, stream)))
DOUBLE_CALL(cuMemcpyBatchAsync_v2,
	    (uint64_t * to, uint64_t *from, size_t *bytes, size_t count, void *attributes,
	     size_t *attribute_at, size_t attribute_count, void *stream),
	    ((void)attributes, (void)attribute_at, (void)attribute_count,
	     copy_batch(to, from, bytes, count, stream)))

/* ---- modules ------------------------------------------------------------------------------- */

static int load_module(void **handle, const void *image)
{
	struct context *context;
	int result = double_current(&context);

	result = result ? result : double_unsafe();
	if (result || !image)
		return result ? result : KVTAP_CU_INVALID_VALUE;
	*handle = ((struct object *)double_make(MODULE, sizeof(struct object), context))->handle;
	return 0;
}

static int unload_module(void *handle)
{
	struct object *module;
	int result = double_find(&module, handle, MODULE);

	if (!result)
		module->dead = true;
	return result;
}

static int find_kernel(void **handle, void *module_handle, const char *name)
{
	struct object *module;
	int result = double_find(&module, module_handle, MODULE);
	size_t i;

	for (i = 0; i < state.objects && !result; i++) {
		if (state.object[i]->kind != FUNCTION ||
		    strcmp(((struct kernel *)state.object[i])->name, name) != 0)
			continue;
		*handle = state.object[i]->handle;
		return 0;
	}
	return result ? result : KVTAP_CU_NOT_FOUND;
}

static int launch(void *handle, void *stream, void **arguments, void **extra)
{
	struct work work = { .kind = KERNEL };
	int result = double_find(&work.kernel, handle, FUNCTION);
	size_t i, at = 0;

	if (result || extra)
		return result ? result : KVTAP_CU_INVALID_VALUE;
	for (i = 0; i < work.kernel->count; i++) {
		memcpy(&work.argument[at], arguments[i], work.kernel->size[i]);
		at += (work.kernel->size[i] + 7) / 8;
	}
	return double_submit(stream, &work);
}

DOUBLE_CALL(cuModuleLoadData, (void **module, const void *image), load_module(module, image))
DOUBLE_CALL(cuModuleUnload, (void *module), unload_module(module))
DOUBLE_CALL(cuModuleGetFunction, (void **function, void *module, const char *name),
	    find_kernel(function, module, name))
DOUBLE_CALL(cuLaunchKernel,
	    (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
	     unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
	     void **arguments, void **extra),
	    ((void)shared_bytes, grid_x *grid_y *grid_z *block_x *block_y *block_z == 0
					 ? KVTAP_CU_INVALID_VALUE
					 : launch(function, stream, arguments, extra)))
