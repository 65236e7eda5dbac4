/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.c - see fixture.h */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "bench.h"

static struct kvtap_text text(const char *string)
{
	return (struct kvtap_text){ string, (uint32_t)strlen(string) };
}

static void declare(struct fixture *fixture, uint8_t metric)
{
	static double bound[FIXTURE_BOUNDS];

	for (uint32_t i = 0; i < FIXTURE_BOUNDS; i++)
		bound[i] = 0.001 * (1 << i);
	struct kvtap_family_view view = { .name = text("http_requests"),
					  .help = text("Made for a bench."),
					  .metric = metric,
					  .bound = bound,
					  .bounds =
						  metric == KVTAP_HISTOGRAM ? FIXTURE_BOUNDS : 0 };
	int rc = family_declare(&fixture->family, &fixture->table.families, &view, NULL);
	if (rc)
		bench_fail("declare", rc);
}

static void add_series(struct fixture *fixture, uint32_t number)
{
	char worker[16];
	struct series_label labels[] = { { text("code"), text("200") },
					 { text("handler"), text("/metrics") },
					 { text("method"), text("GET") },
					 { text("worker"), text(worker) } };
	struct series *series;

	snprintf(worker, sizeof(worker), "w-%06u", number);
	labels[3].value = text(worker);
	int rc = series_get(&series, &fixture->table, fixture->family, labels, 4, NULL);
	if (rc)
		bench_fail("make a series", rc);
}

static void want(const struct fixture *fixture)
{
	for (int format = 0; format < PAGE_FORMATS; format++)
		for (int encoding = 0; encoding < PAGE_ENCODINGS; encoding++) {
			bool wanted = fixture->formats >> format & 1 &&
				      (encoding == PAGE_IDENTITY || fixture->gzip);
			struct page *page =
				wanted ? publication_acquire(fixture->publication, format, encoding)
				       : NULL;
			if (page)
				page_release(page);
		}
}

void fixture_begin(struct fixture *fixture, uint8_t metric, uint32_t count)
{
	if (series_table_init(&fixture->table))
		bench_fail("begin", 12);
	fixture->publication = publication_create();
	fixture->pages = pages_create(&fixture->table, fixture->publication);
	if (!fixture->publication || !fixture->pages)
		bench_fail("begin", 12);
	declare(fixture, metric);
	for (uint32_t i = 0; i < count; i++)
		add_series(fixture, i);
	want(fixture);
}

void fixture_end(struct fixture *fixture)
{
	pages_destroy(fixture->pages);
	publication_destroy(fixture->publication);
	series_table_free(&fixture->table);
}

void fixture_change(struct fixture *fixture, uint32_t every)
{
	uint32_t i = 0;

	for (struct series *series = fixture->family->first; series; series = series->next) {
		if (i++ % every)
			continue;
		kvtap_sum_add(&series->sum[NUMBER_UNITS], 1234567 + i);
		if (series->family->metric == KVTAP_HISTOGRAM) {
			series->bucket[i % FIXTURE_BOUNDS]++;
			series_observe(series, 0.001 * (1 << i % FIXTURE_BOUNDS), 1);
		}
		series_touch(&fixture->table, series);
	}
	series_settle(&fixture->table);
}
