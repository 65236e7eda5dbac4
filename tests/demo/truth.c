/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth.c - a worker's private count, kept so that a kill at any instruction leaves it readable
 *
 * All that is shared is written by one thread and read by the driver after that thread is gone, or
 * for a progress line that may be a record behind.
 */
#include "truth.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec;
}

struct truth *truth_map(int fd)
{
	void *map = mmap(NULL, sizeof(struct truth), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return map == MAP_FAILED ? NULL : map;
}

struct truth *truth_create(int *fd)
{
	*fd = memfd_create("kvtap-demo-truth", MFD_CLOEXEC);
	if (*fd < 0)
		return NULL;
	struct truth *truth = ftruncate(*fd, sizeof(struct truth)) ? NULL : truth_map(*fd);
	if (!truth)
		close(*fd);
	return truth;
}

void truth_total(const struct truth *truth, struct totals *totals)
{
	for (int i = 0; i < THREADS_MAX; i++) {
		const struct truth_thread *thread = &truth->thread[i];

		totals_add(totals, &thread->copy[thread->committed % 2]);
	}
}

size_t truth_in_flight(const struct truth *truth, struct event *events)
{
	size_t count = 0;

	for (int i = 0; i < THREADS_MAX; i++) {
		if (truth->thread[i].intended != truth->thread[i].committed)
			events[count++] = truth->thread[i].in_flight;
	}
	return count;
}

static uint32_t latency_slot(uint64_t ns)
{
	if (ns < 8)
		return 0;
	uint32_t power = 63 - (uint32_t)__builtin_clzll(ns);
	return power * 8 + (uint32_t)(ns >> (power - 3)) % 8;
}

void truth_latency(const struct truth *truth, enum event_kind kind, uint64_t *slots)
{
	for (int i = 0; i < THREADS_MAX; i++) {
		for (int j = 0; j < LATENCY_SLOTS; j++)
			slots[j] += truth->thread[i].latency[kind][j];
	}
}

double latency_percentile(const uint64_t *slots, double share)
{
	uint64_t all = 0, below = 0;

	for (uint32_t i = 0; i < LATENCY_SLOTS; i++)
		all += slots[i];
	double rank = share * (double)all;
	for (uint32_t i = 0; i < LATENCY_SLOTS; i++) {
		if (slots[i] && (double)(below + slots[i]) >= rank) {
			double width = (double)(1ull << (i / 8)) / 8;
			double within = (rank - (double)below) / (double)slots[i];

			return width * (8 + i % 8 + within);
		}
		below += slots[i];
	}
	return 0;
}

static void print_log(void *name, enum kvtap_level level, const char *message)
{
	if (level <= KVTAP_LOG_WARN)
		fprintf(stderr, "worker of engine %s: %s\n", (const char *)name, message);
}

int recorder_declare(struct recorder *recorder, const char *engine)
{
	static const char *const builtins[EVENT_KINDS] = {
		[EVENT_STORE] = KVTAP_OFFLOAD_STORE,
		[EVENT_LOAD] = KVTAP_OFFLOAD_LOAD,
		[EVENT_PULL] = KVTAP_NIXL_TRANSFER,
		[EVENT_FAILED_NOTIFICATION] = "vllm:nixl_num_failed_notifications",
		[EVENT_EXPIRED_REQUEST] = "vllm:nixl_num_kv_expired_reqs",
	};
	bool offload = strcmp(engine, OFFLOAD_ENGINE) == 0;
	int error = 0;

	/* as in vLLM, a worker declares the families of its own connector only, and kvtap's */
	for (int kind = 0; kind < EVENT_KINDS && !error; kind++) {
		if ((kind < EVENT_PULL) == offload)
			error = kvtap_builtin(recorder->tap, &recorder->series[kind],
					      builtins[kind], NULL);
	}
	if (error)
		fprintf(stderr, "worker of engine %s: %s\n", engine, strerror(-error));
	return error;
}

int recorder_open(struct recorder *recorder, int truth_fd, const char *engine, const char *rank)
{
	recorder->truth = truth_map(truth_fd);
	if (!recorder->truth)
		return -errno;
	int error =
		kvtap_open(&recorder->tap, &(struct kvtap_options){ .model_name = MODEL_NAME,
								    .engine = engine,
								    .rank = rank,
								    .groups = KVTAP_GROUP_KVTAP,
								    .log = print_log,
								    .log_arg = (void *)engine });
	if (error)
		fprintf(stderr, "worker of engine %s: %s\n", engine, strerror(-error));
	return error;
}

static void record_in_kvtap(struct recorder *recorder, const struct event *event)
{
	uint32_t series = recorder->series[event->kind];

	if (event->kind >= TRANSFER_KINDS) {
		kvtap_add(recorder->tap, series, 1);
		return;
	}
	kvtap_transfer(recorder->tap, &(struct kvtap_transfer){ .series = series,
								.status = (uint8_t)event->status,
								.end_ns = event->end_ns,
								.duration_ns = event->duration_ns,
								.submit_ns = event->submit_ns,
								.bytes = event->bytes,
								.descriptors = event->descriptors,
								.request_id = event->request_id });
}

/* Late by no more than the device's clock takes to be read; the tap's own counts tell of none. */
static void harvest(struct kvtap_cuda *spans)
{
	struct kvtap_cuda_stats stats;

	do {
		kvtap_cuda_harvest(spans, 0);
		kvtap_cuda_stats(spans, &stats);
	} while (stats.in_flight && sched_yield() == 0);
}

static void record(struct recorder *recorder, uint32_t thread, const struct event *event,
		   struct kvtap_cuda *spans)
{
	struct truth_thread *own = &recorder->truth->thread[thread];
	uint64_t next = own->committed + 1;

	own->in_flight = *event;
	own->intended = next;
	if (spans)
		harvest(spans);
	else
		record_in_kvtap(recorder, event);
	own->copy[next % 2] = own->copy[(next - 1) % 2];
	totals_apply(&own->copy[next % 2], event);
	own->committed = next;
	if (event->kind < TRANSFER_KINDS && !event->status)
		own->latency[event->kind][latency_slot(event->duration_ns)]++;
}

void recorder_record(struct recorder *recorder, uint32_t thread, const struct event *event)
{
	record(recorder, thread, event, NULL);
}

void recorder_harvest(struct recorder *recorder, uint32_t thread, const struct event *event,
		      struct kvtap_cuda *spans)
{
	record(recorder, thread, event, spans);
}

void recorder_close(struct recorder *recorder)
{
	kvtap_stats(recorder->tap, &recorder->truth->stats);
	kvtap_close(recorder->tap);
}
