/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_tls.c - the web configuration at work: TLS, client certificates, passwords, changes
 *
 * Servers and clients are real, certificates are made on the spot.
 */
#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support_http.h"
#include "support_tls.h"
#include "test.h"

#define TLS "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
#define VERIFY "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n"
/* joe:secret */
#define JOE "Authorization: Basic am9lOnNlY3JldA==\r\n"
#define JOE_WRONG "Authorization: Basic am9lOndyb25n\r\n"
#define ANN "Authorization: Basic YW5uOnNlY3JldA==\r\n"

static char config_path[256];

static void write_config(const char *text)
{
	snprintf(config_path, sizeof(config_path), "%s/web.yml", test_folder());
	write_file("web.yml", text);
}

/* basic_auth_users with one user whose password is given, at the least cost there is */
static void write_user(const char *name, const char *password, const char *more)
{
	char salt[CRYPT_GENSALT_OUTPUT_SIZE], text[1024];

	CHECK(crypt_gensalt_rn("$2b$", 4, "0123456789abcdef", 16, salt, sizeof(salt)));
	snprintf(text, sizeof(text), "%sbasic_auth_users:\n  %s: %s\n", more, name,
		 crypt(password, salt));
	write_config(text);
}

static void write_server(const char *name)
{
	struct identity identity;

	identity_make(&identity, name, NULL);
	identity_write(&identity, "server");
	identity_free(&identity);
}

/* A server with this configuration and a page. */
static void begin(struct server *server)
{
	server_prepare(server);
	server->options.web_config_file = config_path;
	publish_bytes(server, 100);
	server_start(server);
	server_drain(server);
}

static void end(struct server *server)
{
	server_end(server);
	remove_files();
}

static int ask_with(const struct server *server, const char *headers)
{
	int fd = connect_to(server);

	CHECK(fd >= 0);
	struct answer answer = ask(fd, "GET", "/metrics", headers);
	close(fd);
	free(answer.body);
	return answer.status;
}

/* ---- TLS ---- */

TEST(http_tls_serves_by_1_2_and_1_3_and_refuses_less)
{
	struct server server;

	write_server("server");
	write_config(TLS);
	begin(&server);
	CHECK_EQ(tls_ask(&server, NULL, NULL, "", NULL), 200);
	CHECK_EQ(tls_ask(&server, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL, "", NULL), 200);
	CHECK_EQ(tls_ask(&server, "NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL, "", NULL), 200);
	CHECK_EQ(tls_ask(&server, "NORMAL:-VERS-ALL:+VERS-TLS1.1", NULL, "", NULL), 0);
	CHECK_EQ(tls_ask(&server, "NORMAL:-VERS-ALL:+VERS-TLS1.0", NULL, "", NULL), 0);
	end(&server);
}

TEST(http_tls_keeps_to_the_versions_and_suites_that_are_configured)
{
	struct server server;

	write_server("server");
	write_config(TLS "  max_version: TLS12\n"
			 "  cipher_suites: [ TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 ]\n"
			 "  curve_preferences: [ CurveP384 ]\n");
	begin(&server);
	CHECK_EQ(tls_ask(&server, NULL, NULL, "", NULL), 200);
	CHECK_EQ(tls_ask(&server, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL, "", NULL), 0);
	CHECK_EQ(tls_ask(&server, "NORMAL:-AES-256-GCM", NULL, "", NULL), 0);
	CHECK_EQ(tls_ask(&server, "NORMAL:-GROUP-SECP384R1", NULL, "", NULL), 0);
	end(&server);
}

TEST(http_tls_closes_a_connection_that_is_not_tls)
{
	struct server server;

	write_server("server");
	write_config(TLS);
	begin(&server);
	int fd = connect_to(&server);
	send_text(fd, SCRAPE);
	wait_closed(fd);
	close(fd);
	CHECK_EQ(tls_ask(&server, NULL, NULL, "", NULL), 200);
	end(&server);
}

TEST(http_tls_refuses_a_client_without_a_certificate_that_is_trusted)
{
	static const char *const versions[] = { "NORMAL:-VERS-ALL:+VERS-TLS1.2",
						"NORMAL:-VERS-ALL:+VERS-TLS1.3" };
	struct identity ca, client, stranger;
	struct server server;

	write_server("server");
	identity_make(&ca, "ca", NULL);
	identity_write(&ca, "ca");
	identity_make(&client, "prometheus", &ca);
	identity_make(&stranger, "prometheus", NULL);
	write_config(TLS VERIFY);
	begin(&server);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(tls_ask(&server, versions[i], &client, "", NULL), 200);
		CHECK_EQ(tls_ask(&server, versions[i], NULL, "", NULL), 0);
		CHECK_EQ(tls_ask(&server, versions[i], &stranger, "", NULL), 0);
	}
	CHECK_EQ(server.passes, 2);
	identity_free(&ca);
	identity_free(&client);
	identity_free(&stranger);
	end(&server);
}

TEST(http_tls_takes_only_names_that_are_allowed)
{
	struct identity ca, client, other;
	struct server server;

	write_server("server");
	identity_make(&ca, "ca", NULL);
	identity_write(&ca, "ca");
	identity_make(&client, "prometheus", &ca);
	identity_make(&other, "prometheus.evil", &ca);
	write_config(TLS VERIFY "  client_allowed_sans: [ grafana, prometheus ]\n");
	begin(&server);
	CHECK_EQ(tls_ask(&server, NULL, &client, "", NULL), 200);
	CHECK_EQ(tls_ask(&server, NULL, &other, "", NULL), 0);
	identity_free(&ca);
	identity_free(&client);
	identity_free(&other);
	end(&server);
}

TEST(http_tls_asks_as_the_client_auth_type_says)
{
	static const struct {
		const char *type;
		int none, trusted, stranger;
	} cases[] = {
		{ TLS "  client_auth_type: RequestClientCert\n", 200, 200, 200 },
		{ TLS "  client_auth_type: RequireAnyClientCert\n", 0, 200, 200 },
		{ TLS "  client_ca_file: ca.crt\n  client_auth_type: VerifyClientCertIfGiven\n",
		  200, 200, 0 },
	};
	struct identity ca, client, stranger;

	write_server("server");
	identity_make(&ca, "ca", NULL);
	identity_make(&client, "client", &ca);
	identity_make(&stranger, "client", NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct server server;

		identity_write(&ca, "ca");
		write_config(cases[i].type);
		begin(&server);
		CHECK_EQ(tls_ask(&server, NULL, NULL, "", NULL), cases[i].none);
		CHECK_EQ(tls_ask(&server, NULL, &client, "", NULL), cases[i].trusted);
		CHECK_EQ(tls_ask(&server, NULL, &stranger, "", NULL), cases[i].stranger);
		server_end(&server);
	}
	identity_free(&ca);
	identity_free(&client);
	identity_free(&stranger);
	remove_files();
}

/* ---- passwords ---- */

TEST(http_auth_refuses_whoever_has_no_right_password)
{
	static const char *const wrong[] = {
		"",
		JOE_WRONG,
		ANN,
		"Authorization: Basic\r\n",
		"Authorization: Basic !!!\r\n",
		"Authorization: Bearer am9lOnNlY3JldA==\r\n",
		"Authorization: Basic am9l\r\n",
		"Authorization: Basic am9lOnNlY3JldABY\r\n", /* a NUL behind it */
	};
	struct server server;

	write_user("joe", "secret", "");
	begin(&server);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int fd = connect_to(&server);
		struct answer answer = ask(fd, "GET", "/metrics", wrong[i]);
		if (answer.status != 401 || !strstr(answer.head, "WWW-Authenticate: Basic realm="))
			test_fail(__FILE__, __LINE__, "%s: %s", wrong[i], answer.head);
		free(answer.body);
		close(fd);
	}
	CHECK_EQ(server.passes, 0);
	CHECK_EQ(http_count(server.http).unauthorized, sizeof(wrong) / sizeof(wrong[0]));
	end(&server);
}

TEST(http_auth_serves_the_right_password_first_and_again)
{
	struct server server;

	write_user("joe", "secret", "");
	begin(&server);
	int fd = connect_to(&server);
	for (int i = 0; i < 3; i++) {
		struct answer answer = ask(fd, "GET", "/metrics", JOE);
		CHECK_EQ(answer.status, 200);
		free(answer.body);
		CHECK_EQ(ask_with(&server, JOE_WRONG), 401);
	}
	close(fd);
	end(&server);
}

TEST(http_auth_guards_every_path_and_tls_too)
{
	struct server server;

	write_server("server");
	write_user("joe", "secret", TLS);
	begin(&server);
	CHECK_EQ(tls_ask(&server, NULL, NULL, JOE, NULL), 200);
	CHECK_EQ(tls_ask(&server, NULL, NULL, "", NULL), 401);
	server_end(&server);
	write_user("joe", "secret", "");
	begin(&server);
	CHECK_EQ(ask_status(&server, "GET", "/"), 401);
	CHECK_EQ(ask_status(&server, "GET", "/-/healthy"), 401);
	CHECK_EQ(ask_status(&server, "GET", "/none"), 401);
	end(&server);
}

TEST(http_stop_answers_whoever_waits_for_his_password)
{
	int fds[40], refused = 0, busy = 0;
	struct server server;

	write_user("joe", "secret", "");
	begin(&server);
	for (int i = 0; i < 40; i++) {
		fds[i] = connect_to(&server);
		send_text(fds[i], "GET / HTTP/1.1\r\nHost: x\r\n" JOE_WRONG "\r\n");
	}
	http_stop(server.http, 0);
	for (int i = 0; i < 40; i++) {
		char text[64] = "";
		if (recv(fds[i], text, sizeof(text) - 1, MSG_WAITALL) > 0) {
			refused += strncmp(text, "HTTP/1.1 401", 12) == 0;
			busy += strncmp(text, "HTTP/1.1 503", 12) == 0;
			CHECK(strncmp(text, "HTTP/1.1 200", 12) != 0);
		}
		close(fds[i]);
	}
	CHECK(refused + busy <= 40);
	server_clean(&server);
	remove_files();
}

/* ---- headers and rates ---- */

TEST(http_adds_the_headers_that_are_configured)
{
	struct server server;

	write_config("http_server_config:\n"
		     "  http2: true\n"
		     "  headers:\n"
		     "    Strict-Transport-Security: max-age=60\n"
		     "    Content-Security-Policy: default-src 'self'\n"
		     "    X-Content-Type-Options: ''\n");
	begin(&server);
	int fd = connect_to(&server);
	struct answer answer = ask(fd, "GET", "/", "");
	CHECK(strstr(answer.head, "Strict-Transport-Security: max-age=60\r\n"));
	CHECK(strstr(answer.head, "Content-Security-Policy: default-src 'self'\r\n"));
	CHECK(!strstr(answer.head, "X-Content-Type-Options"));
	free(answer.body);
	close(fd);
	end(&server);
}

TEST(http_refuses_requests_that_come_too_often)
{
	struct server server;

	write_config("rate_limit: { interval: 24h, burst: 3 }\n");
	begin(&server);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(ask_status(&server, "GET", "/metrics"), 200);
	CHECK_EQ(ask_status(&server, "GET", "/metrics"), 429);
	end(&server);
}

/* ---- changes ---- */

/* Asks until the server says otherwise; the test's time-out is the only end. */
static void wait_status(const struct server *server, const char *headers, int status)
{
	while (ask_with(server, headers) != status)
		usleep(20000);
}

TEST(http_reload_takes_a_new_password_and_forgets_the_old_one)
{
	struct server server;

	write_user("joe", "secret", "");
	begin(&server);
	CHECK_EQ(ask_with(&server, JOE), 200);
	write_user("joe", "other", "");
	wait_status(&server, JOE, 401);
	write_user("ann", "secret", "");
	http_reload(server.http);
	wait_status(&server, ANN, 200);
	CHECK_EQ(ask_with(&server, JOE), 401);
	end(&server);
}

TEST(http_reload_shows_a_new_certificate_to_new_connections)
{
	struct server server;
	char name[64] = "";

	write_server("old");
	write_config(TLS);
	begin(&server);
	CHECK_EQ(tls_ask(&server, NULL, NULL, "", name), 200);
	CHECK_STR(name, "old");
	write_server("new"); /* for a moment the certificate has another's key */
	do
		CHECK_EQ(tls_ask(&server, NULL, NULL, "", name), 200);
	while (strcmp(name, "new") != 0 && usleep(20000) == 0);
	end(&server);
}

TEST(http_reload_keeps_what_holds_when_the_new_file_is_bad)
{
	struct server server;

	write_user("joe", "secret", "");
	begin(&server);
	CHECK(http_count(server.http).config_good);
	write_config("basic_auth_user: {}\n");
	log_capture();
	http_reload(server.http);
	while (http_count(server.http).config_good)
		usleep(1000);
	CHECK_EQ(ask_with(&server, ""), 401);
	CHECK_EQ(ask_with(&server, JOE), 200);
	const char *logged = log_captured();
	const char *error = strstr(logged, "web.yml:1:1: unknown key 'basic_auth_user'");
	if (!error || strstr(error + 20, "unknown key")) /* said once */
		test_fail(__FILE__, __LINE__, "%s", logged);
	write_user("joe", "secret", "");
	http_reload(server.http);
	while (!http_count(server.http).config_good)
		usleep(1000);
	end(&server);
}

static bool answers_plain(const struct server *server)
{
	char text[13] = "";
	int fd = connect_to(server);

	CHECK(fd >= 0);
	send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	bool answered = recv(fd, text, sizeof(text) - 1, MSG_WAITALL) > 0;
	close(fd);
	return answered && strcmp(text, "HTTP/1.1 200") == 0;
}

TEST(http_reload_begins_and_ends_tls_on_the_same_socket)
{
	struct server server;

	write_config("");
	begin(&server);
	int old = connect_to(&server);
	struct answer answer = ask(old, "GET", "/metrics", "");
	CHECK_EQ(answer.status, 200);
	free(answer.body);
	write_server("server");
	write_config(TLS);
	http_reload(server.http);
	while (tls_ask(&server, NULL, NULL, "", NULL) != 200)
		usleep(20000);
	send_text(old, SCRAPE);
	char byte;
	CHECK(recv(old, &byte, 1, 0) <= 0); /* in plain there is nothing any more */
	close(old);
	write_config("");
	http_reload(server.http);
	/* while one daemon takes over from the other, it may be the wrong one that a client gets */
	while (!answers_plain(&server))
		usleep(20000);
	CHECK_EQ(tls_ask(&server, NULL, NULL, "", NULL), 0);
	end(&server);
}

/* With descriptors for the configuration's files, but for no thread, or for one of two. */
TEST(http_reload_begins_tls_once_there_are_descriptors_for_it)
{
	for (int count = 2; count <= 3; count++) {
		struct server server;

		write_config("");
		begin(&server);
		write_server("server");
		write_config(TLS);
		log_follow();
		struct rlimit limit = leave_descriptors(count);
		http_reload(server.http);
		log_followed("Cannot change over to the new configuration");
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
		log_unfollow();
		while (tls_ask(&server, NULL, NULL, "", NULL) != 200)
			usleep(20000);
		end(&server);
	}
}

static atomic_bool enough;

static void *scrape_many(void *arg)
{
	const struct server *server = arg;

	while (!enough) {
		int fd = connect_to(server);
		CHECK(fd >= 0);
		struct answer answer = ask(fd, "GET", "/metrics", JOE);
		CHECK_EQ(answer.status, 200);
		free(answer.body);
		close(fd);
	}
	return NULL;
}

TEST(http_reload_loses_no_request_when_the_file_changes_under_load)
{
	struct server server;
	pthread_t scrapers[4];

	write_user("joe", "secret", "");
	begin(&server);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&scrapers[i], NULL, scrape_many, &server), 0);
	for (int i = 0; i < 30; i++) {
		int passes = server.passes;
		write_user("joe", "secret", i % 2 ? "# other\n" : "");
		http_reload(server.http);
		while (server.passes < passes + 10)
			usleep(1000);
	}
	enough = true;
	for (int i = 0; i < 4; i++)
		pthread_join(scrapers[i], NULL);
	end(&server);
}

/* ---- start ---- */

static void check_start_refused(const char *config, const char *words)
{
	struct server server;
	int rc;

	write_config(config);
	server_prepare(&server);
	server.options.web_config_file = config_path;
	const char *logged = server_try(&server, (const char *[]){ "127.0.0.1:0", NULL }, &rc);
	if (rc == 0 || server.http || !strstr(logged, "level=error") || !strstr(logged, words))
		test_fail(__FILE__, __LINE__, "%d, no '%s': %s", rc, words, logged);
	server_clean(&server);
}

TEST(http_start_says_what_is_wrong_with_the_configuration)
{
	struct identity other;

	check_start_refused("users: {}\n", "web.yml:1:1: unknown key 'users' in the file");
	check_start_refused(TLS, "/server.crt: No such file or directory");
	write_server("server");
	write_file("server.key", "no key");
	check_start_refused(TLS, "tls_server_config: certificate and key");
	write_server("server");
	identity_make(&other, "other", NULL);
	identity_write(&other, "other");
	identity_free(&other);
	check_start_refused("tls_server_config:\n  cert_file: server.crt\n  key_file: other.key\n",
			    "tls_server_config: certificate and key");
	write_file("ca.crt", "");
	check_start_refused(TLS VERIFY, "no certificate in client_ca");
	remove_files();
	check_start_refused(TLS, "/server.crt: No such file or directory");
	CHECK_EQ(unlink(config_path), 0);
	struct server server;
	int rc;
	server_prepare(&server);
	server.options.web_config_file = config_path;
	const char *logged = server_try(&server, (const char *[]){ "127.0.0.1:0", NULL }, &rc);
	CHECK(rc != 0 && strstr(logged, "/web.yml: No such file or directory"));
	server_clean(&server);
}
