/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_config.h - a web configuration file in the form of Prometheus' exporter-toolkit; pure
 *
 * Reads the bytes, not the files that they name, and says where what it does not understand stands.
 */
#ifndef KVTAP_EXPORTER_WEB_CONFIG_H
#define KVTAP_EXPORTER_WEB_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "tls_policy.h"

#define WEB_CONFIG_BYTES_MAX ((size_t)1 << 20)
#define WEB_ERROR_BYTES 512

enum client_auth {
	CLIENT_AUTH_NONE,
	CLIENT_AUTH_REQUEST,	     /* ask, and look at nothing */
	CLIENT_AUTH_REQUIRE_ANY,     /* and refuse who has none */
	CLIENT_AUTH_VERIFY_IF_GIVEN, /* refuse one that is not trusted */
	CLIENT_AUTH_REQUIRE,	     /* and who has none */
};

/* One of file, as it was written, and text is set; or none. */
struct web_pem {
	const char *file, *text;
};

struct web_user {
	const char *name, *hash; /* of bcrypt */
};

enum web_header {
	WEB_HEADER_CSP,
	WEB_HEADER_FRAME,
	WEB_HEADER_SNIFF,
	WEB_HEADER_XSS,
	WEB_HEADER_HSTS,
	WEB_HEADERS
};
extern const char *const web_header_names[WEB_HEADERS];

struct web_config {
	bool tls;
	struct web_pem cert, key, client_ca;
	enum client_auth client_auth;
	const char **sans; /* one of them must be in the client's certificate; none: any */
	size_t san_count;
	struct tls_policy policy;
	const char *header[WEB_HEADERS]; /* NULL: not set */
	struct web_user *users;
	size_t user_count;		  /* 0: no passwords */
	int rate_interval_ms, rate_burst; /* interval 0: no limit */
	void *document;			  /* that all strings are in */
};

/**
 * web_config_parse - read text of so many bytes
 * @file:  its name, for errors
 * @error: file:line:column: what is wrong; set when it fails
 *
 * Returns: 0 with what web_config_free() frees, -EINVAL or -ENOMEM.
 */
int web_config_parse(struct web_config *config, const char *file, const char *text, size_t bytes,
		     char error[WEB_ERROR_BYTES]);
/* web_config_free - also one that is zeroed */
void web_config_free(struct web_config *config);

#endif
