/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_main.c - runs the tests of one binary, each in a process of its own
 *
 *	test_ring [PART OF A NAME ...]
 *
 * One line a test (ok, not ok, skip), then "N passed, N failed, N skipped"; exit status 1 if any
 * failed. The runner is the subreaper of its tests, so it finds every process that one of them
 * leaves, whatever session it went to. Knows nothing of kvtap but its environment variables.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_SKIPPED 77
#define FD_MAX 4096
/* a process that is already on its way out when its test ends is not left behind */
#define ORPHAN_MS 5000

/* what a test tells the runner; shared with its processes */
struct notes {
	bool leaves_files;
	char skip_reason[256];
};

static struct test *first_test;
static struct test **last_test = &first_test;
static struct notes *notes;
static char folder[64];
static int files_left;
static sigset_t watched;
static sigset_t unwatched;
static int interrupted;

void test_register(struct test *test)
{
	*last_test = test;
	last_test = &test->next;
}

const char *test_folder(void)
{
	return folder;
}

void test_leaves_files(void)
{
	notes->leaves_files = true;
}

void test_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	_exit(1);
}

void test_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(notes->skip_reason, sizeof(notes->skip_reason), format, args);
	va_end(args);
	fflush(stdout);
	_exit(EXIT_SKIPPED);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* ---- in the test's process ---- */

static void find_open(bool open_fds[FD_MAX])
{
	for (int fd = 0; fd < FD_MAX; fd++)
		open_fds[fd] = fcntl(fd, F_GETFD) >= 0;
}

static int count_leaked(const bool before[FD_MAX], const bool after[FD_MAX])
{
	int leaked = 0;

	for (int fd = 0; fd < FD_MAX; fd++) {
		char link[32], target[256];

		if (before[fd] || !after[fd])
			continue;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		ssize_t length = readlink(link, target, sizeof(target));
		fprintf(stderr, "descriptor %d left open: %.*s\n", fd, length < 0 ? 0 : (int)length,
			target);
		leaked++;
	}
	return leaked;
}

static _Noreturn void run_test(const struct test *test)
{
	static bool before[FD_MAX], after[FD_MAX];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	sigprocmask(SIG_SETMASK, &unwatched, NULL);
	setenv("KVTAP_DIR", folder, 1);
	unsetenv("KVTAP_NAMESPACE");
	unsetenv("KVTAP_DISABLE");
	unsetenv("KVTAP_RING_SLOTS");
	find_open(before);
	test->run();
	find_open(after);
	/* exit, not _exit: the sanitizers report from there */
	exit(count_leaked(before, after) ? 1 : 0);
}

/* ---- in the runner ---- */

/* Reaps until pid has ended, or with pid 0 until no child is left. False: time is up. */
static bool reap(pid_t pid, int *status, int64_t deadline_ms)
{
	for (;;) {
		int ended_status;
		pid_t ended;

		while ((ended = waitpid(-1, &ended_status, WNOHANG)) > 0) {
			if (ended != pid)
				continue;
			*status = ended_status;
			return true;
		}
		if (ended < 0 && errno == ECHILD)
			return true;
		int64_t left_ms = deadline_ms - now_ms();
		if (left_ms <= 0 || interrupted)
			return false;
		struct timespec left = { left_ms / 1000, left_ms % 1000 * 1000000 };
		int signal = sigtimedwait(&watched, NULL, &left);
		if (signal > 0 && signal != SIGCHLD)
			interrupted = signal;
	}
}

/* "1234 (comm" into line; returns the parent's pid, or -1 */
static pid_t parent_of(const char *pid, char *line, size_t line_size)
{
	char path[300];
	pid_t parent = -1;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	FILE *stat = fopen(path, "re");
	if (!stat)
		return -1;
	if (!fgets(line, (int)line_size, stat))
		line[0] = '\0';
	fclose(stat);
	char *end = strrchr(line, ')'); /* the name may hold anything, also brackets */
	if (!end || sscanf(end, ") %*c %d", &parent) != 1)
		return -1;
	*end = '\0';
	return parent;
}

static void kill_children(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char line[512];

	while (proc && (entry = readdir(proc))) {
		if (parent_of(entry->d_name, line, sizeof(line)) != getpid())
			continue;
		fprintf(stderr, "killing process %s)\n", line);
		kill((pid_t)atoi(entry->d_name), SIGKILL);
	}
	if (proc)
		closedir(proc);
}

/* Returns true if the test left processes; they are gone afterwards. */
static bool end_processes(bool at_once)
{
	if (reap(0, NULL, now_ms() + (at_once ? 0 : ORPHAN_MS)))
		return false;
	/* the children of each process that is killed become ours: once more for each generation */
	for (int generation = 0; generation < 20; generation++) {
		kill_children();
		if (reap(0, NULL, now_ms() + ORPHAN_MS))
			break;
	}
	return true;
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *position)
{
	(void)stat;
	(void)type;
	if (position->level > 0 && !notes->leaves_files) {
		fprintf(stderr, "left in the folder: %s\n", path + position->base);
		files_left++;
	}
	return remove(path);
}

/* Returns what is wrong, or NULL. */
static const char *judge(const struct test *test, pid_t pid)
{
	static char text[64];
	int status = 0;

	bool ended = reap(pid, &status, now_ms() + test->timeout_s * 1000LL);
	bool left = end_processes(!ended);
	files_left = 0;
	nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	if (interrupted)
		return "interrupted";
	snprintf(text, sizeof(text), "timed out after %d s", test->timeout_s);
	if (!ended)
		return text;
	if (WIFSIGNALED(status))
		return strsignal(WTERMSIG(status));
	snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(status));
	if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != EXIT_SKIPPED)
		return text;
	if (left)
		return "left processes";
	if (files_left)
		return "left files";
	return WEXITSTATUS(status) == EXIT_SKIPPED ? "" : NULL;
}

static bool is_wanted(const struct test *test, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (test->by_name ? !strcmp(test->name, argv[i]) : !!strstr(test->name, argv[i]))
			return true;
	return argc == 1 && !test->by_name;
}

enum verdict { PASSED, FAILED, SKIPPED };

static enum verdict try_test(const struct test *test, int number)
{
	int64_t start_ms = now_ms();

	memset(notes, 0, sizeof(*notes));
	snprintf(folder, sizeof(folder), "/dev/shm/kvtap-test.%d.XXXXXX", (int)getpid());
	if (!mkdtemp(folder)) {
		printf("not ok %d %s # %s: %s\n", number, test->name, folder, strerror(errno));
		return FAILED;
	}
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		run_test(test);
	const char *wrong = pid < 0 ? strerror(errno) : judge(test, pid);
	if (!wrong) {
		printf("ok %d %s (%lld ms)\n", number, test->name,
		       (long long)(now_ms() - start_ms));
		return PASSED;
	}
	if (!wrong[0]) {
		printf("skip %d %s # %s\n", number, test->name, notes->skip_reason);
		return SKIPPED;
	}
	printf("not ok %d %s # %s\n", number, test->name, wrong);
	return FAILED;
}

int main(int argc, char **argv)
{
	int counts[3] = { 0 }, number = 0;

	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (notes == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
		perror("test_main");
		return 1;
	}
	sigemptyset(&watched);
	sigaddset(&watched, SIGCHLD);
	sigaddset(&watched, SIGINT);
	sigaddset(&watched, SIGTERM);
	sigprocmask(SIG_BLOCK, &watched, &unwatched);
	for (const struct test *test = first_test; test && !interrupted; test = test->next)
		if (is_wanted(test, argc, argv))
			counts[try_test(test, ++number)]++;
	printf("%d passed, %d failed, %d skipped\n", counts[PASSED], counts[FAILED],
	       counts[SKIPPED]);
	return counts[FAILED] ? 1 : 0;
}
