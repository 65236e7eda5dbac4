/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - serve published pages over HTTP and HTTPS; knows nothing of metrics
 *
 *   GET|HEAD  telemetry_path  the current page, after asking for a fresh cut (503 before the first)
 *             /-/healthy      200 while the process serves
 *             /-/ready        200 once a page was published, else 503
 *             /               a landing page with links
 */
#ifndef KVTAP_EXPORTER_HTTP_H
#define KVTAP_EXPORTER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connections.h"
#include "cut.h"
#include "publish.h"

#define HTTP_LISTENERS_MAX 16

struct http;

/* When a page is sent in gzip to a client that takes both. */
enum http_compression {
	HTTP_COMPRESSION_AUTO, /* when it is big, and the client is not on this machine */
	HTTP_COMPRESSION_ON,
	HTTP_COMPRESSION_OFF, /* never, not even to one that takes nothing else */
};

struct http_options {
	/* HOST:PORT, [V6]:PORT, :PORT (port 0: the system's choice), unix:/path; 1 to LISTENERS_MAX */
	const char *const *listen_addresses;
	size_t listen_count;
	bool systemd_socket;	     /* listen on what systemd gave instead */
	const char *web_config_file; /* NULL: none */
	const char *telemetry_path;
	struct publication *publication;
	struct cut *cut;
	int cut_timeout_ms; /* past it the last page is served */
	enum http_compression compression;
	struct connection_limits limits;
};

/* http_limits - what limits should be, as far as descriptors allow (RLIMIT_NOFILE) */
struct connection_limits http_limits(void);

/**
 * http_start - listen and serve from threads of its own
 * @http:    owned by the caller; options' pointers are borrowed until http_stop
 *
 * Logs the addresses it really listens on (msg=Listening address=127.0.0.1:18827), or what failed.
 * Returns: 0 or a negative errno.
 */
int http_start(struct http **http, const struct http_options *options);

/* http_reload - read the web configuration again, as if it had changed */
void http_reload(struct http *http);

/* http_stop - accept no more, wait up to grace_ms for responses in flight, then end the threads */
void http_stop(struct http *http, int grace_ms);

/* What is counted here and shown elsewhere. */
struct http_counts {
	unsigned connections;
	uint64_t closed[CLOSE_REASON_COUNT]; /* cut off or refused, by reason */
	uint64_t unauthorized;		     /* requests */
	bool config_good;		     /* when it was last read */
};

/* http_count - any thread */
struct http_counts http_count(const struct http *http);

#endif
