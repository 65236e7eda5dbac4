/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_tls.h - certificates made on the spot, and a TLS client by GnuTLS
 *
 * What fails here fails the test, but for a connection that the server refuses.
 */
#ifndef KVTAP_TESTS_SUPPORT_TLS_H
#define KVTAP_TESTS_SUPPORT_TLS_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "support_http.h"

struct identity {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t certificate;
};

/* identity_make - signed by issuer, NULL: by itself; with one name of DNS */
void identity_make(struct identity *identity, const char *name, const struct identity *issuer);
/* identity_write - as PEM files test_folder()/<stem>.crt and .key */
void identity_write(const struct identity *identity, const char *stem);
void identity_free(struct identity *identity);

/**
 * tls_ask - one GET of /metrics on a new connection; any server certificate will do
 * @priorities: of GnuTLS; NULL: NORMAL
 * @client:     its certificate; NULL: none
 * @headers:    more of them ("A: b\r\n")
 *
 * Returns: the status, 0 when the connection was refused. server_name, unless NULL, gets the DNS
 * name in the server's certificate.
 */
int tls_ask(const struct server *server, const char *priorities, const struct identity *client,
	    const char *headers, char server_name[64]);

/* write_file - test_folder()/<name>, by a rename, so that readers see the old or the new one */
void write_file(const char *name, const char *text);
/* remove_files - all that the test wrote */
void remove_files(void);

#endif
