/* SPDX-License-Identifier: Apache-2.0 */
/* test_http.c - what clients on a real socket get: paths, pages, cuts and the end */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support_http.h"
#include "test.h"

/* ---- paths ---- */

TEST(http_is_healthy_but_not_ready_before_the_first_page)
{
	struct server server;

	server_begin(&server);
	CHECK_EQ(ask_status(&server, "GET", "/-/healthy"), 200);
	CHECK_EQ(ask_status(&server, "GET", "/-/ready"), 503);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 503);
	publish_bytes(&server, 10);
	CHECK_EQ(ask_status(&server, "GET", "/-/ready"), 200);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	server_end(&server);
}

TEST(http_gives_the_page_whole_and_typed_when_asked)
{
	struct server server;

	server_begin(&server);
	publish_bytes(&server, 300000);
	int fd = connect_to(&server);
	struct answer answer = ask(fd, "GET", "/metrics?name=ignored", "");
	CHECK_EQ(answer.status, 200);
	CHECK_EQ(answer.body_bytes, 300000);
	CHECK(is_published(answer.body, answer.body_bytes));
	CHECK(strstr(answer.head, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	CHECK(strstr(answer.head, "X-Content-Type-Options: nosniff\r\n"));
	CHECK_EQ(server.passes, 1); /* it asked for a cut */
	free(answer.body);
	close(fd);
	server_end(&server);
}

TEST(http_gives_the_last_page_when_the_drain_does_not_answer)
{
	struct server server;

	server_prepare(&server);
	server.options.cut_timeout_ms = 1;
	publish_bytes(&server, 1000);
	server_start(&server);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	CHECK_EQ(cut_timeouts(server.options.cut), 1);
	http_stop(server.http, SERVER_GRACE_MS);
	server_clean(&server);
}

TEST(http_keeps_the_connection_when_requests_follow_each_other)
{
	struct server server;

	server_begin(&server);
	publish_bytes(&server, 5000);
	int fd = connect_to(&server);
	for (int i = 0; i < 50; i++) {
		struct answer page = ask(fd, "GET", "/metrics", "");
		CHECK_EQ(page.status, 200);
		CHECK(is_published(page.body, page.body_bytes));
		free(page.body);
		struct answer head = ask(fd, "HEAD", "/metrics", "");
		CHECK_EQ(head.status, 200);
		CHECK_EQ(head.body_bytes, 5000); /* told, not sent: the next answer follows */
		struct answer missing = ask(fd, "GET", "/none", "");
		CHECK_EQ(missing.status, 404);
		free(missing.body);
	}
	CHECK_EQ(server.passes, 100);
	close(fd);
	server_end(&server);
}

TEST(http_answers_404_when_the_path_is_none_of_its_own)
{
	struct server server;

	server_begin(&server);
	CHECK_EQ(ask_status(&server, "GET", "/metrics/"), 404);
	CHECK_EQ(ask_status(&server, "GET", "/metric"), 404);
	CHECK_EQ(ask_status(&server, "GET", "/../etc/passwd"), 404);
	CHECK_EQ(ask_status(&server, "HEAD", "/none"), 404);
	server_end(&server);
}

TEST(http_answers_405_and_allow_when_the_method_is_neither_get_nor_head)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "BREW" };
	struct server server;

	server_begin(&server);
	publish_bytes(&server, 10);
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		int fd = connect_to(&server);
		struct answer answer = ask(fd, methods[i], "/metrics", "");
		CHECK_EQ(answer.status, 405);
		CHECK(strstr(answer.head, "Allow: GET, HEAD\r\n"));
		free(answer.body);
		close(fd);
	}
	CHECK_EQ(server.passes, 0);
	server_end(&server);
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

	server_begin(&server);
	publish_bytes(&server, 10);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		int fd = connect_to(&server);
		send_text(fd, requests[i]);
		CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
		close(fd);
	}
	server_end(&server);
}

TEST(http_landing_page_links_to_the_other_paths)
{
	struct server server;

	server_begin(&server);
	int fd = connect_to(&server);
	struct answer answer = ask(fd, "GET", "/", "");
	CHECK_EQ(answer.status, 200);
	CHECK(strstr(answer.head, "Content-Type: text/html; charset=utf-8\r\n"));
	CHECK(strstr(answer.body, "<h1>kvtap-exporter</h1>"));
	CHECK(strstr(answer.body, "href=\"/metrics\""));
	CHECK(strstr(answer.body, "href=\"/-/healthy\""));
	CHECK(strstr(answer.body, "href=\"/-/ready\""));
	free(answer.body);
	close(fd);
	server_end(&server);
}

TEST(http_serves_everybody_when_many_clients_read_slowly)
{
	int slow[100];
	struct server server;

	server_begin(&server);
	publish_bytes(&server, BIG_BYTES);
	for (int i = 0; i < 100; i++) {
		slow[i] = connect_to(&server);
		send_text(slow[i], SCRAPE);
	}
	for (int i = 0; i < 100; i++) { /* all are being answered, and then read no more */
		struct answer answer;
		read_head(slow[i], &answer);
		CHECK_EQ(answer.status, 200);
	}
	publish_bytes(&server, 1000);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	CHECK_EQ(ask_status(&server, "GET", "/-/healthy"), 200);
	for (int i = 0; i < 100; i++)
		close(slow[i]);
	http_stop(server.http, NO_GRACE_MS);
	server_clean(&server);
}

/* ---- formats ---- */

#define OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

TEST(http_gives_each_client_the_format_that_it_likes_best)
{
	static const struct {
		const char *headers, *type, *body;
	} cases[] = {
		{ "", "text/plain; version=0.0.4; charset=utf-8", "text" },
		{ "Accept: text/plain;version=1.0.0;escaping=allow-utf-8\r\n",
		  "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8", "text" },
		{ "Accept: application/openmetrics-text;version=1.0.0\r\n", OPENMETRICS, "open" },
		{ "Accept: */*;q=0.1\r\nAccept: application/openmetrics-text;q=0.2\r\n",
		  OPENMETRICS, "open" },
		{ "Accept: application/vnd.google.protobuf;"
		  "proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n",
		  "application/vnd.google.protobuf; "
		  "proto=io.prometheus.client.MetricFamily; encoding=delimited",
		  "proto" },
		{ "Accept: image/png\r\n", "text/plain; version=0.0.4; charset=utf-8", "text" },
	};
	struct server server;
	char expected[160];

	server_begin(&server);
	publish_text(&server, PAGE_TEXT, PAGE_IDENTITY, "text");
	publish_text(&server, PAGE_OPENMETRICS, PAGE_IDENTITY, "open");
	publish_text(&server, PAGE_PROTOBUF, PAGE_IDENTITY, "proto");
	int fd = connect_to(&server);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct answer answer = ask(fd, "GET", "/metrics", cases[i].headers);
		snprintf(expected, sizeof(expected), "Content-Type: %s\r\n", cases[i].type);
		CHECK_EQ(answer.status, 200);
		CHECK(strstr(answer.head, expected));
		CHECK(strstr(answer.head, "Vary: Accept, Accept-Encoding\r\n"));
		CHECK_STR(answer.body, cases[i].body);
		free(answer.body);
	}
	close(fd);
	server_end(&server);
}

/* Publishes what is wanted with the second pass only. */
static void publish_later(struct server *server)
{
	if (server->passes == 2)
		publish_text(server, PAGE_OPENMETRICS, PAGE_IDENTITY, "open");
}

TEST(http_waits_for_the_first_page_of_a_format_when_nobody_wanted_it_before)
{
	struct server server;

	server_prepare(&server);
	server.pass = publish_later;
	server_start(&server);
	server_drain(&server);
	publish_text(&server, PAGE_TEXT, PAGE_IDENTITY, "text");
	int fd = connect_to(&server);
	struct answer answer =
		ask(fd, "GET", "/metrics", "Accept: application/openmetrics-text\r\n");
	CHECK_STR(answer.body, "open");
	CHECK(strstr(answer.head, OPENMETRICS));
	CHECK_EQ(server.passes, 2);
	free(answer.body);
	close(fd);
	server_end(&server);
}

TEST(http_gives_text_when_the_page_of_a_format_does_not_come)
{
	struct server server;

	server_begin(&server);
	publish_text(&server, PAGE_TEXT, PAGE_IDENTITY, "text");
	int fd = connect_to(&server);
	struct answer answer =
		ask(fd, "GET", "/metrics", "Accept: application/openmetrics-text\r\n");
	CHECK_EQ(answer.status, 200);
	CHECK_STR(answer.body, "text");
	CHECK(strstr(answer.head, "Content-Type: text/plain; version=0.0.4"));
	free(answer.body);
	close(fd);
	server_end(&server);
}

static void check_encoding(int fd, const char *headers, const char *body)
{
	bool gzip = strcmp(body, "gzip") == 0;

	struct answer answer = ask(fd, "GET", "/metrics", headers);
	if (strcmp(answer.body, body) != 0 ||
	    !strstr(answer.head, "Content-Encoding: gzip\r\n") == gzip)
		test_fail(__FILE__, __LINE__, "%s: %s%s", headers, answer.head, answer.body);
	free(answer.body);
}

TEST(http_gives_gzip_when_told_to_or_when_the_client_takes_nothing_else)
{
	static const char both[] = "Accept-Encoding: gzip\r\n";
	static const char only[] = "Accept-Encoding: gzip, identity;q=0\r\n";
	static const struct {
		enum http_compression compression;
		const char *both, *only;
	} cases[] = {
		{ HTTP_COMPRESSION_AUTO, "plain", "gzip" }, /* a client on this machine */
		{ HTTP_COMPRESSION_ON, "gzip", "gzip" },
		{ HTTP_COMPRESSION_OFF, "plain", "plain" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct server server;

		server_prepare(&server);
		server.options.compression = cases[i].compression;
		server_start(&server);
		server_drain(&server);
		publish_text(&server, PAGE_TEXT, PAGE_IDENTITY, "plain");
		int fd = connect_to(&server);
		check_encoding(fd, both, "plain"); /* there is no other yet */
		publish_text(&server, PAGE_TEXT, PAGE_GZIP, "gzip");
		check_encoding(fd, "", "plain");
		check_encoding(fd, "Accept-Encoding: gzip;q=0\r\n", "plain");
		check_encoding(fd, both, cases[i].both);
		check_encoding(fd, only, cases[i].only);
		close(fd);
		server_end(&server);
	}
}

/* ---- cuts ---- */

/* A request has come to its cut. */
static void wait_asked(const struct server *server)
{
	struct pollfd asked = { .fd = cut_fd(server->options.cut), .events = POLLIN };
	eventfd_t ignored;

	CHECK_EQ(poll(&asked, 1, 10000), 1);
	CHECK_EQ(eventfd_read(asked.fd, &ignored), 0);
}

TEST(http_serves_48_scrapers_by_one_cut_when_they_ask_at_once)
{
	struct server server;
	int fds[48];

	server_prepare(&server);
	publish_bytes(&server, 100);
	server_start(&server);
	for (int i = 0; i < 48; i++) {
		fds[i] = connect_to(&server);
		send_text(fds[i], SCRAPE);
		wait_asked(&server);
	}
	/* all are waiting and hold no thread; one pass answers them */
	CHECK_EQ(ask_status(&server, "GET", "/-/healthy"), 200);
	cut_end(server.options.cut, cut_begin(server.options.cut));
	for (int i = 0; i < 48; i++) {
		struct answer answer;
		read_head(fds[i], &answer);
		CHECK_EQ(answer.status, 200);
		close(fds[i]);
	}
	server_end(&server);
}

static bool is_fresh(void *context)
{
	return *(atomic_bool *)context;
}

TEST(http_answers_at_once_when_the_page_is_fresh)
{
	static atomic_bool fresh = true;
	struct server server;

	server_prepare(&server);
	cut_set_fresh(server.options.cut, is_fresh, &fresh);
	publish_bytes(&server, 100);
	server_start(&server);
	server_drain(&server);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	CHECK_EQ(server.passes, 0);
	fresh = false;
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	CHECK_EQ(server.passes, 1);
	server_end(&server);
}

TEST(http_stop_answers_whoever_waits_for_a_cut_that_does_not_come)
{
	struct server server;
	struct answer answer;

	server_prepare(&server);
	publish_bytes(&server, 100);
	server_start(&server);
	int fd = connect_to(&server);
	send_text(fd, SCRAPE);
	wait_asked(&server);
	http_stop(server.http, 50);
	read_head(fd, &answer);
	CHECK_EQ(answer.status, 200);
	CHECK(strstr(answer.head, "Connection: close\r\n"));
	close(fd);
	server_clean(&server);
}

/* ---- addresses ---- */

TEST(http_start_refuses_an_address_when_it_is_malformed)
{
	static const char *const addresses[] = {
		"",	  "127.0.0.1", "127.0.0.1:", "::1:9", "[::1]",	      "[::1:9",	 "[]:9",
		":65536", ":999999",   ":-1",	     ":http", "localhost:1x", "[::1]x:9"
	};
	struct server server;
	int rc;

	server_prepare(&server);
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		const char *logged =
			server_try(&server, (const char *[]){ addresses[i], NULL }, &rc);
		if (rc != -EINVAL || server.http || !strstr(logged, "level=error"))
			test_fail(__FILE__, __LINE__, "%s: %d %s", addresses[i], rc, logged);
	}
	server_clean(&server);
}

TEST(http_start_says_why_when_the_address_is_taken)
{
	struct server server, second;
	char address[32];
	int rc;

	server_begin(&server);
	server_prepare(&second);
	snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(server.address.sin_port));
	const char *logged = server_try(&second, (const char *[]){ address, NULL }, &rc);
	CHECK_EQ(rc, -EADDRINUSE);
	CHECK(!second.http);
	CHECK(strstr(logged, "Address already in use"));
	CHECK(strstr(logged, address));
	server_clean(&second);
	server_end(&server);
}

TEST(http_start_takes_a_name_and_does_not_warn_when_it_is_loopback)
{
	struct server server;
	int rc;

	server_prepare(&server);
	const char *logged = server_try(&server, (const char *[]){ "localhost:0", NULL }, &rc);
	CHECK_EQ(rc, 0);
	CHECK(strstr(logged, "msg=Listening"));
	CHECK(!strstr(logged, "level=warn"));
	http_stop(server.http, NO_GRACE_MS);
	server_clean(&server);
}

TEST(http_start_listens_on_ipv6_loopback_when_in_brackets)
{
	struct server server;
	int rc;

	server_prepare(&server);
	const char *logged = server_try(&server, (const char *[]){ "[::1]:0", NULL }, &rc);
	if (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT)
		SKIP("no IPv6 loopback");
	CHECK_EQ(rc, 0);
	CHECK(port_after(logged, "msg=Listening address=[::1]:") > 0);
	CHECK(!strstr(logged, "level=warn"));
	http_stop(server.http, NO_GRACE_MS);
	server_clean(&server);
}

TEST(http_serves_over_a_unix_socket_without_a_word)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX };
	struct server server;
	char address[sizeof(path.sun_path) + 8];
	int rc;

	snprintf(path.sun_path, sizeof(path.sun_path), "%s/socket", test_folder());
	snprintf(address, sizeof(address), "unix:%s", path.sun_path);
	server_prepare(&server);
	server_try(&server, (const char *[]){ address, NULL }, &rc);
	CHECK_EQ(rc, 0);
	server_drain(&server);
	publish_bytes(&server, BIG_BYTES);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&path, sizeof(path)), 0);
	log_capture();
	struct answer first = ask(fd, "GET", "/metrics", ""), second = ask(fd, "GET", "/", "");
	http_stop(server.http, SERVER_GRACE_MS);
	CHECK_STR(log_captured(), "");
	CHECK(first.status == 200 && is_published(first.body, first.body_bytes));
	CHECK_EQ(second.status, 200);
	free(first.body);
	free(second.body);
	close(fd);
	server_clean(&server);
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
	server_prepare(&server);
	const char *logged = server_try(&server, (const char *[]){ ":18827", NULL }, &rc);
	CHECK_EQ(rc, 0);
	CHECK_EQ(port_after(logged, strstr(logged, "[::]") ? "msg=Listening address=[::]:"
							   : "msg=Listening address=0.0.0.0:"),
		 18827);
	CHECK(strstr(logged, "level=warn"));
	server.address = (struct sockaddr_in){ .sin_family = AF_INET,
					       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					       .sin_port = htons(18827) };
	CHECK_EQ(ask_status(&server, "GET", "/-/healthy"), 200); /* also by IPv4 */
	http_stop(server.http, NO_GRACE_MS);
	server_clean(&server);
}

TEST(http_start_leaves_nothing_open_when_descriptors_run_out)
{
	struct server server;
	int rc;

	server_prepare(&server);
	server.options.listen_addresses = (const char *[]){ "127.0.0.1:0", NULL };
	server.options.listen_count = 1;
	for (int spare = 0;; spare++) {
		struct rlimit limit = leave_descriptors(spare);
		rc = http_start(&server.http, &server.options);
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
		if (rc == 0)
			break;
		CHECK(!server.http);
		CHECK(spare < 20);
	}
	http_stop(server.http, NO_GRACE_MS);
	server_clean(&server);
}
