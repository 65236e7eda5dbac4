/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c - a text that grows, with the escapes of the exposition formats; pure
 *
 * Label values and help texts come from workers and may hold any bytes. A page must be UTF-8, or
 * Prometheus refuses it as a whole, so every byte is checked here, once, when a series appears.
 */
#include "text.h"

#include <stdlib.h>
#include <string.h>

static bool reserve(struct text *text, size_t bytes)
{
	if (text->failed)
		return false;
	if (text->room - text->bytes >= bytes)
		return true;
	size_t room = text->room ? text->room : 256;
	while (room - text->bytes < bytes)
		room *= 2;
	char *data = realloc(text->data, room);
	if (!data) {
		text->failed = true;
		return false;
	}
	text->data = data;
	text->room = room;
	return true;
}

void text_add(struct text *text, const char *data, size_t bytes)
{
	if (!bytes || !reserve(text, bytes))
		return;
	memcpy(text->data + text->bytes, data, bytes);
	text->bytes += bytes;
}

void text_add_string(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

void text_add_char(struct text *text, char c)
{
	text_add(text, &c, 1);
}

size_t text_character(const char *text, size_t bytes)
{
	const unsigned char *data = (const unsigned char *)text;
	static const struct {
		unsigned char first, last, low, high; /* low, high: of the second byte */
		size_t bytes;
	} form[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	if (!bytes || data[0] < 0x80)
		return bytes && data[0] ? 1 : 0;
	for (size_t i = 0; i < sizeof(form) / sizeof(form[0]); i++) {
		if (data[0] < form[i].first || data[0] > form[i].last)
			continue;
		if (bytes < form[i].bytes || data[1] < form[i].low || data[1] > form[i].high)
			return 0;
		for (size_t k = 2; k < form[i].bytes; k++)
			if ((data[k] & 0xc0) != 0x80)
				return 0;
		return form[i].bytes;
	}
	return 0;
}

uint32_t text_code_point(const char *data, size_t bytes)
{
	static const unsigned char first_bits[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t code = (unsigned char)data[0] & first_bits[bytes];

	for (size_t i = 1; i < bytes; i++)
		code = code << 6 | ((unsigned char)data[i] & 0x3f);
	return code;
}

static void add_escaped(struct text *text, const char *data, size_t bytes, bool quotes)
{
	for (size_t i = 0; i < bytes;) {
		size_t length = text_character(data + i, bytes - i);

		if (!length)
			text_add_string(text, "\xef\xbf\xbd");
		else if (data[i] == '\n')
			text_add_string(text, "\\n");
		else if (data[i] == '\\' || (quotes && data[i] == '"'))
			text_add(text, (const char[2]){ '\\', data[i] }, 2);
		else
			text_add(text, data + i, length);
		i += length ? length : 1;
	}
}

void text_add_label_value(struct text *text, const char *data, size_t bytes)
{
	add_escaped(text, data, bytes, true);
}

void text_add_help(struct text *text, const char *data, size_t bytes)
{
	add_escaped(text, data, bytes, false);
}

void text_free(struct text *text)
{
	free(text->data);
	*text = (struct text){ 0 };
}
