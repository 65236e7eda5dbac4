/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_scrape.c - what does a scrape cost its client?
 *
 * The real exporter, with series that real workers made, once while they rest and once while one of
 * them records, against those who only send: nginx with a static file and a bare sendmsg server,
 * both with the very bytes that the exporter served; and against prometheus-cpp's exposer with as
 * many series. Who serves takes turns in each round, so that what else runs on the machine meets all
 * of them alike. Knows of a page only its length and the sum of the workers' counters.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "scraper.h"
#include "server.h"
#include "workers.h"

#define ROUNDS 9
#define FORM_NS 5000000000ull
#define SLICE_NS 70000000 /* of a server, a round; at least SCRAPES_MIN */
#define SCRAPES_MIN 3
#define RATE 20000 /* records a second while a worker records */
#define SETTLE_NS 20000000000ull

enum target { REST, RECORDING, NGINX, RAW, PROMETHEUS_CPP, TARGETS };

static const char *const target_name[TARGETS] = { "kvtap_rest", "kvtap_recording", "nginx", "raw",
						  "prometheus_cpp" };

static const uint32_t sizes[] = { 1000, 10000, 100000 };

static const struct form {
	enum format format;
	bool gzip;
} forms[] = {
	{ FORMAT_TEXT, false },
	{ FORMAT_OPENMETRICS, false },
	{ FORMAT_PROTOBUF, false },
	{ FORMAT_TEXT, true },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct result {
	struct bench_samples us;
	size_t page_bytes; /* of the last answer */
	bool wrong;
};

static struct run {
	const char *dir;
	uint32_t series;
	struct workers workers;
	struct server exporter, nginx, raw, prometheus_cpp;
	struct result result[TARGETS];
	char *page; /* what nginx and raw serve */
	size_t page_bytes;
	bool wrong; /* a check failed, of any case */
} run;

/* ---- what the page has to say ---- */

static uint64_t page_sum(const char *page)
{
	uint64_t sum = 0;

	for (const char *line = page; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, WORKERS_FAMILY "{", strlen(WORKERS_FAMILY "{")) == 0)
			sum += (uint64_t)strtod(line + strcspn(line, " \n"), NULL);
	}
	return sum;
}

/* Nobody records; what was committed is on the page as soon as its worker has been found. */
static bool balances(void)
{
	struct scraper scraper = { .port = run.exporter.port };
	uint64_t limit_ns = bench_now_ns() + SETTLE_NS;
	bool equal = false;

	while (!equal && bench_now_ns() < limit_ns) {
		char *page = scraper_page(&scraper, NULL);

		equal = page_sum(page) == workers_recorded(&run.workers);
		free(page);
	}
	scraper_close(&scraper);
	return equal;
}

/* ---- servers ---- */

static struct server *server_of(enum target target)
{
	switch (target) {
	case NGINX:
		return &run.nginx;
	case RAW:
		return &run.raw;
	case PROMETHEUS_CPP:
		return &run.prometheus_cpp;
	default:
		return &run.exporter;
	}
}

static void write_file(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", run.dir, name);
	FILE *file = fopen(path, "we");
	if (!file || fwrite(run.page, 1, run.page_bytes, file) != run.page_bytes ||
	    fclose(file) != 0)
		bench_fail(path, errno);
}

/* A form that nobody asked for comes with the next publication; without it the checks will fail. */
static void await_form(struct scraper *scraper)
{
	uint64_t until_ns = bench_now_ns() + FORM_NS;
	struct answer answer;

	do {
		if (!scraper_get(scraper, &answer, false))
			bench_fail("scrape", EPROTO);
	} while (!answer.asked && bench_now_ns() < until_ns);
}

/* The bytes that the exporter serves in this form, for those who only send. */
static void start_senders(const struct form *form)
{
	struct scraper scraper = { .port = run.exporter.port,
				   .format = form->format,
				   .gzip = form->gzip };

	await_form(&scraper);
	run.page = scraper_page(&scraper, &run.page_bytes);
	scraper_close(&scraper);
	write_file("metrics");
	server_nginx(&run.nginx, run.dir);
	server_raw(&run.raw, run.page, run.page_bytes);
}

static void stop_senders(void)
{
	server_stop(&run.nginx);
	server_stop(&run.raw);
	free(run.page);
}

/* ---- one server in one round ---- */

/* prometheus-cpp has one format, and compresses itself */
static bool takes_part(enum target target, const struct form *form)
{
	return !server_of(target)->missing &&
	       (target != PROMETHEUS_CPP || form->format == FORMAT_TEXT);
}

static void scrape(enum target target, struct scraper *scraper)
{
	struct result *result = &run.result[target];
	bool sender = target == NGINX || target == RAW;
	uint64_t until_ns = bench_now_ns() + SLICE_NS;
	struct answer answer;

	/* the first one makes the connection, and comes after what the last server left running */
	for (int i = -1; i < SCRAPES_MIN || bench_now_ns() < until_ns; i++) {
		if (!scraper_get(scraper, &answer, false)) {
			result->wrong = true;
			return;
		}
		result->wrong |= answer.status != 200 || !answer.bytes ||
				 (sender ? answer.bytes != run.page_bytes : !answer.asked);
		result->page_bytes = answer.bytes;
		if (i >= 0)
			bench_samples_add(&result->us, (double)answer.ns / 1000);
	}
}

static void run_rounds(const struct form *form)
{
	struct scraper scraper[TARGETS] = { 0 };

	for (int target = 0; target < TARGETS; target++)
		scraper[target] = (struct scraper){ .port = server_of(target)->port,
						    .format = form->format,
						    .gzip = form->gzip };
	for (int round = 0; round < ROUNDS; round++) {
		for (int target = 0; target < TARGETS; target++) {
			if (!takes_part(target, form))
				continue;
			workers_record(&run.workers, target == RECORDING ? RATE : 0);
			scrape(target, &scraper[target]);
		}
	}
	workers_record(&run.workers, 0);
	for (int target = 0; target < TARGETS; target++)
		scraper_close(&scraper[target]);
}

/* ---- results ---- */

static double p50(enum target target)
{
	return bench_percentile(&run.result[target].us, 50);
}

/* of times: no key, and no bar for it, where one of them is missing */
static struct bench_bar print_ratio(const char *key, double over, double under)
{
	if (over <= 0 || under <= 0)
		return (struct bench_bar){ .key = NULL };
	printf(" %s=%.2f", key, over / under);
	return (struct bench_bar){ .key = key, .value = over / under };
}

static void print_ratios(enum target target)
{
	double own = p50(target), nginx = p50(NGINX), raw = p50(RAW);
	struct bench_bar bar[2];

	print_ratio("ratio_nginx", own, nginx);
	print_ratio("ratio_raw", own, raw);
	bar[0] = print_ratio("ratio_slower", own, nginx > raw ? nginx : raw);
	bar[1] = print_ratio("ratio_prometheus_cpp", p50(PROMETHEUS_CPP), own);
	bar[0].limit = 1.2;
	bar[1].limit = 15;
	bar[1].at_least = true;
	if (target == REST)
		bench_bars(bar, COUNT(bar));
}

static void print_target(enum target target, const struct form *form, bool balanced)
{
	struct result *result = &run.result[target];
	bool wrong = result->wrong || !balanced;

	printf("bench=scrape series=%u format=%s gzip=%d server=%s", run.series,
	       format_name[form->format], form->gzip, target_name[target]);
	if (server_of(target)->missing) {
		printf(" missing=\"%s\"\n", server_of(target)->missing);
		return;
	}
	printf(" page_bytes=%zu scrapes=%zu us_p50=%.1f us_p99=%.1f", result->page_bytes,
	       result->us.count, p50(target), bench_percentile(&result->us, 99));
	if (target == REST || target == RECORDING)
		print_ratios(target);
	printf(" check=%s\n", wrong ? "failed" : "ok");
	run.wrong |= wrong;
}

static void run_form(const struct form *form)
{
	start_senders(form);
	run_rounds(form);
	bool balanced = balances();
	for (int target = 0; target < TARGETS; target++)
		if (takes_part(target, form) || server_of(target)->missing)
			print_target(target, form, balanced);
	fflush(stdout);
	for (int target = 0; target < TARGETS; target++) {
		bench_samples_free(&run.result[target].us);
		run.result[target] = (struct result){ 0 };
	}
	stop_senders();
}

/* All forms were asked for by now, so that all of their pages are there. */
static void print_memory(uint64_t before)
{
	uint64_t after = server_resident_bytes(&run.exporter);

	printf("bench=scrape series=%u server=kvtap resident_bytes=%llu "
	       "resident_bytes_per_series=%.0f\n",
	       run.series, (unsigned long long)after,
	       (double)(after > before ? after - before : 0) / run.series);
}

static void run_size(uint32_t series)
{
	run.series = series;
	run.dir = workers_folder();
	server_exporter(&run.exporter, run.dir);
	uint64_t before = server_resident_bytes(&run.exporter);
	workers_start(&run.workers, run.dir, series);
	server_prometheus_cpp(&run.prometheus_cpp, series);
	if (!balances())
		bench_fail("wait for all series on the page", ETIMEDOUT);
	for (size_t i = 0; i < COUNT(forms); i++)
		run_form(&forms[i]);
	print_memory(before);
	server_stop(&run.prometheus_cpp);
	workers_stop(&run.workers);
	server_stop(&run.exporter);
	workers_remove();
}

int main(void)
{
	bench_environment();
	for (size_t i = 0; i < COUNT(sizes); i++)
		run_size(sizes[i]);
	return run.wrong;
}
