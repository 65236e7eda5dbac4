/* SPDX-License-Identifier: Apache-2.0 */
/* support_render.c - a page of a series table without publishing it */
#include "support_render.h"

#include <string.h>

#include "support_number.h"

void render_page(struct text *text, struct series_table *table, enum page_format format)
{
	for (uint32_t i = 0; i < table->families.count; i++)
		format_render(text, table->families.family[i], format);
	text_add_string(text, format_tail(format));
}

/* By length: a sanitizer looks at all of a string, and a page is long. */
void render_plain(struct text *text, struct series_table *table)
{
	struct text page = { 0 };

	render_page(&page, table, PAGE_TEXT);
	text->failed |= page.failed;
	for (char *line = page.data, *end; line && line < page.data + page.bytes; line = end + 1) {
		end = memchr(line, '\n', (size_t)(page.data + page.bytes - line));
		*end = '\0';
		char *number = memrchr(line, ' ', (size_t)(end - line));

		if (*line == '#') {
			text_add(text, line, (size_t)(end - line));
		} else {
			char *name_end = number;

			while (name_end[-1] == ' ')
				name_end--;
			text_add(text, line, (size_t)(name_end + 1 - line));
			text_add_string(text, number_plain(number + 1));
		}
		text_add_char(text, '\n');
	}
	text_add_char(text, '\0');
	text_free(&page);
}
