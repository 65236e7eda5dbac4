/* SPDX-License-Identifier: Apache-2.0 */
/*
 * growth_exporter.c - what the exporter costs with more series on its pages, workers, and records
 *
 * Pages are made in this process, from a table without workers; else it is the exporter's process, of
 * which the kernel and its own page tell.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"
#include "crowd.h"
#include "fixture.h"
#include "growth.h"
#include "scraper.h"
#include "server.h"
#include "workers.h"

#define ROUNDS 3
#define PUBLICATIONS 10
#define THREADS 4u
#define SETTLE_NS 1800000000ull /* until the exporter sleeps as long as it ever does */
#define WATCH_NS 5000000000ull	/* a period of what it does now and then */
#define SCRAPES 50
#define RATE 20000000u

static void sleep_ns(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				      .tv_nsec = (long)(ns % 1000000000) },
		  NULL);
}

/* ---- series on a page ---- */

static void time_publications(struct growth *growth, size_t index, uint32_t every)
{
	struct fixture fixture = { .formats = 1 };

	fixture_begin(&fixture, KVTAP_COUNTER, (uint32_t)growth->size[index]);
	for (int i = -2; i < PUBLICATIONS; i++) {
		fixture_change(&fixture, every);
		uint64_t began_ns = bench_now_ns();
		if (!pages_publish(fixture.pages))
			bench_fail("publish", ENOMEM);
		if (i >= 0)
			growth_add(growth, index, (double)(bench_now_ns() - began_ns) / 1000);
	}
	growth->wrong |= pages_published(fixture.pages) != PUBLICATIONS + 2;
	fixture_end(&fixture);
}

bool growth_of_pages(void)
{
	static const double size[] = { 1, 10, 100, 1000, 10000, 100000 };
	struct growth all = GROWTH("page_series", "publish_all_changed_us", 1, size);
	struct growth one = GROWTH("page_series", "publish_one_changed_us", 1, size);

	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < all.sizes; i++) {
			time_publications(&all, i, 1);
			time_publications(&one, i, (uint32_t)size[i]);
		}
	return growth_end(&all) | growth_end(&one);
}

/* ---- workers ---- */

struct by_workers {
	struct growth cpu, scrape, resident;
};

/* All of it found, its records on the page. */
static bool is_whole(struct scraper *scraper, const struct crowd *crowd)
{
	char *page = scraper_page(scraper, NULL);
	bool whole =
		page_value(page, "kvtap_workers") == crowd->workers && crowd_on_page(crowd, page);

	free(page);
	return whole;
}

static void watch_workers(struct by_workers *by, size_t index)
{
	uint32_t workers = (uint32_t)by->cpu.size[index];
	const char *dir = workers_folder();
	struct server exporter;
	struct crowd crowd;

	server_exporter(&exporter, dir);
	struct scraper scraper = { .port = exporter.port };
	uint64_t resident_bytes = server_resident_bytes(&exporter);
	crowd_start(&crowd, dir, workers, THREADS);
	by->cpu.wrong |= !is_whole(&scraper, &crowd);
	sleep_ns(SETTLE_NS);
	uint64_t began_ns = bench_now_ns(), cpu_ns = server_cpu_ns(&exporter);
	sleep_ns(WATCH_NS);
	cpu_ns = server_cpu_ns(&exporter) - cpu_ns;
	growth_add(&by->cpu, index, (double)cpu_ns * 1e6 / (double)(bench_now_ns() - began_ns));
	growth_add(&by->resident, index,
		   (double)(server_resident_bytes(&exporter) - resident_bytes));
	for (int i = 0; i < SCRAPES; i++) {
		struct answer answer;

		crowd_record(&crowd, i % 2 ? 0 : 1000); /* so that there is always something new */
		if (!scraper_get(&scraper, &answer, false) || answer.status != 200)
			bench_fail("scrape a page", EPROTO);
		growth_add(&by->scrape, index, (double)answer.ns / 1000);
	}
	crowd_record(&crowd, 0);
	by->cpu.wrong |= !is_whole(&scraper, &crowd);
	scraper_close(&scraper);
	crowd_stop(&crowd);
	server_stop(&exporter);
	workers_remove();
}

bool growth_of_workers(void)
{
	static const double size[] = { 1, 8, 64, 256 };
	struct by_workers by = { GROWTH("workers", "idle_cpu_us_per_s", 1, size),
				 GROWTH("workers", "scrape_us", 0, size),
				 GROWTH("workers", "resident_bytes", 1, size) };

	for (size_t i = 0; i < by.cpu.sizes; i++)
		watch_workers(&by, i);
	return growth_end(&by.cpu) | growth_end(&by.scrape) | growth_end(&by.resident);
}

/* ---- records ---- */

struct by_records {
	struct growth seconds, cpu, state, resident;
};

static void time_records(struct by_records *by, size_t index, struct server *exporter,
			 struct crowd *crowd)
{
	struct scraper scraper = { .port = exporter->port };
	uint64_t before = crowd_recorded(crowd), cpu_ns = server_cpu_ns(exporter),
		 began_ns = bench_now_ns();

	crowd_record(crowd, RATE);
	while (crowd_recorded(crowd) - before < (uint64_t)by->cpu.size[index])
		sleep_ns(1000000);
	crowd_record(crowd, 0);
	char *page = scraper_page(&scraper, NULL);
	double recorded = (double)(crowd_recorded(crowd) - before);
	/* what came beyond the size is taken out again */
	double part = by->cpu.size[index] / recorded;
	growth_add(&by->seconds, index, (double)(bench_now_ns() - began_ns) / 1e9 * part);
	growth_add(&by->cpu, index, (double)(server_cpu_ns(exporter) - cpu_ns) / 1e9 * part);
	growth_add(&by->state, index, page_value(page, "kvtap_state_bytes"));
	growth_add(&by->resident, index, (double)server_resident_bytes(exporter));
	by->cpu.wrong |= !crowd_on_page(crowd, page);
	free(page);
	scraper_close(&scraper);
}

bool growth_of_records(void)
{
	static const double size[] = { 1e5, 1e6, 1e7, 1e8 };
	struct by_records by = { GROWTH("records", "s", 1, size),
				 GROWTH("records", "exporter_cpu_s", 1, size),
				 GROWTH("records", "state_bytes", 0, size),
				 GROWTH("records", "resident_bytes", 0, size) };
	const char *dir = workers_folder();
	struct server exporter;
	struct crowd crowd;

	server_exporter(&exporter, dir);
	crowd_start(&crowd, dir, 1, 1);
	for (size_t i = 0; i < by.cpu.sizes; i++)
		time_records(&by, i, &exporter, &crowd);
	crowd_stop(&crowd);
	server_stop(&exporter);
	workers_remove();
	return growth_end(&by.seconds) | growth_end(&by.cpu) | growth_end(&by.state) |
	       growth_end(&by.resident);
}
