/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - a text that grows, with the escapes of the exposition formats; pure
 *
 * A text that ran out of memory stays failed and takes no more; check once, at the end.
 */
#ifndef KVTAP_EXPORTER_TEXT_H
#define KVTAP_EXPORTER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *data; /* from malloc; not NUL-terminated */
	size_t bytes, room;
	bool failed;
};

void text_add(struct text *text, const char *data, size_t bytes);
void text_add_string(struct text *text, const char *string);
void text_add_char(struct text *text, char c);
/* escape \ " and \n; bytes that are not UTF-8, and NUL, become U+FFFD */
void text_add_label_value(struct text *text, const char *data, size_t bytes);
/* the same without the quotation mark, which is not escaped in a HELP line */
void text_add_help(struct text *text, const char *data, size_t bytes);
void text_free(struct text *text);

/* text_character - length of the UTF-8 character (RFC 3629) that data begins with; 0: none, or NUL */
size_t text_character(const char *data, size_t bytes);
/* text_code_point - of such a character, or NUL, of so many bytes */
uint32_t text_code_point(const char *data, size_t bytes);

#endif
