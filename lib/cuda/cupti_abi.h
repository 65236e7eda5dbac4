/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cupti_abi.h - what kvtap uses of CUPTI, found at run time
 *
 * Own declarations, so that this builds without the toolkit; tests/test_cupti_abi.c compares each
 * with CUPTI's headers where those are there. Records only grow at their end from release to
 * release: these are the parts that all since CUDA 12.0 have, and what came later is asked for by
 * the version of the library that was found.
 */
#ifndef KVTAP_CUDA_CUPTI_ABI_H
#define KVTAP_CUDA_CUPTI_ABI_H

#include <stddef.h>
#include <stdint.h>

#define KVTAP_CUPTI_VERSION_COPY_COUNT 26 /* CUDA 12.8: cuptiGetVersion */

enum { /* CUptiResult */
       KVTAP_CUPTI_SUCCESS = 0,
       KVTAP_CUPTI_MAX_LIMIT_REACHED = 12,
       KVTAP_CUPTI_INVALID_KIND = 21,
       KVTAP_CUPTI_INSUFFICIENT_PRIVILEGES = 35,
       KVTAP_CUPTI_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED = 39,
       KVTAP_CUPTI_VIRTUALIZED_INSUFFICIENT_PRIVILEGES = 40,
       KVTAP_CUPTI_UNKNOWN = 999,
};

enum { /* CUpti_ActivityKind */
       KVTAP_CUPTI_KIND_MEMCPY = 1,
       KVTAP_CUPTI_KIND_PEER = 22,
       KVTAP_CUPTI_KIND_EXTERNAL = 39,
};

enum { /* CUpti_ActivityMemcpyKind */
       KVTAP_CUPTI_COPY_H2D = 1,
       KVTAP_CUPTI_COPY_D2H = 2,
       KVTAP_CUPTI_COPY_H2A = 3,
       KVTAP_CUPTI_COPY_A2H = 4,
       KVTAP_CUPTI_COPY_A2A = 5,
       KVTAP_CUPTI_COPY_A2D = 6,
       KVTAP_CUPTI_COPY_D2A = 7,
       KVTAP_CUPTI_COPY_D2D = 8,
       KVTAP_CUPTI_COPY_H2H = 9,
       KVTAP_CUPTI_COPY_P2P = 10,
       KVTAP_CUPTI_COPIES = 11,
};

enum { /* CUpti_ActivityMemoryKind */
       KVTAP_CUPTI_MEMORY_PAGEABLE = 1,
       KVTAP_CUPTI_MEMORY_PINNED = 2,
       KVTAP_CUPTI_MEMORY_DEVICE = 3,
       KVTAP_CUPTI_MEMORY_MANAGED_STATIC = 7,
       KVTAP_CUPTI_MEMORIES = 8,
};

#define KVTAP_CUPTI_EXTERNAL_CUSTOM2 5	 /* CUpti_ExternalCorrelationKind; Kineto has 3 and 4 */
#define KVTAP_CUPTI_DEVICE_BUFFER_SIZE 0 /* CUpti_ActivityAttribute */
#define KVTAP_CUPTI_FLUSH_FORCED 1u	 /* CUpti_ActivityFlag */
#define KVTAP_CUPTI_RECORD_ALIGN 8

struct kvtap_cupti_copy { /* CUpti_ActivityMemcpy5; 6 has copy_count */
	uint32_t kind;
	uint8_t copy_kind, source_kind, target_kind, flags;
	uint64_t bytes;
	uint64_t start, end; /* both 0: not timed */
	uint32_t device, context, stream, correlation;
	uint32_t runtime_correlation, pad;
	void *reserved;
	uint64_t graph_node;
	uint32_t graph, channel;
	uint32_t channel_type;
	uint8_t device_launched, pad2[3];
};

struct kvtap_cupti_copy_counted { /* CUpti_ActivityMemcpy6 */
	struct kvtap_cupti_copy copy;
	uint64_t copy_count;
};

struct kvtap_cupti_peer { /* CUpti_ActivityMemcpyPtoP4, without what follows */
	uint32_t kind;
	uint8_t copy_kind, source_kind, target_kind, flags;
	uint64_t bytes;
	uint64_t start, end;
	uint32_t device, context, stream;
	uint32_t source_device, source_context, target_device, target_context;
	uint32_t correlation;
};

struct kvtap_cupti_external { /* CUpti_ActivityExternalCorrelation */
	uint32_t kind;
	uint32_t external_kind;
	uint64_t external_id;
	uint32_t correlation, reserved;
};

typedef void kvtap_cupti_requested(uint8_t **buffer, size_t *bytes, size_t *records_max);
typedef void kvtap_cupti_completed(void *context, uint32_t stream, uint8_t *buffer, size_t bytes,
				   size_t valid_bytes);
typedef void kvtap_cupti_callback(void *argument, int domain, uint32_t id, const void *data);

/* All that kvtap calls: X(member, symbol, arguments). */
#define KVTAP_CUPTI_FUNCTIONS(X)                                                                   \
	X(get_version, "cuptiGetVersion", (uint32_t * version))                                    \
	X(subscribe, "cuptiSubscribe",                                                             \
	  (void **subscriber, kvtap_cupti_callback *callback, void *argument))                     \
	X(unsubscribe, "cuptiUnsubscribe", (void *subscriber))                                     \
	X(register_callbacks, "cuptiActivityRegisterCallbacks",                                    \
	  (kvtap_cupti_requested * requested, kvtap_cupti_completed * completed))                  \
	X(register_clock, "cuptiActivityRegisterTimestampCallback", (uint64_t(*clock)(void)))      \
	X(set_attribute, "cuptiActivitySetAttribute", (int attribute, size_t *bytes, void *value)) \
	X(enable, "cuptiActivityEnable", (int kind))                                               \
	X(disable, "cuptiActivityDisable", (int kind))                                             \
	X(next_record, "cuptiActivityGetNextRecord",                                               \
	  (uint8_t * buffer, size_t valid_bytes, void **record))                                   \
	X(dropped, "cuptiActivityGetNumDroppedRecords",                                            \
	  (void *context, uint32_t stream, size_t *dropped))                                       \
	X(flush_all, "cuptiActivityFlushAll", (uint32_t flags))                                    \
	X(push_id, "cuptiActivityPushExternalCorrelationId", (int kind, uint64_t id))              \
	X(pop_id, "cuptiActivityPopExternalCorrelationId", (int kind, uint64_t *id))

struct kvtap_cupti {
#define KVTAP_CUPTI_MEMBER(member, symbol, arguments) int(*member) arguments;
	KVTAP_CUPTI_FUNCTIONS(KVTAP_CUPTI_MEMBER)
#undef KVTAP_CUPTI_MEMBER
	uint32_t version; /* cuptiGetVersion */
};

#endif
