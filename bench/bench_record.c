/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_record.c - what does recording cost the thread that records?
 *
 * The table of cases, their lines and their bars. Cases take turns in each round, so that what else
 * runs on the machine meets all of them alike. How a case is measured is in record_round.c; what is
 * not a long loop is in record_groups.c (single records) and record_first.c (a thread's first).
 */
#include <stdio.h>
#include <string.h>

#include "record_first.h"
#include "record_groups.h"
#include "record_round.h"

#define ROUNDS 15
#define ROUNDS_LEAST 3 /* of which a median is told */

/* The bar of 5 ns is for a floor of 1.7, to that digit. */
#define FLOOR_KNOWN 1.75

#define MONOTONIC .clock = KVTAP_CLOCK_MONOTONIC
#define TSC .clock = KVTAP_CLOCK_TSC

static const struct record_case cases[] = {
	{ "floor_read", 1, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_plain },
	{ "floor_alone", 1, RECORD_NOWHERE, RECORD_OFFLOAD, .way = &record_plain },
	{ "handle", 1, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_handle, .ratio_most = 2.5,
	  .ns_most = 5, .ns_floor = FLOOR_KNOWN },
	{ "handle", 2, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_handle,
	  .base = &record_handle, .over_most = 1.1 },
	{ "handle", 4, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_handle,
	  .base = &record_handle },
	{ "handle", 8, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_handle,
	  .base = &record_handle },
	{ "handle", 16, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_handle,
	  .base = &record_handle },
	{ "handle", 32, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_handle,
	  .base = &record_handle },
	{ "handle", 64, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_handle,
	  .base = &record_handle },
	{ "thread_found", 1, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_thread,
	  .base = &record_handle, .over = "over_handle_ns", .over_most = 1.5 },
	{ "batch_8", 1, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_batches_8 },
	{ "batch_32", 1, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_batches_32,
	  .ratio_most = 1.5 },
	{ "clock_alone", 1, RECORD_NOWHERE, RECORD_OFFLOAD, .way = &record_clock },
	{ "clock_alone", 1, RECORD_NOWHERE, RECORD_OFFLOAD, .way = &record_tsc, TSC },
	{ "handle_clock", 1, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_now,
	  .base = &record_clock, .over = "over_clock_ns", MONOTONIC, .over_most = 6 },
	{ "handle_clock", 1, RECORD_DRAINED, RECORD_OFFLOAD, .way = &record_now,
	  .base = &record_tsc, .over = "over_clock_ns", TSC },
	{ "counter_add", 1, RECORD_DRAINED, RECORD_COUNTER, .way = &record_add,
	  .base = &record_clock, .over = "over_clock_ns", MONOTONIC, .over_most = 6 },
	{ "counter_add", 1, RECORD_DRAINED, RECORD_COUNTER, .way = &record_add, .base = &record_tsc,
	  .over = "over_clock_ns", TSC },
	{ "gauge_set", 1, RECORD_DRAINED, RECORD_GAUGE, .way = &record_set, .base = &record_clock,
	  .over = "over_clock_ns", MONOTONIC, .over_most = 6 },
	{ "gauge_set", 1, RECORD_DRAINED, RECORD_GAUGE, .way = &record_set, .base = &record_tsc,
	  .over = "over_clock_ns", TSC },
	{ "histogram_observe", 1, RECORD_DRAINED, RECORD_HISTOGRAM, .way = &record_observe,
	  .base = &record_clock, .over = "over_clock_ns", MONOTONIC, .over_most = 6 },
	{ "histogram_observe", 1, RECORD_DRAINED, RECORD_HISTOGRAM, .way = &record_observe,
	  .base = &record_tsc, .over = "over_clock_ns", TSC },
	{ "256_series", 1, RECORD_DRAINED, RECORD_MANY, .way = &record_handle },
	{ "full_offload", 1, RECORD_FULL, RECORD_OFFLOAD, .way = &record_handle, .ns_most = 25 },
	{ "full_nixl", 1, RECORD_FULL, RECORD_NIXL, .way = &record_handle, .ns_most = 40 },
	{ "full_256_series", 1, RECORD_FULL, RECORD_MANY, .way = &record_handle },
	{ "full_256_series", 8, RECORD_FULL, RECORD_MANY, .way = &record_handle },
	{ "disabled", 1, RECORD_DISABLED, RECORD_OFFLOAD, .way = &record_thread,
	  .base = &record_fill, .over = "over_fill_ns", .over_most = 1 },
	{ "unopened", 1, RECORD_UNOPENED, RECORD_OFFLOAD, .way = &record_thread,
	  .base = &record_fill, .over = "over_fill_ns" },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static struct record_result results[CASES];

/* ---- clocks ---- */

static bool possible(const struct record_case *record)
{
	return record->clock != KVTAP_CLOCK_TSC || bench_tsc_trusted();
}

/* ---- lines ---- */

static const char *clock_of(const struct record_case *record)
{
	if (record->clock == KVTAP_CLOCK_TSC)
		return "tsc";
	return record->way == &record_handle || record->way == &record_thread ||
			       record->way == &record_batches_8 || record->way == &record_batches_32
		       ? "caller"
	       : record->way == &record_plain ? "none"
					      : "monotonic";
}

static void print_configuration(const struct record_case *record)
{
	printf("bench=record mode=%s threads=%u clock=%s timed=%s", record->name, record->threads,
	       clock_of(record), record_timed_cpu(record) ? "cpu" : "wall");
}

static void print_bars(const struct record_case *record, struct record_figures *figures,
		       double floor_ns, double ns)
{
	bool ns_asked = record->ns_most > 0 && (!record->ns_floor || floor_ns <= record->ns_floor);
	const struct bench_bar bars[] = {
		{ record->ratio_most > 0 ? "ratio" : NULL, bench_percentile(&figures->ratio, 50),
		  record->ratio_most, false },
		{ record->over_most > 0 ? (record->over ? record->over : "ratio_one_thread") : NULL,
		  bench_percentile(&figures->over, 50), record->over_most, false },
		{ ns_asked ? "ns_per_op_p50" : NULL, ns, record->ns_most, false },
	};

	bench_bars(bars, sizeof(bars) / sizeof(bars[0]));
}

static void print_figures(const struct record_case *record, const struct record_result *result,
			  struct record_figures *figures)
{
	const struct record_balance *balance = &result->balance;
	double floor_ns = bench_percentile(&figures->round[RECORD_FLOOR], 50);
	double ns = bench_percentile(&figures->round[RECORD_CASE], 50);

	printf(" rounds=%zu ops=%llu ns_per_op_p50=%.2f ns_per_op_p99=%.2f floor_ns=%.2f "
	       "floor_ns_p99=%.2f ratio=%.2f ratio_p10=%.2f ratio_p90=%.2f ratio_of_medians=%.2f",
	       figures->ratio.count,
	       (unsigned long long)figures->burst[RECORD_CASE].count * RECORD_BURST, ns,
	       bench_percentile(&figures->burst[RECORD_CASE], 99), floor_ns,
	       bench_percentile(&figures->burst[RECORD_FLOOR], 99),
	       bench_percentile(&figures->ratio, 50), bench_percentile(&figures->ratio, 10),
	       bench_percentile(&figures->ratio, 90), ns / floor_ns);
	if (record->base)
		printf(" %s=%.2f", record->over ? record->over : "ratio_one_thread",
		       bench_percentile(&figures->over, 50));
	printf(" moved=%u folded=%llu lost=%lld", result->moved,
	       (unsigned long long)balance->folded,
	       (long long)(balance->recorded - balance->drained - balance->folded));
	print_bars(record, figures, floor_ns, ns);
	printf(" check=%s\n", balance->wrong ? "failed" : "ok");
}

/* One line for each distance of the CPUs at which there were some rounds. */
static void print_case(const struct record_case *record, struct record_result *result)
{
	bool reader = record->end == RECORD_DRAINED;
	uint32_t order[CROSS_CORE_STATES] = { 0 };
	uint32_t states = reader ? cross_core_states(order) : 1;

	for (uint32_t i = 0; i < states; i++) {
		struct record_figures *figures = &result->figures[order[i]];

		if (figures->ratio.count < ROUNDS_LEAST)
			continue;
		print_configuration(record);
		if (reader)
			printf(" apart_ns=%.0f", cross_core_ns(order[i]));
		print_figures(record, result, figures);
	}
}

static void print_missing(const struct record_case *record)
{
	print_configuration(record);
	printf(" missing=\"a counter that the kernel trusts\"\n");
}

static void print_apart(void)
{
	uint32_t order[CROSS_CORE_STATES];
	uint32_t states = cross_core_states(order);

	for (uint32_t i = 0; i < states; i++)
		printf("bench=record mode=apart apart_ns=%.0f looks=%zu\n", cross_core_ns(order[i]),
		       cross_core_looks(order[i]));
}

/* bench_record [WORD]: only modes that have the word in their name */
int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";
	bool wrong = false;

	bench_environment();
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < CASES; i++)
			if (strstr(cases[i].name, only) && possible(&cases[i]))
				record_round(&cases[i], &results[i]);
		record_groups_round(only);
		if (strstr("first_record", only))
			record_first_round();
	}
	print_apart();
	for (size_t i = 0; i < CASES; i++) {
		if (strstr(cases[i].name, only) && !possible(&cases[i]))
			print_missing(&cases[i]);
		print_case(&cases[i], &results[i]);
		wrong |= results[i].balance.wrong;
		record_result_free(&results[i]);
	}
	record_round_free();
	wrong |= !record_groups_print();
	wrong |= !record_first_print();
	return wrong;
}
