/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.c - what GnuTLS needs to know of a configuration; knows nothing of HTTP
 *
 * libmicrohttpd makes the sessions; each gets the credentials of the configuration that holds when
 * it begins, in place of the daemon's, so that a new certificate needs no new daemon. There is no
 * resumption, hence each session's certificate is checked in its handshake.
 */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

struct tls {
	const struct web_config *config;
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priorities;
};

/* ---- the client's certificate ---- */

/* Whether a name in a certificate is one that is configured; addresses stand there as bytes. */
static bool name_is(int kind, const unsigned char *name, size_t bytes, const char *allowed)
{
	unsigned char address[16];

	if (kind != GNUTLS_SAN_IPADDRESS)
		return strlen(allowed) == bytes && memcmp(allowed, name, bytes) == 0;
	if (bytes == 4)
		return inet_pton(AF_INET, allowed, address) == 1 && memcmp(address, name, 4) == 0;
	return bytes == 16 && inet_pton(AF_INET6, allowed, address) == 1 &&
	       memcmp(address, name, 16) == 0;
}

static bool is_allowed(const struct web_config *config, int kind, const unsigned char *name,
		       size_t bytes)
{
	if (kind != GNUTLS_SAN_DNSNAME && kind != GNUTLS_SAN_RFC822NAME && kind != GNUTLS_SAN_URI &&
	    kind != GNUTLS_SAN_IPADDRESS)
		return false;
	for (size_t i = 0; i < config->san_count; i++)
		if (name_is(kind, name, bytes, config->sans[i]))
			return true;
	return false;
}

static bool has_allowed_san(const struct web_config *config, gnutls_x509_crt_t certificate)
{
	unsigned char name[1024];

	for (unsigned i = 0;; i++) {
		size_t bytes = sizeof(name);
		int kind = gnutls_x509_crt_get_subject_alt_name(certificate, i, name, &bytes, NULL);
		if (kind == GNUTLS_E_SHORT_MEMORY_BUFFER)
			continue;
		if (kind < 0)
			return false;
		if (is_allowed(config, kind, name, bytes))
			return true;
	}
}

static bool is_from_allowed(const struct web_config *config, const gnutls_datum_t *leaf)
{
	gnutls_x509_crt_t certificate;

	if (gnutls_x509_crt_init(&certificate) != 0)
		return false;
	bool allowed = gnutls_x509_crt_import(certificate, leaf, GNUTLS_X509_FMT_DER) == 0 &&
		       has_allowed_san(config, certificate);
	gnutls_x509_crt_deinit(certificate);
	return allowed;
}

/* In the handshake; anything but 0 ends it. */
static int verify_client(gnutls_session_t session)
{
	const struct web_config *config = gnutls_db_get_ptr(session);
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
					  .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT };
	unsigned count = 0, status = 0;

	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
	if (!chain || !count)
		return config->client_auth == CLIENT_AUTH_VERIFY_IF_GIVEN ? 0 : -1;
	if (gnutls_certificate_verify_peers(session, &purpose, 1, &status) != 0 || status != 0)
		return -1;
	return !config->san_count || is_from_allowed(config, &chain[0]) ? 0 : -1;
}

/* ---- credentials ---- */

static int load(struct tls *tls, const struct tls_pems *pems, const char **why)
{
	int rc = gnutls_certificate_set_x509_key_mem2(tls->credentials, &pems->cert, &pems->key,
						      GNUTLS_X509_FMT_PEM, NULL, 0);

	*why = gnutls_strerror(rc);
	if (rc < 0)
		return rc;
	if (!tls->config->client_ca.file && !tls->config->client_ca.text)
		return 0;
	rc = gnutls_certificate_set_x509_trust_mem(tls->credentials, &pems->client_ca,
						   GNUTLS_X509_FMT_PEM);
	*why = "no certificate in client_ca";
	return rc > 0 ? 0 : -1;
}

int tls_create(struct tls **tls, const struct web_config *config, const struct tls_pems *pems,
	       const char **why)
{
	struct tls *made = calloc(1, sizeof(*made));
	char priorities[TLS_PRIORITIES_BYTES];

	*why = "out of memory";
	if (!made)
		return -EINVAL;
	made->config = config;
	if (gnutls_certificate_allocate_credentials(&made->credentials) != 0) {
		free(made);
		return -EINVAL;
	}
	int rc = load(made, pems, why);
	tls_policy_priorities(priorities, &config->policy);
	if (rc == 0) {
		rc = gnutls_priority_init(&made->priorities, priorities, NULL);
		*why = gnutls_strerror(rc);
	}
	if (rc != 0) {
		tls_destroy(made);
		return -EINVAL;
	}
	*tls = made;
	return 0;
}

void tls_destroy(struct tls *tls)
{
	if (!tls)
		return;
	if (tls->priorities)
		gnutls_priority_deinit(tls->priorities);
	gnutls_certificate_free_credentials(tls->credentials);
	free(tls);
}

int tls_attach(const struct tls *tls, gnutls_session_t session)
{
	enum client_auth client_auth = tls->config->client_auth;
	bool require = client_auth == CLIENT_AUTH_REQUIRE || client_auth == CLIENT_AUTH_REQUIRE_ANY;

	int rc = gnutls_priority_set(session, tls->priorities);
	if (rc == 0)
		rc = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
	if (client_auth != CLIENT_AUTH_NONE)
		gnutls_certificate_server_set_request(session, require ? GNUTLS_CERT_REQUIRE
								       : GNUTLS_CERT_REQUEST);
	if (client_auth >= CLIENT_AUTH_VERIFY_IF_GIVEN) {
		/* the session's own pointer is libmicrohttpd's; there is no database of sessions */
		gnutls_db_set_ptr(session, (void *)tls->config);
		gnutls_session_set_verify_function(session, verify_client);
	}
	return rc;
}
