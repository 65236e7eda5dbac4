/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h - what GnuTLS needs to know of a configuration; knows nothing of HTTP */
#ifndef KVTAP_EXPORTER_TLS_H
#define KVTAP_EXPORTER_TLS_H

#include <gnutls/gnutls.h>

#include "web_config.h"

struct tls;

/* The bytes of the PEM files or texts of a configuration. */
struct tls_pems {
	gnutls_datum_t cert, key, client_ca;
};

/**
 * tls_create - read certificates and key
 * @config: borrowed, must outlive the result
 * @why:    what is wrong with which, static, when it fails
 *
 * Returns: 0 or -EINVAL.
 */
int tls_create(struct tls **tls, const struct web_config *config, const struct tls_pems *pems,
	       const char **why);
/* tls_destroy - when the sessions that it was attached to have ended */
void tls_destroy(struct tls *tls);

/* tls_attach - before a server session's handshake; Returns: 0 or an error of GnuTLS */
int tls_attach(const struct tls *tls, gnutls_session_t session);

#endif
