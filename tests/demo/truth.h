/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth.h - what a worker itself counted, readable also after it was killed
 *
 * One anonymous shared file per worker process, made by the driver and handed to it. A thread has
 * its own part, with two copies of its totals: the one that `committed` names is always whole.
 * Around each record it writes
 *
 *	in_flight, intended = n + 1, <the record in kvtap>, the other copy, committed = n + 1
 *
 * so that a kill leaves either intended == committed: all recorded is counted here; or one
 * event in flight, known in full, which kvtap may or may not have. Nothing else is uncertain.
 */
#ifndef DEMO_TRUTH_H
#define DEMO_TRUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvtap_cuda.h"
#include "totals.h"

#define THREADS_MAX 16
#define LATENCY_SLOTS 512 /* 8 for each power of two of nanoseconds */

struct truth_thread {
	_Atomic uint64_t intended;
	_Atomic uint64_t committed;
	struct event in_flight;
	struct totals copy[2];				 /* [committed % 2] is the valid one */
	uint32_t latency[TRANSFER_KINDS][LATENCY_SLOTS]; /* for percentiles only */
};

struct truth {
	_Atomic uint64_t bytes_checked; /* decode: bytes that were what prefill wrote */
	_Atomic uint64_t bytes_wrong;
	_Atomic uint32_t through_file; /* decode: process_vm_readv is not allowed here */
	_Atomic bool on_device;	       /* offload: copies are a GPU's, and so are their times */
	char device[128];	       /* offload: the GPU's name, or why there is none */
	struct kvtap_stats stats;      /* at a clean end */
	struct truth_thread thread[THREADS_MAX];
};

/* truth_create - a new one, mapped; its descriptor in *fd; NULL: errno says why */
struct truth *truth_create(int *fd);
/* truth_map - the one behind an inherited descriptor */
struct truth *truth_map(int fd);

/* truth_total - everything committed, added to totals */
void truth_total(const struct truth *truth, struct totals *totals);
/* truth_in_flight - events[THREADS_MAX]: those that a thread was recording; returns how many */
size_t truth_in_flight(const struct truth *truth, struct event *events);
/* truth_latency - counts of one kind added to slots[LATENCY_SLOTS] */
void truth_latency(const struct truth *truth, enum event_kind kind, uint64_t *slots);
/* latency_percentile - nanoseconds below which a share of the counts is; 0 without counts */
double latency_percentile(const uint64_t *slots, double share);

/* The worker's side: a tap and the truth beside it. */
struct recorder {
	struct kvtap *tap;
	struct truth *truth;
	uint32_t series[EVENT_KINDS];
};

/* recorder_open, recorder_declare - 0 or a negative errno, said on stderr */
int recorder_open(struct recorder *recorder, int truth_fd, const char *engine, const char *rank);
/* recorder_declare - the series of the events of such an engine */
int recorder_declare(struct recorder *recorder, const char *engine);
/* recorder_record - one event of one thread into kvtap, then into the truth */
void recorder_record(struct recorder *recorder, uint32_t thread, const struct event *event);
/*
 * recorder_harvest - the same of a span that has ended on its device, the only one of @spans: kvtap
 * has the device's time, the truth the event's, which is the worker's own and longer
 */
void recorder_harvest(struct recorder *recorder, uint32_t thread, const struct event *event,
		      struct kvtap_cuda *spans);
/* recorder_close - leave the tap's own counters in the truth and close it; no thread records */
void recorder_close(struct recorder *recorder);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

#endif
