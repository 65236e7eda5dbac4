/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_groups.c - what single records cost at worst, and the first ones after a pause
 *
 * After each pause, in which the reader takes everything, some groups follow each other. That no
 * system call is made is for a test to show (tap_records_and_folds_without_a_system_call); here the
 * thread's context switches and page faults are counted over the groups alone, so that a tail that
 * is theirs can be told.
 */
#include "record_groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cross_core.h"
#include "record_target.h"

#define GROUPS_MAX 2048

enum side { NOTHING, FLOOR, CASE, SIDES };

struct group_case {
	const char *mode, *pause;
	uint32_t group;	 /* operations */
	uint32_t groups; /* after a pause; all together at most half a ring */
	uint32_t pauses; /* a round */
	bool evict;	 /* in the pause, push the thread's own lines out of its caches too */
	double tail_most;
};

static const struct group_case cases[] = {
	{ "tail", "drained", 16, 128, 640, false, .tail_most = 10 },
	{ "tail", "drained", 1, 2048, 40, false, .tail_most = 0 },
	{ "cold", "drained", 16, 1, 40, false, .tail_most = 0 },
	{ "cold", "evicted", 16, 1, 40, true, .tail_most = 0 },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

struct counts {
	long voluntary, involuntary, faults;
};

static struct result {
	struct bench_samples group[CROSS_CORE_STATES][SIDES]; /* ns, the clock's cost included */
	uint32_t moved;
	struct counts counts; /* of CASE, all rounds */
	struct record_balance balance;
} results[CASES];

static struct {
	const struct group_case *group;
	struct record_target target;
	struct bench_samples sample[SIDES]; /* of this round */
	struct counts counts;
	struct record_balance balance;
	uint64_t stamp_ns[GROUPS_MAX + 1];
	volatile uint8_t *other; /* memory to walk through */
	size_t other_bytes;
} run;

/* ---- a thread ---- */

static void allocate_other(void)
{
	long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);

	if (run.other)
		return;
	run.other_bytes = 4 * (size_t)(bytes > 0 ? bytes : 1 << 20);
	run.other = bench_allocate(run.other_bytes);
}

static void evict(void)
{
	for (size_t i = 0; i < run.other_bytes; i += 64)
		run.other[i]++;
}

static struct counts read_counts(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (struct counts){ usage.ru_nvcsw, usage.ru_nivcsw,
				usage.ru_minflt + usage.ru_majflt };
}

static void add_counts(struct counts *sum, const struct counts *before, const struct counts *now)
{
	sum->voluntary += now->voluntary - before->voluntary;
	sum->involuntary += now->involuntary - before->involuntary;
	sum->faults += now->faults - before->faults;
}

static void time_groups(struct record_producer *producer, const struct record_way *way)
{
	void (*burst)(struct record_producer *, uint32_t) = way->burst;
	uint32_t group = run.group->group;
	uint32_t groups = run.group->groups;
	struct counts before, now;

	producer->now_ns = bench_now_ns();
	before = read_counts();
	if (run.group->evict)
		evict();
	run.stamp_ns[0] = bench_now_ns(); /* the first reading is cold too */
	run.stamp_ns[0] = bench_now_ns();
	for (uint32_t i = 1; i <= groups; i++) {
		burst(producer, group);
		run.stamp_ns[i] = bench_now_ns();
	}
	if (way->records) {
		now = read_counts();
		add_counts(&run.counts, &before, &now);
	}
}

static void run_side(struct record_producer *producer, enum side side)
{
	static const struct record_way *const ways[] = { &record_nothing, &record_plain,
							 &record_handle };
	const struct record_way *way = ways[side];
	uint32_t group = run.group->group;
	uint32_t groups = run.group->groups;

	for (uint32_t i = 0; i < run.group->pauses; i++) {
		time_groups(producer, way);
		for (uint32_t j = 0; j < groups; j++)
			bench_samples_add(&run.sample[side],
					  (double)(run.stamp_ns[j + 1] - run.stamp_ns[j]));
		if (way->records) {
			run.balance.recorded += (uint64_t)group * groups;
			run.balance.bytes += groups * record_bytes(group);
		}
		if (side != NOTHING || groups == 1)
			record_target_wait(&run.target);
	}
}

static void *produce(void *arg)
{
	struct record_producer producer;

	(void)arg;
	bench_pin(0);
	producer = record_target_producer(&run.target, 0);
	for (enum side side = 0; side < SIDES; side++)
		run_side(&producer, side);
	return NULL;
}

/* ---- rounds ---- */

static void run_thread(void)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, produce, NULL);

	if (rc)
		bench_fail("start a thread", rc);
	pthread_join(thread, NULL);
}

static void run_round(const struct group_case *group, struct result *result)
{
	uint32_t before = cross_core_look();
	bool stayed;

	allocate_other();
	run.group = group;
	run.counts = (struct counts){ 0 };
	run.balance = (struct record_balance){ 0 };
	run.target.end = RECORD_DRAINED;
	run.target.kind = RECORD_OFFLOAD;
	run.target.threads = 1;
	record_target_open(&run.target);
	run_thread();
	record_target_close(&run.target, &run.balance);
	stayed = cross_core_look() == before;
	result->moved += !stayed;
	add_counts(&result->counts, &(struct counts){ 0 }, &run.counts);
	record_balance_add(&result->balance, &run.balance);
	for (int side = 0; side < SIDES; side++) {
		for (size_t i = 0; stayed && i < run.sample[side].count; i++)
			bench_samples_add(&result->group[before][side], run.sample[side].value[i]);
		bench_samples_free(&run.sample[side]);
	}
}

void record_groups_round(const char *only)
{
	for (size_t i = 0; i < CASES; i++)
		if (strstr(cases[i].mode, only))
			run_round(&cases[i], &results[i]);
}

/* ---- lines ---- */

/* Percentiles of an operation, those that at least some samples lie beyond. */
static void print_percentiles(const char *key, struct bench_samples *samples, double clock_ns,
			      uint32_t group)
{
	static const struct {
		const char *name;
		double percent;
	} percentiles[] = { { "p50", 50 }, { "p99", 99 }, { "p99_9", 99.9 }, { "p99_99", 99.99 } };

	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		if ((double)samples->count * (100 - percentiles[i].percent) / 100 >= 5)
			printf(" %s_%s=%.2f", key, percentiles[i].name,
			       (bench_percentile(samples, percentiles[i].percent) - clock_ns) /
				       group);
}

static double tail_of(struct bench_samples *samples, double clock_ns)
{
	return (bench_percentile(samples, 99.9) - clock_ns) /
	       (bench_percentile(samples, 50) - clock_ns);
}

static void print_ratios(const struct group_case *group, struct bench_samples *side,
			 double clock_ns)
{
	printf(" ratio=%.2f", (bench_percentile(&side[CASE], 50) - clock_ns) /
				      (bench_percentile(&side[FLOOR], 50) - clock_ns));
	if (group->groups > 1)
		printf(" p99_9_over_p50=%.2f floor_p99_9_over_p50=%.2f",
		       tail_of(&side[CASE], clock_ns), tail_of(&side[FLOOR], clock_ns));
}

static void print_counts(const struct result *result)
{
	const struct record_balance *balance = &result->balance;

	printf(" voluntary_switches=%ld involuntary_switches=%ld page_faults=%ld moved=%u "
	       "folded=%llu lost=%lld",
	       result->counts.voluntary, result->counts.involuntary, result->counts.faults,
	       result->moved, (unsigned long long)balance->folded,
	       (long long)(balance->recorded - balance->drained - balance->folded));
}

static void print_state(const struct group_case *group, struct result *result, uint32_t state)
{
	struct bench_samples *side = result->group[state];
	double clock_ns = bench_percentile(&side[NOTHING], 50);

	printf("bench=record mode=%s threads=1 clock=caller timed=wall pause=%s group=%u "
	       "groups_after_pause=%u apart_ns=%.0f groups=%zu",
	       group->mode, group->pause, group->group, group->groups, cross_core_ns(state),
	       side[CASE].count);
	print_percentiles("ns_per_op", &side[CASE], clock_ns, group->group);
	print_percentiles("floor_ns", &side[FLOOR], clock_ns, group->group);
	print_percentiles("clock_ns", &side[NOTHING], 0, 1);
	if (group->group > 1) /* one operation may be shorter than the clock's step */
		print_ratios(group, side, clock_ns);
	print_counts(result);
	bench_bars(&(struct bench_bar){ group->tail_most > 0 ? "p99_9_over_p50" : NULL,
					tail_of(&side[CASE], clock_ns), group->tail_most, false },
		   1);
	printf(" check=%s\n", result->balance.wrong ? "failed" : "ok");
}

bool record_groups_print(void)
{
	uint32_t order[CROSS_CORE_STATES];
	uint32_t states = cross_core_states(order);
	bool ok = true;

	for (size_t i = 0; i < CASES; i++) {
		for (uint32_t j = 0; j < states; j++) {
			struct bench_samples *side = results[i].group[order[j]];

			if (side[CASE].count)
				print_state(&cases[i], &results[i], order[j]);
			for (int k = 0; k < SIDES; k++)
				bench_samples_free(&side[k]);
		}
		ok &= !results[i].balance.wrong;
	}
	record_target_free(&run.target);
	free((void *)run.other);
	return ok;
}
