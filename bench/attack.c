/* SPDX-License-Identifier: Apache-2.0 */
/* attack.c - see attack.h */
#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scraper.h"

#define SOURCE 0x7f000002u /* 127.0.0.2 */
#define BYTE_NS 1000000000 /* one byte a second */
#define LOOK_NS 500000000
#define WINDOW_BYTES 4096

const char *const attack_name[ATTACK_KINDS] = { "read_a_byte_a_second", "send_a_byte_a_second",
						"silent" };
const uint32_t attack_clients[ATTACK_KINDS] = { 100, 100, 1000 };

static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct attacker {
	enum attack_kind kind;
	int fd; /* -1: was cut off */
	uint64_t since_ns;
	uint32_t sent;
	uint16_t port; /* its own */
};

static void begin(struct attack *attack, enum attack_kind kind, const struct server *server)
{
	struct attacker *attacker = &attack->attacker[attack->attackers];
	struct sockaddr_in own = { 0 };
	socklen_t bytes = sizeof(own);
	int window = WINDOW_BYTES;

	*attacker = (struct attacker){ .kind = kind,
				       .fd = scraper_connect(server->port, SOURCE),
				       .since_ns = bench_now_ns() };
	if (attacker->fd < 0) {
		attack->refused++;
		return;
	}
	getsockname(attacker->fd, (struct sockaddr *)&own, &bytes);
	attacker->port = ntohs(own.sin_port);
	if (kind == ATTACK_READ) {
		setsockopt(attacker->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
		send(attacker->fd, request, strlen(request), MSG_NOSIGNAL);
	}
	attack->left[kind]++;
	attack->attackers++;
}

void attack_begin(struct attack *attack, const struct server *server)
{
	uint32_t all = 0;

	for (int kind = 0; kind < ATTACK_KINDS; kind++)
		all += attack_clients[kind];
	*attack = (struct attack){ .attacker = bench_allocate(all * sizeof(*attack->attacker)) };
	for (int kind = 0; kind < ATTACK_KINDS; kind++)
		for (uint32_t i = 0; i < attack_clients[kind]; i++)
			begin(attack, kind, server);
}

static void cut_off(struct attack *attack, struct attacker *attacker)
{
	double ns = (double)(bench_now_ns() - attacker->since_ns);

	close(attacker->fd);
	attacker->fd = -1;
	attack->left[attacker->kind]--;
	bench_samples_add(&attack->cut_s[attacker->kind], ns / 1e9);
}

/* A request that does not end: its last header gets longer. */
static void send_byte(struct attacker *attacker)
{
	uint32_t last = (uint32_t)strlen(request) - 5;
	uint32_t at = attacker->sent < last ? attacker->sent : last;

	attacker->sent++;
	send(attacker->fd, &request[at], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Its end, or a byte of it if one is due. */
static void step(struct attack *attack, struct attacker *attacker, bool due)
{
	char byte;

	if (due && attacker->kind == ATTACK_SEND)
		send_byte(attacker);
	if (!due && attacker->kind == ATTACK_READ)
		return;
	ssize_t bytes = recv(attacker->fd, &byte, 1, MSG_DONTWAIT);
	if (bytes == 0 || (bytes < 0 && errno != EAGAIN))
		cut_off(attack, attacker);
}

/* The ports whose connection the server has open; it may have closed one before its client knows. */
static void read_held(uint16_t port, bool held[UINT16_MAX + 1])
{
	FILE *file = fopen("/proc/net/tcp", "re");
	unsigned local, remote, state;
	char line[512];

	memset(held, 0, UINT16_MAX + 1);
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " %*u: %*x:%x %*x:%x %x", &local, &remote, &state) == 3 &&
		    local == port && state == TCP_ESTABLISHED)
			held[remote & UINT16_MAX] = true;
	if (file)
		fclose(file);
}

static void cut_readers(struct attack *attack, const struct server *server)
{
	static bool held[UINT16_MAX + 1];

	read_held(server->port, held);
	for (uint32_t i = 0; i < attack->attackers; i++) {
		struct attacker *attacker = &attack->attacker[i];

		if (attacker->kind == ATTACK_READ && attacker->fd >= 0 && !held[attacker->port])
			cut_off(attack, attacker);
	}
}

bool attack_step(struct attack *attack, const struct server *server)
{
	uint64_t now_ns = bench_now_ns();
	bool due = now_ns >= attack->next_byte_ns;

	if (due)
		attack->next_byte_ns = now_ns + BYTE_NS;
	for (uint32_t i = 0; i < attack->attackers; i++)
		if (attack->attacker[i].fd >= 0)
			step(attack, &attack->attacker[i], due);
	if (now_ns >= attack->next_look_ns) {
		attack->next_look_ns = now_ns + LOOK_NS;
		cut_readers(attack, server);
	}
	return attack->left[ATTACK_READ] + attack->left[ATTACK_SEND] + attack->left[ATTACK_SILENT];
}

void attack_end(struct attack *attack)
{
	for (uint32_t i = 0; i < attack->attackers; i++)
		if (attack->attacker[i].fd >= 0)
			close(attack->attacker[i].fd);
	attack->attackers = 0;
}

void attack_free(struct attack *attack)
{
	for (int kind = 0; kind < ATTACK_KINDS; kind++)
		bench_samples_free(&attack->cut_s[kind]);
	free(attack->attacker);
}
