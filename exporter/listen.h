/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h - listening sockets: of an address, of a path, or from systemd; knows nothing of HTTP */
#ifndef KVTAP_EXPORTER_LISTEN_H
#define KVTAP_EXPORTER_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

struct listener {
	int fd;
	char name[160]; /* what it really listens on: 127.0.0.1:18827, [::1]:1, unix:/run/x */
	bool wide;	/* other machines may reach it */
	char *path;	/* of a Unix socket that is removed at the end, else NULL */
	dev_t device;	/* of that file */
	ino_t inode;
};

/**
 * listen_open - listen on HOST:PORT, [V6]:PORT, :PORT (all addresses) or unix:/path
 * @why: in words, when it fails; static or of strerror(3)
 *
 * A socket's file gets mode 0660. One that is there already is replaced if nobody listens on it.
 * Returns: 0 or a negative errno.
 */
int listen_open(struct listener *listener, const char *address, const char **why);

/**
 * listen_systemd - take over the sockets that systemd gave (sd_listen_fds(3))
 * @listeners: room for max of them
 *
 * Returns: how many there are, at least 1, or a negative errno with why.
 */
int listen_systemd(struct listener *listeners, size_t max, const char **why);

/* listen_close - and remove the file that listen_open() made, if it is still that one */
void listen_close(struct listener *listener);

/* listen_is_local - an address that only this machine reaches: loopback, or of a Unix socket */
bool listen_is_local(const struct sockaddr *address);

#endif
