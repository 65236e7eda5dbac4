/* SPDX-License-Identifier: Apache-2.0 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "double_cuda.h"
#include "double_cuda_parts.h"

#define HANDLE_FIRST 0x10000 /* above the default streams' */
#define HANDLE_STEP 16
#define FOR_EVER UINT64_MAX

struct state state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct function {
	const char *symbol, *name;
	int version;
	void *address;
	bool hidden;
	uint64_t calls;
	int fails;
	uint64_t fails_left;
} functions[] = {
#define FUNCTION(symbol, name, version, arguments)                                                 \
	{ #symbol, #name, version, (void *)(uintptr_t)symbol, false, 0, 0, 0 },
	DOUBLE_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

/* The next function whose name fits; @at: where to look first. */
static struct function *next_function(size_t *at, const char *pattern)
{
	while (*at < DOUBLE_FUNCTION_COUNT)
		if (fnmatch(pattern, functions[(*at)++].name, 0) == 0)
			return &functions[*at - 1];
	return NULL;
}

void double_violation(const char *what)
{
	state.violations++;
	fprintf(stderr, "double of libcuda: violation: %s\n", what);
}

struct thread *double_thread(void)
{
	static __thread struct thread thread;

	if (thread.generation != state.generation || thread.id == 0) {
		thread = (struct thread){ .generation = state.generation };
		thread.id = ++state.threads;
	}
	return &thread;
}

static int may_enter(struct function *function)
{
	char text[128];

	if (state.forked || double_thread()->called_back) {
		snprintf(text, sizeof(text), "%s in a %s", function->name,
			 state.forked ? "child of a process that uses CUDA" : "host function");
		double_violation(text);
		return state.forked ? NOT_INITIALIZED : NOT_PERMITTED;
	}
	if (state.gone)
		return KVTAP_CU_DEINITIALIZED;
	if (function->fails_left > 0) {
		if (function->fails_left != FOR_EVER)
			function->fails_left--;
		return function->fails;
	}
	if (!state.ready && function != &functions[AT_cuInit] &&
	    function != &functions[AT_cuGetProcAddress_v2] &&
	    function != &functions[AT_cuDriverGetVersion])
		return NOT_INITIALIZED;
	return 0;
}

int double_enter(int function)
{
	pthread_mutex_lock(&state.lock);
	functions[function].calls++;
	return may_enter(&functions[function]);
}

int double_leave(int result)
{
	pthread_mutex_unlock(&state.lock);
	return result;
}

void *double_make(enum kind kind, size_t bytes, struct context *context)
{
	struct object *object = calloc(1, bytes);

	if (state.objects == state.room) {
		state.room = state.room ? 2 * state.room : 256;
		state.object = realloc(state.object, state.room * sizeof(*state.object));
	}
	if (!object || !state.object)
		abort();
	object->kind = kind;
	object->context = context;
	object->handle = (void *)(uintptr_t)(HANDLE_FIRST + HANDLE_STEP * state.objects);
	state.object[state.objects++] = object;
	return object;
}

int double_find(void *object, void *handle, enum kind kind)
{
	uint64_t at = ((uintptr_t)handle - HANDLE_FIRST) / HANDLE_STEP;
	struct object *found;

	if ((uintptr_t)handle < HANDLE_FIRST || (uintptr_t)handle % HANDLE_STEP != 0 ||
	    at >= state.objects || state.object[at]->kind != kind)
		return kind == CONTEXT ? KVTAP_CU_INVALID_CONTEXT : KVTAP_CU_INVALID_HANDLE;
	found = state.object[at];
	*(void **)object = found;
	if (kind == CONTEXT)
		return found->dead ? KVTAP_CU_CONTEXT_IS_DESTROYED : 0;
	if (found->dead) {
		double_violation("use of a destroyed handle");
		return found->context && found->context->object.dead ? KVTAP_CU_CONTEXT_IS_DESTROYED
								     : KVTAP_CU_INVALID_HANDLE;
	}
	return found->context ? found->context->sticky : 0;
}

kvtap_cu_result cuGetProcAddress_v2(const char *symbol, void **function, int version,
				    uint64_t flags, cu_query_status *status)
{
	const struct function *found = NULL;
	int result = double_enter(AT_cuGetProcAddress_v2), why = 1; /* there is none */
	size_t i;

	(void)flags;
	*function = NULL;
	for (i = 0; i < DOUBLE_FUNCTION_COUNT && !result; i++) {
		if (strcmp(functions[i].name, symbol) != 0 || functions[i].hidden)
			continue;
		why = found || functions[i].version <= version ? 0 : 2; /* too new */
		if (functions[i].version <= version &&
		    (!found || functions[i].version > found->version))
			found = &functions[i];
	}
	if (found)
		*function = found->address;
	if (status)
		*status = why;
	return double_leave(result ? result : found ? 0 : KVTAP_CU_NOT_FOUND);
}

/* ---- controls ------------------------------------------------------------------------------ */

static void reset(void)
{
	struct object *object;
	size_t i;

	double_stop_thread();
	pthread_mutex_lock(&state.lock);
	for (i = 0; i < state.objects; i++) {
		object = state.object[i];
		if (object->kind == STREAM)
			double_drop(&((struct stream *)object)->queue);
		if (object->kind == GRAPH)
			double_drop(&((struct graph *)object)->queue);
		if (object->kind == MEMORY || object->kind == HOST_MEMORY)
			free(((struct memory *)object)->address);
		free(object);
	}
	free(state.object);
	state.object = NULL;
	state.objects = state.room = 0;
	for (i = 0; i < DOUBLE_FUNCTION_COUNT; i++) {
		functions[i].hidden = false;
		functions[i].calls = functions[i].fails_left = 0;
	}
	state.manual = state.ready = false;
	state.rate = 0;
	state.violations = state.manual_ns = 0;
	memset(state.primary, 0, sizeof(state.primary));
	memset(state.attribute, 0, sizeof(state.attribute));
	state.attribute[16] = 4; /* multiprocessors */
	state.attribute[19] = 1; /* can map host memory */
	state.attribute[41] = 1; /* unified addressing */
	state.attribute[75] = 9; /* compute capability 9.0 */
	state.attribute[91] = 1; /* registered memory has its host address */
	state.attribute[99] = 1; /* memory can be registered */
	state.generation++;
	pthread_mutex_unlock(&state.lock);
}

static void set_manual(bool manual)
{
	pthread_mutex_lock(&state.lock);
	state.manual_ns = double_now();
	state.manual = manual;
	pthread_cond_broadcast(&state.change);
	pthread_mutex_unlock(&state.lock);
}

static void advance(uint64_t ns)
{
	pthread_mutex_lock(&state.lock);
	state.manual_ns += ns;
	double_run_due(state.manual_ns);
	pthread_mutex_unlock(&state.lock);
}

static uint64_t now(void)
{
	uint64_t now_ns;

	pthread_mutex_lock(&state.lock);
	now_ns = double_now();
	pthread_mutex_unlock(&state.lock);
	return now_ns;
}

static void set_rate(double bytes_a_ns)
{
	pthread_mutex_lock(&state.lock);
	state.rate = bytes_a_ns;
	pthread_mutex_unlock(&state.lock);
}

static void set_attribute(int attribute, int value)
{
	pthread_mutex_lock(&state.lock);
	state.attribute[attribute] = value;
	pthread_mutex_unlock(&state.lock);
}

static void fail(const char *pattern, int result, int times)
{
	struct function *function;
	size_t at = 0;

	pthread_mutex_lock(&state.lock);
	while ((function = next_function(&at, pattern))) {
		function->fails = result;
		function->fails_left = times < 0 ? FOR_EVER : (uint64_t)times;
	}
	pthread_mutex_unlock(&state.lock);
}

static void hide(const char *pattern)
{
	struct function *function;
	size_t at = 0;

	pthread_mutex_lock(&state.lock);
	while ((function = next_function(&at, pattern)))
		function->hidden = true;
	pthread_mutex_unlock(&state.lock);
}

static void stick(void *handle, int result)
{
	struct context *context;

	pthread_mutex_lock(&state.lock);
	if (double_find(&context, handle, CONTEXT) == 0)
		context->sticky = result;
	pthread_cond_broadcast(&state.change);
	pthread_mutex_unlock(&state.lock);
}

static uint64_t calls(const char *pattern)
{
	const struct function *function;
	uint64_t sum = 0;
	size_t at = 0;

	pthread_mutex_lock(&state.lock);
	while ((function = next_function(&at, pattern)))
		sum += function->calls;
	pthread_mutex_unlock(&state.lock);
	return sum;
}

static uint64_t violations(void)
{
	uint64_t count;

	pthread_mutex_lock(&state.lock);
	count = state.violations;
	pthread_mutex_unlock(&state.lock);
	return count;
}

static uint64_t live_events(void)
{
	const struct object *object;
	uint64_t live = 0;
	size_t i;

	pthread_mutex_lock(&state.lock);
	for (i = 0; i < state.objects; i++) {
		object = state.object[i];
		live += object->kind == EVENT && !object->dead && !object->context->sticky;
	}
	pthread_mutex_unlock(&state.lock);
	return live;
}

static void set_kernel(const char *name, void (*function)(void **arguments), const size_t *sizes)
{
	struct kernel *kernel;

	pthread_mutex_lock(&state.lock);
	kernel = double_make(FUNCTION, sizeof(*kernel), NULL);
	snprintf(kernel->name, sizeof(kernel->name), "%s", name);
	kernel->run = function;
	while (sizes[kernel->count] > 0 && kernel->count < 16) {
		kernel->size[kernel->count] = sizes[kernel->count];
		kernel->count++;
	}
	pthread_mutex_unlock(&state.lock);
}

__attribute__((visibility("default"))) const struct double_cuda *double_cuda_control(void)
{
	static const struct double_cuda control = {
		reset, set_manual, advance, now,	set_rate,    set_attribute, fail,
		hide,  stick,	   calls,   violations, live_events, set_kernel,
	};

	return &control;
}

/* ---- the process's life -------------------------------------------------------------------- */

static void before_fork(void)
{
	pthread_mutex_lock(&state.lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&state.lock);
}

static void in_child(void)
{
	state.forked = state.ready;
	state.thread_runs = false;
	pthread_mutex_unlock(&state.lock);
}

__attribute__((constructor)) static void load(void)
{
	const char *lost = getenv("DOUBLE_CUDA_LOSE"), *failing = getenv("DOUBLE_CUDA_FAIL");
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&state.change, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_atfork(before_fork, after_fork, in_child);
	reset();
	state.lost_copy = lost ? strtoull(lost, NULL, 10) : 0;
	if (failing)
		fail(failing, 999, -1);
}

__attribute__((destructor)) static void deinitialise(void)
{
	pthread_mutex_lock(&state.lock);
	state.gone = true;
	pthread_mutex_unlock(&state.lock);
}
