/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval_text.c - the interval of an engine as a line of text or JSON; pure
 *
 * Keys come as the str that Python would print: as it is at the top, as its repr in a dict, quoted by
 * the rules of RFC 8259 in JSON. Names are a worker's choice, so what is printed as it is has its
 * control characters escaped.
 */
#include "interval_text.h"

#include <stdio.h>
#include <string.h>

#include "interval_log.h"
#include "statistic.h"
#include "summary.h"
#include "summary_figures.h"

/* for what ends a line: braces, "cut":true, and names of 4096 bytes, of which one may become 6 */
#define RESERVE (64 * 1024)

enum style { STYLE_PLAIN, STYLE_PYTHON, STYLE_JSON };

struct writer {
	struct text *line;
	struct text key; /* scratch */
	enum style style;
	bool first, cut;
};

/* ---- strings ---- */

/* C0, DEL, C1, and what some readers take for the end of a line. */
static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

/* One line of UTF-8; for JSON the inside of a string. */
static void add_clean(struct text *text, const char *data, size_t bytes, bool json)
{
	char escape[8];

	for (size_t i = 0; i < bytes;) {
		size_t length = text_character(data + i, bytes - i);
		uint32_t code = length ? text_code_point(data + i, length) : 0;

		if (!length && data[i])
			text_add_string(text, "\xef\xbf\xbd");
		else if (is_control(code)) /* NUL is no character here */
			text_add(text, escape,
				 (size_t)snprintf(escape, sizeof(escape),
						  json || code > 0xff ? "\\u%04x" : "\\x%02x",
						  code));
		else if (json && (code == '"' || code == '\\'))
			text_add(text, (const char[2]){ '\\', data[i] }, 2);
		else
			text_add(text, data + i, length);
		i += length ? length : 1;
	}
}

static void add_json(struct text *text, const char *data, size_t bytes)
{
	text_add_char(text, '"');
	add_clean(text, data, bytes, true);
	text_add_char(text, '"');
}

static void add_string(struct text *text, enum style style, const char *data, size_t bytes)
{
	if (style == STYLE_PLAIN)
		add_clean(text, data, bytes, false);
	else if (style == STYLE_PYTHON)
		summary_quote(text, data, bytes);
	else
		add_json(text, data, bytes);
}

/* ---- figures ---- */

static bool is_finite_text(const char *value)
{
	return !strchr(value, 'n'); /* inf, -inf, nan */
}

static bool take_figure(void *context, const char *key, size_t bytes, const char *value)
{
	static const char *const between[] = { ", ", ", ", "," };
	static const char *const is[] = { "=", ": ", ":" };
	struct writer *writer = context;
	struct text *line = writer->line;

	writer->key.bytes = 0;
	add_string(&writer->key, writer->style, key, bytes);
	line->failed |= writer->key.failed;
	if (line->bytes + writer->key.bytes + RESERVE > INTERVAL_LOG_LINE_MAX) {
		writer->cut = true;
		return false;
	}
	if (!writer->first)
		text_add_string(line, between[writer->style]);
	writer->first = false;
	text_add(line, writer->key.data, writer->key.bytes);
	text_add_string(line, is[writer->style]);
	text_add_string(line,
			writer->style == STYLE_JSON && !is_finite_text(value) ? "null" : value);
	return true;
}

/* False: the line was cut. */
static bool add_figures(struct text *line, const struct interval_connector *connector,
			enum style style)
{
	struct writer writer = { .line = line, .style = style, .first = true };

	summary_tell(connector, &(struct summary_sink){ take_figure, &writer });
	if (writer.cut && style != STYLE_JSON)
		text_add_string(line, writer.first ? "..." : ", ...");
	text_free(&writer.key);
	return !writer.cut;
}

unsigned interval_text_connectors(const struct interval_engine *engine)
{
	unsigned count = 0;

	for (const struct interval_connector *of = engine->connectors; of; of = of->next)
		count += !summary_is_empty(of);
	return count;
}

/* ---- lines ---- */

static void add_label(struct text *line, const char *name, const struct kvtap_text *value)
{
	if (!value->bytes)
		return;
	text_add_string(line, name);
	add_clean(line, value->data, value->bytes, false);
}

void interval_text_plain(struct text *line, const struct interval_engine *engine,
			 const struct interval_time *time)
{
	bool nested = interval_text_connectors(engine) > 1, first = true, whole = true;
	struct tm local;
	char text[64];

	localtime_r(&time->end.tv_sec, &local);
	text_add(line, text, strftime(text, sizeof(text), "INFO %m-%d %H:%M:%S [kvtap] ", &local));
	text_add_string(line, "KV Transfer metrics: ");
	for (const struct interval_connector *of = engine->connectors; of && whole; of = of->next) {
		if (summary_is_empty(of))
			continue;
		text_add_string(line, first ? "" : ", ");
		first = false;
		if (nested) {
			add_clean(line, of->name.data, of->name.bytes, false);
			text_add_string(line, "={");
		}
		whole = add_figures(line, of, nested ? STYLE_PYTHON : STYLE_PLAIN);
		text_add_string(line, nested ? "}" : "");
	}
	add_label(line, ", Model=", &engine->model_name);
	add_label(line, ", Engine=", &engine->engine);
	text_add_char(line, '\n');
}

static void add_member(struct text *line, const char *name, const struct kvtap_text *value)
{
	if (!value->bytes)
		return;
	text_add_string(line, name);
	add_json(line, value->data, value->bytes);
}

static void add_head(struct text *line, const struct interval_time *time)
{
	double seconds = (double)((time->length_ns + 500000) / 1000000) / 1e3;
	char text[64], length[STATISTIC_BYTES];
	struct tm utc;

	gmtime_r(&time->end.tv_sec, &utc);
	text_add(line, text, strftime(text, sizeof(text), "{\"ts\":\"%Y-%m-%dT%H:%M:%S", &utc));
	snprintf(text, sizeof(text),
		 ".%03dZ\",\"interval_s\":", (int)(time->end.tv_nsec / 1000000));
	text_add_string(line, text);
	text_add(line, length, statistic_repr(length, seconds));
}

void interval_text_json(struct text *line, const struct interval_engine *engine,
			const struct interval_time *time)
{
	bool first = true, whole = true;

	add_head(line, time);
	add_member(line, ",\"model_name\":", &engine->model_name);
	add_member(line, ",\"engine\":", &engine->engine);
	text_add_string(line, ",\"connectors\":{");
	for (const struct interval_connector *of = engine->connectors; of && whole; of = of->next) {
		if (summary_is_empty(of))
			continue;
		text_add_string(line, first ? "" : ",");
		first = false;
		add_json(line, of->name.data, of->name.bytes);
		text_add_string(line, ":{");
		whole = add_figures(line, of, STYLE_JSON);
		text_add_char(line, '}');
	}
	text_add_string(line, whole ? "}}\n" : "},\"cut\":true}\n");
}
