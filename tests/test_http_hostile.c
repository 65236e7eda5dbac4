/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_hostile.c - clients that mean no good: silent, slow, too many, or not speaking HTTP
 *
 * Deadlines are short here, and each of those clients is waited for until it is cut off, while a good
 * one keeps scraping.
 */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support_http.h"
#include "test.h"

#define SLOW 100
#define SILENT 1000
#define ASKERS 300
#define PAGE_BYTES 20000

static uint64_t closed(const struct server *server, enum close_reason reason)
{
	return http_count(server->http).closed[reason];
}

static void wait_count(const struct server *server, enum close_reason reason, uint64_t count)
{
	while (closed(server, reason) < count)
		usleep(1000);
}

static void wait_connections(const struct server *server, unsigned count)
{
	while (http_count(server->http).connections != count)
		usleep(1000);
}

static void scrape(const struct server *server)
{
	int fd = connect_to(server);

	CHECK(fd >= 0);
	struct answer answer = ask(fd, "GET", "/metrics", "");
	CHECK_EQ(answer.status, 200);
	CHECK(is_published(answer.body, answer.body_bytes));
	free(answer.body);
	close(fd);
}

/* ---- slow and silent ---- */

struct crowd {
	struct pollfd sending[SLOW], reading[SLOW], silent[SILENT];
};

/* One byte more from each that is still connected; how many that are. */
static unsigned drip_send(struct pollfd fds[SLOW])
{
	static const char request[] =
		"GET /metrics HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	unsigned open = 0;

	for (int i = 0; i < SLOW; i++) {
		if (fds[i].fd < 0)
			continue;
		size_t at =
			(size_t)fds[i].events++; /* the events are not used: how many were sent */
		if (send(fds[i].fd, &request[at % (sizeof(request) - 1)], 1, MSG_NOSIGNAL) == 1) {
			open++;
			continue;
		}
		close(fds[i].fd);
		fds[i].fd = -1;
	}
	return open;
}

static unsigned drip_read(struct pollfd fds[SLOW])
{
	unsigned open = 0;
	char byte;

	for (int i = 0; i < SLOW; i++) {
		if (fds[i].fd < 0)
			continue;
		if (recv(fds[i].fd, &byte, 1, MSG_DONTWAIT) == 1 || errno == EAGAIN)
			open++;
	}
	return open;
}

static void connect_all(const struct server *server, struct pollfd *fds, int count)
{
	for (int i = 0; i < count; i++) {
		fds[i] = (struct pollfd){ .fd = connect_to(server) };
		CHECK(fds[i].fd >= 0);
	}
}

static void raise_fd_limit(void)
{
	struct rlimit limit;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 4 * (SILENT + 2 * SLOW))
		SKIP("no more than %lu descriptors", (unsigned long)limit.rlim_cur);
}

TEST_TIMEOUT(http_cuts_off_slow_and_silent_clients_while_a_good_one_scrapes, 120)
{
	static struct crowd crowd;
	struct server server;

	raise_fd_limit();
	server_prepare(&server);
	server.options.limits.request_ms = 1500;
	server.options.limits.response_ms = 1500;
	publish_bytes(&server, BIG_BYTES);
	server_start(&server);
	server_drain(&server);
	connect_all(&server, crowd.reading, SLOW);
	for (int i = 0; i < SLOW; i++)
		send_text(crowd.reading[i].fd, SCRAPE);
	wait_connections(&server, SLOW);
	while (server.passes == 0)
		usleep(1000);
	for (int i = 0; i < SLOW; i++) {
		struct answer answer;
		read_head(crowd.reading[i].fd, &answer); /* it has the big page, all of them one */
	}
	publish_bytes(&server, PAGE_BYTES);
	connect_all(&server, crowd.sending, SLOW);
	connect_all(&server, crowd.silent, SILENT);
	size_t used = mallinfo2().uordblks;
	while (drip_send(crowd.sending) + (SLOW - closed(&server, CLOSE_RESPONSE))) {
		drip_read(crowd.reading);
		scrape(&server);
	}
	for (int i = 0; i < SILENT; i++)
		wait_closed(crowd.silent[i].fd);
	CHECK_EQ(closed(&server, CLOSE_REQUEST), SLOW + SILENT);
	CHECK_EQ(closed(&server, CLOSE_RESPONSE), SLOW);
	/* a pool of 8 KiB each and what stands beside it, and the big page once */
	CHECK(used < BIG_BYTES + (SILENT + 2 * SLOW) * ((size_t)16 << 10));
	for (int i = 0; i < SILENT; i++)
		close(crowd.silent[i].fd);
	for (int i = 0; i < SLOW; i++)
		close(crowd.reading[i].fd);
	wait_connections(&server, 0);
	server_end(&server);
}

TEST(http_cuts_off_an_idle_client_that_drips_its_next_request)
{
	struct server server;
	ssize_t sent = 1;

	server_prepare(&server);
	server.options.limits.idle_ms = 300;
	publish_bytes(&server, PAGE_BYTES);
	server_start(&server);
	server_drain(&server);
	int fd = connect_to(&server);
	struct answer answer = ask(fd, "GET", "/metrics", "");
	free(answer.body);
	while (sent == 1) {
		sent = send(fd, "G", 1, MSG_NOSIGNAL);
		usleep(10000);
	}
	CHECK_EQ(closed(&server, CLOSE_IDLE), 1);
	close(fd);
	server_end(&server);
}

TEST(http_cuts_off_slow_takers_early_when_publications_find_no_slot)
{
	struct page *held[PAGE_BUFFERS - 1]; /* the client holds another one */
	struct server server;
	struct answer answer;

	server_prepare(&server);
	server.options.limits.slots_ms = 100;
	publish_bytes(&server, BIG_BYTES);
	server_start(&server);
	server_drain(&server);
	int fd = connect_to(&server);
	send_text(fd, SCRAPE);
	read_head(fd, &answer);
	for (size_t i = 0; i < PAGE_BUFFERS - 1; i++) {
		publish_bytes(&server, PAGE_BYTES);
		held[i] = publication_acquire(server.options.publication, PAGE_TEXT, PAGE_IDENTITY);
	}
	while (closed(&server, CLOSE_SLOTS) == 0) {
		publication_take(server.options.publication, PAGE_TEXT, PAGE_IDENTITY);
		usleep(10000);
	}
	for (size_t i = 0; i < PAGE_BUFFERS - 1; i++)
		page_release(held[i]);
	wait_closed(fd);
	close(fd);
	server_end(&server);
}

/* ---- too many ---- */

TEST(http_prefers_who_comes_to_who_is_silent_when_a_client_has_too_many)
{
	struct server server;
	struct answer answer;
	int silent[40];

	server_prepare(&server);
	server.options.limits.client_max = 20;
	publish_bytes(&server, PAGE_BYTES);
	server_start(&server);
	server_drain(&server);
	for (int i = 0; i < 40; i++) { /* answered, so that who is silent for longest is known */
		silent[i] = connect_to(&server);
		send_text(silent[i], SCRAPE);
		read_head(silent[i], &answer);
	}
	CHECK_EQ(closed(&server, CLOSE_CLIENT), 20);
	wait_connections(&server, 20);
	scrape(&server);
	CHECK_EQ(closed(&server, CLOSE_CLIENT), 21);
	wait_connections(&server, 19);
	scrape(&server); /* there is room */
	CHECK_EQ(closed(&server, CLOSE_CLIENT), 21);
	CHECK_EQ(closed(&server, CLOSE_LIMIT), 0);
	for (int i = 0; i < 40; i++)
		close(silent[i]);
	server_end(&server);
}

TEST(http_refuses_who_comes_when_all_connections_are_being_answered)
{
	struct server server;
	struct answer answer;
	int fds[4];

	server_prepare(&server);
	server.options.limits.connections_max = 4;
	publish_bytes(&server, BIG_BYTES);
	server_start(&server);
	server_drain(&server);
	for (int i = 0; i < 4; i++) {
		fds[i] = connect_to(&server);
		send_text(fds[i], SCRAPE);
		read_head(fds[i], &answer);
	}
	int late = connect_to(&server);
	wait_closed(late);
	close(late);
	CHECK_EQ(closed(&server, CLOSE_LIMIT), 1);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	wait_connections(&server, 0);
	http_stop(server.http, 0);
	server_clean(&server);
}

/* Where a thread of the server waits once it was armed. */
struct gate {
	atomic_bool armed;
	sem_t reached, opened;
};

static bool pass_gate(void *context)
{
	struct gate *gate = context;

	if (atomic_exchange(&gate->armed, false)) {
		sem_post(&gate->reached);
		sem_wait(&gate->opened);
	}
	return true; /* the page is fresh */
}

/* A server whose pages are fresh; a request waits at the gate if it is armed. */
static void gate_begin(struct gate *gate, struct server *server)
{
	gate->armed = false;
	sem_init(&gate->reached, 0, 0);
	sem_init(&gate->opened, 0, 0);
	server_prepare(server);
	cut_set_fresh(server->options.cut, pass_gate, gate);
	publish_bytes(server, 10);
	server_start(server);
}

/* A thread finds each number of requests at once, also as many as its look at events takes. */
TEST(http_answers_all_however_many_ask_while_it_is_busy)
{
	struct timeval patience = { .tv_sec = 60 };
	struct server server;
	struct answer answer;
	struct gate gate;
	int fds[ASKERS];

	gate_begin(&gate, &server);
	for (int i = 0; i < ASKERS; i++) {
		fds[i] = connect_to(&server);
		CHECK_EQ(setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)),
			 0);
		answer = ask(fds[i], "GET", "/metrics", "");
		CHECK_EQ(answer.status, 200);
		free(answer.body);
	}
	size_t bytes = strlen(answer.head) + answer.body_bytes;
	for (int count = ASKERS / 3; count <= ASKERS; count++) {
		gate.armed = true;
		send_text(fds[0], SCRAPE);
		CHECK_EQ(sem_wait(&gate.reached), 0);
		for (int i = 1; i < count; i++)
			send_text(fds[i], SCRAPE);
		sem_post(&gate.opened);
		for (int i = 0; i < count; i++)
			CHECK_EQ(recv(fds[i], answer.head, bytes, MSG_WAITALL), bytes);
	}
	for (int i = 0; i < ASKERS; i++)
		close(fds[i]);
	server_end(&server);
}

/* One for each of the two threads: the second comes while the first's thread is at the gate. */
static void connect_to_both(struct server *server, struct gate *gate, int fds[2])
{
	struct answer answer;

	fds[0] = connect_to(server);
	gate->armed = true;
	send_text(fds[0], SCRAPE);
	CHECK_EQ(sem_wait(&gate->reached), 0);
	fds[1] = connect_to(server);
	answer = ask(fds[1], "GET", "/metrics", "");
	free(answer.body);
	sem_post(&gate->opened);
	read_head(fds[0], &answer);
	read_body(fds[0], &answer);
	free(answer.body);
}

TEST(http_serves_who_waited_once_there_are_descriptors_again)
{
	struct server server;
	struct answer answer;
	struct gate gate;
	int fds[2];

	gate_begin(&gate, &server);
	connect_to_both(&server, &gate, fds);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	log_follow();
	struct rlimit limit = leave_descriptors(0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&server.address, sizeof(server.address)), 0);
	log_followed("Too many open files");
	close(fds[0]);
	fds[0] = dup(fd); /* so that what ended is to be closed by the server, too */
	send_text(fd, SCRAPE);
	read_head(fd, &answer);
	CHECK_EQ(answer.status, 200);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	log_unfollow();
	close(fd);
	close(fds[0]);
	close(fds[1]);
	server_end(&server);
}

TEST(http_drops_a_page_when_its_taker_is_cut_off)
{
	struct server server;
	struct answer answer;

	server_prepare(&server);
	server.options.limits.response_ms = 200;
	publish_bytes(&server, BIG_BYTES);
	server_start(&server);
	server_drain(&server);
	int fd = connect_to(&server);
	send_text(fd, SCRAPE);
	read_head(fd, &answer);
	publish_bytes(&server, PAGE_BYTES); /* only the response holds the big one now */
	wait_count(&server, CLOSE_RESPONSE, 1);
	wait_connections(&server, 0); /* that it is freed is the leak check's to see */
	close(fd);
	scrape(&server);
	server_end(&server);
}

/* ---- not HTTP, or hardly ---- */

/*
 * What to send, and the statuses of the answers; where it is no good request it is refused by a
 * status of 400 and more, or by closing the connection, as libmicrohttpd does it.
 */
struct replay {
	const char *bytes;
	size_t count;
	int status[3];
};
#define REPLAY(text, ...)                                                                          \
	{                                                                                          \
		text, sizeof(text) - 1,                                                            \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define H "Host: x\r\n"
#define REFUSED 0
#define ANYHOW 1 /* refused or answered, as that has no effect here */

static const struct replay corpus[] = {
	REPLAY("GET /-/healthy HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 200),
	REPLAY("GET /-/healthy HTTP/1.0\r\n\r\n", 200),
	REPLAY("HEAD /-/healthy HTTP/1.0\r\n\r\n", 200),
	REPLAY("GET /-/healthy HTTP/1.1\r\n" H "\r\nGET /metrics HTTP/1.1\r\n" H
	       "Connection: close\r\n\r\n",
	       200, 200), /* pipelined */
	REPLAY("GET /none HTTP/1.1\r\n" H "\r\nHEAD / HTTP/1.1\r\n" H "\r\nGET / HTTP/1.0\r\n\r\n",
	       404, 200, 200),
	REPLAY("POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nConnection: close\r\n\r\nabc", 405),
	REPLAY("PUT / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", 405),
	REPLAY("GET / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", REFUSED),
	REPLAY("GET / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", REFUSED),
	REPLAY("GET / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", REFUSED),
	REPLAY("GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	       REFUSED),
	REPLAY("GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nzz\r\n", REFUSED),
	REPLAY("GET / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\na",
	       REFUSED),
	REPLAY("GET http://other/-/healthy HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 404),
	REPLAY("GET * HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 404),
	REPLAY("GET /-/healthy?a=b&%00=%ff HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 200),
	REPLAY("GET /%2d/healthy HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 200),
	REPLAY("GET /metrics/../-/healthy HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 404),
	REPLAY("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", REFUSED), /* no Host */
	REPLAY("GET / HTTP/9.9\r\n" H "\r\n", REFUSED),
	REPLAY("GET / HTTP/1\r\n" H "\r\n", REFUSED),
	REPLAY("GET / FTP/1.1\r\n" H "\r\n", REFUSED),
	REPLAY("GET /\r\n\r\n", REFUSED),
	REPLAY("GET\r\n\r\n", REFUSED),
	REPLAY("\r\n\r\n\r\n\r\n", REFUSED),
	REPLAY(" GET / HTTP/1.1\r\n" H "\r\n", REFUSED),
	REPLAY("GET /\0x HTTP/1.1\r\n" H "Connection: close\r\n\r\n", ANYHOW),
	REPLAY("GET / HTTP/1.1\r\n" H "A: b\0c\r\nConnection: close\r\n\r\n", ANYHOW),
	REPLAY("GET / HTTP/1.1\r\n" H "no colon\r\nConnection: close\r\n\r\n", REFUSED),
	REPLAY("GET / HTTP/1.1\r\n" H " folded\r\nConnection: close\r\n\r\n", REFUSED),
	REPLAY("GET / HTTP/1.1\n" H "Connection: close\n\n", ANYHOW),
	REPLAY("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", REFUSED), /* a TLS hello */
	REPLAY("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
	REPLAY("GET / HTTP/1.1\r\n" H "Upgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n", 200),
	REPLAY("GET /metrics HTTP/1.1\r\n" H "Accept: ,;q=,\"\\\r\nAccept-Encoding: ;;;=\r\n"
	       "Connection: close\r\n\r\n",
	       200),
	REPLAY("GET /metrics HTTP/1.1\r\n" H "Authorization: Basic ////\r\nRange: bytes=0-1\r\n"
	       "If-None-Match: *\r\nConnection: close\r\n\r\n",
	       200),
};

/* Sends, ends its side, and reads to the end; the statuses of up to three answers. */
static void replay(const struct server *server, const char *bytes, size_t count, int status[3])
{
	static char text[1 << 17];
	size_t used = 0, answers = 0;
	ssize_t got = 1;
	int fd = connect_to(server);

	CHECK(fd >= 0);
	/* the server may have closed it already */
	if (send(fd, bytes, count, MSG_NOSIGNAL) == (ssize_t)count)
		shutdown(fd, SHUT_WR);
	while (got > 0 && used < sizeof(text) - 1) {
		got = recv(fd, text + used, sizeof(text) - 1 - used, 0);
		used += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	text[used] = '\0';
	memset(status, 0, 3 * sizeof(status[0]));
	for (const char *at = text; (at = strstr(at, "HTTP/1.1 ")) && answers < 3; at += 9)
		status[answers++] = atoi(at + 9);
}

static bool is_expected(const int expected[3], const int status[3])
{
	if (expected[0] == REFUSED)
		return !status[0] || status[0] >= 400;
	return expected[0] == ANYHOW || memcmp(expected, status, 3 * sizeof(status[0])) == 0;
}

/* Each request cut short at each byte, and with each byte made another. */
TEST_TIMEOUT(http_survives_each_of_the_corpus_torn_and_changed, 300)
{
	struct server server;
	char bytes[512];
	int status[3];

	server_prepare(&server);
	server.options.limits.request_ms = server.options.limits.idle_ms = 2;
	server_start(&server);
	server_drain(&server);
	publish_bytes(&server, 10);
	for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++) {
		CHECK(corpus[i].count < sizeof(bytes));
		for (size_t at = 0; at < corpus[i].count; at++) {
			memcpy(bytes, corpus[i].bytes, corpus[i].count);
			replay(&server, bytes, at, status);
			bytes[at] = (char)(bytes[at] ^ (1 << at % 8));
			replay(&server, bytes, corpus[i].count, status);
		}
	}
	wait_connections(&server, 0);
	server_end(&server);
}

static void check_refused(const struct server *server, const char *start, size_t fill,
			  const char *rest)
{
	size_t bytes = strlen(start) + fill + strlen(rest);
	char *request = malloc(bytes + 1);
	int status[3];

	CHECK(request);
	strcpy(request, start);
	memset(request + strlen(start), 'a', fill);
	strcpy(request + strlen(start) + fill, rest);
	replay(server, request, bytes, status);
	CHECK(!status[0] || status[0] >= 400);
	free(request);
}

TEST(http_refuses_request_lines_and_headers_that_are_too_long)
{
	static const size_t sizes[] = { 9000, 20000, 1 << 20 };
	struct server server;

	server_begin(&server);
	publish_bytes(&server, PAGE_BYTES);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		check_refused(&server, "GET /", sizes[i], " HTTP/1.1\r\n" H "\r\n");
		check_refused(&server, "GET / HTTP/1.1\r\n" H "A: ", sizes[i], "\r\n\r\n");
		check_refused(&server, "GET / HTTP/1.1\r\n" H, sizes[i], ": b\r\n\r\n");
		check_refused(&server, "", sizes[i], " / HTTP/1.1\r\n" H "\r\n");
		CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	}
	server_end(&server);
}

TEST(http_answers_each_of_a_corpus_of_odd_requests_as_it_should)
{
	struct server server;
	int status[3];

	server_prepare(&server);
	server.options.limits.request_ms = 500; /* for those that are no request at all */
	server_start(&server);
	server_drain(&server);
	publish_bytes(&server, PAGE_BYTES);
	for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++) {
		replay(&server, corpus[i].bytes, corpus[i].count, status);
		if (!is_expected(corpus[i].status, status))
			test_fail(__FILE__, __LINE__, "%d, %d, %d to: %s", status[0], status[1],
				  status[2], corpus[i].bytes);
		CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	}
	wait_connections(&server, 0);
	server_end(&server);
}
