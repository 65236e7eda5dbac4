/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_child.c - see cuda_child.h */
#include "cuda_child.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda_machine.h"

#define SEED 20240229
#define SLOTS 8192
#define INJECTED_SLOTS "131072" /* many copies come at once, when CUPTI is asked for them */

/* ---- the child ---- */

static bool child_cell(struct cuda_work *work, uint64_t *random)
{
	struct cuda_cell cell = { 0 };
	static char layout[32];
	int load, batched;

	if (scanf("%31s %u %u %u %d %d", layout, &cell.block_bytes, &cell.tensors, &cell.blocks,
		  &load, &batched) != 6)
		return false;
	cell.layout = layout;
	cell.load = load;
	cell.batched = batched;
	printf("%u\n", cuda_work_cell(work, &cell, random) ? work->jobs : 0);
	return true;
}

static bool child_slice(struct cuda_spans *spans)
{
	int mode;

	if (scanf("%d", &mode) != 1 || mode < 0 || mode >= CUDA_MODES)
		return false;
	cuda_spans_slice(spans, mode);
	for (uint32_t i = 0; i < spans->work->jobs; i++) {
		const struct cuda_job *job = &spans->job[i];

		printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " ", job->began_ns,
		       job->wall_ns, job->submit_ns, job->device_ns);
	}
	printf("%" PRIu64 "\n", spans->wrong);
	return true;
}

int cuda_child_main(size_t pool_bytes)
{
	static struct cuda_driver cuda;
	static struct cuda_work work;
	static struct cuda_spans spans;
	static struct collector collector;
	uint64_t random = SEED;
	char word[16];

	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	if (!cuda_driver_open(&cuda, 0)) {
		printf("missing %s\n", cuda.why);
		return 0;
	}
	cuda_machine_pin(&cuda);
	cuda_work_open(&work, &cuda, pool_bytes);
	collector_open(&collector, SLOTS);
	cuda_spans_open(&spans, &work, collector.tap, &collector);
	printf("ready\n");
	fflush(stdout);
	while (scanf("%15s", word) == 1) {
		if (strcmp(word, "cell") == 0 ? !child_cell(&work, &random) : !child_slice(&spans))
			return 1;
		fflush(stdout);
	}
	cuda_spans_close(&spans);
	collector_close(&collector);
	cuda_work_close(&work);
	return 0;
}

/* ---- who asks it ---- */

static _Noreturn void exec_child(int fd, const char *injection, const char *dir, size_t pool_bytes)
{
	const char *path = bench_built("bench_cuda");
	char bytes[32];

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	unsetenv("CUDA_INJECTION64_PATH");
	if (injection) {
		setenv("CUDA_INJECTION64_PATH", injection, 1);
		setenv("KVTAP_DIR", dir, 1);
		setenv("KVTAP_NAMESPACE", CUDA_CHILD_NAMESPACE, 1);
		setenv("KVTAP_RING_SLOTS", INJECTED_SLOTS, 1);
	}
	snprintf(bytes, sizeof(bytes), "%zu", pool_bytes);
	execl(path, path, "--child", bytes, NULL);
	_exit(127);
}

bool cuda_child_start(struct cuda_child *child, const char *injection, const char *dir,
		      size_t pool_bytes)
{
	char word[16] = "";
	int ends[2];

	memset(child, 0, sizeof(*child));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		bench_fail("make a pipe", errno);
	fflush(stdout);
	child->pid = fork();
	if (child->pid < 0)
		bench_fail("start a process", errno);
	if (child->pid == 0)
		exec_child(ends[1], injection, dir, pool_bytes);
	close(ends[1]);
	child->ask = fdopen(ends[0], "w");
	child->answer = fdopen(dup(ends[0]), "r");
	if (!child->ask || !child->answer)
		bench_fail("make a pipe", errno);
	if (fscanf(child->answer, "%15s", word) == 1 && strcmp(word, "ready") == 0)
		return true;
	if (strcmp(word, "missing") != 0 ||
	    fscanf(child->answer, " %127[^\n]", child->missing) != 1)
		bench_fail("start a child", ECHILD);
	cuda_child_stop(child);
	return false;
}

bool cuda_child_cell(struct cuda_child *child, const struct cuda_cell *cell)
{
	fprintf(child->ask, "cell %s %u %u %u %d %d\n", cell->layout, cell->block_bytes,
		cell->tensors, cell->blocks, cell->load, cell->batched);
	fflush(child->ask);
	if (fscanf(child->answer, "%u", &child->jobs) != 1 || child->jobs > CUDA_JOBS_MAX)
		bench_fail("ask a child for a cell", ECHILD);
	return child->jobs;
}

void cuda_child_slice(struct cuda_child *child, enum cuda_mode mode)
{
	int read = 4;

	fprintf(child->ask, "slice %d\n", mode);
	fflush(child->ask);
	for (uint32_t i = 0; i < child->jobs && read == 4; i++) {
		struct cuda_job *job = &child->job[i];

		read = fscanf(child->answer, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
			      &job->began_ns, &job->wall_ns, &job->submit_ns, &job->device_ns);
	}
	if (read != 4 || fscanf(child->answer, "%" SCNu64, &child->wrong) != 1)
		bench_fail("ask a child for a slice", ECHILD);
}

void cuda_child_stop(struct cuda_child *child)
{
	if (!child->pid)
		return;
	shutdown(fileno(child->ask), SHUT_WR);
	fclose(child->ask);
	waitpid(child->pid, NULL, 0);
	fclose(child->answer);
	child->pid = 0;
}
