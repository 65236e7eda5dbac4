/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.h - numbers as text for an exposition; pure
 *
 * Knows how Prometheus and OpenMetrics write a number, and the three kinds of sum that a series
 * may have. Knows nothing of series or pages. All functions write at most NUMBER_BYTES with the
 * closing NUL and return the length without it. The decimal point is that of the C locale.
 */
#ifndef KVTAP_EXPORTER_NUMBER_H
#define KVTAP_EXPORTER_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#include "kvtap_reader.h"

#define NUMBER_BYTES 64

/* What the parts of a sum count: transfers feed the integers, kvtap_add and observe the last. */
enum number_part {
	NUMBER_UNITS,	    /* 128-bit integer */
	NUMBER_NANOSECONDS, /* 128-bit integer, written as seconds */
	NUMBER_DOUBLE,	    /* double-double */
	NUMBER_PARTS
};

size_t number_integer(char out[NUMBER_BYTES], uint64_t value);
/* number_double - the shortest text that reads back as value; NaN, +Inf, -Inf */
size_t number_double(char out[NUMBER_BYTES], double value);
/* number_bound - the canonical text of an le label: 0.005, 1.0, 1e+06, +Inf */
size_t number_bound(char out[NUMBER_BYTES], double bound);
/* number_sum - all parts together, to the last digit wherever they are decimal fractions */
size_t number_sum(char out[NUMBER_BYTES], const struct kvtap_sum part[NUMBER_PARTS]);

#endif
