/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c - listening sockets: of an address, of a path, or from systemd; knows nothing of HTTP */
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define UNIX_PREFIX "unix:"
#define UNIX_MODE 0660
#define SYSTEMD_FD 3

/* ---- addresses ---- */

/* HOST:PORT, [V6]:PORT or :PORT, cut in place; an empty host is all addresses */
static int split_address(char *address, const char **host, const char **port)
{
	char *colon = strrchr(address, ':');

	if (!colon)
		return -EINVAL;
	*colon = '\0';
	*port = colon + 1;
	size_t digits = strspn(*port, "0123456789");
	if (digits == 0 || digits > 5 || (*port)[digits] || atoi(*port) > 65535)
		return -EINVAL;
	*host = address;
	if (*address != '[')
		return strchr(address, ':') ? -EINVAL : 0;
	if (colon - address < 3 || colon[-1] != ']')
		return -EINVAL;
	colon[-1] = '\0';
	*host = address + 1;
	return 0;
}

static int bind_and_listen(int fd, const struct sockaddr *address, socklen_t bytes)
{
	return bind(fd, address, bytes) == 0 && listen(fd, SOMAXCONN) == 0 ? 0 : -errno;
}

static int open_listener(const struct addrinfo *info)
{
	int on = 1, off = 0;
	int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (info->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	int rc = bind_and_listen(fd, info->ai_addr, info->ai_addrlen);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* The first of the host's addresses that can be had; a descriptor or a negative errno. */
static int listen_family(const char *host, const char *port, int family, const char **why)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
				  .ai_family = family,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	int fd = -EADDRNOTAVAIL;

	int rc = getaddrinfo(*host ? host : NULL, port, &hints, &found);
	if (rc != 0) {
		*why = rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc);
		return -EADDRNOTAVAIL;
	}
	for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
		fd = open_listener(info);
	freeaddrinfo(found);
	*why = fd < 0 ? strerror(-fd) : NULL;
	return fd;
}

static int listen_address(const char *text, const char **why)
{
	const char *host, *port;
	char address[512];

	*why = "not HOST:PORT, [IPV6]:PORT, :PORT or unix:/PATH";
	if (strlen(text) >= sizeof(address))
		return -EINVAL;
	int rc = split_address(strcpy(address, text), &host, &port);
	if (rc != 0)
		return rc;
	if (*host)
		return listen_family(host, port, AF_UNSPEC, why);
	/* one IPv6 socket takes IPv4 too; a kernel or a container may have no IPv6 */
	rc = listen_family(host, port, AF_INET6, why);
	if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL)
		rc = listen_family(host, port, AF_INET, why);
	return rc;
}

bool listen_is_local(const struct sockaddr *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	if (address->sa_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	if (address->sa_family != AF_INET6)
		return address->sa_family == AF_UNIX;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) &&
		v6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

/* Asks the socket what it listens on. */
static void describe(struct listener *listener)
{
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	const struct sockaddr_un *local = (const struct sockaddr_un *)&address;
	socklen_t bytes = sizeof(address);
	char host[128] = "?", port[16] = "?";

	getsockname(listener->fd, (struct sockaddr *)&address, &bytes);
	if (address.ss_family == AF_UNIX) {
		bool abstract = !local->sun_path[0];
		snprintf(listener->name, sizeof(listener->name), UNIX_PREFIX "%s%.*s",
			 abstract ? "@" : "",
			 (int)(bytes - offsetof(struct sockaddr_un, sun_path) - abstract),
			 local->sun_path + abstract);
		return;
	}
	getnameinfo((struct sockaddr *)&address, bytes, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(listener->name, sizeof(listener->name),
		 address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	listener->wide = !listen_is_local((const struct sockaddr *)&address);
}

/* ---- paths ---- */

/* A socket's file that nobody listens on is what an exporter left that was killed. */
static bool is_stale(const struct sockaddr_un *address)
{
	struct stat file;

	if (lstat(address->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode))
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	bool refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
		       errno == ECONNREFUSED;
	close(fd);
	return refused;
}

/* Mode 0 until it listens, so that nobody gets in by a wider one that the umask would leave. */
static int bind_path(int fd, const struct sockaddr_un *address)
{
	const struct sockaddr *generic = (const struct sockaddr *)address;

	if (fchmod(fd, 0) != 0)
		return -errno;
	int rc = bind_and_listen(fd, generic, sizeof(*address));
	if (rc == -EADDRINUSE && is_stale(address) && unlink(address->sun_path) == 0)
		rc = bind_and_listen(fd, generic, sizeof(*address));
	if (rc == 0 && chmod(address->sun_path, UNIX_MODE) != 0)
		rc = -errno;
	return rc;
}

static int listen_path(struct listener *listener, const char *path, const char **why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat file;

	*why = "the path is not absolute, or longer than a socket's may be";
	if (*path != '/' || strlen(path) >= sizeof(address.sun_path))
		return -EINVAL;
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = fd < 0 ? -errno : bind_path(fd, &address);
	if (rc == 0 && lstat(path, &file) != 0)
		rc = -errno;
	if (rc == 0 && !(listener->path = strdup(path)))
		rc = -ENOMEM;
	*why = rc ? strerror(-rc) : NULL;
	if (rc == 0) {
		listener->device = file.st_dev;
		listener->inode = file.st_ino;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

int listen_open(struct listener *listener, const char *address, const char **why)
{
	size_t prefix = strlen(UNIX_PREFIX);
	bool path = strncmp(address, UNIX_PREFIX, prefix) == 0;

	*listener = (struct listener){ .fd = -1 };
	int rc = path ? listen_path(listener, address + prefix, why) : listen_address(address, why);
	if (rc < 0)
		return rc;
	listener->fd = rc;
	describe(listener);
	return 0;
}

/* ---- systemd ---- */

/* The number in a variable of the environment, 0 if there is none. */
static long number_of(const char *name)
{
	const char *text = getenv(name);
	char *end;

	long number = text && *text ? strtol(text, &end, 10) : 0;
	return number > 0 && !*end ? number : 0;
}

static int get_option(int fd, int option)
{
	int value = -1;
	socklen_t bytes = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &bytes) == 0 ? value : -1;
}

static bool is_listening_stream(int fd)
{
	int domain = get_option(fd, SO_DOMAIN);

	return (domain == AF_INET || domain == AF_INET6 || domain == AF_UNIX) &&
	       get_option(fd, SO_TYPE) == SOCK_STREAM && get_option(fd, SO_ACCEPTCONN) == 1;
}

static int take_over(struct listener *listener, int fd)
{
	*listener = (struct listener){ .fd = fd };
	int flags = fcntl(fd, F_GETFL);
	if (!is_listening_stream(fd) || flags < 0)
		return -ENOTSOCK;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return -errno;
	describe(listener);
	return 0;
}

int listen_systemd(struct listener *listeners, size_t max, const char **why)
{
	long pid = number_of("LISTEN_PID"), count = number_of("LISTEN_FDS");

	*why = "systemd gave no socket: LISTEN_PID and LISTEN_FDS do not say so; is there a "
	       ".socket "
	       "unit?";
	if (pid != (long)getpid() || count == 0)
		return -ENOTSOCK;
	*why = "systemd gave more sockets than there may be addresses";
	if ((size_t)count > max)
		return -E2BIG;
	/* as sd_listen_fds(3) does with its argument 1: children must not take them for theirs */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	*why = "systemd gave a descriptor that is not a listening stream socket; use ListenStream= "
	       "and Accept=no";
	for (long i = 0; i < count; i++) {
		int rc = take_over(&listeners[i], SYSTEMD_FD + (int)i);
		if (rc != 0)
			return rc;
	}
	return (int)count;
}

void listen_close(struct listener *listener)
{
	struct stat file;

	if (listener->fd >= 0)
		close(listener->fd);
	listener->fd = -1;
	if (!listener->path)
		return;
	if (lstat(listener->path, &file) == 0 && file.st_dev == listener->device &&
	    file.st_ino == listener->inode)
		unlink(listener->path);
	free(listener->path);
	listener->path = NULL;
}
