/* SPDX-License-Identifier: Apache-2.0 */
/* test_log.c - every line is one line of logfmt, whatever is in it */
#include "../exporter/log.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

static int pipe_fds[2], stderr_copy;

static void capture_begin(void)
{
	stderr_copy = dup(STDERR_FILENO);
	CHECK(stderr_copy >= 0);
	CHECK_EQ(pipe(pipe_fds), 0);
	CHECK(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
	close(pipe_fds[1]);
}

/* All that was written since capture_begin(), up to the capacity of a pipe. */
static const char *capture_end(void)
{
	static char text[65536 + 1];
	size_t used = 0;
	ssize_t got;

	CHECK(dup2(stderr_copy, STDERR_FILENO) >= 0);
	close(stderr_copy);
	while ((got = read(pipe_fds[0], text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)got;
	close(pipe_fds[0]);
	text[used] = '\0';
	return text;
}

/* The line's part after msg="m" for this value. */
static const char *logged(const char *value)
{
	capture_begin();
	log_info("m", "key", value);
	const char *found = strstr(capture_end(), "msg=m");
	CHECK(found);
	return found;
}

TEST(log_line_has_time_caller_level_and_pairs_when_printed)
{
	regex_t form;

	CHECK_EQ(regcomp(&form,
			 "^ts=[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
			 "caller=test_log\\.c:[0-9]+ level=warn msg=\"two words\" one=1 two=2\n$",
			 REG_EXTENDED | REG_NOSUB),
		 0);
	capture_begin();
	log_warn("two words", "one", "1", "two", "2");
	const char *line = capture_end();
	if (regexec(&form, line, 0, NULL, 0) != 0)
		test_fail(__FILE__, __LINE__, "not a line of the form: %s", line);
	regfree(&form);
}

TEST(log_value_is_quoted_when_a_parser_would_need_it)
{
	CHECK_STR(logged("plain/0.1:[::]"), "msg=m key=plain/0.1:[::]\n");
	CHECK_STR(logged(""), "msg=m key=\"\"\n");
	CHECK_STR(logged("a b"), "msg=m key=\"a b\"\n");
	CHECK_STR(logged("a=b"), "msg=m key=\"a=b\"\n");
	CHECK_STR(logged("say \"x\" \\"), "msg=m key=\"say \\\"x\\\" \\\\\"\n");
}

TEST(log_value_is_escaped_when_it_holds_control_bytes)
{
	CHECK_STR(logged("a\nlevel=error"), "msg=m key=\"a\\nlevel=error\"\n");
	CHECK_STR(logged("\r\t\x1b[31m\x7f"), "msg=m key=\"\\x0d\\x09\\x1b[31m\\x7f\"\n");
	CHECK_STR(logged("\xc2\x9b"), "msg=m key=\"\\xc2\\x9b\"\n"); /* CSI as one C1 character */
}

TEST(log_value_keeps_utf8_and_escapes_what_only_looks_like_it)
{
	CHECK_STR(logged("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
		  "msg=m key=\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"\n");
	CHECK_STR(logged("\x80"), "msg=m key=\"\\x80\"\n");
	CHECK_STR(logged("\xf9\x80\x80\x80"), "msg=m key=\"\\xf9\\x80\\x80\\x80\"\n");
	CHECK_STR(logged("\xff\xfe"), "msg=m key=\"\\xff\\xfe\"\n");
	CHECK_STR(logged("\xe2\x82"), "msg=m key=\"\\xe2\\x82\"\n");	      /* cut short */
	CHECK_STR(logged("\xc0\xaf"), "msg=m key=\"\\xc0\\xaf\"\n");	      /* overlong */
	CHECK_STR(logged("\xe0\x80\xaf"), "msg=m key=\"\\xe0\\x80\\xaf\"\n"); /* overlong */
	CHECK_STR(logged("\xed\xa0\x80"), "msg=m key=\"\\xed\\xa0\\x80\"\n"); /* surrogate */
	CHECK_STR(logged("\xf4\x90\x80\x80"), "msg=m key=\"\\xf4\\x90\\x80\\x80\"\n"); /* beyond */
}

/* Each length around the end of the line, of characters that take one, two and four bytes. */
static void check_cut(const char *character, size_t shown_bytes)
{
	size_t bytes = strlen(character);

	for (size_t count = PIPE_BUF / shown_bytes - 80; count < PIPE_BUF / shown_bytes + 4;
	     count++) {
		char *value = calloc(count + 1, bytes);

		CHECK(value);
		for (size_t i = 0; i < count; i++)
			memcpy(value + i * bytes, character, bytes);
		capture_begin();
		log_info("m", "key", value, "next", "1");
		const char *line = capture_end();
		size_t length = strlen(line);
		CHECK(length <= PIPE_BUF);
		CHECK(strchr(line, '\n') == line + length - 1);
		CHECK(length > PIPE_BUF / 2);
		free(value);
	}
}

TEST(log_line_ends_whole_when_a_value_does_not_fit)
{
	check_cut("x", 1);
	check_cut("\xc3\xa9", 2);
	check_cut("\x01", 4);
	char *value = calloc(PIPE_BUF + 1, 1);
	CHECK(value);
	const char *line = logged(memset(value, ' ', PIPE_BUF));
	CHECK_STR(line + strlen(line) - 6, " ...\"\n");
	free(value);
}

TEST(log_line_is_left_out_when_below_the_level)
{
	log_set_level(LOG_LEVEL_WARN);
	capture_begin();
	log_debug("no");
	log_info("no");
	log_warn("yes");
	log_error("yes");
	const char *text = capture_end();
	CHECK(!strstr(text, "msg=no"));
	CHECK(strstr(text, "level=warn msg=yes\n"));
	CHECK(strstr(text, "level=error msg=yes\n"));
}

TEST(log_level_parse_takes_the_four_names_and_nothing_else)
{
	enum log_level level;

	CHECK_EQ(log_level_parse(&level, "debug"), 0);
	CHECK_EQ(level, LOG_LEVEL_DEBUG);
	CHECK_EQ(log_level_parse(&level, "info"), 0);
	CHECK_EQ(level, LOG_LEVEL_INFO);
	CHECK_EQ(log_level_parse(&level, "warn"), 0);
	CHECK_EQ(level, LOG_LEVEL_WARN);
	CHECK_EQ(log_level_parse(&level, "error"), 0);
	CHECK_EQ(level, LOG_LEVEL_ERROR);
	CHECK_EQ(log_level_parse(&level, "Info"), -EINVAL);
	CHECK_EQ(log_level_parse(&level, ""), -EINVAL);
	CHECK_EQ(level, LOG_LEVEL_ERROR);
}

TEST(log_keeps_errno_when_stderr_is_closed)
{
	int copy = dup(STDERR_FILENO);

	close(STDERR_FILENO);
	errno = ENOSPC;
	log_error("nobody reads this");
	int kept = errno;
	CHECK(dup2(copy, STDERR_FILENO) >= 0);
	close(copy);
	CHECK_EQ(kept, ENOSPC);
}

static void *log_many(void *unused)
{
	(void)unused;
	for (int i = 0; i < 50; i++)
		log_info("m", "key", "some words of a value");
	return NULL;
}

TEST(log_lines_do_not_mix_when_threads_write_at_once)
{
	static const char tail[] = " msg=m key=\"some words of a value\"\n";
	pthread_t threads[4];
	int lines = 0;

	capture_begin(); /* 200 lines stay below the capacity of a pipe */
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, log_many, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	const char *line = capture_end();
	for (const char *end; (end = strchr(line, '\n')); line = end + 1) {
		CHECK(strncmp(line, "ts=", 3) == 0);
		CHECK(strstr(line, tail) == end + 2 - sizeof(tail));
		lines++;
	}
	CHECK_EQ(lines, 200);
}
