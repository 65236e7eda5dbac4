/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_growth.c - how does what it costs grow with what there is?
 *
 * Each thing grows alone: threads, series, label sets, ring size, workers, records. What is expected
 * to be constant and is not, or grows faster than the thing itself, shows as a slope.
 */
#include <stdio.h>

#include "growth.h"

int main(void)
{
	bool wrong = false;

	bench_environment();
	wrong |= growth_of_threads();
	wrong |= growth_of_series();
	wrong |= growth_of_folds();
	wrong |= growth_of_label_sets();
	wrong |= growth_of_rings();
	wrong |= growth_of_pages();
	wrong |= growth_of_workers();
	wrong |= growth_of_records();
	return wrong;
}
