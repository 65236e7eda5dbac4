/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - logfmt lines on stderr
 *
 * A line is built on the stack and written by one write(2) of at most PIPE_BUF bytes, so lines of
 * different threads and processes never mix in a pipe. A value that does not fit is cut and ends
 * in "...". Whatever a value holds, a line stays one line of valid UTF-8 without control
 * characters. Knows nothing of what is logged.
 */
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define LINE_RESERVE 8 /* for ..." and the newline, which always fit */

struct line {
	size_t used;
	bool full;
	char text[PIPE_BUF];
};

static const char *const level_names[] = {
	[LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_ERROR] = "error",
};

static enum log_level level_min = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	level_min = level;
}

int log_level_parse(enum log_level *level, const char *text)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* All of it or nothing; nothing more after something did not fit. */
static void put(struct line *line, const char *data, size_t bytes)
{
	line->full = line->full || line->used + bytes > sizeof(line->text) - LINE_RESERVE;
	if (line->full)
		return;
	memcpy(line->text + line->used, data, bytes);
	line->used += bytes;
}

static void put_reserved(struct line *line, const char *data)
{
	size_t bytes = strlen(data);

	memcpy(line->text + line->used, data, bytes);
	line->used += bytes;
}

/* Bytes of the character that text begins with; 0: none, or what a terminal takes for a command. */
static size_t printable_bytes(const char *text)
{
	unsigned char first = (unsigned char)text[0], second = first ? (unsigned char)text[1] : 0;
	bool control = first < ' ' || first == 0x7f || (first == 0xc2 && second < 0xa0);

	return control ? 0 : text_character(text, strnlen(text, 4));
}

/* Puts one character of a quoted value; returns how many bytes of text it took. */
static size_t put_character(struct line *line, const char *text)
{
	size_t bytes = printable_bytes(text);
	char escaped[8];

	if (*text == '"' || *text == '\\' || *text == '\n') {
		snprintf(escaped, sizeof(escaped), "\\%c", *text == '\n' ? 'n' : *text);
	} else if (bytes) {
		put(line, text, bytes);
		return bytes;
	} else {
		snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned char)*text);
	}
	put(line, escaped, strlen(escaped));
	return 1;
}

static bool is_plain(const char *value)
{
	if (!*value)
		return false;
	for (; *value; value++)
		if (*value <= ' ' || *value > '~' || strchr("\"\\=", *value))
			return false;
	return true;
}

static void put_pair(struct line *line, const char *key, const char *value)
{
	bool plain = is_plain(value);

	/* as one piece, so that a line that is full ends before a key or inside a value */
	char opening[128];
	int bytes = snprintf(opening, sizeof(opening), " %s=%s", key, plain ? "" : "\"");
	put(line, opening, bytes < (int)sizeof(opening) ? (size_t)bytes : sizeof(line->text));
	if (line->full)
		return;
	while (*value && !line->full)
		value += put_character(line, value);
	if (line->full)
		put_reserved(line, "...");
	if (!plain)
		put_reserved(line, "\"");
}

static void put_time(struct line *line)
{
	struct timespec now;
	struct tm utc;
	char text[64];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	size_t bytes = strftime(text, sizeof(text), "ts=%Y-%m-%dT%H:%M:%S", &utc);
	bytes += (size_t)snprintf(text + bytes, sizeof(text) - bytes, ".%03dZ",
				  (int)(now.tv_nsec / 1000000));
	put(line, text, bytes);
}

void log_line(enum log_level level, const char *caller, const char *msg, ...)
{
	if (level < level_min)
		return;
	int saved_errno = errno;
	struct line line = { .used = 0, .full = false };
	const char *key;
	va_list args;

	put_time(&line);
	put_pair(&line, "caller", caller);
	put_pair(&line, "level", level_names[level]);
	put_pair(&line, "msg", msg);
	va_start(args, msg);
	while (!line.full && (key = va_arg(args, const char *))) {
		const char *value = va_arg(args, const char *);
		put_pair(&line, key, value ? value : "");
		if (!value) /* perhaps the sentinel of an odd list: what follows can't be read */
			break;
	}
	va_end(args);
	put_reserved(&line, "\n");
	while (write(STDERR_FILENO, line.text, line.used) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}
