/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format_text.c - text 0.0.4, which is 1.0.0 for our names, and OpenMetrics 1.0.0
 *
 * Label sets, help texts and bounds were escaped and formatted when they appeared. A line ends with
 * its number, so the numbers of a histogram stand as far apart as name, labels and le are long; only
 * the line with an exemplar is longer.
 */
#include "format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct lines { /* being rendered */
	struct text *text;
	enum page_format format;
	size_t begin; /* of the block in text */
};

/* ---- HELP and TYPE ---- */

static size_t shown_name_bytes(const struct family *family, enum page_format format)
{
	bool bare = format == PAGE_OPENMETRICS && family->metric == KVTAP_COUNTER &&
		    family->shown == FAMILY_SHOWN;

	return family->name_bytes - (bare ? strlen("_total") : 0);
}

static void add_help(struct text *text, const char *help, enum page_format format)
{
	for (; *help; help++) {
		if (*help == '"' && format == PAGE_OPENMETRICS)
			text_add_char(text, '\\');
		text_add_char(text, *help);
	}
}

static void add_header(struct text *text, const struct family *family, enum page_format format)
{
	static const char *const types[] = {
		[KVTAP_COUNTER] = "counter",
		[KVTAP_GAUGE] = "gauge",
		[KVTAP_HISTOGRAM] = "histogram",
	};
	size_t bytes = shown_name_bytes(family, format);
	bool unknown = format == PAGE_OPENMETRICS && family->shown == FAMILY_SHOWN_UNKNOWN;

	if (family->help[0]) {
		text_add_string(text, "# HELP ");
		text_add(text, family->name, bytes);
		text_add_char(text, ' ');
		add_help(text, family->help, format);
		text_add_char(text, '\n');
	}
	text_add_string(text, "# TYPE ");
	text_add(text, family->name, bytes);
	text_add_char(text, ' ');
	text_add_string(text, unknown ? "unknown" : types[family->metric]);
	text_add_char(text, '\n');
}

/* ---- samples ---- */

/* The labels, with le (if any) where it belongs by its name. */
static void add_labels(struct text *text, const struct series *series, const char *le)
{
	if (!series->label_bytes && !le)
		return;
	text_add_char(text, '{');
	text_add(text, series->label, series->le_at);
	if (le) {
		bool last = series->le_at == series->label_bytes;

		if (last && series->label_bytes)
			text_add_char(text, ',');
		text_add_string(text, "le=\"");
		text_add_string(text, le);
		text_add_string(text, last ? "\"" : "\",");
	}
	text_add(text, series->label + series->le_at, series->label_bytes - series->le_at);
	text_add_char(text, '}');
}

/* A line up to its number, which stands after what is returned, from the block's begin. */
static uint32_t add_name(struct lines *lines, const struct series *series, const char *suffix,
			 const char *le)
{
	text_add(lines->text, series->family->name, series->family->name_bytes);
	text_add_string(lines->text, suffix);
	add_labels(lines->text, series, le);
	text_add_char(lines->text, ' ');
	return (uint32_t)(lines->text->bytes - lines->begin);
}

static void add_count(struct text *text, uint64_t count)
{
	char field[NUMBER_COUNT_BYTES];

	number_count(field, count);
	text_add(text, field, sizeof(field));
}

static void add_sum(struct text *text, const struct series *series)
{
	char field[NUMBER_FIELD_BYTES];

	number_field_sum(field, series->sum);
	text_add(text, field, sizeof(field));
}

/* Returns: how many bytes. */
static uint16_t add_exemplar(struct text *text, const struct exemplar *exemplar)
{
	char value[NUMBER_BYTES], seconds[NUMBER_BYTES], out[256];

	number_double(value, exemplar->value);
	number_double(seconds, (double)exemplar->duration_ns / 1e9);
	int bytes = snprintf(out, sizeof(out),
			     " # {request_id=\"%" PRIu64 "\",duration_seconds=\"%s\"} %s %" PRIu64
			     ".%09" PRIu64,
			     exemplar->request_id, seconds, value, exemplar->end_ns / 1000000000,
			     exemplar->end_ns % 1000000000);
	text_add(text, out, (size_t)bytes);
	return (uint16_t)bytes;
}

static void add_histogram(struct lines *lines, struct series *series)
{
	const struct family *family = series->family;
	struct exemplars *exemplars = series->exemplars;
	struct text *text = lines->text;
	uint64_t count = 0;

	exemplars->bytes[lines->format] = 0;
	for (uint32_t i = 0; i <= family->bounds; i++) {
		uint32_t place = add_name(lines, series, "_bucket", family->le[i]);

		if (!i)
			series->place[lines->format] = place;
		add_count(text, count += series->bucket[i]);
		if (lines->format == PAGE_OPENMETRICS && exemplars->shown.request_id &&
		    exemplars->shown.bucket == i)
			exemplars->bytes[lines->format] = add_exemplar(text, &exemplars->shown);
		text_add_char(text, '\n');
	}
	if (lines->format == PAGE_OPENMETRICS && series->form == FORM_LEFT_OUT)
		return;
	add_name(lines, series, "_sum", NULL);
	add_sum(text, series);
	text_add_char(text, '\n');
	add_name(lines, series, "_count", NULL);
	add_count(text, count);
	text_add_char(text, '\n');
}

static void add_scalar(struct lines *lines, struct series *series)
{
	char number[NUMBER_BYTES];
	size_t bytes = NUMBER_FIELD_BYTES;

	series->place[lines->format] = add_name(lines, series, "", NULL);
	if (lines->format == PAGE_OPENMETRICS && series->form != FORM_PADDED)
		bytes = number_double(number, series->value);
	else
		text_patch(number, series, lines->format);
	text_add(lines->text, number, bytes);
	text_add_char(lines->text, '\n');
}

void text_render(struct text *text, struct family *family, enum page_format format)
{
	struct lines lines = { .text = text, .format = format, .begin = text->bytes };
	bool openmetrics = format == PAGE_OPENMETRICS;
	bool shown = !openmetrics || family->shown != FAMILY_NOT_SHOWN;

	if (shown)
		add_header(text, family, format);
	for (struct series *series = family->first; series; series = series->next) {
		bool histogram = family->metric == KVTAP_HISTOGRAM;

		series->place[format] = 0;
		if (openmetrics)
			series->form = (uint8_t)format_form(series);
		if (!shown || (family->lazy && !series->seen))
			continue;
		if (histogram)
			add_histogram(&lines, series);
		else if (!openmetrics || series->form != FORM_LEFT_OUT)
			add_scalar(&lines, series);
	}
}

/* ---- numbers alone ---- */

/* What stands between two numbers of a histogram: the rest of a line and the next up to there. */
static size_t gap_bytes(const struct series *series, size_t suffix_bytes, size_t le_bytes)
{
	size_t labels = series->label_bytes;

	if (le_bytes) /* le="" and, after other labels, a comma */
		labels += le_bytes + 5 + (labels ? 1 : 0);
	return 1 + series->family->name_bytes + suffix_bytes + (labels ? labels + 2 : 0) + 1;
}

static char *patch_histogram(char *at, const struct series *series, enum page_format format)
{
	const struct family *family = series->family;
	const struct exemplars *exemplars = series->exemplars;
	size_t gap = gap_bytes(series, strlen("_bucket"), 1) - 1; /* to which le comes */
	uint64_t count = 0;

	for (uint32_t i = 0; i <= family->bounds; i++) {
		if (i)
			at += gap + family->le_length[i];
		number_count(at, count += series->bucket[i]);
		at += NUMBER_COUNT_BYTES;
		if (exemplars->shown.bucket == i)
			at += exemplars->bytes[format];
	}
	if (format == PAGE_OPENMETRICS && series->form == FORM_LEFT_OUT)
		return at;
	at += gap_bytes(series, strlen("_sum"), 0);
	number_field_sum(at, series->sum);
	at += NUMBER_FIELD_BYTES + gap_bytes(series, strlen("_count"), 0);
	number_count(at, count);
	return at + NUMBER_COUNT_BYTES;
}

char *text_patch(char *at, const struct series *series, enum page_format format)
{
	if (series->family->metric == KVTAP_HISTOGRAM)
		return patch_histogram(at, series, format);
	if (format == PAGE_OPENMETRICS && series->form != FORM_PADDED)
		return at; /* what is there is all there can be */
	if (series->family->metric == KVTAP_GAUGE)
		number_field(at, series->value);
	else
		number_field_sum(at, series->sum);
	return at + NUMBER_FIELD_BYTES;
}
