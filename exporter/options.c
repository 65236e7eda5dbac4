/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - argv and the environment to struct options
 *
 * getopt_long(3) takes the flags apart and words what it does not know; here are the defaults and
 * what a value must look like. A listen address is judged where it is used, by http_start().
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "kvtap.h"
#include "kvtap_layout.h"
#include "quantity.h"

#define CUT_TIMEOUT_MAX_MS 60000
#define INTERVAL_MIN_NS (100 * CLOCK_MS)
#define INTERVAL_MAX_NS (24 * 3600 * 1000 * CLOCK_MS)
#define NAMESPACE_MAX 64
#define NAMESPACE_CHARS                                                                            \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ"                                                               \
	"abcdefghijklmnopqrstuvwxyz"                                                               \
	"0123456789_.-"

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

static const char help[] =
	"usage: kvtap-exporter [<flags>]\n"
	"\n"
	"Drain the rings of kvtap's workers and serve their metrics to Prometheus.\n"
	"\n"
	"Workers:\n"
	"  --dir=/dev/shm         Folder on a tmpfs that the workers share with the exporter.\n"
	"                         Default: KVTAP_DIR from the environment, else /dev/shm.\n"
	"  --namespace=default    Read the workers of this namespace: 1 to 64 of A-Z a-z 0-9 _ . "
	"-,\n"
	"                         not beginning with a dot.\n"
	"                         Default: KVTAP_NAMESPACE from the environment, else default.\n"
	"  --label.rank           Keep the workers of one engine apart by a label rank.\n"
	"                         Default: off, they add up.\n"
	"\n"
	"Series:\n"
	"  --series.idle-timeout=1h\n"
	"                         Remove series so long after their last worker: 90s, 1h30m, 7d.\n"
	"                         0: never.\n"
	"  --limit.series=1000000, --limit.worker-series=100000\n"
	"  --limit.families=10000, --limit.worker-families=256\n"
	"  --limit.bytes=256MiB, --limit.worker-bytes=64MiB\n"
	"  --limit.string-bytes=64MiB, --limit.worker-string-bytes=16MiB\n"
	"                         How much there may be in all, and made for one worker: series,\n"
	"                         families, bytes of a page as text, bytes of names, help and\n"
	"                         labels. A series beyond that adds to one series of its family.\n"
	"\n"
	"Web:\n"
	"  --web.listen-address=" OPTIONS_LISTEN_DEFAULT "\n"
	"                         HOST:PORT, [IPV6]:PORT or unix:/PATH to listen on; :PORT is all\n"
	"                         addresses, port 0 one that is free. May be given several times.\n"
	"  --web.systemd-socket   Listen on the sockets that systemd gives, instead of addresses.\n"
	"  --web.config.file=     File with certificates, users and headers, in the form of\n"
	"                         Prometheus' exporter-toolkit. Read again when it changes.\n"
	"  --web.telemetry-path=/metrics\n"
	"                         Path under which the metrics are.\n"
	"  --web.compression=auto\n"
	"                         Pages in gzip for clients that take it: on, off, or auto, for "
	"big\n"
	"                         pages to other machines.\n"
	"  --web.cut-timeout=50ms\n"
	"                         How long a scrape waits for what was recorded before it, before "
	"it\n"
	"                         gets the last page.\n"
	"\n"
	"Log:\n"
	"  --log.level=info       Least level that is written to stderr: debug, info, warn, "
	"error.\n"
	"  --log.interval=10s     Write a line about the transfers of each engine to stdout so "
	"often:\n"
	"                         100ms to 1d. 0: never.\n"
	"  --log.interval-format=text\n"
	"                         text, as vLLM logs it, or json.\n"
	"\n"
	"  -h, --help             Show this text and exit.\n"
	"  --version              Show the version and exit.\n";

enum flag {
	FLAG_LISTEN_ADDRESS = 256,
	FLAG_SYSTEMD_SOCKET,
	FLAG_WEB_CONFIG_FILE,
	FLAG_TELEMETRY_PATH,
	FLAG_COMPRESSION,
	FLAG_CUT_TIMEOUT,
	FLAG_DIR,
	FLAG_NAMESPACE,
	FLAG_LABEL_RANK,
	FLAG_LOG_LEVEL,
	FLAG_LOG_INTERVAL,
	FLAG_LOG_INTERVAL_FORMAT,
	FLAG_VERSION,
	FLAG_IDLE_TIMEOUT,
	FLAG_LIMIT = 4096, /* and where it stands in struct options */
};

#define LIMIT(name, field)                                                                         \
	{                                                                                          \
		"limit." name, required_argument, NULL,                                            \
			FLAG_LIMIT + offsetof(struct options, limits.field)                        \
	}

static const struct option flags[] = {
	{ "series.idle-timeout", required_argument, NULL, FLAG_IDLE_TIMEOUT },
	LIMIT("series", all.series),
	LIMIT("families", all.families),
	LIMIT("bytes", all.bytes),
	LIMIT("string-bytes", all.string_bytes),
	LIMIT("worker-series", worker.series),
	LIMIT("worker-families", worker.families),
	LIMIT("worker-bytes", worker.bytes),
	LIMIT("worker-string-bytes", worker.string_bytes),
	{ "web.listen-address", required_argument, NULL, FLAG_LISTEN_ADDRESS },
	{ "web.systemd-socket", no_argument, NULL, FLAG_SYSTEMD_SOCKET },
	{ "web.config.file", required_argument, NULL, FLAG_WEB_CONFIG_FILE },
	{ "web.telemetry-path", required_argument, NULL, FLAG_TELEMETRY_PATH },
	{ "web.compression", required_argument, NULL, FLAG_COMPRESSION },
	{ "web.cut-timeout", required_argument, NULL, FLAG_CUT_TIMEOUT },
	{ "dir", required_argument, NULL, FLAG_DIR },
	{ "namespace", required_argument, NULL, FLAG_NAMESPACE },
	{ "label.rank", no_argument, NULL, FLAG_LABEL_RANK },
	{ "log.level", required_argument, NULL, FLAG_LOG_LEVEL },
	{ "log.interval", required_argument, NULL, FLAG_LOG_INTERVAL },
	{ "log.interval-format", required_argument, NULL, FLAG_LOG_INTERVAL_FORMAT },
	{ "version", no_argument, NULL, FLAG_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const char *environment(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	return value && *value ? value : fallback;
}

static void print_version(void)
{
	printf("kvtap-exporter, version " KVTAP_VERSION " (segment layout: %d)\n"
	       "  compiler:         " COMPILER "\n",
	       KVTAP_LAYOUT_MAJOR);
}

static int take_limit(struct options *options, int flag)
{
	uint64_t *limit = (uint64_t *)((char *)options + (flag - FLAG_LIMIT));
	const struct option *named = flags;

	if (quantity_count(limit, optarg))
		return 0;
	while (named->val != flag)
		named++;
	fprintf(stderr, "--%s: '%s' is no count such as 1000, nor a size such as 64MiB\n",
		named->name, optarg);
	return -EINVAL;
}

static int take_listen_address(struct options *options)
{
	if (options->listen_count == HTTP_LISTENERS_MAX) {
		fprintf(stderr, "--web.listen-address: more than %d of them\n", HTTP_LISTENERS_MAX);
		return -EINVAL;
	}
	options->listen_addresses[options->listen_count++] = optarg;
	return 0;
}

static int take_compression(struct options *options)
{
	static const char *const names[] = {
		[HTTP_COMPRESSION_AUTO] = "auto",
		[HTTP_COMPRESSION_ON] = "on",
		[HTTP_COMPRESSION_OFF] = "off",
	};

	for (int i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++) {
		if (strcmp(optarg, names[i]) == 0) {
			options->compression = (enum http_compression)i;
			return 0;
		}
	}
	fprintf(stderr, "--web.compression: '%s' is none of auto, on, off\n", optarg);
	return -EINVAL;
}

static int take_cut_timeout(struct options *options)
{
	uint64_t timeout_ns;

	if (quantity_duration(&timeout_ns, optarg) && timeout_ns <= CUT_TIMEOUT_MAX_MS * CLOCK_MS) {
		options->cut_timeout_ms = (int)(timeout_ns / CLOCK_MS);
		return 0;
	}
	fprintf(stderr,
		"--web.cut-timeout: '%s' is no duration such as 50ms or 2s, up to a minute\n",
		optarg);
	return -EINVAL;
}

static int take_interval(struct options *options)
{
	uint64_t ns;

	if (quantity_duration(&ns, optarg) &&
	    (ns == 0 || (ns >= INTERVAL_MIN_NS && ns <= INTERVAL_MAX_NS))) {
		options->interval_ns = ns;
		return 0;
	}
	fprintf(stderr,
		"--log.interval: '%s' is no duration from 100ms to 1d, such as 10s or 5m, nor 0\n",
		optarg);
	return -EINVAL;
}

static int take_interval_format(struct options *options)
{
	bool json = strcmp(optarg, "json") == 0;

	if (json || strcmp(optarg, "text") == 0) {
		options->interval_format = json ? INTERVAL_JSON : INTERVAL_TEXT;
		return 0;
	}
	fprintf(stderr, "--log.interval-format: '%s' is none of text, json\n", optarg);
	return -EINVAL;
}

/* Says what is wrong. */
static int take_web_flag(struct options *options, int flag)
{
	switch (flag) {
	case FLAG_LISTEN_ADDRESS:
		return take_listen_address(options);
	case FLAG_SYSTEMD_SOCKET:
		options->systemd_socket = true;
		return 0;
	case FLAG_WEB_CONFIG_FILE:
		options->web_config_file = optarg;
		return 0;
	case FLAG_TELEMETRY_PATH:
		options->telemetry_path = optarg;
		return 0;
	case FLAG_COMPRESSION:
		return take_compression(options);
	case FLAG_CUT_TIMEOUT:
		return take_cut_timeout(options);
	default: /* getopt_long has said what */
		return -EINVAL;
	}
}

/* Says what is wrong; the level is parsed on the way. */
static int take_log_flag(struct options *options, int flag)
{
	if (flag == FLAG_LOG_INTERVAL)
		return take_interval(options);
	if (flag == FLAG_LOG_INTERVAL_FORMAT)
		return take_interval_format(options);
	if (log_level_parse(&options->log_level, optarg) == 0)
		return 0;
	fprintf(stderr, "--log.level: '%s' is none of debug, info, warn, error\n", optarg);
	return -EINVAL;
}

/* Says what is wrong. */
static int take_flag(struct options *options, int flag, enum options_next *next)
{
	switch (flag) {
	case FLAG_DIR:
		options->dir = optarg;
		return 0;
	case FLAG_NAMESPACE:
		options->name_space = optarg;
		return 0;
	case FLAG_LABEL_RANK:
		options->rank_label = true;
		return 0;
	case FLAG_LOG_LEVEL:
	case FLAG_LOG_INTERVAL:
	case FLAG_LOG_INTERVAL_FORMAT:
		return take_log_flag(options, flag);
	case FLAG_IDLE_TIMEOUT:
		if (quantity_duration(&options->idle_timeout_ns, optarg))
			return 0;
		fprintf(stderr,
			"--series.idle-timeout: '%s' is no duration such as 90s, 1h30m, 7d\n",
			optarg);
		return -EINVAL;
	case FLAG_VERSION:
		print_version();
		*next = OPTIONS_EXIT_OK;
		return 0;
	case 'h':
		fputs(help, stdout);
		*next = OPTIONS_EXIT_OK;
		return 0;
	default:
		return flag >= FLAG_LIMIT ? take_limit(options, flag)
					  : take_web_flag(options, flag);
	}
}

static bool is_path(const char *path)
{
	if (*path != '/')
		return false;
	for (; *path; path++)
		if (*path <= ' ' || *path > '~' || strchr("?#%", *path))
			return false;
	return true;
}

static bool is_namespace(const char *name)
{
	size_t bytes = strlen(name);

	return bytes >= 1 && bytes <= NAMESPACE_MAX && *name != '.' &&
	       strspn(name, NAMESPACE_CHARS) == bytes;
}

static int check(const struct options *options)
{
	if (!is_path(options->telemetry_path)) {
		fprintf(stderr,
			"--web.telemetry-path: '%s' does not begin with a slash, or holds a space, "
			"?, #, %% or a character beyond ASCII\n",
			options->telemetry_path);
		return -EINVAL;
	}
	if (!is_namespace(options->name_space)) {
		fprintf(stderr,
			"--namespace, KVTAP_NAMESPACE: '%s' is not 1 to %d of A-Z a-z 0-9 _ . -, "
			"or begins with a dot\n",
			options->name_space, NAMESPACE_MAX);
		return -EINVAL;
	}
	if (options->systemd_socket && options->listen_count) {
		fprintf(stderr,
			"--web.systemd-socket and --web.listen-address: only one of them\n");
		return -EINVAL;
	}
	if (options->web_config_file && !*options->web_config_file) {
		fprintf(stderr, "--web.config.file: is empty\n");
		return -EINVAL;
	}
	if (!*options->dir) {
		fprintf(stderr, "--dir: is empty\n");
		return -EINVAL;
	}
	return 0;
}

static int read_flags(struct options *options, int argc, char **argv, enum options_next *next)
{
	int flag;

	optind = 0; /* begin anew, also when argv was read before */
	while ((flag = getopt_long(argc, argv, "h", flags, NULL)) != -1) {
		int rc = take_flag(options, flag, next);
		if (rc != 0 || *next != OPTIONS_RUN)
			return rc;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument '%s'\n", argv[0], argv[optind]);
		return -EINVAL;
	}
	return check(options);
}

enum options_next options_parse(struct options *options, int argc, char **argv)
{
	enum options_next next = OPTIONS_RUN;

	*options = (struct options){
		.cut_timeout_ms = 50,
		.telemetry_path = "/metrics",
		.dir = environment("KVTAP_DIR", "/dev/shm"),
		.name_space = environment("KVTAP_NAMESPACE", "default"),
		.log_level = LOG_LEVEL_INFO,
		.interval_ns = OPTIONS_INTERVAL_NS,
		.idle_timeout_ns = OPTIONS_IDLE_NS,
		.limits = budget_defaults,
	};
	int rc = read_flags(options, argc, argv, &next);
	if (!options->listen_count)
		options->listen_addresses[options->listen_count++] = OPTIONS_LISTEN_DEFAULT;
	if (rc == 0)
		return next;
	fputs("try 'kvtap-exporter --help'\n", stderr);
	return OPTIONS_EXIT_USAGE;
}
