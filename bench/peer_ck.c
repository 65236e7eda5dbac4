/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_ck.c - Concurrency Kit's ring, one producer and one consumer, 64 bytes a record
 *
 * The same struct as kvtap's, copied into a ring of as many slots in the memory of one process, and
 * taken out of it every millisecond from the last CPU. Nothing is checked or validated.
 */
#include <ck_ring.h>

#include "bench.h"
#include "kvtap.h"
#include "peer.h"

#define SLOTS 4096
#define BURST 2048

CK_RING_PROTOTYPE(transfer, kvtap_transfer)

static struct {
	ck_ring_t ring;
	struct kvtap_transfer *slot; /* [SLOTS] */
	uint64_t recorded_full;	     /* the ring had no room */
	uint64_t arrived, arrived_bytes;
} self;

static void record(uint32_t count)
{
	struct kvtap_transfer transfer = { .series = 1 };
	uint64_t now_ns = bench_now_ns();

	for (uint32_t i = 0; i < count; i++) {
		transfer.end_ns = now_ns + i;
		transfer.duration_ns = peer_duration_ns(i);
		transfer.submit_ns = 20000 + i;
		transfer.bytes = peer_bytes(i);
		transfer.descriptors = 1 + i;
		transfer.request_id = i;
		if (!ck_ring_enqueue_spsc_transfer(&self.ring, self.slot, &transfer))
			self.recorded_full++;
	}
}

static void drain(void *arg)
{
	struct kvtap_transfer transfer;

	(void)arg;
	while (ck_ring_dequeue_spsc_transfer(&self.ring, self.slot, &transfer)) {
		self.arrived++;
		self.arrived_bytes += transfer.bytes;
	}
}

static void arrived(uint64_t *transfers, uint64_t *bytes)
{
	*transfers = self.arrived;
	*bytes = self.arrived_bytes;
}

int main(void)
{
	static const struct peer_way way = { "spsc", BURST, record, drain, NULL };
	const struct peer peer = { CK_VERSION, &way, 1, arrived };

	ck_ring_init(&self.ring, SLOTS);
	self.slot = bench_allocate(SLOTS * sizeof(*self.slot));
	return peer_serve(&peer);
}
