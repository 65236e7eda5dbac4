/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_ring.c - give a ring of the segment to the GPU, and tell it the time
 *
 * Three pieces of host memory are the device's too: the ring, the page of its tail, and a page of our
 * own, through which the device says what its clock shows and gets to know the offset. All work is in
 * a stream of our own, so that no stream of the program is waited for.
 *
 *   GPU                                    host
 *   S store_release(ticks)  calibrate      T load_acquire(ticks)   wait_for_ticks
 *   What was put into the stream before that kernel is done when T sees it.
 */
#include "device_ring.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../clock.h"
#include "kvtap_cuda.h"
#include "kvtap_device.cuh"
#include "span.h"

enum {
	CAN_MAP_HOST_MEMORY = 19, /* CUdevice_attribute */
	READ_ONLY_HOST_REGISTER_SUPPORTED = 113,
	REGISTER_PORTABLE = 1, /* CU_MEMHOSTREGISTER_* */
	REGISTER_DEVICEMAP = 2,
	REGISTER_READ_ONLY = 8,
	STREAM_NON_BLOCKING = 1,
	EVENT_DISABLE_TIMING = 2,
	CAPTURE_MODE_RELAXED = 2,
};

#define TRIES 8		   /* of which that with the shortest way back from the device counts */
#define PATIENCE_NS 100000 /* of each try, when not opening */

struct page {			 /* ours, and the device's */
	_Atomic(uint64_t) ticks; /* by the device; 0: not yet */
	int64_t offset;
	struct kvtap_device start;
};

struct kvtap_device_ring {
	struct kvtap_cuda *cuda; /* in whose list it is; NULL: in none */
	struct kvtap_device_ring *next;
	struct kvtap *tap;
	const struct kvtap_cu *cu;
	pid_t process;
	kvtap_cu_context context;
	kvtap_cu_stream stream;
	kvtap_cu_event event;
	kvtap_cu_pointer memory; /* struct kvtap_device */
	struct kvtap_kernels kernels;
	struct kvtap_ring_header *shared;
	void *tail_page; /* own mapping of the tails file's */
	struct page *page;
	size_t page_bytes;
	kvtap_cu_pointer page_there; /* page, as the device sees it */
	void *registered[3];
	uint32_t registrations;
	bool asked; /* a kernel that is to answer in page->ticks is under way */
	uint64_t calibrated_ns;
};

static int said(const struct kvtap_device_ring *ring, const char *call, kvtap_cu_result result)
{
	if (result == KVTAP_CU_SUCCESS)
		return 0;
	kvtap_tap_log(ring->tap, KVTAP_LOG_ERROR, "device ring: %s: CUDA error %d", call, result);
	if (result == KVTAP_CU_OUT_OF_MEMORY)
		return -ENOMEM;
	return result == KVTAP_CU_NOT_SUPPORTED ? -ENOTSUP : -EIO;
}

bool kvtap_device_ring_enter(const struct kvtap_device_ring *ring, int *mode)
{
	*mode = CAPTURE_MODE_RELAXED;
	if (ring->process != getpid() ||
	    ring->cu->ctx_push_current(ring->context) != KVTAP_CU_SUCCESS)
		return false;
	ring->cu->thread_exchange_stream_capture_mode(mode);
	return true;
}

void kvtap_device_ring_leave(const struct kvtap_device_ring *ring, int mode)
{
	kvtap_cu_context context;

	ring->cu->thread_exchange_stream_capture_mode(&mode);
	ring->cu->ctx_pop_current(&context);
}

/* ---- memory that both have ---- */

static int share(struct kvtap_device_ring *ring, void *host, size_t bytes, unsigned flags,
		 kvtap_cu_pointer *there)
{
	int rc = said(ring, "cuMemHostRegister",
		      ring->cu->mem_host_register(host, bytes,
						  REGISTER_PORTABLE | REGISTER_DEVICEMAP | flags));

	if (rc < 0)
		return rc;
	ring->registered[ring->registrations++] = host;
	return said(ring, "cuMemHostGetDevicePointer",
		    ring->cu->mem_host_get_device_pointer(there, host, 0));
}

static int share_own_page(struct kvtap_device_ring *ring)
{
	void *page = mmap(NULL, ring->page_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -ENOMEM;
	ring->page = page;
	/* pinned: in a fork child a write here would move this process's page from under the device */
	if (madvise(page, ring->page_bytes, MADV_DONTFORK) < 0)
		return -errno;
	return share(ring, page, ring->page_bytes, 0, &ring->page_there);
}

/*
 * The page of the tail, in a mapping of its own, as a page is registered once and other device rings
 * may have their tails in the same one. Where the device can't be held to reading it is writable, for
 * the driver pins it as such; nothing here or on the device writes there.
 */
static int share_tail(struct kvtap_device_ring *ring, const struct kvtap_tail *tail, bool read_only,
		      kvtap_cu_pointer *there)
{
	uintptr_t offset = (uintptr_t)tail & (ring->page_bytes - 1);
	/* a size of 0 makes a second mapping, see mremap(2) */
	void *page =
		mremap((void *)((uintptr_t)tail - offset), 0, ring->page_bytes, MREMAP_MAYMOVE);
	int rc;

	if (page == MAP_FAILED)
		return -errno;
	ring->tail_page = page;
	if (madvise(page, ring->page_bytes, MADV_DONTFORK) < 0 ||
	    (!read_only && mprotect(page, ring->page_bytes, PROT_READ | PROT_WRITE) < 0))
		return -errno;
	rc = share(ring, page, ring->page_bytes, read_only ? REGISTER_READ_ONLY : 0, there);
	*there += offset;
	return rc;
}

static int share_ring(struct kvtap_device_ring *ring, bool read_only)
{
	struct kvtap_device *start = &ring->page->start;
	uint64_t slots = ring->tap->ring_slots;
	const struct kvtap_tail *tail;
	kvtap_cu_pointer there;
	int rc = kvtap_tap_device_ring(ring->tap, &ring->shared, &tail);

	if (rc < 0) {
		kvtap_tap_log(ring->tap, KVTAP_LOG_ERROR, "device ring: no ring of %u slots: %s",
			      ring->tap->ring_slots, strerror(-rc));
		return rc == -EUSERS ? -ENOSPC : rc;
	}
	rc = share(ring, ring->shared, KVTAP_RING_RECORDS + slots * sizeof(struct kvtap_record), 0,
		   &there);
	if (rc < 0)
		return rc;
	start->slots = slots;
	start->records = there + KVTAP_RING_RECORDS;
	start->lost = there + offsetof(struct kvtap_ring_header, lost_records);
	return share_tail(ring, tail, read_only, &start->host_tail);
}

/* ---- the clock ---- */

static kvtap_cu_result ask(struct kvtap_device_ring *ring)
{
	void *arguments[] = { &ring->page_there };
	kvtap_cu_result result;

	kvtap_store_relaxed(&ring->page->ticks, 0); /* nothing is under way that writes it */
	result = kvtap_kernels_launch(ring->cu, ring->kernels.calibrate, ring->stream, arguments);
	ring->asked = result == KVTAP_CU_SUCCESS;
	return ring->asked ? ring->cu->event_record(ring->event, ring->stream) : result;
}

/* What the kernel saw, and when that was here; 0: it isn't here yet, or never will be. */
static uint64_t wait_for_ticks(struct kvtap_device_ring *ring, uint64_t patience_ns,
			       uint64_t *now_ns)
{
	uint64_t until_ns = kvtap_clock_monotonic() + patience_ns, ticks;
	bool ended = false;

	for (unsigned looks = 1;; looks++) {
		ticks = kvtap_load_acquire(&ring->page->ticks); /* T, pairs with S */
		*now_ns = kvtap_clock_monotonic();
		if (ticks || ended || *now_ns >= until_ns)
			break;
		if (looks % 256 == 0) { /* seldom: it takes long, and the driver's lock */
			ended = ring->cu->event_query(ring->event) != KVTAP_CU_NOT_READY;
			sched_yield();
		}
	}
	ring->asked = !ticks && !ended;
	return ticks;
}

/*
 * The device's clock is read a moment before its answer is here, and the shortest of these moments
 * is about what the bus takes. Returns: CUresult; NOT_READY: no answer in time.
 */
static kvtap_cu_result measure(struct kvtap_device_ring *ring, uint64_t patience_ns)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		kvtap_cu_result result = ask(ring);
		uint64_t ticks, now_ns;
		int64_t ahead;

		if (result != KVTAP_CU_SUCCESS)
			return result;
		ticks = wait_for_ticks(ring, patience_ns, &now_ns);
		if (!ticks)
			return ring->asked ? KVTAP_CU_NOT_READY
					   : ring->cu->event_query(ring->event);
		ahead = (int64_t)(now_ns - ticks);
		best = ahead < best ? ahead : best;
	}
	ring->page->offset = best;
	ring->calibrated_ns = kvtap_clock_monotonic();
	return KVTAP_CU_SUCCESS;
}

void kvtap_device_ring_calibrate(struct kvtap_device_ring *ring, uint64_t now_ns)
{
	int mode;

	if (now_ns - ring->calibrated_ns < KVTAP_DEVICE_CALIBRATE_NS ||
	    (ring->asked && !kvtap_load_acquire(&ring->page->ticks)) || /* T, pairs with S */
	    !kvtap_device_ring_enter(ring, &mode))
		return;
	if (measure(ring, PATIENCE_NS) == KVTAP_CU_SUCCESS)
		ring->cu->memcpy_htod_async(ring->memory +
						    offsetof(struct kvtap_device, clock_offset),
					    &ring->page->offset, sizeof(ring->page->offset),
					    ring->stream);
	kvtap_device_ring_leave(ring, mode);
}

/* ---- open and close ---- */

static int make_parts(struct kvtap_device_ring *ring)
{
	const struct kvtap_cu *cu = ring->cu;
	kvtap_cu_result result;
	int rc =
		said(ring, "cuStreamCreate", cu->stream_create(&ring->stream, STREAM_NON_BLOCKING));

	if (!rc)
		rc = said(ring, "cuEventCreate",
			  cu->event_create(&ring->event, EVENT_DISABLE_TIMING));
	if (!rc)
		rc = said(ring, "cuMemAlloc",
			  cu->mem_alloc(&ring->memory, sizeof(struct kvtap_device)));
	if (rc < 0)
		return rc;
	rc = kvtap_kernels_load(cu, &ring->kernels, &result);
	if (rc < 0) {
		said(ring, "cuModuleLoadData", result);
		return rc;
	}
	return share_own_page(ring);
}

/* Waits for the stream, that is, for a device that others keep busy to take a kernel. */
static int begin(struct kvtap_device_ring *ring)
{
	struct kvtap_device *start = &ring->page->start;
	uint64_t now_ns;
	int rc = said(ring, "the clock's kernel", measure(ring, INT64_MAX));

	if (rc < 0)
		return rc;
	start->clock_offset = ring->page->offset;
	rc = said(ring, "cuMemcpyHtoDAsync",
		  ring->cu->memcpy_htod_async(ring->memory, start, sizeof(*start), ring->stream));
	if (!rc)
		rc = said(ring, "cuLaunchKernel", ask(ring));
	return rc < 0 || wait_for_ticks(ring, INT64_MAX, &now_ns) ? rc : -EIO;
}

static int set_up(struct kvtap_device_ring *ring)
{
	const struct kvtap_cu *cu = ring->cu;
	kvtap_cu_device device;
	int maps = 0, read_only = 0, rc;

	rc = said(ring, "cuCtxGetDevice", cu->ctx_get_device(&device));
	if (!rc)
		rc = said(ring, "cuDeviceGetAttribute",
			  cu->device_get_attribute(&maps, CAN_MAP_HOST_MEMORY, device));
	if (rc < 0)
		return rc;
	if (!maps || ring->tap->ring_slots > KVTAP_DEVICE_SLOTS_MAX) {
		kvtap_tap_log(ring->tap, KVTAP_LOG_ERROR, "device ring: %s",
			      maps ? "more than 32768 slots" : "the device can't map host memory");
		return -ENOTSUP;
	}
	if (cu->device_get_attribute(&read_only, READ_ONLY_HOST_REGISTER_SUPPORTED, device) !=
	    KVTAP_CU_SUCCESS)
		read_only = 0; /* a driver that doesn't know the question */
	rc = make_parts(ring);
	if (!rc)
		rc = share_ring(ring, read_only != 0);
	return rc < 0 ? rc : begin(ring);
}

int kvtap_device_ring_make(struct kvtap_device_ring **result, struct kvtap *tap,
			   const struct kvtap_cu *cu)
{
	kvtap_cu_context context = NULL;
	struct kvtap_device_ring *ring;
	int mode, rc;

	*result = NULL;
	if (tap->id == KVTAP_ID_NONE || cu->ctx_get_current(&context) != KVTAP_CU_SUCCESS ||
	    !context)
		return -ENODEV;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	*ring = (struct kvtap_device_ring){ .tap = tap,
					    .cu = cu,
					    .process = getpid(),
					    .context = context,
					    .page_bytes = (size_t)sysconf(_SC_PAGESIZE) };
	rc = -ENODEV;
	if (kvtap_device_ring_enter(ring, &mode)) {
		rc = set_up(ring);
		kvtap_device_ring_leave(ring, mode);
	}
	if (rc < 0)
		kvtap_device_ring_close(ring);
	else
		*result = ring;
	return rc;
}

/* Until our stream is empty: the device may be about to write to our page, or to read it. */
static void finish(const struct kvtap_device_ring *ring)
{
	if (ring->event && ring->cu->event_record(ring->event, ring->stream) == KVTAP_CU_SUCCESS)
		while (ring->cu->event_query(ring->event) == KVTAP_CU_NOT_READY)
			sched_yield();
}

/* What the driver doesn't give back, because its context is gone, went with that. */
static void give_back(struct kvtap_device_ring *ring)
{
	const struct kvtap_cu *cu = ring->cu;

	finish(ring);
	if (ring->stream)
		cu->stream_destroy(ring->stream);
	if (ring->event)
		cu->event_destroy(ring->event);
	if (ring->memory)
		cu->mem_free(ring->memory);
	kvtap_kernels_unload(cu, &ring->kernels);
	while (ring->registrations)
		cu->mem_host_unregister(ring->registered[--ring->registrations]);
}

int kvtap_device_ring_open(struct kvtap_device_ring **result, struct kvtap_cuda *cuda)
{
	int rc;

	*result = NULL;
	if (!cuda || !kvtap_cuda_ready(cuda))
		return -ENODEV;
	rc = kvtap_device_ring_make(result, cuda->tap, &cuda->cu);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&cuda->live->harvest);
	(*result)->cuda = cuda;
	(*result)->next = cuda->rings;
	cuda->rings = *result;
	pthread_mutex_unlock(&cuda->live->harvest);
	return 0;
}

void kvtap_device_rings_calibrate(struct kvtap_cuda *cuda)
{
	uint64_t now_ns = cuda->rings ? kvtap_clock_monotonic() : 0;

	for (struct kvtap_device_ring *ring = cuda->rings; ring; ring = ring->next)
		kvtap_device_ring_calibrate(ring, now_ns);
}

static void leave_list(struct kvtap_device_ring *ring)
{
	struct kvtap_cuda *cuda = ring->cuda;
	struct kvtap_device_ring **at;

	if (!cuda)
		return;
	pthread_mutex_lock(&cuda->live->harvest);
	for (at = &cuda->rings; *at != ring; at = &(*at)->next)
		;
	*at = ring->next;
	pthread_mutex_unlock(&cuda->live->harvest);
}

void kvtap_device_ring_close(struct kvtap_device_ring *ring)
{
	int mode;

	if (!ring)
		return;
	leave_list(ring);
	if (kvtap_device_ring_enter(ring, &mode)) {
		give_back(ring);
		kvtap_device_ring_leave(ring, mode);
	}
	if (ring->process == getpid()) { /* in a child of it, all this is not there */
		if (ring->shared)
			kvtap_beacon_drop(ring->shared);
		if (ring->tail_page)
			munmap(ring->tail_page, ring->page_bytes);
		if (ring->page)
			munmap(ring->page, ring->page_bytes);
	}
	free(ring);
}

uint64_t kvtap_device_ring_producer(const struct kvtap_device_ring *ring)
{
	return ring ? ring->memory : 0;
}

const struct kvtap_cu *kvtap_device_ring_driver(const struct kvtap_device_ring *ring)
{
	return ring->cu;
}

const struct kvtap_kernels *kvtap_device_ring_kernels(const struct kvtap_device_ring *ring)
{
	return &ring->kernels;
}

struct kvtap *kvtap_device_ring_tap(const struct kvtap_device_ring *ring)
{
	return ring->tap;
}
