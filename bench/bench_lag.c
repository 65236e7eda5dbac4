/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_lag.c - how late is a scrape, and what does the exporter cost while nobody looks?
 *
 * The lag is the time from a record's commit, in this process, to the end of the response to a scrape
 * that began right after it; the record has to be in the first one. CPU time is what the kernel
 * charges the exporter's process, without scrapes: beside silent workers, and beside one that records
 * at a rate. In each round each case has an exporter and a folder of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "crowd.h"
#include "kvtap.h"
#include "scraper.h"
#include "server.h"
#include "workers.h"

#define ROUNDS 2
/* of a case that is idle: until the exporter sleeps as long as it ever does, and a period of its own */
#define IDLE_SETTLE_NS 1800000000ull
#define IDLE_WATCH_NS 5000000000ull
#define SETTLE_NS 500000000ull
#define WATCH_NS 2000000000ull
#define LAGS 150
#define PAUSE_NS 5000000
#define THREADS 4u
#define LAG_FAMILY "bench_lag_total"

static struct lag_case {
	const char *mode;
	uint32_t workers;
	uint64_t rate; /* records a second */
	double bar_percent, bar_us_p99;
	/* of all rounds */
	struct bench_samples us, percent, wakeups, rates, folded;
	bool wrong;
} cases[] = {
	{ .mode = "idle", .workers = 0 },
	{ .mode = "idle", .workers = 64, .bar_percent = 0.2, .bar_us_p99 = 5000 },
	{ .mode = "idle", .workers = 256 },
	{ .mode = "recording", .workers = 1, .rate = 1000 },
	{ .mode = "recording", .workers = 1, .rate = 100000 },
	{ .mode = "recording", .workers = 1, .rate = 10000000 },
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static struct run {
	const char *dir;
	struct server exporter;
	struct scraper scraper;
	struct crowd crowd;
	struct kvtap *tap;
	uint32_t series; /* of LAG_FAMILY */
	uint64_t recorded;
} run;

static void sleep_ns(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				      .tv_nsec = (long)(ns % 1000000000) },
		  NULL);
}

/* ---- one exporter ---- */

static void open_tap(void)
{
	uint32_t family;
	int rc = kvtap_open(&run.tap, &(struct kvtap_options){ .dir = run.dir });

	if (rc == 0)
		rc = kvtap_family_declare(run.tap, &family,
					  &(struct kvtap_family){ .name = LAG_FAMILY,
								  .metric = KVTAP_COUNTER });
	if (rc == 0)
		rc = kvtap_family_series(run.tap, &run.series, family, NULL, 0);
	if (rc < 0)
		bench_fail("declare a series", rc);
}

static void begin(const struct lag_case *one)
{
	run = (struct run){ .dir = workers_folder() };
	server_exporter(&run.exporter, run.dir);
	run.scraper = (struct scraper){ .port = run.exporter.port };
	crowd_start(&run.crowd, run.dir, one->workers, THREADS);
	if (one->rate)
		crowd_record(&run.crowd, one->rate);
}

static void end(void)
{
	scraper_close(&run.scraper);
	kvtap_close(run.tap);
	crowd_stop(&run.crowd);
	server_stop(&run.exporter);
	workers_remove();
}

/* ---- what is measured ---- */

static void watch(struct lag_case *one)
{
	uint64_t recorded = crowd_recorded(&run.crowd), cpu_ns = server_cpu_ns(&run.exporter),
		 wakeups = server_wakeups(&run.exporter), began_ns = bench_now_ns();

	sleep_ns(one->rate ? WATCH_NS : IDLE_WATCH_NS);
	double ns = (double)(bench_now_ns() - began_ns);
	bench_samples_add(&one->percent,
			  (double)(server_cpu_ns(&run.exporter) - cpu_ns) / ns * 100);
	bench_samples_add(&one->wakeups,
			  (double)(server_wakeups(&run.exporter) - wakeups) / ns * 1e9);
	bench_samples_add(&one->rates, (double)(crowd_recorded(&run.crowd) - recorded) / ns * 1e9);
}

static void time_lag(struct lag_case *one)
{
	struct answer answer;

	kvtap_add(run.tap, run.series, 1);
	uint64_t began_ns = bench_now_ns();
	if (!scraper_get(&run.scraper, &answer, true) || answer.status != 200)
		bench_fail("scrape a page", 71);
	bench_samples_add(&one->us, (double)(bench_now_ns() - began_ns) / 1000);
	one->wrong |= page_value(answer.body, LAG_FAMILY) != (double)++run.recorded;
	free(answer.body);
}

/* When nobody records any more: everything of everybody is on the page. */
static void check(struct lag_case *one)
{
	if (one->rate)
		crowd_record(&run.crowd, 0);
	char *page = scraper_page(&run.scraper, NULL);
	double folded = page_value(page, "kvtap_records_folded_total"),
	       drained = page_value(page, "kvtap_records_drained_total");

	bench_samples_add(&one->folded, folded / (folded + drained));
	one->wrong |= one->workers && !crowd_on_page(&run.crowd, page);
	one->wrong |= page_value(page, "kvtap_workers") != one->workers + 1;
	free(page);
}

static void run_case(struct lag_case *one)
{
	begin(one);
	sleep_ns(one->rate ? SETTLE_NS : IDLE_SETTLE_NS);
	watch(one);
	open_tap();
	for (int i = 0; i < LAGS; i++) {
		time_lag(one);
		sleep_ns(PAUSE_NS);
	}
	check(one);
	end();
}

static void print_case(struct lag_case *one)
{
	double percent = bench_percentile(&one->percent, 50), p99 = bench_percentile(&one->us, 99);
	const struct bench_bar bars[] = {
		{ one->bar_percent > 0 ? "cpu_percent" : NULL, percent, one->bar_percent, false },
		{ one->bar_us_p99 > 0 ? "us_p99" : NULL, p99, one->bar_us_p99, false },
	};

	printf("bench=lag mode=%s workers=%u threads=%u rate_per_s=%llu cpu_percent=%.3f "
	       "wakeups_per_s=%.1f records_per_s=%.0f folded_share=%.3f scrapes=%zu us_p50=%.1f "
	       "us_p99=%.1f us_max=%.1f",
	       one->mode, one->workers, THREADS, (unsigned long long)one->rate, percent,
	       bench_percentile(&one->wakeups, 50), bench_percentile(&one->rates, 50),
	       bench_percentile(&one->folded, 50), one->us.count, bench_percentile(&one->us, 50),
	       p99, bench_percentile(&one->us, 100));
	bench_bars(bars, 2);
	printf(" check=%s\n", one->wrong ? "failed" : "ok");
}

int main(void)
{
	bool wrong = false;

	bench_environment();
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < CASES; i++)
			run_case(&cases[i]);
	for (size_t i = 0; i < CASES; i++) {
		print_case(&cases[i]);
		wrong |= cases[i].wrong;
	}
	return wrong;
}
