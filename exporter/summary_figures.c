/* SPDX-License-Identifier: Apache-2.0 */
/*
 * summary_figures.c - single figures of a summary: sums, times and percentiles of an interval; pure
 *
 * Where there is no memory for the samples in one array, they are as good as not there: the sums are
 * exact all the same, and a percentile is somewhere.
 */
#include "summary_figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERCENT 90

const char *summary_integer(char *text, number_wide value)
{
	char digits[40], *at = digits + sizeof(digits);

	do
		*--at = (char)('0' + (int)(value % 10));
	while (value /= 10);
	size_t bytes = (size_t)(digits + sizeof(digits) - at);
	memcpy(text, at, bytes);
	text[bytes] = '\0';
	return text;
}

double summary_seconds(number_wide ns)
{
	/* wider than a double where that doesn't hold all digits, so that it is seldom rounded twice */
	return ns < (number_wide)1 << 53 ? (double)(uint64_t)ns / 1e9
					 : (double)((long double)ns / 1e9L);
}

/* ---- of families ---- */

void summary_quote(struct text *text, const char *bytes, size_t count)
{
	size_t room = statistic_quote(NULL, 0, bytes, count) + 1;
	char *quoted = malloc(room);

	if (!quoted) {
		text->failed = true;
		return;
	}
	statistic_quote(quoted, room, bytes, count);
	text_add(text, quoted, room - 1);
	free(quoted);
}

void summary_key(struct text *key, const struct interval_figure *figure)
{
	const struct interval_family *family = figure->family;
	const char *at = figure->values;

	text_add(key, family->name.data, family->name.bytes);
	for (uint32_t i = 0; i < family->labels; i++) {
		uint32_t bytes;

		memcpy(&bytes, at, sizeof(bytes));
		at += sizeof(bytes);
		text_add_string(key, i ? ", " : ":(");
		summary_quote(key, at, bytes);
		at += bytes;
	}
	if (family->labels) /* Python's tuple of one has a comma */
		text_add_string(key, family->labels == 1 ? ",)" : ")");
}

/* Whether a double is a whole number that an integer holds. */
static bool is_whole(double value)
{
	return value >= 0 && value < 0x1p63 && (double)(uint64_t)value == value;
}

const char *summary_value(char text[SUMMARY_VALUE_BYTES], const struct interval_figure *figure)
{
	bool integer = figure->family->unit == KVTAP_UNIT_BYTES ||
		       figure->family->unit == KVTAP_UNIT_COUNT;
	double pair[2], value = figure->value;

	if (figure->family->metric != KVTAP_GAUGE) {
		number_wide units = number_whole(figure->sum[NUMBER_UNITS].word);

		memcpy(pair, figure->sum[NUMBER_DOUBLE].word, sizeof(pair));
		value = pair[0] + pair[1];
		if (integer && is_whole(value) &&
		    !number_whole(figure->sum[NUMBER_NANOSECONDS].word))
			return summary_integer(text, units + (uint64_t)value);
		value += (double)units +
			 summary_seconds(number_whole(figure->sum[NUMBER_NANOSECONDS].word));
	} else if (integer && is_whole(value)) {
		return summary_integer(text, (uint64_t)value);
	}
	statistic_repr(text, value);
	return text;
}

void summary_join(struct interval_figure *to, const struct interval_figure *from)
{
	static const uint64_t zero[2];

	for (int part = 0; part < NUMBER_PARTS; part++)
		kvtap_sum_advance(&to->sum[part], from->sum[part].word, zero,
				  part == NUMBER_DOUBLE);
}

/* ---- of transfers ---- */

/* Samples of all of them, in an array to be freed; NULL: they aren't there, or no memory. */
static double *all_seconds(const struct interval_transfers *transfers, enum sample_time time)
{
	if (!transfers->records || transfers->samples.count != transfers->records)
		return NULL;
	double *value = malloc(transfers->records * sizeof(*value));
	if (value)
		sample_seconds(&transfers->samples, time, value);
	return value;
}

/* The middle of what is certain. */
static void settle(struct summary_time *time)
{
	time->estimated = true;
	time->p90 = isinf(time->high) ? time->low : time->low + (time->high - time->low) / 2;
}

static void estimate(struct summary_time *figures, const struct interval_transfers *transfers,
		     enum sample_time time,
		     void (*bounds)(const struct statistic_range *range, size_t count,
				    double percent, double *low, double *high))
{
	size_t count;
	struct statistic_range *range =
		sample_ranges(&transfers->samples, time, transfers->records, &count);

	figures->high = INFINITY;
	figures->low = 0;
	if (range)
		bounds(range, count, PERCENT, &figures->low, &figures->high);
	free(range);
	settle(figures);
}

struct summary_time summary_time(const struct interval_transfers *transfers, enum sample_time time)
{
	struct summary_time figures = { 0 };
	double *value = all_seconds(transfers, time);

	if (!transfers->records)
		return figures;
	if (value) {
		figures.sum = statistic_sum(value, transfers->records);
		figures.p90 = statistic_percentile(value, transfers->records, PERCENT);
	} else {
		figures.sum = summary_seconds(time == SAMPLE_DURATION ? transfers->duration_ns
								      : transfers->submit_ns);
		estimate(&figures, transfers, time, statistic_percentile_range);
	}
	figures.mean = figures.sum / (double)transfers->records;
	free(value);
	return figures;
}

static int compare_low(const void *a, const void *b)
{
	const struct statistic_range *one = a, *other = b;

	return (one->low > other->low) - (one->low < other->low);
}

static int compare_high(const void *a, const void *b)
{
	const struct statistic_range *one = a, *other = b;

	return (one->high > other->high) - (one->high < other->high);
}

/* Where Mooncake's percentile is: the rank-th of the low ends, and of the high ends. */
static void nearest_rank_range(const struct statistic_range *given, size_t count, double percent,
			       double *low, double *high)
{
	struct statistic_range *range = malloc(count * sizeof(*range));
	uint64_t records = 0, before;
	size_t i;

	if (!range)
		return;
	memcpy(range, given, count * sizeof(*range));
	for (i = 0; i < count; i++)
		records += range[i].count;
	uint64_t rank = (uint64_t)fmax(percent / 100 * (double)records - 1e-12, 0);
	rank = rank < records ? rank : records - 1;
	qsort(range, count, sizeof(*range), compare_low);
	for (i = 0, before = 0; before + range[i].count <= rank; i++)
		before += range[i].count;
	*low = range[i].low;
	qsort(range, count, sizeof(*range), compare_high);
	for (i = 0, before = 0; before + range[i].count <= rank; i++)
		before += range[i].count;
	*high = range[i].high;
	free(range);
}

struct summary_time summary_time_store(const struct interval_transfers *transfers)
{
	struct summary_time figures = { 0 };
	double *value = all_seconds(transfers, SAMPLE_DURATION);

	if (value) {
		figures.mean = statistic_fmean(value, transfers->records);
		figures.p90 = statistic_nearest_rank(value, transfers->records);
	} else {
		figures.mean = summary_seconds(transfers->duration_ns) / (double)transfers->records;
		estimate(&figures, transfers, SAMPLE_DURATION, nearest_rank_range);
	}
	free(value);
	return figures;
}

double summary_mib(const struct interval_transfers *transfers)
{
	double *value, sum = (double)transfers->bytes / 0x1p20;

	if (transfers->samples.count != transfers->records)
		return sum;
	value = malloc((transfers->records + 1) * sizeof(*value));
	if (value) {
		sample_mib(&transfers->samples, value);
		sum = statistic_sum(value, transfers->records);
	}
	free(value);
	return sum;
}
