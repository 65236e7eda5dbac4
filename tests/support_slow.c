/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_slow.c - a page that fits into no socket buffer, and a client that leaves it there
 *
 * A histogram prints its labels once a bucket: 40 series with long label values and 64 bounds are
 * beyond the largest send buffer that the kernel gives by default. HTTP/1.1 for keep-alive.
 */
#include "support_slow.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

#define SERIES 40
#define VALUE_BYTES 4000
#define PAGE_MIN ((size_t)8 << 20)

struct kvtap *ballast_open(void)
{
	static const char *const label[] = { "weight" };
	double bounds[64];
	struct kvtap *tap;
	uint32_t family, series;
	char value[VALUE_BYTES + 1];
	const char *const values[] = { value };

	for (int i = 0; i < 64; i++)
		bounds[i] = i;
	CHECK_EQ(kvtap_open(&tap, &(struct kvtap_options){ .engine = "ballast" }), 0);
	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){ .name = "ballast",
							      .metric = KVTAP_HISTOGRAM,
							      .label_names = label,
							      .label_count = 1,
							      .bounds = bounds,
							      .bound_count = 64 }),
		 0);
	for (int i = 0; i < SERIES; i++) {
		memset(value, 'a' + i / 26, VALUE_BYTES - 1);
		value[VALUE_BYTES - 1] = (char)('a' + i % 26);
		value[VALUE_BYTES] = '\0';
		CHECK_EQ(kvtap_family_series(tap, &series, family, values, 1), 0);
	}
	return tap;
}

static int connect_to(const struct exporter *exporter, int receive_bytes)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)exporter->port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	if (receive_bytes)
		CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes,
				    sizeof(receive_bytes)),
			 0);
	CHECK_EQ(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void ask(int fd, const char *path, const char *connection)
{
	char text[256];
	int bytes = snprintf(text, sizeof(text),
			     "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n", path,
			     connection);

	CHECK_EQ(send(fd, text, (size_t)bytes, MSG_NOSIGNAL), bytes);
}

/* One whole response, by its Content-Length. Returns: the body. */
static char *answer(int fd)
{
	char head[2048], *body;
	size_t used = 0, length;

	do {
		CHECK(used < sizeof(head) - 1);
		CHECK_EQ(recv(fd, head + used, 1, 0), 1);
		head[++used] = '\0';
	} while (!strstr(head, "\r\n\r\n"));
	CHECK(!strncmp(head, "HTTP/1.1 200 ", 13));
	const char *field = strcasestr(head, "\r\nContent-Length:");
	CHECK(field);
	length = strtoul(field + 17, NULL, 10);
	body = malloc(length + 1);
	CHECK(body);
	for (used = 0; used < length;) {
		ssize_t bytes = recv(fd, body + used, length - used, 0);

		CHECK(bytes > 0);
		used += (size_t)bytes;
	}
	body[length] = '\0';
	return body;
}

void slow_begin(struct slow *slow, const struct exporter *exporter)
{
	char first;

	slow->waiting = connect_to(exporter, 0);
	ask(slow->waiting, "/-/healthy", "keep-alive");
	free(answer(slow->waiting));
	slow->reading = connect_to(exporter, 4096);
	ask(slow->reading, "/metrics", "keep-alive");
	CHECK_EQ(recv(slow->reading, &first, 1, MSG_PEEK), 1);
}

char *slow_last(struct slow *slow)
{
	ask(slow->waiting, "/metrics", "close");
	char *body = answer(slow->waiting);

	close(slow->waiting);
	return body;
}

char *slow_end(struct slow *slow)
{
	char *body = answer(slow->reading);

	CHECK(strlen(body) > PAGE_MIN);
	close(slow->reading);
	return body;
}
