/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_span.h - spans on the double of the driver, and the records they became
 *
 * By hand, CLOCK_MONOTONIC of the test's process is the double's clock, so that each time in a record
 * is one that the test chose. What is wrong in the end of each test fails it: a span that is not in
 * the statistics, a violation, a call that waits for the device or makes a context.
 */
#ifndef KVTAP_TESTS_SUPPORT_SPAN_H
#define KVTAP_TESTS_SUPPORT_SPAN_H

#include "kvtap_cuda.h"
#include "kvtap_reader.h"
#include "support_cuda.h"

#define US 1000ull
#define MS 1000000ull
#define SECOND 1000000000ull

struct spans {
	const struct double_cuda *gpu;
	struct cuda_api cu;
	struct kvtap *tap;
	struct kvtap_cuda *cuda;
	uint32_t load; /* a series of KVTAP_OFFLOAD_LOAD */
	void *context; /* on device 0, current in the test's thread */
	void *stream;  /* in it */
};

extern struct spans spans;

/* spans_open - the double by hand, a tap, and spans with these options */
void spans_open(const struct kvtap_cuda_options *options);
/* spans_open_following - the same, and the double follows the clock */
void spans_open_following(const struct kvtap_cuda_options *options);
/* spans_close - close all; fails the test for what is wrong, see above */
void spans_close(void);
/* spans_close_cuda - the first part of it: what is recorded by then is still to be read */
void spans_close_cuda(void);

/* Of the driver, which must succeed; contexts become current. */
void *spans_context(int device);
void *spans_stream(void);
/* spans_busy - so much time of a stream */
void spans_busy(void *stream, uint64_t ns);
/* spans_advance - all clocks, by hand */
void spans_advance(uint64_t ns);
uint64_t spans_now(void);

/* spans_begin - kvtap_span_begin, counted */
struct kvtap_span *spans_begin(void *stream);
/* spans_once - a span of so many bytes, and so much time of the stream */
void spans_once(void *stream, uint64_t bytes, uint64_t ns);
struct kvtap_cuda_stats spans_stats(void);
/* spans_read - the records of transfers since the last call, in each ring's order; how many */
uint32_t spans_read(struct kvtap_record *record, uint32_t room);
/* spans_counted - what spans_read found for kvtap_cuda_spans_untimed{reason} */
uint64_t spans_counted(const char *reason);

#endif
