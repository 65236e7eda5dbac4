/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connections.h - who is connected, since when, and whom to cut off
 *
 * Knows sockets, states and deadlines, but neither HTTP nor TLS. Each state has a deadline of its
 * own that bytes do not push on, so that a drip does not help.
 */
#ifndef KVTAP_EXPORTER_CONNECTIONS_H
#define KVTAP_EXPORTER_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum connection_state {
	CONNECTION_REQUESTING, /* its first request is not yet here in full */
	CONNECTION_IDLE,       /* between two requests, or in the midst of sending a later one */
	CONNECTION_TAKING,     /* takes a response */
	CONNECTION_WAITING,    /* for the drain or a password; not for the client, so no deadline */
	CONNECTION_CLOSING,    /* was cut off */
	CONNECTION_STATES
};

/* why a connection was cut off or refused, and the label value */
#define CLOSE_REASONS(X)                                                                           \
	X(REQUEST, "request_slow")                                                                 \
	X(IDLE, "idle")                                                                            \
	X(RESPONSE, "response_slow")                                                               \
	X(SLOTS, "pages_held")                                                                     \
	X(CLIENT, "client_limit")                                                                  \
	X(LIMIT, "connection_limit")

enum close_reason {
#define CLOSE_ENUM(id, text) CLOSE_##id,
	CLOSE_REASONS(CLOSE_ENUM)
#undef CLOSE_ENUM
		CLOSE_REASON_COUNT
};

struct connection_limits {
	unsigned connections_max; /* in all; past it the longest silent one makes room */
	unsigned client_max;	  /* from one IPv4 address or IPv6 /64; the same */
	int request_ms;		  /* from the accept to the end of the first request's headers */
	int idle_ms;		  /* from one response to the end of the next request's headers */
	int response_ms;	  /* for a response, and more for each MiB of it */
	int response_mib_ms;
	int slots_ms; /* for a response once publications are skipped for want of slots */
};

struct connections;
struct connection;

/**
 * connections_create - an empty table
 * @skips:  publications that were skipped so far; called with context, from connections_look()
 * @expect: told each deadline, see timer_expect(); called without a lock
 *
 * Returns: NULL when memory is short.
 */
struct connections *connections_create(const struct connection_limits *limits,
				       uint64_t (*skips)(void *context),
				       void (*expect)(void *context, uint64_t deadline_ns),
				       void *context);
/* connections_destroy - when each connection was closed */
void connections_destroy(struct connections *connections);

/**
 * connections_admit - before a connection is taken: is there room?
 *
 * At a limit the one that is silent for longest is cut off in favour of the new one.
 */
bool connections_admit(struct connections *connections, const struct sockaddr *peer);

/**
 * connections_open - a connection was taken; its state is REQUESTING
 * @fd: stays open until connections_close() has returned
 *
 * Returns: NULL when memory is short.
 */
struct connection *connections_open(struct connections *connections, int fd,
				    const struct sockaddr *peer);
void connections_close(struct connections *connections, struct connection *connection);

/**
 * connections_move - to another state
 * @bytes: of the response, for TAKING
 *
 * Returns: false when it was cut off meanwhile, or the end does not let it wait any more.
 */
bool connections_move(struct connections *connections, struct connection *connection,
		      enum connection_state state, size_t bytes);
/**
 * connections_resume - end the wait of one in WAITING, by a call of resume with its argument
 *
 * The connection leaves WAITING, and the table, only after resume has returned: what it touches is
 * there until then, however soon the connection goes on.
 */
void connections_resume(struct connections *connections, void (*resume)(void *arg), void *arg);
/* connection_is_local - its peer is on this machine: loopback, or a Unix socket */
bool connection_is_local(const struct connection *connection);

/* connections_look - cut off who is past his deadline; Returns: when to look next, see timer.h */
uint64_t connections_look(struct connections *connections, uint64_t now_ns);

/* connections_refuse_waiting - from now on nobody gets into WAITING */
void connections_refuse_waiting(struct connections *connections);

/**
 * connections_settle - wait until no request is being answered
 * @grace_ms: how long; -1: without end, but only for those in WAITING
 *
 * Returns: requests left.
 */
unsigned connections_settle(struct connections *connections, int grace_ms);

/* any thread */
unsigned connections_count(struct connections *connections);
uint64_t connections_closed(const struct connections *connections, enum close_reason reason);

#endif
