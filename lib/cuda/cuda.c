/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda.c - open and close, and what is counted
 *
 * Nothing here runs at exit, at fork or when a thread ends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../tap.h"
#include "span.h"

#define SPANS_MIN 64
#define SPANS_MAX 4096
#define HARVEST_MS_MAX 60000

static struct kvtap_cuda_live nothing_live;
static struct kvtap_cuda nothing = { .live = &nothing_live };

static const char *const reason_name[KVTAP_UNTIMED_REASONS] = {
	[KVTAP_UNTIMED_DRIVER] = "driver",	 [KVTAP_UNTIMED_CAPTURE] = "capture",
	[KVTAP_UNTIMED_FULL] = "full",		 [KVTAP_UNTIMED_CONTEXT] = "context",
	[KVTAP_UNTIMED_ABANDONED] = "abandoned",
};

/* ---- counting ---- */

/* In a fork child the statistics alone: the tap would have to make a segment there for it. */
void kvtap_cuda_untimed(struct kvtap_cuda *cuda, enum kvtap_untimed reason)
{
	kvtap_add_relaxed(&cuda->live->untimed[reason], 1); /* statistic */
	if (cuda->untimed[reason] && (kvtap_cuda_ready(cuda) || !cuda->found))
		kvtap_add(cuda->tap, cuda->untimed[reason], 1);
}

struct kvtap_transfer kvtap_cuda_transfer(const struct kvtap_span *span)
{
	return (struct kvtap_transfer){
		.series = span->series,
		.flags = KVTAP_TRANSFER_OVERLAPPED,
		.submit_ns = span->submit_ns,
		.bytes = span->bytes,
		.descriptors = span->descriptors,
		.request_id = span->request_id,
	};
}

struct kvtap_transfer kvtap_cuda_failed(const struct kvtap_span *span, uint8_t status)
{
	struct kvtap_transfer transfer = kvtap_cuda_transfer(span);

	transfer.status = status;
	transfer.duration_ns = span->submit_ns;
	transfer.failed_descriptors = span->descriptors;
	return transfer;
}

void kvtap_cuda_record(struct kvtap_cuda *cuda, const struct kvtap_transfer *transfer)
{
	kvtap_transfer(cuda->tap, transfer);
	if (transfer->status == KVTAP_OK)
		kvtap_add_relaxed(&cuda->live->recorded, 1); /* statistic */
	else
		kvtap_add_relaxed(&cuda->live->failed, 1);     /* statistic */
	kvtap_add_relaxed(&cuda->live->in_flight, UINT64_MAX); /* statistic */
}

void kvtap_cuda_stats(struct kvtap_cuda *cuda, struct kvtap_cuda_stats *stats)
{
	struct kvtap_cuda_live *live = cuda ? cuda->live : &nothing_live;

	*stats = (struct kvtap_cuda_stats){
		.recorded = kvtap_load_relaxed(&live->recorded),   /* statistic */
		.failed = kvtap_load_relaxed(&live->failed),	   /* statistic */
		.in_flight = kvtap_load_relaxed(&live->in_flight), /* statistic */
		.untimed_driver = kvtap_load_relaxed(&live->untimed[KVTAP_UNTIMED_DRIVER]),
		.untimed_capture = kvtap_load_relaxed(&live->untimed[KVTAP_UNTIMED_CAPTURE]),
		.untimed_full = kvtap_load_relaxed(&live->untimed[KVTAP_UNTIMED_FULL]),
		.untimed_context = kvtap_load_relaxed(&live->untimed[KVTAP_UNTIMED_CONTEXT]),
		.untimed_abandoned = kvtap_load_relaxed(&live->untimed[KVTAP_UNTIMED_ABANDONED]),
	};
}

/* ---- open ---- */

/* Without the family, the statistics count all the same; that it could not be is in the log. */
static void declare_untimed(struct kvtap_cuda *cuda)
{
	const struct kvtap_family family = {
		.name = "kvtap_cuda_spans_untimed",
		.help = "Spans on CUDA streams that gave no record of a transfer, by reason: no "
			"driver, a stream under capture, too many in flight, a context that is "
			"gone or failed, closed before the end.",
		.metric = KVTAP_COUNTER,
		.flags = KVTAP_FAMILY_LAZY,
		.label_names = (const char *const[]){ "reason" },
		.label_count = 1,
		.unit = KVTAP_UNIT_COUNT,
	};
	uint32_t id;

	if (kvtap_family_declare(cuda->tap, &id, &family) < 0)
		return;
	for (uint32_t i = 0; i < KVTAP_UNTIMED_REASONS; i++)
		kvtap_family_series(cuda->tap, &cuda->untimed[i], id, &reason_name[i], 1);
}

static int set_options(struct kvtap_cuda *cuda, const struct kvtap_cuda_options *options)
{
	cuda->spans_max = options->spans_max ? options->spans_max : SPANS_MAX;
	cuda->harvest_ms = options->host_functions ? 0 : options->harvest_ms;
	cuda->host = options->host_functions;
	if (cuda->spans_max >= SPANS_MIN && cuda->spans_max <= SPANS_MAX &&
	    options->harvest_ms <= HARVEST_MS_MAX)
		return 0;
	kvtap_tap_log(cuda->tap, KVTAP_LOG_ERROR,
		      "cuda: spans_max must be from %d to %d, harvest_ms at most %d", SPANS_MIN,
		      SPANS_MAX, HARVEST_MS_MAX);
	return -EINVAL;
}

static int find_driver(struct kvtap_cuda *cuda)
{
	const char *missing;

	if (kvtap_cu_find(&cuda->cu, &missing) < 0) {
		kvtap_tap_log(cuda->tap, KVTAP_LOG_WARN, "cuda: libcuda.so.1 %s%s",
			      missing ? "has no " : "is not loaded in this process",
			      missing ? missing : "");
		return -ENOSYS;
	}
	cuda->found = true;
	return 0;
}

static int open_live(struct kvtap_cuda *cuda)
{
	struct kvtap_cuda_live *live = mmap(NULL, sizeof(*live), PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (live == MAP_FAILED)
		return -ENOMEM;
	if (madvise(live, sizeof(*live), MADV_WIPEONFORK) < 0) {
		munmap(live, sizeof(*live));
		return -ENOSYS;
	}
	cuda->live = live;
	return 0;
}

static int start(struct kvtap_cuda *cuda, const struct kvtap_cuda_options *options)
{
	int rc = set_options(cuda, options);

	if (rc < 0)
		return rc;
	declare_untimed(cuda);
	if (cuda->tap->disabled)
		return 0;
	rc = find_driver(cuda);
	if (rc < 0)
		return rc;
	kvtap_store_relaxed(&cuda->live->open, 1); /* nobody else has it yet */
	if (cuda->harvest_ms)
		rc = kvtap_harvest_start(cuda);
	if (rc < 0) {
		kvtap_tap_log(cuda->tap, KVTAP_LOG_ERROR, "cuda: no thread: %s", strerror(-rc));
		kvtap_store_relaxed(&cuda->live->open, 0); /* nobody else has it yet */
	}
	return rc;
}

int kvtap_cuda_open(struct kvtap_cuda **result, struct kvtap *tap,
		    const struct kvtap_cuda_options *options)
{
	static const struct kvtap_cuda_options defaults;
	struct kvtap_cuda *cuda = calloc(1, sizeof(*cuda));
	int rc;

	*result = &nothing;
	if (!cuda)
		return -ENOMEM;
	cuda->tap = tap ? tap : kvtap_tap_nothing();
	rc = open_live(cuda);
	if (rc < 0) {
		free(cuda);
		return rc;
	}
	*result = cuda;
	return start(cuda, options ? options : &defaults);
}

/* ---- close ---- */

void kvtap_cuda_close(struct kvtap_cuda *cuda)
{
	uint64_t abandoned;

	if (!cuda || cuda == &nothing)
		return;
	if (kvtap_cuda_ready(cuda)) {
		kvtap_harvest_stop(cuda);
		kvtap_cuda_harvest(cuda, 0);
	}
	/* contexts first: with host functions, who is not done by then is abandoned */
	for (uint32_t i = 0; i < KVTAP_CONTEXTS_MAX; i++)
		if (cuda->context[i])
			kvtap_context_destroy(cuda, cuda->context[i]);
	abandoned = kvtap_load_relaxed(&cuda->live->in_flight); /* statistic */
	for (; abandoned; abandoned--)
		kvtap_cuda_untimed(cuda, KVTAP_UNTIMED_ABANDONED);
	munmap(cuda->live, sizeof(*cuda->live));
	free(cuda);
}

/* ---- labels ---- */

int kvtap_cuda_builtin(struct kvtap_cuda *cuda, uint32_t *series, kvtap_stream stream,
		       const char *name, const struct kvtap_builtin_labels *labels)
{
	struct kvtap_builtin_labels all = labels ? *labels : (struct kvtap_builtin_labels){ 0 };
	kvtap_cu_context handle;
	kvtap_cu_device device;
	kvtap_cu_result result;
	char text[16];
	bool pushed;

	*series = 0;
	if (!cuda || !kvtap_cuda_ready(cuda) || kvtap_context_of(cuda, &stream, &handle) ||
	    kvtap_context_enter(cuda, handle, &pushed))
		return -ENODEV;
	result = cuda->cu.ctx_get_device(&device);
	kvtap_context_leave(cuda, pushed);
	if (result)
		return -ENODEV;
	snprintf(text, sizeof(text), "%d", device);
	all.device = text;
	return kvtap_builtin(cuda->tap, series, name, &all);
}
