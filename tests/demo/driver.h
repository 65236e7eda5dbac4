/* SPDX-License-Identifier: Apache-2.0 */
/* driver.h - one run of the demo, from the exporter's start to the table */
#ifndef DEMO_DRIVER_H
#define DEMO_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

struct driver_options {
	const char *exporter;
	uint32_t seconds, workers, threads;
	bool keep; /* go on until Ctrl-C */
};

/* driver_run - the exit status: 0 if every number is equal */
int driver_run(const struct driver_options *options);

#endif
