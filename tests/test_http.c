/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http.c - what clients on a real socket get
 *
 * The server listens on a free port of 127.0.0.1, which it tells in its log. A thread answers cuts,
 * as the drain does, and publishes a page when the test says so.
 */
#include "../exporter/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../exporter/log.h"
#include "test.h"

#define GRACE_MS 30000
#define BIG_BYTES ((size_t)24 << 20) /* more than the sockets' buffers hold */
#define NO_GRACE_MS 0

struct server {
	struct http *http;
	struct publication *publication;
	struct cut *cut;
	struct sockaddr_in address;
	pthread_t drain;
	atomic_bool stop;
	atomic_int passes;
	int cut_timeout_ms;
};

/* ---- server ---- */

/* Starts on address, and returns what it logged, or how it failed in *rc. */
static const char *start_logged(struct server *server, const char *address, int *rc)
{
	static char logged[4096];
	int copy = dup(STDERR_FILENO), file = memfd_create("logged", MFD_CLOEXEC);

	CHECK(copy >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
	*rc = http_start(&server->http, &(struct http_options){
						.listen_address = address,
						.telemetry_path = "/metrics",
						.publication = server->publication,
						.cut = server->cut,
						.cut_timeout_ms = server->cut_timeout_ms,
					});
	CHECK(dup2(copy, STDERR_FILENO) >= 0);
	ssize_t bytes = pread(file, logged, sizeof(logged) - 1, 0);
	CHECK(bytes >= 0);
	logged[bytes] = '\0';
	close(copy);
	close(file);
	return logged;
}

static void *answer_cuts(void *arg)
{
	struct server *server = arg;
	struct pollfd polled = { .fd = cut_fd(server->cut), .events = POLLIN };

	while (!server->stop) {
		if (poll(&polled, 1, 10) != 1)
			continue;
		uint64_t request = cut_begin(server->cut);
		server->passes++;
		cut_end(server->cut, request);
	}
	return NULL;
}

static int port_of(const char *logged, const char *before)
{
	const char *found = strstr(logged, before);

	if (!found)
		test_fail(__FILE__, __LINE__, "no '%s' in: %s", before, logged);
	return atoi(found + strlen(before));
}

static void prepare(struct server *server)
{
	memset(server, 0, sizeof(*server));
	server->publication = publication_create();
	server->cut = cut_create();
	server->cut_timeout_ms = 10000;
	CHECK(server->publication && server->cut);
}

static void start_without_drain(struct server *server)
{
	int rc;

	const char *logged = start_logged(server, "127.0.0.1:0", &rc);
	CHECK_EQ(rc, 0);
	int port = port_of(logged, "msg=Listening address=127.0.0.1:");
	CHECK(port > 0);
	server->address = (struct sockaddr_in){ .sin_family = AF_INET,
						.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
						.sin_port = htons((uint16_t)port) };
}

static void start(struct server *server)
{
	prepare(server);
	start_without_drain(server);
	CHECK_EQ(pthread_create(&server->drain, NULL, answer_cuts, server), 0);
}

static void clean(struct server *server)
{
	cut_destroy(server->cut);
	publication_destroy(server->publication);
}

static void end(struct server *server)
{
	server->stop = true;
	pthread_join(server->drain, NULL);
	clean(server);
}

static void stop(struct server *server)
{
	http_stop(server->http, GRACE_MS);
	end(server);
}

/* Publishes so many bytes that tell their places. */
static void publish(struct server *server, size_t bytes)
{
	struct publication_pages next = { 0 };
	struct page *page = publication_take(server->publication, PAGE_TEXT, PAGE_IDENTITY);

	CHECK(page);
	char *data = page_resize(page, bytes);
	CHECK(data);
	for (size_t i = 0; i < bytes; i++)
		data[i] = (char)('a' + (i ^ i >> 12) % 26);
	next.page[PAGE_TEXT][PAGE_IDENTITY] = page;
	publication_swap(server->publication, &next);
}

static bool is_page(const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (data[i] != (char)('a' + (i ^ i >> 12) % 26))
			return false;
	return true;
}

/* ---- client ---- */

static int connect_to(const struct server *server)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	if (connect(fd, (const struct sockaddr *)&server->address, sizeof(server->address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void send_all(int fd, const char *text)
{
	CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

struct answer {
	char head[2048];
	int status;
	size_t body_bytes;
	char *body; /* to be freed */
};

/* Reads the head byte by byte, so that nothing of the next answer is taken. */
static void read_head(int fd, struct answer *answer)
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

static void read_body(int fd, struct answer *answer)
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

/* One request on this connection. */
static struct answer ask(int fd, const char *method, const char *path)
{
	struct answer answer;
	char request[512];

	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, path);
	send_all(fd, request);
	read_head(fd, &answer);
	if (strcmp(method, "HEAD") != 0)
		read_body(fd, &answer);
	return answer;
}

/* One request on a connection of its own; the status. */
static int ask_status(const struct server *server, const char *method, const char *path)
{
	int fd = connect_to(server);

	CHECK(fd >= 0);
	struct answer answer = ask(fd, method, path);
	close(fd);
	free(answer.body);
	return answer.status;
}

/* ---- paths ---- */

TEST(http_is_healthy_but_not_ready_before_the_first_page)
{
	struct server server;

	start(&server);
	CHECK_EQ(ask_status(&server, "GET", "/-/healthy"), 200);
	CHECK_EQ(ask_status(&server, "GET", "/-/ready"), 503);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 503);
	publish(&server, 10);
	CHECK_EQ(ask_status(&server, "GET", "/-/ready"), 200);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	stop(&server);
}

TEST(http_gives_the_page_whole_and_typed_when_asked)
{
	struct server server;

	start(&server);
	publish(&server, 300000);
	int fd = connect_to(&server);
	struct answer answer = ask(fd, "GET", "/metrics?name=ignored");
	CHECK_EQ(answer.status, 200);
	CHECK_EQ(answer.body_bytes, 300000);
	CHECK(is_page(answer.body, answer.body_bytes));
	CHECK(strstr(answer.head, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	CHECK(strstr(answer.head, "X-Content-Type-Options: nosniff\r\n"));
	CHECK_EQ(server.passes, 1); /* it asked for a cut */
	free(answer.body);
	close(fd);
	stop(&server);
}

TEST(http_gives_the_last_page_when_the_drain_does_not_answer)
{
	struct server server;

	prepare(&server);
	server.cut_timeout_ms = 1;
	publish(&server, 1000);
	start_without_drain(&server);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	CHECK_EQ(cut_timeouts(server.cut), 1);
	http_stop(server.http, GRACE_MS);
	clean(&server);
}

TEST(http_keeps_the_connection_when_requests_follow_each_other)
{
	struct server server;

	start(&server);
	publish(&server, 5000);
	int fd = connect_to(&server);
	for (int i = 0; i < 50; i++) {
		struct answer page = ask(fd, "GET", "/metrics");
		CHECK_EQ(page.status, 200);
		CHECK(is_page(page.body, page.body_bytes));
		free(page.body);
		struct answer head = ask(fd, "HEAD", "/metrics");
		CHECK_EQ(head.status, 200);
		CHECK_EQ(head.body_bytes, 5000); /* told, not sent: the next answer follows */
		struct answer missing = ask(fd, "GET", "/none");
		CHECK_EQ(missing.status, 404);
		free(missing.body);
	}
	CHECK_EQ(server.passes, 100);
	close(fd);
	stop(&server);
}

TEST(http_answers_404_when_the_path_is_none_of_its_own)
{
	struct server server;

	start(&server);
	CHECK_EQ(ask_status(&server, "GET", "/metrics/"), 404);
	CHECK_EQ(ask_status(&server, "GET", "/metric"), 404);
	CHECK_EQ(ask_status(&server, "GET", "/../etc/passwd"), 404);
	CHECK_EQ(ask_status(&server, "HEAD", "/none"), 404);
	stop(&server);
}

TEST(http_answers_405_and_allow_when_the_method_is_neither_get_nor_head)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "BREW" };
	struct server server;

	start(&server);
	publish(&server, 10);
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		int fd = connect_to(&server);
		struct answer answer = ask(fd, methods[i], "/metrics");
		CHECK_EQ(answer.status, 405);
		CHECK(strstr(answer.head, "Allow: GET, HEAD\r\n"));
		free(answer.body);
		close(fd);
	}
	CHECK_EQ(server.passes, 0);
	stop(&server);
}

TEST(http_serves_on_when_a_client_sends_bodies_or_garbage)
{
	static const char *const requests[] = {
		"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nbody",
		"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
		"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"GET\r\n\r\n",
		"\x16\x03\x01\x02",
		"GET /%00%ff%n HTTP/1.1\r\nHost: x\r\n\r\n",
	};
	struct server server;

	start(&server);
	publish(&server, 10);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		int fd = connect_to(&server);
		send_all(fd, requests[i]);
		CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
		close(fd);
	}
	stop(&server);
}

TEST(http_landing_page_links_to_the_other_paths)
{
	struct server server;

	start(&server);
	int fd = connect_to(&server);
	struct answer answer = ask(fd, "GET", "/");
	CHECK_EQ(answer.status, 200);
	CHECK(strstr(answer.head, "Content-Type: text/html; charset=utf-8\r\n"));
	CHECK(strstr(answer.body, "<h1>kvtap-exporter</h1>"));
	CHECK(strstr(answer.body, "href=\"/metrics\""));
	CHECK(strstr(answer.body, "href=\"/-/healthy\""));
	CHECK(strstr(answer.body, "href=\"/-/ready\""));
	free(answer.body);
	close(fd);
	stop(&server);
}

TEST(http_serves_everybody_when_many_clients_read_slowly)
{
	int slow[100];
	struct server server;

	start(&server);
	publish(&server, BIG_BYTES);
	for (int i = 0; i < 100; i++) {
		slow[i] = connect_to(&server);
		send_all(slow[i], "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	for (int i = 0; i < 100; i++) { /* all are being answered, and then read no more */
		struct answer answer;
		read_head(slow[i], &answer);
		CHECK_EQ(answer.status, 200);
	}
	publish(&server, 1000);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	CHECK_EQ(ask_status(&server, "GET", "/-/healthy"), 200);
	for (int i = 0; i < 100; i++)
		close(slow[i]);
	http_stop(server.http, NO_GRACE_MS);
	end(&server);
}

/* ---- stop ---- */

static void *stop_server(void *arg)
{
	struct server *server = arg;

	http_stop(server->http, GRACE_MS);
	return NULL;
}

TEST(http_stop_sends_a_big_page_to_its_end_when_the_client_reads_slowly)
{
	struct server server;
	struct answer answer;
	pthread_t stopper;

	start(&server);
	publish(&server, BIG_BYTES);
	int fd = connect_to(&server), other;
	send_all(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	read_head(fd, &answer);
	publish(&server, 10); /* the response holds the only reference to its page */
	CHECK_EQ(pthread_create(&stopper, NULL, stop_server, &server), 0);
	/* once connections are refused, the stop has begun; nothing of the body was read until now */
	while ((other = connect_to(&server)) >= 0)
		close(other);
	CHECK(errno == ECONNREFUSED || errno == ECONNRESET); /* reset: was not accepted yet */
	CHECK_EQ(answer.body_bytes, BIG_BYTES);
	read_body(fd, &answer);
	CHECK(is_page(answer.body, answer.body_bytes));
	pthread_join(stopper, NULL);
	free(answer.body);
	close(fd);
	end(&server);
}

TEST(http_stop_ends_when_a_client_never_reads)
{
	struct server server;
	struct answer answer;
	char byte;

	start(&server);
	publish(&server, BIG_BYTES);
	int fd = connect_to(&server), idle = connect_to(&server);
	send_all(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	read_head(fd, &answer);
	http_stop(server.http, 50);
	CHECK(recv(idle, &byte, 1, 0) <= 0);
	close(fd);
	close(idle);
	end(&server);
}

/* ---- addresses ---- */

TEST(http_start_refuses_an_address_when_it_is_malformed)
{
	static const char *const addresses[] = {
		"",	  "127.0.0.1", "127.0.0.1:", "::1:9", "[::1]",	      "[::1:9",	 "[]:9",
		":65536", ":999999",   ":-1",	     ":http", "localhost:1x", "[::1]x:9"
	};
	struct server server = { .http = NULL };
	int rc;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		const char *logged = start_logged(&server, addresses[i], &rc);
		if (rc != -EINVAL || server.http || !strstr(logged, "level=error"))
			test_fail(__FILE__, __LINE__, "%s: %d %s", addresses[i], rc, logged);
	}
}

TEST(http_start_says_why_when_the_address_is_taken)
{
	struct server server, second = { .http = NULL };
	char address[32];
	int rc;

	start(&server);
	snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(server.address.sin_port));
	const char *logged = start_logged(&second, address, &rc);
	CHECK_EQ(rc, -EADDRINUSE);
	CHECK(!second.http);
	CHECK(strstr(logged, "Address already in use"));
	CHECK(strstr(logged, address));
	stop(&server);
}

TEST(http_start_takes_a_name_and_does_not_warn_when_it_is_loopback)
{
	struct server server;
	int rc;

	prepare(&server);
	const char *logged = start_logged(&server, "localhost:0", &rc);
	CHECK_EQ(rc, 0);
	CHECK(strstr(logged, "msg=Listening"));
	CHECK(!strstr(logged, "level=warn"));
	http_stop(server.http, NO_GRACE_MS);
	clean(&server);
}

TEST(http_start_listens_on_ipv6_loopback_when_in_brackets)
{
	struct server server;
	int rc;

	prepare(&server);
	const char *logged = start_logged(&server, "[::1]:0", &rc);
	if (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT)
		SKIP("no IPv6 loopback");
	CHECK_EQ(rc, 0);
	CHECK(port_of(logged, "msg=Listening address=[::1]:") > 0);
	CHECK(!strstr(logged, "level=warn"));
	http_stop(server.http, NO_GRACE_MS);
	clean(&server);
}

/* A network of this process alone, so that "all addresses" is loopback and no more. */
static void enter_empty_network(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		SKIP("no network namespace: %s", strerror(errno));
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

TEST(http_start_listens_everywhere_and_warns_when_there_is_no_host)
{
	struct server server;
	int rc;

	enter_empty_network();
	prepare(&server);
	const char *logged = start_logged(&server, ":18827", &rc);
	CHECK_EQ(rc, 0);
	CHECK_EQ(port_of(logged, strstr(logged, "[::]") ? "msg=Listening address=[::]:"
							: "msg=Listening address=0.0.0.0:"),
		 18827);
	CHECK(strstr(logged, "level=warn"));
	server.address = (struct sockaddr_in){ .sin_family = AF_INET,
					       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					       .sin_port = htons(18827) };
	CHECK_EQ(ask_status(&server, "GET", "/-/healthy"), 200); /* also by IPv4 */
	http_stop(server.http, NO_GRACE_MS);
	clean(&server);
}

TEST(http_start_leaves_nothing_open_when_descriptors_run_out)
{
	struct rlimit limit, enough;
	struct server server;
	int rc;

	prepare(&server);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &enough), 0);
	for (int spare = 0;; spare++) {
		int next = dup(STDERR_FILENO); /* the lowest descriptor that is free */
		close(next);
		limit = enough;
		limit.rlim_cur = (rlim_t)(next + spare);
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
		rc = http_start(&server.http,
				&(struct http_options){ .listen_address = "127.0.0.1:0",
							.telemetry_path = "/metrics",
							.publication = server.publication,
							.cut = server.cut });
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &enough), 0);
		if (rc == 0)
			break;
		CHECK(!server.http);
		CHECK(spare < 20);
	}
	http_stop(server.http, NO_GRACE_MS);
	clean(&server);
}
