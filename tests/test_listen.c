/* SPDX-License-Identifier: Apache-2.0 */
/* test_listen.c - sockets of paths and of systemd, and several of them served at once */
#include "../exporter/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_http.h"
#include "test.h"

static char address[128]; /* unix:... in the test's folder */

static const char *path_of(void)
{
	snprintf(address, sizeof(address), "unix:%s/socket", test_folder());
	return address + strlen("unix:");
}

static int connect_path(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int ask_fd(int fd)
{
	CHECK(fd >= 0);
	struct answer answer = ask(fd, "GET", "/-/healthy", "");
	close(fd);
	free(answer.body);
	return answer.status;
}

/* ---- paths ---- */

TEST(listen_path_is_for_owner_and_group_and_goes_with_the_listener)
{
	struct listener listener;
	struct stat file;
	const char *why;

	const char *path = path_of();
	umask(0);
	CHECK_EQ(listen_open(&listener, address, &why), 0);
	CHECK_STR(listener.name, address);
	CHECK(!listener.wide);
	CHECK_EQ(stat(path, &file), 0);
	CHECK_EQ(file.st_mode & 07777, 0660);
	listen_close(&listener);
	CHECK(stat(path, &file) != 0 && errno == ENOENT);
}

TEST(listen_path_replaces_a_socket_that_nobody_listens_on)
{
	struct listener listener, again;
	const char *why;

	const char *path = path_of();
	CHECK_EQ(listen_open(&listener, address, &why), 0);
	CHECK_EQ(listen_open(&again, address, &why), -EADDRINUSE);
	close(listener.fd); /* as by SIGKILL: the file stays */
	listener.fd = -1;
	CHECK_EQ(listen_open(&again, address, &why), 0);
	listen_close(&listener); /* it is not that one's any more */
	int fd = connect_path(path);
	CHECK(fd >= 0);
	close(fd);
	listen_close(&again);
}

TEST(listen_path_leaves_what_is_no_socket)
{
	struct listener listener;
	const char *why;

	const char *path = path_of();
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(listen_open(&listener, address, &why), -EADDRINUSE);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(listen_open(&listener, "unix:relative", &why), -EINVAL);
	CHECK(strstr(why, "absolute"));
	CHECK_EQ(listen_open(&listener, "unix:/no/such/folder/socket", &why), -ENOENT);
}

TEST(listen_several_addresses_serves_them_all)
{
	struct server server;
	int rc;

	const char *path = path_of();
	server_prepare(&server);
	const char *logged =
		server_try(&server, (const char *[]){ "127.0.0.1:0", address, "127.0.0.1:0", NULL },
			   &rc);
	CHECK_EQ(rc, 0);
	const char *first = strstr(logged, "address=127.0.0.1:");
	CHECK(first && strstr(logged, address));
	const char *last = strstr(first + 1, "address=127.0.0.1:");
	CHECK(last && !strstr(logged, "level=warn"));
	int ports[] = { port_after(first, "127.0.0.1:"), port_after(last, "127.0.0.1:") };
	for (int i = 0; i < 2; i++) {
		server.address = (struct sockaddr_in){ .sin_family = AF_INET,
						       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
						       .sin_port = htons((uint16_t)ports[i]) };
		CHECK_EQ(ask_fd(connect_to(&server)), 200);
	}
	CHECK_EQ(ask_fd(connect_path(path)), 200);
	server_end(&server);
	CHECK(access(path, F_OK) != 0);
}

/* ---- systemd ---- */

/* Puts these descriptors at 3 and up, and says so as systemd does, with this pid. */
static void give(const int *fds, int count, pid_t pid)
{
	char text[16];
	int copies[4];

	CHECK(count <= 4);
	for (int i = 0; i < count; i++)
		copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < count; i++) {
		close(fds[i]);
		CHECK_EQ(dup2(copies[i], 3 + i), 3 + i);
		close(copies[i]);
	}
	snprintf(text, sizeof(text), "%d", (int)pid);
	CHECK_EQ(setenv("LISTEN_PID", text, 1), 0);
	snprintf(text, sizeof(text), "%d", count);
	CHECK_EQ(setenv("LISTEN_FDS", text, 1), 0);
}

static int open_listener(uint16_t *port)
{
	struct sockaddr_in name = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	CHECK_EQ(listen(fd, 10), 0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)&name, &bytes), 0);
	*port = ntohs(name.sin_port);
	return fd;
}

/* In a process whose descriptors from 3 on are free; true if check() was. */
static bool in_child(bool (*check)(void))
{
	int status;

	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		closefrom(3);
		_exit(check() ? 0 : 1);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool serves_systemd(void)
{
	struct server server;
	uint16_t ports[2];
	int rc, given[2];

	for (int i = 0; i < 2; i++)
		given[i] = open_listener(&ports[i]);
	int witness = fcntl(given[0], F_DUPFD_CLOEXEC, 50); /* systemd keeps one, too */
	give(given, 2, getpid());
	server_prepare(&server);
	server.options.systemd_socket = true;
	server_try(&server, (const char *[]){ NULL }, &rc);
	CHECK_EQ(rc, 0);
	for (int i = 0; i < 2; i++) {
		server.address = (struct sockaddr_in){ .sin_family = AF_INET,
						       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
						       .sin_port = htons(ports[i]) };
		CHECK_EQ(ask_fd(connect_to(&server)), 200);
	}
	CHECK(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID"));
	server_end(&server);
	/* whoever comes now waits for the next start: systemd's socket listens on */
	server.address.sin_port = htons(ports[0]);
	int fd = connect_to(&server);
	return fd >= 0 && witness >= 0;
}

TEST(listen_systemd_serves_the_sockets_that_it_gave_and_leaves_them_open)
{
	CHECK(in_child(serves_systemd));
}

static bool refuses_systemd(void)
{
	struct listener listeners[2];
	uint16_t port;
	const char *why;

	unsetenv("LISTEN_FDS");
	CHECK_EQ(listen_systemd(listeners, 2, &why), -ENOTSOCK);
	CHECK(strstr(why, "gave no socket"));
	give((int[]){ open_listener(&port) }, 1, getppid());
	CHECK_EQ(listen_systemd(listeners, 2, &why), -ENOTSOCK); /* meant for another */
	give((int[]){ open("/dev/null", O_RDONLY) }, 1, getpid());
	CHECK_EQ(listen_systemd(listeners, 2, &why), -ENOTSOCK);
	CHECK(strstr(why, "not a listening stream socket"));
	give((int[]){ open_listener(&port), open_listener(&port), open_listener(&port) }, 3,
	     getpid());
	CHECK_EQ(listen_systemd(listeners, 2, &why), -E2BIG);
	return true;
}

TEST(listen_systemd_refuses_what_is_not_meant_for_it)
{
	CHECK(in_child(refuses_systemd));
}
