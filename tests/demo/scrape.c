/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrape.c - the smallest HTTP client that a scrape needs, and a reader of sample lines
 *
 * HTTP/1.0, so that the body ends with the connection and is never chunked. A sample is looked up
 * by its name and its labels; the pages of the demo are small enough to walk for each one.
 */
#include "scrape.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "truth.h"

#define ANSWER_MAX ((size_t)16 << 20)

static int connect_to(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

/* Reads to the end of the connection. Returns: 0 and *answer, to be freed, or a negative errno. */
static int read_all(int fd, char **answer)
{
	size_t used = 0, size = 0;
	ssize_t got;

	*answer = NULL;
	do {
		if (size - used < 4096) {
			size = size ? 2 * size : 65536;
			char *more = size > ANSWER_MAX ? NULL : realloc(*answer, size);

			if (!more)
				return -ENOMEM;
			*answer = more;
		}
		got = recv(fd, *answer + used, size - used - 1, 0);
		if (got < 0)
			return -errno;
		used += (size_t)got;
	} while (got);
	(*answer)[used] = '\0';
	return 0;
}

static int split_answer(struct scrape *scrape, char *answer)
{
	char *body = strstr(answer, "\r\n\r\n");

	if (strncmp(answer, "HTTP/1.", 7) || strlen(answer) < 12 ||
	    strncmp(answer + 8, " 200", 4) || !body)
		return -EPROTO;
	*body = '\0';
	body += 4;
	const char *length = strcasestr(answer, "\r\nContent-Length:");
	if (length && strtoul(length + 17, NULL, 10) != strlen(body))
		return -EPROTO;
	scrape->bytes = strlen(body);
	scrape->text = strdup(body);
	return scrape->text ? 0 : -ENOMEM;
}

int scrape_get(struct scrape *scrape, int port)
{
	static const char request[] = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n"
				      "Accept: text/plain;version=0.0.4\r\n\r\n";
	uint64_t start = now_ns();
	char *answer = NULL;
	int fd = connect_to(port);

	*scrape = (struct scrape){ 0 };
	if (fd < 0)
		return fd;
	int error = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
	if (!error)
		error = read_all(fd, &answer);
	close(fd);
	if (!error)
		error = split_answer(scrape, answer);
	free(answer);
	scrape->took_ms = (double)(now_ns() - start) / 1e6;
	return error;
}

/* The value of a label inside the braces of a line, up to its closing quote; NULL: not there. */
static const char *label_value(const char *line, const char *name)
{
	size_t length = strlen(name);
	const char *end = strchr(line, '}');

	for (const char *at = strchr(line, '{'); at && at < end; at = strchr(at + 1, ',')) {
		if (!strncmp(at + 1, name, length) && !strncmp(at + 1 + length, "=\"", 2))
			return at + length + 3;
	}
	return NULL;
}

static bool label_is(const char *line, const char *name, const char *value)
{
	const char *found = label_value(line, name);

	return found && !strncmp(found, value, strlen(value)) && found[strlen(value)] == '"';
}

/* le: NAN where the sample has no such label. */
static bool line_matches(const char *line, const char *name, const char *engine, double le)
{
	size_t length = strlen(name);

	if (strncmp(line, name, length) || line[length] != '{' ||
	    !label_is(line, "engine", engine) || !label_is(line, "model_name", MODEL_NAME))
		return false;
	const char *text = label_value(line, "le");
	if (isnan(le))
		return !text;
	double bound = text ? strtod(text, NULL) : NAN;
	return !(bound < le) && !(bound > le) && !isnan(bound);
}

/* The sample in units of the family, 0 if there is none, UINT64_MAX if it is not a whole number. */
static uint64_t sample(const struct scrape *scrape, enum family_id id, const char *suffix,
		       double le)
{
	const struct family *family = &families[id];
	char name[128];

	snprintf(name, sizeof(name), "%s%s", family->name, suffix);
	for (const char *line = scrape->text; line && *line;) {
		if (line_matches(line, name, family->engine, le)) {
			uint64_t unit =
				strcmp(suffix, "") && strcmp(suffix, "_sum") ? 1 : family->unit;
			long double value =
				strtold(strchr(line, '}') + 1, NULL) * (long double)unit;
			long double whole = roundl(value);

			/* a scraped double is off by less than 1e-4 ns for a day of seconds */
			if (!(whole >= 0) || whole > 1e18L || fabsl(value - whole) > 1e-3L)
				return UINT64_MAX;
			return (uint64_t)whole;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return 0;
}

static void histogram(const struct scrape *scrape, enum family_id id, struct totals *totals)
{
	const struct family *family = &families[id];
	uint64_t below = 0;

	totals->sum[id] = sample(scrape, id, "_sum", NAN);
	totals->count[id] = sample(scrape, id, "_count", NAN);
	for (uint32_t i = 0; i <= family->bound_count; i++) {
		double le = i < family->bound_count
				    ? (double)family->bounds[i] / (double)family->unit
				    : INFINITY;
		uint64_t upto = sample(scrape, id, "_bucket", le);

		totals->bucket[id][i] = upto < below ? UINT64_MAX : upto - below;
		below = upto;
	}
	if (below != totals->count[id])
		totals->count[id] = UINT64_MAX;
}

void scrape_totals(const struct scrape *scrape, struct totals *totals)
{
	*totals = (struct totals){ 0 };
	for (int id = 0; id < FAMILY_COUNT; id++) {
		if (families[id].bound_count)
			histogram(scrape, id, totals);
		else
			totals->sum[id] = sample(scrape, id, "", NAN);
	}
}
