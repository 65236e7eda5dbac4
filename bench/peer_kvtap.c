/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_kvtap.c - kvtap itself, asked as its peers are, and the floor
 *
 *	peer_kvtap drained	a reader takes the records every millisecond from the last CPU
 *	peer_kvtap tsc		the same, and the library takes the time from the CPU's counter
 *	peer_kvtap full		nobody takes them: all but the first ringful are folded
 *
 * Transfers of vLLM's offload kind, which feed two counters and a histogram. The floor is the same lines,
 * stored plainly into memory as large as the ring, which is read likewise.
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "collector.h"
#include "peer.h"

#define SLOTS 4096
#define BURST 2048 /* half a ring, so that it never fills while a reader drains */

static struct {
	struct collector collector;
	struct kvtap_ring *ring;
	uint32_t series;
	uint64_t now_ns;
	struct kvtap_transfer *slot, copy[SLOTS]; /* [SLOTS], of the floor */
	uint64_t head, tail, tail_bytes;
	_Atomic(uint64_t) published;
} self;

/* As a connector would: what differs from one transfer to the next is written before the call. */
static inline void fill(struct kvtap_transfer *transfer, uint32_t i)
{
	transfer->series = self.series;
	transfer->end_ns = self.now_ns + i;
	transfer->duration_ns = peer_duration_ns(i);
	transfer->submit_ns = 20000 + i;
	transfer->bytes = peer_bytes(i);
	transfer->descriptors = 1 + i;
	transfer->request_id = i;
}

static void record_by_thread(uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	self.now_ns = bench_now_ns();
	for (uint32_t i = 0; i < count; i++) {
		fill(&transfer, i);
		kvtap_transfer(self.collector.tap, &transfer);
	}
}

static void record_by_handle(uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	self.now_ns = bench_now_ns();
	for (uint32_t i = 0; i < count; i++) {
		fill(&transfer, i);
		kvtap_ring_transfer(self.ring, &transfer);
	}
}

static void record_with_clock(uint32_t count)
{
	struct kvtap_transfer transfer = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		fill(&transfer, i);
		transfer.end_ns = 0;
		kvtap_transfer(self.collector.tap, &transfer);
	}
}

static void store_plainly(uint32_t count)
{
	self.now_ns = bench_now_ns();
	for (uint32_t i = 0; i < count; i++)
		fill(&self.slot[self.head++ % SLOTS], i);
	atomic_store(&self.published, self.head);
}

static void read_plainly(void *arg)
{
	uint64_t published = atomic_load(&self.published);

	(void)arg;
	for (; self.tail < published; self.tail++) {
		struct kvtap_transfer *copy = &self.copy[self.tail % SLOTS];

		*copy = self.slot[self.tail % SLOTS];
		self.tail_bytes += copy->bytes;
	}
}

static void arrived(uint64_t *transfers, uint64_t *bytes)
{
	struct collector *collector = &self.collector;

	collector_drain(collector);
	collector_fold(collector);
	*transfers = collector->drained + collector->folded + self.tail;
	*bytes = collector->drained_bytes + collector->folded_bytes + self.tail_bytes;
	if (collector->wrong)
		bench_fail("read the records", 74);
}

int main(int argc, char **argv)
{
	static const struct peer_way drained[] = {
		{ "thread_found", BURST, record_by_thread, collector_drain, &self.collector },
		{ "handle", BURST, record_by_handle, collector_drain, &self.collector },
		{ "clock", BURST, record_with_clock, collector_drain, &self.collector },
		{ "floor", BURST, store_plainly, read_plainly, NULL },
	};
	static const struct peer_way tsc = { "clock_tsc", BURST, record_with_clock, collector_drain,
					     &self.collector };
	static const struct peer_way full = { "full", BURST, record_by_thread, NULL, NULL };
	const char *which = argc > 1 ? argv[1] : "drained";
	struct kvtap_options options = { .ring_slots = SLOTS };
	struct peer peer = { KVTAP_VERSION, drained, 4, arrived };
	int rc;

	if (strcmp(which, "drained") != 0) {
		peer.way = strcmp(which, "tsc") == 0 ? &tsc : &full;
		peer.ways = 1;
	}
	if (peer.way == &tsc) {
		if (!bench_tsc_trusted())
			return puts("missing a kernel that trusts the TSC") < 0;
		options.clock = KVTAP_CLOCK_TSC;
	}
	self.slot = bench_allocate(SLOTS * sizeof(*self.slot));
	collector_open_options(&self.collector, &options);
	rc = kvtap_builtin(self.collector.tap, &self.series, KVTAP_OFFLOAD_LOAD, NULL);
	if (rc < 0)
		bench_fail("declare a series", rc);
	self.ring = kvtap_ring(self.collector.tap);
	rc = peer_serve(&peer);
	collector_close(&self.collector);
	return rc;
}
