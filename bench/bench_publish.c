/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_publish.c - what it costs to bring the pages up to date, and the memory they take
 *
 * Counters with labels as an exporter of 10.7 MB for 100,000 has them; each publication shows all of
 * them changed, or one, or with a family's lines changed; CPU time beside wall time says what a busy
 * machine adds. Memory is what malloc gave out for series
 * and pages, after as many publications as it takes to have all buffers; histograms count with all
 * of their samples. What a native histogram costs on the way of a record is measured here too.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "fixture.h"

#define SERIES 100000u
#define HISTOGRAMS 4096u
#define ROUNDS 60
#define OBSERVATIONS 1000000u

static size_t page_size(const struct fixture *fixture, enum page_format format)
{
	const struct page *page = publication_current(fixture->publication, format, PAGE_IDENTITY);

	return page ? page_bytes(page) : 0;
}

#define TEXT_MS 3.0 /* bar, all series changed */
#define SAMPLE_BYTES 2048.0

static bool wrong; /* a check failed, of any case */

static uint64_t text_samples(const struct page *page)
{
	const char *line = page_data(page), *end = line + page_bytes(page);
	uint64_t samples = 0;

	for (; line < end; line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1)
		samples += *line != '#';
	return samples;
}

/* Each wanted page is there, and the text has a line for each sample. */
static bool complete(const struct fixture *fixture, uint64_t samples)
{
	const struct publication *publication = fixture->publication;
	const struct page *text = publication_current(publication, PAGE_TEXT, PAGE_IDENTITY);
	bool there = true;

	for (int format = 0; format < PAGE_FORMATS; format++) {
		if (!(fixture->formats >> format & 1))
			continue;
		there &= publication_current(publication, format, PAGE_IDENTITY) &&
			 (!fixture->gzip || publication_current(publication, format, PAGE_GZIP));
	}
	return there && text && text_samples(text) == samples;
}

static void print_check(const struct fixture *fixture, uint64_t samples)
{
	bool ok = complete(fixture, samples);

	printf(" check=%s\n", ok ? "ok" : "failed");
	wrong |= !ok;
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void time_publications(const char *mode, struct fixture *fixture, uint32_t every,
			      bool relayout, double bar_ms)
{
	struct bench_samples samples = { 0 }, cpu = { 0 };

	for (int round = -3; round < ROUNDS; round++) {
		fixture_change(fixture, every);
		fixture->family->layout += relayout;
		uint64_t began_ns = bench_now_ns(), cpu_began_ns = cpu_ns();
		if (!pages_publish(fixture->pages))
			bench_fail("publish", 12);
		if (round < 0)
			continue;
		bench_samples_add(&cpu, (double)(cpu_ns() - cpu_began_ns) / 1e6);
		bench_samples_add(&samples, (double)(bench_now_ns() - began_ns) / 1e6);
	}
	printf("bench=publish mode=%s series=%u changed=%u text_bytes=%zu openmetrics_bytes=%zu "
	       "protobuf_bytes=%zu ms_p50=%.3f ms_p99=%.3f cpu_ms_p50=%.3f",
	       mode, fixture->table.count, fixture->table.count / every,
	       page_size(fixture, PAGE_TEXT), page_size(fixture, PAGE_OPENMETRICS),
	       page_size(fixture, PAGE_PROTOBUF), bench_percentile(&samples, 50),
	       bench_percentile(&samples, 99), bench_percentile(&cpu, 50));
	bench_bars(&(struct bench_bar){ .key = bar_ms ? "ms_p50" : NULL,
					.value = bench_percentile(&samples, 50),
					.limit = bar_ms },
		   1);
	print_check(fixture, fixture->table.count * (fixture->family->metric == KVTAP_HISTOGRAM
							     ? FIXTURE_BOUNDS + 3ull
							     : 1));
	bench_samples_free(&samples);
	bench_samples_free(&cpu);
}

static void time_mode(const char *mode, uint32_t formats, bool gzip, uint32_t every, bool relayout,
		      double bar_ms)
{
	struct fixture fixture = { .formats = formats, .gzip = gzip };

	fixture_begin(&fixture, KVTAP_COUNTER, SERIES);
	time_publications(mode, &fixture, every, relayout, bar_ms);
	fixture_end(&fixture);
}

static void time_histograms(const char *mode)
{
	struct fixture fixture = { .formats = 7 };

	fixture_begin(&fixture, KVTAP_HISTOGRAM, HISTOGRAMS);
	time_publications(mode, &fixture, 1, false, 0);
	fixture_end(&fixture);
}

static size_t given_out(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void weigh(const char *mode, uint8_t metric, uint32_t count, uint32_t samples)
{
	struct fixture fixture = { .formats = 7, .gzip = true };
	size_t before = given_out();

	fixture_begin(&fixture, metric, count);
	for (int round = 0; round < 3; round++) {
		fixture_change(&fixture, 1);
		if (!pages_publish(fixture.pages))
			bench_fail("publish", 12);
	}
	double bytes = (double)(given_out() - before) / (count * samples);
	printf("bench=publish mode=%s samples=%u pages_bytes_per_sample=%.0f "
	       "bytes_per_sample=%.0f",
	       mode, count * samples, (double)pages_memory(fixture.pages) / (count * samples),
	       bytes);
	bench_bars(&(struct bench_bar){ .key = "bytes_per_sample",
					.value = bytes,
					.limit = SAMPLE_BYTES },
		   1);
	print_check(&fixture, (uint64_t)count * samples);
	fixture_end(&fixture);
}

static void time_native(void)
{
	struct bench_samples samples = { 0 };
	static struct native native;
	static double value[1024];
	uint64_t state = 88172645463325252u;

	for (int i = 0; i < 1024; i++) { /* 1 us to 1 s */
		state ^= state << 13, state ^= state >> 7, state ^= state << 17;
		value[i] =
			(double)(1000u << state % 20) * 1e-9 * (double)(1024 + state % 1024) / 1024;
	}
	native_init(&native);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t began_ns = bench_now_ns();
		for (uint32_t i = 0; i < OBSERVATIONS; i++)
			native_observe(&native, value[i % 1024], 1);
		bench_samples_add(&samples, (double)(bench_now_ns() - began_ns) / OBSERVATIONS);
	}
	bool ok = native_count(&native) == (uint64_t)ROUNDS * OBSERVATIONS;
	printf("bench=publish mode=native_observe buckets=%u ns_per_op_p50=%.2f "
	       "ns_per_op_p99=%.2f check=%s\n",
	       native.buckets, bench_percentile(&samples, 50), bench_percentile(&samples, 99),
	       ok ? "ok" : "failed");
	wrong |= !ok;
	bench_samples_free(&samples);
}

int main(void)
{
	bench_environment();
	bench_pin(0);
	time_mode("text", 1, false, 1, false, TEXT_MS);
	time_mode("text_one_changed", 1, false, SERIES, false, 0);
	time_mode("text_layout_changed", 1, false, SERIES, true, 0);
	time_mode("all_formats", 7, false, 1, false, 0);
	time_mode("text_gzip", 1, true, 1, false, 0);
	time_mode("text_gzip_one_changed", 1, true, SERIES, false, 0);
	time_histograms("histograms_all_formats");
	weigh("memory_counters", KVTAP_COUNTER, SERIES, 1);
	weigh("memory_histograms", KVTAP_HISTOGRAM, HISTOGRAMS, FIXTURE_BOUNDS + 3);
	time_native();
	return wrong;
}
