/* SPDX-License-Identifier: Apache-2.0 */
/* process.h - start child processes that never outlive this one, and end them by their pid */
#ifndef DEMO_PROCESS_H
#define DEMO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct process_options {
	const char *path;
	char *const *argv;
	const int *keep_fds; /* [keep_count], -1 is skipped; all others are close-on-exec */
	size_t keep_count;
	int stderr_fd;	   /* -1: this process's */
	bool hold_sigterm; /* start with SIGTERM blocked */
	int death_signal;  /* when this process dies */
};

/* process_start - the pid, or a negative errno; an exec that fails is said on the child's stderr */
pid_t process_start(const struct process_options *options);
/* process_wait - 0 and its wait status, or -ETIMEDOUT; SIGCHLD has to be blocked */
int process_wait(pid_t pid, int timeout_ms, int *status);
/* process_end - signal it and wait; SIGKILL it if it does not end in time; its wait status */
int process_end(pid_t pid, int signal_number, int timeout_ms);
/* process_status - "exit status 1", "killed by signal 9 (Killed)" */
const char *process_status(int status);

#endif
