/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.h - one request, from its headers to its answer
 *
 * No thread waits for anything: a request that has to is suspended, and whoever has the answer
 * resumes it. Knows nothing of metrics: a page is bytes.
 */
#ifndef KVTAP_EXPORTER_REQUEST_H
#define KVTAP_EXPORTER_REQUEST_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "auth.h"
#include "connections.h"
#include "cut.h"
#include "http.h"
#include "loop.h"
#include "negotiate.h"
#include "timer.h"
#include "web.h"

/* What all requests share. */
struct service {
	struct http_options options;
	struct connections *connections;
	struct timer *timer;
	struct web *web;
	struct auth *auth;
	char *landing;
	size_t landing_bytes;
	atomic_bool stopping;	       /* relaxed: only says when to close a connection */
	_Atomic uint64_t unauthorized; /* relaxed: statistic */
	pthread_mutex_t rate_lock;
	uint64_t rate_due_ns; /* under rate_lock: when all that was allowed is used up */
};

/* What a connection has from its begin to its end. */
struct peer {
	struct loop *loop;
	struct connection *connection;
	struct web_settings *settings; /* when it began: of its TLS session */
};

struct request {
	struct service *service;
	struct MHD_Connection *mhd;
	const struct peer *peer;
	struct web_settings *settings; /* when it began: of its password and headers */

	bool admitted; /* its password is right, or none is needed */
	enum auth_verdict verdict;
	struct auth_question question;

	unsigned cuts; /* asked for so far */
	bool in_time;  /* how the last one ended */
	struct cut_waiter waiter;
	struct accept accept;
	struct accept_encoding accept_encoding;
};

/* request_handle - a MHD_AccessHandlerCallback; its argument is the service */
enum MHD_Result request_handle(void *service, struct MHD_Connection *mhd, const char *path,
			       const char *method, const char *version, const char *body,
			       size_t *body_bytes, void **context);
/* request_completed - a MHD_RequestCompletedCallback; its argument is the service */
void request_completed(void *service, struct MHD_Connection *mhd, void **context,
		       enum MHD_RequestTerminationCode why);

#endif
