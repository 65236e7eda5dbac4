/* SPDX-License-Identifier: Apache-2.0 */
#include "cupti_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cupti_abi.h"

const char *const kvtap_cupti_directions[KVTAP_CUPTI_COPIES] = {
	"unknown", "h2d", "d2h", "h2a", "a2h", "a2a", "a2d", "d2a", "d2d", "h2h", "p2p",
};

static const char *text(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* Digits alone: no sign, no space, nothing after. */
static bool number(const char *name, uint64_t min, uint64_t max, uint64_t *result)
{
	const char *value = text(name);
	char *end;

	if (!value)
		return true;
	errno = 0;
	*result = strtoull(value, &end, 10);
	return *value >= '0' && *value <= '9' && !*end && !errno && *result >= min &&
	       *result <= max;
}

static bool one_direction(const char *name, size_t bytes, uint32_t *directions)
{
	for (int kind = 0; kind < KVTAP_CUPTI_COPIES; kind++) {
		const char *known = kvtap_cupti_directions[kind];

		if (strlen(known) == bytes && memcmp(known, name, bytes) == 0) {
			*directions |= 1u << kind;
			return true;
		}
	}
	return false;
}

static bool directions(const char *name, uint32_t *result)
{
	const char *value = text(name);

	*result = value ? 0 : (1u << KVTAP_CUPTI_COPIES) - 1;
	while (value) {
		size_t bytes = strcspn(value, ",");

		if (!one_direction(value, bytes, result))
			return false;
		value = value[bytes] ? value + bytes + 1 : NULL;
	}
	return true;
}

static bool mode(const char *name, bool *shared)
{
	const char *value = text(name);

	*shared = value && strcmp(value, "shared") == 0;
	return !value || *shared || strcmp(value, "subscribe") == 0;
}

const char *kvtap_cupti_options_read(struct kvtap_cupti_options *options)
{
	uint64_t flush_ms = 200, streams = 32;
	const char *disable = text("KVTAP_DISABLE");
	const char *wrong = NULL;

	*options = (struct kvtap_cupti_options){
		.model_name = text("KVTAP_CUPTI_MODEL_NAME"),
		.engine = text("KVTAP_CUPTI_ENGINE"),
		.rank = text("KVTAP_CUPTI_RANK"),
		.log = text("KVTAP_CUPTI_LOG"),
		.labels = text("KVTAP_CUPTI_LABELS"),
		.disabled = disable && strcmp(disable, "0") != 0,
	};
	if (!mode("KVTAP_CUPTI", &options->shared))
		wrong = "KVTAP_CUPTI";
	if (!number("KVTAP_CUPTI_MIN_BYTES", 0, UINT64_MAX, &options->min_bytes))
		wrong = "KVTAP_CUPTI_MIN_BYTES";
	if (!directions("KVTAP_CUPTI_DIRECTIONS", &options->directions))
		wrong = "KVTAP_CUPTI_DIRECTIONS";
	if (!number("KVTAP_CUPTI_FLUSH_MS", 100, 1000, &flush_ms))
		wrong = "KVTAP_CUPTI_FLUSH_MS";
	if (!number("KVTAP_CUPTI_STREAMS", 0, KVTAP_CUPTI_STREAMS_MAX, &streams))
		wrong = "KVTAP_CUPTI_STREAMS";
	options->flush_ms = (uint32_t)flush_ms;
	options->streams = (uint32_t)streams;
	return wrong;
}
