/* SPDX-License-Identifier: Apache-2.0 */
/*
 * statistic.h - means, percentiles, roundings and texts, digit for digit as vLLM's own; pure
 *
 * vLLM's log line comes out of numpy and of Python's built-ins. Each function here names the one
 * whose result it gives for any finite values, to the last bit: CPython from 3.11, numpy from 1.24.
 * A count of 0 is the caller's to look at: there is no mean of nothing.
 * The decimal point is that of the C locale.
 */
#ifndef KVTAP_EXPORTER_STATISTIC_H
#define KVTAP_EXPORTER_STATISTIC_H

#include <stddef.h>
#include <stdint.h>

#define STATISTIC_BYTES 32 /* of any number's text with its NUL */

/* count values somewhere from low to high: no NaN, low <= high, which may be infinite */
struct statistic_range {
	double low, high;
	uint64_t count;
};

/* statistic_seconds - as vLLM divides: whole microseconds by 1e6, all other times by 1e9 */
double statistic_seconds(uint64_t ns);

/*
 * statistic_sum - numpy.sum of an array of float64, which adds by pairs and halves
 *
 * And by buffers of 8192, which numpy from 2.3 on leaves out: there the last bit of more may differ.
 * Divided by count it is numpy.mean.
 */
double statistic_sum(const double *value, size_t count);
/* statistic_fmean - statistics.fmean: the sum is exact (math.fsum) and rounded once */
double statistic_fmean(const double *value, size_t count);

/* statistic_percentile - numpy.percentile(value, percent), method "linear"; O(count), in any order */
double statistic_percentile(const double *value, size_t count, double percent);
/* statistic_nearest_rank - sorted(value)[clamp(int(0.9 * count - 1e-12), 0, count - 1)] */
double statistic_nearest_rank(const double *value, size_t count);
/**
 * statistic_percentile_range - between what the percentile is, wherever in their ranges values are
 * @range: [count], in any order; all counts together are at least 1
 * @low:   the percentile if all were at the low end of theirs
 * @high:  if all were at the high end; infinite if it takes a value of a range that is
 *
 * The percentile grows with each value, so these bounds are certain, and no closer ones are.
 */
void statistic_percentile_range(const struct statistic_range *range, size_t count, double percent,
				double *low, double *high);

/* statistic_round_numpy - numpy.float64.__round__: times 10^digits, to even, divided; digits 0 to 15 */
double statistic_round_numpy(double value, int digits);
/* statistic_round_python - float.__round__: the nearest decimal to the binary value; digits 0 to 15 */
double statistic_round_python(double value, int digits);

/* statistic_repr - repr(float): the fewest digits that read back as value; returns its length */
size_t statistic_repr(char text[STATISTIC_BYTES], double value);
/**
 * statistic_quote - repr(str), of UTF-8
 * @text:  [room], NUL-terminated unless room is 0; cut where the room ends
 * @bytes: [count], NUL among them or not; what isn't UTF-8 counts as U+FFFD, byte by byte
 *
 * Unlike in Python, a character that Unicode has yet to assign is not escaped.
 *
 * Returns: the length of the whole text without its NUL, as snprintf.
 */
size_t statistic_quote(char *text, size_t room, const char *bytes, size_t count);

#endif
