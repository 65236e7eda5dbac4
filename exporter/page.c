/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page.c - the families and their series as text 0.0.4; pure
 *
 * Label sets, help texts and bounds were escaped and formatted when they appeared; only the numbers
 * are formatted here. The order never changes, so that two pages differ only in numbers and in what
 * is new.
 */
#include "page.h"

#include <string.h>

static void add_header(struct text *text, const struct family *family)
{
	static const char *const types[] = {
		[KVTAP_COUNTER] = "counter",
		[KVTAP_GAUGE] = "gauge",
		[KVTAP_HISTOGRAM] = "histogram",
	};

	if (family->help[0]) {
		text_add_string(text, "# HELP ");
		text_add_string(text, family->name);
		text_add_char(text, ' ');
		text_add_string(text, family->help);
		text_add_char(text, '\n');
	}
	text_add_string(text, "# TYPE ");
	text_add_string(text, family->name);
	text_add_char(text, ' ');
	text_add_string(text, types[family->metric]);
	text_add_char(text, '\n');
}

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

static void add_sample(struct text *text, const struct series *series, const char *suffix,
		       const char *le, const char *number, size_t bytes)
{
	text_add_string(text, series->family->name);
	text_add_string(text, suffix);
	add_labels(text, series, le);
	text_add_char(text, ' ');
	text_add(text, number, bytes);
	text_add_char(text, '\n');
}

static void add_histogram(struct text *text, const struct series *series)
{
	const struct family *family = series->family;
	char number[NUMBER_BYTES], sum[NUMBER_BYTES];
	uint64_t count = 0;
	size_t bytes = 0;

	for (uint32_t i = 0; i <= family->bounds; i++) {
		count += series->bucket[i];
		bytes = number_integer(number, count);
		add_sample(text, series, "_bucket", family->le[i], number, bytes);
	}
	add_sample(text, series, "_sum", NULL, sum, number_sum(sum, series->sum));
	add_sample(text, series, "_count", NULL, number, bytes);
}

static void add_series(struct text *text, const struct series *series)
{
	char number[NUMBER_BYTES];

	if (series->family->lazy && !series->seen)
		return;
	if (series->family->metric == KVTAP_HISTOGRAM) {
		add_histogram(text, series);
		return;
	}
	size_t bytes = series->family->metric == KVTAP_GAUGE ? number_double(number, series->value)
							     : number_sum(number, series->sum);
	add_sample(text, series, "", NULL, number, bytes);
}

void page_render(struct text *text, const struct series_table *table)
{
	for (uint32_t i = 0; i < table->families.count; i++) {
		const struct family *family = table->families.family[i];

		add_header(text, family);
		for (const struct series *series = family->first; series; series = series->next)
			add_series(text, series);
	}
}
