/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_drain.c - how many records a second does one exporter thread take, reduce and journal?
 *
 * The exporter's own parts run in this process, on the last CPU, with a state file in a folder of
 * its own. A worker on the first CPU fills its rings before each pass, so what is drained lies in
 * the other core's cache. What is timed is drain_pass() alone: it fetches, checks, reduces, commits
 * and gives back. The floor is a copy of as many bytes, stored by the other core too, in pieces as
 * big as a batch of the drain. Cases take turns in each round.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../exporter/discover.h"
#include "../exporter/drain.h"
#include "../exporter/log.h"
#include "bench.h"
#include "filler.h"

#define ROUNDS 200
#define WARM_UP 4
#define RESET_ROUNDS 64	 /* after so many an interval of the log ends */
#define FLOOR_BATCH 4096 /* records, as the drain's */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct scene {
	const struct filler_kind *kind; /* NULL: the floor */
	uint32_t series, rings;
	uint32_t records; /* a ring and pass */
	bool log;
	double records_per_s; /* the bar; 0: none */
};

static const struct scene scenes[] = {
	{ NULL, 1, 1, 4096, false, 0 },
	{ NULL, 1, 16, 512, false, 0 },
	{ NULL, 1, 256, 256, false, 0 },
	{ &filler_counter, 1, 1, 4096, false, 0 },
	{ &filler_offload, 1, 1, 4096, false, 100e6 },
	{ &filler_offload, 1, 1, 4096, true, 100e6 },
	{ &filler_mirror, 1, 1, 4096, false, 100e6 },
	{ &filler_mirror, 1, 1, 4096, true, 100e6 },
	{ &filler_nixl, 1, 1, 4096, false, 50e6 },
	{ &filler_nixl, 1, 1, 4096, true, 50e6 },
	{ &filler_offload, 32, 1, 4096, false, 100e6 },
	{ &filler_offload, 1024, 1, 4096, false, 100e6 },
	{ &filler_mirror, 1024, 1, 4096, false, 100e6 },
	{ &filler_nixl, 32, 1, 4096, false, 50e6 },
	{ &filler_nixl, 1024, 1, 4096, false, 50e6 },
	{ &filler_offload, 1, 16, 512, false, 100e6 },
	{ &filler_offload, 1, 256, 256, false, 100e6 },
	{ &filler_nixl, 1, 16, 512, false, 50e6 },
	{ &filler_nixl, 1, 256, 256, false, 50e6 },
	{ &filler_offload, 1024, 256, 256, false, 100e6 },
	{ &filler_nixl, 1024, 256, 256, true, 50e6 },
};

struct bench_case {
	const struct scene *scene;
	struct filler filler;
	struct series_table table;
	struct self self;
	struct journal *journal;
	struct intervals *intervals;
	struct drain *drain;
	struct discover *discover;
	char folder[32];
	uint64_t rounds;
	struct bench_samples samples;
};

static struct bench_case cases[COUNT(scenes)];

/* ---- the exporter ---- */

/* All that is in the folder is open, and nothing is to be left of it. */
static void empty_folder(const struct bench_case *of)
{
	char path[64];
	const struct dirent *entry;

	snprintf(path, sizeof(path), "%s/kvtap.default", of->folder);
	DIR *dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
	rmdir(of->folder);
}

static int begin_exporter(struct bench_case *of)
{
	if (kvtap_reader_guard() || series_table_init(&of->table) ||
	    self_init(&of->self, &of->table))
		return -1;
	of->journal = journal_create(&of->table);
	of->intervals = of->scene->log ? intervals_create(SAMPLE_LIMIT) : NULL;
	if (!of->journal)
		return -1;
	of->drain = drain_create(&of->table, &of->self, of->journal, false, of->intervals);
	if (!of->drain ||
	    discover_open(&of->discover, of->folder, "default", drain_offer, of->drain))
		return -1;
	return journal_open(of->journal, discover_folder(of->discover));
}

static void begin_case(struct bench_case *of, const struct scene *scene)
{
	of->scene = scene;
	of->filler = (struct filler){ .kind = scene->kind,
				      .series = scene->series,
				      .rings = scene->rings,
				      .records = scene->records };
	snprintf(of->folder, sizeof(of->folder), "/dev/shm/kvtap-bench.XXXXXX");
	if (!mkdtemp(of->folder))
		bench_fail("make a folder in /dev/shm", 13);
	filler_start(&of->filler, of->folder);
	if (scene->kind) {
		if (begin_exporter(of))
			bench_fail("begin an exporter", 12);
		discover_poll(of->discover, true);
	}
	empty_folder(of);
}

static void end_case(struct bench_case *of)
{
	filler_stop(&of->filler);
	bench_samples_free(&of->samples);
	if (!of->scene->kind)
		return;
	discover_close(of->discover);
	drain_destroy(of->drain);
	if (of->intervals)
		intervals_destroy(of->intervals);
	journal_destroy(of->journal);
	series_table_free(&of->table);
}

/* ---- rounds ---- */

static void copy_plainly(struct bench_case *of)
{
	static uint8_t batch[FLOOR_BATCH * 64];
	uint32_t bytes_a_ring = of->scene->records * 64;

	for (uint32_t ring = 0; ring < of->scene->rings; ring++)
		for (uint32_t at = 0; at < bytes_a_ring; at += sizeof(batch)) {
			uint32_t left = bytes_a_ring - at;

			memcpy(batch, of->filler.memory + ring * bytes_a_ring + at,
			       left < sizeof(batch) ? left : sizeof(batch));
			__asm__ volatile("" : : "r"(batch) : "memory"); /* it is wanted */
		}
}

static void run_round(struct bench_case *of, bool measured)
{
	uint64_t records = (uint64_t)of->scene->rings * of->scene->records;

	filler_fill(&of->filler);
	uint64_t began_ns = bench_now_ns();
	if (of->scene->kind)
		drain_pass(of->drain, true);
	else
		copy_plainly(of);
	uint64_t took_ns = bench_now_ns() - began_ns;
	of->rounds++;
	if (measured)
		bench_samples_add(&of->samples, (double)took_ns / (double)records);
	if (of->intervals && of->rounds % RESET_ROUNDS == 0)
		intervals_reset(of->intervals);
}

/* ---- the check ---- */

struct expected {
	uint64_t count;
	unsigned __int128 sum;
	uint64_t bucket[KVTAP_BOUNDS_MAX + 1];
};

static void expect(struct expected *expected, const struct filler_row *row,
		   const struct kvtap_transfer *transfer)
{
	uint64_t value = filler_value(transfer, row->field);
	bool seconds = row->field == KVTAP_FIELD_DURATION || row->field == KVTAP_FIELD_SUBMIT;
	double exposed = seconds ? (double)value / 1e9 : (double)value;
	size_t bucket = 0;

	if (row->when != KVTAP_WHEN_ALWAYS &&
	    (row->when == KVTAP_WHEN_OK) != (transfer->status == KVTAP_OK))
		return;
	while (bucket < row->bounds && exposed > row->bound[bucket])
		bucket++;
	expected->count++;
	expected->sum += value;
	expected->bucket[bucket]++;
}

static bool as_expected(const struct series *series, const struct expected *expected)
{
	uint64_t buckets =
		series->family->metric == KVTAP_HISTOGRAM ? series->family->bounds + 1 : 0;
	number_wide whole = number_whole(series->sum[NUMBER_UNITS].word) +
			    number_whole(series->sum[NUMBER_NANOSECONDS].word);
	bool right =
		whole ? whole == expected->sum : number_sum(series->sum) == (double)expected->sum;

	for (uint64_t i = 0; i < buckets; i++)
		right &= series->bucket[i] == expected->bucket[i];
	return right && (!series->native || native_count(series->native) == expected->count);
}

/* Which series it is, by its label peer. */
static uint32_t number_of(const struct series *series)
{
	static const char peer[] = "peer=\"";
	const char *at = memmem(series->label, series->label_bytes, peer, sizeof(peer) - 1);

	return at ? (uint32_t)strtoul(at + sizeof(peer) - 1, NULL, 10) : 0;
}

static bool fed_by(const struct series *series, const struct filler_row *row)
{
	return !row->type ||
	       memmem(series->label, series->label_bytes, row->type, strlen(row->type));
}

static bool check_row(const struct bench_case *of, const struct filler_row *row,
		      const struct expected *expected)
{
	char sample[128];
	uint32_t right = 0, there = 0;

	snprintf(sample, sizeof(sample), "%s%s", row->family,
		 row->metric == KVTAP_HISTOGRAM ? "_count" : "_total");
	const struct family *family = family_find(&of->table.families, sample);
	for (const struct series *series = family ? family->first : NULL; series;
	     series = series->next) {
		if (!fed_by(series, row))
			continue;
		there++;
		right += as_expected(series, &expected[number_of(series)]);
	}
	return there == of->scene->series && right == there;
}

static bool check(const struct bench_case *of)
{
	const struct filler_kind *kind = of->scene->kind;
	uint64_t records = of->rounds * of->scene->rings * of->scene->records;
	bool right = !kind || number_sum(of->self.series[SELF_RECORDS_DRAINED]->sum) == records;

	for (size_t i = 0; kind && i < kind->rows; i++) {
		struct expected *expected = calloc(of->scene->series, sizeof(*expected));

		if (!expected)
			bench_fail("check", 12);
		for (uint64_t number = 0; number < records; number++) {
			uint32_t series;
			struct kvtap_transfer transfer =
				filler_transfer(number, &series, of->scene->series);

			expect(&expected[series], &kind->row[i], &transfer);
		}
		right &= check_row(of, &kind->row[i], expected);
		free(expected);
	}
	return right;
}

/* ---- lines ---- */

/* Of the floor with as many rings. */
static double floor_ns(const struct bench_case *of)
{
	for (size_t i = 0; i < COUNT(scenes); i++)
		if (!scenes[i].kind && scenes[i].rings == of->scene->rings)
			return bench_percentile(&cases[i].samples, 50);
	return 0;
}

static bool print_case(struct bench_case *of)
{
	const struct scene *scene = of->scene;
	double ns = bench_percentile(&of->samples, 50), floor = floor_ns(of);
	bool right = check(of);
	struct bench_bar bar = { .key = scene->records_per_s ? "records_per_s" : NULL,
				 .value = 1e9 / ns,
				 .limit = scene->records_per_s,
				 .at_least = true };

	printf("bench=drain kind=%s series=%u rings=%u log=%s records_a_pass=%u passes=%zu "
	       "records_per_s=%.0f ns_per_record_p50=%.2f ns_per_record_p99=%.2f floor_ns=%.2f "
	       "ratio=%.2f",
	       scene->kind ? scene->kind->name : "floor", scene->series, scene->rings,
	       scene->log ? "on" : "off", scene->rings * scene->records, of->samples.count,
	       1e9 / ns, ns, bench_percentile(&of->samples, 99), floor, ns / floor);
	bench_bars(&bar, 1);
	printf(" check=%s\n", right ? "ok" : "failed");
	return right;
}

/* Only cases whose kind/series/rings/log begin so, and the floors; NULL: all. */
static bool wanted(const struct scene *scene, const char *only)
{
	char name[64];

	if (!only || !scene->kind)
		return true;
	snprintf(name, sizeof(name), "%s/%u/%u/%s", scene->kind->name, scene->series, scene->rings,
		 scene->log ? "on" : "off");
	return !strncmp(name, only, strlen(only));
}

int main(int argc, char **argv)
{
	bool right = true;

	bench_environment();
	log_set_level(LOG_LEVEL_WARN);
	bench_pin(bench_cpus() - 1);
	for (size_t i = 0; i < COUNT(scenes); i++)
		if (wanted(&scenes[i], argc > 1 ? argv[1] : NULL))
			begin_case(&cases[i], &scenes[i]);
	for (int round = -WARM_UP; round < ROUNDS; round++)
		for (size_t i = 0; i < COUNT(scenes); i++)
			if (cases[i].scene)
				run_round(&cases[i], round >= 0);
	for (size_t i = 0; i < COUNT(scenes); i++)
		if (cases[i].scene)
			right &= print_case(&cases[i]);
	for (size_t i = 0; i < COUNT(scenes); i++)
		if (cases[i].scene)
			end_case(&cases[i]);
	return right ? 0 : 1;
}
