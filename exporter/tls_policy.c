/* SPDX-License-Identifier: Apache-2.0 */
/* tls_policy.c - versions, cipher suites and curves by the names of Go's crypto/tls; pure */
#include "tls_policy.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define VERSION_MIN 3 /* TLS12 */

static const struct {
	const char *name, *priority;
} versions[TLS_VERSIONS] = {
	{ "TLS10", "VERS-TLS1.0" },
	{ "TLS11", "VERS-TLS1.1" },
	{ "TLS12", "VERS-TLS1.2" },
	{ "TLS13", "VERS-TLS1.3" },
}, curves[] = {
	{ "CurveP256", "GROUP-SECP256R1" },
	{ "CurveP384", "GROUP-SECP384R1" },
	{ "CurveP521", "GROUP-SECP521R1" },
	{ "X25519", "GROUP-X25519" },
};

/* What Go holds for secure; a suite of TLS 1.3 has no key exchange of its own. */
static const struct {
	const char *name, *exchange, *cipher, *mac;
} suites[] = {
	{ "TLS_AES_128_GCM_SHA256", NULL, "AES-128-GCM", "AEAD" },
	{ "TLS_AES_256_GCM_SHA384", NULL, "AES-256-GCM", "AEAD" },
	{ "TLS_CHACHA20_POLY1305_SHA256", NULL, "CHACHA20-POLY1305", "AEAD" },
	{ "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA", "AES-128-GCM", "AEAD" },
	{ "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA", "AES-128-GCM", "AEAD" },
	{ "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA", "AES-256-GCM", "AEAD" },
	{ "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA", "AES-256-GCM", "AEAD" },
	{ "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA", "CHACHA20-POLY1305",
	  "AEAD" },
	{ "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA", "CHACHA20-POLY1305", "AEAD" },
	{ "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA", "AES-128-CBC", "SHA1" },
	{ "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA", "AES-128-CBC", "SHA1" },
	{ "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA", "AES-256-CBC", "SHA1" },
	{ "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA", "AES-256-CBC", "SHA1" },
};
_Static_assert(COUNT(suites) <= 32, "a bit each");

int tls_policy_version(uint8_t *version, const char *name)
{
	for (uint8_t i = 0; i < TLS_VERSIONS; i++) {
		if (strcmp(name, versions[i].name) == 0) {
			*version = (uint8_t)(i + 1);
			return 0;
		}
	}
	return -EINVAL;
}

int tls_policy_add_suite(struct tls_policy *policy, const char *name)
{
	for (size_t i = 0; i < COUNT(suites); i++) {
		if (strcmp(name, suites[i].name) == 0) {
			policy->suites |= 1u << i;
			return 0;
		}
	}
	return -EINVAL;
}

int tls_policy_add_curve(struct tls_policy *policy, const char *name)
{
	uint8_t curve = 0;
	size_t used = 0;

	for (uint8_t i = 0; i < COUNT(curves); i++)
		if (strcmp(name, curves[i].name) == 0)
			curve = (uint8_t)(i + 1);
	while (policy->curve[used])
		if (policy->curve[used++] == curve)
			return -EINVAL;
	if (!curve)
		return -EINVAL;
	policy->curve[used] = curve;
	return 0;
}

static bool is_listed(const struct tls_policy *policy, size_t suite)
{
	return policy->suites >> suite & 1;
}

/* One of the listed suites uses this exchange or cipher. */
static bool is_used(const struct tls_policy *policy, const char *exchange, const char *cipher)
{
	for (size_t i = 0; i < COUNT(suites); i++) {
		if (!is_listed(policy, i))
			continue;
		if (exchange && suites[i].exchange && strcmp(suites[i].exchange, exchange) == 0)
			return true;
		if (cipher && strcmp(suites[i].cipher, cipher) == 0)
			return true;
	}
	return false;
}

const char *tls_policy_extra(const struct tls_policy *policy)
{
	for (size_t i = 0; i < COUNT(suites); i++)
		if (suites[i].exchange && !is_listed(policy, i) &&
		    is_used(policy, suites[i].exchange, NULL) &&
		    is_used(policy, NULL, suites[i].cipher))
			return suites[i].name;
	return NULL;
}

/* Repeated words do no harm; 1024 bytes hold all of the tables. */
static void add(char priorities[TLS_PRIORITIES_BYTES], const char *sign, const char *word)
{
	size_t used = strlen(priorities);

	snprintf(priorities + used, TLS_PRIORITIES_BYTES - used, ":%s%s", sign, word);
}

static void add_suites(char priorities[TLS_PRIORITIES_BYTES], const struct tls_policy *policy)
{
	add(priorities, "-", "KX-ALL");
	add(priorities, "-", "CIPHER-ALL");
	add(priorities, "-", "MAC-ALL");
	for (size_t i = 0; i < COUNT(suites); i++) {
		if (!is_listed(policy, i))
			continue;
		if (suites[i].exchange)
			add(priorities, "+", suites[i].exchange);
		add(priorities, "+", suites[i].cipher);
		add(priorities, "+", suites[i].mac);
	}
}

void tls_policy_priorities(char priorities[TLS_PRIORITIES_BYTES], const struct tls_policy *policy)
{
	int min = policy->min ? policy->min : VERSION_MIN;
	int max = policy->max ? policy->max : TLS_VERSIONS;

	strcpy(priorities, "NORMAL:-VERS-ALL");
	for (int version = max; version >= min; version--)
		add(priorities, "+", versions[version - 1].priority);
	if (policy->suites)
		add_suites(priorities, policy);
	if (policy->curve[0])
		add(priorities, "-", "GROUP-ALL");
	for (size_t i = 0; policy->curve[i]; i++)
		add(priorities, "+", curves[policy->curve[i] - 1].priority);
	if (policy->server_order)
		add(priorities, "%", "SERVER_PRECEDENCE");
}
