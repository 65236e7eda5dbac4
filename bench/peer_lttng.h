/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_lttng.h - the events of peer_lttng.c: 64 bytes as an array, and the same as eight fields
 *
 * LTTng-UST includes it several times, which is why it has no guard of the usual form.
 */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER kvtap_bench

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "peer_lttng.h"

#if !defined(KVTAP_BENCH_PEER_LTTNG_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define KVTAP_BENCH_PEER_LTTNG_H

#include <lttng/tracepoint.h>
#include <stdint.h>

/* clang-format off */
LTTNG_UST_TRACEPOINT_EVENT(kvtap_bench, array,
	LTTNG_UST_TP_ARGS(const uint64_t *, word),
	LTTNG_UST_TP_FIELDS(lttng_ust_field_array(uint64_t, word, word, 8)))

LTTNG_UST_TRACEPOINT_EVENT(kvtap_bench, fields,
	LTTNG_UST_TP_ARGS(const uint64_t *, word),
	LTTNG_UST_TP_FIELDS(
		lttng_ust_field_integer(uint64_t, series, word[0])
		lttng_ust_field_integer(uint64_t, end_ns, word[1])
		lttng_ust_field_integer(uint64_t, duration_ns, word[2])
		lttng_ust_field_integer(uint64_t, submit_ns, word[3])
		lttng_ust_field_integer(uint64_t, queue_ns, word[4])
		lttng_ust_field_integer(uint64_t, bytes, word[5])
		lttng_ust_field_integer(uint64_t, descriptors, word[6])
		lttng_ust_field_integer(uint64_t, request_id, word[7])))
/* clang-format on */

#endif

#include <lttng/tracepoint-event.h>
