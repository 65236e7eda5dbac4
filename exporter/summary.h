/* SPDX-License-Identifier: Apache-2.0 */
/*
 * summary.h - the figures of a connector's interval, as vLLM's stats class of it reduces; pure
 *
 * First vLLM's figures under vLLM's keys, in its order and to its digits, then ours. When all
 * transfers of the interval are there one by one the arithmetic is numpy's on the same numbers; else
 * it starts from exact sums, and percentiles are estimates that come with bounds.
 */
#ifndef KVTAP_EXPORTER_SUMMARY_H
#define KVTAP_EXPORTER_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>

#include "interval.h"

/* Takes one figure. */
struct summary_sink {
	/*
	 * key:   [bytes] any; as a str of Python
	 * value: NUL-terminated repr of an int or a float: it may be inf or nan
	 * false: no more
	 */
	bool (*take)(void *context, const char *key, size_t bytes, const char *value);
	void *context;
};

/* summary_is_empty - vLLM's is_empty(): there is nothing to tell */
bool summary_is_empty(const struct interval_connector *connector);
/* summary_tell - all figures, in order */
void summary_tell(const struct interval_connector *connector, const struct summary_sink *sink);

#endif
