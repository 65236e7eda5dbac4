/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval_log.c - a line for each engine at the end of each interval, as vLLM logs one
 *
 * Intervals are counted from the start: a late end doesn't move the next one. A line is made whole in
 * memory and goes out by one write(2) if the other side takes it.
 */
#include "interval_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "interval_text.h"
#include "outlet.h"
#include "summary.h"
#include "text.h"

struct interval_log {
	struct intervals *intervals;
	uint64_t length_ns;
	uint64_t began_ns, end_ns; /* CLOCK_MONOTONIC */
	enum interval_format format;
	struct outlet outlet;
	struct text line;
};

struct interval_log *interval_log_create(struct intervals *intervals, uint64_t length_ns,
					 enum interval_format format, int fd)
{
	struct interval_log *log = calloc(1, sizeof(*log));

	if (!log)
		return NULL;
	log->intervals = intervals;
	log->length_ns = length_ns;
	log->began_ns = clock_ns();
	log->end_ns = log->began_ns + length_ns;
	log->format = format;
	outlet_open(&log->outlet, fd);
	return log;
}

void interval_log_destroy(struct interval_log *log)
{
	if (!log)
		return;
	outlet_close(&log->outlet);
	text_free(&log->line);
	free(log);
}

uint64_t interval_log_left_ms(const struct interval_log *log)
{
	uint64_t now_ns = clock_ns();

	return now_ns < log->end_ns ? (log->end_ns - now_ns + CLOCK_MS - 1) / CLOCK_MS : 0;
}

uint64_t interval_log_lost(const struct interval_log *log)
{
	return log->outlet.lost;
}

static void write_engine(struct interval_log *log, const struct interval_engine *engine,
			 const struct interval_time *time)
{
	log->line.bytes = 0;
	log->line.failed = false;
	if (log->format == INTERVAL_JSON)
		interval_text_json(&log->line, engine, time);
	else
		interval_text_plain(&log->line, engine, time);
	if (log->line.failed)
		outlet_lose(&log->outlet);
	else
		outlet_write(&log->outlet, log->line.data, log->line.bytes);
}

void interval_log_end(struct interval_log *log)
{
	uint64_t now_ns = clock_ns();
	struct interval_time time = { .length_ns = now_ns - log->began_ns };

	clock_gettime(CLOCK_REALTIME, &time.end);
	outlet_begin(&log->outlet);
	for (const struct interval_engine *of = log->intervals->engines; of; of = of->next)
		if (interval_text_connectors(of))
			write_engine(log, of, &time);
	if (log->line.room > 1 << 16) /* a long one is rare */
		text_free(&log->line);
	intervals_reset(log->intervals);
	log->began_ns = now_ns;
	while (log->end_ns <= now_ns)
		log->end_ns += log->length_ns;
}
