/* SPDX-License-Identifier: Apache-2.0 */
/*
 * summary_figures.h - single figures of a summary: sums, times and percentiles of an interval; pure
 *
 * Knows the accumulators and how vLLM computes; nothing of keys but that of a family's label set.
 */
#ifndef KVTAP_EXPORTER_SUMMARY_FIGURES_H
#define KVTAP_EXPORTER_SUMMARY_FIGURES_H

#include <stdbool.h>

#include "interval.h"
#include "text.h"

#define SUMMARY_VALUE_BYTES 64

/* summary_integer - in decimal; returns text */
const char *summary_integer(char *text, number_wide value);
/* summary_seconds - a sum of times, as near as a double comes */
double summary_seconds(number_wide ns);

/* summary_quote - Python's repr of a str */
void summary_quote(struct text *text, const char *bytes, size_t count);
/* summary_key - name, or name:('a', 'b') with the label values */
void summary_key(struct text *key, const struct interval_figure *figure);
/* summary_value - an int for bytes and counts, else a float: the sum, or a gauge's value; returns text */
const char *summary_value(char text[SUMMARY_VALUE_BYTES], const struct interval_figure *figure);
/* summary_join - add the sum of one counter to another's */
void summary_join(struct interval_figure *to, const struct interval_figure *from);

/* A time of all transfers, in seconds. */
struct summary_time {
	double sum, mean;
	double p90;	  /* of an estimate the middle of low and high, low if high is infinite */
	double low, high; /* certain bounds */
	bool estimated;
};

/* summary_time - numpy's sum, mean and linear percentile; all 0 without records */
struct summary_time summary_time(const struct interval_transfers *transfers, enum sample_time time);
/* summary_time_store - statistics.fmean and the nearest rank, of durations; there are records */
struct summary_time summary_time_store(const struct interval_transfers *transfers);
/* summary_mib - bytes of all transfers in units of 2^20, added up as numpy does */
double summary_mib(const struct interval_transfers *transfers);

#endif
