/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filler.c - a worker that fills its rings when it is told to, for benches of the drain
 *
 * A process of its own, since a process has few taps and the exporter shall meet a worker as it is.
 * Its threads and the bench meet at a barrier before and after each filling.
 */
#include "filler.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define STACK_BYTES 65536
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- kinds ---- */

static const double sizes[] = { 1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 100e6, 150e6, 200e6 };
static const double times[] = {
	0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0
};
static const double posts[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
				0.2,   0.3,   0.5,  0.75,  1.0,	 5.0 };
static const double byte_sizes[] = { 0x1p11, 0x1p13, 0x1p15, 0x1p17, 0x1p19, 0x1p21,
				     0x1p23, 0x1p25, 0x1p27, 0x1p29, 0x1p31, 0x1p33 };
static const double descriptors[] = { 10,  20,	 30,   50,   75,    100,   200,
				      400, 1000, 2000, 4000, 10000, 20000, 50000 };

#define CELL(name, metric, field, when, ...)                                                       \
	{                                                                                          \
		name, KVTAP_##metric, KVTAP_FIELD_##field, KVTAP_WHEN_##when, __VA_ARGS__          \
	}

/* The built-in families, which is what one series has; more have the same shape and a label. */
static const struct filler_row offload_rows[] = {
	CELL("vllm:kv_offload_load_bytes", COUNTER, BYTES, OK, NULL, 0, NULL),
	CELL("vllm:kv_offload_load_time", COUNTER, DURATION, OK, NULL, 0, NULL),
	CELL("vllm:kv_offload_load_size", HISTOGRAM, BYTES, OK, sizes, COUNT(sizes), NULL),
	CELL("vllm:kv_offload_total_bytes", COUNTER, BYTES, OK, NULL, 0, "CPU_to_GPU"),
	CELL("vllm:kv_offload_total_time", COUNTER, DURATION, OK, NULL, 0, "CPU_to_GPU"),
	CELL("vllm:kv_offload_size", HISTOGRAM, BYTES, OK, sizes, COUNT(sizes), "CPU_to_GPU"),
};
static const struct filler_row nixl_rows[] = {
	CELL("vllm:nixl_xfer_time_seconds", HISTOGRAM, DURATION, OK, times, COUNT(times), NULL),
	CELL("vllm:nixl_post_time_seconds", HISTOGRAM, SUBMIT, OK, posts, COUNT(posts), NULL),
	CELL("vllm:nixl_bytes_transferred", HISTOGRAM, BYTES, OK, byte_sizes, COUNT(byte_sizes),
	     NULL),
	CELL("vllm:nixl_num_descriptors", HISTOGRAM, DESCRIPTORS, OK, descriptors,
	     COUNT(descriptors), NULL),
	CELL("vllm:nixl_num_failed_transfers", COUNTER, ONE, FAILED, NULL, 0, NULL),
};
static const struct filler_row counter_rows[] = {
	CELL("bench_counter", COUNTER, ONE, ALWAYS, NULL, 0, NULL),
};

const struct filler_kind filler_offload = {
	"offload",	     KVTAP_OFFLOAD_LOAD,
	KVTAP_GROUP_OFFLOAD, { "OffloadingConnector", KVTAP_SUMMARY_FAMILIES },
	offload_rows,	     3
};
const struct filler_kind filler_mirror = { "offload_mirror",
					   KVTAP_OFFLOAD_LOAD,
					   KVTAP_GROUP_OFFLOAD | KVTAP_GROUP_OFFLOAD_DEPRECATED,
					   { "OffloadingConnector", KVTAP_SUMMARY_FAMILIES },
					   offload_rows,
					   COUNT(offload_rows) };
const struct filler_kind filler_nixl = {
	"nixl",		  KVTAP_NIXL_TRANSFER,
	KVTAP_GROUP_NIXL, { "NixlPullConnector", KVTAP_SUMMARY_NIXL },
	nixl_rows,	  COUNT(nixl_rows)
};
const struct filler_kind filler_counter = { .name = "counter", .row = counter_rows, .rows = 1 };

/* ---- what is recorded ---- */

static uint64_t scatter(uint64_t value)
{
	value = (value + 1) * 0x9e3779b97f4a7c15u;
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
	return value ^ value >> 27;
}

/* About as many in each power of two from unit on. */
static uint64_t spread(uint64_t random, uint64_t unit, uint32_t powers)
{
	return (unit << (random & 0xffff) % powers) * (1024 + (random >> 16 & 1023)) / 1024;
}

struct kvtap_transfer filler_transfer(uint64_t number, uint32_t *series, uint32_t count)
{
	uint64_t first = scatter(number), second = scatter(~number);

	*series = (uint32_t)(first >> 32) % count;
	return (struct kvtap_transfer){
		.status = second >> 54 == 0 ? KVTAP_FAILED : KVTAP_OK, /* one in 1,024 */
		.end_ns = 1 + number,
		.duration_ns = spread(first, 1000000, 12),
		.submit_ns = spread(first >> 6, 10000, 8),
		.bytes = spread(second, 65536, 14),
		.descriptors = (uint32_t)spread(second >> 20, 1, 14),
		.request_id = number,
	};
}

uint64_t filler_value(const struct kvtap_transfer *transfer, uint8_t field)
{
	switch (field) {
	case KVTAP_FIELD_BYTES:
		return transfer->bytes;
	case KVTAP_FIELD_DURATION:
		return transfer->duration_ns;
	case KVTAP_FIELD_SUBMIT:
		return transfer->submit_ns;
	case KVTAP_FIELD_DESCRIPTORS:
		return transfer->descriptors;
	default:
		return 1;
	}
}

/* ---- declarations ---- */

static uint32_t declare_family(struct kvtap *tap, const struct filler_row *row, uint32_t connector)
{
	static const char *const labels[] = { "peer", "transfer_type" };
	struct kvtap_family family = { .name = row->family,
				       .metric = row->metric,
				       .label_names = labels,
				       .label_count = row->type ? 2 : 1,
				       .bounds = row->bound,
				       .bound_count = row->bounds,
				       .connector = connector };
	uint32_t id;
	int rc = kvtap_family_declare(tap, &id, &family);

	if (rc)
		bench_fail("declare a family", rc);
	return id;
}

static uint32_t declare_kind(struct kvtap *tap, const struct filler_kind *kind)
{
	static const char *const label[] = { "peer" };
	struct kvtap_feed feed[COUNT(offload_rows)];
	const char *fixed[COUNT(offload_rows)][2] = { { NULL } };
	struct kvtap_kind declared = { .name = kind->name,
				       .label_names = label,
				       .label_count = 1,
				       .feeds = feed,
				       .feed_count = kind->rows,
				       .role = KVTAP_ROLE_TRANSFER };
	uint32_t id;
	int rc = kvtap_connector_declare(tap, &declared.connector, &kind->connector);

	for (size_t i = 0; i < kind->rows && !rc; i++) {
		const struct filler_row *row = &kind->row[i];

		fixed[i][1] = row->type;
		feed[i] = (struct kvtap_feed){
			.family = declare_family(tap, row, row->type ? 0 : declared.connector),
			.field = row->field,
			.when = row->when,
			.fixed_values = fixed[i]
		};
	}
	if (!rc)
		rc = kvtap_kind_declare(tap, &id, &declared);
	if (rc)
		bench_fail("declare a kind", rc);
	return id;
}

static void declare(struct kvtap *tap, const struct filler *filler, uint32_t *id)
{
	const struct filler_kind *kind = filler->kind;
	char peer[12];
	const char *value[] = { peer };
	int rc = 0;

	if (kind->builtin && filler->series == 1) {
		rc = kvtap_builtin(tap, &id[0], kind->builtin, NULL);
	} else {
		uint32_t of = kind->builtin ? declare_kind(tap, kind)
					    : declare_family(tap, &kind->row[0], 0);

		for (uint32_t i = 0; i < filler->series && !rc; i++) {
			snprintf(peer, sizeof(peer), "%u", i);
			rc = kind->builtin ? kvtap_kind_series(tap, &id[i], of, value, 1)
					   : kvtap_family_series(tap, &id[i], of, value, 1);
		}
	}
	if (rc)
		bench_fail("declare a series", rc);
}

/* ---- the process ---- */

struct filler_turn {
	pthread_barrier_t barrier; /* of the threads and the bench */
	uint64_t turns;		   /* changes only while all threads wait */
	bool ends;
};

struct producer {
	const struct filler *filler;
	struct kvtap *tap;
	const uint32_t *id;
	uint32_t index;
	pthread_t thread;
};

static void fill_ring(const struct producer *producer, struct kvtap_ring *ring)
{
	const struct filler *filler = producer->filler;
	uint64_t number = (filler->turn->turns * filler->rings + producer->index) * filler->records;

	for (uint32_t i = 0; i < filler->records; i++) {
		uint32_t series;
		struct kvtap_transfer transfer =
			filler_transfer(number + i, &series, filler->series);

		transfer.series = producer->id[series];
		if (filler->kind->builtin)
			kvtap_ring_transfer(ring, &transfer);
		else
			kvtap_ring_add(ring, transfer.series, 1);
	}
}

static void fill_memory(const struct producer *producer)
{
	const struct filler *filler = producer->filler;
	size_t bytes = (size_t)filler->records * 64;

	memset(filler->memory + producer->index * bytes, (int)filler->turn->turns, bytes);
}

static void *produce(void *arg)
{
	const struct producer *producer = arg;
	struct filler_turn *turn = producer->filler->turn;
	struct kvtap_ring *ring = producer->tap ? kvtap_ring(producer->tap) : NULL;

	for (;;) {
		pthread_barrier_wait(&turn->barrier);
		if (turn->ends)
			return NULL;
		if (ring)
			fill_ring(producer, ring);
		else
			fill_memory(producer);
		pthread_barrier_wait(&turn->barrier);
	}
}

static void start_threads(struct producer *producer, const struct producer *first, uint32_t count)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	for (uint32_t i = 0; i < count; i++) {
		producer[i] = *first;
		producer[i].index = i;
		int rc = pthread_create(&producer[i].thread, &attributes, produce, &producer[i]);
		if (rc)
			bench_fail("start a thread", rc);
	}
	pthread_attr_destroy(&attributes);
}

static void run(const struct filler *filler, const char *folder, int ready)
{
	static struct producer producer[FILLER_RINGS_MAX];
	uint32_t *id = bench_allocate(filler->series * sizeof(*id));
	struct producer first = { .filler = filler, .id = id };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	bench_pin(0);
	if (filler->kind) {
		int rc = kvtap_open(&first.tap,
				    &(struct kvtap_options){
					    .dir = folder,
					    .ring_max = FILLER_RINGS_MAX,
					    .ring_slots = filler->records,
					    .groups = filler->series == 1 ? filler->kind->groups
									  : 0 });
		if (rc)
			bench_fail("open a tap", rc);
		declare(first.tap, filler, id);
	}
	start_threads(producer, &first, filler->rings);
	if (write(ready, "", 1) != 1)
		bench_fail("tell that it is ready", 5);
	for (uint32_t i = 0; i < filler->rings; i++)
		pthread_join(producer[i].thread, NULL);
	kvtap_close(first.tap);
}

/* ---- for the bench ---- */

static void *share(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		bench_fail("share memory", 12);
	return memory;
}

static size_t memory_bytes(const struct filler *filler)
{
	return (size_t)filler->rings * filler->records * 64;
}

void filler_start(struct filler *filler, const char *folder)
{
	pthread_barrierattr_t attributes;
	int ready[2];
	char byte;

	filler->turn = share(sizeof(*filler->turn));
	if (!filler->kind)
		filler->memory = share(memory_bytes(filler));
	pthread_barrierattr_init(&attributes);
	pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&filler->turn->barrier, &attributes, filler->rings + 1);
	fflush(stdout);
	filler->pid = pipe(ready) ? -1 : fork();
	if (filler->pid < 0)
		bench_fail("start a process", 11);
	if (filler->pid == 0) {
		run(filler, folder, ready[1]);
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		bench_fail("start a worker", 10);
	close(ready[0]);
}

void filler_fill(struct filler *filler)
{
	pthread_barrier_wait(&filler->turn->barrier);
	pthread_barrier_wait(&filler->turn->barrier);
	filler->turn->turns++;
}

void filler_stop(struct filler *filler)
{
	filler->turn->ends = true;
	pthread_barrier_wait(&filler->turn->barrier);
	waitpid(filler->pid, NULL, 0);
	munmap(filler->turn, sizeof(*filler->turn));
	if (filler->memory)
		munmap(filler->memory, memory_bytes(filler));
}
