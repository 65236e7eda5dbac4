/* SPDX-License-Identifier: Apache-2.0 */
/*
 * span.c - begin and end a span: two events in the caller's stream, and what it moves between them
 *
 * A call makes as few driver calls as are safe: is the stream under capture, whose is it, what is
 * current, and the record. An event that is recorded under capture would be a part of the graph.
 */
#include "span.h"

enum { /* CUresult: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED to ..._WRONG_THREAD */
       CAPTURE_FIRST = 900,
       CAPTURE_LAST = 908,
};

/* Also where the stream would wait for one that is: the legacy stream for those that don't block. */
static bool captures(kvtap_cu_result result, int status)
{
	return (result >= CAPTURE_FIRST && result <= CAPTURE_LAST) || (!result && status);
}

/* Whether the context still answers, so that an error was the stream's. */
static bool answers(struct kvtap_cuda *cuda, const struct kvtap_span *span)
{
	kvtap_cu_result result;
	int mode;

	if (cuda->host)
		return true;
	if (kvtap_context_relax(cuda, &mode))
		return false;
	result = cuda->cu.event_query(span->start);
	kvtap_context_restore(cuda, mode);
	return result == KVTAP_CU_SUCCESS || result == KVTAP_CU_NOT_READY;
}

/* ---- begin ---- */

static kvtap_cu_result record_start(struct kvtap_cuda *cuda, struct kvtap_span *span,
				    kvtap_cu_stream stream, uint32_t series)
{
	span->stream = stream;
	span->series = series;
	span->bytes = span->request_id = span->submit_ns = 0;
	span->descriptors = 0;
	span->told = false;
	span->begin_ns = kvtap_clock_monotonic();
	return cuda->host ? kvtap_host_begin(span, stream)
			  : cuda->cu.event_record(span->start, stream);
}

/* In the current context. It is tried twice: a handle may by now be another context's. */
static struct kvtap_span *begin(struct kvtap_cuda *cuda, kvtap_cu_context handle,
				kvtap_cu_stream stream, uint32_t series, enum kvtap_untimed *reason)
{
	for (int i = 0; i < 2; i++) {
		struct kvtap_context *context = kvtap_context_get(cuda, handle);
		struct kvtap_span *span;
		kvtap_cu_result result;
		bool dead;

		if (!context)
			break;
		kvtap_harvest_poll(cuda, context);
		span = kvtap_pool_take(cuda, context, &dead);
		if (dead)
			continue;
		*reason = KVTAP_UNTIMED_FULL;
		if (!span)
			return NULL;
		result = record_start(cuda, span, stream, series);
		if (result == KVTAP_CU_SUCCESS)
			return span;
		*reason = captures(result, 0) ? KVTAP_UNTIMED_CAPTURE : KVTAP_UNTIMED_CONTEXT;
		dead = *reason == KVTAP_UNTIMED_CONTEXT && !answers(cuda, span);
		if (dead) {
			kvtap_context_kill(cuda, context);
			kvtap_harvest_dead(cuda, context);
		}
		kvtap_context_put(context, span);
		if (!dead)
			return NULL;
	}
	*reason = KVTAP_UNTIMED_CONTEXT;
	return NULL;
}

static struct kvtap_span *find_and_begin(struct kvtap_cuda *cuda, kvtap_cu_stream stream,
					 uint32_t series, enum kvtap_untimed *reason)
{
	struct kvtap_span *span;
	kvtap_cu_context handle;
	kvtap_cu_result result;
	int status = 0;
	bool pushed;

	*reason = KVTAP_UNTIMED_CONTEXT;
	if (kvtap_context_of(cuda, &stream, &handle))
		return NULL;
	result = cuda->cu.stream_is_capturing(stream, &status);
	if (captures(result, status))
		*reason = KVTAP_UNTIMED_CAPTURE;
	if (result || status || kvtap_context_enter(cuda, handle, &pushed))
		return NULL;
	span = begin(cuda, handle, stream, series, reason);
	kvtap_context_leave(cuda, pushed);
	return span;
}

struct kvtap_span *kvtap_span_begin(struct kvtap_cuda *cuda, kvtap_stream stream, uint32_t series)
{
	enum kvtap_untimed reason = KVTAP_UNTIMED_DRIVER;
	struct kvtap_span *span = NULL;

	if (!cuda)
		return NULL;
	if (kvtap_cuda_ready(cuda))
		span = find_and_begin(cuda, stream, series, &reason);
	if (span)
		kvtap_add_relaxed(&cuda->live->in_flight, 1); /* statistic */
	else
		kvtap_cuda_untimed(cuda, reason);
	return span;
}

void kvtap_span_add(struct kvtap_span *span, uint64_t bytes, uint32_t descriptors)
{
	if (!span)
		return;
	span->bytes += bytes;
	span->descriptors += descriptors;
}

void kvtap_span_job(struct kvtap_span *span, uint64_t request_id)
{
	if (span)
		span->request_id = request_id;
}

/* ---- end ---- */

/* It is counted; of host functions, the first may still be to come. */
static void give_back(struct kvtap_span *span)
{
	span->told = true;
	if (!span->cuda->host || !kvtap_harvest_queue(span))
		kvtap_context_put(span->context, span);
}

static void fail(struct kvtap_span *span, uint8_t status)
{
	struct kvtap_transfer transfer = kvtap_cuda_failed(span, status);

	kvtap_cuda_record(span->cuda, &transfer);
	give_back(span);
}

static void drop_captured(struct kvtap_span *span)
{
	kvtap_cuda_untimed(span->cuda, KVTAP_UNTIMED_CAPTURE);
	kvtap_add_relaxed(&span->cuda->live->in_flight, UINT64_MAX); /* statistic */
	give_back(span);
}

/* The stream may have come under capture since, or be another thread's by its special handle. */
static kvtap_cu_result record_end(struct kvtap_cuda *cuda, struct kvtap_span *span)
{
	int status = 0;
	kvtap_cu_result result = cuda->cu.stream_is_capturing(span->stream, &status);

	if (captures(result, status))
		return CAPTURE_FIRST;
	if (result)
		return result;
	return cuda->host ? kvtap_host_end(span) : cuda->cu.event_record(span->end, span->stream);
}

/* 0, and the caller has the span no more; or a CUresult. @dead: the context's */
static kvtap_cu_result end(struct kvtap_span *span, bool *dead)
{
	struct kvtap_cuda *cuda = span->cuda;
	bool pushed;
	kvtap_cu_result result;

	*dead = kvtap_context_dead(cuda, span->context);
	if (*dead)
		return KVTAP_CU_CONTEXT_IS_DESTROYED;
	result = kvtap_context_enter(cuda, span->context->handle, &pushed);
	*dead = result != KVTAP_CU_SUCCESS;
	if (result)
		return result;
	result = record_end(cuda, span);
	if (result && !captures(result, 0))
		*dead = !answers(cuda, span);
	kvtap_context_leave(cuda, pushed);
	return result;
}

void kvtap_span_end(struct kvtap_span *span)
{
	uint64_t now_ns = kvtap_clock_monotonic();
	kvtap_cu_result result;
	bool dead;

	if (!span)
		return;
	if (!kvtap_cuda_ready(span->cuda)) { /* begun by the parent process */
		kvtap_cuda_untimed(span->cuda, KVTAP_UNTIMED_ABANDONED);
		return;
	}
	span->submit_ns = now_ns - span->begin_ns;
	result = end(span, &dead);
	if (result == KVTAP_CU_SUCCESS) {
		if (!kvtap_harvest_queue(span))
			fail(span, KVTAP_FAILED);
		return;
	}
	if (dead) {
		kvtap_context_kill(span->cuda, span->context);
		kvtap_harvest_dead(span->cuda, span->context);
	}
	if (captures(result, 0))
		drop_captured(span);
	else
		fail(span, KVTAP_FAILED);
}

void kvtap_span_fail(struct kvtap_span *span, uint8_t status)
{
	if (!span)
		return;
	if (!kvtap_cuda_ready(span->cuda)) { /* begun by the parent process */
		kvtap_cuda_untimed(span->cuda, KVTAP_UNTIMED_ABANDONED);
		return;
	}
	span->submit_ns = kvtap_clock_monotonic() - span->begin_ns;
	fail(span, status == KVTAP_OK ? KVTAP_FAILED : status);
}
