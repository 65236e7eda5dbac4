/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_seeds.c - write the seeds of fuzz_segment: real segments, in the form of fuzz_image.h
 *
 *	fuzz_seeds FOLDER
 *
 * Each seed is a worker's life, written down at some of its moments.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_image.h"
#include "../lib/tap.h"
#include "kvtap_device.cuh"

#define SLOTS 16
#define RINGS 2
#define OVERFLOW_BYTES 4096
#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "fuzz_seeds: %s\n", #condition);                           \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static char dir[] = "/dev/shm/kvtap-seeds.XXXXXX";
static int out; /* the folder of the seeds */
static FILE *seed;
static const uint8_t *segment, *tails; /* of the worker, mapped */
static struct kvtap *tap;

/* ---- the files of the worker ---- */

static const uint8_t *map(int folder, const char *suffix)
{
	int names = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fdopendir(names);
	const struct dirent *entry;
	struct stat status;
	void *data = NULL;

	NEED(list);
	while (!data && (entry = readdir(list))) {
		const char *end = strrchr(entry->d_name, '.');

		if (!end || strcmp(end, suffix) != 0)
			continue;
		int fd = openat(folder, entry->d_name, O_RDONLY | O_CLOEXEC);
		NEED(fd >= 0 && fstat(fd, &status) == 0);
		data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
		NEED(data != MAP_FAILED);
		close(fd);
		unlinkat(folder, entry->d_name, 0);
	}
	closedir(list);
	NEED(data);
	return data;
}

static void begin(const char *name, uint8_t flags)
{
	struct kvtap_options options = { .dir = dir,
					 .model_name = "m",
					 .engine = "0",
					 .rank = "1",
					 .ring_slots = SLOTS,
					 .ring_max = RINGS,
					 .overflow_bytes = OVERFLOW_BYTES };
	char path[64];
	int fd = openat(out, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	NEED(fd >= 0);
	seed = fdopen(fd, "w");
	NEED(seed && fputc(flags, seed) == flags);
	NEED(kvtap_open(&tap, &options) == 0);
	snprintf(path, sizeof(path), "%s/kvtap.default", dir);
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	NEED(folder >= 0);
	segment = map(folder, KVTAP_SEGMENT_SUFFIX);
	tails = map(folder, KVTAP_TAILS_SUFFIX);
	close(folder);
}

static const struct kvtap_segment_header *header(void)
{
	return (const struct kvtap_segment_header *)segment;
}

static void end(void)
{
	const struct kvtap_tails_header *head = (const struct kvtap_tails_header *)tails;
	size_t bytes = header()->segment_bytes;

	kvtap_close(tap);
	munmap((void *)(uintptr_t)tails, head->tails_bytes);
	munmap((void *)(uintptr_t)segment, bytes);
	NEED(fclose(seed) == 0);
}

/* ---- chunks ---- */

static void chunk(enum fuzz_place place, uint8_t ring, uint32_t offset, const void *data,
		  size_t bytes)
{
	struct fuzz_chunk head = { (uint8_t)place, ring, (uint16_t)bytes, offset };

	NEED(bytes <= UINT16_MAX && fwrite(&head, sizeof(head), 1, seed) == 1);
	NEED(bytes == 0 || fwrite(data, bytes, 1, seed) == 1);
}

static void ring_chunks(uint8_t index)
{
	const uint8_t *at = segment + header()->rings_offset + index * header()->ring_bytes;
	const struct kvtap_ring_header *ring = (const struct kvtap_ring_header *)at;

	chunk(FUZZ_RECORDS, index, 0, at + KVTAP_RING_RECORDS, SLOTS * sizeof(struct kvtap_record));
	chunk(FUZZ_ARENA, index, 0, at + KVTAP_RING_RECORDS + SLOTS * sizeof(struct kvtap_record),
	      ring->overflow_used);
	chunk(FUZZ_RING, index, 0, ring, sizeof(*ring));
}

/* All that is in use by now, and a look of the exporter at it. */
static void moment(void)
{
	chunk(FUZZ_SEGMENT, 0, 0, segment, sizeof(struct kvtap_segment_header));
	chunk(FUZZ_DICTIONARY, 0, 0, segment + header()->dictionary_offset,
	      header()->dictionary_used);
	for (uint8_t ring = 0; ring < header()->ring_count; ring++)
		ring_chunks(ring);
	chunk(FUZZ_TAILS, 0, 0, tails, sizeof(struct kvtap_tails_header));
	chunk(FUZZ_PASS, 0, 0, NULL, 0);
}

/* The same, with the last fold of ring 0 not yet applied. */
static void moment_in_fold(void)
{
	const struct kvtap_ring_header *ring =
		(const struct kvtap_ring_header *)(segment + header()->rings_offset);
	uint64_t odd = ring->fold_sequence + 1;

	moment();
	chunk(FUZZ_RING, 0, offsetof(struct kvtap_ring_header, fold_sequence), &odd, sizeof(odd));
	chunk(FUZZ_PASS, 0, 0, NULL, 0);
}

/* ---- what workers do ---- */

static void transfers(const char *builtin, uint64_t count)
{
	uint32_t series;

	NEED(kvtap_builtin(tap, &series, builtin, NULL) == 0);
	for (uint64_t i = 1; i <= count; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
							      .status = i % 5 == 4,
							      .duration_ns = i * 3000000,
							      .submit_ns = i * 1000,
							      .queue_ns = i * 10,
							      .bytes = i << 19,
							      .descriptors = (uint32_t)i * 7 });
}

static uint32_t declare(const char *name, enum kvtap_metric metric, size_t bounds)
{
	static const char *const labels[] = { "a", "b" };
	double bound[KVTAP_BOUNDS_MAX];
	uint32_t id;

	for (size_t i = 0; i < bounds; i++)
		bound[i] = (double)i * 1.5 - 3;
	struct kvtap_family family = { .name = name,
				       .help = "What \\ it\nis.",
				       .metric = metric,
				       .flags = bounds % 2 ? KVTAP_FAMILY_LAZY : 0,
				       .label_names = labels,
				       .label_count = 2,
				       .bounds = bound,
				       .bound_count = bounds };
	NEED(kvtap_family_declare(tap, &id, &family) == 0);
	return id;
}

static void scalars(unsigned count)
{
	uint32_t family[] = { declare("c", KVTAP_COUNTER, 0), declare("g", KVTAP_GAUGE, 0),
			      declare("h", KVTAP_HISTOGRAM, 5), declare("w", KVTAP_HISTOGRAM, 64) };
	const char *const values[] = { "one \"two\"\n", "\xff\xc3\xa9" };
	uint32_t series[4];

	for (int i = 0; i < 4; i++)
		NEED(kvtap_family_series(tap, &series[i], family[i], values, 2) == 0);
	for (unsigned i = 1; i <= count; i++) {
		kvtap_add(tap, series[0], i * 0.1);
		kvtap_set(tap, series[1], -(double)i);
		kvtap_observe(tap, series[2], i);
		kvtap_observe(tap, series[3], i * 1e300);
	}
}

static void own_kind(void)
{
	static const char *const labels[] = { "a" };
	static const char *const fixed[] = { NULL, "fixed" };
	struct kvtap_feed feeds[] = {
		{ .family = declare("kc", KVTAP_COUNTER, 0), .field = KVTAP_FIELD_DEVICE },
		{ .family = declare("kh", KVTAP_HISTOGRAM, 3), .field = KVTAP_FIELD_QUEUE },
	};
	struct kvtap_kind kind = { .name = "k",
				   .label_names = labels,
				   .label_count = 1,
				   .feeds = feeds,
				   .feed_count = 2 };
	const char *value = "x";
	uint32_t id, series;

	feeds[0].fixed_values = feeds[1].fixed_values = fixed;
	feeds[1].when = KVTAP_WHEN_ALWAYS;
	NEED(kvtap_kind_declare(tap, &id, &kind) == 0);
	NEED(kvtap_kind_series(tap, &series, id, &value, 1) == 0);
	for (uint64_t i = 0; i < 20; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
							      .duration_ns = i << 30,
							      .queue_ns = 5 });
}

/* A kind with as many feeds as there can be, of all fields and conditions, for a connector. */
static void widest_kind(void)
{
	static const char *const labels[] = { "operation", "status", "b" };
	static const char *const values[] = { "put", "ok", "x" }, *const fixed[] = { "a", NULL };
	static const uint8_t when[] = { KVTAP_WHEN_OK, KVTAP_WHEN_FAILED, KVTAP_WHEN_ALWAYS,
					KVTAP_WHEN_STATUS | 2, KVTAP_WHEN_FROM | 6 };
	const struct kvtap_connector connector = { "Store", KVTAP_SUMMARY_MOONCAKE_STORE };
	struct kvtap_feed feeds[KVTAP_FEEDS_MAX];
	struct kvtap_kind kind = { .name = "wide",
				   .label_names = labels,
				   .label_count = 3,
				   .feeds = feeds,
				   .feed_count = KVTAP_FEEDS_MAX,
				   .role = KVTAP_ROLE_OPERATION };
	uint32_t id, series,
		family[] = { declare("kc", KVTAP_COUNTER, 0), declare("kh", KVTAP_HISTOGRAM, 3) };

	for (unsigned i = 0; i < KVTAP_FEEDS_MAX; i++)
		feeds[i] = (struct kvtap_feed){ .family = family[i % 2],
						.field = i % KVTAP_FIELD_THROUGHPUT + 1,
						.when = when[i % sizeof(when)],
						.fixed_values = fixed };
	NEED(kvtap_connector_declare(tap, &kind.connector, &connector) == 0);
	NEED(kvtap_kind_declare(tap, &id, &kind) == 0);
	NEED(kvtap_kind_series(tap, &series, id, values, 3) == 0);
	for (unsigned i = 0; i < 30; i++)
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
							      .status = (uint8_t)(i % 9),
							      .duration_ns = i * 1000,
							      .bytes = i << 20,
							      .descriptors = i,
							      .failed_descriptors = i / 2 });
}

/* A GPU's ring: whole laps of it, a slot that is never written, and one that was told as lost. */
static void device(uint64_t count)
{
	struct kvtap_ring_header *ring;
	const struct kvtap_tail *tail;
	uint64_t taken = count, index;
	uint32_t series;

	NEED(kvtap_builtin(tap, &series, KVTAP_NIXL_TRANSFER, NULL) == 0);
	NEED(kvtap_tap_device_ring(tap, &ring, &tail) == 0);
	struct kvtap_device memory = { .records = (uintptr_t)ring + KVTAP_RING_RECORDS,
				       .host_tail = (uintptr_t)&taken,
				       .lost = (uintptr_t)&ring->lost_records,
				       .slots = SLOTS };
	for (uint64_t i = 1; i <= count; i++) {
		taken = memory.claimed;
		NEED(kvtap_device_transfer(&memory, &(struct kvtap_transfer){ .series = series,
									      .duration_ns = i,
									      .bytes = i << 20 }));
	}
	moment();
	NEED(kvtap_device_claim(&memory, 1, &index) == 1);
	NEED(kvtap_device_transfer(&memory, &(struct kvtap_transfer){ .series = series }));
	kvtap_device_drop(&memory, 5);
	moment();
}

static void write_lives(void)
{
	begin("transfers", FUZZ_ALIVE);
	transfers(KVTAP_OFFLOAD_LOAD, 5);
	moment();
	transfers(KVTAP_NIXL_TRANSFER, 20);
	moment_in_fold();
	end();
	begin("scalars", 0);
	scalars(12);
	moment_in_fold();
	end();
	begin("kind", FUZZ_ALIVE);
	own_kind();
	moment();
	scalars(1);
	moment();
	end();
	begin("connectors", FUZZ_ALIVE);
	widest_kind();
	moment_in_fold();
	transfers(KVTAP_HF3FS_SAVE, 3);
	transfers(KVTAP_MOONCAKE_SEND, 3); /* our own families too */
	moment();
	end();
	begin("device", FUZZ_ALIVE);
	device(5);
	transfers(KVTAP_OFFLOAD_LOAD, 20);
	moment();
	end();
	begin("device_dead", 0);
	device(3 * SLOTS);
	end();
	begin("truncated", FUZZ_ALIVE);
	transfers(KVTAP_OFFLOAD_STORE, 20);
	moment();
	chunk(FUZZ_TRUNCATE, 0, 8192, NULL, 0);
	chunk(FUZZ_PASS, 0, 0, NULL, 0);
	end();
	begin("empty", 0);
	moment();
	end();
}

/* The file itself, made small by moving its one ring to where the dictionary ends. */
static void write_raw(void)
{
	struct kvtap_segment_header small;

	begin("raw", FUZZ_RAW);
	own_kind();
	small = *header();
	small.dictionary_bytes = 4096;
	small.rings_offset = small.dictionary_offset + small.dictionary_bytes;
	small.ring_max = 1;
	small.segment_bytes = small.rings_offset + small.ring_bytes;
	NEED(small.dictionary_used <= small.dictionary_bytes);
	NEED(fwrite(&small, sizeof(small), 1, seed) == 1);
	NEED(fwrite(segment + sizeof(small), small.rings_offset - sizeof(small), 1, seed) == 1);
	NEED(fwrite(segment + header()->rings_offset, small.ring_bytes, 1, seed) == 1);
	end();
}

int main(int argc, char **argv)
{
	char path[64];

	NEED(argc == 2);
	unsetenv("KVTAP_DIR");
	unsetenv("KVTAP_DISABLE");
	unsetenv("KVTAP_NAMESPACE");
	unsetenv("KVTAP_RING_SLOTS");
	out = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	NEED(out >= 0 && mkdtemp(dir));
	write_lives();
	write_raw();
	snprintf(path, sizeof(path), "%s/kvtap.default", dir);
	NEED(rmdir(path) == 0 && rmdir(dir) == 0);
	return 0;
}
