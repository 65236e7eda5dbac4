/* SPDX-License-Identifier: Apache-2.0 */
#include "cupti_buffers.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum state { FREE, OUT, READY };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came; /* by CLOCK_MONOTONIC */
static bool stopped;
static struct pooled {
	/*
	 * Each of its own malloc: a client that takes our callbacks gets our buffers too, and what it
	 * does with a buffer at the end is commonly free().
	 */
	struct kvtap_buffer buffer;
	enum state state;
	uint64_t order; /* in which it came back */
} pool[KVTAP_CUPTI_BUFFERS];
static uint32_t out;	     /* with CUPTI */
static uint64_t came_last;   /* order */
static uint64_t quiet_since; /* the last came back, or the first went out */

uint64_t kvtap_cupti_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void kvtap_buffers_init(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&came, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* A free one with memory, or NULL. */
static struct pooled *take_free(void)
{
	struct pooled *found = NULL;

	for (int i = 0; i < KVTAP_CUPTI_BUFFERS; i++) {
		if (pool[i].state == FREE &&
		    (!found || (pool[i].buffer.bytes && !found->buffer.bytes)))
			found = &pool[i];
	}
	if (found && !found->buffer.bytes)
		found->buffer.bytes = malloc(KVTAP_CUPTI_BUFFER_BYTES);
	return found && found->buffer.bytes ? found : NULL;
}

void kvtap_buffers_requested(uint8_t **buffer, size_t *bytes, size_t *records_max)
{
	struct pooled *given;

	pthread_mutex_lock(&lock);
	given = take_free();
	if (given) {
		given->state = OUT;
		if (!out++)
			quiet_since = kvtap_cupti_now();
	}
	*buffer = given ? given->buffer.bytes : NULL;
	*bytes = given ? KVTAP_CUPTI_BUFFER_BYTES : 0;
	*records_max = 0;
	pthread_mutex_unlock(&lock);
}

/* One that is not ours was another client's before our callbacks took the place of its own. */
void kvtap_buffers_completed(void *context, uint32_t stream, uint8_t *buffer, size_t bytes,
			     size_t valid_bytes)
{
	(void)context, (void)stream, (void)bytes;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < KVTAP_CUPTI_BUFFERS; i++) {
		struct pooled *pooled = &pool[i];

		if (pooled->buffer.bytes != buffer || pooled->state != OUT)
			continue;
		if (valid_bytes > KVTAP_CUPTI_BUFFER_BYTES)
			valid_bytes = KVTAP_CUPTI_BUFFER_BYTES;
		pooled->buffer.valid_bytes = valid_bytes;
		pooled->state = READY;
		pooled->order = ++came_last;
		out--;
		quiet_since = kvtap_cupti_now();
		pthread_cond_signal(&came);
		break;
	}
	pthread_mutex_unlock(&lock);
}

static struct kvtap_buffer *first_ready(void)
{
	struct pooled *first = NULL;

	for (int i = 0; i < KVTAP_CUPTI_BUFFERS; i++) {
		if (pool[i].state == READY && (!first || pool[i].order < first->order))
			first = &pool[i];
	}
	return first ? &first->buffer : NULL;
}

struct kvtap_buffer *kvtap_buffers_wait(uint64_t until_ns)
{
	struct timespec until = { (time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000) };
	struct kvtap_buffer *buffer;
	int rc = 0;

	pthread_mutex_lock(&lock);
	while (!(buffer = first_ready()) && !stopped && !rc)
		rc = pthread_cond_timedwait(&came, &lock, &until);
	pthread_mutex_unlock(&lock);
	return buffer;
}

void kvtap_buffers_free(struct kvtap_buffer *buffer)
{
	pthread_mutex_lock(&lock);
	((struct pooled *)buffer)->state = FREE; /* its first member */
	pthread_mutex_unlock(&lock);
}

void kvtap_buffers_stop(void)
{
	pthread_mutex_lock(&lock);
	stopped = true;
	pthread_cond_signal(&came);
	pthread_mutex_unlock(&lock);
}

bool kvtap_buffers_stopped(void)
{
	bool is;

	pthread_mutex_lock(&lock);
	is = stopped;
	pthread_mutex_unlock(&lock);
	return is;
}

uint64_t kvtap_buffers_stalled_ns(uint64_t now_ns)
{
	uint64_t stalled;

	pthread_mutex_lock(&lock);
	stalled = out && now_ns > quiet_since ? now_ns - quiet_since : 0;
	pthread_mutex_unlock(&lock);
	return stalled;
}
