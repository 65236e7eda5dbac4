/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outlet.c - lines to a descriptor that may be stuck, closed or shared
 *
 * O_NONBLOCK belongs to the open file, which a shell or stderr may share, so a pipe or terminal is
 * opened once more, through /proc, and a socket is written with MSG_DONTWAIT. Where that can't be, a
 * write may wait, but only begins when the descriptor is ready.
 */
#include "outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"

#define PATIENCE_MS 100

void outlet_open(struct outlet *outlet, int fd)
{
	struct stat status;
	char path[32];
	int own = -1;

	if (fstat(fd, &status))
		status.st_mode = 0;
	if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	*outlet = (struct outlet){ .fd = own < 0 ? fd : own,
				   .owned = own >= 0,
				   .socket = S_ISSOCK(status.st_mode) };
}

void outlet_close(struct outlet *outlet)
{
	if (outlet->owned)
		close(outlet->fd);
}

static uint64_t left_ns(const struct outlet *outlet)
{
	uint64_t now_ns = clock_ns();

	return outlet->deadline_ns > now_ns ? outlet->deadline_ns - now_ns : 0;
}

/* False: it isn't ready in time. */
static bool await(struct outlet *outlet)
{
	struct pollfd ready = { .fd = outlet->fd, .events = POLLOUT };

	outlet->stuck = poll(&ready, 1, (int)(left_ns(outlet) / CLOCK_MS)) != 1;
	return !outlet->stuck;
}

void outlet_begin(struct outlet *outlet)
{
	outlet->deadline_ns = clock_ns();
	if (!outlet->stuck || await(outlet)) /* who was waited for in vain isn't again */
		outlet->deadline_ns += PATIENCE_MS * CLOCK_MS;
}

/* Returns: how much was taken of what must be. */
static size_t put(struct outlet *outlet, const char *data, size_t bytes)
{
	size_t done = 0;

	while (done < bytes && await(outlet)) {
		ssize_t count = outlet->socket ? send(outlet->fd, data + done, bytes - done,
						      MSG_DONTWAIT | MSG_NOSIGNAL)
					       : write(outlet->fd, data + done, bytes - done);

		/* one that is ready and still takes nothing must not keep us here */
		if (count < 0 && errno != EINTR && (errno != EAGAIN || !left_ns(outlet)))
			break;
		done += count > 0 ? (size_t)count : 0;
	}
	return done;
}

void outlet_write(struct outlet *outlet, const char *line, size_t bytes)
{
	if (outlet->torn && put(outlet, "\n", 1) == 1)
		outlet->torn = false;
	size_t done = outlet->torn ? 0 : put(outlet, line, bytes);

	outlet->torn |= done && done < bytes;
	outlet->lost += done < bytes;
}
