/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format.h - a family's block of bytes in each format, and where its numbers stand
 *
 * A block is rendered when what a family prints changes; from then on the numbers of its series are
 * written over where they are, since each has a fixed width. What has none (see format_form) makes
 * the block be rendered anew when it changes. Pure but for the places that a series and a block
 * remember. Only the drain thread calls.
 */
#ifndef KVTAP_EXPORTER_FORMAT_H
#define KVTAP_EXPORTER_FORMAT_H

#include "publish.h"
#include "series.h"
#include "text.h"

/**
 * format_render - append the block of a family: its series in order of appearance
 *
 * Notes in series->place where the first number of each series stands, from the block's begin; 0: it
 * is not there, because it is lazy and nothing was recorded into it, or because the format can't
 * say it. Out of memory: text->failed, and the places are to be rendered again.
 */
void format_render(struct text *text, struct family *family, enum page_format format);

/* format_patch - write all numbers of a series, the first to at; returns the end of the last */
char *format_patch(char *at, const struct series *series, enum page_format format);

/* format_tail - what comes after the last block */
const char *format_tail(enum page_format format);

/*
 * How a series stands in OpenMetrics, where a number that is none can't be padded, and a sum must
 * not be negative: a gauge's NaN or infinity is written as short as it is; a counter or a
 * sum that is no number from 0 on is left out, and so is the _count beside that sum.
 */
enum format_form { FORM_PADDED, FORM_NAN, FORM_INFINITE, FORM_NEGATIVE_INFINITE, FORM_LEFT_OUT };
enum format_form format_form(const struct series *series);

/* format_classify - find out how OpenMetrics can show each family (enum family_shown) */
void format_classify(struct families *families);

/* ---- the formats, for format_render() and format_patch() ---- */

void text_render(struct text *text, struct family *family, enum page_format format);
char *text_patch(char *at, const struct series *series, enum page_format format);
void protobuf_render(struct text *text, struct family *family);
char *protobuf_patch(char *at, const struct series *series);

#endif
