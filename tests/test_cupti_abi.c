/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kvtap declares of CUPTI itself, against the toolkit's headers: where each field stands, the
 * numbers, and what each function takes. It is compiled or it isn't.
 */
#include "../lib/cuda/cupti_abi.h"
#include "test.h"

#if !defined(KVTAP_NO_CUDA) && __has_include(<cupti.h>)
#include <cupti.h>

#define AT(ours, field, theirs, name)                                                              \
	_Static_assert(offsetof(struct ours, field) == offsetof(theirs, name) &&                   \
			       sizeof(((struct ours *)0)->field) == sizeof(((theirs *)0)->name),   \
		       #theirs "." #name)
#define COPY_AT(field, name) AT(kvtap_cupti_copy, field, CUpti_ActivityMemcpy5, name)
COPY_AT(kind, kind);
COPY_AT(copy_kind, copyKind);
COPY_AT(source_kind, srcKind);
COPY_AT(target_kind, dstKind);
COPY_AT(flags, flags);
COPY_AT(bytes, bytes);
COPY_AT(start, start);
COPY_AT(end, end);
COPY_AT(device, deviceId);
COPY_AT(context, contextId);
COPY_AT(stream, streamId);
COPY_AT(correlation, correlationId);
COPY_AT(runtime_correlation, runtimeCorrelationId);
COPY_AT(graph_node, graphNodeId);
COPY_AT(graph, graphId);
COPY_AT(channel, channelID);
COPY_AT(channel_type, channelType);
_Static_assert(sizeof(struct kvtap_cupti_copy) == sizeof(CUpti_ActivityMemcpy5), "Memcpy5");
AT(kvtap_cupti_copy_counted, copy.correlation, CUpti_ActivityMemcpy6, correlationId);
AT(kvtap_cupti_copy_counted, copy_count, CUpti_ActivityMemcpy6, copyCount);
_Static_assert(sizeof(struct kvtap_cupti_copy_counted) == sizeof(CUpti_ActivityMemcpy6), "Memcpy6");

#define PEER_AT(field, name) AT(kvtap_cupti_peer, field, CUpti_ActivityMemcpyPtoP4, name)
PEER_AT(kind, kind);
PEER_AT(copy_kind, copyKind);
PEER_AT(source_kind, srcKind);
PEER_AT(target_kind, dstKind);
PEER_AT(bytes, bytes);
PEER_AT(start, start);
PEER_AT(end, end);
PEER_AT(device, deviceId);
PEER_AT(stream, streamId);
PEER_AT(source_device, srcDeviceId);
PEER_AT(target_device, dstDeviceId);
PEER_AT(correlation, correlationId);
_Static_assert(sizeof(struct kvtap_cupti_peer) <= sizeof(CUpti_ActivityMemcpyPtoP4), "PtoP4");

#define EXTERNAL_AT(field, name)                                                                   \
	AT(kvtap_cupti_external, field, CUpti_ActivityExternalCorrelation, name)
EXTERNAL_AT(kind, kind);
EXTERNAL_AT(external_kind, externalKind);
EXTERNAL_AT(external_id, externalId);
EXTERNAL_AT(correlation, correlationId);
_Static_assert(sizeof(struct kvtap_cupti_external) == sizeof(CUpti_ActivityExternalCorrelation),
	       "ExternalCorrelation");

#define IS(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
IS(KVTAP_CUPTI_SUCCESS, CUPTI_SUCCESS);
IS(KVTAP_CUPTI_MAX_LIMIT_REACHED, CUPTI_ERROR_MAX_LIMIT_REACHED);
IS(KVTAP_CUPTI_INVALID_KIND, CUPTI_ERROR_INVALID_KIND);
IS(KVTAP_CUPTI_INSUFFICIENT_PRIVILEGES, CUPTI_ERROR_INSUFFICIENT_PRIVILEGES);
IS(KVTAP_CUPTI_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED, CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
IS(KVTAP_CUPTI_VIRTUALIZED_INSUFFICIENT_PRIVILEGES,
   CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES);
IS(KVTAP_CUPTI_UNKNOWN, CUPTI_ERROR_UNKNOWN);
IS(KVTAP_CUPTI_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMCPY);
IS(KVTAP_CUPTI_KIND_PEER, CUPTI_ACTIVITY_KIND_MEMCPY2);
IS(KVTAP_CUPTI_KIND_EXTERNAL, CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION);
IS(KVTAP_CUPTI_COPY_H2D, CUPTI_ACTIVITY_MEMCPY_KIND_HTOD);
IS(KVTAP_CUPTI_COPY_D2H, CUPTI_ACTIVITY_MEMCPY_KIND_DTOH);
IS(KVTAP_CUPTI_COPY_D2D, CUPTI_ACTIVITY_MEMCPY_KIND_DTOD);
IS(KVTAP_CUPTI_COPY_H2H, CUPTI_ACTIVITY_MEMCPY_KIND_HTOH);
IS(KVTAP_CUPTI_COPY_P2P, CUPTI_ACTIVITY_MEMCPY_KIND_PTOP);
IS(KVTAP_CUPTI_MEMORY_PAGEABLE, CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE);
IS(KVTAP_CUPTI_MEMORY_PINNED, CUPTI_ACTIVITY_MEMORY_KIND_PINNED);
IS(KVTAP_CUPTI_MEMORY_DEVICE, CUPTI_ACTIVITY_MEMORY_KIND_DEVICE);
IS(KVTAP_CUPTI_MEMORY_MANAGED_STATIC, CUPTI_ACTIVITY_MEMORY_KIND_MANAGED_STATIC);
IS(KVTAP_CUPTI_EXTERNAL_CUSTOM2, CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM2);
IS(KVTAP_CUPTI_DEVICE_BUFFER_SIZE, CUPTI_ACTIVITY_ATTR_DEVICE_BUFFER_SIZE);
IS(KVTAP_CUPTI_FLUSH_FORCED, CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
IS(KVTAP_CUPTI_RECORD_ALIGN, ACTIVITY_RECORD_ALIGNMENT);

/* Enums are ints in ours, handles void *. */
#define TAKES(name, ...)                                                                           \
	_Static_assert(__builtin_types_compatible_p(__typeof__(&name),                             \
						    CUptiResult (*)(__VA_ARGS__)),                 \
		       #name)
_Static_assert(sizeof(CUptiResult) == sizeof(int) && sizeof(CUpti_ActivityKind) == sizeof(int) &&
		       sizeof(CUpti_SubscriberHandle) == sizeof(void *),
	       "what ours take instead");
TAKES(cuptiGetVersion, uint32_t *);
TAKES(cuptiSubscribe, CUpti_SubscriberHandle *, CUpti_CallbackFunc, void *);
TAKES(cuptiUnsubscribe, CUpti_SubscriberHandle);
TAKES(cuptiActivityRegisterCallbacks, CUpti_BuffersCallbackRequestFunc,
      CUpti_BuffersCallbackCompleteFunc);
TAKES(cuptiActivityRegisterTimestampCallback, CUpti_TimestampCallbackFunc);
TAKES(cuptiActivitySetAttribute, CUpti_ActivityAttribute, size_t *, void *);
TAKES(cuptiActivityEnable, CUpti_ActivityKind);
TAKES(cuptiActivityDisable, CUpti_ActivityKind);
TAKES(cuptiActivityGetNextRecord, uint8_t *, size_t, CUpti_Activity **);
TAKES(cuptiActivityGetNumDroppedRecords, CUcontext, uint32_t, size_t *);
TAKES(cuptiActivityFlushAll, uint32_t);
TAKES(cuptiActivityPushExternalCorrelationId, CUpti_ExternalCorrelationKind, uint64_t);
TAKES(cuptiActivityPopExternalCorrelationId, CUpti_ExternalCorrelationKind, uint64_t *);

TEST(cupti_abi_is_that_of_the_toolkit)
{
	CHECK(CUPTI_API_VERSION >= KVTAP_CUPTI_VERSION_COPY_COUNT);
}
#else
TEST(cupti_abi_is_that_of_the_toolkit)
{
	SKIP("cupti.h is not there");
}
#endif
