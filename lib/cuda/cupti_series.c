/* SPDX-License-Identifier: Apache-2.0 */
#include "cupti_series.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cupti_abi.h"
#include "cupti_label.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SLOTS 4096u	 /* a power of two */
#define SERIES_OWN 1024u /* with a stream and a label of their own */
#define SERIES_MAX 3072u
#define DEVICES 64u
#define OTHER UINT32_MAX

struct slot {
	struct kvtap_copy_key key;
	uint32_t series; /* 0: empty */
};

struct kvtap_copy_series {
	struct kvtap *tap;
	uint32_t kind[2]; /* untimed, timed */
	uint32_t streams_max, streams;
	uint32_t stream[KVTAP_CUPTI_STREAMS_MAX];
	uint32_t used;
	struct slot slot[SLOTS];
};

static const char *const labels[] = { "direction", "memory", "device", "stream", "label" };
static const char *const memories[KVTAP_CUPTI_MEMORIES] = {
	"unknown", "pageable", "pinned",	"device",
	"array",   "managed",  "device_static", "managed_static",
};

/* 1 us to 10 s, and 1 KiB to 16 GiB: a block of a cache, a batch of them, the weights */
static const double seconds[] = { 1e-6, 2.5e-6, 5e-6,	1e-5, 2.5e-5, 5e-5,   1e-4, 2.5e-4,
				  5e-4, 1e-3,	2.5e-3, 5e-3, 1e-2,   2.5e-2, 5e-2, 0.1,
				  0.25, 0.5,	1,	2.5,  5,      10 };
static const double sizes[] = { 1024,	    4096,	16384,	    65536,    262144,
				1048576,    4194304,	16777216,   67108864, 268435456,
				1073741824, 4294967296, 17179869184 };

static const struct {
	struct kvtap_family family;
	enum kvtap_field field;
} fed[] = {
	{ { .name = "kvtap_cuda_copy_bytes",
	    .help = "Bytes copied by the CUDA driver's copies, as CUPTI reports them.",
	    .metric = KVTAP_COUNTER,
	    .unit = KVTAP_UNIT_BYTES },
	  KVTAP_FIELD_BYTES },
	{ { .name = "kvtap_cuda_copies",
	    .help = "Copies; each copy of a batch counts where CUPTI counts them (CUDA 12.8).",
	    .metric = KVTAP_COUNTER,
	    .unit = KVTAP_UNIT_COUNT },
	  KVTAP_FIELD_DESCRIPTORS },
	{ { .name = "kvtap_cuda_copy_size_bytes",
	    .help = "Bytes of a record: of a copy, or of what CUPTI merged of a batch.",
	    .metric = KVTAP_HISTOGRAM,
	    .unit = KVTAP_UNIT_BYTES,
	    .bounds = sizes,
	    .bound_count = COUNT(sizes) },
	  KVTAP_FIELD_BYTES },
	{ { .name = "kvtap_cuda_copy_seconds",
	    .help = "Time on the device of a record, of those that have one.",
	    .metric = KVTAP_HISTOGRAM,
	    .unit = KVTAP_UNIT_SECONDS,
	    .bounds = seconds,
	    .bound_count = COUNT(seconds) },
	  KVTAP_FIELD_DURATION },
};

/* A copy without times feeds all but the last: a duration of 0 would pass for a fast copy. */
static bool declare(struct kvtap_copy_series *series)
{
	static const char *const names[] = { "kvtap_cuda_copy_untimed", "kvtap_cuda_copy" };
	struct kvtap_feed feeds[COUNT(fed)] = { 0 };

	for (size_t i = 0; i < COUNT(fed); i++) {
		struct kvtap_family family = fed[i].family;

		family.flags = KVTAP_FAMILY_LAZY;
		family.label_names = labels;
		family.label_count = COUNT(labels);
		feeds[i].field = fed[i].field;
		feeds[i].when = KVTAP_WHEN_ALWAYS;
		if (kvtap_family_declare(series->tap, &feeds[i].family, &family) < 0)
			return false;
	}
	for (size_t timed = 0; timed < 2; timed++) {
		struct kvtap_kind kind = { .name = names[timed],
					   .label_names = labels,
					   .label_count = COUNT(labels),
					   .feeds = feeds,
					   .feed_count = COUNT(fed) - !timed };

		if (kvtap_kind_declare(series->tap, &series->kind[timed], &kind) < 0)
			return false;
	}
	return true;
}

struct kvtap_copy_series *kvtap_copy_series_open(struct kvtap *tap, uint32_t streams)
{
	struct kvtap_copy_series *series = calloc(1, sizeof(*series));

	if (!series)
		return NULL;
	series->tap = tap;
	series->streams_max = streams;
	if (declare(series))
		return series;
	free(series);
	return NULL;
}

static uint32_t bounded_stream(struct kvtap_copy_series *series, uint32_t stream)
{
	for (uint32_t i = 0; i < series->streams; i++) {
		if (series->stream[i] == stream)
			return stream;
	}
	if (series->streams == series->streams_max)
		return OTHER;
	series->stream[series->streams++] = stream;
	return stream;
}

static bool same(struct kvtap_copy_key a, struct kvtap_copy_key b)
{
	return a.direction == b.direction && a.memory == b.memory && a.timed == b.timed &&
	       a.device == b.device && a.stream == b.stream && a.label == b.label;
}

/* Where the key is, or the empty slot where it would be. */
static struct slot *slot_of(struct kvtap_copy_series *series, struct kvtap_copy_key key)
{
	uint64_t hash = key.direction | (uint64_t)key.memory << 8 | (uint64_t)key.timed << 16;

	hash = (hash ^ key.device) * 0x9e3779b97f4a7c15;
	hash = (hash ^ key.stream) * 0x9e3779b97f4a7c15;
	hash = (hash ^ key.label) * 0x9e3779b97f4a7c15;
	for (uint32_t i = (uint32_t)(hash >> 32) % SLOTS;; i = (i + 1) % SLOTS) {
		if (!series->slot[i].series || same(series->slot[i].key, key))
			return &series->slot[i];
	}
}

static const char *id_text(char text[16], uint32_t id)
{
	snprintf(text, 16, "%u", id);
	return id == OTHER ? "other" : text;
}

static uint32_t make(struct kvtap_copy_series *series, struct slot *slot, struct kvtap_copy_key key)
{
	char device[16], stream[16];
	const char *values[COUNT(labels)] = {
		kvtap_cupti_directions[key.direction], memories[key.memory],
		id_text(device, key.device),	       id_text(stream, key.stream),
		kvtap_label_name(key.label),
	};

	if (series->used == SERIES_MAX ||
	    kvtap_kind_series(series->tap, &slot->series, series->kind[key.timed], values,
			      COUNT(labels)) < 0)
		return 0;
	slot->key = key;
	series->used++;
	return slot->series;
}

uint32_t kvtap_copy_series_find(struct kvtap_copy_series *series, struct kvtap_copy_key key)
{
	struct slot *slot;

	if (key.direction >= KVTAP_CUPTI_COPIES)
		key.direction = 0;
	if (key.memory >= KVTAP_CUPTI_MEMORIES)
		key.memory = 0;
	if (key.device >= DEVICES)
		key.device = OTHER;
	key.stream = bounded_stream(series, key.stream);
	slot = slot_of(series, key);
	if (!slot->series && series->used >= SERIES_OWN) {
		key.stream = OTHER;
		key.label = key.label ? KVTAP_LABEL_OTHER : KVTAP_LABEL_NONE;
		slot = slot_of(series, key);
	}
	return slot->series ? slot->series : make(series, slot, key);
}
