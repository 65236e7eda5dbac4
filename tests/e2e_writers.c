/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e2e_writers.c - a worker whose threads record as fast as they can until it is ended
 *
 *	e2e_writers ENGINE THREADS
 *
 * Says "ready" when each series has a record. Not a test: tests/e2e_cut.sh runs it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support_load.h"
#include "test.h"

#define SHARDS 1
#define CHUNK 1000

static struct load load;
static struct load_truth truth[64]; /* of nobody's interest here */

static void *record(void *argument)
{
	struct load_truth *own = argument;
	uint64_t seed = 1 + (uint64_t)(own - truth);

	for (;;)
		load_record(&load, own, &seed, CHUNK);
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc == 3 ? atoi(argv[2]) : 0;
	uint64_t seed = 100;

	if (threads < 1 || threads > 63) {
		fprintf(stderr, "usage: e2e_writers ENGINE THREADS\n");
		return 2;
	}
	load_open(&load, &(struct kvtap_options){ .engine = argv[1] }, SHARDS);
	load_record(&load, &truth[63], &seed, CHUNK);
	printf("ready\n");
	fflush(stdout);
	for (int i = 0; i < threads; i++) {
		pthread_t thread;

		CHECK_EQ(pthread_create(&thread, NULL, record, &truth[i]), 0);
	}
	pause();
	return 0;
}
