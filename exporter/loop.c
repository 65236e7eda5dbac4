/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - a daemon of libmicrohttpd and the one thread that touches it; knows no requests
 *
 * libmicrohttpd has threads of its own to offer. Those of 0.9.75 have two faults: told by another
 * thread to accept no more (MHD_quiesce_daemon()), one that is awake may do the same at that
 * moment, and the process is aborted; and one that finds exactly as many events as it takes at
 * once (128) waits for more before it handles them. So the daemon is run from here, where all that
 * is done to it is done by one thread, and its looks at events never wait.
 */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum order { ORDER_SERVE, ORDER_RETIRE, ORDER_STOP };

struct loop {
	void *context;
	struct MHD_Daemon *daemon; /* the thread's alone, but for MHD_resume_connection() */
	int fd;			   /* what it listens on */
	int event_fd;		   /* there is an order, or a connection was resumed */
	pthread_t thread;
	_Atomic enum order order; /* release in command(), acquire by the thread */
	atomic_bool ended;	  /* release by the thread, acquire in loop_has_ended() */
};

/* ---- thread ---- */

/*
 * What libmicrohttpd has to do is told by its epoll set or its time-out, but for two things: who
 * was resumed, which event_fd tells, cleared before MHD_run() looks so that none is overlooked; and
 * what run_daemon() says.
 */
static void wait_for_events(struct loop *loop, int epoll_fd)
{
	struct pollfd polled[] = { { .fd = epoll_fd, .events = POLLIN },
				   { .fd = loop->event_fd, .events = POLLIN } };
	MHD_UNSIGNED_LONG_LONG ms;
	eventfd_t ignored;
	int timeout_ms = -1;

	if (MHD_get_timeout(loop->daemon, &ms) == MHD_YES)
		timeout_ms = ms < INT_MAX ? (int)ms : INT_MAX;
	if (poll(polled, 2, timeout_ms) > 0 && polled[1].revents)
		eventfd_read(loop->event_fd, &ignored);
}

static unsigned count_connections(struct loop *loop)
{
	return MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
		->num_connections;
}

/* Where descriptors ran out, a connection's end lets the daemon listen again, in its next run. */
static void run_daemon(struct loop *loop)
{
	unsigned before;

	do {
		before = count_connections(loop);
		MHD_run(loop->daemon);
	} while (count_connections(loop) < before);
}

static void *run(void *arg)
{
	struct loop *loop = arg;
	int epoll_fd = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	enum order order, last = ORDER_SERVE;

	do {
		wait_for_events(loop, epoll_fd);
		order = atomic_load_explicit(&loop->order, memory_order_acquire);
		if (last == ORDER_SERVE && order != ORDER_SERVE)
			MHD_quiesce_daemon(loop->daemon);
		last = order;
		if (order != ORDER_STOP)
			run_daemon(loop);
	} while (order == ORDER_SERVE || (order == ORDER_RETIRE && count_connections(loop)));
	MHD_stop_daemon(loop->daemon);
	atomic_store_explicit(&loop->ended, true, memory_order_release);
	return NULL;
}

/* ---- begin and end ---- */

static void close_all(struct loop *loop)
{
	if (loop->fd >= 0)
		close(loop->fd);
	if (loop->event_fd >= 0)
		close(loop->event_fd);
	free(loop);
}

static bool is_same_file(int fd, int other_fd)
{
	struct stat file, other;

	return fstat(fd, &file) == 0 && fstat(other_fd, &other) == 0 &&
	       file.st_dev == other.st_dev && file.st_ino == other.st_ino;
}

static int make_daemon(struct loop *loop,
		       struct MHD_Daemon *(*make)(void *context, struct loop *loop, int fd),
		       int listen_fd)
{
	errno = 0;
	loop->daemon = make(loop->context, loop, loop->fd);
	if (loop->daemon)
		return 0;
	int rc = errno ? -errno : -EIO;
	/* libmicrohttpd closes it when some things fail, and leaves it open when others do */
	if (!is_same_file(loop->fd, listen_fd))
		loop->fd = -1;
	return rc;
}

int loop_start(struct loop **loop,
	       struct MHD_Daemon *(*make)(void *context, struct loop *loop, int fd), void *context,
	       int listen_fd)
{
	struct loop *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->context = context;
	made->event_fd = eventfd(0, EFD_CLOEXEC);
	made->fd = made->event_fd < 0 ? -1 : fcntl(listen_fd, F_DUPFD_CLOEXEC, 0);
	int rc = made->fd < 0 ? -errno : make_daemon(made, make, listen_fd);
	if (rc == 0) {
		rc = -pthread_create(&made->thread, NULL, run, made);
		if (rc != 0) {
			MHD_quiesce_daemon(made->daemon);
			MHD_stop_daemon(made->daemon);
		}
	}
	if (rc != 0) {
		close_all(made);
		return rc;
	}
	*loop = made;
	return 0;
}

void *loop_context(const struct loop *loop)
{
	return loop->context;
}

static void command(struct loop *loop, enum order order)
{
	atomic_store_explicit(&loop->order, order, memory_order_release);
	eventfd_write(loop->event_fd, 1);
}

void loop_resume(struct loop *loop, struct MHD_Connection *connection)
{
	MHD_resume_connection(connection);
	eventfd_write(loop->event_fd, 1);
}

void loop_retire(struct loop *loop)
{
	command(loop, ORDER_RETIRE);
}

bool loop_has_ended(const struct loop *loop)
{
	return atomic_load_explicit(&loop->ended, memory_order_acquire);
}

void loop_stop(struct loop *loop)
{
	command(loop, ORDER_STOP);
	pthread_join(loop->thread, NULL);
	close_all(loop);
}
