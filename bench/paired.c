/* SPDX-License-Identifier: Apache-2.0 */
/* paired.c - see paired.h */
#include "paired.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

uint64_t paired_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* of 64 bits: how unequal the chances are is below 2^-32 */
uint32_t paired_random_below(uint64_t *state, uint32_t limit)
{
	return (uint32_t)(paired_random(state) % limit);
}

void paired_shuffle(uint64_t *state, uint32_t *indices, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t j = paired_random_below(state, i + 1);

		indices[i] = indices[j];
		indices[j] = i;
	}
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

/* Of a draw from ratios that are sorted, only how often each was drawn has to be known. */
static uint32_t drawn_median(uint32_t *times, uint32_t rounds, uint64_t *state)
{
	uint32_t seen = 0, i = 0;

	memset(times, 0, rounds * sizeof(*times));
	for (uint32_t drawn = 0; drawn < rounds; drawn++)
		times[paired_random_below(state, rounds)]++;
	while ((seen += times[i]) <= rounds / 2)
		i++;
	return i;
}

void paired_ratio(struct paired *ratio, const double *over, const double *under, uint32_t rounds,
		  uint64_t *state)
{
	double *sorted = bench_allocate(rounds * sizeof(*sorted));
	double *median = bench_allocate(PAIRED_DRAWS * sizeof(*median));
	uint32_t *times = bench_allocate(rounds * sizeof(*times));

	for (uint32_t i = 0; i < rounds; i++)
		sorted[i] = over[i] / under[i];
	qsort(sorted, rounds, sizeof(*sorted), compare);
	for (uint32_t i = 0; i < PAIRED_DRAWS; i++)
		median[i] = sorted[drawn_median(times, rounds, state)];
	qsort(median, PAIRED_DRAWS, sizeof(*median), compare);
	*ratio = (struct paired){ .p50 = sorted[rounds / 2],
				  .low = median[PAIRED_DRAWS / 40],
				  .high = median[PAIRED_DRAWS - 1 - PAIRED_DRAWS / 40] };
	free(sorted);
	free(median);
	free(times);
}

bool paired_same(const struct paired *ratio, const struct paired *control)
{
	return ratio->p50 >= control->low && ratio->p50 <= control->high;
}

void paired_print_ratio(const struct paired *ratio, const struct paired *control)
{
	printf(" ratio_p50=%.4f ratio_low=%.4f ratio_high=%.4f control_low=%.4f control_high=%.4f",
	       ratio->p50, ratio->low, ratio->high, control->low, control->high);
}

void paired_print_more(const double *over_us, const double *under_us, uint32_t rounds)
{
	struct bench_samples more = { 0 };

	for (uint32_t i = 0; i < rounds; i++)
		bench_samples_add(&more, (over_us[i] - under_us[i]) * 1e3);
	printf(" more_ns_p50=%.0f", bench_percentile(&more, 50));
	bench_samples_free(&more);
}

void paired_print_verdict(const struct paired *ratio, const struct paired *control)
{
	if (paired_same(ratio, control))
		printf(" verdict=\"not distinguishable\"");
	else
		printf(" verdict=\"%.2f %% %s\"", fabs(ratio->p50 - 1) * 100,
		       ratio->p50 < 1 ? "less" : "more");
}
