/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - the exporter's command line, in the form of Prometheus' exporter-toolkit */
#ifndef KVTAP_EXPORTER_OPTIONS_H
#define KVTAP_EXPORTER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "budget.h"
#include "log.h"

#define OPTIONS_LISTEN_DEFAULT "127.0.0.1:18827"
#define OPTIONS_IDLE_NS (3600 * 1000000000ull)

struct options {
	const char *listen_address;  /* --web.listen-address=HOST:PORT; ":PORT" is all addresses */
	const char *telemetry_path;  /* --web.telemetry-path=/metrics */
	const char *dir;	     /* --dir=/dev/shm, else KVTAP_DIR */
	const char *name_space;	     /* --namespace=default, else KVTAP_NAMESPACE */
	bool rank_label;	     /* --label.rank: keep workers of one engine apart by rank */
	enum log_level log_level;    /* --log.level=info */
	uint64_t idle_timeout_ns;    /* --series.idle-timeout=1h; 0: never */
	struct budget_limits limits; /* --limit.* */
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
