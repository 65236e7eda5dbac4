/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - see server.h */
#include "server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "scraper.h"

#define START_MS 20000
#define PIPE_BYTES (1 << 20) /* what a server may say while nobody reads it */
#define NGINX "/usr/sbin/nginx"

/* in the child; a server that is asked to end is ended so too when the bench is gone */
static _Noreturn void exec_server(const char *const *argv, int said_fd)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(said_fd, STDOUT_FILENO);
	dup2(said_fd, STDERR_FILENO);
	execv(argv[0], (char **)argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void spawn(struct server *server, const char *const *argv)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		bench_fail("make a pipe", errno);
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	server->pid = fork();
	if (server->pid < 0)
		bench_fail("start a process", errno);
	if (server->pid == 0)
		exec_server(argv, ends[1]);
	close(ends[1]);
	server->said_fd = ends[0];
}

/* Where it says that it listens: a mark, then a word that ends with the port. */
static void await_port(struct server *server, const char *mark)
{
	char text[8192];
	size_t used = 0;
	const char *line = NULL, *end = NULL;

	while (!end) {
		struct pollfd said = { .fd = server->said_fd, .events = POLLIN };
		ssize_t bytes = poll(&said, 1, START_MS) == 1 && used < sizeof(text) - 1
					? read(said.fd, text + used, sizeof(text) - 1 - used)
					: 0;

		text[used + (bytes > 0 ? (size_t)bytes : 0)] = '\0';
		if (bytes <= 0) {
			fprintf(stderr, "%s", text);
			bench_fail("start a server", ECHILD);
		}
		used += (size_t)bytes;
		line = strstr(text, mark);
		end = line ? strchr(line, '\n') : NULL;
	}
	end = line + strlen(mark);
	end += strcspn(end, " \"\n");
	while (end > line && end[-1] >= '0' && end[-1] <= '9')
		end--;
	server->port = (uint16_t)atoi(end);
}

void server_exporter(struct server *server, const char *dir)
{
	char flag[128];
	const char *const argv[] = { bench_built("../kvtap-exporter"),
				     "--web.listen-address=127.0.0.1:0", "--web.compression=on",
				     flag, NULL };

	*server = (struct server){ 0 };
	snprintf(flag, sizeof(flag), "--dir=%s", dir);
	spawn(server, argv);
	await_port(server, "msg=Listening address=");
}

void server_prometheus_cpp(struct server *server, uint32_t series)
{
	char count[16];
	const char *const argv[] = { bench_built("peer_prometheus_cpp"), count, NULL };

	*server = (struct server){ 0 };
	snprintf(count, sizeof(count), "%u", series);
	if (access(argv[0], X_OK) != 0) {
		server->missing = "prometheus-cpp-dev";
		return;
	}
	spawn(server, argv);
	await_port(server, "port=");
}

static int listen_on_loopback(uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, bytes) != 0 || listen(fd, 64) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &bytes) != 0)
		bench_fail("listen on loopback", errno);
	*port = ntohs(address.sin_port);
	return fd;
}

/* ---- nginx ---- */

static void write_nginx_config(const char *path, const char *dir, uint16_t port)
{
	FILE *file = fopen(path, "we");

	if (!file)
		bench_fail(path, errno);
	fprintf(file,
		"daemon off;\n%sworker_processes 1;\npid %s/nginx.pid;\nerror_log stderr warn;\n"
		"events { worker_connections 256; }\n"
		"http {\n"
		"\taccess_log off;\n\tsendfile on;\n\ttcp_nodelay on;\n"
		"\topen_file_cache max=16 inactive=600s;\n\topen_file_cache_valid 600s;\n"
		"\tkeepalive_requests 1000000000;\n\tkeepalive_timeout 600s;\n"
		"\tclient_body_temp_path %s/nginx.body;\n\tproxy_temp_path %s/nginx.proxy;\n"
		"\tfastcgi_temp_path %s/nginx.fastcgi;\n\tuwsgi_temp_path %s/nginx.uwsgi;\n"
		"\tscgi_temp_path %s/nginx.scgi;\n"
		"\tdefault_type text/plain;\n"
		"\tserver { listen 127.0.0.1:%u; root %s; }\n"
		"}\n",
		geteuid() == 0 ? "user root root;\n" : "", dir, dir, dir, dir, dir, dir, port, dir);
	if (fclose(file) != 0)
		bench_fail(path, errno);
}

void server_nginx(struct server *server, const char *dir)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	char config[128];
	const char *const argv[] = { NGINX, "-p", dir, "-e", "stderr", "-c", config, NULL };
	uint64_t limit_ns = bench_now_ns() + START_MS * 1000000ull;
	int fd;

	*server = (struct server){ 0 };
	if (access(NGINX, X_OK) != 0) {
		server->missing = "nginx-light";
		return;
	}
	close(listen_on_loopback(&server->port)); /* free a moment ago; nginx says so if not */
	snprintf(config, sizeof(config), "%s/nginx.conf", dir);
	write_nginx_config(config, dir, server->port);
	spawn(server, argv);
	while ((fd = scraper_connect(server->port, 0)) < 0) {
		if (waitpid(server->pid, NULL, WNOHANG) != 0 || bench_now_ns() > limit_ns)
			bench_fail("start nginx", ECHILD);
		nanosleep(&pause, NULL); /* it tells nobody that it listens */
	}
	close(fd);
}

/* ---- a server that does nothing but send ---- */

struct raw {
	int fd;
	const char *page;
	size_t bytes;
};

static bool send_all(int fd, struct iovec part[2])
{
	struct msghdr message = { .msg_iov = part, .msg_iovlen = 2 };

	while (part[0].iov_len + part[1].iov_len) {
		ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);

		if (sent < 0)
			return false;
		for (int i = 0; i < 2; i++) {
			size_t of = (size_t)sent < part[i].iov_len ? (size_t)sent : part[i].iov_len;

			part[i].iov_base = (char *)part[i].iov_base + of;
			part[i].iov_len -= of;
			sent -= (ssize_t)of;
		}
	}
	return true;
}

static void *serve_raw(void *arg)
{
	struct raw *raw = arg;
	char request[1024], head[256];
	int head_bytes = snprintf(head, sizeof(head),
				  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
				  "Content-Length: %zu\r\n\r\n",
				  raw->bytes);

	/* a client sends its request by one call, and only then waits */
	while (recv(raw->fd, request, sizeof(request), 0) > 0) {
		struct iovec part[2] = { { head, (size_t)head_bytes },
					 { (void *)raw->page, raw->bytes } };

		if (!send_all(raw->fd, part))
			break;
	}
	close(raw->fd);
	free(raw);
	return NULL;
}

static _Noreturn void run_raw(int listener, const char *page, size_t bytes)
{
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		struct raw *raw = malloc(sizeof(*raw));
		pthread_t thread;

		*raw = (struct raw){ fd, page, bytes };
		if (pthread_create(&thread, NULL, serve_raw, raw) != 0)
			break;
		pthread_detach(thread);
	}
	_exit(1);
}

void server_raw(struct server *server, const char *page, size_t bytes)
{
	*server = (struct server){ 0 };
	int listener = listen_on_loopback(&server->port);

	server->pid = fork();
	if (server->pid < 0)
		bench_fail("start a process", errno);
	if (server->pid == 0)
		run_raw(listener, page, bytes);
	close(listener);
}

/* ---- any of them ---- */

void server_stop(struct server *server)
{
	if (server->pid) {
		kill(server->pid, SIGTERM);
		waitpid(server->pid, NULL, 0);
	}
	if (server->said_fd)
		close(server->said_fd);
	*server = (struct server){ 0 };
}

uint64_t server_resident_bytes(const struct server *server)
{
	unsigned long long pages = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)server->pid);
	FILE *file = fopen(path, "re");
	if (file) {
		if (fscanf(file, "%*u %llu", &pages) != 1)
			pages = 0;
		fclose(file);
	}
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t server_cpu_ns(const struct server *server)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(server->pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
		bench_fail("read a server's CPU time", ESRCH);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t thread_wakeups(const char *path)
{
	unsigned long long count = 0;
	FILE *file = fopen(path, "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &count) == 1)
			break;
	if (file)
		fclose(file);
	return count;
}

uint64_t server_wakeups(const struct server *server)
{
	const struct dirent *thread;
	uint64_t count = 0;
	char path[512];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)server->pid);
	DIR *threads = opendir(path);
	while (threads && (thread = readdir(threads))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)server->pid,
			 thread->d_name);
		count += thread->d_name[0] == '.' ? 0 : thread_wakeups(path);
	}
	if (threads)
		closedir(threads);
	return count;
}
