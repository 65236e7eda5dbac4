/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harvest.c - record the spans that have ended
 *
 * Events of a stream are done in order, so that each stream has a queue and its head alone is asked
 * for. Who holds the harvest lock is the only one who takes a head away; others append.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "device_ring.h"
#include "span.h"

#define STREAM_PER_THREAD ((kvtap_cu_stream)0x2)
/* what a begin does for those before it, each a microsecond or two */
#define POLL_SPANS 4
#define POLL_STREAMS 2

/* ---- queues, one a stream; the list of their heads, from whose front they are served ---- */

static _Thread_local char here;

static void append_head(struct kvtap_context *context, struct kvtap_span *head)
{
	head->sibling = NULL;
	if (context->last)
		context->last->sibling = head;
	else
		context->first = head;
	context->last = head;
}

static struct kvtap_span *remove_head(struct kvtap_context *context)
{
	struct kvtap_span *head = context->first;

	context->first = head->sibling;
	if (!context->first)
		context->last = NULL;
	return head;
}

bool kvtap_harvest_queue(struct kvtap_span *span)
{
	struct kvtap_context *context = span->context;
	struct kvtap_cuda_live *live = span->cuda->live;
	struct kvtap_span *head;
	bool dead;

	span->next = NULL;
	span->thread = span->stream == STREAM_PER_THREAD ? &here : NULL;
	pthread_mutex_lock(&live->lock);
	dead = context->dead;
	for (head = dead ? NULL : context->first; head; head = head->sibling)
		if (head->stream == span->stream && head->thread == span->thread)
			break;
	if (head) {
		head->tail->next = span;
		head->tail = span;
	} else if (!dead) {
		span->tail = span;
		append_head(context, span);
		kvtap_add_relaxed(&context->streams, 1); /* statistic */
	}
	pthread_mutex_unlock(&live->lock);
	return !dead;
}

static struct kvtap_span *first(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	struct kvtap_span *span;

	pthread_mutex_lock(&cuda->live->lock);
	span = context->first;
	pthread_mutex_unlock(&cuda->live->lock);
	return span;
}

static void rotate(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	pthread_mutex_lock(&cuda->live->lock);
	append_head(context, remove_head(context));
	pthread_mutex_unlock(&cuda->live->lock);
}

/* The first head is free again; true: its queue is empty with that. */
static bool pop(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	struct kvtap_span *head, *next;

	pthread_mutex_lock(&cuda->live->lock);
	head = remove_head(context);
	next = head->next;
	if (next) {
		next->tail = head->tail;
		next->sibling = context->first;
		context->first = next;
		if (!context->last)
			context->last = next;
	} else {
		kvtap_add_relaxed(&context->streams, UINT32_MAX); /* statistic */
	}
	head->next = context->free;
	context->free = head;
	context->out--;
	pthread_mutex_unlock(&cuda->live->lock);
	return !next;
}

/* ---- harvest, with that lock held ---- */

/* All that a record says, once the second event is done. 0, 600 or what the driver says. */
static kvtap_cu_result finish(struct kvtap_cuda *cuda, const struct kvtap_span *span,
			      struct kvtap_transfer *transfer)
{
	kvtap_cu_result result = cuda->cu.event_query(span->end);
	uint64_t start_ns, now_ns;
	float device;

	if (!result)
		result = cuda->cu.event_elapsed_time(&device, span->start, span->end);
	if (!result)
		result = kvtap_anchor_time(cuda, &span->context->anchor, span->start,
					   span->begin_ns, &start_ns);
	if (result)
		return result;
	now_ns = kvtap_clock_monotonic();
	*transfer = kvtap_cuda_transfer(span);
	transfer->duration_ns = kvtap_anchor_ns(device);
	transfer->queue_ns = start_ns - span->begin_ns;
	transfer->end_ns = start_ns + transfer->duration_ns;
	if (transfer->end_ns > now_ns)
		transfer->end_ns = now_ns;
	return KVTAP_CU_SUCCESS;
}

static uint32_t bury(struct kvtap_cuda *cuda, struct kvtap_context *context, uint32_t max)
{
	struct kvtap_transfer transfer;
	struct kvtap_span *span;
	uint32_t count;

	for (count = 0; count < max && (span = first(cuda, context)); count++) {
		transfer = kvtap_cuda_failed(span, KVTAP_FAILED);
		pop(cuda, context);
		kvtap_cuda_record(cuda, &transfer);
	}
	return count;
}

/* Of so many streams, in the current context. */
static uint32_t harvest_events(struct kvtap_cuda *cuda, struct kvtap_context *context, uint32_t max,
			       uint32_t streams)
{
	struct kvtap_transfer transfer;
	struct kvtap_span *span;
	kvtap_cu_result result;
	uint32_t count = 0;

	while (count < max && streams && (span = first(cuda, context))) {
		result = finish(cuda, span, &transfer);
		if (result == KVTAP_CU_NOT_READY) {
			rotate(cuda, context);
			streams--;
			continue;
		}
		if (result) {
			kvtap_context_kill(cuda, context);
			return count + bury(cuda, context, max - count);
		}
		streams -= pop(cuda, context);
		kvtap_cuda_record(cuda, &transfer);
		count++;
	}
	return count;
}

/* Host functions made their records; here their spans become free. */
static void harvest_functions(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	uint32_t streams = kvtap_load_relaxed(&context->streams); /* checked later, by the list */
	struct kvtap_span *span;

	while (streams && (span = first(cuda, context))) {
		if (kvtap_host_done(span)) {
			streams -= pop(cuda, context);
		} else {
			rotate(cuda, context);
			streams--;
		}
	}
}

static uint32_t harvest(struct kvtap_cuda *cuda, struct kvtap_context *context, uint32_t max)
{
	uint32_t streams = kvtap_load_relaxed(&context->streams); /* checked later, by the list */
	uint32_t count;
	bool pushed = false;
	int mode;

	if (cuda->host) {
		harvest_functions(cuda, context);
		return 0;
	}
	if (!streams)
		return 0;
	if (kvtap_context_dead(cuda, context))
		return bury(cuda, context, max);
	if (kvtap_context_enter(cuda, context->handle, &pushed) || kvtap_context_check(cuda) ||
	    kvtap_context_relax(cuda, &mode)) {
		kvtap_context_kill(cuda, context);
		count = bury(cuda, context, max);
	} else {
		count = harvest_events(cuda, context, max, streams);
		kvtap_context_restore(cuda, mode);
	}
	kvtap_context_leave(cuda, pushed);
	return count;
}

uint32_t kvtap_cuda_harvest(struct kvtap_cuda *cuda, uint32_t max)
{
	uint32_t count = 0;

	if (!cuda || !kvtap_cuda_ready(cuda))
		return 0;
	if (!max)
		max = UINT32_MAX;
	pthread_mutex_lock(&cuda->live->harvest);
	for (uint32_t i = 0; i < KVTAP_CONTEXTS_MAX && count < max; i++)
		if (cuda->context[i])
			count += harvest(cuda, cuda->context[i], max - count);
	kvtap_device_rings_calibrate(cuda);
	pthread_mutex_unlock(&cuda->live->harvest);
	return count;
}

static void poll_events(struct kvtap_cuda *cuda, struct kvtap_context *context, bool stale)
{
	kvtap_cu_result result = KVTAP_CU_SUCCESS;
	uint32_t streams = kvtap_load_relaxed(&context->streams); /* checked later, by the list */
	int mode;

	if (kvtap_context_relax(cuda, &mode))
		return;
	if (stale)
		result = kvtap_anchor_renew(cuda, &context->anchor);
	if (result && result != KVTAP_CU_NOT_READY) {
		kvtap_context_kill(cuda, context);
		bury(cuda, context, UINT32_MAX);
	} else if (!cuda->harvest_ms) {
		harvest_events(cuda, context, POLL_SPANS,
			       streams < POLL_STREAMS ? streams : POLL_STREAMS);
	}
	kvtap_context_restore(cuda, mode);
}

void kvtap_harvest_poll(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	bool stale = !cuda->host && kvtap_anchor_stale(&context->anchor, kvtap_clock_monotonic());

	if (!stale && (cuda->harvest_ms || !kvtap_load_relaxed(&context->streams))) /* statistic */
		return;
	if (pthread_mutex_trylock(&cuda->live->harvest) != 0)
		return;
	if (cuda->host)
		harvest_functions(cuda, context);
	else if (!kvtap_context_dead(cuda, context))
		poll_events(cuda, context, stale);
	pthread_mutex_unlock(&cuda->live->harvest);
}

void kvtap_harvest_dead(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	if (cuda->host || pthread_mutex_trylock(&cuda->live->harvest) != 0)
		return;
	bury(cuda, context, UINT32_MAX);
	pthread_mutex_unlock(&cuda->live->harvest);
}

/* ---- the own thread ---- */

static struct timespec after(uint32_t ms)
{
	uint64_t at_ns = kvtap_clock_monotonic() + (uint64_t)ms * 1000000;

	return (struct timespec){ .tv_sec = (time_t)(at_ns / 1000000000),
				  .tv_nsec = (long)(at_ns % 1000000000) };
}

static void *run(void *argument)
{
	struct kvtap_cuda *cuda = argument;
	struct kvtap_cuda_live *live = cuda->live;

	pthread_mutex_lock(&live->sleep);
	while (!live->stop) {
		struct timespec at = after(cuda->harvest_ms);

		while (!live->stop &&
		       pthread_cond_timedwait(&live->wake, &live->sleep, &at) != ETIMEDOUT)
			;
		pthread_mutex_unlock(&live->sleep);
		kvtap_cuda_harvest(cuda, 0);
		pthread_mutex_lock(&live->sleep);
	}
	pthread_mutex_unlock(&live->sleep);
	return NULL;
}

int kvtap_harvest_start(struct kvtap_cuda *cuda)
{
	struct kvtap_cuda_live *live = cuda->live;
	pthread_condattr_t attributes;
	sigset_t all, before;
	int rc;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&live->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	sigfillset(&all); /* the host's handlers run in the host's threads */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&live->thread, NULL, run, cuda);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	live->running = rc == 0;
	return -rc;
}

void kvtap_harvest_stop(struct kvtap_cuda *cuda)
{
	struct kvtap_cuda_live *live = cuda->live;

	if (!live->running)
		return;
	pthread_mutex_lock(&live->sleep);
	live->stop = true;
	pthread_cond_signal(&live->wake);
	pthread_mutex_unlock(&live->sleep);
	pthread_join(live->thread, NULL);
	pthread_cond_destroy(&live->wake);
}
