/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - serve published pages over HTTP; knows nothing of metrics
 *
 *   GET|HEAD  telemetry_path  the current page, after asking for a fresh cut (503 before the first)
 *             /-/healthy      200 while the process serves
 *             /-/ready        200 once a page was published, else 503
 *             /               a landing page with links
 */
#ifndef KVTAP_EXPORTER_HTTP_H
#define KVTAP_EXPORTER_HTTP_H

#include "cut.h"
#include "publish.h"

struct http;

struct http_options {
	const char *listen_address; /* HOST:PORT, [V6]:PORT, :PORT; port 0: the system's choice */
	const char *telemetry_path;
	struct publication *publication;
	struct cut *cut;
	int cut_timeout_ms; /* past it the last page is served */
};

/**
 * http_start - listen and serve from threads of its own
 * @http:    owned by the caller; options' pointers are borrowed until http_stop
 *
 * Logs the address it really listens on (msg=Listening address=127.0.0.1:18827), or what failed.
 * Returns: 0 or a negative errno.
 */
int http_start(struct http **http, const struct http_options *options);

/* http_stop - accept no more, wait up to grace_ms for responses in flight, then end the threads */
void http_stop(struct http *http, int grace_ms);

#endif
