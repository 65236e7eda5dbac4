/* SPDX-License-Identifier: Apache-2.0 */
/* test_web_config.c - what a web configuration says, and where what is wrong with it stands */
#include "../exporter/web_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "test.h"

#define HASH "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
#define DEEP 5000
#define TLS "tls_server_config:\n  cert_file: c\n  key_file: k\n"

static struct web_config config;
static char error[WEB_ERROR_BYTES];

static void check_taken(const char *text)
{
	if (web_config_parse(&config, "w.yml", text, strlen(text), error) != 0)
		test_fail(__FILE__, __LINE__, "%s\n%s", error, text);
}

/* Refused, and the error begins with the place and has the words. */
static void check_refused(const char *text, const char *place, const char *words)
{
	char start[64];

	snprintf(start, sizeof(start), "w.yml:%s: ", place);
	int rc = web_config_parse(&config, "w.yml", text, strlen(text), error);
	if (rc == 0 || strncmp(error, start, strlen(start)) != 0 || !strstr(error, words))
		test_fail(__FILE__, __LINE__, "%d, not '%s...%s': %s\n%.500s", rc, start, words,
			  error, text);
}

TEST(web_config_is_empty_when_the_file_is)
{
	static const char nulls[] = "tls_server_config:\nbasic_auth_users:\n"
				    "http_server_config:\nrate_limit: ~\n";
	static const char *const texts[] = { "", "---\n", "{}", "# nothing\n", nulls };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		check_taken(texts[i]);
		CHECK(!config.tls && !config.user_count && !config.rate_interval_ms);
		web_config_free(&config);
	}
}

TEST(web_config_takes_all_of_tls)
{
	char priorities[TLS_PRIORITIES_BYTES];

	check_taken("tls_server_config:\n"
		    "  cert_file: server.crt\n"
		    "  key: |\n"
		    "    -----BEGIN\n"
		    "  client_ca_file: /etc/ca.pem\n"
		    "  client_auth_type: RequireAndVerifyClientCert\n"
		    "  client_allowed_sans: [ prometheus, 10.0.0.1 ]\n"
		    "  min_version: TLS11\n"
		    "  max_version: TLS12\n"
		    "  cipher_suites: [ TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ]\n"
		    "  curve_preferences: [ X25519, CurveP256 ]\n"
		    "  prefer_server_cipher_suites: true\n");
	CHECK(config.tls);
	CHECK_STR(config.cert.file, "server.crt");
	CHECK_STR(config.key.text, "-----BEGIN\n");
	CHECK_STR(config.client_ca.file, "/etc/ca.pem");
	CHECK_EQ(config.client_auth, CLIENT_AUTH_REQUIRE);
	CHECK_EQ(config.san_count, 2);
	CHECK_STR(config.sans[1], "10.0.0.1");
	tls_policy_priorities(priorities, &config.policy);
	CHECK_STR(priorities,
		  "NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.1:-KX-ALL:-CIPHER-ALL:-MAC-ALL"
		  ":+ECDHE-RSA:+AES-128-GCM:+AEAD"
		  ":-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:%SERVER_PRECEDENCE");
	web_config_free(&config);
	check_taken(TLS);
	tls_policy_priorities(priorities, &config.policy);
	CHECK_STR(priorities, "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2");
	web_config_free(&config);
}

TEST(web_config_takes_users_headers_and_a_rate)
{
	check_taken("basic_auth_users:\n"
		    "  alice: " HASH "\n"
		    "  'bob smith': \"" HASH "\"\n"
		    "http_server_config:\n"
		    "  http2: false\n"
		    "  headers:\n"
		    "    X-Frame-Options: deny\n"
		    "    X-Content-Type-Options: \"\"\n"
		    "rate_limit: { interval: 100ms, burst: 20 }\n");
	CHECK_EQ(config.user_count, 2);
	CHECK_STR(config.users[1].name, "bob smith");
	CHECK_STR(config.users[0].hash, HASH);
	CHECK_STR(config.header[WEB_HEADER_FRAME], "deny");
	CHECK_STR(config.header[WEB_HEADER_SNIFF], "");
	CHECK(!config.header[WEB_HEADER_HSTS]);
	CHECK_EQ(config.rate_interval_ms, 100);
	CHECK_EQ(config.rate_burst, 20);
	web_config_free(&config);
}

TEST(web_config_says_where_a_key_is_unknown_or_twice)
{
	check_refused("tls_config: {}\n", "1:1", "unknown key 'tls_config'");
	check_refused("tls_server_config:\n  cert_file: c\n  key_fil: k\n", "3:3",
		      "unknown key 'key_fil' in tls_server_config");
	check_refused("http_server_config:\n  headers:\n    X-Other: a\n", "3:5", "'X-Other'");
	check_refused("rate_limit:\n  bursts: 1\n", "2:3", "'bursts'");
	check_refused("rate_limit:\n  burst: 1\n  burst: 2\n", "3:3", "'burst' stands here twice");
	check_refused("basic_auth_users:\n  a: " HASH "\n  a: " HASH "\n", "3:3", "twice");
	check_refused("? [ a ]\n: 1\n", "1:3", "name of a key");
}

TEST(web_config_says_where_the_form_is_wrong)
{
	check_refused("- a\n", "1:1", "expected keys");
	check_refused("just text\n", "1:1", "expected keys");
	check_refused("tls_server_config: [ a ]\n", "1:20", "expected keys");
	check_refused("basic_auth_users: a\n", "1:19", "expected users");
	check_refused("tls_server_config:\n  cert_file: [ a ]\n", "2:14", "expected text");
	check_refused("tls_server_config:\n  cert_file: \"a\\0b\"\n", "2:14", "expected text");
	check_refused("tls_server_config:\n  cipher_suites: a\n", "2:18", "expected a list");
	check_refused("http_server_config:\n  http2: maybe\n", "2:10", "true or false");
	check_refused("a: b: c\n", "1:5", "mapping values");
	check_refused("a: [ 1\n", "2:1", "");
	check_refused("{}\n---\n{}\n", "2:1", "second document");
	check_refused("a: \xff\n", "1:1", "UTF-8");
}

TEST(web_config_refuses_tls_that_does_not_fit_together)
{
	check_refused("tls_server_config:\n  key_file: k\n", "2:3", "cert_file or cert is missing");
	check_refused("tls_server_config:\n  cert_file: c\n", "2:3", "key_file or key is missing");
	check_refused(TLS "  key: k\n", "2:3", "only one");
	check_refused(TLS "  client_auth_type: RequireAndVerifyClientCert\n", "2:3",
		      "client_ca_file or client_ca is missing");
	check_refused(TLS "  client_ca_file: a\n", "2:3", "client_auth_type");
	check_refused(TLS "  client_allowed_sans: [ a ]\n", "2:3", "client_auth_type");
	check_refused(TLS "  client_auth_type: Maybe\n", "4:21", "NoClientCert");
	check_refused(TLS "  min_version: TLS14\n", "4:16", "TLS13");
	check_refused(TLS "  max_version: TLS11\n", "2:3", "TLS12 by default");
	check_refused(TLS "  min_version: TLS13\n  max_version: TLS12\n", "2:3", "below");
	check_refused(TLS "  cipher_suites: [ RC4 ]\n", "4:20", "'RC4'");
	check_refused(TLS "  curve_preferences: [ X25519, X25519 ]\n", "4:32", "twice");
	check_refused(TLS "  cipher_suites:\n"
			  "  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n"
			  "  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n",
		      "5:3", "also allow TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
}

TEST(web_config_refuses_other_values_that_are_malformed)
{
	check_refused("basic_auth_users:\n  a: secret\n", "2:6", "bcrypt");
	check_refused("basic_auth_users:\n  a: $1$abcdefgh$abcdefghijklmnopqrstuv\n", "2:6",
		      "bcrypt");
	check_refused("basic_auth_users:\n  a: $2y$31$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/"
		      "VcEd00UAV/LDeSi\n",
		      "2:6", "4 to 15 here, not 31");
	check_refused("basic_auth_users:\n  'a:b': " HASH "\n", "2:3", "colon");
	check_refused("basic_auth_users:\n  '': " HASH "\n", "2:3", "not empty");
	check_refused("http_server_config:\n  headers:\n    X-Frame-Options: \"a\\nb\"\n", "3:22",
		      "printable");
	check_refused("rate_limit:\n  interval: 5\n", "2:13", "50ms");
	check_refused("rate_limit:\n  burst: 0\n", "2:10", "1 to 999999");
}

TEST(web_config_survives_what_yaml_can_be_made_to_do)
{
	char *deep = malloc(DEEP + 1), *big = malloc(WEB_CONFIG_BYTES_MAX + 1);

	CHECK(deep && big);
	memset(deep, '[', DEEP);
	deep[DEEP] = '\0';
	CHECK(web_config_parse(&config, "w.yml", deep, DEEP, error) != 0);
	memset(big, '#', WEB_CONFIG_BYTES_MAX + 1);
	CHECK(web_config_parse(&config, "w.yml", big, WEB_CONFIG_BYTES_MAX + 1, error) != 0);
	free(deep);
	free(big);
	check_refused("tls_server_config: &a\n  client_allowed_sans: [ *a ]\n", "1:20", "");
	check_refused("&a { tls_server_config: *a }\n", "1:6", "unknown key");
	check_refused("tls_server_config: *nobody\n", "1:20", "");
}
