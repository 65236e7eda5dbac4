/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e2e_worker.c - a worker that records for a while and then prints what a scrape has to say of it
 *
 *	e2e_worker ENGINE SECONDS SEED
 *
 * One line a sample: its key, a blank, its value to the last digit. The rings are so small that some
 * of the records are folded. Not a test: tests/e2e_prometheus.sh runs it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support_load.h"

#define SHARDS 2
#define BURST 300 /* records, 100 times a second */

static void print_sample(void *context, const char *key, unsigned digits, uint64_t value)
{
	uint64_t scale = 1;

	(void)context;
	for (unsigned i = 0; i < digits; i++)
		scale *= 10;
	printf("%s %llu", key, (unsigned long long)(value / scale));
	if (digits)
		printf(".%0*llu", (int)digits, (unsigned long long)(value % scale));
	printf("\n");
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	struct load_truth *truth = calloc(1, sizeof(*truth));
	struct load load;

	if (argc != 4 || !truth) {
		fprintf(stderr, "usage: e2e_worker ENGINE SECONDS SEED\n");
		return 2;
	}
	uint64_t seed = strtoull(argv[3], NULL, 10) + 1;
	load_open(&load, &(struct kvtap_options){ .engine = argv[1], .ring_slots = 256 }, SHARDS);
	for (int bursts = 100 * atoi(argv[2]); bursts; bursts--) {
		load_record(&load, truth, &seed, BURST);
		nanosleep(&pause, NULL);
	}
	kvtap_close(load.tap);
	load_samples(truth, argv[1], SHARDS, print_sample, NULL);
	/* of the same group, and nothing is recorded of it */
	printf("vllm:nixl_num_kv_expired_reqs_total{engine=\"%s\",model_name=\"" LOAD_MODEL
	       "\"} 0\n",
	       argv[1]);
	free(truth);
	return 0;
}
