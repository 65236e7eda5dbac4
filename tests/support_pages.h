/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_pages.h - series with their publication, and whether its pages are what they should be
 *
 * Each published page is compared with one that is rendered whole from the same series, and the
 * compressed one with both.
 */
#ifndef KVTAP_TESTS_SUPPORT_PAGES_H
#define KVTAP_TESTS_SUPPORT_PAGES_H

#include "../exporter/pages.h"

struct pages_fixture {
	struct series_table table;
	struct publication *publication;
	struct pages *pages;
};

void pages_begin(struct pages_fixture *f);
void pages_end(struct pages_fixture *f);
/* pages_settle_and_publish - everything that was touched */
void pages_settle_and_publish(struct pages_fixture *f);
/* pages_want_all - ask for each format and encoding, of which there is none yet */
void pages_want_all(struct pages_fixture *f);
/* pages_check - the current pages of all formats and encodings, which must be wanted */
void pages_check(struct pages_fixture *f);
/* pages_have - whether the current page has this text */
bool pages_have(struct pages_fixture *f, enum page_format format, const char *text);

#endif
