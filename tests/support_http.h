/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_http.h - an HTTP server in the test's process, and a client that reads answers raw
 *
 * The server listens on a free port of 127.0.0.1, which it tells in its log. A thread answers cuts,
 * as the drain does, and pages are published when the test says so. What fails here fails the test.
 */
#ifndef KVTAP_TESTS_SUPPORT_HTTP_H
#define KVTAP_TESTS_SUPPORT_HTTP_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

#include "../exporter/http.h"

#define SERVER_GRACE_MS 30000
#define NO_GRACE_MS 0
#define BIG_BYTES ((size_t)24 << 20) /* a page of more than the sockets' buffers hold */

struct server {
	struct http *http;
	struct http_options options; /* may be changed between prepare and start */
	struct sockaddr_in address;
	pthread_t drain;
	atomic_bool stop;
	atomic_int passes;
	/* called in each pass, before it is answered, unless NULL */
	void (*pass)(struct server *server);
	bool has_drain;
};

/* server_prepare - options with which all waits are longer than a test may take */
void server_prepare(struct server *server);
/* server_try - start on addresses (NULL-terminated) without a drain; Returns: what it logged, static */
const char *server_try(struct server *server, const char *const *addresses, int *rc);
/* server_start - on a free port of 127.0.0.1; Returns: what it logged, static */
const char *server_start(struct server *server);
/* server_drain - start a thread that answers cuts */
void server_drain(struct server *server);
/* server_begin - prepare, start and drain */
void server_begin(struct server *server);
/* server_clean - what prepare made, when http was stopped; ends the drain */
void server_clean(struct server *server);
/* server_end - stop and clean */
void server_end(struct server *server);

/* log_capture, log_captured - what goes to stderr between the two; static, NUL-terminated */
void log_capture(void);
const char *log_captured(void);
/* log_follow, log_unfollow - between them log_followed() waits for a text in what goes to stderr */
void log_follow(void);
void log_followed(const char *text);
void log_unfollow(void);
/* leave_descriptors - no more than so many can be opened; Returns: the limit there was */
struct rlimit leave_descriptors(int count);
/* port_after - the number behind this text in a log */
int port_after(const char *logged, const char *text);

/* publish_bytes - bytes that tell their places, as text; is_published: are they those? */
void publish_bytes(struct server *server, size_t bytes);
bool is_published(const char *data, size_t bytes);
/* publish_text - a text of one's own as a page of any format and encoding */
void publish_text(struct server *server, enum page_format format, enum page_encoding encoding,
		  const char *text);

/* connect_to - -1: refused, see errno */
int connect_to(const struct server *server);
#define SCRAPE "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
void send_text(int fd, const char *text);

struct answer {
	char head[4096];
	int status;
	size_t body_bytes;
	char *body; /* to be freed; NULL: not read */
};

/* read_head - byte by byte, so that nothing of the next answer is taken */
void read_head(int fd, struct answer *answer);
void read_body(int fd, struct answer *answer);
/* ask - one request with more headers ("A: b\r\n") on this connection; of HEAD no body is read */
struct answer ask(int fd, const char *method, const char *path, const char *headers);
/* ask_status - one request on a connection of its own */
int ask_status(const struct server *server, const char *method, const char *path);
/* wait_closed - until the other end has closed it, whatever it sends before */
void wait_closed(int fd);

#endif
