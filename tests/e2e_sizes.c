/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e2e_sizes.c - a worker that records transfers of known sizes, and prints their exact quantiles
 *
 *	e2e_sizes RECORDS SEED
 *
 * Sizes are log-uniform from 1 KiB to 1 GiB, so that a native histogram has all of its buckets used.
 * One line a quantile: "0.5 BYTES", where BYTES is the smallest size that this share of all does not
 * exceed. Then it waits to be ended. Not a test: tests/e2e_native.sh runs it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "support_load.h"
#include "test.h"

#define RECORDS_MAX (1u << 17)
#define LEAST 1024.0
#define SPREAD 1048576.0 /* from the least to the most */
#define BURST 1000	 /* records, each 10 ms: for a scraper to see them come */

static uint64_t seed;

/* xorshift64, https://www.jstatsoft.org/article/view/v008i14; [0, 1) */
static double next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (double)(seed >> 11) / 9007199254740992.0;
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static void print_quantile(const uint64_t *sorted, size_t count, double quantile)
{
	size_t rank = (size_t)ceil(quantile * (double)count);

	printf("%g %llu\n", quantile, (unsigned long long)sorted[rank ? rank - 1 : 0]);
}

int main(int argc, char **argv)
{
	const struct timespec tick = { .tv_nsec = 10000000 };
	size_t count = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
	uint64_t *bytes = calloc(count + 1, sizeof(*bytes));
	struct kvtap *tap;
	uint32_t load;

	if (!count || count > RECORDS_MAX || !bytes) {
		fprintf(stderr, "usage: e2e_sizes RECORDS SEED\n");
		return 2;
	}
	seed = strtoull(argv[2], NULL, 10) + 1;
	/* room for all of them: what is folded has only the resolution of the bounds */
	CHECK_EQ(kvtap_open(&tap, &(struct kvtap_options){ .model_name = "e2e",
							   .engine = "0",
							   .ring_slots = RECORDS_MAX }),
		 0);
	CHECK_EQ(kvtap_builtin(tap, &load, KVTAP_OFFLOAD_LOAD, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		bytes[i] = (uint64_t)(LEAST * pow(SPREAD, next_random()));
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = load,
							      .duration_ns = 1000,
							      .bytes = bytes[i] });
		if (i % BURST == BURST - 1)
			nanosleep(&tick, NULL);
	}
	qsort(bytes, count, sizeof(*bytes), compare);
	print_quantile(bytes, count, 0.5);
	print_quantile(bytes, count, 0.9);
	print_quantile(bytes, count, 0.99);
	fflush(stdout);
	free(bytes);
	pause();
	return 0;
}
