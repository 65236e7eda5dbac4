/* SPDX-License-Identifier: Apache-2.0 */
#include "cupti_copy.h"

#include <stdlib.h>
#include <string.h>

#include "cupti_label.h"
#include "cupti_series.h"

#define CORRELATIONS 4096u /* a power of two; ids count up, so these are the latest */

enum health { DROPPED, FILTERED, UNTIMED, IGNORED, STALLED, HEALTHS };

struct kvtap_copies {
	struct kvtap *tap;
	const struct kvtap_cupti *cupti;
	const struct kvtap_cupti_options *options;
	bool own_clock;
	struct kvtap_copy_series *series;
	uint32_t health[HEALTHS];  /* series */
	uint64_t counted[HEALTHS]; /* since they were recorded last */
	struct {
		uint32_t correlation, label;
	} labelled[CORRELATIONS];
};

/* What a record of either kind says. */
struct copy {
	uint8_t kind, source, target;
	uint64_t bytes, start, end, count;
	uint32_t device, stream, correlation;
};

static const struct kvtap_family health_families[HEALTHS] = {
	[DROPPED] = { .name = "kvtap_cupti_dropped_records",
		      .help = "Records that CUPTI dropped, for want of a buffer." },
	[FILTERED] = { .name = "kvtap_cupti_filtered_copies",
		       .help = "Copies left out by KVTAP_CUPTI_MIN_BYTES or _DIRECTIONS." },
	[UNTIMED] = { .name = "kvtap_cupti_untimed_copies",
		      .help = "Copies counted without a time, as CUPTI had none." },
	[IGNORED] = { .name = "kvtap_cupti_ignored_records",
		      .help = "Records that were malformed, or of a kind not asked for." },
	[STALLED] = { .name = "kvtap_cupti_stalled",
		      .help = "Seconds for which CUPTI has had buffers and given none back.",
		      .gauge_mode = KVTAP_GAUGE_LIVEMAX,
		      .unit = KVTAP_UNIT_SECONDS },
};

static bool declare_health(struct kvtap_copies *copies)
{
	for (int i = 0; i < HEALTHS; i++) {
		struct kvtap_family family = health_families[i];
		uint32_t id;

		family.metric = i == STALLED ? KVTAP_GAUGE : KVTAP_COUNTER;
		family.unit = i == STALLED ? family.unit : KVTAP_UNIT_COUNT;
		if (kvtap_family_declare(copies->tap, &id, &family) < 0 ||
		    kvtap_family_series(copies->tap, &copies->health[i], id, NULL, 0) < 0)
			return false;
	}
	return true;
}

struct kvtap_copies *kvtap_copies_open(struct kvtap *tap, const struct kvtap_cupti *cupti,
				       const struct kvtap_cupti_options *options)
{
	struct kvtap_copies *copies = calloc(1, sizeof(*copies));

	if (!copies)
		return NULL;
	copies->tap = tap;
	copies->cupti = cupti;
	copies->options = options;
	if (declare_health(copies))
		copies->series = kvtap_copy_series_open(tap, options->streams);
	if (copies->series)
		return copies;
	free(copies);
	return NULL;
}

void kvtap_copies_clock(struct kvtap_copies *copies, bool own)
{
	copies->own_clock = own;
}

/* ---- labels: the id that was pushed when the copy was asked for ---- */

static void label_is(struct kvtap_copies *copies, const struct kvtap_cupti_external *external)
{
	uint32_t i = external->correlation % CORRELATIONS;

	if (external->external_kind != KVTAP_CUPTI_EXTERNAL_CUSTOM2)
		return;
	copies->labelled[i].correlation = external->correlation;
	copies->labelled[i].label =
		external->external_id <= KVTAP_LABEL_OTHER ? (uint32_t)external->external_id : 0;
}

static uint32_t label_of(const struct kvtap_copies *copies, uint32_t correlation)
{
	uint32_t i = correlation % CORRELATIONS;

	return copies->labelled[i].correlation == correlation ? copies->labelled[i].label
							      : KVTAP_LABEL_NONE;
}

/* ---- copies ---- */

/* The kind of memory at the host's end; of a copy between devices, at the source. */
static uint8_t memory_of(const struct copy *copy)
{
	bool to_host = copy->kind == KVTAP_CUPTI_COPY_D2H || copy->kind == KVTAP_CUPTI_COPY_A2H;

	return to_host ? copy->target : copy->source;
}

static bool wanted(const struct kvtap_cupti_options *options, const struct copy *copy)
{
	uint32_t kind = copy->kind < KVTAP_CUPTI_COPIES ? copy->kind : 0;

	return copy->bytes >= options->min_bytes && (options->directions & 1u << kind);
}

static void record(struct kvtap_copies *copies, const struct copy *copy)
{
	bool timed = copy->start && copy->end >= copy->start;
	struct kvtap_transfer transfer = {
		.end_ns = timed && copies->own_clock ? copy->end : 0,
		.duration_ns = timed ? copy->end - copy->start : 0,
		.bytes = copy->bytes,
		.descriptors = copy->count < UINT32_MAX ? (uint32_t)copy->count : UINT32_MAX,
	};

	if (!wanted(copies->options, copy)) {
		copies->counted[FILTERED] += copy->count;
		return;
	}
	if (!timed)
		copies->counted[UNTIMED] += copy->count;
	transfer.series =
		kvtap_copy_series_find(copies->series,
				       (struct kvtap_copy_key){
					       .direction = copy->kind,
					       .memory = memory_of(copy),
					       .timed = timed,
					       .device = copy->device,
					       .stream = copy->stream,
					       .label = label_of(copies, copy->correlation) });
	kvtap_transfer(copies->tap, &transfer);
}

static bool counts_copies(const struct kvtap_copies *copies)
{
	return copies->cupti->version >= KVTAP_CUPTI_VERSION_COPY_COUNT;
}

/* Of struct kvtap_cupti_copy or kvtap_cupti_peer, which have the same fields at other places. */
#define COPY_OF(from, copies_made)                                                                 \
	{                                                                                          \
		.kind = (from)->copy_kind, .source = (from)->source_kind,                          \
		.target = (from)->target_kind, .bytes = (from)->bytes, .start = (from)->start,     \
		.end = (from)->end, .device = (from)->device, .stream = (from)->stream,            \
		.correlation = (from)->correlation, .count = (copies_made)                         \
	}

static void copy_record(struct kvtap_copies *copies, const void *bytes)
{
	const struct kvtap_cupti_copy_counted *from = bytes;
	bool counted = counts_copies(copies) && from->copy_count;
	struct copy copy = COPY_OF(&from->copy, counted ? from->copy_count : 1);

	record(copies, &copy);
}

static void peer_record(struct kvtap_copies *copies, const void *bytes)
{
	const struct kvtap_cupti_peer *from = bytes;
	struct copy copy = COPY_OF(from, 1);

	record(copies, &copy);
}

/* What is read of a record of a kind; 0 for kinds that were not asked for. */
static size_t bytes_of(const struct kvtap_copies *copies, uint32_t kind)
{
	switch (kind) {
	case KVTAP_CUPTI_KIND_MEMCPY:
		return counts_copies(copies) ? sizeof(struct kvtap_cupti_copy_counted)
					     : sizeof(struct kvtap_cupti_copy);
	case KVTAP_CUPTI_KIND_PEER:
		return sizeof(struct kvtap_cupti_peer);
	case KVTAP_CUPTI_KIND_EXTERNAL:
		return sizeof(struct kvtap_cupti_external);
	default:
		return 0;
	}
}

/* The record is in the buffer, and all that is read of it. */
static bool whole(const struct kvtap_copies *copies, const struct kvtap_buffer *buffer,
		  const uint8_t *at)
{
	size_t left, bytes;

	if (at < buffer->bytes || at >= buffer->bytes + buffer->valid_bytes ||
	    (uintptr_t)at % KVTAP_CUPTI_RECORD_ALIGN)
		return false;
	left = (size_t)(buffer->bytes + buffer->valid_bytes - at);
	bytes = left < sizeof(uint32_t) ? 0 : bytes_of(copies, *(const uint32_t *)(const void *)at);
	return bytes && bytes <= left;
}

static void read_one(struct kvtap_copies *copies, const void *at)
{
	switch (*(const uint32_t *)at) {
	case KVTAP_CUPTI_KIND_MEMCPY:
		copy_record(copies, at);
		break;
	case KVTAP_CUPTI_KIND_PEER:
		peer_record(copies, at);
		break;
	case KVTAP_CUPTI_KIND_EXTERNAL:
		label_is(copies, at);
		break;
	}
}

/* At the end MAX_LIMIT_REACHED; else CUPTI itself can't read on, and what follows is lost. */
void kvtap_copies_read(struct kvtap_copies *copies, const struct kvtap_buffer *buffer)
{
	void *at = NULL;
	int result = KVTAP_CUPTI_MAX_LIMIT_REACHED;

	while (buffer->valid_bytes &&
	       !(result = copies->cupti->next_record(buffer->bytes, buffer->valid_bytes, &at))) {
		if (whole(copies, buffer, at))
			read_one(copies, at);
		else
			copies->counted[IGNORED]++;
	}
	if (result != KVTAP_CUPTI_MAX_LIMIT_REACHED)
		copies->counted[IGNORED]++;
}

void kvtap_copies_health(struct kvtap_copies *copies, double stalled_seconds)
{
	size_t dropped = 0;

	if (copies->cupti->dropped(NULL, 0, &dropped) == KVTAP_CUPTI_SUCCESS)
		copies->counted[DROPPED] += dropped;
	for (int i = 0; i < STALLED; i++) {
		if (copies->counted[i])
			kvtap_add(copies->tap, copies->health[i], (double)copies->counted[i]);
		copies->counted[i] = 0;
	}
	kvtap_set(copies->tap, copies->health[STALLED], stalled_seconds);
}
