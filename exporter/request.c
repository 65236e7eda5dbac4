/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c - one request, from its headers to its answer
 *
 * libmicrohttpd calls request_handle() when the headers are there, again when the request is whole,
 * and again each time it was resumed; each call goes on where the last one stopped. Between
 * suspend() and the answer only the one who answers touches the request: libmicrohttpd's lock, which
 * both suspending and resuming take, orders what each of them writes.
 */
#include "request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "respond.h"

/* at least, for a format that nobody wanted before, and for the very first page */
#define FIRST_PAGE_MS 2000
/* a publication may find no slot; more tries than this would keep the drain busy */
#define CUTS_MAX 3u
/* below it the headers and the client's work are most of the cost */
#define GZIP_BYTES_MIN 4096u

#define REQUEST_OF(member_at, member)                                                              \
	((struct request *)((char *)(member_at)-offsetof(struct request, member)))

/* Suspends it. False: it was cut off, or nothing may wait any more; then close it. */
static bool suspend(struct request *request)
{
	if (!connections_move(request->service->connections, request->peer->connection,
			      CONNECTION_WAITING, 0))
		return false;
	MHD_suspend_connection(request->mhd);
	return true;
}

static void resume_connection(void *arg)
{
	struct request *request = arg;

	loop_resume(request->peer->loop, request->mhd);
}

/* The request may be answered and gone when it returns. */
static void resume(struct request *request)
{
	connections_resume(request->service->connections, resume_connection, request);
}

/* ---- who may ask ---- */

static void take_verdict(struct auth_question *question, enum auth_verdict verdict)
{
	struct request *request = REQUEST_OF(question, question);

	request->verdict = verdict;
	resume(request);
}

/* True: ask the thread, and come back with its verdict. */
static bool look_for_verdict(struct request *request)
{
	const struct web_config *config = &request->settings->config;

	request->verdict = AUTH_RIGHT;
	if (config->user_count)
		request->verdict =
			auth_look(request->service->auth, config,
				  MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND,
							      MHD_HTTP_HEADER_AUTHORIZATION),
				  &request->question);
	return request->verdict == AUTH_UNKNOWN;
}

static enum MHD_Result ask_for_verdict(struct request *request)
{
	request->question.answer = take_verdict;
	if (!suspend(request)) {
		auth_drop(&request->question);
		return MHD_NO;
	}
	auth_ask(request->service->auth, &request->question);
	return MHD_YES;
}

static enum MHD_Result respond_refused(struct request *request)
{
	if (request->verdict == AUTH_BUSY)
		return respond_text(request, MHD_HTTP_SERVICE_UNAVAILABLE,
				    "Too many passwords wait to be checked.\n");
	atomic_fetch_add_explicit(&request->service->unauthorized, 1, memory_order_relaxed);
	return respond_text(request, MHD_HTTP_UNAUTHORIZED, "Unauthorized.\n");
}

/* A request each interval, and burst at once after a pause. */
static bool is_too_often(struct service *service, const struct web_config *config)
{
	uint64_t interval_ns = (uint64_t)config->rate_interval_ms * CLOCK_MS, now_ns = clock_ns();

	if (!interval_ns)
		return false;
	pthread_mutex_lock(&service->rate_lock);
	if (service->rate_due_ns < now_ns)
		service->rate_due_ns = now_ns;
	bool often =
		service->rate_due_ns - now_ns > (uint64_t)(config->rate_burst - 1) * interval_ns;
	if (!often)
		service->rate_due_ns += interval_ns;
	pthread_mutex_unlock(&service->rate_lock);
	return often;
}

/* ---- pages ---- */

static enum MHD_Result take_header(void *arg, enum MHD_ValueKind kind, const char *name,
				   const char *value)
{
	struct request *request = arg;

	(void)kind;
	if (value && strcasecmp(name, MHD_HTTP_HEADER_ACCEPT) == 0)
		negotiate_accept(&request->accept, value);
	if (value && strcasecmp(name, MHD_HTTP_HEADER_ACCEPT_ENCODING) == 0)
		negotiate_accept_encoding(&request->accept_encoding, value);
	return MHD_YES;
}

static bool wants_gzip(const struct request *request, size_t bytes)
{
	switch (request->service->options.compression) {
	case HTTP_COMPRESSION_ON:
		return negotiate_gzip(&request->accept_encoding);
	case HTTP_COMPRESSION_AUTO:
		return negotiate_gzip(&request->accept_encoding) && bytes >= GZIP_BYTES_MIN &&
		       !connection_is_local(request->peer->connection);
	case HTTP_COMPRESSION_OFF:
		break;
	}
	return false;
}

/* A page in the format and encoding that is wanted, the encoding told; NULL: not there. */
static struct page *find_page(const struct request *request, enum page_format format,
			      enum page_encoding *encoding)
{
	struct publication *publication = request->service->options.publication;
	struct page *plain = publication_acquire(publication, format, PAGE_IDENTITY),
		    *packed = NULL;
	bool needed = negotiate_needs_gzip(&request->accept_encoding) &&
		      request->service->options.compression != HTTP_COMPRESSION_OFF;

	if (plain && (needed || wants_gzip(request, page_bytes(plain))))
		packed = publication_acquire(publication, format, PAGE_GZIP);
	*encoding = packed ? PAGE_GZIP : PAGE_IDENTITY;
	if (plain && (packed || needed)) {
		page_release(plain);
		return packed;
	}
	return plain;
}

/* When all waiting was in vain: any page is better than none, whatever the client takes. */
static enum MHD_Result respond_any_page(struct request *request, enum offer offer)
{
	struct publication *publication = request->service->options.publication;
	struct page *page =
		publication_acquire(publication, negotiate_format(offer), PAGE_IDENTITY);

	if (!page) {
		offer = OFFER_TEXT;
		page = publication_acquire(publication, PAGE_TEXT, PAGE_IDENTITY);
	}
	if (!page)
		return respond_text(request, MHD_HTTP_SERVICE_UNAVAILABLE,
				    "No page was published yet.\n");
	return respond_page(request, page, offer, PAGE_IDENTITY);
}

static void take_cut(struct cut_waiter *waiter, bool in_time)
{
	struct request *request = REQUEST_OF(waiter, waiter);

	request->in_time = in_time;
	resume(request);
}

/* A second cut has the deadline of the first. */
static enum MHD_Result ask_for_cut(struct request *request, int timeout_ms)
{
	struct service *service = request->service;
	struct cut_waiter *waiter = &request->waiter;

	if (request->cuts++ == 0)
		waiter->deadline_ns = clock_ns() + (uint64_t)timeout_ms * CLOCK_MS;
	waiter->answer = take_cut;
	if (!suspend(request))
		return MHD_NO;
	/* read before: once it is asked, the request may be answered and gone */
	uint64_t deadline_ns = waiter->deadline_ns;
	cut_request(service->options.cut, waiter);
	timer_expect(service->timer, deadline_ns);
	return MHD_YES;
}

static int timeout_of(const struct request *request, bool first)
{
	int timeout_ms = request->service->options.cut_timeout_ms;

	return first && timeout_ms < FIRST_PAGE_MS ? FIRST_PAGE_MS : timeout_ms;
}

/* Called anew after each cut. */
static enum MHD_Result serve_page(struct request *request)
{
	const struct http_options *options = &request->service->options;
	enum page_encoding encoding;

	if (!request->cuts)
		MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, take_header, request);
	enum offer offer = negotiate_offer(&request->accept);
	/* before the page is looked for, so that what it says is true of that page */
	bool current = request->cuts || cut_fresh(options->cut);
	struct page *page = find_page(request, negotiate_format(offer), &encoding);
	if (page && current)
		return respond_page(request, page, offer, encoding);
	if (page)
		page_release(page);
	if (!request->cuts)
		return ask_for_cut(request, timeout_of(request, !page));
	if (request->in_time && request->cuts < CUTS_MAX)
		return ask_for_cut(request, 0);
	return respond_any_page(request, offer);
}

/* ---- paths ---- */

static enum MHD_Result serve_path(struct request *request, const char *path)
{
	const struct service *service = request->service;

	if (strcmp(path, service->options.telemetry_path) == 0)
		return serve_page(request);
	if (strcmp(path, "/-/healthy") == 0)
		return respond_text(request, MHD_HTTP_OK, "Healthy.\n");
	if (strcmp(path, "/-/ready") == 0 && publication_ready(service->options.publication))
		return respond_text(request, MHD_HTTP_OK, "Ready.\n");
	if (strcmp(path, "/-/ready") == 0)
		return respond_text(request, MHD_HTTP_SERVICE_UNAVAILABLE,
				    "Not ready: no page was published yet.\n");
	if (strcmp(path, "/") == 0)
		return respond_html(request, service->landing, service->landing_bytes);
	return respond_text(request, MHD_HTTP_NOT_FOUND, "Not found.\n");
}

/* Called when the request is whole, and each time it was resumed. */
static enum MHD_Result serve(struct request *request, const char *path)
{
	if (request->admitted)
		return serve_path(request, path);
	bool asked = request->question.answer;
	/* before passwords, so that it is also a limit on guessing them */
	if (!asked && is_too_often(request->service, &request->settings->config))
		return respond_text(request, MHD_HTTP_TOO_MANY_REQUESTS, "Too many requests.\n");
	if (!asked && look_for_verdict(request))
		return ask_for_verdict(request);
	if (request->verdict != AUTH_RIGHT)
		return respond_refused(request);
	request->admitted = true;
	return serve_path(request, path);
}

/* ---- begin and end ---- */

static struct request *request_begin(struct service *service, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	const struct peer *peer = info ? info->socket_context : NULL;
	struct request *request = peer ? calloc(1, sizeof(*request)) : NULL;

	if (!request)
		return NULL;
	request->service = service;
	request->mhd = mhd;
	request->peer = peer;
	request->settings = web_acquire(service->web);
	return request;
}

enum MHD_Result request_handle(void *service, struct MHD_Connection *mhd, const char *path,
			       const char *method, const char *version, const char *body,
			       size_t *body_bytes, void **context)
{
	struct request *request = *context;

	(void)version;
	(void)body;
	if (!request) {
		*context = request = request_begin(service, mhd);
		/* who began in plain is not served when that is allowed no more */
		if (!request || !request->settings->tls != !request->peer->settings->tls)
			return MHD_NO;
		if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
		    strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
			return MHD_YES;
		return respond_text(request, MHD_HTTP_METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
	}
	if (*body_bytes) /* a GET with a body has no meaning: the connection is closed */
		return MHD_NO;
	return serve(request, path);
}

void request_completed(void *arg, struct MHD_Connection *mhd, void **context,
		       enum MHD_RequestTerminationCode why)
{
	struct service *service = arg;
	struct request *request = *context;

	(void)mhd;
	(void)why;
	if (!request)
		return;
	*context = NULL;
	connections_move(service->connections, request->peer->connection, CONNECTION_IDLE, 0);
	web_release(service->web, request->settings);
	free(request);
}
