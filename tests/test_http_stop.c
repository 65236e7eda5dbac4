/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_stop.c - the end of a server: what is begun is answered, who comes then is refused */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support_http.h"
#include "support_load.h"
#include "test.h"

#define ROUNDS 100
#define CLIENTS 3
#define YIELDS 20

static void *stop_server(void *arg)
{
	struct server *server = arg;

	http_stop(server->http, SERVER_GRACE_MS);
	return NULL;
}

TEST(http_stop_sends_a_big_page_to_its_end_when_the_client_reads_slowly)
{
	struct server server;
	struct answer answer;
	pthread_t stopper;

	server_begin(&server);
	publish_bytes(&server, BIG_BYTES);
	int fd = connect_to(&server), other;
	send_text(fd, SCRAPE);
	read_head(fd, &answer);
	publish_bytes(&server, 10); /* the response holds the only reference to its page */
	CHECK_EQ(pthread_create(&stopper, NULL, stop_server, &server), 0);
	/* once connections are refused, the stop has begun; nothing of the body was read until now */
	while ((other = connect_to(&server)) >= 0)
		close(other);
	CHECK(errno == ECONNREFUSED || errno == ECONNRESET); /* reset: was not accepted yet */
	CHECK_EQ(answer.body_bytes, BIG_BYTES);
	read_body(fd, &answer);
	CHECK(is_published(answer.body, answer.body_bytes));
	pthread_join(stopper, NULL);
	free(answer.body);
	close(fd);
	server_clean(&server);
}

TEST(http_stop_ends_when_a_client_never_reads)
{
	struct server server;
	struct answer answer;
	char byte;

	server_begin(&server);
	publish_bytes(&server, BIG_BYTES);
	int fd = connect_to(&server), idle = connect_to(&server);
	send_text(fd, SCRAPE);
	read_head(fd, &answer);
	http_stop(server.http, 50);
	CHECK(recv(idle, &byte, 1, 0) <= 0);
	close(fd);
	close(idle);
	server_clean(&server);
}

struct visitors {
	const struct server *server;
	atomic_int visits;
};

/* Comes and goes until nobody listens any more. */
static void *come_and_go(void *arg)
{
	struct visitors *visitors = arg;
	int fd;

	while ((fd = connect_to(visitors->server)) >= 0) {
		close(fd);
		visitors->visits++;
	}
	return NULL;
}

#if !LOAD_SANITIZED
static bool is_listening(int fd)
{
	int value = 0;
	socklen_t bytes = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &bytes) == 0 && value;
}

/* In the library's place: others get time to do the same before a listening socket is taken out. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	for (int i = 0; operation == EPOLL_CTL_DEL && is_listening(fd) && i < YIELDS; i++)
		sched_yield();
	return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}
#endif

/* Connections that end keep the threads awake that are told to accept no more. */
TEST(http_stop_is_clean_while_connections_come_and_go)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct server server;
		struct visitors visitors = { .server = &server };
		pthread_t clients[CLIENTS];

		server_prepare(&server);
		server_start(&server);
		for (int i = 0; i < CLIENTS; i++)
			CHECK_EQ(pthread_create(&clients[i], NULL, come_and_go, &visitors), 0);
		while (visitors.visits < 10 * CLIENTS)
			sched_yield();
		http_stop(server.http, NO_GRACE_MS);
		for (int i = 0; i < CLIENTS; i++)
			pthread_join(clients[i], NULL);
		server_clean(&server);
	}
}
