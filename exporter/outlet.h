/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outlet.h - lines to a descriptor that may be stuck, closed or shared
 *
 * Nobody is kept waiting by whoever reads them: a line that isn't taken is counted as lost. Knows
 * nothing of what is in a line.
 */
#ifndef KVTAP_EXPORTER_OUTLET_H
#define KVTAP_EXPORTER_OUTLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outlet {
	int fd;
	bool owned, socket;
	bool torn;  /* a part of a line is out: a newline has to come before the next */
	bool stuck; /* it was not ready when last asked */
	uint64_t deadline_ns;
	uint64_t lost; /* lines that were not written whole */
};

/* outlet_open - fd is borrowed, and its flags stay as they are: others may use it too */
void outlet_open(struct outlet *outlet, int fd);
void outlet_close(struct outlet *outlet);
/* outlet_begin - lines follow, which have 100 ms in all; none if it is stuck since the last ones */
void outlet_begin(struct outlet *outlet);
/* outlet_write - a line with its newline, by one write(2) unless the other side takes less */
void outlet_write(struct outlet *outlet, const char *line, size_t bytes);
/* outlet_lose - a line that could not be made */
static inline void outlet_lose(struct outlet *outlet)
{
	outlet->lost++;
}

#endif
