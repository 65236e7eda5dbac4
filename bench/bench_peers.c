/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_peers.c - what does the same transfer cost with what one would take instead of kvtap?
 *
 * Each peer is a program that records and times by itself (peer.h), kvtap too, so that nothing here
 * is linked with any of them. The ways to record take turns in each round. What is not installed is
 * missing and no failure. Knows nothing of what the programs do.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "workers.h"

#define ROUNDS 15
#define ANSWER_MS 60000
#define ANSWER_BYTES 65536
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define STEPS_MAX 12
#define REFERENCES 4 /* the first ways: what the others are compared with */

/* A program beside this one, as peer.h says, and what became of it. */
struct program {
	const char *peer, *file, *mode;
	const char *absent; /* what to install if the file is not there; NULL: it has to be */
	char version[128], missing[256];
	uint64_t count[4]; /* the answer to check */
	pid_t pid;
	int fd; /* its standard input and output */
};

enum {
	KVTAP,
	KVTAP_TSC,
	KVTAP_FULL,
	PROMETHEUS_CPP,
	LTTNG_UST,
	CK,
	IN_PROCESS,
	MULTIPROCESS,
	VLLM_PATH
};

static struct program programs[] = {
	[KVTAP] = { .peer = "kvtap", .file = "peer_kvtap", .mode = "drained" },
	[KVTAP_TSC] = { .peer = "kvtap", .file = "peer_kvtap", .mode = "tsc" },
	[KVTAP_FULL] = { .peer = "kvtap", .file = "peer_kvtap", .mode = "full" },
	[PROMETHEUS_CPP] = { .peer = "prometheus_cpp",
			     .file = "peer_prometheus_record",
			     .absent = "prometheus-cpp-dev" },
	[LTTNG_UST] = { .peer = "lttng_ust", .file = "peer_lttng.sh" },
	[CK] = { .peer = "ck_ring", .file = "peer_ck", .absent = "libck-dev" },
	[IN_PROCESS] = { .peer = "client_python",
			 .file = "peer_client_python.py",
			 .mode = "in_process" },
	[MULTIPROCESS] = { .peer = "client_python_multiprocess",
			   .file = "peer_client_python.py",
			   .mode = "multiprocess" },
	[VLLM_PATH] = { .peer = "vllm_path", .file = "peer_vllm_path.py" },
};

static const char *const path_steps[] = { "record",    "pickle", "unpickle", "merge",
					  "scheduler", "encode", "send",     "receive",
					  "decode",    "log",	 "observe",  "sum" };

struct way {
	int program;
	const char *name;
	double times_kvtap;	  /* bar; 0: none */
	const char *const *steps; /* [STEPS_MAX], the last one is their sum; NULL: one figure */
};

static const struct way ways[] = {
	{ KVTAP, "thread_found", 0, NULL },
	{ KVTAP, "handle", 0, NULL },
	{ KVTAP, "clock", 0, NULL },
	{ KVTAP, "floor", 0, NULL },
	{ KVTAP_TSC, "clock_tsc", 0, NULL },
	{ KVTAP_FULL, "full", 0, NULL },
	{ PROMETHEUS_CPP, "held", 6, NULL },
	{ PROMETHEUS_CPP, "lookup", 6, NULL },
	{ LTTNG_UST, "array", 20, NULL },
	{ LTTNG_UST, "fields", 20, NULL },
	{ CK, "spsc", 0, NULL },
	{ IN_PROCESS, "held", 200, NULL },
	{ IN_PROCESS, "labels", 200, NULL },
	{ MULTIPROCESS, "held", 600, NULL },
	{ MULTIPROCESS, "labels", 600, NULL },
	{ VLLM_PATH, "1", 0, path_steps },
	{ VLLM_PATH, "16", 0, path_steps },
	{ VLLM_PATH, "256", 0, path_steps },
};

struct result {
	struct bench_samples ns[STEPS_MAX];
	uint64_t transfers;
};

static struct result results[COUNT(ways)];

/* ---- programs ---- */

/* in the child; interpreter: NULL for a program that is executable by itself */
static _Noreturn void exec_program(const struct program *program, const char *interpreter,
				   const char *folder, int fd)
{
	const char *path = bench_built(program->file);
	const char *const script[] = { interpreter, "-B", path, folder, program->mode, NULL };
	const char *const argv[] = { path, program->mode ? program->mode : folder, NULL };

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGPIPE, SIG_DFL);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	if (interpreter)
		execvp(interpreter, (char **)script);
	else
		execv(path, (char **)argv);
	if (interpreter || program->absent)
		dprintf(STDOUT_FILENO, "missing %s\n", interpreter ? "python3" : program->absent);
	_exit(127);
}

/* The line that it answers with, without its end; false: it has ended. */
static bool read_answer(const struct program *program, char answer[ANSWER_BYTES])
{
	size_t used = 0;

	do {
		struct pollfd said = { .fd = program->fd, .events = POLLIN };
		ssize_t bytes = -1;

		if (used < ANSWER_BYTES && poll(&said, 1, ANSWER_MS) == 1)
			bytes = read(program->fd, answer + used, ANSWER_BYTES - used);
		if (bytes <= 0)
			return false;
		used += (size_t)bytes;
	} while (answer[used - 1] != '\n');
	answer[used - 1] = '\0';
	return true;
}

static void ask(struct program *program, const char *question, char answer[ANSWER_BYTES])
{
	if (dprintf(program->fd, "%s\n", question) < 0 || !read_answer(program, answer))
		bench_fail(program->file, ECHILD);
}

static void stop(struct program *program)
{
	close(program->fd);
	waitpid(program->pid, NULL, 0);
}

/* Returns: whether it is ready. */
static bool start(struct program *program, const char *interpreter, const char *folder)
{
	static char answer[ANSWER_BYTES];
	int ends[2];

	*program->missing = '\0';
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		bench_fail("make a pipe", errno);
	program->pid = fork();
	if (program->pid < 0)
		bench_fail("start a process", errno);
	if (program->pid == 0)
		exec_program(program, interpreter, folder, ends[1]);
	close(ends[1]);
	program->fd = ends[0];
	if (!read_answer(program, answer))
		bench_fail(program->file, ECHILD);
	if (sscanf(answer, "ready %127s", program->version) == 1)
		return true;
	if (sscanf(answer, "missing %255[^\n]", program->missing) != 1)
		bench_fail(answer, EPROTO);
	stop(program);
	return false;
}

/* Debian's packages are Debian's Python's; another one may come first in the path. */
static void start_all(const char *folder)
{
	for (size_t i = 0; i < COUNT(programs); i++) {
		bool script = strstr(programs[i].file, ".py");

		if (!start(&programs[i], script ? "/usr/bin/python3" : NULL, folder) && script)
			start(&programs[i], "python3", folder);
	}
}

/* ---- rounds ---- */

static void run_way(const struct way *way, struct result *result)
{
	static char answer[ANSWER_BYTES];
	char question[64], *at, *end;
	double sum = 0;
	int step = 0;

	snprintf(question, sizeof(question), "round %s", way->name);
	ask(&programs[way->program], question, answer);
	uint64_t burst = strtoull(answer, &at, 10);
	for (double ns = strtod(at, &end); end != at; ns = strtod(at, &end)) {
		at = end;
		bench_samples_add(&result->ns[step++], ns);
		sum += ns;
		if (way->steps && step < STEPS_MAX - 1)
			continue;
		if (way->steps)
			bench_samples_add(&result->ns[step], sum);
		result->transfers += burst;
		sum = step = 0;
	}
	if (*at || step)
		bench_fail(answer, EPROTO);
}

static void check(struct program *program)
{
	static char answer[ANSWER_BYTES];
	unsigned long long count[4];

	ask(program, "check", answer);
	if (sscanf(answer, "%llu %llu %llu %llu", &count[0], &count[1], &count[2], &count[3]) != 4)
		bench_fail(answer, EPROTO);
	for (int i = 0; i < 4; i++)
		program->count[i] = count[i];
}

static bool balances(const struct program *program)
{
	const uint64_t *count = program->count;

	return *program->missing ||
	       (count[0] && count[0] == count[1] && count[2] && count[2] == count[3]);
}

/* ---- results ---- */

static void print_figures(const struct way *way, struct result *result, int step,
			  const double kvtap_ns[REFERENCES])
{
	const struct program *program = &programs[way->program];
	double p50 = bench_percentile(&result->ns[step], 50);
	const struct bench_bar bar = { way->times_kvtap ? "times_kvtap" : NULL, p50 / kvtap_ns[0],
				       way->times_kvtap, true };

	printf(" version=%s ops=%llu ns_per_op_p50=%.2f ns_per_op_p99=%.2f floor_ns=%.2f "
	       "ratio=%.2f times_kvtap=%.2f times_kvtap_handle=%.2f times_kvtap_clock=%.2f",
	       program->version, (unsigned long long)result->transfers, p50,
	       bench_percentile(&result->ns[step], 99), kvtap_ns[3], p50 / kvtap_ns[3],
	       p50 / kvtap_ns[0], p50 / kvtap_ns[1], p50 / kvtap_ns[2]);
	bench_bars(&bar, 1);
	printf(" lost=%lld check=%s\n", (long long)(program->count[0] - program->count[1]),
	       balances(program) ? "ok" : "failed");
}

static void print_way(const struct way *way, struct result *result,
		      const double kvtap_ns[REFERENCES])
{
	const struct program *program = &programs[way->program];

	/* what is missing has one line */
	for (int step = *program->missing && way->steps ? STEPS_MAX - 1 : 0;
	     step < (way->steps ? STEPS_MAX : 1); step++) {
		printf("bench=peers peer=%s way=%s", program->peer,
		       way->steps ? way->steps[step] : way->name);
		if (way->steps)
			printf(" transfers_per_step=%s", way->name);
		if (*program->missing)
			printf(" missing=\"%s\"\n", program->missing);
		else
			print_figures(way, result, step, kvtap_ns);
	}
}

static void print_all(void)
{
	double kvtap_ns[REFERENCES];

	for (int i = 0; i < REFERENCES; i++)
		kvtap_ns[i] = bench_percentile(&results[i].ns[0], 50);
	for (size_t i = 0; i < COUNT(ways); i++)
		print_way(&ways[i], &results[i], kvtap_ns);
	for (size_t i = 0; i < COUNT(ways); i++)
		for (int step = 0; step < STEPS_MAX; step++)
			bench_samples_free(&results[i].ns[step]);
}

int main(void)
{
	bool wrong = false;

	bench_environment();
	signal(SIGPIPE, SIG_IGN); /* a program that is gone is found by its answer */
	start_all(workers_folder());
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < COUNT(ways); i++)
			if (!*programs[ways[i].program].missing)
				run_way(&ways[i], &results[i]);
	for (size_t i = 0; i < COUNT(programs); i++) {
		if (*programs[i].missing)
			continue;
		check(&programs[i]);
		stop(&programs[i]);
		wrong |= !balances(&programs[i]);
	}
	print_all();
	return wrong;
}
