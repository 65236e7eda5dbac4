/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format.c - what the formats share, and what OpenMetrics cannot say
 *
 * OpenMetrics names a counter's family without _total, and a counter x_total takes the names x and
 * x_created, a histogram h takes h_created. In text 0.0.4 these may be other families: there a
 * counter whose names are taken is shown with its whole name and as of unknown type, and what stands
 * in the way of a histogram is not shown.
 */
#include "format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void format_render(struct text *text, struct family *family, enum page_format format)
{
	if (format == PAGE_PROTOBUF)
		protobuf_render(text, family);
	else
		text_render(text, family, format);
}

char *format_patch(char *at, const struct series *series, enum page_format format)
{
	if (format == PAGE_PROTOBUF)
		return protobuf_patch(at, series);
	return text_patch(at, series, format);
}

const char *format_tail(enum page_format format)
{
	return format == PAGE_OPENMETRICS ? "# EOF\n" : "";
}

enum format_form format_form(const struct series *series)
{
	const uint64_t *word = series->sum[NUMBER_DOUBLE].word;

	if (series->family->metric == KVTAP_GAUGE) {
		if (isnan(series->value))
			return FORM_NAN;
		if (isinf(series->value))
			return series->value > 0 ? FORM_INFINITE : FORM_NEGATIVE_INFINITE;
		return FORM_PADDED;
	}
	if (series->family->bounds && series->family->bound[0] < 0)
		return FORM_LEFT_OUT;
	if (!(word[0] | word[1]))
		return FORM_PADDED; /* of integers */
	double sum = number_sum(series->sum);
	return isfinite(sum) && sum >= 0 ? FORM_PADDED : FORM_LEFT_OUT;
}

#define TOTAL (sizeof("_total") - 1)
#define CREATED (sizeof("_created") - 1)

/* Whether a family may print this, or a counter would have it without _total. */
static bool is_taken(const struct families *families, const char *stem, const char *suffix)
{
	char name[2 * KVTAP_NAME_MAX];

	snprintf(name, sizeof(name), "%s%s", stem, suffix);
	return family_find(families, name);
}

static enum family_shown classify(const struct families *families, const struct family *family)
{
	char stem[KVTAP_NAME_MAX + sizeof("_total")];
	size_t end = family->name_bytes;

	if (family->metric == KVTAP_COUNTER) {
		snprintf(stem, sizeof(stem), "%.*s", (int)(end - TOTAL), family->name);
		return is_taken(families, stem, "") || is_taken(families, stem, "_created") ||
				       is_taken(families, stem, "_created_total")
			       ? FAMILY_SHOWN_UNKNOWN
			       : FAMILY_SHOWN;
	}
	if (end <= CREATED || strcmp(family->name + end - CREATED, "_created"))
		return FAMILY_SHOWN;
	snprintf(stem, sizeof(stem), "%.*s", (int)(end - CREATED), family->name);
	return is_taken(families, stem, "_bucket") ? FAMILY_NOT_SHOWN : FAMILY_SHOWN;
}

void format_classify(struct families *families)
{
	for (uint32_t i = 0; i < families->count; i++) {
		struct family *family = families->family[i];
		enum family_shown shown = classify(families, family);

		if (family->shown != shown)
			family->block[PAGE_OPENMETRICS].stale = true;
		family->shown = (uint8_t)shown;
	}
}
