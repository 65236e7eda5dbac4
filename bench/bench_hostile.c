/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_hostile.c - what do clients that mean harm cost those that do not?
 *
 * Three good clients go on all the time: one keeps its connection, one makes a new one for each
 * scrape, one scrapes until what was committed just before is on the page. Before and after the attack
 * they give the times of calm, during it those under attack. The attack ends when all of its clients
 * have been cut off; the exporter's memory is read meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "attack.h"
#include "bench.h"
#include "kvtap.h"
#include "scraper.h"
#include "server.h"
#include "workers.h"

#define SERIES 100000 /* a page that no socket buffer holds */
#define RATIO_P99 2.0 /* bar */
#define CALM_NS 5000000000ull
#define ATTACK_NS 60000000000ull /* at most */
#define PAUSE_NS 20000000	 /* of a good client, after each scrape */
#define STEP_NS 100000000	 /* how exactly it is known who was cut off when */
#define LAG_FAMILY "bench_lag_total"

enum client { KEEP, NEW, LAG, CLIENTS };
static const char *const client_name[CLIENTS] = { "keep_alive", "new_connection", "lag" };

enum phase { CALM, ATTACKED, PHASES };

struct client_state {
	enum client client;
	pthread_t thread;
	struct scraper scraper;
	uint64_t failed;
	struct bench_samples us[PHASES];
};

static struct run {
	const char *dir;
	struct server exporter;
	struct workers workers;
	struct kvtap *tap;
	uint32_t series; /* of LAG_FAMILY */
	_Atomic int phase;
	_Atomic bool stop;
	struct client_state client[CLIENTS];
	uint64_t resident_before, resident_most, resident_after;
} run;

static void pause_ns(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

/* ---- good clients ---- */

static uint64_t lag_value(const char *page)
{
	const char *line = strstr(page, "\n" LAG_FAMILY " ");

	return line ? (uint64_t)strtod(line + strlen("\n" LAG_FAMILY " "), NULL) : 0;
}

/* From a record's commit to the end of the first response that has it; 0: a scrape failed. */
static double time_lag(struct client_state *state)
{
	static uint64_t recorded;
	struct answer answer;
	uint64_t value = 0;

	kvtap_add(run.tap, run.series, 1);
	recorded++;
	uint64_t began_ns = bench_now_ns();
	while (value < recorded) {
		if (!scraper_get(&state->scraper, &answer, true))
			return 0;
		value = lag_value(answer.body);
		free(answer.body);
	}
	state->failed += value != recorded;
	return (double)(bench_now_ns() - began_ns) / 1000;
}

static double time_scrape(struct client_state *state)
{
	struct answer answer;

	if (!scraper_get(&state->scraper, &answer, false) || answer.status != 200)
		return 0;
	return (double)answer.ns / 1000;
}

/* What began in one phase and ended in another is of the attack. */
static void *be_good(void *arg)
{
	struct client_state *state = arg;

	while (!atomic_load(&run.stop)) {
		int before = atomic_load(&run.phase);
		double us = state->client == LAG ? time_lag(state) : time_scrape(state);
		int after = atomic_load(&run.phase);

		if (us > 0)
			bench_samples_add(&state->us[before > after ? before : after], us);
		else
			state->failed++;
		pause_ns(PAUSE_NS);
	}
	return NULL;
}

static void start_clients(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct client_state *state = &run.client[i];

		state->client = i;
		state->scraper =
			(struct scraper){ .port = run.exporter.port, .reconnect = i == NEW };
		int rc = pthread_create(&state->thread, NULL, be_good, state);
		if (rc)
			bench_fail("start a thread", rc);
	}
}

static void stop_clients(void)
{
	atomic_store(&run.stop, true);
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(run.client[i].thread, NULL);
		scraper_close(&run.client[i].scraper);
	}
}

/* ---- phases ---- */

static void stay_calm(void)
{
	uint64_t until_ns = bench_now_ns() + CALM_NS;

	atomic_store(&run.phase, CALM);
	while (bench_now_ns() < until_ns)
		pause_ns(PAUSE_NS);
}

static void attack_exporter(struct attack *attack)
{
	uint64_t until_ns = bench_now_ns() + ATTACK_NS;

	atomic_store(&run.phase, ATTACKED);
	attack_begin(attack, &run.exporter);
	while (attack_step(attack, &run.exporter) && bench_now_ns() < until_ns) {
		uint64_t resident = server_resident_bytes(&run.exporter);

		if (resident > run.resident_most)
			run.resident_most = resident;
		pause_ns(STEP_NS);
	}
	attack_end(attack);
}

/* ---- results ---- */

static double ratio(struct client_state *state, double percent)
{
	double calm = bench_percentile(&state->us[CALM], percent);

	return calm > 0 ? bench_percentile(&state->us[ATTACKED], percent) / calm : 0;
}

static bool print_client(struct client_state *state)
{
	static const char *const name[PHASES] = { "calm", "attacked" };
	bool wrong = state->failed != 0;

	printf("bench=hostile client=%s", client_name[state->client]);
	for (int phase = 0; phase < PHASES; phase++) {
		struct bench_samples *us = &state->us[phase];

		printf(" %s_scrapes=%zu %s_us_p50=%.1f %s_us_p99=%.1f", name[phase], us->count,
		       name[phase], bench_percentile(us, 50), name[phase],
		       bench_percentile(us, 99));
		wrong |= !us->count;
	}
	printf(" ratio_p50=%.2f ratio_p99=%.2f failed=%llu", ratio(state, 50), ratio(state, 99),
	       (unsigned long long)state->failed);
	bench_bars(&(struct bench_bar){ .key = "ratio_p99",
					.value = ratio(state, 99),
					.limit = RATIO_P99 },
		   1);
	printf(" check=%s\n", wrong ? "failed" : "ok");
	return wrong;
}

static bool print_kind(struct attack *attack, enum attack_kind kind)
{
	struct bench_samples *cut_s = &attack->cut_s[kind];
	bool wrong = cut_s->count != attack_clients[kind];

	printf("bench=hostile attacker=%s clients=%u cut_off=%zu cut_off_s_first=%.2f "
	       "cut_off_s_last=%.2f check=%s\n",
	       attack_name[kind], attack_clients[kind], cut_s->count, bench_percentile(cut_s, 0),
	       bench_percentile(cut_s, 100), wrong ? "failed" : "ok");
	return wrong;
}

static bool print_all(struct attack *attack)
{
	bool wrong = false;

	for (int i = 0; i < CLIENTS; i++)
		wrong |= print_client(&run.client[i]);
	for (int kind = 0; kind < ATTACK_KINDS; kind++)
		wrong |= print_kind(attack, kind);
	printf("bench=hostile refused=%u resident_bytes_before=%llu resident_bytes_most=%llu "
	       "resident_bytes_after=%llu ratio=%.2f\n",
	       attack->refused, (unsigned long long)run.resident_before,
	       (unsigned long long)run.resident_most, (unsigned long long)run.resident_after,
	       (double)run.resident_most / (double)run.resident_before);
	return wrong;
}

static void open_all(void)
{
	struct rlimit limit;
	uint32_t family;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	run.dir = workers_folder();
	server_exporter(&run.exporter, run.dir);
	workers_start(&run.workers, run.dir, SERIES);
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

int main(void)
{
	struct attack attack;

	bench_environment();
	open_all();
	start_clients();
	stay_calm();
	run.resident_before = run.resident_most = server_resident_bytes(&run.exporter);
	attack_exporter(&attack);
	stay_calm();
	run.resident_after = server_resident_bytes(&run.exporter);
	stop_clients();
	bool wrong = print_all(&attack);
	attack_free(&attack);
	kvtap_close(run.tap);
	workers_stop(&run.workers);
	server_stop(&run.exporter);
	workers_remove();
	for (int i = 0; i < CLIENTS; i++)
		for (int phase = 0; phase < PHASES; phase++)
			bench_samples_free(&run.client[i].us[phase]);
	return wrong;
}
