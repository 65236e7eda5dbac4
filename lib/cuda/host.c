/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.c - spans by two host functions in the stream, which the driver calls in its own thread
 *
 * They call no driver, allocate nothing and take no lock (but a thread's first record takes a ring).
 * After an error of the context they are not called, or maybe later: what close finds in the stream
 * stays in memory for good.
 *
 * state, by which one of function and close has the span:
 *   DONE -> BEGUN      begin, the caller's thread
 *   BEGUN -> STARTED   A swap_acq_rel, first function
 *   STARTED -> RUNNING B swap_acq_rel, second function; B -> DONE by C store_release
 *   BEGUN, STARTED -> ABANDONED  D swap_acq_rel, close: the functions then touch state alone
 *   A -> B, A -> E  message passing: who sees STARTED sees start_ns, and may write to it
 *   C -> E          message passing: who sees DONE (load_acquire) has the span and the tap alone
 */
#include <sched.h>

#include "span.h"

enum { DONE, BEGUN, STARTED, RUNNING, ABANDONED };

/* What is in a stream at close; kept reachable, never used again. */
static _Atomic(struct kvtap_span *) abandoned;

static void on_start(void *argument)
{
	struct kvtap_span *span = argument;
	uint32_t state = BEGUN;

	span->start_ns = kvtap_clock_monotonic();
	kvtap_swap_acq_rel(&span->state, &state, STARTED); /* A */
}

static void on_end(void *argument)
{
	struct kvtap_span *span = argument;
	struct kvtap_transfer transfer;
	uint32_t state = STARTED;

	if (!kvtap_swap_acq_rel(&span->state, &state, RUNNING)) /* B, pairs with A and D */
		return;
	transfer = kvtap_cuda_transfer(span);
	transfer.end_ns = kvtap_clock_monotonic();
	transfer.duration_ns = transfer.end_ns - span->start_ns;
	transfer.queue_ns = span->start_ns - span->begin_ns;
	kvtap_cuda_record(span->cuda, &transfer);
	kvtap_store_release(&span->state, DONE); /* C, pairs with E */
}

kvtap_cu_result kvtap_host_begin(struct kvtap_span *span, kvtap_cu_stream stream)
{
	kvtap_cu_result result;

	kvtap_store_relaxed(&span->state, BEGUN); /* own: the launch publishes it */
	result = span->cuda->cu.launch_host_func(stream, on_start, span);
	if (result)
		kvtap_store_relaxed(&span->state, DONE); /* own */
	return result;
}

kvtap_cu_result kvtap_host_end(struct kvtap_span *span)
{
	return span->cuda->cu.launch_host_func(span->stream, on_end, span);
}

bool kvtap_host_done(struct kvtap_span *span)
{
	uint32_t state = kvtap_load_acquire(&span->state); /* E, pairs with A and C */

	return state == DONE || (state == STARTED && span->told);
}

/* A function that is writing its record is waited for: the tap may be closed after this. */
bool kvtap_host_abandon(struct kvtap_span *span)
{
	struct kvtap_span *next = NULL;

	while (!kvtap_host_done(span)) {
		uint32_t state = BEGUN;

		if (kvtap_swap_acq_rel(&span->state, &state, ABANDONED) || /* D */
		    (state == STARTED &&
		     kvtap_swap_acq_rel(&span->state, &state, ABANDONED))) { /* D */
			do
				span->all = next;
			while (!kvtap_swap_acq_rel(&abandoned, &next, span)); /* D, for the list */
			return true;
		}
		sched_yield();
	}
	return false;
}
