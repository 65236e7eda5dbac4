/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "double_cuda_parts.h"

enum { /* of cuStreamCreate, cuEventCreate */
       NON_BLOCKING = 1,
       DISABLE_TIMING = 2,
};

/* ---- streams ------------------------------------------------------------------------------- */

static struct stream *make_stream(struct context *context, bool blocking)
{
	struct stream *stream = double_make(STREAM, sizeof(*stream), context);

	stream->blocking = blocking;
	stream->free_ns = 0;
	return stream;
}

/* @thread: whose; 0: the legacy one */
static struct stream *default_stream(struct context *context, uint64_t thread)
{
	struct stream *stream;
	size_t i;

	for (i = 0; i < state.objects; i++) {
		stream = (struct stream *)state.object[i];
		if (state.object[i]->kind == STREAM && state.object[i]->context == context &&
		    stream->is_default && stream->thread == thread)
			return stream;
	}
	stream = make_stream(context, thread != 0);
	stream->is_default = true;
	stream->thread = thread;
	return stream;
}

int double_stream(struct stream **stream, void *handle)
{
	struct context *context;
	int result;

	if ((uintptr_t)handle > 2)
		return double_find(stream, handle, STREAM);
	result = double_current(&context);
	if (!result)
		*stream = default_stream(context, handle == (void *)2 ? double_thread()->id : 0);
	return result;
}

static bool is_legacy(const struct stream *stream)
{
	return stream->is_default && stream->thread == 0;
}

/* The capture of a stream that the legacy one would have to wait for. */
static struct graph *captured_beside(const struct stream *stream)
{
	struct stream *other;
	size_t i;

	for (i = 0; i < state.objects && is_legacy(stream); i++) {
		other = (struct stream *)state.object[i];
		if (state.object[i]->kind == STREAM && other->capture && other->blocking &&
		    state.object[i]->context == stream->object.context)
			return other->capture;
	}
	return NULL;
}

static int spoil(struct graph *graph, int result, const char *what)
{
	graph->invalid = true;
	double_violation(what);
	return result;
}

int double_implicit(const struct stream *stream)
{
	struct graph *graph = captured_beside(stream);

	return graph ? spoil(graph, CAPTURE_IMPLICIT, "work in the legacy stream") : 0;
}

int double_unsafe(void)
{
	const struct thread *thread = double_thread();
	struct graph *graph;
	int result = 0;
	size_t i;

	for (i = 0; i < state.objects && thread->mode != MODE_RELAXED; i++) {
		graph = (struct graph *)state.object[i];
		if (state.object[i]->kind != GRAPH || !graph->capturing)
			continue;
		if (graph->thread == thread->id
			    ? graph->mode != MODE_RELAXED
			    : graph->mode == MODE_GLOBAL && thread->mode == MODE_GLOBAL)
			result = spoil(graph, CAPTURE_UNSUPPORTED, "an unsafe call in a capture");
	}
	return result;
}

static int create_stream(void **handle, unsigned flags)
{
	struct context *context;
	int result = double_current(&context);

	if (!result)
		*handle = make_stream(context, flags != NON_BLOCKING)->object.handle;
	return result;
}

static int destroy_stream(void *handle)
{
	struct stream *stream;
	int result = (uintptr_t)handle > 2 ? double_find(&stream, handle, STREAM)
					   : KVTAP_CU_INVALID_VALUE;

	if (!result)
		stream->object.dead = true;
	return result;
}

/* Also what has to come before a look at a stream or a wait for it. */
static int idle_stream(struct stream **stream, void *handle)
{
	int result = double_stream(stream, handle);

	if (!result && (*stream)->capture)
		result = spoil((*stream)->capture, CAPTURE_UNSUPPORTED, "a query of a capture");
	return result ? result : double_unsafe();
}

static int query_stream(void *handle)
{
	struct stream *stream;
	int result = idle_stream(&stream, handle);

	return result ? result : stream->queue.first ? KVTAP_CU_NOT_READY : 0;
}

static int synchronize_stream(void *handle)
{
	struct stream *stream;
	int result = idle_stream(&stream, handle);

	return result ? result : double_drain(stream);
}

static int stream_context(void *handle, void **context)
{
	struct stream *stream;
	int result = double_stream(&stream, handle);

	if (!result)
		*context = stream->object.context->object.handle;
	return result;
}

DOUBLE_CALL(cuStreamCreate, (void **stream, unsigned flags), create_stream(stream, flags))
DOUBLE_CALL(cuStreamDestroy_v2, (void *stream), destroy_stream(stream))
DOUBLE_CALL(cuStreamQuery, (void *stream), query_stream(stream))
DOUBLE_CALL(cuStreamSynchronize, (void *stream), synchronize_stream(stream))
DOUBLE_CALL(cuStreamGetCtx, (void *stream, void **context), stream_context(stream, context))

/* ---- capture and graphs -------------------------------------------------------------------- */

static int is_capturing(void *handle, int *status)
{
	struct stream *stream;
	int result = double_stream(&stream, handle);

	if (result)
		return result;
	if (captured_beside(stream))
		return CAPTURE_IMPLICIT;
	*status = stream->capture ? stream->capture->invalid ? 2 : 1 : 0;
	return 0;
}

static int begin_capture(void *handle, int mode)
{
	struct stream *stream;
	struct graph *graph;
	int result = double_stream(&stream, handle);

	if (result)
		return result;
	if (is_legacy(stream))
		return CAPTURE_UNSUPPORTED;
	if (stream->capture || mode < MODE_GLOBAL || mode > MODE_RELAXED)
		return KVTAP_CU_INVALID_VALUE;
	graph = double_make(GRAPH, sizeof(*graph), stream->object.context);
	graph->capturing = true;
	graph->mode = mode;
	graph->thread = double_thread()->id;
	stream->capture = graph;
	return 0;
}

static int end_capture(void *handle, void **graph_handle)
{
	struct stream *stream;
	struct graph *graph;
	int result = double_stream(&stream, handle);
	size_t i;

	*graph_handle = NULL;
	if (result)
		return result;
	graph = stream->capture;
	if (!graph)
		return KVTAP_CU_INVALID_VALUE;
	if (graph->mode != MODE_RELAXED && graph->thread != double_thread()->id)
		return CAPTURE_WRONG_THREAD;
	graph->capturing = false;
	for (i = 0; i < state.objects; i++) {
		stream = (struct stream *)state.object[i];
		if (state.object[i]->kind == STREAM && stream->capture == graph)
			stream->capture = NULL;
	}
	if (graph->invalid)
		return CAPTURE_INVALIDATED;
	*graph_handle = graph->object.handle;
	return 0;
}

static int exchange_mode(int *mode)
{
	struct thread *thread = double_thread();
	int was = thread->mode;

	if (*mode < MODE_GLOBAL || *mode > MODE_RELAXED)
		return KVTAP_CU_INVALID_VALUE;
	thread->mode = *mode;
	*mode = was;
	return 0;
}

static int instantiate(void **handle, void *graph_handle)
{
	struct graph *graph, *executable;
	const struct work *work;
	int result = double_find(&graph, graph_handle, GRAPH);

	if (result)
		return result;
	executable = double_make(GRAPH, sizeof(*executable), graph->object.context);
	for (work = graph->queue.first; work; work = work->next)
		double_append(&executable->queue, work);
	*handle = executable->object.handle;
	return 0;
}

static int launch_graph(void *handle, void *stream)
{
	struct graph *graph;
	const struct work *work;
	int result = double_find(&graph, handle, GRAPH);

	for (work = result ? NULL : graph->queue.first; work && !result; work = work->next)
		result = double_submit(stream, work);
	return result;
}

static int destroy_graph(void *handle)
{
	struct graph *graph;
	int result = double_find(&graph, handle, GRAPH);

	if (!result)
		graph->object.dead = true;
	return result;
}

DOUBLE_CALL(cuStreamIsCapturing, (void *stream, int *status), is_capturing(stream, status))
DOUBLE_CALL(cuStreamBeginCapture_v2, (void *stream, int mode), begin_capture(stream, mode))
DOUBLE_CALL(cuStreamEndCapture, (void *stream, void **graph), end_capture(stream, graph))
DOUBLE_CALL(cuThreadExchangeStreamCaptureMode, (int *mode), exchange_mode(mode))
DOUBLE_CALL(cuGraphInstantiateWithFlags, (void **executable, void *graph, cu_flags flags),
	    ((void)flags, instantiate(executable, graph)))
DOUBLE_CALL(cuGraphLaunch, (void *executable, void *stream), launch_graph(executable, stream))
DOUBLE_CALL(cuGraphDestroy, (void *graph), destroy_graph(graph))
DOUBLE_CALL(cuGraphExecDestroy, (void *executable), destroy_graph(executable))

/* ---- events -------------------------------------------------------------------------------- */

static int create_event(void **handle, unsigned flags)
{
	struct context *context;
	struct event *event;
	int result = double_current(&context);

	if (result)
		return result;
	event = double_make(EVENT, sizeof(*event), context);
	event->timed = !(flags & DISABLE_TIMING);
	*handle = event->object.handle;
	return 0;
}

static int record_event(void *handle, void *stream_handle)
{
	struct work work = { .kind = RECORD };
	struct stream *stream;
	int result = double_find(&work.event, handle, EVENT);

	result = result ? result : double_stream(&stream, stream_handle);
	if (result)
		return result;
	if (stream->object.context != work.event->object.context)
		return KVTAP_CU_INVALID_HANDLE;
	if (captured_beside(stream))
		return spoil(captured_beside(stream), CAPTURE_IMPLICIT,
			     "work in the legacy stream");
	work.event->captured = stream->capture;
	if (stream->capture) /* no time is taken, only what follows what */
		return stream->capture->invalid ? CAPTURE_INVALIDATED : 0;
	work.record = ++work.event->recorded;
	return double_submit(stream_handle, &work);
}

/* An event that may be looked at. */
static int find_event(struct event **event, void *handle)
{
	int result = double_find(event, handle, EVENT);

	if (!result && (*event)->captured)
		result = spoil((*event)->captured, CAPTURED_EVENT, "a query of a captured event");
	return result ? result : double_unsafe();
}

static int query_event(void *handle)
{
	struct event *event;
	int result = find_event(&event, handle);

	return result ? result : event->done < event->recorded ? KVTAP_CU_NOT_READY : 0;
}

static int synchronize_event(void *handle)
{
	struct event *event;
	int result = find_event(&event, handle);

	if (result)
		return result;
	while (event->done < event->recorded && !event->object.context->sticky && !state.gone)
		pthread_cond_wait(&state.change, &state.lock);
	return state.gone ? KVTAP_CU_DEINITIALIZED : event->object.context->sticky;
}

static int elapsed(float *milliseconds, void *start_handle, void *end_handle)
{
	struct event *start, *end;
	int result = find_event(&start, start_handle);

	result = result ? result : find_event(&end, end_handle);
	if (result)
		return result;
	if (!start->timed || !end->timed || !start->recorded || !end->recorded ||
	    start->object.context->device != end->object.context->device)
		return KVTAP_CU_INVALID_HANDLE;
	if (start->done < start->recorded || end->done < end->recorded)
		return KVTAP_CU_NOT_READY;
	*milliseconds = (float)((double)(int64_t)(end->done_ns - start->done_ns) / 1e6);
	return 0;
}

static int destroy_event(void *handle)
{
	struct event *event;
	int result = double_find(&event, handle, EVENT);

	if (!result)
		event->object.dead = true;
	return result;
}

/* To wait for a captured event is to be captured, too. */
static int wait_event(void *stream_handle, void *handle)
{
	struct work work = { .kind = WAIT };
	struct stream *stream;
	int result = double_stream(&stream, stream_handle);

	result = result ? result : double_find(&work.event, handle, EVENT);
	if (result)
		return result;
	if (work.event->captured && work.event->captured->capturing)
		stream->capture = work.event->captured;
	if (work.event->captured || work.event->recorded == 0)
		return 0;
	work.record = work.event->recorded;
	return double_submit(stream_handle, &work);
}

static int launch_host(void *stream, void (*function)(void *), void *argument)
{
	struct work work = { .kind = HOST, .host = function, .to = argument };

	return double_submit(stream, &work);
}

DOUBLE_CALL(cuEventCreate, (void **event, unsigned flags), create_event(event, flags))
DOUBLE_CALL(cuEventRecord, (void *event, void *stream), record_event(event, stream))
DOUBLE_CALL(cuEventQuery, (void *event), query_event(event))
DOUBLE_CALL(cuEventSynchronize, (void *event), synchronize_event(event))
DOUBLE_CALL(cuEventElapsedTime, (float *ms, void *start, void *end), elapsed(ms, start, end))
DOUBLE_CALL(cuEventElapsedTime_v2, (float *ms, void *start, void *end), elapsed(ms, start, end))
DOUBLE_CALL(cuEventDestroy_v2, (void *event), destroy_event(event))
DOUBLE_CALL(cuStreamWaitEvent, (void *stream, void *event, unsigned flags),
	    ((void)flags, wait_event(stream, event)))
DOUBLE_CALL(cuLaunchHostFunc, (void *stream, cu_host_function function, void *argument),
	    launch_host(stream, function, argument))
