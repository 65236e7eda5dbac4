/* SPDX-License-Identifier: Apache-2.0 */
/*
 * growth.h - one figure at several sizes of one thing, and how it grows
 *
 * The slope is the exponent of the size: the least squares line through the logarithms of the medians. 0 is
 * constant, 1 linear. The one at the end is that of the two largest sizes, where what is fixed weighs
 * least. Also what bench_growth measures, by where it does so.
 */
#ifndef KVTAP_BENCH_GROWTH_H
#define KVTAP_BENCH_GROWTH_H

#include <stdbool.h>
#include <stddef.h>

#include "bench.h"

#define GROWTH_SIZES 8

struct growth {
	const char *of;	    /* what grows */
	const char *figure; /* with its unit */
	double expected;    /* slope, of what was built as it was meant to be */
	const double *size; /* [sizes] */
	size_t sizes;	    /* at most GROWTH_SIZES */
	bool wrong;	    /* counts did not balance somewhere */
	struct bench_samples cost[GROWTH_SIZES];
};

#define GROWTH(of, figure, expected, size)                                                         \
	{                                                                                          \
		of, figure, expected, size, sizeof(size) / sizeof((size)[0]), false,               \
		{                                                                                  \
			{                                                                          \
				0                                                                  \
			}                                                                          \
		}                                                                                  \
	}

void growth_add(struct growth *growth, size_t index, double cost);
/* growth_end - print a line for each size and one with the slope; Returns: 0, or 1: it is wrong */
int growth_end(struct growth *growth);

/* Each prints its lines and returns whether counts did not balance. */

/* in this process: growth_record.c */
bool growth_of_threads(void);
bool growth_of_series(void);
bool growth_of_folds(void);
bool growth_of_label_sets(void);
bool growth_of_rings(void);
/* with the exporter or its parts: growth_exporter.c */
bool growth_of_pages(void);
bool growth_of_workers(void);
bool growth_of_records(void);

#endif
