/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_policy.h - versions, cipher suites and curves by the names of Go's crypto/tls; pure
 *
 * These are the names that exporter-toolkit's configuration has. The result is a priority string of
 * GnuTLS.
 */
#ifndef KVTAP_EXPORTER_TLS_POLICY_H
#define KVTAP_EXPORTER_TLS_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define TLS_VERSIONS 4
#define TLS_PRIORITIES_BYTES 1024

/* Zeroed: TLS 1.2 and 1.3, and whatever suites and curves GnuTLS finds normal. */
struct tls_policy {
	uint8_t min, max; /* 1 to TLS_VERSIONS; 0: not set */
	uint32_t suites;  /* a bit for each that is allowed; 0: not set */
	uint8_t curve[8]; /* in order of preference, from 1; ended by 0 */
	bool server_order;
};

/* -EINVAL: no such name, or, for a curve, named twice */
int tls_policy_version(uint8_t *version, const char *name);
int tls_policy_add_suite(struct tls_policy *policy, const char *name);
int tls_policy_add_curve(struct tls_policy *policy, const char *name);

/**
 * tls_policy_extra - a suite that would be allowed beside those that are listed
 *
 * GnuTLS takes key exchange and cipher apart: who allows ECDHE_RSA with one cipher and ECDHE_ECDSA
 * with another allows each with both. Returns: the name of one that is not listed, NULL: none.
 */
const char *tls_policy_extra(const struct tls_policy *policy);

/* tls_policy_priorities - for gnutls_priority_init(3); the policy's min is not above its max */
void tls_policy_priorities(char priorities[TLS_PRIORITIES_BYTES], const struct tls_policy *policy);

#endif
