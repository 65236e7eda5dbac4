/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collector.c - a tap in a folder of its own and the reader of its segment, for benches
 *
 * The files lose their names as soon as both sides have them open, so that a bench that is killed
 * leaves nothing behind.
 */
#include "collector.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define NAMESPACE "bench"

static bool ends_in(const char *name, const char *suffix)
{
	size_t bytes = strlen(name);

	return bytes > strlen(suffix) && strcmp(name + bytes - strlen(suffix), suffix) == 0;
}

static int open_reader(struct collector *collector, const char *path)
{
	enum kvtap_reject why = KVTAP_REJECT_NONE;
	const struct dirent *entry;
	int rc = -2;
	DIR *dir = opendir(path);

	if (!dir)
		return -1;
	collector->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while ((entry = readdir(dir))) {
		if (ends_in(entry->d_name, KVTAP_TAILS_SUFFIX))
			collector->tails = openat(collector->folder, entry->d_name, O_RDONLY);
		if (!ends_in(entry->d_name, KVTAP_SEGMENT_SUFFIX))
			continue;
		collector->segment = openat(collector->folder, entry->d_name, O_RDONLY);
		rc = kvtap_reader_open(&collector->reader, &why, collector->folder, entry->d_name);
	}
	closedir(dir);
	if (rc == 0)
		kvtap_reader_unlink(collector->reader);
	return rc;
}

void collector_open(struct collector *collector, uint32_t slots)
{
	collector_open_options(collector, &(struct kvtap_options){ .ring_slots = slots });
}

void collector_open_options(struct collector *collector, const struct kvtap_options *given)
{
	struct kvtap_options options = *given;
	uint64_t began_ns;
	char path[96];
	int rc;

	memset(collector, 0, sizeof(*collector));
	unsetenv("KVTAP_DISABLE"); /* the environment wins over options */
	unsetenv("KVTAP_DIR");
	unsetenv("KVTAP_NAMESPACE");
	unsetenv("KVTAP_RING_SLOTS");
	snprintf(collector->dir, sizeof(collector->dir), "/dev/shm/kvtap-bench.XXXXXX");
	if (!mkdtemp(collector->dir))
		bench_fail("make a folder in /dev/shm", 13);
	options.dir = collector->dir;
	options.name_space = NAMESPACE;
	began_ns = bench_now_ns();
	rc = kvtap_open(&collector->tap, &options);
	collector->open_ns = bench_now_ns() - began_ns;
	snprintf(path, sizeof(path), "%s/kvtap." NAMESPACE, collector->dir);
	if (rc == 0)
		rc = open_reader(collector, path);
	rmdir(path);
	rmdir(collector->dir);
	if (rc < 0)
		bench_fail("open a tap and its reader", rc);
}

bool collector_attach(struct collector *collector, const char *path)
{
	memset(collector, 0, sizeof(*collector));
	return open_reader(collector, path) == 0;
}

static void drain_ring(struct collector *collector, uint32_t ring)
{
	enum kvtap_reject why;
	ssize_t count;

	do {
		uint64_t position = kvtap_reader_position(collector->reader, ring);

		count = kvtap_reader_fetch(collector->reader, &why, ring, collector->batch,
					   COLLECTOR_BATCH, NULL);
		for (ssize_t i = 0; i < count; i++) {
			const struct kvtap_record *record = &collector->batch[i];

			collector->wrong += record->sequence != (uint16_t)(position + (uint64_t)i);
			if ((record->op & ~KVTAP_OP_OVERLAPPED) == KVTAP_OP_TRANSFER)
				collector->drained_bytes += record->bytes;
			if (collector->show)
				collector->show(collector->show_arg, record);
		}
		if (count < 0) {
			collector->wrong++;
			return;
		}
		collector->drained += (uint64_t)count;
		kvtap_reader_take(collector->reader, ring, (size_t)count);
		collector->wrong += kvtap_reader_give_back(collector->reader, ring) < 0;
	} while (count == COLLECTOR_BATCH);
}

void collector_drain(void *arg)
{
	struct collector *collector = arg;
	uint32_t rings = kvtap_reader_rings(collector->reader);

	for (uint32_t i = 0; i < rings; i++)
		drain_ring(collector, i);
}

/* The bytes of a block are in the sum of any cell that they feed. */
static uint64_t block_bytes(const struct kvtap_plan *plan, const struct kvtap_block_view *block)
{
	for (uint32_t i = 0; i < plan->cells; i++)
		if (plan->cell[i].field == KVTAP_FIELD_BYTES)
			return block->now[plan->cell[i].word];
	return 0;
}

void collector_fold(struct collector *collector)
{
	struct kvtap_block_view block;
	enum kvtap_reject why;
	uint32_t rings = kvtap_reader_rings(collector->reader);

	for (uint32_t ring = 0; ring < rings; ring++) {
		uint32_t cursor = 0;
		int rc;

		while ((rc = kvtap_reader_block(collector->reader, &why, ring, &cursor, &block)) >
		       0) {
			collector->folded += block.now[0];
			collector->folded_bytes +=
				block_bytes(kvtap_reader_plan(collector->reader, block.series),
					    &block);
		}
		collector->wrong += rc < 0;
	}
}

static uint64_t file_bytes(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		bench_fail("look at the segment", 9);
	return (uint64_t)status.st_blocks * 512;
}

uint64_t collector_bytes(const struct collector *collector)
{
	return file_bytes(collector->segment) + file_bytes(collector->tails);
}

void collector_close(struct collector *collector)
{
	kvtap_close(collector->tap);
	kvtap_reader_close(collector->reader);
	close(collector->segment);
	close(collector->tails);
	close(collector->folder);
}
