/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - the exporter's command line, in the form of Prometheus' exporter-toolkit */
#ifndef KVTAP_EXPORTER_OPTIONS_H
#define KVTAP_EXPORTER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "budget.h"
#include "http.h"
#include "interval_log.h"
#include "log.h"

#define OPTIONS_LISTEN_DEFAULT "127.0.0.1:18827"
#define OPTIONS_INTERVAL_NS (10 * 1000000000ull)
#define OPTIONS_IDLE_NS (3600 * 1000000000ull)

struct options {
	/* --web.listen-address=HOST:PORT, once for each; ":PORT" is all addresses; or unix:/path */
	const char *listen_addresses[HTTP_LISTENERS_MAX];
	size_t listen_count;
	bool systemd_socket;		   /* --web.systemd-socket, instead of addresses */
	const char *telemetry_path;	   /* --web.telemetry-path=/metrics */
	const char *web_config_file;	   /* --web.config.file=; NULL: none */
	enum http_compression compression; /* --web.compression=auto */
	int cut_timeout_ms;		   /* --web.cut-timeout=50ms */
	const char *dir;		   /* --dir=/dev/shm, else KVTAP_DIR */
	const char *name_space;		   /* --namespace=default, else KVTAP_NAMESPACE */
	bool rank_label;	  /* --label.rank: keep workers of one engine apart by rank */
	enum log_level log_level; /* --log.level=info */
	uint64_t interval_ns;	  /* --log.interval=10s; 0: no interval log */
	enum interval_format interval_format; /* --log.interval-format=text */
	uint64_t idle_timeout_ns;	      /* --series.idle-timeout=1h; 0: never */
	struct budget_limits limits;	      /* --limit.* */
};

enum options_next { OPTIONS_RUN, OPTIONS_EXIT_OK, OPTIONS_EXIT_USAGE };

/**
 * options_parse - read argv and the environment
 *
 * --flag=value and --flag value are both taken. --help and --version print to stdout and say
 * EXIT_OK; a flag or value that is not understood prints what and where to stderr and says
 * EXIT_USAGE (exit status 2). Strings are borrowed from argv and the environment.
 */
enum options_next options_parse(struct options *options, int argc, char **argv);

#endif
