/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exporter.c - start the exporter, learn its port from its log, stop it
 *
 * Of the exporter it knows two flags and one log line.
 */
#include "exporter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "truth.h"

#define START_LIMIT_MS 60000
#define STOP_LIMIT_MS 60000
#define LINES_SHOWN 10

bool exporter_read(struct exporter *exporter)
{
	size_t half = sizeof(exporter->said) / 2;

	if (exporter->used + 1 >= sizeof(exporter->said)) {
		exporter->used -= half;
		memmove(exporter->said, exporter->said + half, exporter->used);
	}
	ssize_t got = read(exporter->stderr_fd, exporter->said + exporter->used,
			   sizeof(exporter->said) - 1 - exporter->used);
	if (got <= 0)
		return got < 0 && (errno == EINTR || errno == EAGAIN);
	exporter->used += (size_t)got;
	exporter->said[exporter->used] = '\0';
	return true;
}

void exporter_print_last(const struct exporter *exporter)
{
	const char *line = exporter->said + exporter->used;
	int lines = 0;

	while (line > exporter->said && (line[-1] != '\n' || lines++ < LINES_SHOWN))
		line--;
	if (exporter->used)
		fprintf(stderr, "The exporter's last lines:\n%s\n", line);
	else
		fprintf(stderr, "The exporter said nothing.\n");
}

/* msg=Listening address=127.0.0.1:PORT, whole to the end of the line; 0: not said yet */
static int port_said(const struct exporter *exporter)
{
	const char *line = strstr(exporter->said, "msg=Listening");
	const char *end = line ? strchr(line, '\n') : NULL;
	const char *address = line ? strstr(line, "address=") : NULL;

	if (!end || !address || address > end)
		return 0;
	const char *colon = memrchr(address, ':', (size_t)(end - address));
	return colon ? atoi(colon + 1) : 0;
}

/* Returns: NULL when it listens, else what went wrong. */
static const char *wait_until_listening(struct exporter *exporter)
{
	struct pollfd poll_fd = { .fd = exporter->stderr_fd, .events = POLLIN };
	uint64_t end = now_ns() + START_LIMIT_MS * 1000000ull;

	while (!exporter->port) {
		uint64_t now = now_ns();

		if (now >= end)
			return "it did not say where it listens in 10 s";
		if (poll(&poll_fd, 1, (int)((end - now) / 1000000) + 1) > 0 &&
		    !exporter_read(exporter))
			return "it ended at once";
		exporter->port = port_said(exporter);
	}
	return NULL;
}

int exporter_start(struct exporter *exporter, const char *path, const char *name_space)
{
	char name_space_flag[96];
	char *argv[] = { (char *)path,
			 (char *)"--web.listen-address=127.0.0.1:0",
			 (char *)"--log.interval=1d",
			 (char *)"--web.cut-timeout=60s",
			 name_space_flag,
			 NULL };
	int ends[2];

	*exporter = (struct exporter){ 0 };
	snprintf(name_space_flag, sizeof(name_space_flag), "--namespace=%s", name_space);
	if (pipe2(ends, O_CLOEXEC)) {
		perror("pipe2");
		return -1;
	}
	exporter->stderr_fd = ends[0];
	exporter->pid = process_start(&(struct process_options){
		.path = path, .argv = argv, .stderr_fd = ends[1], .death_signal = SIGTERM });
	close(ends[1]);
	const char *wrong = exporter->pid < 0 ? "fork failed" : wait_until_listening(exporter);
	if (!wrong)
		return 0;
	fprintf(stderr, "kvtap-demo: the exporter %s did not start: %s.\n", path, wrong);
	exporter_stop(exporter);
	exporter_print_last(exporter);
	return -1;
}

bool exporter_stop(struct exporter *exporter)
{
	int status = -1;

	if (exporter->pid > 0)
		status = process_end(exporter->pid, SIGTERM, STOP_LIMIT_MS);
	exporter->pid = 0;
	/* what is left in the pipe; its writer is gone */
	while (exporter_read(exporter))
		;
	close(exporter->stderr_fd);
	return status == 0;
}
