/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_round.h - one case in one round: the floor, what the case builds on, and the case itself
 *
 * They are measured right after each other, by the same threads on the same target: what is
 * compared is compared within a round, and the figure is the median of the rounds' own ratios.
 * With a reader, rounds are kept apart by how far its CPU was away (cross_core.h, README.md).
 */
#ifndef KVTAP_RECORD_ROUND_H
#define KVTAP_RECORD_ROUND_H

#include "cross_core.h"
#include "record_target.h"

enum record_side { RECORD_FLOOR, RECORD_BASE, RECORD_CASE, RECORD_SIDES };

struct record_case {
	const char *name;
	uint32_t threads;
	enum record_end end;
	enum record_kind kind;
	const struct record_way *way;
	/* what it is also compared with; NULL: nothing */
	const struct record_way *base;
	const char *over; /* key of the difference; NULL: the base is the same way on one thread */
	uint32_t clock;	  /* enum kvtap_clock */
	/* bars; 0: none */
	double ratio_most, over_most, ns_most;
	double ns_floor; /* ns_most can be asked for where the floor is at most this; 0: anywhere */
};

/* Of the rounds in which the CPUs were equally far apart. */
struct record_figures {
	struct bench_samples burst[RECORD_SIDES]; /* ns an operation, of each burst and thread */
	struct bench_samples round[RECORD_SIDES]; /* of each round: mean of the threads' medians */
	struct bench_samples ratio;		  /* of each round: case over floor */
	struct bench_samples over;		  /* of each round: case less base, or over it */
};

struct record_result {
	struct record_figures figures[CROSS_CORE_STATES]; /* the first alone without a reader */
	uint32_t moved; /* rounds left out: the CPUs were not where they had been at its begin */
	struct record_balance balance; /* of all rounds */
};

/* record_timed_cpu - whether CPU time is measured: there are more threads than CPUs */
bool record_timed_cpu(const struct record_case *record);

/* record_round - measure a case once; RECORD_BURST operations a sample */
#define RECORD_BURST 2048 /* half a ring, so that it never fills while a reader drains */
void record_round(const struct record_case *record, struct record_result *result);
void record_result_free(struct record_result *result);
/* record_round_free - memory that rounds share; after the last */
void record_round_free(void);

#endif
