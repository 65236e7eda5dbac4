/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kvtap-demo: real transfers of real processes, and what a scrape says of them
 *
 * Parses the command line. The same program is the driver and, started again by it with --role,
 * each worker.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"
#include "driver.h"
#include "roles.h"

static const char help[] =
	"usage: kvtap-demo --exporter PATH [--seconds N] [--workers W] [--threads T] [--keep]\n"
	"\n"
	"Starts the exporter and workers that move KV-shaped data, kills one of the workers on the "
	"way,\n"
	"and compares what each worker counted with what a scrape says. Exit status 1 if one "
	"number\n"
	"differs.\n"
	"\n"
	"  --exporter PATH  the kvtap-exporter to start\n"
	"  --seconds N      how long the workers run (10)\n"
	"  --workers W      offload workers, 1 to 64 (2); a prefill and a decode worker come to "
	"them\n"
	"  --threads T      threads of an offload worker, 1 to 16 (2)\n"
	"  --keep           go on until Ctrl-C, to look with a browser or curl; then the table\n";

/* argv: kvtap-demo --role NAME rank threads blocks truth peer pool; only from the driver */
static int run_role(char **argv)
{
	struct role role = { .name = argv[2],
			     .rank = (uint32_t)atoi(argv[3]),
			     .threads = (uint32_t)atoi(argv[4]),
			     .blocks = (uint32_t)atoi(argv[5]),
			     .truth_fd = atoi(argv[6]),
			     .peer_fd = atoi(argv[7]),
			     .pool_fd = atoi(argv[8]) };

	if (!strcmp(role.name, "offload"))
		return offload_main(&role);
	return !strcmp(role.name, "prefill") ? prefill_main(&role) : decode_main(&role);
}

static uint32_t number(const char *name, const char *text, uint32_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < 1 || value > max) {
		fprintf(stderr, "kvtap-demo: --%s %s: not a number from 1 to %u\n", name, text,
			max);
		exit(2);
	}
	return (uint32_t)value;
}

static void parse(struct driver_options *options, int argc, char **argv)
{
	static const struct option names[] = {
		{ "exporter", required_argument, NULL, 'e' },
		{ "seconds", required_argument, NULL, 's' },
		{ "workers", required_argument, NULL, 'w' },
		{ "threads", required_argument, NULL, 't' },
		{ "keep", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (letter == 'e')
			options->exporter = optarg;
		else if (letter == 's')
			options->seconds = number("seconds", optarg, 86400);
		else if (letter == 'w')
			options->workers = number("workers", optarg, OFFLOAD_MAX);
		else if (letter == 't')
			options->threads = number("threads", optarg, THREADS_MAX);
		else if (letter == 'k')
			options->keep = true;
		else {
			fputs(help, letter == 'h' ? stdout : stderr);
			exit(letter == 'h' ? 0 : 2);
		}
	}
	if (!options->exporter || optind < argc) {
		fputs(help, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct driver_options options = { .seconds = 10, .workers = 2, .threads = 2 };

	if (argc == 9 && !strcmp(argv[1], "--role"))
		return run_role(argv);
	parse(&options, argc, argv);
	return driver_run(&options);
}
