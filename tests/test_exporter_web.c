/* SPDX-License-Identifier: Apache-2.0 */
/* test_exporter_web.c - the real exporter with a web configuration, and what it says of itself */
#include <crypt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_exporter.h"
#include "support_tls.h"
#include "test.h"

static char flag[300];

static void write_config(const char *text)
{
	snprintf(flag, sizeof(flag), "--web.config.file=%s/web.yml", test_folder());
	write_file("web.yml", text);
}

static void begin(struct exporter *exporter, const char *config)
{
	if (!exporter_path())
		SKIP("there is no exporter beside this test");
	write_config(config);
	exporter_start(exporter, (const char *[]){ flag, NULL });
}

static void end(struct exporter *exporter)
{
	char path[256];

	exporter_stop(exporter);
	snprintf(path, sizeof(path), "%s/web.yml", test_folder());
	CHECK_EQ(unlink(path), 0);
	test_leaves_files(); /* the namespace's folder */
}

/* Waits until a scrape shows this value; the test's time-out is the only end. */
static void wait_value(struct exporter *exporter, const char *sample, double value)
{
	for (;;) {
		char *page = exporter_scrape(exporter);
		bool same = page_value(page, sample) == value;

		free(page);
		if (same)
			return;
		usleep(10000);
	}
}

TEST(exporter_says_whether_its_web_configuration_was_good_when_it_was_told_to_read_it)
{
	struct exporter exporter;

	begin(&exporter, "");
	wait_value(&exporter, "kvtap_web_config_last_reload_successful", 1);
	write_config("nonsense\n");
	CHECK_EQ(kill(exporter.pid, SIGHUP), 0);
	wait_value(&exporter, "kvtap_web_config_last_reload_successful", 0);
	CHECK(exporter_says(&exporter, "web.yml:1:1: "));
	write_config("# good again\n");
	CHECK_EQ(kill(exporter.pid, SIGHUP), 0);
	wait_value(&exporter, "kvtap_web_config_last_reload_successful", 1);
	end(&exporter);
}

TEST(exporter_asks_for_a_password_when_users_are_configured)
{
	char salt[CRYPT_GENSALT_OUTPUT_SIZE], config[512];
	struct exporter exporter;
	int refused = 1;

	CHECK(crypt_gensalt_rn("$2b$", 4, "0123456789abcdef", 16, salt, sizeof(salt)));
	snprintf(config, sizeof(config), "basic_auth_users:\n  joe: %s\n", crypt("secret", salt));
	begin(&exporter, config);
	CHECK_EQ(exporter_get(&exporter, "/metrics", NULL), 401);
	write_config("");
	CHECK_EQ(kill(exporter.pid, SIGHUP), 0);
	for (; exporter_get(&exporter, "/metrics", NULL) != 200; refused++)
		usleep(10000);
	/* the exporter's own numbers may be a second old */
	wait_value(&exporter, "kvtap_http_unauthorized_total", refused);
	wait_value(&exporter, "kvtap_web_config_last_reload_successful", 1);
	wait_value(&exporter, "kvtap_http_connections", 1); /* this one */
	char *page = exporter_scrape(&exporter);
	CHECK(page_value(page, "kvtap_http_closed_total{reason=\"request_slow\"}") == 0);
	free(page);
	end(&exporter);
}

TEST(exporter_does_not_start_when_its_web_configuration_is_bad)
{
	int status;

	if (!exporter_path())
		SKIP("there is no exporter beside this test");
	write_config("tls_server_config:\n  cert_fil: a\n");
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		char dir[128];

		snprintf(dir, sizeof(dir), "--dir=%s", test_folder());
		execl(exporter_path(), exporter_path(), dir, "--web.listen-address=127.0.0.1:0",
		      flag, (char *)NULL);
		_exit(127);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 1);
	test_leaves_files();
}
