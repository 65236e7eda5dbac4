/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anchor.c - when the device's events were, by CLOCK_MONOTONIC
 *
 * The driver tells the time between two events alone, as float milliseconds: about 60 ns fine after
 * a second, 0.2 ms after an hour; and the two clocks drift apart by up to 100 us a second. So an event
 * whose time is known, on a stream of its own that waits for no other, is renewed each second.
 */
#include "span.h"

#define RENEW_NS 1000000000u
#define FINE_MS 2000 /* up to which a float is at most 0.2 us off */
#define STREAM_NON_BLOCKING 1u

/* The device takes the event's time somewhat after the call began; kvtap_anchor_time learns of it. */
static kvtap_cu_result take(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor, uint32_t i)
{
	uint64_t before = kvtap_clock_monotonic();
	kvtap_cu_result result = cuda->cu.event_record(anchor->event[i], anchor->stream);
	uint64_t after = kvtap_clock_monotonic();

	anchor->ns[i] = before + (after - before) / 2;
	anchor->pending = result == KVTAP_CU_SUCCESS;
	kvtap_store_relaxed(&anchor->taken_ns, after); /* checked later, with the lock */
	return result;
}

kvtap_cu_result kvtap_anchor_open(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor)
{
	kvtap_cu_result result = cuda->cu.stream_create(&anchor->stream, STREAM_NON_BLOCKING);

	for (uint32_t i = 0; i < 2 && !result; i++)
		result = cuda->cu.event_create(&anchor->event[i], 0);
	anchor->current = 1;
	return result ? result : take(cuda, anchor, 0);
}

void kvtap_anchor_close(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor)
{
	for (uint32_t i = 0; i < 2; i++)
		if (anchor->event[i])
			cuda->cu.event_destroy(anchor->event[i]);
	if (anchor->stream)
		cuda->cu.stream_destroy(anchor->stream);
}

bool kvtap_anchor_stale(struct kvtap_anchor *anchor, uint64_t now_ns)
{
	uint64_t taken_ns =
		kvtap_load_relaxed(&anchor->taken_ns); /* checked later, with the lock */

	return now_ns > taken_ns && now_ns - taken_ns > RENEW_NS;
}

/* The newer event, once it is done, takes the place of the one that served. */
static kvtap_cu_result advance(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor)
{
	kvtap_cu_result result;

	if (!anchor->pending)
		return KVTAP_CU_SUCCESS;
	result = cuda->cu.event_query(anchor->event[!anchor->current]);
	if (result == KVTAP_CU_NOT_READY)
		return anchor->ready ? KVTAP_CU_SUCCESS : result;
	if (result)
		return result;
	anchor->current = !anchor->current;
	anchor->ready = true;
	anchor->pending = false;
	return KVTAP_CU_SUCCESS;
}

kvtap_cu_result kvtap_anchor_renew(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor)
{
	kvtap_cu_result result = advance(cuda, anchor);

	if (result || anchor->pending)
		return result;
	return take(cuda, anchor, !anchor->current);
}

uint64_t kvtap_anchor_ns(float milliseconds)
{
	double ns = (double)milliseconds * 1e6;

	return ns > 0 && ns < 1e18 ? (uint64_t)(ns + 0.5) : 0;
}

kvtap_cu_result kvtap_anchor_time(struct kvtap_cuda *cuda, struct kvtap_anchor *anchor,
				  kvtap_cu_event event, uint64_t least_ns, uint64_t *ns)
{
	kvtap_cu_result result = advance(cuda, anchor);
	float since = 0;

	if (!result)
		result = cuda->cu.event_elapsed_time(&since, anchor->event[anchor->current], event);
	if (result)
		return result;
	*ns = anchor->ns[anchor->current] + kvtap_anchor_ns(since) - kvtap_anchor_ns(-since);
	/*
	 * It can't have been before the call that asked for it: so the anchor was later than assumed,
	 * unless the event is so far from it that a float tells no better.
	 */
	if (*ns < least_ns) {
		if (since > -FINE_MS && since < FINE_MS)
			anchor->ns[anchor->current] += least_ns - *ns;
		*ns = least_ns;
	}
	return KVTAP_CU_SUCCESS;
}
