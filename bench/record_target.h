/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_target.h - what is recorded to: a tap, who is at its other end, and plain memory beside it
 *
 * Opened for one case in one round and closed with an account of all that was recorded. Plain memory
 * is read by whoever drains the rings, in the same calls, so that the floor is under the same
 * conditions as the case. Knows nothing of time.
 */
#ifndef KVTAP_RECORD_TARGET_H
#define KVTAP_RECORD_TARGET_H

#include "bench.h"
#include "collector.h"
#include "record_ways.h"

#define RECORD_THREADS 64

enum record_end {
	RECORD_DRAINED,	 /* a reader on the last CPU drains every millisecond */
	RECORD_FULL,	 /* nobody reads: every record is folded, once the rings are full */
	RECORD_DISABLED, /* the tap is switched off */
	RECORD_UNOPENED, /* the tap could not be opened */
	RECORD_NOWHERE,	 /* no tap */
};

enum record_kind {
	RECORD_OFFLOAD, /* 2 counters, 1 histogram */
	RECORD_NIXL,	/* 4 histograms */
	RECORD_MANY,	/* as OFFLOAD, RECORD_SERIES series in turn */
	RECORD_COUNTER,
	RECORD_GAUGE,
	RECORD_HISTOGRAM,
};

struct record_target {
	enum record_end end;
	enum record_kind kind;
	uint32_t clock;	  /* enum kvtap_clock */
	uint32_t threads; /* that record, at most RECORD_THREADS */
	/* private */
	struct collector collector; /* its tap for DISABLED and UNOPENED too */
	struct bench_timer timer;
	uint32_t series[RECORD_SERIES];
	struct record_memory memory[RECORD_THREADS];
	struct kvtap_transfer copy[RECORD_SLOTS];
};

/* What went in and what arrived. */
struct record_balance {
	uint64_t recorded, bytes; /* by the caller */
	uint64_t drained, folded;
	bool wrong;
};

/* record_target_open - as its public fields say; ends the program on error. Static memory, reused */
void record_target_open(struct record_target *target);

/* record_target_producer - the index'th thread's; to be called by that thread, which gets its ring */
struct record_producer record_target_producer(struct record_target *target, uint32_t index);

/* record_target_wait - until the reader has taken all that is recorded and stored by now */
void record_target_wait(struct record_target *target);

/*
 * record_target_close - take what is left, and compare it with what was recorded
 * @balance: recorded and bytes of this opening; the rest is filled in
 *
 * Wrong: not everything recorded is drained or folded, to the record and to the byte; a sequence; a
 * fold where there was room; the tap's own counts.
 */
void record_target_close(struct record_target *target, struct record_balance *balance);
/* record_balance_add - to that of all rounds */
void record_balance_add(struct record_balance *sum, const struct record_balance *balance);
void record_target_free(struct record_target *target);

#endif
