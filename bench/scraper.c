/* SPDX-License-Identifier: Apache-2.0 */
/* scraper.c - see scraper.h */
#include "scraper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define READ_BYTES (1u << 20)
#define PATIENCE_S 60

const char *const format_name[FORMATS] = { "text", "openmetrics", "protobuf" };
const char *const format_type[FORMATS] = { "text/plain", "application/openmetrics-text",
					   "application/vnd.google.protobuf" };
static const char *const accept_header[FORMATS] = {
	"text/plain;version=0.0.4",
	"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
	"application/"
	"vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
	"text/plain;version=0.0.4;q=0.5",
};

int scraper_connect(uint16_t port, uint32_t source)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(source) };
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		bench_fail("open a socket", errno);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (source && bind(fd, (const struct sockaddr *)&from, sizeof(from)) != 0)
		bench_fail("bind to an address on loopback", errno);
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

void scraper_close(struct scraper *scraper)
{
	if (scraper->fd)
		close(scraper->fd);
	free(scraper->buffer);
	scraper->fd = 0;
	scraper->buffer = NULL;
}

static bool connected(struct scraper *scraper)
{
	if (scraper->fd)
		return true;
	int fd = scraper_connect(scraper->port, 0);
	scraper->fd = fd < 0 ? 0 : fd;
	return fd >= 0;
}

static void disconnect(struct scraper *scraper)
{
	if (scraper->fd)
		close(scraper->fd);
	scraper->fd = 0;
}

static bool write_request(struct scraper *scraper)
{
	char text[512];
	int bytes = snprintf(text, sizeof(text),
			     "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n%s\r\n",
			     accept_header[scraper->format],
			     scraper->gzip ? "Accept-Encoding: gzip\r\n" : "");

	return send(scraper->fd, text, (size_t)bytes, MSG_NOSIGNAL) == bytes;
}

/* The value of a header in the head, which ends with an empty line; "" if there is none. */
static void header(const char *head, const char *name, char *value, size_t room)
{
	const char *line = strcasestr(head, name);

	*value = '\0';
	if (line)
		snprintf(value, room, "%.*s", (int)strcspn(line + strlen(name), "\r"),
			 line + strlen(name));
}

/* Reads until the head is there; how many bytes of head and body came, 0: none, -1: not a head. */
static ssize_t read_head(struct scraper *scraper, char **body)
{
	size_t used = 0;

	do {
		ssize_t bytes = recv(scraper->fd, scraper->buffer + used, READ_BYTES - used, 0);

		if (bytes <= 0)
			return used ? -1 : 0;
		used += (size_t)bytes;
		scraper->buffer[used] = '\0';
		*body = strstr(scraper->buffer, "\r\n\r\n");
	} while (!*body && used < READ_BYTES);
	if (!*body)
		return -1;
	(*body)[2] = '\0'; /* the head is a string now */
	*body += 4;
	return (ssize_t)used;
}

static void judge_head(const struct scraper *scraper, struct answer *answer)
{
	const char *type = format_type[scraper->format];
	char value[32];

	if (sscanf(scraper->buffer, "HTTP/1.%*d %d", &answer->status) != 1)
		answer->status = 0;
	header(scraper->buffer, "\r\nContent-Type: ", answer->type, sizeof(answer->type));
	header(scraper->buffer, "\r\nContent-Encoding: ", value, sizeof(value));
	answer->asked = answer->status == 200 && !strncmp(answer->type, type, strlen(type)) &&
			!strcmp(value, scraper->gzip ? "gzip" : "");
	header(scraper->buffer, "\r\nContent-Length: ", value, sizeof(value));
	answer->bytes = strtoull(value, NULL, 10);
}

/* 1: a whole answer; 0: the connection ended before its first byte; -1: anything else */
static int read_answer(struct scraper *scraper, struct answer *answer, bool keep)
{
	char *body = NULL;
	ssize_t came = read_head(scraper, &body);

	if (came <= 0)
		return (int)came;
	judge_head(scraper, answer);
	size_t got = (size_t)came - (size_t)(body - scraper->buffer);
	if (keep) {
		answer->body = calloc(1, answer->bytes + 1);
		if (!answer->body || got > answer->bytes)
			bench_fail("keep an answer", ENOMEM);
		memcpy(answer->body, body, got);
	}
	while (got < answer->bytes) {
		size_t left = answer->bytes - got;
		ssize_t bytes = recv(scraper->fd, keep ? answer->body + got : scraper->buffer,
				     left < READ_BYTES ? left : READ_BYTES, 0);

		if (bytes <= 0)
			return -1;
		got += (size_t)bytes;
	}
	return 1;
}

bool scraper_get(struct scraper *scraper, struct answer *answer, bool keep)
{
	if (!scraper->buffer)
		scraper->buffer = bench_allocate(READ_BYTES + 1);
	if (scraper->reconnect)
		disconnect(scraper);
	/* a connection that was closed since the last answer is noticed by using it */
	for (int tries = 0; tries < 2; tries++) {
		uint64_t began_ns = bench_now_ns();

		*answer = (struct answer){ 0 };
		if (!connected(scraper))
			return false;
		if (!scraper->reconnect)
			began_ns = bench_now_ns();
		int rc = write_request(scraper) ? read_answer(scraper, answer, keep) : 0;
		answer->ns = bench_now_ns() - began_ns;
		if (rc > 0)
			return true;
		disconnect(scraper);
		if (rc < 0)
			break;
	}
	free(answer->body);
	answer->body = NULL;
	return false;
}

char *scraper_page(struct scraper *scraper, size_t *bytes)
{
	struct answer answer;

	if (!scraper_get(scraper, &answer, true) || answer.status != 200)
		bench_fail("scrape a page", EPROTO);
	if (bytes)
		*bytes = answer.bytes;
	return answer.body;
}
