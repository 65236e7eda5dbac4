/* SPDX-License-Identifier: Apache-2.0 */
/* test_options.c - the command line and the environment of the exporter */
#include "../exporter/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#define ARGUMENTS_MAX 20

static char printed[16384]; /* by the last parse, on the stream that it captured */
static struct options options;

/* Parses a command line of words, and keeps what is written to fd meanwhile. */
static enum options_next parse(int fd, const char *words)
{
	char *argv[ARGUMENTS_MAX + 2] = { (char[]){ "kvtap-exporter" } }, *state;
	int argc = 1, copy = dup(fd), file = memfd_create("printed", MFD_CLOEXEC);
	char line[1024];

	/* the strings of options are borrowed from here, so it must outlive the call */
	static char kept[sizeof(line)];
	snprintf(kept, sizeof(kept), "%s", words);
	for (char *word = strtok_r(kept, " ", &state); word && argc <= ARGUMENTS_MAX;
	     word = strtok_r(NULL, " ", &state))
		argv[argc++] = word;
	CHECK(copy >= 0 && file >= 0 && dup2(file, fd) >= 0);
	enum options_next next = options_parse(&options, argc, argv);
	fflush(NULL);
	CHECK(dup2(copy, fd) >= 0);
	ssize_t bytes = pread(file, printed, sizeof(printed) - 1, 0);
	CHECK(bytes >= 0);
	printed[bytes] = '\0';
	close(copy);
	close(file);
	return next;
}

/* The command line is refused, and stderr says so with this text. */
static void check_refused(const char *words, const char *said)
{
	enum options_next next = parse(STDERR_FILENO, words);

	if (next != OPTIONS_EXIT_USAGE || !strstr(printed, said) || !strstr(printed, "--help"))
		test_fail(__FILE__, __LINE__, "%s: %d, no '%s' in: %s", words, (int)next, said,
			  printed);
}

static void check_taken(const char *words)
{
	if (parse(STDERR_FILENO, words) != OPTIONS_RUN)
		test_fail(__FILE__, __LINE__, "%s: %s", words, printed);
	CHECK_STR(printed, "");
}

TEST(options_are_the_defaults_when_nothing_is_given)
{
	unsetenv("KVTAP_DIR");
	check_taken("");
	CHECK_EQ(options.listen_count, 1);
	CHECK_STR(options.listen_addresses[0], "127.0.0.1:18827");
	CHECK(!options.systemd_socket);
	CHECK(!options.web_config_file);
	CHECK_EQ(options.compression, HTTP_COMPRESSION_AUTO);
	CHECK_EQ(options.cut_timeout_ms, 50);
	CHECK_STR(options.telemetry_path, "/metrics");
	CHECK_STR(options.dir, "/dev/shm");
	CHECK_STR(options.name_space, "default");
	CHECK(!options.rank_label);
	CHECK_EQ(options.log_level, LOG_LEVEL_INFO);
	CHECK_EQ(options.interval_ns, 10000000000);
	CHECK_EQ(options.interval_format, INTERVAL_TEXT);
}

TEST(options_take_each_flag_when_given_with_an_equals_sign)
{
	check_taken("--web.listen-address=:0 --web.telemetry-path=/m --dir=/d --namespace=n "
		    "--label.rank --log.level=debug");
	CHECK_EQ(options.listen_count, 1);
	CHECK_STR(options.listen_addresses[0], ":0");
	CHECK_STR(options.telemetry_path, "/m");
	CHECK_STR(options.dir, "/d");
	CHECK_STR(options.name_space, "n");
	CHECK(options.rank_label);
	CHECK_EQ(options.log_level, LOG_LEVEL_DEBUG);
}

TEST(options_take_the_flags_of_the_interval_log_when_given)
{
	check_taken("--log.interval=1d --log.interval-format=json");
	CHECK_EQ(options.interval_ns, 24 * 3600 * 1000000000ll);
	CHECK_EQ(options.interval_format, INTERVAL_JSON);
	check_taken("--log.interval=0 --log.interval-format=text");
	CHECK_EQ(options.interval_ns, 0);
	CHECK_EQ(options.interval_format, INTERVAL_TEXT);
}

TEST(options_refuse_flags_of_the_interval_log_when_they_are_malformed)
{
	check_refused("--log.interval=10", "'10'");
	check_refused("--log.interval=99ms", "'99ms'");
	check_refused("--log.interval=25h", "'25h'");
	check_refused("--log.interval-format=xml", "'xml'");
}

TEST(options_take_the_flags_of_the_web_when_given)
{
	check_taken("--web.config.file=w.yml --web.compression=on --web.cut-timeout=2s "
		    "--web.listen-address=:1 --web.listen-address unix:/s");
	CHECK_STR(options.web_config_file, "w.yml");
	CHECK_EQ(options.compression, HTTP_COMPRESSION_ON);
	CHECK_EQ(options.cut_timeout_ms, 2000);
	CHECK_EQ(options.listen_count, 2);
	CHECK_STR(options.listen_addresses[0], ":1");
	CHECK_STR(options.listen_addresses[1], "unix:/s");
	check_taken("--web.systemd-socket --web.compression=off --web.cut-timeout=0ms");
	CHECK(options.systemd_socket);
	CHECK_EQ(options.compression, HTTP_COMPRESSION_OFF);
	CHECK_EQ(options.cut_timeout_ms, 0);
}

TEST(options_refuse_flags_of_the_web_when_they_are_malformed)
{
	check_refused("--web.compression=gzip", "'gzip'");
	check_refused("--web.cut-timeout=50", "'50'");
	check_refused("--web.cut-timeout=ms", "'ms'");
	check_refused("--web.cut-timeout=1.5s", "'1.5s'");
	check_refused("--web.cut-timeout=61s", "up to a minute");
	check_refused("--web.cut-timeout=99999999h", "99999999h");
	check_refused("--web.config.file=", "--web.config.file");
	check_refused("--web.systemd-socket --web.listen-address=:1", "only one");
}

TEST(options_take_sixteen_addresses_and_no_more)
{
	char words[] = "--web.listen-address=:1 --web.listen-address=:2 --web.listen-address=:3 "
		       "--web.listen-address=:4 --web.listen-address=:5 --web.listen-address=:6 ";
	char all[sizeof(words) * 3];

	strcpy(all, words);
	strcat(all, words);
	check_taken(all);
	CHECK_EQ(options.listen_count, 12);
	strcat(all, words);
	check_refused(all, "more than 16");
}

TEST(options_take_a_value_when_it_is_the_next_argument)
{
	check_taken("--namespace a.b-C_9 --log.level error");
	CHECK_STR(options.name_space, "a.b-C_9");
	CHECK_EQ(options.log_level, LOG_LEVEL_ERROR);
}

TEST(options_take_the_environment_when_there_is_no_flag)
{
	setenv("KVTAP_DIR", "/from/environment", 1);
	setenv("KVTAP_NAMESPACE", "environment", 1);
	check_taken("");
	CHECK_STR(options.dir, "/from/environment");
	CHECK_STR(options.name_space, "environment");
	check_taken("--dir=/from/flag --namespace=flag");
	CHECK_STR(options.dir, "/from/flag");
	CHECK_STR(options.name_space, "flag");
	setenv("KVTAP_DIR", "", 1);
	setenv("KVTAP_NAMESPACE", "", 1);
	check_taken("");
	CHECK_STR(options.dir, "/dev/shm");
	CHECK_STR(options.name_space, "default");
}

TEST(options_refuse_flags_and_arguments_that_are_unknown)
{
	check_refused("--web.listen=:1 --bogus", "--bogus");
	check_refused("--bogus=1", "--bogus");
	check_refused("stray", "'stray'");
	check_refused("--dir=/d stray --namespace=n", "'stray'");
	check_refused("--namespace", "namespace");
	check_refused("--label.rank=yes", "label.rank");
	check_refused("-x", "x");
}

TEST(options_refuse_a_namespace_when_it_is_malformed)
{
	char longest[65 + sizeof("--namespace=")] = "--namespace=";

	memset(longest + strlen(longest), 'n', 64);
	check_taken(longest);
	strcat(longest, "n");
	check_refused(longest, "--namespace");
	check_refused("--namespace=", "--namespace");
	check_refused("--namespace=.hidden", "'.hidden'");
	check_refused("--namespace=a/b", "'a/b'");
	check_refused("--namespace=\xc3\xa9", "--namespace");
	setenv("KVTAP_NAMESPACE", "..", 1);
	check_refused("", "KVTAP_NAMESPACE");
}

TEST(options_refuse_other_values_when_they_are_malformed)
{
	check_refused("--web.telemetry-path=metrics", "'metrics'");
	check_refused("--web.telemetry-path=", "--web.telemetry-path");
	check_refused("--web.telemetry-path=/a?b", "'/a?b'");
	check_refused("--web.telemetry-path=/a%20b", "'/a%20b'");
	check_refused("--log.level=loud", "'loud'");
	check_refused("--dir=", "--dir");
}

TEST(options_take_limits_and_the_idle_timeout)
{
	check_taken("");
	CHECK_EQ(options.idle_timeout_ns, 3600000000000);
	CHECK_EQ(options.limits.all.series, 1000000);
	CHECK_EQ(options.limits.worker.families, 256);
	check_taken("--series.idle-timeout=1h30m --limit.series=7 --limit.families=8 "
		    "--limit.bytes=9KiB --limit.string-bytes=10");
	CHECK_EQ(options.idle_timeout_ns, 5400000000000);
	CHECK_EQ(options.limits.all.series, 7);
	CHECK_EQ(options.limits.all.families, 8);
	CHECK_EQ(options.limits.all.bytes, 9216);
	CHECK_EQ(options.limits.all.string_bytes, 10);
	check_taken("--series.idle-timeout 0 --limit.worker-series=1 --limit.worker-families=2 "
		    "--limit.worker-bytes=3MiB --limit.worker-string-bytes=0");
	CHECK_EQ(options.idle_timeout_ns, 0);
	CHECK_EQ(options.limits.worker.series, 1);
	CHECK_EQ(options.limits.worker.families, 2);
	CHECK_EQ(options.limits.worker.bytes, 3 << 20);
	CHECK_EQ(options.limits.worker.string_bytes, 0);
	CHECK_EQ(options.limits.all.series, 1000000);
}

TEST(options_refuse_limits_and_timeouts_that_are_no_numbers)
{
	check_refused("--limit.series=many", "--limit.series: 'many'");
	check_refused("--limit.worker-bytes=1MB", "--limit.worker-bytes: '1MB'");
	check_refused("--limit.families=-1", "--limit.families: '-1'");
	check_refused("--limit.string-bytes=", "--limit.string-bytes: ''");
	check_refused("--limit.bytes=99999999999999999999", "--limit.bytes");
	check_refused("--limit.nothing=1", "limit.nothing");
	check_refused("--series.idle-timeout=60", "--series.idle-timeout: '60'");
	check_refused("--series.idle-timeout=1h30", "'1h30'");
}

TEST(options_help_names_every_flag_when_asked)
{
	static const char *const flags[] = {
		"--web.listen-address=127.0.0.1:18827",
		"--web.telemetry-path=/metrics",
		"--web.systemd-socket",
		"--web.config.file=",
		"--web.compression=auto",
		"--web.cut-timeout=50ms",
		"--dir=/dev/shm",
		"--namespace=default",
		"--label.rank",
		"--series.idle-timeout=1h",
		"--limit.series=1000000",
		"--limit.families=10000",
		"--limit.bytes=256MiB",
		"--limit.string-bytes=64MiB",
		"--limit.worker-series=100000",
		"--limit.worker-families=256",
		"--limit.worker-bytes=64MiB",
		"--limit.worker-string-bytes=16MiB",
		"--log.level=info",
		"--help",
		"--version",
		"KVTAP_DIR",
		"KVTAP_NAMESPACE",
	};

	CHECK_EQ(parse(STDOUT_FILENO, "--help"), OPTIONS_EXIT_OK);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (!strstr(printed, flags[i]))
			test_fail(__FILE__, __LINE__, "no %s in: %s", flags[i], printed);
	CHECK_EQ(parse(STDOUT_FILENO, "-h"), OPTIONS_EXIT_OK);
	CHECK(strstr(printed, "usage: kvtap-exporter"));
}

TEST(options_version_is_in_the_toolkits_form_when_asked)
{
	CHECK_EQ(parse(STDOUT_FILENO, "--version"), OPTIONS_EXIT_OK);
	CHECK(strncmp(printed, "kvtap-exporter, version ", 24) == 0);
	CHECK(strchr("0123456789", printed[24]));
	CHECK(strstr(printed, " (segment layout: "));
}
