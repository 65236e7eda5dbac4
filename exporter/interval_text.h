/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval_text.h - the interval of an engine as a line of text or JSON; pure
 *
 * interval_log.h has the forms.
 */
#ifndef KVTAP_EXPORTER_INTERVAL_TEXT_H
#define KVTAP_EXPORTER_INTERVAL_TEXT_H

#include <stdint.h>
#include <time.h>

#include "interval.h"
#include "text.h"

struct interval_time {
	struct timespec end; /* CLOCK_REALTIME */
	uint64_t length_ns;
};

/* interval_text_connectors - how many have something to tell; without any there is no line */
unsigned interval_text_connectors(const struct interval_engine *engine);

/* Append the line with its newline. The first is in local time, the second in UTC. */
void interval_text_plain(struct text *line, const struct interval_engine *engine,
			 const struct interval_time *time);
void interval_text_json(struct text *line, const struct interval_engine *engine,
			const struct interval_time *time);

#endif
