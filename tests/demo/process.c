/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - fork, exec, wait with a limit
 *
 * A child is in a process group of its own, so that Ctrl-C reaches only the driver, which ends the
 * children in order; and the kernel ends it if the driver dies.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "truth.h"

static _Noreturn void child(const struct process_options *options, pid_t parent)
{
	sigset_t mask;

	prctl(PR_SET_PDEATHSIG, (unsigned long)options->death_signal, 0, 0, 0);
	if (getppid() != parent)
		_exit(1);
	setpgid(0, 0);
	sigemptyset(&mask);
	if (options->hold_sigterm)
		sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (options->stderr_fd >= 0)
		dup2(options->stderr_fd, STDERR_FILENO);
	for (size_t i = 0; i < options->keep_count; i++) {
		if (options->keep_fds[i] >= 0)
			fcntl(options->keep_fds[i], F_SETFD, 0);
	}
	execv(options->path, options->argv);
	dprintf(STDERR_FILENO, "%s: %s\n", options->path, strerror(errno));
	_exit(127);
}

pid_t process_start(const struct process_options *options)
{
	pid_t parent = getpid();

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		child(options, parent);
	return pid < 0 ? -errno : pid;
}

int process_wait(pid_t pid, int timeout_ms, int *status)
{
	uint64_t end = now_ns() + (uint64_t)timeout_ms * 1000000;
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	while (waitpid(pid, status, WNOHANG) != pid) {
		uint64_t now = now_ns();

		if (now >= end)
			return -ETIMEDOUT;
		struct timespec left = { .tv_sec = (time_t)((end - now) / NS_PER_SECOND),
					 .tv_nsec = (long)((end - now) % NS_PER_SECOND) };
		sigtimedwait(&chld, NULL, &left);
	}
	return 0;
}

int process_end(pid_t pid, int signal_number, int timeout_ms)
{
	int status = 0;

	kill(pid, signal_number);
	if (process_wait(pid, timeout_ms, &status)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return status;
}

const char *process_status(int status)
{
	static char text[80];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(status));
	return text;
}
