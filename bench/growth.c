/* SPDX-License-Identifier: Apache-2.0 */
/* growth.c - one figure at several sizes of one thing, and how it grows */
#include "growth.h"

#include <math.h>
#include <stdio.h>

void growth_add(struct growth *growth, size_t index, double cost)
{
	bench_samples_add(&growth->cost[index], cost);
}

/* Of the line through the sizes from first on. */
static double slope(struct growth *growth, size_t first)
{
	double x = 0, y = 0, xx = 0, xy = 0, n = (double)(growth->sizes - first);

	for (size_t i = first; i < growth->sizes; i++) {
		double size = log(growth->size[i]);
		double cost = log(bench_percentile(&growth->cost[i], 50));

		x += size;
		y += cost;
		xx += size * size;
		xy += size * cost;
	}
	return (n * xy - x * y) / (n * xx - x * x);
}

static void print_figure(const struct growth *growth, const char *percentile, double cost)
{
	printf(cost < 1000 ? " %s_%s=%.4g" : " %s_%s=%.0f", growth->figure, percentile, cost);
}

int growth_end(struct growth *growth)
{
	for (size_t i = 0; i < growth->sizes; i++) {
		struct bench_samples *cost = &growth->cost[i];

		printf("bench=growth of=%s size=%.0f samples=%zu", growth->of, growth->size[i],
		       cost->count);
		print_figure(growth, "p50", bench_percentile(cost, 50));
		print_figure(growth, "p99", bench_percentile(cost, 99));
		printf("\n");
	}
	printf("bench=growth of=%s figure=%s expected=%.2g slope=%.2f slope_end=%.2f check=%s\n",
	       growth->of, growth->figure, growth->expected, slope(growth, 0),
	       slope(growth, growth->sizes - 2), growth->wrong ? "failed" : "ok");
	for (size_t i = 0; i < growth->sizes; i++)
		bench_samples_free(&growth->cost[i]);
	return growth->wrong;
}
