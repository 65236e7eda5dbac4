/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - the daemons of libmicrohttpd, their connections, and an end that answers what is begun
 *
 * Each listening socket has a pool of two threads that serve its connections by epoll, so a client
 * that reads slowly holds a connection and a reference to its page, but no thread and no lock. One
 * more thread looks at all deadlines. When the configuration begins or ceases to ask for TLS, a new
 * pool takes the socket over and the old one ends with its last connection.
 */
#include "http.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "clock.h"
#include "listen.h"
#include "log.h"
#include "loop.h"
#include "request.h"
#include "respond.h"

#define THREADS 2u
#define CONNECTIONS_MAX 4096u
#define CLIENT_MAX 1024u
#define CONNECTION_BYTES ((size_t)8 << 10) /* request line, headers; a body is never read */
/* how many more libmicrohttpd takes than there may be: those that were just cut off, or lost a race */
#define CONNECTIONS_SPARE 128u
/* for those whose wait is ended by the end */
#define LAST_ANSWERS_MS 100
#define LOOK_NS (1000 * CLOCK_MS)

struct pool {
	struct http *http;
	struct loop *loops[THREADS]; /* NULL: was not started */
	bool tls;
	struct pool *next; /* of those that retired */
};

struct http {
	struct service service;
	struct listener listeners[HTTP_LISTENERS_MAX];
	size_t count;
	pthread_mutex_t lock;
	/* under lock, and touched by its end alone once stopping */
	struct pool *pools[HTTP_LISTENERS_MAX]; /* the one that accepts, for each listener */
	struct pool *retired;
	uint64_t retry_ns; /* when a pool that could not be started may be tried again */
	bool stopping;
	_Atomic time_t warned; /* relaxed: statistic */
};

struct connection_limits http_limits(void)
{
	struct connection_limits limits = {
		.connections_max = CONNECTIONS_MAX,
		.client_max = CLIENT_MAX,
		.request_ms = 5000,
		.idle_ms = 120000, /* longer than the usual intervals of scrapes */
		.response_ms = 10000,
		.response_mib_ms = 1000,
		.slots_ms = 1000,
	};
	struct rlimit files;

	/* with those that were just cut off it is half of them; the other is for workers' segments */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 3 < CONNECTIONS_MAX)
		limits.connections_max = (unsigned)files.rlim_cur / 3;
	if (limits.client_max > limits.connections_max / 2)
		limits.client_max = limits.connections_max / 2;
	return limits;
}

/* ---- connections ---- */

static enum MHD_Result admit(void *arg, const struct sockaddr *address, socklen_t bytes)
{
	struct http *http = arg;

	(void)bytes;
	return connections_admit(http->service.connections, address) ? MHD_YES : MHD_NO;
}

/* Gives the session of a TLS daemon the credentials in force; false: close it. */
static bool secure(struct http *http, struct MHD_Connection *mhd, const struct peer *peer)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	const struct tls *tls = peer->settings->tls;

	if (!info != !tls) { /* by a daemon that is to retire */
		timer_expect(http->service.timer, 0);
		return false;
	}
	return !tls || tls_attach(tls, info->tls_session) == 0;
}

static struct peer *peer_begin(struct loop *loop, struct MHD_Connection *mhd)
{
	struct pool *pool = loop_context(loop);
	struct http *http = pool->http;
	struct service *service = &http->service;
	struct peer *peer = calloc(1, sizeof(*peer));
	int fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

	if (peer)
		peer->connection =
			connections_open(service->connections, fd,
					 MHD_get_connection_info(mhd,
								 MHD_CONNECTION_INFO_CLIENT_ADDRESS)
						 ->client_addr);
	if (!peer || !peer->connection) {
		free(peer);
		shutdown(fd, SHUT_RDWR);
		return NULL;
	}
	peer->loop = loop;
	peer->settings = web_acquire(service->web);
	if (!secure(http, mhd, peer))
		shutdown(fd, SHUT_RDWR);
	return peer;
}

/* The descriptor is open in both calls. */
static void connection_changed(void *arg, struct MHD_Connection *mhd, void **context,
			       enum MHD_ConnectionNotificationCode what)
{
	struct pool *pool = loop_context(arg);
	struct http *http = pool->http;
	struct peer *peer = *context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = peer_begin(arg, mhd);
		return;
	}
	if (!peer)
		return;
	connections_close(http->service.connections, peer->connection);
	web_release(http->service.web, peer->settings);
	free(peer);
	*context = NULL;
}

/* ---- daemons ---- */

/* What clients do wrong comes here too, so at most one warning a second; the rest is debug. */
static void __attribute__((format(printf, 2, 0)))
log_microhttpd(void *arg, const char *format, va_list args)
{
	struct http *http = arg;
	struct timespec now;
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\r\n")] = '\0';
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (atomic_exchange_explicit(&http->warned, now.tv_sec, memory_order_relaxed) == now.tv_sec)
		log_debug("libmicrohttpd", "detail", text);
	else
		log_warn("libmicrohttpd", "detail", text);
}

/* A daemon wants a certificate of its own; each session gets another before this could be asked. */
static int no_certificate(gnutls_session_t session, const gnutls_datum_t *names, int count,
			  const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
			  gnutls_pcert_st **certificate, unsigned *certificates,
			  gnutls_privkey_t *key)
{
	(void)session;
	(void)names;
	(void)count;
	(void)algorithms;
	(void)algorithm_count;
	(void)certificate;
	(void)certificates;
	(void)key;
	return -1;
}

static struct MHD_Daemon *daemon_start(void *arg, struct loop *loop, int fd)
{
	struct pool *pool = arg;
	struct http *http = pool->http;
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
			 (pool->tls ? MHD_USE_TLS : 0);
	unsigned max = http->service.options.limits.connections_max;
	unsigned limit = max + max / 2 + CONNECTIONS_SPARE;
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)no_certificate },
		{ MHD_OPTION_END, 0, NULL },
	};

	return MHD_start_daemon(flags, 0, admit, http, request_handle, &http->service,
				MHD_OPTION_EXTERNAL_LOGGER, log_microhttpd, http,
				MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, limit,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
				MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION,
				connection_changed, loop, MHD_OPTION_NOTIFY_COMPLETED,
				request_completed, &http->service, MHD_OPTION_ARRAY,
				pool->tls ? tls : tls + 1, MHD_OPTION_END);
}

/* ---- pools ---- */

/* Under lock, or at the end. */
static void pool_retire(struct pool *pool)
{
	for (size_t i = 0; i < THREADS; i++)
		if (pool->loops[i])
			loop_retire(pool->loops[i]);
	pool->next = pool->http->retired;
	pool->http->retired = pool;
}

/* Under lock. In place of the one that is there; it stays if none can be started. */
static int pool_start(struct http *http, size_t i, bool tls)
{
	struct pool *made = calloc(1, sizeof(*made)), *old = http->pools[i];

	if (!made)
		return -ENOMEM;
	made->http = http;
	made->tls = tls;
	for (size_t n = 0; n < THREADS; n++) {
		int rc = loop_start(&made->loops[n], daemon_start, made, http->listeners[i].fd);
		if (rc != 0) {
			pool_retire(made); /* the first thread may have let somebody in */
			return rc;
		}
	}
	if (old)
		pool_retire(old);
	http->pools[i] = made;
	return 0;
}

static bool pool_has_ended(const struct pool *pool)
{
	for (size_t i = 0; i < THREADS; i++)
		if (pool->loops[i] && !loop_has_ended(pool->loops[i]))
			return false;
	return true;
}

static void pool_stop(struct pool *pool)
{
	for (size_t i = 0; i < THREADS; i++)
		if (pool->loops[i])
			loop_stop(pool->loops[i]);
	free(pool);
}

/* ---- TLS comes or goes ---- */

/* Under lock. Returns: when to try again what failed; until then the old ones refuse who comes. */
static uint64_t renew_pools(struct http *http, bool tls, uint64_t now_ns)
{
	for (size_t i = 0; i < http->count; i++) {
		if (!http->pools[i] || http->pools[i]->tls == tls)
			continue;
		if (now_ns < http->retry_ns)
			return http->retry_ns;
		int rc = pool_start(http, i, tls);
		if (rc == 0)
			continue;
		log_error("Cannot change over to the new configuration", "address",
			  http->listeners[i].name, "error", strerror(-rc));
		http->retry_ns = now_ns + LOOK_NS;
		return http->retry_ns;
	}
	return UINT64_MAX;
}

/* Under lock. Frees those that have no connection left; true: some have. */
static bool stop_retired(struct http *http)
{
	struct pool **link = &http->retired, *pool;

	while ((pool = *link)) {
		if (!pool_has_ended(pool)) {
			link = &pool->next;
			continue;
		}
		*link = pool->next;
		pool_stop(pool);
	}
	return http->retired;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Nobody tells when a pool has ended, so it is asked until then. */
static uint64_t look_at_pools(struct http *http, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;
	struct web_settings *settings = web_acquire(http->service.web);
	bool tls = settings->tls;

	web_release(http->service.web, settings);
	pthread_mutex_lock(&http->lock);
	if (!http->stopping) {
		next_ns = renew_pools(http, tls, now_ns);
		if (stop_retired(http))
			next_ns = earlier(next_ns, now_ns + LOOK_NS);
	}
	pthread_mutex_unlock(&http->lock);
	return next_ns;
}

/* ---- deadlines ---- */

static uint64_t look(void *arg, uint64_t now_ns)
{
	struct http *http = arg;
	uint64_t next_ns = cut_expire(http->service.options.cut, now_ns);

	next_ns = earlier(next_ns, connections_look(http->service.connections, now_ns));
	return earlier(next_ns, look_at_pools(http, now_ns));
}

static void expect(void *arg, uint64_t deadline_ns)
{
	struct http *http = arg;

	timer_expect(http->service.timer, deadline_ns);
}

static uint64_t skips(void *arg)
{
	struct http *http = arg;

	return publication_skips(http->service.options.publication);
}

/* ---- start ---- */

static int listen_all(struct http *http)
{
	const struct http_options *options = &http->service.options;
	const char *why = NULL, *where = "systemd";
	int rc = 0;

	if (options->systemd_socket) {
		rc = listen_systemd(http->listeners, HTTP_LISTENERS_MAX, &why);
		http->count = rc > 0 ? (size_t)rc : 0;
		rc = rc < 0 ? rc : 0;
	}
	for (size_t i = 0; !options->systemd_socket && rc == 0 && i < options->listen_count; i++) {
		where = options->listen_addresses[i];
		rc = listen_open(&http->listeners[i], where, &why);
		http->count += rc == 0;
	}
	if (rc != 0)
		log_error("Cannot serve", "address", where, "error", why ? why : strerror(-rc));
	return rc;
}

static void log_listening(const struct http *http, const struct web_settings *settings)
{
	const struct listener *wide = NULL;

	for (size_t i = 0; i < http->count; i++) {
		const struct listener *listener = &http->listeners[i];

		log_info("Listening", "address", listener->name, "tls",
			 settings->tls ? "true" : "false");
		if (listener->wide && !wide)
			wide = listener;
	}
	if (wide && !settings->tls && !settings->config.user_count)
		log_warn("Whoever reaches this address can read the metrics: there is no TLS and "
			 "no authentication; see --web.config.file",
			 "address", wide->name);
}

/* Under lock: the first client may make the timer look at the pools. */
static int serve_all(struct http *http)
{
	struct web_settings *settings = web_acquire(http->service.web);
	int rc = 0;

	for (size_t i = 0; i < http->count && rc == 0; i++) {
		rc = pool_start(http, i, settings->tls);
		if (rc != 0)
			log_error("Cannot serve", "address", http->listeners[i].name, "error",
				  strerror(-rc));
	}
	if (rc == 0)
		log_listening(http, settings);
	web_release(http->service.web, settings);
	return rc;
}

static int prepare(struct http *http)
{
	struct service *service = &http->service;
	const struct http_options *options = &service->options;

	service->landing = landing_create(options->telemetry_path, &service->landing_bytes);
	service->connections = connections_create(&options->limits, skips, expect, http);
	if (!service->landing || !service->connections)
		return -ENOMEM;
	int rc = web_open(&service->web, options->web_config_file);
	if (rc == 0)
		rc = auth_start(&service->auth);
	if (rc == 0)
		rc = timer_start(&service->timer, look, http);
	return rc;
}

/* Refuses whoever comes now, instead of letting him wait for an accept. */
static void stop_listening(struct http *http)
{
	for (size_t i = 0; i < http->count; i++) {
		if (http->pools[i])
			pool_retire(http->pools[i]);
		http->pools[i] = NULL;
		/* one of systemd's is systemd's, and goes on */
		if (!http->service.options.systemd_socket)
			shutdown(http->listeners[i].fd, SHUT_RDWR);
	}
}

/* Everything has stopped but, perhaps, auth and timer. */
static void http_free(struct http *http)
{
	struct service *service = &http->service;

	if (service->timer)
		timer_stop(service->timer);
	if (service->auth)
		auth_free(service->auth);
	if (service->web)
		web_close(service->web);
	if (service->connections)
		connections_destroy(service->connections);
	for (size_t i = 0; i < http->count; i++)
		listen_close(&http->listeners[i]);
	pthread_mutex_destroy(&service->rate_lock);
	pthread_mutex_destroy(&http->lock);
	free(service->landing);
	free(http);
}

/* Answers whoever waits, and ends all threads but the timer's; all pools have retired. */
static void end(struct http *http)
{
	struct service *service = &http->service;

	connections_refuse_waiting(service->connections);
	if (service->auth)
		auth_end(service->auth);
	cut_expire(service->options.cut, UINT64_MAX);
	connections_settle(service->connections, -1);
	connections_settle(service->connections, LAST_ANSWERS_MS);
	for (struct pool *pool = http->retired, *next; pool; pool = next) {
		next = pool->next;
		pool_stop(pool);
	}
}

int http_start(struct http **http, const struct http_options *options)
{
	struct http *made = *http = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->service.options = *options;
	made->warned = -1;
	pthread_mutex_init(&made->lock, NULL);
	pthread_mutex_init(&made->service.rate_lock, NULL);
	int rc = prepare(made);
	if (rc == 0)
		rc = listen_all(made);
	pthread_mutex_lock(&made->lock);
	if (rc == 0)
		rc = serve_all(made);
	made->stopping = rc != 0;
	pthread_mutex_unlock(&made->lock);
	if (rc == 0)
		return 0;
	*http = NULL;
	if (made->service.connections) {
		stop_listening(made);
		end(made);
	}
	http_free(made);
	return rc;
}

void http_reload(struct http *http)
{
	web_reread(http->service.web);
	timer_expect(http->service.timer, 0);
}

void http_stop(struct http *http, int grace_ms)
{
	atomic_store_explicit(&http->service.stopping, true, memory_order_relaxed);
	pthread_mutex_lock(&http->lock);
	http->stopping = true;
	pthread_mutex_unlock(&http->lock);
	stop_listening(http);
	if (connections_settle(http->service.connections, grace_ms))
		log_warn("Closing connections before their answer was sent in full");
	end(http);
	http_free(http);
}

struct http_counts http_count(const struct http *http)
{
	const struct service *service = &http->service;
	struct http_counts counts = {
		.connections = connections_count(service->connections),
		.unauthorized = atomic_load_explicit(&service->unauthorized, memory_order_relaxed),
		.config_good = web_is_good(service->web),
	};

	for (int i = 0; i < CLOSE_REASON_COUNT; i++)
		counts.closed[i] = connections_closed(service->connections, i);
	return counts;
}
