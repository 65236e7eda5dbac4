/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context.c - the contexts whose streams have been seen
 *
 * Contexts are never made or retained here, and what was current stays so. A context is found dead
 * by what the driver says; a handle that is used again for another one then gets another entry.
 */
#include <stdlib.h>

#include "span.h"

#define STREAM_LEGACY ((kvtap_cu_stream)0x1)
#define CAPTURE_RELAXED 2

kvtap_cu_result kvtap_context_of(struct kvtap_cuda *cuda, kvtap_cu_stream *stream,
				 kvtap_cu_context *handle)
{
	kvtap_cu_result result;

	if (!*stream)
		*stream = STREAM_LEGACY;
	*handle = NULL;
	result = cuda->cu.stream_get_ctx(*stream, handle);
	return result == KVTAP_CU_SUCCESS && !*handle ? KVTAP_CU_INVALID_CONTEXT : result;
}

kvtap_cu_result kvtap_context_enter(struct kvtap_cuda *cuda, kvtap_cu_context handle, bool *pushed)
{
	kvtap_cu_context current = NULL;
	kvtap_cu_result result = cuda->cu.ctx_get_current(&current);

	*pushed = false;
	if (result || current == handle)
		return result;
	result = cuda->cu.ctx_push_current(handle);
	*pushed = result == KVTAP_CU_SUCCESS;
	return result;
}

void kvtap_context_leave(struct kvtap_cuda *cuda, bool pushed)
{
	kvtap_cu_context ignored;

	if (pushed)
		cuda->cu.ctx_pop_current(&ignored);
}

/* Its handles may be named: a destroyed context can be current still, but has no device. */
kvtap_cu_result kvtap_context_check(struct kvtap_cuda *cuda)
{
	kvtap_cu_device ignored;

	return cuda->cu.ctx_get_device(&ignored);
}

/* In the default mode, a query by any thread breaks the capture of any other. */
kvtap_cu_result kvtap_context_relax(struct kvtap_cuda *cuda, int *mode)
{
	*mode = CAPTURE_RELAXED;
	return cuda->cu.thread_exchange_stream_capture_mode(mode);
}

void kvtap_context_restore(struct kvtap_cuda *cuda, int mode)
{
	cuda->cu.thread_exchange_stream_capture_mode(&mode);
}

/* ---- the table ---- */

/* With the lock held. */
static struct kvtap_context *find(struct kvtap_cuda *cuda, kvtap_cu_context handle)
{
	for (uint32_t i = 0; i < KVTAP_CONTEXTS_MAX; i++) {
		struct kvtap_context *context = cuda->context[i];

		if (context && context->handle == handle && !context->dead) {
			context->used_ns = kvtap_clock_monotonic();
			context->out++;
			return context;
		}
	}
	return NULL;
}

static struct kvtap_context *find_locked(struct kvtap_cuda *cuda, kvtap_cu_context handle)
{
	struct kvtap_context *context;

	pthread_mutex_lock(&cuda->live->lock);
	context = find(cuda, handle);
	pthread_mutex_unlock(&cuda->live->lock);
	return context;
}

static bool goes_before(const struct kvtap_context *context, const struct kvtap_context *other)
{
	if (!other || context->dead != other->dead)
		return !other || context->dead;
	return context->used_ns < other->used_ns;
}

/* A free place; else that of a context without spans in use: a dead one, or the longest unused. */
static struct kvtap_context **make_place(struct kvtap_cuda *cuda)
{
	struct kvtap_context **place = NULL, *removed = NULL;

	pthread_mutex_lock(&cuda->live->lock);
	for (uint32_t i = 0; i < KVTAP_CONTEXTS_MAX; i++) {
		struct kvtap_context *context = cuda->context[i];

		if (!context || (!context->out && (!place || *place) &&
				 goes_before(context, place ? *place : NULL)))
			place = &cuda->context[i];
		if (!context)
			break;
	}
	if (place && *place) {
		removed = *place;
		*place = NULL;
	}
	pthread_mutex_unlock(&cuda->live->lock);
	if (removed)
		kvtap_context_destroy(cuda, removed);
	return place;
}

/* With the harvest lock held, and the context current. */
static struct kvtap_context *add(struct kvtap_cuda *cuda, kvtap_cu_context handle)
{
	struct kvtap_context **place = make_place(cuda);
	struct kvtap_context *context = place ? calloc(1, sizeof(*context)) : NULL;

	if (!context)
		return NULL;
	context->handle = handle;
	context->out = 1;
	context->used_ns = kvtap_clock_monotonic();
	if (!cuda->host && (kvtap_anchor_open(cuda, &context->anchor) != KVTAP_CU_SUCCESS ||
			    !kvtap_pool_fill(cuda, context))) {
		kvtap_context_destroy(cuda, context);
		return NULL;
	}
	pthread_mutex_lock(&cuda->live->lock);
	*place = context;
	pthread_mutex_unlock(&cuda->live->lock);
	return context;
}

struct kvtap_context *kvtap_context_get(struct kvtap_cuda *cuda, kvtap_cu_context handle)
{
	struct kvtap_context *context = find_locked(cuda, handle);
	int mode;

	if (context)
		return context;
	pthread_mutex_lock(&cuda->live->harvest);
	context = find_locked(cuda, handle); /* another thread may have been first */
	if (!context && kvtap_context_relax(cuda, &mode) == KVTAP_CU_SUCCESS) {
		context = add(cuda, handle);
		kvtap_context_restore(cuda, mode);
	}
	pthread_mutex_unlock(&cuda->live->harvest);
	return context;
}

void kvtap_context_put(struct kvtap_context *context, struct kvtap_span *span)
{
	struct kvtap_cuda_live *live = span->cuda->live;

	pthread_mutex_lock(&live->lock);
	context->out--;
	span->next = context->free;
	context->free = span;
	pthread_mutex_unlock(&live->lock);
}

bool kvtap_context_dead(struct kvtap_cuda *cuda, const struct kvtap_context *context)
{
	bool dead;

	pthread_mutex_lock(&cuda->live->lock);
	dead = context->dead;
	pthread_mutex_unlock(&cuda->live->lock);
	return dead;
}

void kvtap_context_kill(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	pthread_mutex_lock(&cuda->live->lock);
	context->dead = true;
	pthread_mutex_unlock(&cuda->live->lock);
}

/* ---- the end of one ---- */

static void give_back_events(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	bool pushed;
	int mode;

	if (kvtap_context_enter(cuda, context->handle, &pushed))
		return;
	if (!kvtap_context_check(cuda) && !kvtap_context_relax(cuda, &mode)) {
		for (struct kvtap_span *span = context->all; span; span = span->all) {
			cuda->cu.event_destroy(span->start);
			cuda->cu.event_destroy(span->end);
		}
		kvtap_anchor_close(cuda, &context->anchor);
		kvtap_context_restore(cuda, mode);
	}
	kvtap_context_leave(cuda, pushed);
}

void kvtap_context_destroy(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	bool ready = kvtap_cuda_ready(cuda);
	struct kvtap_span *next;

	if (ready && !cuda->host && !context->dead)
		give_back_events(cuda, context);
	for (struct kvtap_span *span = context->all; span; span = next) {
		next = span->all;
		if (!ready || !cuda->host || !kvtap_host_abandon(span))
			free(span);
	}
	free(context);
}
