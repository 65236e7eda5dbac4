/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_exporter.h - the real exporter on test_folder(), and scrapes of it
 *
 * What fails here fails the test. Of the exporter it knows its flags, the log line that tells its
 * port, and the text format.
 */
#ifndef KVTAP_TESTS_SUPPORT_EXPORTER_H
#define KVTAP_TESTS_SUPPORT_EXPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct exporter {
	pid_t pid;
	int port;      /* on 127.0.0.1 */
	int stderr_fd; /* does not block */
	char *log;     /* what it said so far, read at each call below; NUL-terminated */
	size_t log_bytes;
};

/* exporter_path - the exporter that was built with this test; NULL: it was not */
const char *exporter_path(void);

/**
 * exporter_start - start it on test_folder() and a free port, and wait until it listens
 * @flags: more of its command line, NULL-terminated; NULL: none. Without --log.interval there is no
 *         interval log; it goes to the caller's own standard output.
 */
void exporter_start(struct exporter *exporter, const char *const *flags);
/* exporter_begin - the same without the wait; exporter_await - the wait */
void exporter_begin(struct exporter *exporter, const char *const *flags);
void exporter_await(struct exporter *exporter);

/* exporter_stop - SIGTERM; fails unless it exits with 0 in 10 s */
void exporter_stop(struct exporter *exporter);
/* exporter_kill - SIGKILL, and reap it */
void exporter_kill(struct exporter *exporter);

/* exporter_get - GET path; Returns: the HTTP status, and the body, to be freed, unless body is NULL */
int exporter_get(struct exporter *exporter, const char *path, char **body);
/* exporter_scrape - GET /metrics; fails unless 200; to be freed */
char *exporter_scrape(struct exporter *exporter);

/* exporter_says - whether its log has this text by now */
bool exporter_says(struct exporter *exporter, const char *text);

/**
 * page_value - the value of a sample in a page
 * @sample: all of a line before the value: name{label="value",...} or only name
 *
 * Returns: NaN if there is no such sample.
 */
double page_value(const char *page, const char *sample);

#endif
