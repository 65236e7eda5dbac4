/* SPDX-License-Identifier: Apache-2.0 */
/* support_parts.c - see support_parts.h */
#include "support_parts.h"

#include <stdio.h>
#include <string.h>

#include "support_render.h"
#include "test.h"

void parts_begin(struct parts *exporter, bool rank_label)
{
	parts_begin_samples(exporter, rank_label, SAMPLE_LIMIT);
}

void parts_begin_samples(struct parts *exporter, bool rank_label, size_t samples)
{
	*exporter = (struct parts){ 0 };
	CHECK_EQ(kvtap_reader_guard(), 0);
	CHECK_EQ(series_table_init(&exporter->table), 0);
	CHECK_EQ(self_init(&exporter->self, &exporter->table), 0);
	exporter->journal = journal_create(&exporter->table);
	CHECK(exporter->journal);
	exporter->intervals = intervals_create(samples);
	CHECK(exporter->intervals);
	exporter->drain = drain_create(&exporter->table, &exporter->self, exporter->journal,
				       rank_label, exporter->intervals);
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
	intervals_destroy(exporter->intervals);
	journal_destroy(exporter->journal);
	series_table_free(&exporter->table);
	text_free(&exporter->page);
	text_free(&exporter->lines);
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

/* Without its time, which differs from run to run. */
static void drop_head(struct text *lines, size_t from)
{
	static const char head[] = "metrics: ";
	char *line = lines->data + from;
	char *tail = memmem(line, lines->bytes - from, head, sizeof(head) - 1);

	CHECK(tail && strncmp(line, "INFO ", 5) == 0);
	tail += sizeof(head) - 1;
	memmove(line, tail, (size_t)(lines->data + lines->bytes - tail));
	lines->bytes -= (size_t)(tail - line);
}

static const char *end_interval(struct parts *exporter, bool json)
{
	struct interval_time time = { .length_ns = 10000000000 };
	struct text *lines = &exporter->lines;

	lines->bytes = 0;
	for (const struct interval_engine *of = exporter->intervals->engines; of; of = of->next) {
		size_t from = lines->bytes;

		if (!interval_text_connectors(of))
			continue;
		if (json) {
			interval_text_json(lines, of, &time);
		} else {
			interval_text_plain(lines, of, &time);
			drop_head(lines, from);
		}
	}
	intervals_reset(exporter->intervals);
	text_add_char(lines, '\0');
	CHECK(!lines->failed);
	return lines->data;
}

const char *parts_interval(struct parts *exporter)
{
	return end_interval(exporter, false);
}

const char *parts_interval_json(struct parts *exporter)
{
	return end_interval(exporter, true);
}
