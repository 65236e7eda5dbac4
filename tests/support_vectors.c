/* SPDX-License-Identifier: Apache-2.0 */
/* support_vectors.c - see support_vectors.h */
#include "support_vectors.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#define HEAD " [kvtap] KV Transfer metrics: "

static void complain(void *arg, enum kvtap_level level, const char *message)
{
	(void)arg;
	if (level == KVTAP_LOG_ERROR)
		test_fail(__FILE__, __LINE__, "kvtap: %s", message);
}

struct kvtap *interval_tap(const char *engine, const struct kvtap_options *options)
{
	struct kvtap_options all = options ? *options : (struct kvtap_options){ 0 };
	struct kvtap *tap;

	all.model_name = INTERVAL_MODEL;
	all.engine = engine;
	all.log = complain;
	CHECK_EQ(kvtap_open(&tap, &all), 0);
	return tap;
}

uint32_t interval_series(struct kvtap *tap, const char *name,
			 const struct kvtap_builtin_labels *labels)
{
	uint32_t series;

	CHECK_EQ(kvtap_builtin(tap, &series, name, labels), 0);
	return series;
}

/* The exporter inherits this process's standard output, which is the file meanwhile. */
void interval_begin_with(struct interval *interval, const char *const *flags)
{
	int own = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);

	*interval = (struct interval){ .stdout_fd = memfd_create("stdout", MFD_CLOEXEC) };
	CHECK(own >= 0 && interval->stdout_fd >= 0);
	fflush(stdout);
	CHECK_EQ(dup2(interval->stdout_fd, STDOUT_FILENO), STDOUT_FILENO);
	exporter_begin(&interval->exporter, flags);
	CHECK_EQ(dup2(own, STDOUT_FILENO), STDOUT_FILENO);
	close(own);
	exporter_await(&interval->exporter);
}

void interval_begin(struct interval *interval)
{
	interval_begin_with(interval, (const char *[]){ "--log.interval=1h", NULL });
}

static void read_told(struct interval *interval)
{
	struct stat file;

	CHECK_EQ(fstat(interval->stdout_fd, &file), 0);
	free(interval->told);
	interval->told = calloc(1, (size_t)file.st_size + 1);
	CHECK(interval->told);
	CHECK_EQ(pread(interval->stdout_fd, interval->told, (size_t)file.st_size, 0), file.st_size);
}

size_t interval_lines(struct interval *interval)
{
	size_t lines = 0;

	read_told(interval);
	for (const char *c = interval->told; (c = strchr(c, '\n')); c++)
		lines++;
	return lines;
}

void interval_end(struct interval *interval)
{
	interval->page = exporter_scrape(&interval->exporter);
	exporter_stop(&interval->exporter);
	read_told(interval);
	test_leaves_files(); /* the exporter's state */
}

void interval_free(struct interval *interval)
{
	close(interval->stdout_fd);
	free(interval->told);
	free(interval->page);
}

const char *interval_next(const char *told, const char *engine)
{
	char tail[128];
	int bytes = snprintf(tail, sizeof(tail), ", Model=" INTERVAL_MODEL ", Engine=%s\n", engine);
	size_t left = strlen(told);

	for (const char *line = told, *end; (end = memchr(line, '\n', left)); line = end + 1) {
		const char *head = memmem(line, (size_t)(end - line), HEAD, strlen(HEAD));

		left -= (size_t)(end + 1 - line);
		if (head && end + 1 - bytes >= head &&
		    memcmp(end + 1 - bytes, tail, (size_t)bytes) == 0)
			return head + strlen(HEAD);
	}
	return NULL;
}

const char *interval_figures(const struct interval *interval, const char *engine)
{
	return interval_next(interval->told, engine);
}

void interval_check(const struct interval *interval, const char *engine, const char *figures)
{
	const char *told = interval_figures(interval, engine);
	size_t bytes = strlen(figures);

	if (!told || strncmp(told, figures, bytes) != 0 || told[bytes] != ',')
		test_fail(__FILE__, __LINE__, "of engine %s\n%s\nis not what it told:\n%.*s",
			  engine, figures, told ? (int)strcspn(told, "\n") : 0, told ? told : "");
}

bool interval_contains(const struct interval *interval, const char *engine, const char *text)
{
	const char *told = interval_figures(interval, engine);
	const char *found = told ? strstr(told, text) : NULL;

	return found && found < strchr(told, '\n');
}
