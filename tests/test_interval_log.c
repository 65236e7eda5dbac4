/* SPDX-License-Identifier: Apache-2.0 */
/* test_interval_log.c - the lines of a real exporter on its standard output */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support_connector.h"
#include "support_exporter.h"
#include "support_segment.h"
#include "test.h"

static struct exporter exporter;
static int output; /* what the exporter writes can be read here */

/* Start the exporter with these flags and a pipe as its standard output. */
static void begin(const char *interval, const char *format)
{
	int own = dup(STDOUT_FILENO), ends[2];

	CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
	fflush(stdout);
	CHECK(own >= 0 && dup2(ends[1], STDOUT_FILENO) >= 0);
	exporter_begin(&exporter, (const char *[]){ interval, format, NULL });
	CHECK(dup2(own, STDOUT_FILENO) >= 0);
	close(own);
	close(ends[1]);
	output = ends[0];
	exporter_await(&exporter);
}

/* The next line; without one that comes, the test runs out of time. "": there will be none. */
static const char *next_line(void)
{
	static char line[4096];
	size_t bytes = 0;

	while (bytes < sizeof(line) - 1) {
		ssize_t count = read(output, line + bytes, 1);

		if (count < 0 && errno == EINTR)
			continue;
		CHECK(count >= 0);
		if (!count || line[bytes] == '\n')
			break;
		bytes++;
	}
	line[bytes] = '\0';
	return line;
}

static void check_form(const char *text, const char *form)
{
	regex_t compiled;

	CHECK_EQ(regcomp(&compiled, form, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&compiled, text, 0, NULL, 0))
		test_fail(__FILE__, __LINE__, "not as %s: %s", form, text);
	regfree(&compiled);
}

static void end(void)
{
	close(output);
	test_leaves_files();
}

static uint32_t sent(struct kvtap *tap)
{
	return connector_family(tap, connector_declare(tap, "C", KVTAP_SUMMARY_FAMILIES),
				KVTAP_COUNTER, KVTAP_UNIT_COUNT, KVTAP_ROLE_NONE, "sent", NULL);
}

TEST(interval_log_tells_the_last_interval_when_the_exporter_stops)
{
	struct kvtap *tap = connector_tap("0", NULL);

	begin("--log.interval=1d", NULL);
	kvtap_add(tap, sent(tap), 3);
	exporter_stop(&exporter);
	check_form(next_line(), "^INFO [0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} \\[kvtap\\] "
				"KV Transfer metrics: sent=3, Model=m, Engine=0$");
	CHECK_STR(next_line(), "");
	kvtap_close(tap);
	end();
}

TEST(interval_log_tells_each_interval_once_while_the_exporter_runs)
{
	struct kvtap *tap = connector_tap("0", NULL);

	begin("--log.interval=100ms", "--log.interval-format=json");
	uint32_t series = sent(tap);
	for (int i = 1; i <= 3; i++) {
		kvtap_add(tap, series, i);
		const char *line = next_line();
		check_form(line, "^\\{\"ts\":\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z\","
				 "\"interval_s\":[0-9.]+,\"model_name\":\"m\",\"engine\":\"0\","
				 "\"connectors\":\\{\"C\":\\{\"sent\":[0-9]\\}\\}\\}$");
		CHECK_EQ(strtol(strstr(line, "sent\":") + 6, NULL, 10), i);
	}
	exporter_stop(&exporter);
	CHECK_STR(next_line(), "");
	kvtap_close(tap);
	end();
}

TEST(interval_log_is_silent_when_it_is_off)
{
	struct kvtap *tap = connector_tap("0", NULL);

	begin("--log.interval=0", NULL);
	kvtap_add(tap, sent(tap), 3);
	exporter_stop(&exporter);
	CHECK_STR(next_line(), "");
	kvtap_close(tap);
	end();
}

/* Lines until the pipe takes no more; each time the next of an interval is lost. */
TEST(interval_log_disturbs_nobody_when_it_is_not_read)
{
	struct kvtap *tap = connector_tap("0", NULL);
	double lost = 0;

	begin("--log.interval=100ms", NULL);
	CHECK_EQ(fcntl(output, F_SETPIPE_SZ, 4096), 4096);
	uint32_t series = sent(tap);
	for (uint32_t recorded = 1; lost < 2; recorded++) {
		kvtap_add(tap, series, 1);
		char *page = exporter_scrape(&exporter);
		CHECK_EQ(page_value(page, "sent_total{engine=\"0\",model_name=\"m\"}"), recorded);
		lost = page_value(page, "kvtap_interval_lines_lost_total");
		free(page);
	}
	exporter_stop(&exporter);
	kvtap_close(tap);
	end();
}

TEST(interval_log_disturbs_nobody_when_its_reader_is_gone)
{
	struct kvtap *tap = connector_tap("0", NULL);
	double lost = 0;

	begin("--log.interval=100ms", NULL);
	close(output);
	output = -1;
	uint32_t series = sent(tap);
	while (lost < 2) {
		kvtap_add(tap, series, 1);
		char *page = exporter_scrape(&exporter);
		lost = page_value(page, "kvtap_interval_lines_lost_total");
		free(page);
	}
	exporter_stop(&exporter);
	kvtap_close(tap);
	end();
}
