/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - libmicrohttpd: the listening socket, four paths, and an end that answers what is begun
 *
 * Two threads of libmicrohttpd serve all connections by epoll, so a client that reads slowly holds
 * a connection and a reference to its page, but no thread and no lock. A request for the page holds
 * one of the threads while it waits for the drain's cut. Knows nothing of metrics: a page is bytes.
 */
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "kvtap.h"
#include "log.h"

#define THREADS 2u
#define CONNECTIONS_MAX 256u
#define CONNECTION_BYTES ((size_t)16 << 10) /* request line, headers; a body is never read */
#define IDLE_SECONDS 30u

#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_HTML "text/html; charset=utf-8"

struct http {
	struct http_options options;
	struct MHD_Daemon *daemon;
	int listen_fd;
	char *landing;
	size_t landing_bytes;
	_Atomic time_t warned; /* relaxed: statistic */

	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned in_flight; /* under lock: requests whose headers came, not yet answered in full */
	bool stopping;	    /* under lock */
};

/* ---- listening ---- */

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

static int open_listener(const struct addrinfo *info)
{
	int on = 1, off = 0;
	int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (info->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	int rc = -errno;
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

static int listen_on(const char *text, const char **why)
{
	const char *host, *port;
	char address[512];

	*why = "not HOST:PORT, [IPV6]:PORT or :PORT";
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

static bool is_loopback(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	if (address->ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) &&
		v6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

static void log_listening(int fd)
{
	struct sockaddr_storage address;
	socklen_t bytes = sizeof(address);
	char host[128] = "?", port[16] = "?", text[160];

	memset(&address, 0, sizeof(address));
	getsockname(fd, (struct sockaddr *)&address, &bytes);
	getnameinfo((struct sockaddr *)&address, bytes, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(text, sizeof(text), address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
		 port);
	log_info("Listening", "address", text);
	if (!is_loopback(&address))
		log_warn("Whoever reaches this address can read the metrics: there is no TLS and "
			 "no authentication",
			 "address", text);
}

/* ---- landing page ---- */

static void print_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("&<>\"'", *text))
			fprintf(out, "&#%d;", *text);
		else
			fputc(*text, out);
	}
}

static int landing_create(struct http *http)
{
	FILE *out = open_memstream(&http->landing, &http->landing_bytes);

	if (!out)
		return -errno;
	fputs("<!DOCTYPE html>\n"
	      "<html lang=\"en\">\n"
	      "<head><meta charset=\"utf-8\"><title>kvtap-exporter</title></head>\n"
	      "<body>\n"
	      "<h1>kvtap-exporter</h1>\n"
	      "<p>Telemetry of KV-cache transfers, version " KVTAP_VERSION "</p>\n"
	      "<ul>\n"
	      "<li><a href=\"",
	      out);
	print_escaped(out, http->options.telemetry_path);
	fputs("\">Metrics</a></li>\n"
	      "<li><a href=\"/-/healthy\">Healthy</a></li>\n"
	      "<li><a href=\"/-/ready\">Ready</a></li>\n"
	      "</ul>\n"
	      "</body>\n"
	      "</html>\n",
	      out);
	return fclose(out) == 0 ? 0 : -errno;
}

/* ---- requests ---- */

static void request_begin(struct http *http)
{
	pthread_mutex_lock(&http->lock);
	http->in_flight++;
	pthread_mutex_unlock(&http->lock);
}

static void request_completed(void *arg, struct MHD_Connection *connection, void **begun,
			      enum MHD_RequestTerminationCode why)
{
	struct http *http = arg;

	(void)connection;
	(void)why;
	if (!*begun)
		return;
	*begun = NULL;
	pthread_mutex_lock(&http->lock);
	if (--http->in_flight == 0)
		pthread_cond_signal(&http->idle);
	pthread_mutex_unlock(&http->lock);
}

static bool is_stopping(struct http *http)
{
	pthread_mutex_lock(&http->lock);
	bool stopping = http->stopping;
	pthread_mutex_unlock(&http->lock);
	return stopping;
}

/* Takes the response over. */
static enum MHD_Result respond(struct http *http, struct MHD_Connection *connection,
			       unsigned status, const char *type, struct MHD_Response *response)
{
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Content-Security-Policy", "default-src 'none'");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	if (is_stopping(http))
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result respond_text(struct http *http, struct MHD_Connection *connection,
				    unsigned status, const char *text)
{
	return respond(http, connection, status, TYPE_TEXT,
		       MHD_create_response_from_buffer(strlen(text), (void *)text,
						       MHD_RESPMEM_PERSISTENT));
}

static void release_page(void *page)
{
	page_release(page);
}

static enum MHD_Result respond_page(struct http *http, struct MHD_Connection *connection)
{
	/* answered or not: past the time-out the last page is the best there is */
	cut_request(http->options.cut, http->options.cut_timeout_ms);
	struct page *page =
		publication_acquire(http->options.publication, PAGE_TEXT, PAGE_IDENTITY);
	if (!page)
		return respond_text(http, connection, MHD_HTTP_SERVICE_UNAVAILABLE,
				    "No page was published yet.\n");
	/* the response owns the reference, and gives it back when its last byte is sent */
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback_cls(page_bytes(page),
								       (void *)page_data(page),
								       release_page, page);
	if (!response)
		page_release(page);
	return respond(http, connection, MHD_HTTP_OK, TYPE_METRICS, response);
}

static enum MHD_Result respond_ready(struct http *http, struct MHD_Connection *connection)
{
	if (!publication_ready(http->options.publication))
		return respond_text(http, connection, MHD_HTTP_SERVICE_UNAVAILABLE,
				    "Not ready: no page was published yet.\n");
	return respond_text(http, connection, MHD_HTTP_OK, "Ready.\n");
}

static enum MHD_Result respond_path(struct http *http, struct MHD_Connection *connection,
				    const char *path)
{
	if (strcmp(path, http->options.telemetry_path) == 0)
		return respond_page(http, connection);
	if (strcmp(path, "/-/healthy") == 0)
		return respond_text(http, connection, MHD_HTTP_OK, "Healthy.\n");
	if (strcmp(path, "/-/ready") == 0)
		return respond_ready(http, connection);
	if (strcmp(path, "/") == 0)
		return respond(http, connection, MHD_HTTP_OK, TYPE_HTML,
			       MHD_create_response_from_buffer(http->landing_bytes, http->landing,
							       MHD_RESPMEM_PERSISTENT));
	return respond_text(http, connection, MHD_HTTP_NOT_FOUND, "Not found.\n");
}

/* Called when the headers came, for each piece of a body, and when the request is complete. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *path,
			      const char *method, const char *version, const char *body,
			      size_t *body_bytes, void **begun)
{
	struct http *http = arg;

	(void)version;
	(void)body;
	if (!*begun) {
		*begun = http;
		request_begin(http);
		if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
		    strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
			return MHD_YES;
		return respond_text(http, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				    "Only GET and HEAD.\n");
	}
	if (*body_bytes) /* a GET with a body has no meaning: the connection is closed */
		return MHD_NO;
	return respond_path(http, connection, path);
}

/* ---- start and stop ---- */

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

static int daemon_start(struct http *http)
{
	errno = 0;
	http->daemon =
		MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0,
				 NULL, NULL, handle, http, MHD_OPTION_EXTERNAL_LOGGER,
				 log_microhttpd, http, MHD_OPTION_LISTEN_SOCKET, http->listen_fd,
				 MHD_OPTION_THREAD_POOL_SIZE, THREADS, MHD_OPTION_CONNECTION_LIMIT,
				 CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				 CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
				 MHD_OPTION_NOTIFY_COMPLETED, request_completed, http,
				 MHD_OPTION_END);
	if (http->daemon)
		return 0;
	http->listen_fd = -1; /* closed by libmicrohttpd */
	return errno ? -errno : -EIO;
}

static void http_free(struct http *http)
{
	if (http->listen_fd >= 0)
		close(http->listen_fd);
	pthread_cond_destroy(&http->idle);
	pthread_mutex_destroy(&http->lock);
	free(http->landing);
	free(http);
}

int http_start(struct http **http, const struct http_options *options)
{
	struct http *made = *http = calloc(1, sizeof(*made));
	const char *why = NULL;

	if (!made)
		return -ENOMEM;
	made->options = *options;
	made->warned = -1;
	made->listen_fd = -1;
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->idle, NULL);
	int rc = landing_create(made);
	if (rc == 0)
		rc = made->listen_fd = listen_on(options->listen_address, &why);
	if (rc >= 0)
		rc = daemon_start(made);
	if (rc == 0) {
		log_listening(made->listen_fd);
		return 0;
	}
	log_error("Cannot serve", "address", options->listen_address, "error",
		  why ? why : strerror(-rc));
	http_free(made);
	*http = NULL;
	return rc;
}

static void wait_idle(struct http *http, int grace_ms)
{
	struct timespec deadline = clock_deadline(grace_ms);

	pthread_mutex_lock(&http->lock);
	http->stopping = true;
	while (http->in_flight)
		if (pthread_cond_clockwait(&http->idle, &http->lock, CLOCK_MONOTONIC, &deadline))
			break;
	unsigned left = http->in_flight;
	pthread_mutex_unlock(&http->lock);
	if (left)
		log_warn("Closing connections before their answer was sent in full");
}

void http_stop(struct http *http, int grace_ms)
{
	MHD_quiesce_daemon(http->daemon);
	/* refuse at once whoever comes now, instead of letting him wait for an accept */
	shutdown(http->listen_fd, SHUT_RDWR);
	wait_idle(http, grace_ms);
	MHD_stop_daemon(http->daemon);
	http_free(http);
}
