/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c - spans of a context, each with its two events
 *
 * An event belongs to a context, and costs microseconds to make: each is made once. A dead context's
 * events are not given back: the driver did that, or is not to be called.
 */
#include <stdlib.h>

#include "span.h"

static bool create_events(struct kvtap_cuda *cuda, struct kvtap_span *span)
{
	if (cuda->host)
		return true;
	if (cuda->cu.event_create(&span->start, 0)) /* flags 0: with its time */
		return false;
	if (cuda->cu.event_create(&span->end, 0) == KVTAP_CU_SUCCESS)
		return true;
	cuda->cu.event_destroy(span->start);
	return false;
}

static struct kvtap_span *create(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	struct kvtap_span *span = calloc(1, sizeof(*span));

	if (!span)
		return NULL;
	span->cuda = cuda;
	span->context = context;
	if (create_events(cuda, span))
		return span;
	free(span);
	return NULL;
}

bool kvtap_pool_fill(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	struct kvtap_span *span;

	while (context->spans < KVTAP_PAIRS_FIRST) {
		span = create(cuda, context);
		if (!span)
			break;
		span->all = context->all;
		context->all = span;
		span->next = context->free;
		context->free = span;
		context->spans++;
	}
	/* a new event counts as done; but a context with an error says so */
	return context->free && !cuda->cu.event_query(context->free->start);
}

static struct kvtap_span *add(struct kvtap_cuda *cuda, struct kvtap_context *context)
{
	struct kvtap_span *span = NULL;
	int mode;

	if (cuda->host) {
		span = create(cuda, context);
	} else if (kvtap_context_relax(cuda, &mode) == KVTAP_CU_SUCCESS) {
		span = create(cuda, context);
		kvtap_context_restore(cuda, mode);
	}
	pthread_mutex_lock(&cuda->live->lock);
	if (span) {
		span->all = context->all;
		context->all = span;
	} else {
		context->spans--;
		context->out--;
	}
	pthread_mutex_unlock(&cuda->live->lock);
	return span;
}

struct kvtap_span *kvtap_pool_take(struct kvtap_cuda *cuda, struct kvtap_context *context,
				   bool *dead)
{
	struct kvtap_span *span = NULL;
	bool may_add;

	pthread_mutex_lock(&cuda->live->lock);
	*dead = context->dead;
	may_add = !*dead && !context->free && context->spans < cuda->spans_max;
	if (may_add) {
		context->spans++;
	} else if (!*dead && context->free) {
		span = context->free;
		context->free = span->next;
	} else {
		context->out--;
	}
	pthread_mutex_unlock(&cuda->live->lock);
	return may_add ? add(cuda, context) : span;
}
