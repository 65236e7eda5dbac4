/* SPDX-License-Identifier: Apache-2.0 */
/* support_render.h - a page of a series table without publishing it */
#ifndef KVTAP_TESTS_SUPPORT_RENDER_H
#define KVTAP_TESTS_SUPPORT_RENDER_H

#include "../exporter/format.h"

/* render_page - append all blocks and the tail of a format; out of memory: text->failed */
void render_page(struct text *text, struct series_table *table, enum page_format format);
/* render_plain - the same as text 0.0.4 with a NUL and numbers as number_plain() has them */
void render_plain(struct text *text, struct series_table *table);

#endif
