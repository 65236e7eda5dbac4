/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.c - exporter and workers in a namespace of their own, a line each second, the end
 *
 * One loop waits for signals, for what the exporter says and for the next moment at which something
 * is due. Everything it starts is ended and removed here, whichever way the run ends.
 */
#include "driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "crew.h"
#include "exporter.h"
#include "scrape.h"

struct run {
	const struct driver_options *options;
	char name_space[32];
	char folder[512];
	int signal_fd;
	struct exporter exporter;
	struct crew crew;
	uint64_t start_ns, stop_ns;
	uint64_t tick_ns; /* when the next progress line is due */
	struct totals last;
	uint64_t last_ns;
	bool killed, ending, failed;
};

/* ---- before and after --------------------------------------------------------------------- */

static void name_folder(struct run *run)
{
	const char *dir = getenv("KVTAP_DIR");

	dir = dir && *dir ? dir : "/dev/shm";
	snprintf(run->name_space, sizeof(run->name_space), "demo-%d", getpid());
	snprintf(run->folder, sizeof(run->folder), "%s/kvtap.%s", dir, run->name_space);
	setenv("KVTAP_DIR", dir, 1);
	setenv("KVTAP_NAMESPACE", run->name_space, 1);
	unsetenv("KVTAP_DISABLE");
}

static void remove_folder(const struct run *run)
{
	DIR *dir = opendir(run->folder);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_type != DT_DIR)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	if (rmdir(run->folder))
		perror(run->folder);
}

static int take_signals(struct run *run)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (run->signal_fd < 0)
		perror("kvtap-demo: signalfd");
	return run->signal_fd < 0 ? -1 : 0;
}

static void print_head(const struct run *run)
{
	const struct driver_options *options = run->options;

	printf("kvtap demo: %u offload worker%s of %u thread%s, a prefill and a decode worker, ",
	       options->workers, options->workers == 1 ? "" : "s", options->threads,
	       options->threads == 1 ? "" : "s");
	if (options->keep)
		printf("until Ctrl-C\n");
	else
		printf("%u s\n", options->seconds);
	printf("  segments in  %s\n  exporter at  http://127.0.0.1:%d/metrics  (pid %d)\n\n",
	       run->folder, run->exporter.port, run->exporter.pid);
	if (options->keep)
		printf("Open http://127.0.0.1:%d/ in a browser, or:\n"
		       "  curl -s http://127.0.0.1:%d/metrics | grep ^vllm:\n\n",
		       run->exporter.port, run->exporter.port);
	fflush(stdout);
}

/* ---- while it runs ------------------------------------------------------------------------ */

static const char *megabytes(uint64_t now, uint64_t before, double seconds)
{
	return print_number((uint64_t)((double)(now - before) / seconds / 1e6));
}

/* One line from a scrape; a terminal sees it change in place. */
static void print_progress(struct run *run)
{
	struct scrape scrape;
	struct totals totals;
	int error = scrape_get(&scrape, run->exporter.port);
	uint64_t now = now_ns();

	if (error) {
		printf("  no scrape: %s\n", strerror(-error));
		return;
	}
	scrape_totals(&scrape, &totals);
	const uint64_t *sum = totals.sum, *last = run->last.sum;
	double seconds = (double)(now - run->last_ns) / 1e9;
	uint64_t transfers = totals.count[STORE_SIZE] + totals.count[LOAD_SIZE] +
			     totals.count[PULL_BYTES] + sum[PULL_FAILED];
	printf("%s%4.0f s   store %6s  load %6s  pull %6s MB/s %9s transfers, %s failed %s",
	       isatty(STDOUT_FILENO) ? "\r" : "", (double)(now - run->start_ns) / 1e9,
	       megabytes(sum[STORE_BYTES], last[STORE_BYTES], seconds),
	       megabytes(sum[LOAD_BYTES], last[LOAD_BYTES], seconds),
	       megabytes(sum[PULL_BYTES], last[PULL_BYTES], seconds), print_number(transfers),
	       print_number(sum[PULL_FAILED]), isatty(STDOUT_FILENO) ? "  " : "\n");
	fflush(stdout);
	run->last = totals;
	run->last_ns = now;
	free(scrape.text);
}

static void kill_and_restart(struct run *run)
{
	struct crew *crew = &run->crew;

	run->killed = true;
	if (crew_kill_one(crew)) {
		run->failed = true;
		return;
	}
	const struct counted *old = &crew->worker[crew->count - 2];
	printf("%s         SIGKILL to %s %u (pid %d); started again as pid %-20d\n",
	       isatty(STDOUT_FILENO) ? "\r" : "", old->role, old->rank, old->pid,
	       crew->worker[crew->count - 1].pid);
	fflush(stdout);
}

static void take_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGCHLD)
		run->ending = true;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Waits until something happens or is due, and does it. */
static void step(struct run *run)
{
	uint64_t length = run->options->seconds * NS_PER_SECOND;
	uint64_t kill_ns = run->killed ? UINT64_MAX : run->start_ns + length / 2;
	uint64_t end_ns = run->options->keep ? UINT64_MAX : run->start_ns + length;
	uint64_t due_ns = earlier(earlier(run->tick_ns, kill_ns), end_ns);
	uint64_t now = now_ns();
	int timeout_ms = due_ns > now ? (int)((due_ns - now) / 1000000) + 1 : 0;
	struct pollfd fds[] = { { .fd = run->signal_fd, .events = POLLIN },
				{ .fd = run->exporter.stderr_fd, .events = POLLIN } };

	poll(fds, 2, timeout_ms);
	if (fds[0].revents)
		take_signal(run);
	if (fds[1].revents && !exporter_read(&run->exporter)) {
		fprintf(stderr, "kvtap-demo: the exporter ended while the workers ran.\n");
		run->failed = true;
	}
	if (!crew_reap(&run->crew))
		run->failed = true;
	now = now_ns();
	if (now >= kill_ns)
		kill_and_restart(run);
	if (now >= run->tick_ns) {
		print_progress(run);
		run->tick_ns += NS_PER_SECOND;
	}
	if (now >= end_ns)
		run->ending = true;
}

/* ---- the end ------------------------------------------------------------------------------ */

static bool print_report(struct run *run)
{
	struct scrape scrape;
	int error = scrape_get(&scrape, run->exporter.port);

	if (error) {
		fprintf(stderr, "kvtap-demo: the last scrape failed: %s\n", strerror(-error));
		exporter_print_last(&run->exporter);
		return false;
	}
	struct report report = { .workers = run->crew.worker,
				 .count = run->crew.count,
				 .seconds = (double)(run->stop_ns - run->start_ns) / 1e9,
				 .scrape = &scrape };
	bool equal = report_print(&report);
	free(scrape.text);
	return equal;
}

static bool run_workers(struct run *run)
{
	run->start_ns = run->last_ns = now_ns();
	run->tick_ns = run->start_ns + NS_PER_SECOND;
	run->failed = crew_start(&run->crew, run->options->workers, run->options->threads) != 0;
	while (!run->ending && !run->failed)
		step(run);
	if (run->failed) {
		exporter_print_last(&run->exporter);
		return false;
	}
	if (isatty(STDOUT_FILENO))
		printf("\n");
	run->stop_ns = now_ns();
	return crew_finish(&run->crew) && print_report(run);
}

int driver_run(const struct driver_options *options)
{
	static struct run run;
	bool fine = false;

	run.options = options;
	name_folder(&run);
	if (take_signals(&run) || exporter_start(&run.exporter, options->exporter, run.name_space))
		return 1;
	print_head(&run);
	fine = run_workers(&run);
	crew_destroy(&run.crew);
	printf("\nThe exporter's interval log, here one interval of the whole run:\n");
	fflush(stdout);
	if (!exporter_stop(&run.exporter) && fine) {
		fprintf(stderr, "kvtap-demo: the exporter did not end cleanly.\n");
		exporter_print_last(&run.exporter);
		fine = false;
	}
	remove_folder(&run);
	if (fine && !options->keep)
		printf("\nTo keep it running and look with a browser or curl:  make demo KEEP=1\n");
	return fine ? 0 : 1;
}
