/* SPDX-License-Identifier: Apache-2.0 */
/* exporter.h - the exporter as a child process: its port, and what it said last */
#ifndef DEMO_EXPORTER_H
#define DEMO_EXPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct exporter {
	pid_t pid;     /* 0: not running */
	int stderr_fd; /* readable when it says something */
	int port;
	size_t used;
	char said[8192]; /* the end of its stderr, with a NUL behind it */
};

/* exporter_start - start it on a port of the system's choice; 0, or -1 after saying why */
int exporter_start(struct exporter *exporter, const char *path, const char *name_space);
/* exporter_read - take what it said; false: it has closed its stderr, so it is gone */
bool exporter_read(struct exporter *exporter);
/* exporter_stop - SIGTERM; false if it was not there any more or did not exit with status 0 */
bool exporter_stop(struct exporter *exporter);
/* exporter_print_last - its last lines, on stderr */
void exporter_print_last(const struct exporter *exporter);

#endif
