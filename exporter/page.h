/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page.h - the families and their series as text 0.0.4; pure
 *
 * Series change only in the thread that renders, so that all numbers of a page are of one moment.
 */
#ifndef KVTAP_EXPORTER_PAGE_H
#define KVTAP_EXPORTER_PAGE_H

#include "series.h"
#include "text.h"

/**
 * page_render - append all families in order of first declaration, their series in order of
 *               appearance
 *
 * A lazy series has no sample before its first record; its family has HELP and TYPE nevertheless.
 * Out of memory: text->failed.
 */
void page_render(struct text *text, const struct series_table *table);

#endif
