/* SPDX-License-Identifier: Apache-2.0 */
/*
 * span.h - what the span code's files share
 *
 * struct kvtap_cuda survives a fork; struct kvtap_cuda_live, in a page that fork wipes, does not: in a
 * child it reads as "not open, locks free", and what the parent knew of the driver is not touched.
 *
 * Two locks. live->lock guards tables, pools and queues, for some instructions; no driver call is
 * made with it held. live->harvest is held over driver calls by the one who harvests, adds a context
 * or removes one; who could do without tries it only.
 */
#ifndef KVTAP_CUDA_SPAN_H
#define KVTAP_CUDA_SPAN_H

#include <pthread.h>
#include <stdbool.h>

#include "../atomic.h"
#include "../clock.h"
#include "driver.h"
#include "kvtap_cuda.h"

#define KVTAP_CONTEXTS_MAX 64
#define KVTAP_PAIRS_FIRST 64 /* events that a context has from its first span on */

enum kvtap_untimed {
	KVTAP_UNTIMED_DRIVER,
	KVTAP_UNTIMED_CAPTURE,
	KVTAP_UNTIMED_FULL,
	KVTAP_UNTIMED_CONTEXT,
	KVTAP_UNTIMED_ABANDONED,
	KVTAP_UNTIMED_REASONS,
};

struct kvtap_cuda_live {
	pthread_mutex_t lock, harvest; /* zero is unlocked, on glibc and musl */
	_Atomic(uint32_t) open;	       /* by this process, with a driver */
	_Atomic(uint64_t) recorded, failed, in_flight, untimed[KVTAP_UNTIMED_REASONS];
	/* the own thread */
	pthread_mutex_t sleep;
	pthread_cond_t wake;
	pthread_t thread;
	bool stop, running;
};

struct kvtap_cuda {
	struct kvtap *tap;
	struct kvtap_cu cu;
	struct kvtap_cuda_live *live;
	uint32_t spans_max, harvest_ms;
	bool host;				 /* by host functions */
	bool found;				 /* there is a driver */
	uint32_t untimed[KVTAP_UNTIMED_REASONS]; /* series */
	struct kvtap_context *context[KVTAP_CONTEXTS_MAX];
	struct kvtap_device_ring *rings; /* a list, with the harvest lock */
};

/* When the device's time was what, by CLOCK_MONOTONIC; the newer event serves once it is done. */
struct kvtap_anchor {
	kvtap_cu_stream stream;
	kvtap_cu_event event[2];
	uint64_t ns[2];
	uint32_t current; /* the event that serves */
	bool ready;	  /* one does */
	bool pending;	  /* the other one is in the stream */
	_Atomic(uint64_t) taken_ns;
};

/*
 * A context and its spans. Once dead it stays so, and nothing of it goes to the driver any more; a
 * new context behind the same handle is another one of these.
 */
struct kvtap_context {
	kvtap_cu_context handle;
	bool dead;
	uint64_t used_ns;
	uint32_t spans; /* made, of spans_max */
	uint32_t out;	/* in use: begun, queued; or a call is about to take one */
	struct kvtap_span *all, *free;
	struct kvtap_span *first, *last; /* heads of the streams' queues */
	_Atomic(uint32_t) streams;	 /* that have a queue */
	struct kvtap_anchor anchor;
};

struct kvtap_span {
	struct kvtap_cuda *cuda;
	struct kvtap_context *context;
	struct kvtap_span *all;	 /* the context's next */
	struct kvtap_span *next; /* in the free list, or in its stream's queue */
	/* of the head of a queue */
	struct kvtap_span *tail, *sibling; /* its queue's last; the next stream's head */
	kvtap_cu_stream stream;
	const void *thread; /* whose per-thread default stream it is */
	kvtap_cu_event start, end;
	uint64_t begin_ns, submit_ns, start_ns;
	uint64_t bytes, request_id;
	uint32_t series, descriptors;
	_Atomic(uint32_t) state; /* of host functions, see host.c */
	bool told;		 /* counted already: in a queue for its place only */
};

/* ---- cuda.c ---- */

/* kvtap_cuda_ready - whether the driver may be called: there is one, and this is no fork child */
static inline bool kvtap_cuda_ready(const struct kvtap_cuda *cuda)
{
	return kvtap_load_relaxed(&cuda->live->open); /* set before the caller had it */
}

/* kvtap_cuda_untimed - count a span that is not timed, and tell the operators */
void kvtap_cuda_untimed(struct kvtap_cuda *cuda, enum kvtap_untimed reason);
/* kvtap_cuda_transfer - what a record of a span says but for times and status */
struct kvtap_transfer kvtap_cuda_transfer(const struct kvtap_span *span);
/* kvtap_cuda_record - record a span that was in flight, and count it */
void kvtap_cuda_record(struct kvtap_cuda *cuda, const struct kvtap_transfer *transfer);
/* kvtap_cuda_failed - the record of a span that the device did not finish, for all that is known */
struct kvtap_transfer kvtap_cuda_failed(const struct kvtap_span *span, uint8_t status);

/* ---- context.c ---- */

/* kvtap_context_of - CU_STREAM_LEGACY for NULL, and the stream's context; a CUresult */
kvtap_cu_result kvtap_context_of(struct kvtap_cuda *cuda, kvtap_cu_stream *stream,
				 kvtap_cu_context *handle);
/* kvtap_context_enter - make it current if it isn't; a CUresult. @pushed: for leave */
kvtap_cu_result kvtap_context_enter(struct kvtap_cuda *cuda, kvtap_cu_context handle, bool *pushed);
void kvtap_context_leave(struct kvtap_cuda *cuda, bool pushed);
/* kvtap_context_check - whether the current one lives, or was destroyed while it was; a CUresult */
kvtap_cu_result kvtap_context_check(struct kvtap_cuda *cuda);
/* kvtap_context_relax - let this thread's calls break no capture; a CUresult. @mode: for restore */
kvtap_cu_result kvtap_context_relax(struct kvtap_cuda *cuda, int *mode);
void kvtap_context_restore(struct kvtap_cuda *cuda, int mode);
/* kvtap_context_get - of the current context, or NULL: it takes no events. One more is out */
struct kvtap_context *kvtap_context_get(struct kvtap_cuda *cuda, kvtap_cu_context handle);
/* kvtap_context_put - a span that was out is free */
void kvtap_context_put(struct kvtap_context *context, struct kvtap_span *span);
bool kvtap_context_dead(struct kvtap_cuda *cuda, const struct kvtap_context *context);
/* kvtap_context_kill - it is not called any more; its spans in flight are recorded as failed */
void kvtap_context_kill(struct kvtap_cuda *cuda, struct kvtap_context *context);
/* kvtap_context_destroy - give all back. Nobody else uses it */
void kvtap_context_destroy(struct kvtap_cuda *cuda, struct kvtap_context *context);

/* ---- pool.c, of the current context ---- */

/* kvtap_pool_fill - the first pairs; false: the context takes none */
bool kvtap_pool_fill(struct kvtap_cuda *cuda, struct kvtap_context *context);
/* kvtap_pool_take - a span for what was counted as out; NULL: none, and it is not. @dead: that's why */
struct kvtap_span *kvtap_pool_take(struct kvtap_cuda *cuda, struct kvtap_context *context,
				   bool *dead);

/* ---- anchor.c, with the harvest lock, in the current context ---- */

/* kvtap_anchor_open - 0 or a CUresult; kvtap_anchor_close also what was opened in part */
kvtap_cu_result kvtap_anchor_open(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor);
void kvtap_anchor_close(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor);
bool kvtap_anchor_stale(struct kvtap_anchor *anchor, uint64_t now_ns);
kvtap_cu_result kvtap_anchor_renew(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor);
/* kvtap_anchor_time - when an event was that is not before @least_ns; 600: no anchor is done yet */
kvtap_cu_result kvtap_anchor_time(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor,
				  kvtap_cu_event event, uint64_t least_ns, uint64_t *ns);
/* kvtap_anchor_ns - nanoseconds of what cuEventElapsedTime gives, at least 0 */
uint64_t kvtap_anchor_ns(float milliseconds);

/* ---- harvest.c ---- */

/* kvtap_harvest_queue - a span goes into its stream's queue; false: its context is dead */
bool kvtap_harvest_queue(struct kvtap_span *span);
/* kvtap_harvest_poll - what a caller in @context, which is current, does for those before it */
void kvtap_harvest_poll(struct kvtap_cuda *cuda, struct kvtap_context *context);
/* kvtap_harvest_dead - record a dead context's spans as failed, unless somebody harvests */
void kvtap_harvest_dead(struct kvtap_cuda *cuda, struct kvtap_context *context);
int kvtap_harvest_start(struct kvtap_cuda *cuda);
void kvtap_harvest_stop(struct kvtap_cuda *cuda);

/* ---- host.c ---- */

kvtap_cu_result kvtap_host_begin(struct kvtap_span *span, kvtap_cu_stream stream);
kvtap_cu_result kvtap_host_end(struct kvtap_span *span);
/* kvtap_host_done - whether no function of it is in the stream any more */
bool kvtap_host_done(struct kvtap_span *span);
/* kvtap_host_abandon - none touches anything but the span from now on; false: none is there */
bool kvtap_host_abandon(struct kvtap_span *span);

#endif
