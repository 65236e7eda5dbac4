/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantity.h - counts, sizes and durations as an operator writes them; pure
 *
 * Both take decimal digits without a sign, and write nothing unless all of the text is understood
 * and fits into 64 bits.
 */
#ifndef KVTAP_EXPORTER_QUANTITY_H
#define KVTAP_EXPORTER_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

/* quantity_count - 1000; 64KiB, 16MiB, 1GiB */
bool quantity_count(uint64_t *count, const char *text);
/* quantity_duration - 100ms, 90s, 15m, 1h30m, 7d; 0 */
bool quantity_duration(uint64_t *duration_ns, const char *text);

#endif
