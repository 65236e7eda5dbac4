/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval_log.h - a line for each engine at the end of each interval, as vLLM logs one
 *
 *	INFO 11-25 01:02:03 [kvtap] KV Transfer metrics: Num successful transfers=3, ..., Engine=0
 *	{"ts":"2026-11-25T01:02:03.000Z","interval_s":10.0,"model_name":"m","engine":"0",
 *	 "connectors":{"NixlPullConnector":{"Num successful transfers":3,...}}}
 *
 * An engine of which nothing was recorded has no line. Where several connectors report, the text is
 * nested, each a dict of Python; JSON always is, and has null for infinities and NaN. Whatever names
 * and labels hold, a line is one line of valid UTF-8 without control characters, of at most
 * INTERVAL_LOG_LINE_MAX bytes: what is over is left out from a key on, with "..." in its place, in
 * JSON with "cut":true. Only the drain thread calls.
 */
#ifndef KVTAP_EXPORTER_INTERVAL_LOG_H
#define KVTAP_EXPORTER_INTERVAL_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "interval.h"

#define INTERVAL_LOG_LINE_MAX (1u << 20)

enum interval_format { INTERVAL_TEXT, INTERVAL_JSON };

struct interval_log;

/**
 * interval_log_create - the first interval begins
 * @intervals: borrowed
 * @length_ns: of an interval, above 0
 * @fd:        where lines go, borrowed. What it doesn't take in 100 ms is lost
 *
 * Returns: NULL: no memory.
 */
struct interval_log *interval_log_create(struct intervals *intervals, uint64_t length_ns,
					 enum interval_format format, int fd);
void interval_log_destroy(struct interval_log *log);

/* interval_log_left_ms - until the interval ends, rounded up; 0: it has */
uint64_t interval_log_left_ms(const struct interval_log *log);
/* interval_log_end - write the lines of the interval, whole or not, and begin the next */
void interval_log_end(struct interval_log *log);
/* interval_log_lost - lines that could not be written whole, so far */
uint64_t interval_log_lost(const struct interval_log *log);

#endif
