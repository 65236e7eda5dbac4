/* SPDX-License-Identifier: Apache-2.0 */
/* support_parts.c - see support_parts.h */
#include "support_parts.h"

#include <stdio.h>
#include <string.h>

#include "support_render.h"
#include "test.h"

void parts_begin(struct parts *exporter, bool rank_label)
{
	*exporter = (struct parts){ 0 };
	CHECK_EQ(kvtap_reader_guard(), 0);
	CHECK_EQ(series_table_init(&exporter->table), 0);
	CHECK_EQ(self_init(&exporter->self, &exporter->table), 0);
	exporter->journal = journal_create(&exporter->table);
	CHECK(exporter->journal);
	exporter->drain =
		drain_create(&exporter->table, &exporter->self, exporter->journal, rank_label);
	CHECK(exporter->drain);
	CHECK_EQ(discover_open(&exporter->discover, test_folder(), "default", drain_offer,
			       exporter->drain),
		 0);
	CHECK_EQ(journal_open(exporter->journal, discover_folder(exporter->discover)), 0);
}

void parts_end(struct parts *exporter)
{
	discover_close(exporter->discover);
	drain_destroy(exporter->drain);
	journal_destroy(exporter->journal);
	series_table_free(&exporter->table);
	text_free(&exporter->page);
	test_leaves_files();
}

void parts_render(struct parts *exporter)
{
	self_update(&exporter->self);
	exporter->page.bytes = 0;
	journal_commit(exporter->journal);
	render_plain(&exporter->page, &exporter->table);
	CHECK(!exporter->page.failed);
}

void parts_scrape(struct parts *exporter)
{
	discover_poll(exporter->discover, true);
	drain_pass(exporter->drain, true);
	parts_render(exporter);
}

bool parts_has(const struct parts *exporter, const char *line)
{
	char wanted[512];

	snprintf(wanted, sizeof(wanted), "\n%s\n", line);
	return strstr(exporter->page.data, wanted);
}

void parts_scrape_until(struct parts *exporter, const char *line)
{
	do
		parts_scrape(exporter);
	while (!parts_has(exporter, line));
}
