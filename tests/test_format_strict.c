/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_format_strict.c - parsers that are not ours take pages of all that can be on one
 *
 * client_python's OpenMetrics parser refuses what the standard forbids, promtool what Go's text
 * parser does.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_render.h"
#include "support_table.h"
#include "test.h"

static const double bound[] = { 0.001, 1, 1e6 };

static void add_odd_names(struct series_table *table)
{
	static const char *const counters[] = { "a_total", "a_total_total", "b_total", "b_created",
						"h_bucket_total" };

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		table_get(table, table_declare(table, counters[i], "C.", KVTAP_COUNTER, 0, NULL, 0),
			  "e", "0");
	table_get(table, table_declare(table, "a", "G.", KVTAP_GAUGE, 0, NULL, 0), "e", "0");
	table_get(table, table_declare(table, "h_created", "G.", KVTAP_GAUGE, 0, NULL, 0), "e",
		  "0");
	table_get(table, table_declare(table, "x:y", "G.", KVTAP_GAUGE, 0, NULL, 0), "e", "0");
}

static void add_gauges(struct series_table *table)
{
	static const double values[] = { NAN, INFINITY, -INFINITY, -1.25, 1e300, 5e-324, 1.0 / 3 };
	struct family *family =
		table_declare(table, "g", "a\\b\n\"c\" \xff", KVTAP_GAUGE, 0, NULL, 0);
	char value[] = "0";

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		value[0] = (char)('0' + i);
		table_get(table, family, "e", value)->value = values[i];
	}
	table_get(table, family, "e", "\\ \" \n } , = \xc3\xa4")->value = 1;
	table_declare(table, "empty", "", KVTAP_GAUGE, 0, NULL, 0);
}

static void add_histograms(struct series_table *table)
{
	static const double negative[] = { -5, 5 };
	struct family *family = table_declare(table, "h", "H.", KVTAP_HISTOGRAM, 0, bound, 3);

	for (uint64_t id = 0; id < 3; id++) {
		char value[] = { (char)('0' + id), 0 };
		struct series *series = table_get(table, family, "e", value);

		for (uint64_t ns = 1; ns < 1ull << 60; ns *= 7)
			table_record(table, series, ns, id * (UINT64_MAX / 2));
		exemplar_turn(series->exemplars, 1, 1700000000123456789);
	}
	family = table_declare(table, "n", "N.", KVTAP_HISTOGRAM, 0, negative, 2);
	struct series *series = table_get(table, family, "e", "0");
	series->bucket[0] = 3;
	kvtap_sum_add_double(&series->sum[NUMBER_DOUBLE], -30);
}

/* A page of everything in a file of the test's folder. */
static const char *write_page(enum page_format format)
{
	struct series_table table;
	struct text page = { 0 };
	static char path[256];

	CHECK_EQ(series_table_init(&table), 0);
	add_histograms(&table);
	add_odd_names(&table);
	add_gauges(&table);
	struct family *family = table_declare(&table, "big", "B.", KVTAP_COUNTER, 0, NULL, 0);
	memset(table_get(&table, family, "e", "0")->sum, 0x7f, sizeof(struct kvtap_sum));
	format_classify(&table.families);
	render_page(&page, &table, format);
	CHECK(!page.failed);
	snprintf(path, sizeof(path), "%s/page", test_folder());
	FILE *file = fopen(path, "w");
	CHECK(file);
	CHECK_EQ(fwrite(page.data, 1, page.bytes, file), page.bytes);
	CHECK_EQ(fclose(file), 0);
	text_free(&page);
	series_table_free(&table);
	CHECK_EQ(setenv("PAGE", path, 1), 0);
	return path;
}

/* In a shell, with the page's path in PAGE. */
static int run(const char *command)
{
	int status = system(command);

	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(format_strict_parser_of_client_python_takes_openmetrics)
{
	if (run("/usr/bin/python3 -c 'import prometheus_client.openmetrics.parser' 2>/dev/null"))
		SKIP("python3-prometheus-client is missing");
	const char *path = write_page(PAGE_OPENMETRICS);
	CHECK_EQ(run("/usr/bin/python3 -c 'import sys\n"
		     "from prometheus_client.openmetrics.parser import "
		     "text_string_to_metric_families as parse\n"
		     "text = open(sys.argv[1], newline=\"\").read()\n"
		     "families = {family.name: family for family in parse(text)}\n"
		     "samples = [s for f in families.values() for s in f.samples]\n"
		     "assert families[\"big\"].type == \"counter\"\n"
		     "assert families[\"a_total\"].type == \"unknown\"\n"
		     "assert families[\"h\"].type == \"histogram\"\n"
		     "assert \"h_created\" not in families\n"
		     "assert families[\"g\"].documentation == \"a\\\\b\\n\\\"c\\\" \\ufffd\"\n"
		     "assert sum(s.exemplar is not None for s in samples) == 2\n"
		     "assert sum(s.name == \"g\" for s in samples) == 8' \"$PAGE\""),
		 0);
	unlink(path);
}

TEST(format_strict_parser_of_promtool_takes_text)
{
	if (run("command -v promtool >/dev/null"))
		SKIP("promtool is missing");
	const char *path = write_page(PAGE_TEXT);
	int status = run("promtool check metrics <\"$PAGE\" >/dev/null 2>&1");
	CHECK(status == 0 || status == 3); /* 3: names that are not as one should choose them */
	unlink(path);
}
