/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_modes.h - a slice of jobs, timed from outside, with spans or without
 *
 * All modes read the clock as often. What a slice recorded is harvested and drained after it, and each
 * record is compared with its job: bytes, descriptors, series, how many there are, and whether the
 * device took longer than the bench's own clock saw.
 */
#ifndef KVTAP_BENCH_CUDA_MODES_H
#define KVTAP_BENCH_CUDA_MODES_H

#include "bench.h"
#include "collector.h"
#include "cuda_work.h"
#include "kvtap_cuda.h"

enum cuda_mode {
	CUDA_OFF,
	CUDA_OFF_AGAIN,
	CUDA_PER_JOB,
	CUDA_HOST_FUNCTION, /* per job, by host functions instead of events */
	CUDA_PER_COPY,	    /* a span around each: what not to do; none in a batch */
	CUDA_MODES
};

extern const char *const cuda_mode_name[CUDA_MODES];

#define CUDA_JOBS_MAX 64 /* of a slice */

/* Of a slice, a job: what the bench saw, and what its record says. */
struct cuda_job {
	uint64_t began_ns;  /* CLOCK_MONOTONIC */
	uint64_t submit_ns; /* all copies put into the stream; per copy: spans as well */
	uint64_t span_ns;   /* begin, add and end; not per copy */
	uint64_t wall_ns;   /* from before begin to the end of the wait */
	uint64_t device_ns, span_submit_ns;
	uint32_t records;
	uint64_t bytes, descriptors;
};

struct cuda_spans {
	struct cuda_work *work;
	struct kvtap *tap;
	struct kvtap_cuda *events, *host_functions;
	uint32_t series[2];	     /* by cell.load */
	struct collector *collector; /* drained after each slice; NULL: somebody else drains */
	uint64_t begun, begun_bytes; /* spans of all slices, which have to arrive */
	uint64_t wrong;		     /* checks that failed; the first are told on stderr */
	/* of the last slice */
	enum cuda_mode mode;
	struct cuda_job job[CUDA_JOBS_MAX];
	uint64_t harvest_ns, harvested;
};

/* cuda_spans_open - a tap's series and its two ways to time; bench_fail if it can't */
void cuda_spans_open(struct cuda_spans *spans, struct cuda_work *work, struct kvtap *tap,
		     struct collector *collector);
/* cuda_spans_slice - prepare a slice, time its jobs, check what they copied and recorded */
void cuda_spans_slice(struct cuda_spans *spans, enum cuda_mode mode);
/* cuda_spans_balance - all that was begun is recorded, nothing failed or was not timed */
void cuda_spans_balance(struct cuda_spans *spans);
void cuda_spans_close(struct cuda_spans *spans);

#endif
