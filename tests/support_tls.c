/* SPDX-License-Identifier: Apache-2.0 */
/* support_tls.c - see support_tls.h */
#include "support_tls.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#define PEM_BYTES 4096

/* ---- identities ---- */

void identity_make(struct identity *identity, const char *name, const struct identity *issuer)
{
	const struct identity *signer = issuer ? issuer : identity;
	static unsigned char serial;
	gnutls_x509_crt_t certificate;
	time_t now = time(NULL);

	serial++;
	CHECK_EQ(gnutls_x509_privkey_init(&identity->key), 0);
	CHECK_EQ(gnutls_x509_privkey_generate(identity->key, GNUTLS_PK_ECDSA,
					      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
		 0);
	CHECK_EQ(gnutls_x509_crt_init(&certificate), 0);
	identity->certificate = certificate;
	CHECK_EQ(gnutls_x509_crt_set_version(certificate, 3), 0);
	CHECK_EQ(gnutls_x509_crt_set_serial(certificate, &serial, 1), 0);
	CHECK_EQ(gnutls_x509_crt_set_activation_time(certificate, now - 3600), 0);
	CHECK_EQ(gnutls_x509_crt_set_expiration_time(certificate, now + 3600), 0);
	CHECK_EQ(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name,
					       (unsigned)strlen(name)),
		 0);
	CHECK_EQ(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, name,
						      (unsigned)strlen(name), GNUTLS_FSAN_SET),
		 0);
	CHECK_EQ(gnutls_x509_crt_set_basic_constraints(certificate, !issuer, -1), 0);
	CHECK_EQ(gnutls_x509_crt_set_key(certificate, identity->key), 0);
	CHECK_EQ(gnutls_x509_crt_sign2(certificate, signer->certificate, signer->key,
				       GNUTLS_DIG_SHA256, 0),
		 0);
}

void identity_write(const struct identity *identity, const char *stem)
{
	char name[128], pem[PEM_BYTES];
	size_t bytes = sizeof(pem) - 1;

	CHECK_EQ(gnutls_x509_crt_export(identity->certificate, GNUTLS_X509_FMT_PEM, pem, &bytes),
		 0);
	pem[bytes] = '\0';
	snprintf(name, sizeof(name), "%s.crt", stem);
	write_file(name, pem);
	bytes = sizeof(pem) - 1;
	CHECK_EQ(gnutls_x509_privkey_export(identity->key, GNUTLS_X509_FMT_PEM, pem, &bytes), 0);
	pem[bytes] = '\0';
	snprintf(name, sizeof(name), "%s.key", stem);
	write_file(name, pem);
}

void identity_free(struct identity *identity)
{
	gnutls_x509_crt_deinit(identity->certificate);
	gnutls_x509_privkey_deinit(identity->key);
}

/* ---- client ---- */

static void tell_name(gnutls_session_t session, char name[64])
{
	unsigned count;
	size_t bytes = 64;
	gnutls_x509_crt_t certificate;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);

	CHECK(chain && count);
	CHECK_EQ(gnutls_x509_crt_init(&certificate), 0);
	CHECK_EQ(gnutls_x509_crt_import(certificate, chain, GNUTLS_X509_FMT_DER), 0);
	CHECK_EQ(gnutls_x509_crt_get_subject_alt_name(certificate, 0, name, &bytes, NULL),
		 GNUTLS_SAN_DNSNAME);
	name[bytes] = '\0';
	gnutls_x509_crt_deinit(certificate);
}

/* The status; 0: it ended before there was one. */
static int exchange(gnutls_session_t session, const char *headers)
{
	char text[4096];
	size_t used = 0;
	int status = 0;

	int bytes = snprintf(text, sizeof(text),
			     "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n",
			     headers);
	if (gnutls_record_send(session, text, (size_t)bytes) != bytes)
		return 0;
	while (used < sizeof(text) - 1) {
		ssize_t got = gnutls_record_recv(session, text + used, sizeof(text) - 1 - used);
		if (got == GNUTLS_E_INTERRUPTED || got == GNUTLS_E_AGAIN)
			continue;
		if (got <= 0)
			break;
		used += (size_t)got;
	}
	text[used] = '\0';
	return sscanf(text, "HTTP/1.1 %d ", &status) == 1 ? status : 0;
}

int tls_ask(const struct server *server, const char *priorities, const struct identity *client,
	    const char *headers, char server_name[64])
{
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t session;
	int fd = connect_to(server), status = 0, rc;

	CHECK(fd >= 0);
	CHECK_EQ(gnutls_certificate_allocate_credentials(&credentials), 0);
	if (client) {
		gnutls_x509_crt_t certificate = client->certificate;
		CHECK_EQ(gnutls_certificate_set_x509_key(credentials, &certificate, 1, client->key),
			 0);
	}
	CHECK_EQ(gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL | GNUTLS_FORCE_CLIENT_CERT),
		 0);
	CHECK_EQ(gnutls_priority_set_direct(session, priorities ? priorities : "NORMAL", NULL), 0);
	CHECK_EQ(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), 0);
	gnutls_transport_set_int(session, fd);
	do
		rc = gnutls_handshake(session);
	while (rc < 0 && !gnutls_error_is_fatal(rc));
	if (rc == 0 && server_name)
		tell_name(session, server_name);
	if (rc == 0)
		status = exchange(session, headers);
	gnutls_deinit(session);
	gnutls_certificate_free_credentials(credentials);
	close(fd);
	return status;
}

/* ---- files ---- */

void write_file(const char *name, const char *text)
{
	char path[256], new_path[300];

	snprintf(path, sizeof(path), "%s/%s", test_folder(), name);
	snprintf(new_path, sizeof(new_path), "%s.new", path);
	FILE *out = fopen(new_path, "we");
	CHECK(out);
	CHECK(fputs(text, out) >= 0);
	CHECK_EQ(fclose(out), 0);
	CHECK_EQ(rename(new_path, path), 0);
}

void remove_files(void)
{
	DIR *folder = opendir(test_folder());
	struct dirent *entry;

	CHECK(folder);
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			CHECK_EQ(unlinkat(dirfd(folder), entry->d_name, 0), 0);
	closedir(folder);
}
