/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - a daemon of libmicrohttpd and the one thread that touches it; knows no requests */
#ifndef KVTAP_EXPORTER_LOOP_H
#define KVTAP_EXPORTER_LOOP_H

#include <microhttpd.h>
#include <stdbool.h>

struct loop;

/**
 * loop_start - accept and serve from now on
 * @loop:      owned by the caller
 * @make:      starts the daemon, with MHD_USE_EPOLL and no thread of its own, on a listening socket
 *             of its own, fd; called once with context and the loop, which its callbacks may get
 * @listen_fd: is duplicated
 *
 * Returns: 0 or a negative errno.
 */
int loop_start(struct loop **loop,
	       struct MHD_Daemon *(*make)(void *context, struct loop *loop, int fd), void *context,
	       int listen_fd);

/* loop_context - what loop_start() was given */
void *loop_context(const struct loop *loop);

/* loop_resume - MHD_resume_connection() for one of its connections, which stays until the return */
void loop_resume(struct loop *loop, struct MHD_Connection *connection);

/* loop_retire - accept no more from the thread's next turn on; it ends with its last connection */
void loop_retire(struct loop *loop);
/* loop_has_ended - after loop_retire(): there is no connection left */
bool loop_has_ended(const struct loop *loop);

/* loop_stop - end the thread and all connections; none of them may be suspended */
void loop_stop(struct loop *loop);

#endif
