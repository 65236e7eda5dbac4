/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "double_cuda_parts.h"

#define NEVER UINT64_MAX

uint64_t double_now(void)
{
	struct timespec now;

	if (double_thread()->called_back)
		return double_thread()->now_ns;
	if (state.manual)
		return state.manual_ns;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void double_append(struct queue *queue, const struct work *work)
{
	struct work *copy = malloc(sizeof(*copy));

	if (!copy)
		abort();
	*copy = *work;
	copy->next = NULL;
	if (queue->first)
		queue->last->next = copy;
	else
		queue->first = copy;
	queue->last = copy;
}

static void remove_first(struct queue *queue)
{
	struct work *first = queue->first;

	queue->first = first->next;
	free(first);
}

void double_drop(struct queue *queue)
{
	while (queue->first)
		remove_first(queue);
}

/* When a stream's first work ends, as far as that is known. */
static uint64_t ends_at(const struct stream *stream)
{
	const struct work *work = stream->queue.first;
	uint64_t start_ns;

	if (!work || stream->busy)
		return NEVER;
	start_ns = work->submitted_ns > stream->free_ns ? work->submitted_ns : stream->free_ns;
	if (work->kind == WAIT) {
		if (work->event->done < work->record)
			return NEVER;
		return work->event->done_ns > start_ns ? work->event->done_ns : start_ns;
	}
	if (work->kind == COPY && state.rate > 0)
		start_ns += (uint64_t)((double)work->bytes / state.rate);
	return start_ns;
}

/* The stream whose work ends first. What a lost context had to do is never done. */
static struct stream *next_stream(uint64_t *end_ns)
{
	struct stream *stream, *next = NULL;
	size_t i;

	*end_ns = NEVER;
	for (i = 0; i < state.objects; i++) {
		if (state.object[i]->kind != STREAM)
			continue;
		stream = (struct stream *)state.object[i];
		if (stream->object.context->sticky || stream->object.context->object.dead)
			continue;
		if (ends_at(stream) < *end_ns) {
			*end_ns = ends_at(stream);
			next = stream;
		}
	}
	return next;
}

/* The caller's own code: without the lock, and it may look at the clock. */
static void call_back(const struct work *work, uint64_t now_ns)
{
	struct thread *thread = double_thread();
	uint64_t copy[32];
	void *argument[16] = { NULL };
	size_t i, at = 0;

	memcpy(copy, work->argument, sizeof(copy));
	for (i = 0; work->kind == KERNEL && i < work->kernel->count; i++) {
		argument[i] = &copy[at];
		at += (work->kernel->size[i] + 7) / 8;
	}
	thread->called_back = true;
	thread->now_ns = now_ns;
	pthread_mutex_unlock(&state.lock);
	if (work->kind == KERNEL)
		work->kernel->run(argument);
	else
		work->host(work->to);
	pthread_mutex_lock(&state.lock);
	thread->called_back = false;
}

static void do_first(struct stream *stream, uint64_t end_ns)
{
	const struct work *work = stream->queue.first;

	switch (work->kind) {
	case COPY:
		if (++state.copies != state.lost_copy)
			memcpy(work->to, work->from, work->bytes);
		double_tell_copy(work, end_ns);
		break;
	case RECORD:
		work->event->done = work->record;
		work->event->done_ns = end_ns;
		break;
	case WAIT:
		break;
	default:
		stream->busy = true;
		call_back(work, end_ns);
		stream->busy = false;
	}
	stream->free_ns = end_ns;
	remove_first(&stream->queue);
	pthread_cond_broadcast(&state.change);
}

uint64_t double_run_due(uint64_t now_ns)
{
	struct stream *stream;
	uint64_t end_ns;

	while ((stream = next_stream(&end_ns)) && end_ns <= now_ns)
		do_first(stream, end_ns);
	return end_ns;
}

static void *follow(void *unused)
{
	struct timespec until;
	uint64_t next_ns;

	(void)unused;
	pthread_mutex_lock(&state.lock);
	while (!state.thread_ends) {
		next_ns = state.manual ? NEVER : double_run_due(double_now());
		if (state.thread_ends)
			break;
		until.tv_sec = (time_t)(next_ns / 1000000000);
		until.tv_nsec = (long)(next_ns % 1000000000);
		if (next_ns == NEVER)
			pthread_cond_wait(&state.change, &state.lock);
		else
			pthread_cond_timedwait(&state.change, &state.lock, &until);
	}
	state.thread_runs = false;
	pthread_cond_broadcast(&state.change);
	pthread_mutex_unlock(&state.lock);
	return NULL;
}

void double_start_thread(void)
{
	pthread_t thread;

	if (state.thread_runs || state.manual)
		return;
	if (pthread_create(&thread, NULL, follow, NULL) != 0)
		abort();
	pthread_detach(thread);
	state.thread_runs = true;
}

void double_stop_thread(void)
{
	pthread_mutex_lock(&state.lock);
	state.thread_ends = true;
	pthread_cond_broadcast(&state.change);
	while (state.thread_runs)
		pthread_cond_wait(&state.change, &state.lock);
	state.thread_ends = false;
	pthread_mutex_unlock(&state.lock);
}

int double_submit(void *handle, const struct work *work)
{
	struct stream *stream;
	struct work own = *work;
	int result = double_stream(&stream, handle);

	result = result ? result : double_implicit(stream);
	if (result)
		return result;
	if (stream->capture) {
		if (stream->capture->invalid)
			return CAPTURE_INVALIDATED;
		double_append(&stream->capture->queue, work);
		return 0;
	}
	own.submitted_ns = double_now();
	double_append(&stream->queue, &own);
	double_start_thread();
	pthread_cond_broadcast(&state.change);
	return 0;
}

int double_drain(struct stream *stream)
{
	while (stream->queue.first && !stream->object.context->sticky && !state.gone)
		pthread_cond_wait(&state.change, &state.lock);
	return state.gone ? KVTAP_CU_DEINITIALIZED : stream->object.context->sticky;
}
