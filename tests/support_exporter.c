/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_exporter.c - see support_exporter.h
 *
 * HTTP/1.0, so that a body ends with its connection and is never chunked.
 */
#include "support_exporter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#define FLAGS_MAX 16
#define START_MS 60000
#define STOP_MS 60000
#define PIPE_BYTES (1 << 20)

const char *exporter_path(void)
{
	static char path[4200];
	char self[4096];
	ssize_t bytes = readlink("/proc/self/exe", self, sizeof(self) - 1);

	CHECK(bytes > 0);
	self[bytes] = '\0';
	snprintf(path, sizeof(path), "%s/../kvtap-exporter", dirname(self));
	return access(path, X_OK) == 0 ? path : NULL;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Whatever it said since the last call. False: it closed its end. */
static bool read_log(struct exporter *exporter)
{
	char text[4096];
	ssize_t bytes;

	while ((bytes = read(exporter->stderr_fd, text, sizeof(text))) > 0) {
		exporter->log = realloc(exporter->log, exporter->log_bytes + (size_t)bytes + 1);
		CHECK(exporter->log);
		memcpy(exporter->log + exporter->log_bytes, text, (size_t)bytes);
		exporter->log_bytes += (size_t)bytes;
		exporter->log[exporter->log_bytes] = '\0';
	}
	return bytes < 0 && (errno == EAGAIN || errno == EINTR);
}

static _Noreturn void run(int stderr_fd, const char *path, const char *const *flags)
{
	char dir[128];
	/* on a machine that is busy with other tests a scrape is to wait, not to get an older page */
	const char *argv[FLAGS_MAX + 6] = { path, "--web.listen-address=127.0.0.1:0",
					    "--web.cut-timeout=60s", "--log.interval=0", dir };
	size_t count = 5;

	snprintf(dir, sizeof(dir), "--dir=%s", test_folder());
	for (; flags && *flags && count < FLAGS_MAX + 5; flags++)
		argv[count++] = *flags;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(stderr_fd, STDERR_FILENO);
	execv(path, (char **)argv);
	_exit(127);
}

/* The line is whole when its newline is there. */
static int port_in(const char *log)
{
	const char *line = log ? strstr(log, "msg=Listening address=") : NULL;
	const char *end = line ? strchr(line, '\n') : NULL;
	const char *colon = end ? memrchr(line, ':', (size_t)(end - line)) : NULL;

	return colon ? atoi(colon + 1) : 0;
}

void exporter_begin(struct exporter *exporter, const char *const *flags)
{
	const char *path = exporter_path();
	int ends[2];

	CHECK(path);
	CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
	fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); /* what it says between two calls */
	*exporter = (struct exporter){ .stderr_fd = ends[0] };
	exporter->pid = fork();
	CHECK(exporter->pid >= 0);
	if (exporter->pid == 0)
		run(ends[1], path, flags);
	close(ends[1]);
	CHECK_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
}

void exporter_await(struct exporter *exporter)
{
	int64_t deadline_ms = now_ms() + START_MS;

	while (!exporter->port) {
		struct pollfd said = { .fd = exporter->stderr_fd, .events = POLLIN };
		int64_t left_ms = deadline_ms - now_ms();

		CHECK(left_ms > 0 && poll(&said, 1, (int)left_ms) == 1);
		if (!read_log(exporter))
			test_fail(__FILE__, __LINE__, "the exporter ended at once: %s",
				  exporter->log ? exporter->log : "");
		exporter->port = port_in(exporter->log);
	}
}

void exporter_start(struct exporter *exporter, const char *const *flags)
{
	exporter_begin(exporter, flags);
	exporter_await(exporter);
}

static void forget(struct exporter *exporter)
{
	close(exporter->stderr_fd);
	free(exporter->log);
	*exporter = (struct exporter){ .stderr_fd = -1 };
}

void exporter_stop(struct exporter *exporter)
{
	int pidfd = (int)syscall(SYS_pidfd_open, exporter->pid, 0);
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	int status;

	CHECK(pidfd >= 0);
	CHECK_EQ(kill(exporter->pid, SIGTERM), 0);
	CHECK_EQ(poll(&ended, 1, STOP_MS), 1);
	close(pidfd);
	CHECK_EQ(waitpid(exporter->pid, &status, 0), exporter->pid);
	read_log(exporter);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		test_fail(__FILE__, __LINE__, "the exporter ended with status %#x: %s",
			  (unsigned)status, exporter->log);
	forget(exporter);
}

void exporter_kill(struct exporter *exporter)
{
	kill(exporter->pid, SIGKILL);
	CHECK_EQ(waitpid(exporter->pid, NULL, 0), exporter->pid);
	forget(exporter);
}

bool exporter_says(struct exporter *exporter, const char *text)
{
	read_log(exporter);
	return exporter->log && strstr(exporter->log, text);
}

/* ---- HTTP ---- */

static int request(const struct exporter *exporter, const char *path)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)exporter->port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[512];
	int bytes =
		snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);

	CHECK(fd >= 0 && bytes > 0 && bytes < (int)sizeof(text));
	CHECK_EQ(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	CHECK_EQ(send(fd, text, (size_t)bytes, MSG_NOSIGNAL), bytes);
	return fd;
}

static char *read_all(int fd)
{
	size_t used = 0, size = 1 << 16;
	char *text = NULL;
	ssize_t bytes = 1;

	while (bytes > 0) {
		if (!text || size - used < 4096) {
			size *= 2;
			text = realloc(text, size);
			CHECK(text);
		}
		bytes = recv(fd, text + used, size - used - 1, 0);
		CHECK(bytes >= 0);
		used += (size_t)bytes;
	}
	text[used] = '\0';
	return text;
}

int exporter_get(struct exporter *exporter, const char *path, char **body)
{
	int fd = request(exporter, path), status = 0;
	char *answer = read_all(fd), *end = strstr(answer, "\r\n\r\n");

	close(fd);
	read_log(exporter);
	CHECK(end && sscanf(answer, "HTTP/1.%*d %d", &status) == 1);
	if (body) {
		*body = strdup(end + 4);
		CHECK(*body);
	}
	free(answer);
	return status;
}

char *exporter_scrape(struct exporter *exporter)
{
	char *page;

	CHECK_EQ(exporter_get(exporter, "/metrics", &page), 200);
	return page;
}

/* By memchr(): sanitizers measure all that is left of a string at each call of strchr(). */
double page_value(const char *page, const char *sample)
{
	const char *end = page + strlen(page), *line = page;
	size_t bytes = strlen(sample);

	for (; line; line = memchr(line, '\n', (size_t)(end - line))) {
		line += *line == '\n';
		if (strncmp(line, sample, bytes) == 0 && line[bytes] == ' ')
			return strtod(line + bytes, NULL);
	}
	return NAN;
}
