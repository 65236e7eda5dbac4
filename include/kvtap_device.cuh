/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvtap_device.cuh - records from kernels, into a ring in the worker's segment
 *
 *	__global__ void load(struct kvtap_device *tap, uint32_t series, ...)
 *	{
 *		uint64_t began_ns = kvtap_device_now(tap);
 *		...
 *		if (is_last_of_the_transfer) {
 *			struct kvtap_transfer transfer = {};
 *
 *			transfer.series = series;
 *			transfer.bytes = bytes;
 *			transfer.duration_ns = kvtap_device_now(tap) - began_ns;
 *			kvtap_device_transfer(tap, &transfer);
 *		}
 *	}
 *
 * The host passes kvtap_device_ring_producer() of kvtap_cuda.h as the kernel's argument. For sm_75 and
 * later. As C or C++ for the host it is the same protocol by threads of a process, for tests.
 *
 *   Ring full  a record is dropped and counted, with its bytes; the exporter shows it as lost. Nothing
 *              here waits for the host or for another thread.
 *   Cost       a claim in device memory, four stores over the bus, and the release of the last of
 *              them, which waits for the others to be there.
 *   Scope      kernels of the ring's own device, any stream, any thread, divergent or not.
 *   Time       %globaltimer, moved to CLOCK_MONOTONIC by an offset that the host keeps up to date.
 *
 *   GPU                                       CPU
 *   A load_acquire(host's tail)  refresh      D store_release(tail)     kvtap_reader_give_back
 *   K store_release(tail)        refresh
 *   L load_acquire(tail)         claim
 *     write slot                                copy slot
 *   B store_release(slot's head) write        C load_acquire(slot's head)  kvtap_reader_fetch
 *
 *   B -> C      publish: who sees a slot's head sees the slot
 *   D -> A, K -> L  reuse: who claims a slot may overwrite what was copied, whichever thread saw the tail
 *   M, N        Dekker: of a thread that counts a drop and finds the lock taken, and the one that lets
 *               go of it, one sees the other, so that what was dropped is reported by somebody
 */
#ifndef KVTAP_DEVICE_CUH
#define KVTAP_DEVICE_CUH

#include <stdbool.h>

#include "kvtap.h"
#include "kvtap_layout.h"

#ifdef __CUDACC__
#define KVTAP_DEVICE_FUNCTION static __device__ __forceinline__
#else
#include <time.h>
#define KVTAP_DEVICE_FUNCTION static inline
#endif

/* In device memory. The host writes it before the first kernel, and then clock_offset alone. */
struct kvtap_device {
	uint64_t claimed; /* records that got a slot since the ring was opened: index of the next */
	uint64_t tail;	  /* as last seen; claimed <= tail + slots */
	uint64_t dropped_records;
	uint64_t dropped_bytes;
	uint32_t reporting; /* a thread is copying dropped_* to lost */
	uint32_t reserved0;
	uint64_t reserved1[11];
	/* read only, in a line of its own */
	uint64_t records;     /* address, as the device sees it: struct kvtap_record [slots] */
	uint64_t host_tail;   /* address: kvtap_tail.tail */
	uint64_t lost;	      /* address: kvtap_ring_header.lost_records, then lost_bytes */
	uint64_t slots;	      /* a power of two, at most KVTAP_DEVICE_SLOTS_MAX */
	int64_t clock_offset; /* CLOCK_MONOTONIC - %globaltimer, ns */
	uint64_t reserved2[11];
};

KVTAP_LAYOUT_ASSERT(sizeof(struct kvtap_device) == 256, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, claimed) == 0, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, tail) == 8, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, dropped_records) == 16, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, dropped_bytes) == 24, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, reporting) == 32, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, records) == 128, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, host_tail) == 136, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, lost) == 144, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, slots) == 152, "device");
KVTAP_LAYOUT_ASSERT(offsetof(struct kvtap_device, clock_offset) == 160, "device");

/*
 * ---- what the machine does ----
 *
 * Host memory is only loaded and stored, 8 bytes at a time: a bus need not know atomic operations,
 * and may split what is wider. What the host sees has scope sys, the rest scope gpu. Addresses are
 * in the global space, which a 64-bit integer from the host always is.
 */
#ifdef __CUDACC__

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_load(const uint64_t *from) /* relaxed */
{
	uint64_t value;

	asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(from) : "memory");
	return value;
}

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_load_acquire(const uint64_t *from)
{
	uint64_t value;

	asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(from) : "memory");
	return value;
}

KVTAP_DEVICE_FUNCTION void kvtap_device_store_release(uint64_t *to, uint64_t value)
{
	asm volatile("st.release.gpu.global.u64 [%0], %1;" : : "l"(to), "l"(value) : "memory");
}

KVTAP_DEVICE_FUNCTION void kvtap_device_add(uint64_t *to, uint64_t value) /* relaxed */
{
	asm volatile("red.relaxed.gpu.global.add.u64 [%0], %1;" : : "l"(to), "l"(value) : "memory");
}

/* Relaxed. Returns: what was there; equal to expected: now it is value. */
KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_swap(uint64_t *at, uint64_t expected, uint64_t value)
{
	uint64_t old;

	asm volatile("atom.relaxed.gpu.global.cas.b64 %0, [%1], %2, %3;"
		     : "=l"(old)
		     : "l"(at), "l"(expected), "l"(value)
		     : "memory");
	return old;
}

KVTAP_DEVICE_FUNCTION uint32_t kvtap_device_lock(uint32_t *lock) /* acquire; 0: it was free */
{
	uint32_t old;

	asm volatile("atom.acquire.gpu.global.exch.b32 %0, [%1], 1;"
		     : "=r"(old)
		     : "l"(lock)
		     : "memory");
	return old;
}

KVTAP_DEVICE_FUNCTION void kvtap_device_unlock(uint32_t *lock)
{
	asm volatile("st.release.gpu.global.u32 [%0], 0;" : : "l"(lock) : "memory");
}

KVTAP_DEVICE_FUNCTION void kvtap_device_fence(void)
{
	asm volatile("fence.sc.gpu;" : : : "memory");
}

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_host_load_acquire(uint64_t from)
{
	uint64_t value;

	asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(from) : "memory");
	return value;
}

KVTAP_DEVICE_FUNCTION void kvtap_device_host_store(uint64_t to, uint64_t value) /* relaxed */
{
	asm volatile("st.relaxed.sys.global.u64 [%0], %1;" : : "l"(to), "l"(value) : "memory");
}

/* Two words side by side in one packet, each by itself relaxed; to is a multiple of 16. */
KVTAP_DEVICE_FUNCTION void kvtap_device_host_store2(uint64_t to, uint64_t first, uint64_t second)
{
	asm volatile("st.relaxed.sys.global.v2.u64 [%0], {%1, %2};"
		     :
		     : "l"(to), "l"(first), "l"(second)
		     : "memory");
}

KVTAP_DEVICE_FUNCTION void kvtap_device_host_store_release(uint64_t to, uint64_t value)
{
	asm volatile("st.release.sys.global.u64 [%0], %1;" : : "l"(to), "l"(value) : "memory");
}

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_ticks(void)
{
	uint64_t ns;

	asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns) : : "memory");
	return ns;
}

#else

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_load(const uint64_t *from)
{
	return __atomic_load_n(from, __ATOMIC_RELAXED);
}

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_load_acquire(const uint64_t *from)
{
	return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}

KVTAP_DEVICE_FUNCTION void kvtap_device_store_release(uint64_t *to, uint64_t value)
{
	__atomic_store_n(to, value, __ATOMIC_RELEASE);
}

KVTAP_DEVICE_FUNCTION void kvtap_device_add(uint64_t *to, uint64_t value)
{
	__atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_swap(uint64_t *at, uint64_t expected, uint64_t value)
{
	__atomic_compare_exchange_n(at, &expected, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return expected;
}

KVTAP_DEVICE_FUNCTION uint32_t kvtap_device_lock(uint32_t *lock)
{
	return __atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE);
}

KVTAP_DEVICE_FUNCTION void kvtap_device_unlock(uint32_t *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

KVTAP_DEVICE_FUNCTION void kvtap_device_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_host_load_acquire(uint64_t from)
{
	return __atomic_load_n((const uint64_t *)(uintptr_t)from, __ATOMIC_ACQUIRE);
}

KVTAP_DEVICE_FUNCTION void kvtap_device_host_store(uint64_t to, uint64_t value)
{
	__atomic_store_n((uint64_t *)(uintptr_t)to, value, __ATOMIC_RELAXED);
}

KVTAP_DEVICE_FUNCTION void kvtap_device_host_store2(uint64_t to, uint64_t first, uint64_t second)
{
	kvtap_device_host_store(to, first);
	kvtap_device_host_store(to + 8, second);
}

KVTAP_DEVICE_FUNCTION void kvtap_device_host_store_release(uint64_t to, uint64_t value)
{
	__atomic_store_n((uint64_t *)(uintptr_t)to, value, __ATOMIC_RELEASE);
}

KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_ticks(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#endif

/* ---- the protocol ---- */

/* kvtap_device_now - CLOCK_MONOTONIC in ns, as far as the GPU can tell: in steps of up to 1 us */
KVTAP_DEVICE_FUNCTION uint64_t kvtap_device_now(const struct kvtap_device *device)
{
	return kvtap_device_ticks() + kvtap_device_load((const uint64_t *)&device->clock_offset);
}

/*
 * The host's tail, over the bus. One that is ahead of what was claimed, or more than a ring behind, is
 * nonsense and ignored; what was claimed is read after it, so that it is not ahead by the way.
 */
KVTAP_DEVICE_FUNCTION void kvtap_device_refresh(struct kvtap_device *device)
{
	uint64_t tail = kvtap_device_host_load_acquire(device->host_tail); /* A, pairs with D */

	if (kvtap_device_load(&device->claimed) - tail <= device->slots)
		kvtap_device_store_release(&device->tail, tail); /* K, pairs with L */
}

/*
 * kvtap_device_claim - take up to count slots from *index on
 *
 * What is claimed is written, so that the reader, who takes slots in order, never waits for one that
 * stays empty. The tail may be an older one than others saw, which makes room look smaller. It repeats
 * only when another thread got slots in between.
 *
 * Returns: how many; fewer than count: there were no more.
 */
KVTAP_DEVICE_FUNCTION uint32_t kvtap_device_claim(struct kvtap_device *device, uint32_t count,
						  uint64_t *index)
{
	bool refreshed = false;

	for (;;) {
		uint64_t tail = kvtap_device_load_acquire(&device->tail); /* L, pairs with K */
		uint64_t claimed = kvtap_device_load(&device->claimed);
		uint64_t used = claimed - tail;
		uint64_t room = used < device->slots ? device->slots - used : 0;
		uint32_t granted = room < count ? (uint32_t)room : count;

		if (granted < count && !refreshed) {
			kvtap_device_refresh(device); /* once: it takes as long as a record */
			refreshed = true;
			continue;
		}
		if (!granted)
			return 0;
		if (kvtap_device_swap(&device->claimed, claimed, claimed + granted) == claimed) {
			*index = claimed;
			return granted;
		}
	}
}

/* kvtap_device_write - fill the slot of an index that was claimed */
KVTAP_DEVICE_FUNCTION void kvtap_device_write(struct kvtap_device *device, uint64_t index,
					      const struct kvtap_transfer *transfer)
{
	uint64_t slot = device->records + (index & (device->slots - 1)) * 64;
	uint64_t op = KVTAP_OP_TRANSFER | (transfer->flags & KVTAP_OP_OVERLAPPED);

	kvtap_device_host_store(slot + 8,
				transfer->end_ns ? transfer->end_ns : kvtap_device_now(device));
	kvtap_device_host_store2(slot + 16, transfer->duration_ns, transfer->submit_ns);
	kvtap_device_host_store2(slot + 32, transfer->queue_ns, transfer->bytes);
	kvtap_device_host_store2(slot + 48,
				 transfer->descriptors | (uint64_t)transfer->failed_descriptors
								 << 32,
				 transfer->request_id);
	kvtap_device_host_store_release(slot, transfer->series | (uint64_t)transfer->status << 32 |
						      op << 40 | index << 48); /* B, pairs with C */
}

/*
 * Tell the host what was dropped. Whoever finds that another thread is at it leaves it to that one,
 * which looks again after it has let go: then either it sees the drop, or the lock was free.
 */
KVTAP_DEVICE_FUNCTION void kvtap_device_report(struct kvtap_device *device)
{
	uint64_t records, bytes;

	do {
		kvtap_device_fence(); /* M, N: between a drop and the lock; between lock and drops */
		if (kvtap_device_lock(&device->reporting))
			return;
		records = kvtap_device_load(&device->dropped_records);
		bytes = kvtap_device_load(&device->dropped_bytes);
		kvtap_device_host_store(device->lost, records);
		kvtap_device_host_store(device->lost + 8, bytes);
		kvtap_device_unlock(&device->reporting);
		kvtap_device_fence(); /* N, pairs with M */
	} while (kvtap_device_load(&device->dropped_records) != records ||
		 kvtap_device_load(&device->dropped_bytes) != bytes);
}

/* kvtap_device_drop - count a record, of so many bytes, that is not made */
KVTAP_DEVICE_FUNCTION void kvtap_device_drop(struct kvtap_device *device, uint64_t bytes)
{
	if (!device)
		return;
	kvtap_device_add(&device->dropped_bytes, bytes);
	kvtap_device_add(&device->dropped_records, 1);
	kvtap_device_report(device);
}

/**
 * kvtap_device_transfer - record one transfer
 * @device:   of kvtap_device_ring_producer(); NULL: nothing is recorded or counted
 * @transfer: copied; end_ns 0: now
 *
 * Returns: false: not recorded; the ring is full, and it is counted as lost.
 */
KVTAP_DEVICE_FUNCTION bool kvtap_device_transfer(struct kvtap_device *device,
						 const struct kvtap_transfer *transfer)
{
	uint64_t index;

	if (!device)
		return false;
	if (!kvtap_device_claim(device, 1, &index)) {
		kvtap_device_drop(device, transfer->bytes);
		return false;
	}
	kvtap_device_write(device, index, transfer);
	return true;
}

#ifdef __CUDACC__
/**
 * kvtap_device_transfer_warp - record one transfer for each thread that is here, by one claim a warp
 *
 * As kvtap_device_transfer(). Threads of a warp that come at another time, or with another device, make
 * a claim of their own.
 */
KVTAP_DEVICE_FUNCTION bool kvtap_device_transfer_warp(struct kvtap_device *device,
						      const struct kvtap_transfer *transfer)
{
	unsigned peers = __match_any_sync(__activemask(), (unsigned long long)device);
	int leader = __ffs((int)peers) - 1;
	uint32_t lane, rank, granted = 0;
	uint64_t index = 0;

	asm("mov.u32 %0, %%laneid;" : "=r"(lane));
	if (!device)
		return false;
	rank = (uint32_t)__popc(peers & ((1u << lane) - 1));
	if ((int)lane == leader)
		granted = kvtap_device_claim(device, (uint32_t)__popc(peers), &index);
	granted = __shfl_sync(peers, granted, leader);
	index = __shfl_sync(peers, index, leader);
	if (rank >= granted) {
		kvtap_device_drop(device, transfer->bytes);
		return false;
	}
	kvtap_device_write(device, index + rank, transfer);
	return true;
}
#endif

#endif /* KVTAP_DEVICE_CUH */
