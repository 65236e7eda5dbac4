/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connections.c - who is connected, since when, and whom to cut off
 *
 * One list for each state, in order of the time when each is to be looked at: all in a list wait
 * equally long, so who comes last is due last. Who takes a response is looked at each second, since
 * pages that are held for long are a matter of the publisher's slots, too.
 *
 * A connection is cut off by shutdown(2) on its descriptor. That is done under the lock that
 * connections_close() takes before the descriptor is closed, so it never hits a descriptor that
 * was given to somebody else.
 */
#include "connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "clock.h"
#include "hash.h"
#include "listen.h"

#define BUCKETS 256u
#define LOOK_NS (1000 * CLOCK_MS)

/* One for each address that is connected; Unix sockets have none. */
struct client {
	unsigned char address[16]; /* IPv6, with IPv4 mapped */
	unsigned connections;
	struct client *next;
};

struct connection {
	int fd;
	bool local;
	enum connection_state state;
	uint64_t due_ns, deadline_ns, slots_ns; /* slots_ns: when a page is held for long */
	struct client *client;
	TAILQ_ENTRY(connection) link;
};

TAILQ_HEAD(queue, connection);

struct connections {
	struct connection_limits limits;
	uint64_t (*skips)(void *context);
	void (*expect)(void *context, uint64_t deadline_ns);
	void *context;
	uint64_t skips_seen; /* by the thread that looks */

	pthread_mutex_t lock;
	pthread_cond_t settled;
	/* under lock */
	struct queue queue[CONNECTION_STATES];
	unsigned count[CONNECTION_STATES];
	struct client *clients[BUCKETS];
	bool ending; /* nobody may wait any more */

	_Atomic uint64_t closed[CLOSE_REASON_COUNT]; /* relaxed: statistic */
};

struct connections *connections_create(const struct connection_limits *limits,
				       uint64_t (*skips)(void *context),
				       void (*expect)(void *context, uint64_t deadline_ns),
				       void *context)
{
	struct connections *connections = calloc(1, sizeof(*connections));

	if (!connections)
		return NULL;
	connections->limits = *limits;
	connections->skips = skips;
	connections->expect = expect;
	connections->context = context;
	pthread_mutex_init(&connections->lock, NULL);
	pthread_cond_init(&connections->settled, NULL);
	for (int state = 0; state < CONNECTION_STATES; state++)
		TAILQ_INIT(&connections->queue[state]);
	return connections;
}

void connections_destroy(struct connections *connections)
{
	pthread_cond_destroy(&connections->settled);
	pthread_mutex_destroy(&connections->lock);
	free(connections);
}

/* ---- clients ---- */

/* False: no address, so a Unix socket. An IPv6 client has a whole /64 and counts as one. */
static bool client_address(unsigned char key[16], const struct sockaddr *peer)
{
	struct in6_addr address = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	if (peer->sa_family == AF_INET)
		memcpy(&address.s6_addr[12], &((const struct sockaddr_in *)peer)->sin_addr, 4);
	else if (peer->sa_family == AF_INET6)
		address = ((const struct sockaddr_in6 *)peer)->sin6_addr;
	else
		return false;
	memcpy(key, &address, 16);
	if (!IN6_IS_ADDR_V4MAPPED(&address))
		memset(key + 8, 0, 8);
	return true;
}

static struct client **find_client(struct connections *connections, const unsigned char key[16])
{
	struct client **link = &connections->clients[hash_bytes(key, 16) % BUCKETS];

	while (*link && memcmp((*link)->address, key, 16) != 0)
		link = &(*link)->next;
	return link;
}

/* ---- lists ---- */

static unsigned count_all(const struct connections *connections)
{
	unsigned count = 0;

	for (int state = 0; state < CONNECTION_STATES; state++)
		count += connections->count[state];
	return count;
}

static void unlink_connection(struct connections *connections, struct connection *connection)
{
	TAILQ_REMOVE(&connections->queue[connection->state], connection, link);
	connections->count[connection->state]--;
	pthread_cond_broadcast(&connections->settled);
}

static void link_connection(struct connections *connections, struct connection *connection,
			    enum connection_state state)
{
	connection->state = state;
	TAILQ_INSERT_TAIL(&connections->queue[state], connection, link);
	connections->count[state]++;
}

/* Sets when it is due in a state; UINT64_MAX: never. */
static void set_due(const struct connections *connections, struct connection *connection,
		    enum connection_state state, size_t bytes)
{
	const struct connection_limits *limits = &connections->limits;
	uint64_t now_ns = clock_ns(), ms = 0;

	if (state == CONNECTION_REQUESTING)
		ms = (uint64_t)limits->request_ms;
	else if (state == CONNECTION_IDLE)
		ms = (uint64_t)limits->idle_ms;
	else if (state == CONNECTION_TAKING)
		ms = (uint64_t)limits->response_ms +
		     (uint64_t)limits->response_mib_ms * (bytes >> 20);
	connection->deadline_ns = ms ? now_ns + ms * CLOCK_MS : UINT64_MAX;
	connection->slots_ns = now_ns + (uint64_t)limits->slots_ms * CLOCK_MS;
	connection->due_ns = connection->deadline_ns;
	if (state == CONNECTION_TAKING && connection->due_ns > now_ns + LOOK_NS)
		connection->due_ns = now_ns + LOOK_NS;
}

static void count_closed(struct connections *connections, enum close_reason reason)
{
	atomic_fetch_add_explicit(&connections->closed[reason], 1, memory_order_relaxed);
}

/* Under lock. Its thread finds the end of the stream, and closes it. */
static void cut_off(struct connections *connections, struct connection *connection,
		    enum close_reason reason)
{
	shutdown(connection->fd, SHUT_RDWR);
	count_closed(connections, reason);
	unlink_connection(connections, connection);
	link_connection(connections, connection, CONNECTION_CLOSING);
}

/* ---- admission ---- */

/* The one that is silent for longest, of a client or of all. */
static struct connection *find_silent(struct connections *connections, const struct client *client)
{
	static const enum connection_state silent[] = { CONNECTION_REQUESTING, CONNECTION_IDLE };
	struct connection *connection;

	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		TAILQ_FOREACH (connection, &connections->queue[silent[i]], link)
			if (!client || connection->client == client)
				return connection;
	return NULL;
}

/* Makes room where a limit is reached. False: all are being answered. */
static bool make_room(struct connections *connections, const struct client *client,
		      enum close_reason reason)
{
	struct connection *silent = find_silent(connections, client);

	/* those that were cut off are open for a moment more; who comes is not to outrun their end */
	if (silent &&
	    connections->count[CONNECTION_CLOSING] <= connections->limits.connections_max / 2) {
		cut_off(connections, silent, reason);
		return true;
	}
	count_closed(connections, reason);
	return false;
}

bool connections_admit(struct connections *connections, const struct sockaddr *peer)
{
	const struct connection_limits *limits = &connections->limits;
	const struct client *client = NULL;
	unsigned char key[16];
	bool admitted = true;

	pthread_mutex_lock(&connections->lock);
	if (client_address(key, peer))
		client = *find_client(connections, key);
	unsigned closing = connections->count[CONNECTION_CLOSING];
	if (client && client->connections >= limits->client_max)
		admitted = make_room(connections, client, CLOSE_CLIENT);
	else if (count_all(connections) - closing >= limits->connections_max)
		admitted = make_room(connections, NULL, CLOSE_LIMIT);
	pthread_mutex_unlock(&connections->lock);
	return admitted;
}

/* Under lock. False: no memory. */
static bool join_client(struct connections *connections, struct connection *connection,
			const unsigned char key[16])
{
	struct client **link = find_client(connections, key);

	if (!*link) {
		*link = calloc(1, sizeof(**link));
		if (!*link)
			return false;
		memcpy((*link)->address, key, 16);
	}
	(*link)->connections++;
	connection->client = *link;
	return true;
}

static void leave_client(struct connections *connections, struct client *client)
{
	if (!client || --client->connections)
		return;
	*find_client(connections, client->address) = client->next;
	free(client);
}

struct connection *connections_open(struct connections *connections, int fd,
				    const struct sockaddr *peer)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	unsigned char key[16];

	if (!connection)
		return NULL;
	connection->fd = fd;
	connection->local = listen_is_local(peer);
	bool counted = client_address(key, peer);
	set_due(connections, connection, CONNECTION_REQUESTING, 0);
	uint64_t due_ns = connection->due_ns;
	pthread_mutex_lock(&connections->lock);
	bool joined = !counted || join_client(connections, connection, key);
	if (joined)
		link_connection(connections, connection, CONNECTION_REQUESTING);
	pthread_mutex_unlock(&connections->lock);
	if (!joined) {
		free(connection);
		return NULL;
	}
	connections->expect(connections->context, due_ns);
	return connection;
}

void connections_close(struct connections *connections, struct connection *connection)
{
	pthread_mutex_lock(&connections->lock);
	unlink_connection(connections, connection);
	leave_client(connections, connection->client);
	pthread_mutex_unlock(&connections->lock);
	free(connection);
}

bool connections_move(struct connections *connections, struct connection *connection,
		      enum connection_state state, size_t bytes)
{
	uint64_t due_ns = UINT64_MAX;

	pthread_mutex_lock(&connections->lock);
	bool open = connection->state != CONNECTION_CLOSING &&
		    !(connections->ending && state == CONNECTION_WAITING);
	if (open) {
		unlink_connection(connections, connection);
		set_due(connections, connection, state, bytes);
		link_connection(connections, connection, state);
		due_ns = connection->due_ns;
	}
	pthread_mutex_unlock(&connections->lock);
	if (due_ns != UINT64_MAX)
		connections->expect(connections->context, due_ns);
	return open;
}

void connections_resume(struct connections *connections, void (*resume)(void *arg), void *arg)
{
	pthread_mutex_lock(&connections->lock);
	resume(arg);
	pthread_mutex_unlock(&connections->lock);
}

bool connection_is_local(const struct connection *connection)
{
	return connection->local;
}

/* ---- deadlines ---- */

/* Cuts off a connection that is due, or sets when to look at it again. */
static void look_at(struct connections *connections, struct connection *connection, bool skipped,
		    uint64_t now_ns)
{
	static const enum close_reason reasons[] = {
		[CONNECTION_REQUESTING] = CLOSE_REQUEST,
		[CONNECTION_IDLE] = CLOSE_IDLE,
		[CONNECTION_TAKING] = CLOSE_RESPONSE,
	};

	if (connection->deadline_ns <= now_ns) {
		cut_off(connections, connection, reasons[connection->state]);
	} else if (skipped && connection->slots_ns <= now_ns) {
		cut_off(connections, connection, CLOSE_SLOTS);
	} else {
		unlink_connection(connections, connection);
		connection->due_ns = now_ns + LOOK_NS < connection->deadline_ns
					     ? now_ns + LOOK_NS
					     : connection->deadline_ns;
		link_connection(connections, connection, connection->state);
	}
}

static uint64_t look_through(struct connections *connections, enum connection_state state,
			     bool skipped, uint64_t now_ns)
{
	struct queue *queue = &connections->queue[state];
	struct connection *first;

	while ((first = TAILQ_FIRST(queue)) && first->due_ns <= now_ns)
		look_at(connections, first, skipped, now_ns);
	return first ? first->due_ns : UINT64_MAX;
}

uint64_t connections_look(struct connections *connections, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX, skips = connections->skips(connections->context);
	bool skipped = skips != connections->skips_seen;

	connections->skips_seen = skips;
	pthread_mutex_lock(&connections->lock);
	for (enum connection_state state = CONNECTION_REQUESTING; state <= CONNECTION_TAKING;
	     state++) {
		uint64_t due_ns = look_through(connections, state, skipped, now_ns);
		if (due_ns < next_ns)
			next_ns = due_ns;
	}
	pthread_mutex_unlock(&connections->lock);
	return next_ns;
}

/* ---- the end ---- */

void connections_refuse_waiting(struct connections *connections)
{
	pthread_mutex_lock(&connections->lock);
	connections->ending = true;
	pthread_mutex_unlock(&connections->lock);
}

unsigned connections_settle(struct connections *connections, int grace_ms)
{
	struct timespec deadline = clock_deadline(grace_ms < 0 ? 0 : grace_ms);
	unsigned left;

	pthread_mutex_lock(&connections->lock);
	for (;;) {
		left = connections->count[CONNECTION_WAITING];
		if (grace_ms >= 0)
			left += connections->count[CONNECTION_TAKING];
		if (!left)
			break;
		if (grace_ms < 0)
			pthread_cond_wait(&connections->settled, &connections->lock);
		else if (pthread_cond_clockwait(&connections->settled, &connections->lock,
						CLOCK_MONOTONIC, &deadline))
			break;
	}
	pthread_mutex_unlock(&connections->lock);
	return left;
}

unsigned connections_count(struct connections *connections)
{
	pthread_mutex_lock(&connections->lock);
	unsigned count = count_all(connections);
	pthread_mutex_unlock(&connections->lock);
	return count;
}

uint64_t connections_closed(const struct connections *connections, enum close_reason reason)
{
	return atomic_load_explicit(&connections->closed[reason], memory_order_relaxed);
}
