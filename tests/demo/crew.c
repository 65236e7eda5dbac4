/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crew.c - start, kill, restart and end worker processes
 *
 * A worker is this program again with a role; it inherits the file of its truth and, in the pair,
 * one end of a socket and the file behind the prefill pool.
 */
#include "crew.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "roles.h"

#define FINISH_LIMIT_MS 60000
#define BLOCKS_PER_WORKER 96
#define BLOCKS_IN_ALL 512 /* 1 GiB, or 6 blocks a thread if that is more */

static pid_t start_process(const struct crew *crew, const struct counted *worker, int truth_fd,
			   int peer_fd, int pool_fd)
{
	char text[6][16], path[4096];
	uint32_t number[6] = { worker->rank,	   crew->threads,     crew->blocks,
			       (uint32_t)truth_fd, (uint32_t)peer_fd, (uint32_t)pool_fd };
	char *argv[] = { (char *)"kvtap-demo",
			 (char *)"--role",
			 (char *)worker->role,
			 text[0],
			 text[1],
			 text[2],
			 text[3],
			 text[4],
			 text[5],
			 NULL };
	const int keep[] = { truth_fd, peer_fd, pool_fd };

	for (int i = 0; i < 6; i++)
		snprintf(text[i], sizeof(text[i]), "%d", (int)number[i]);
	/* by its own path, so that ps shows its name */
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (length < 0)
		return -errno;
	path[length] = '\0';
	return process_start(&(struct process_options){ .path = path,
							.argv = argv,
							.keep_fds = keep,
							.keep_count = 3,
							.stderr_fd = -1,
							.hold_sigterm = true,
							.death_signal = SIGKILL });
}

static int start_worker(struct crew *crew, const char *role, uint32_t rank, int peer_fd,
			int pool_fd)
{
	struct counted *worker = &crew->worker[crew->count];
	int truth_fd;

	*worker = (struct counted){ .role = role, .rank = rank };
	worker->truth = truth_create(&truth_fd);
	if (!worker->truth) {
		fprintf(stderr, "kvtap-demo: no memory for worker %s %u: %s\n", role, rank,
			strerror(errno));
		return -1;
	}
	worker->pid = start_process(crew, worker, truth_fd, peer_fd, pool_fd);
	close(truth_fd);
	crew->running[crew->count] = worker->pid > 0;
	crew->count++;
	if (worker->pid > 0)
		return 0;
	fprintf(stderr, "kvtap-demo: fork: %s\n", strerror(-worker->pid));
	return -1;
}

static int start_pair(struct crew *crew)
{
	int ends[2];
	int pool_fd = memfd_create("kvtap-demo-pool", MFD_CLOEXEC);

	if (pool_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		perror("kvtap-demo: prefill and decode");
		if (pool_fd >= 0)
			close(pool_fd);
		return -1;
	}
	int error = start_worker(crew, "prefill", 0, ends[0], pool_fd) ||
		    start_worker(crew, "decode", 0, ends[1], pool_fd);
	/* each end is now in one worker only, so that each sees when the other is gone */
	close(ends[0]);
	close(ends[1]);
	close(pool_fd);
	return error ? -1 : 0;
}

int crew_start(struct crew *crew, uint32_t offload_workers, uint32_t threads)
{
	uint32_t share = BLOCKS_IN_ALL / offload_workers;

	crew->threads = threads;
	crew->blocks = share < BLOCKS_PER_WORKER ? share : BLOCKS_PER_WORKER;
	if (start_pair(crew))
		return -1;
	for (uint32_t rank = 0; rank < offload_workers; rank++) {
		if (start_worker(crew, "offload", rank, -1, -1))
			return -1;
	}
	return 0;
}

static void say_ended(const struct counted *worker, int status)
{
	fprintf(stderr, "kvtap-demo: %s %u (pid %d) ended: %s\n", worker->role, worker->rank,
		worker->pid, process_status(status));
}

int crew_kill_one(struct crew *crew)
{
	size_t last = crew->count - 1;
	struct counted *worker = &crew->worker[last];
	int status = process_end(worker->pid, SIGKILL, FINISH_LIMIT_MS);

	crew->running[last] = false;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		say_ended(worker, status);
		return -1;
	}
	worker->killed = true;
	if (start_worker(crew, worker->role, worker->rank, -1, -1))
		return -1;
	crew->worker[crew->count - 1].restarted = true;
	return 0;
}

bool crew_reap(struct crew *crew)
{
	bool all_run = true;

	for (size_t i = 0; i < crew->count; i++) {
		int status;

		if (!crew->running[i] || waitpid(crew->worker[i].pid, &status, WNOHANG) <= 0)
			continue;
		crew->running[i] = false;
		say_ended(&crew->worker[i], status);
		all_run = false;
	}
	return all_run;
}

bool crew_finish(struct crew *crew)
{
	bool fine = true;

	/* prefill has SIGTERM blocked, too, and leaves after decode */
	for (size_t i = 0; i < crew->count; i++) {
		if (crew->running[i])
			kill(crew->worker[i].pid, SIGTERM);
	}
	for (size_t i = 0; i < crew->count; i++) {
		if (!crew->running[i])
			continue;
		int status = process_end(crew->worker[i].pid, 0, FINISH_LIMIT_MS);
		crew->running[i] = false;
		if (status == 0)
			continue;
		say_ended(&crew->worker[i], status);
		fine = false;
	}
	return fine;
}

void crew_destroy(struct crew *crew)
{
	/* all at once, so that none of the pair has time to complain about the other */
	for (size_t i = 0; i < crew->count; i++) {
		if (crew->running[i])
			kill(crew->worker[i].pid, SIGKILL);
	}
	for (size_t i = 0; i < crew->count; i++) {
		if (crew->running[i])
			process_end(crew->worker[i].pid, SIGKILL, FINISH_LIMIT_MS);
		munmap((void *)crew->worker[i].truth, sizeof(struct truth));
	}
	crew->count = 0;
}
