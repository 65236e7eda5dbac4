/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvtap_cuda.h - time transfers on CUDA streams, and take records that the GPU itself writes
 *
 *	struct kvtap_cuda *cuda;
 *	struct kvtap_span *span;
 *
 *	kvtap_cuda_open(&cuda, tap, NULL);
 *	span = kvtap_span_begin(cuda, stream, load);
 *	for (i = 0; i < blocks; i++) {
 *		cuMemcpyAsync(to[i], from[i], bytes, stream);
 *		kvtap_span_add(span, bytes, 1);
 *	}
 *	kvtap_span_end(span);
 *
 * Three ways to see what a GPU moves:
 *   Spans       two timed events around a piece of a stream, one record for it. One span a job or
 *               batch, never one a block: it costs some microseconds of CPU time.
 *   Markers     the same by two one-thread kernels, for what is captured into a graph.
 *   kvtap_device.cuh  records from your own kernels.
 *
 * The driver is the one that the process has already (libcuda.so.1, looked up when a tap is opened
 * here); nothing links it, and where there is none every call is a no-op that counts. kvtap makes
 * no context, waits for no stream, and leaves the runtime's last error as it is: it calls the driver
 * alone.
 *
 *   Errors     as in kvtap.h: calls that open return 0 or a negative errno and log why; the others
 *              return nothing or NULL, and what could not be timed is counted by reason
 *              (kvtap_cuda_stats, and the family kvtap_cuda_spans_untimed).
 *   Threads    MT-safe, except the closes; a span belongs to one thread at a time.
 *   Signals    nothing here may be called from a handler.
 *   fork       CUDA does not survive it, and nothing here does: in a child all calls are no-ops.
 *   Exit       close, or don't: nothing here runs at exit, and the driver is never called then.
 */
#ifndef KVTAP_CUDA_H
#define KVTAP_CUDA_H

#include "kvtap.h"

#ifdef __cplusplus
extern "C" {
#endif

/* CUstream and cudaStream_t are pointers to the same struct: both go where this is asked for. */
typedef void *kvtap_stream;

/*
 * What NULL means depends on how the caller was compiled, so that the caller's compiler says it
 * (cuda.h: CU_STREAM_LEGACY, CU_STREAM_PER_THREAD).
 */
#ifdef CUDA_API_PER_THREAD_DEFAULT_STREAM
#define KVTAP_STREAM_DEFAULT ((kvtap_stream)0x2)
#else
#define KVTAP_STREAM_DEFAULT ((kvtap_stream)0x1)
#endif

struct kvtap_cuda; /* one per kvtap_cuda_open; shared by the threads of the process */
struct kvtap_span; /* from begin to end, the caller's; then the library's */

/* Zero in a field means its default. */
struct kvtap_cuda_options {
	uint32_t spans_max;  /* in flight in a context; 64 to 4096, default 4096 */
	uint32_t harvest_ms; /* an own thread harvests each so many, at most 60000; 0: callers do */
	uint32_t host_functions; /* not 0: by host functions in the stream instead of events */
};

/**
 * kvtap_cuda_open - prepare to time spans of the CUDA contexts of this process
 * @cuda:    never NULL afterwards, also on error: then every call on it is a no-op that counts
 * @tap:     borrowed until kvtap_cuda_close(); records go to it
 * @options: borrowed; NULL: all defaults
 *
 * Host functions: a callback in the stream stamps the time and writes the record, without events and
 * without harvesting. It holds up what follows it in the stream (cuLaunchHostFunc), and is not called
 * after an error of the context. For engines that complete their jobs that way anyhow.
 *
 * Returns: 0, also when the tap is switched off, and then nothing is timed; or
 *   -ENOSYS  libcuda.so.1 is not loaded in this process, or is older than CUDA 11.4
 *   -EINVAL  an option out of range
 *   -ENOMEM, -EAGAIN  no memory; no thread
 */
KVTAP_API int kvtap_cuda_open(struct kvtap_cuda **cuda, struct kvtap *tap,
			      const struct kvtap_cuda_options *options);

/**
 * kvtap_cuda_close - harvest what has ended, count the rest as abandoned, give back the events
 * @cuda: given back; NULL is allowed. No other thread may be in a call on it. Device rings, markers
 *        and spans on it end before it.
 */
KVTAP_API void kvtap_cuda_close(struct kvtap_cuda *cuda);

/**
 * kvtap_cuda_builtin - kvtap_builtin() with the label device of a stream
 * @cuda:   borrowed
 * @series: what a span names; 0 on error
 * @stream: its device's ordinal is the label's value in the families of KVTAP_GROUP_KVTAP
 * @name, @labels: as kvtap_builtin()
 *
 * Returns: as kvtap_builtin(); -ENODEV: the stream has no device (no driver, a destroyed context).
 */
KVTAP_API int kvtap_cuda_builtin(struct kvtap_cuda *cuda, uint32_t *series, kvtap_stream stream,
				 const char *name, const struct kvtap_builtin_labels *labels);

/**
 * kvtap_span_begin - begin to time what is put into a stream
 * @cuda:   borrowed
 * @stream: with or without its context being current; KVTAP_STREAM_DEFAULT: of the current context,
 *          and where it is a thread's own, the span ends in that thread; NULL: the legacy one
 * @series: of a kind
 *
 * Returns: the span, or NULL: not timed, and counted by reason. Every call takes a NULL span.
 * Cost: bench_cuda. Never blocks, but takes the driver's own lock.
 */
KVTAP_API struct kvtap_span *kvtap_span_begin(struct kvtap_cuda *cuda, kvtap_stream stream,
					      uint32_t series);

/* kvtap_span_add - so much more is moved; @bytes; @descriptors: of blocks or segments */
KVTAP_API void kvtap_span_add(struct kvtap_span *span, uint64_t bytes, uint32_t descriptors);

/* kvtap_span_job - @request_id: the request or job that the record names, 0: none */
KVTAP_API void kvtap_span_job(struct kvtap_span *span, uint64_t request_id);

/**
 * kvtap_span_end - all of it is in the stream
 * @span: the library's from now on. What became of it is harvested later
 *
 * The record's fields: duration_ns is what the device took from the first event to the second, as
 * vLLM measures it; submit_ns the CPU's time from begin to end; queue_ns what the stream had to do
 * before, from begin to the first event. They overlap (KVTAP_TRANSFER_OVERLAPPED): a device that is
 * about as long busy as its submission took was waiting for it. end_ns is the second event's time.
 */
KVTAP_API void kvtap_span_end(struct kvtap_span *span);

/**
 * kvtap_span_fail - end it without waiting for the device: the submission failed
 * @span:   the library's from now on
 * @status: enum kvtap_status, not KVTAP_OK
 */
KVTAP_API void kvtap_span_fail(struct kvtap_span *span, uint8_t status);

/**
 * kvtap_cuda_harvest - record the spans that have ended, of all streams
 * @cuda: borrowed
 * @max:  records at most; 0: all
 *
 * Without an own thread, begin harvests a few too. Late is as exact as early: the device took the
 * times.
 *
 * Returns: how many were recorded. Never blocks on the device.
 */
KVTAP_API uint32_t kvtap_cuda_harvest(struct kvtap_cuda *cuda, uint32_t max);

/* Spans that were begun are recorded + failed + untimed (abandoned among these) + in flight. */
struct kvtap_cuda_stats {
	uint64_t recorded;
	uint64_t failed; /* recorded with a status: the context's error, or the caller's */
	uint64_t in_flight;
	/* untimed, by reason */
	uint64_t untimed_driver;    /* there is none */
	uint64_t untimed_capture;   /* the stream is being captured; see markers */
	uint64_t untimed_full;	    /* spans_max are in flight, or no memory */
	uint64_t untimed_context;   /* foreign, destroyed, or its error is sticky */
	uint64_t untimed_abandoned; /* closed before they ended, or begun in a parent process */
};

KVTAP_API void kvtap_cuda_stats(struct kvtap_cuda *cuda, struct kvtap_cuda_stats *stats);

/* ---- records from the GPU ------------------------------------------------------------------ */

struct kvtap_device_ring; /* the host's side of a ring whose producers are kernels */
struct kvtap_marker;	  /* times one region of a stream or graph */

/**
 * kvtap_device_ring_open - a ring in this process's segment that kernels write to
 * @ring: NULL on error
 * @cuda: borrowed until kvtap_device_ring_close(). The current context is the ring's
 *
 * The exporter drains it as any other. A full ring is not folded: the device counts what it drops,
 * and the exporter shows it as lost. kvtap_cuda_harvest() keeps its clock right, so let it be called
 * about each second (harvest_ms). Waits for the device to take a kernel.
 *
 * Returns: 0, or -ENODEV (no driver or context, the tap could not be opened), -ENOTSUP (the device
 * can't map host memory; the driver takes no such kernels; ring_slots over 32768), -ENOSPC (ring_max
 * rings are in use, or the file system is full), -ENOMEM, -EIO (the driver said something else; the
 * log says what).
 */
KVTAP_API int kvtap_device_ring_open(struct kvtap_device_ring **ring, struct kvtap_cuda *cuda);

/**
 * kvtap_device_ring_close - give it back; may wait for what else the device is doing
 * @ring: no kernel that writes to it, and no graph with markers, may run or be launched any more
 */
KVTAP_API void kvtap_device_ring_close(struct kvtap_device_ring *ring);

/* kvtap_device_ring_producer - the device's address of the struct kvtap_device for kernels */
KVTAP_API uint64_t kvtap_device_ring_producer(const struct kvtap_device_ring *ring);

/**
 * kvtap_marker_open - prepare to time a region by two one-thread kernels
 * @marker: NULL on error
 * @ring:   where its records go, and whose context it is
 * @series: of a kind
 * @bytes, @descriptors: of each record: what a replay of the region moves
 *
 * Returns: 0, -ENODEV (no ring, or its context is gone), -ENOMEM, -EIO.
 */
KVTAP_API int kvtap_marker_open(struct kvtap_marker **marker, struct kvtap_device_ring *ring,
				uint32_t series, uint64_t bytes, uint32_t descriptors);

/**
 * kvtap_marker_begin, kvtap_marker_end - put the region's first and last kernel into a stream
 * @stream: may be under capture; each replay then gives one record. A region must not overlap itself;
 *          an end without its begin is counted as lost
 *
 * Returns: 0, or -EIO: nothing was put there; the log says what the driver said.
 */
KVTAP_API int kvtap_marker_begin(struct kvtap_marker *marker, kvtap_stream stream);
KVTAP_API int kvtap_marker_end(struct kvtap_marker *marker, kvtap_stream stream);

/* kvtap_marker_close - @marker: not in a stream or graph any more; before its ring is closed */
KVTAP_API void kvtap_marker_close(struct kvtap_marker *marker);

#ifdef __cplusplus
}
#endif

#endif /* KVTAP_CUDA_H */
