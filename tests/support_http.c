/* SPDX-License-Identifier: Apache-2.0 */
/* support_http.c - see support_http.h */
#include "support_http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

#define NEVER_MS 600000

/* ---- server ---- */

static int log_copy, log_file, log_pipe[2];

void log_capture(void)
{
	log_copy = dup(STDERR_FILENO);
	log_file = memfd_create("logged", MFD_CLOEXEC);
	CHECK(log_copy >= 0 && log_file >= 0 && dup2(log_file, STDERR_FILENO) >= 0);
}

const char *log_captured(void)
{
	static char logged[16384];

	CHECK(dup2(log_copy, STDERR_FILENO) >= 0);
	ssize_t bytes = pread(log_file, logged, sizeof(logged) - 1, 0);
	CHECK(bytes >= 0);
	logged[bytes] = '\0';
	close(log_copy);
	close(log_file);
	return logged;
}

void log_follow(void)
{
	log_copy = dup(STDERR_FILENO);
	CHECK(log_copy >= 0 && pipe2(log_pipe, O_CLOEXEC) == 0);
	CHECK(dup2(log_pipe[1], STDERR_FILENO) >= 0);
}

void log_followed(const char *text)
{
	char logged[16384];
	size_t used = 0;

	do {
		ssize_t bytes = read(log_pipe[0], logged + used, sizeof(logged) - 1 - used);
		CHECK(bytes > 0);
		used += (size_t)bytes;
		logged[used] = '\0';
	} while (!strstr(logged, text));
}

void log_unfollow(void)
{
	CHECK(dup2(log_copy, STDERR_FILENO) >= 0);
	close(log_copy);
	close(log_pipe[0]);
	close(log_pipe[1]);
}

struct rlimit leave_descriptors(int count)
{
	struct rlimit enough, few;
	int next = dup(STDERR_FILENO); /* the lowest that is free */

	CHECK(next >= 0);
	close(next);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &enough), 0);
	few = enough;
	few.rlim_cur = (rlim_t)(next + count);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	return enough;
}

int port_after(const char *logged, const char *text)
{
	const char *found = strstr(logged, text);

	if (!found)
		test_fail(__FILE__, __LINE__, "no '%s' in: %s", text, logged);
	return atoi(found + strlen(text));
}

void server_prepare(struct server *server)
{
	memset(server, 0, sizeof(*server));
	server->options = (struct http_options){
		.telemetry_path = "/metrics",
		.publication = publication_create(),
		.cut = cut_create(),
		.cut_timeout_ms = NEVER_MS,
		.limits = { .connections_max = 2000,
			    .client_max = 2000,
			    .request_ms = NEVER_MS,
			    .idle_ms = NEVER_MS,
			    .response_ms = NEVER_MS,
			    .slots_ms = NEVER_MS },
	};
	CHECK(server->options.publication && server->options.cut);
}

const char *server_try(struct server *server, const char *const *addresses, int *rc)
{
	server->options.listen_addresses = addresses;
	server->options.listen_count = 0;
	while (addresses[server->options.listen_count])
		server->options.listen_count++;
	log_capture();
	*rc = http_start(&server->http, &server->options);
	return log_captured();
}

const char *server_start(struct server *server)
{
	int rc;

	const char *logged = server_try(server, (const char *[]){ "127.0.0.1:0", NULL }, &rc);
	if (rc != 0)
		test_fail(__FILE__, __LINE__, "%d: %s", rc, logged);
	int port = port_after(logged, "msg=Listening address=127.0.0.1:");
	CHECK(port > 0);
	server->address = (struct sockaddr_in){ .sin_family = AF_INET,
						.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
						.sin_port = htons((uint16_t)port) };
	return logged;
}

static void *answer_cuts(void *arg)
{
	struct server *server = arg;
	struct pollfd polled = { .fd = cut_fd(server->options.cut), .events = POLLIN };

	while (!server->stop) {
		if (poll(&polled, 1, 10) != 1)
			continue;
		uint64_t request = cut_begin(server->options.cut);
		server->passes++;
		if (server->pass)
			server->pass(server);
		cut_end(server->options.cut, request);
	}
	return NULL;
}

void server_drain(struct server *server)
{
	server->has_drain = true;
	CHECK_EQ(pthread_create(&server->drain, NULL, answer_cuts, server), 0);
}

void server_begin(struct server *server)
{
	server_prepare(server);
	server_start(server);
	server_drain(server);
}

void server_clean(struct server *server)
{
	server->stop = true;
	if (server->has_drain)
		pthread_join(server->drain, NULL);
	cut_destroy(server->options.cut);
	publication_destroy(server->options.publication);
}

void server_end(struct server *server)
{
	http_stop(server->http, SERVER_GRACE_MS);
	server_clean(server);
}

/* ---- pages ---- */

/* Room for a page's bytes, to be filled before publish_page(). */
static char *take_page(struct server *server, struct publication_pages *next,
		       enum page_format format, enum page_encoding encoding, size_t bytes)
{
	struct page *page = publication_take(server->options.publication, format, encoding);

	CHECK(page);
	*next = (struct publication_pages){ 0 };
	next->page[format][encoding] = page;
	char *data = page_resize(page, bytes);
	CHECK(data);
	return data;
}

void publish_bytes(struct server *server, size_t bytes)
{
	struct publication_pages next;
	char *data = take_page(server, &next, PAGE_TEXT, PAGE_IDENTITY, bytes);

	for (size_t i = 0; i < bytes; i++)
		data[i] = (char)('a' + (i ^ i >> 12) % 26);
	publication_swap(server->options.publication, &next);
}

bool is_published(const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (data[i] != (char)('a' + (i ^ i >> 12) % 26))
			return false;
	return true;
}

void publish_text(struct server *server, enum page_format format, enum page_encoding encoding,
		  const char *text)
{
	struct publication_pages next;
	char *data = take_page(server, &next, format, encoding, strlen(text));

	memcpy(data, text, strlen(text));
	publication_swap(server->options.publication, &next);
}

/* ---- client ---- */

int connect_to(const struct server *server)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	if (connect(fd, (const struct sockaddr *)&server->address, sizeof(server->address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void send_text(int fd, const char *text)
{
	CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

void read_head(int fd, struct answer *answer)
{
	size_t used = 0;

	memset(answer, 0, sizeof(*answer));
	while (!strstr(answer->head, "\r\n\r\n")) {
		CHECK(used < sizeof(answer->head) - 1);
		CHECK_EQ(recv(fd, answer->head + used++, 1, 0), 1);
	}
	CHECK_EQ(sscanf(answer->head, "HTTP/1.1 %d ", &answer->status), 1);
	const char *length = strstr(answer->head, "Content-Length: ");
	CHECK(length);
	answer->body_bytes = strtoul(length + 16, NULL, 10);
}

void read_body(int fd, struct answer *answer)
{
	size_t used = 0;

	answer->body = malloc(answer->body_bytes + 1);
	CHECK(answer->body);
	while (used < answer->body_bytes) {
		ssize_t got = recv(fd, answer->body + used, answer->body_bytes - used, 0);
		CHECK(got > 0);
		used += (size_t)got;
	}
	answer->body[used] = '\0';
}

struct answer ask(int fd, const char *method, const char *path, const char *headers)
{
	struct answer answer;
	char request[2048];

	int bytes = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n",
			     method, path, headers);
	CHECK(bytes < (int)sizeof(request));
	send_text(fd, request);
	read_head(fd, &answer);
	if (strcmp(method, "HEAD") != 0)
		read_body(fd, &answer);
	return answer;
}

int ask_status(const struct server *server, const char *method, const char *path)
{
	int fd = connect_to(server);

	CHECK(fd >= 0);
	struct answer answer = ask(fd, method, path, "");
	close(fd);
	free(answer.body);
	return answer.status;
}

void wait_closed(int fd)
{
	char bytes[65536];

	while (recv(fd, bytes, sizeof(bytes), 0) > 0)
		;
}
