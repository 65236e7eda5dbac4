/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.c - make, grow and close the files of segment.h
 *
 * Orders: everything in the static header happens before rename(2), which makes the file visible.
 *   worker                                reader
 *   A store_release(dictionary_used)      a load_acquire in kvtap_reader_refresh
 *   B store_release(state, CLOSED)        b load_acquire in kvtap_reader_life
 *   A -> a: message passing, who sees the length sees the entries.
 *   B -> b: message passing, who sees CLOSED sees the last head of every ring.
 */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"

#define PAGE 4096u
#define DICTIONARY_STEP (16u << 10)

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

/* Paths of one segment, relative to the namespace's folder. */
struct names {
	char temporary[64], segment[64], tails[64];
};

static void make_names(struct names *names, const uint8_t uuid[16], uint32_t pid)
{
	char text[33];

	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", uuid[i]);
	snprintf(names->temporary, sizeof(names->temporary), KVTAP_TEMPORARY_PREFIX "%u.%s", pid,
		 text);
	snprintf(names->segment, sizeof(names->segment), "%u.%s" KVTAP_SEGMENT_SUFFIX, pid, text);
	snprintf(names->tails, sizeof(names->tails), "%u.%s" KVTAP_TAILS_SUFFIX, pid, text);
}

static int open_folder(const struct kvtap_segment_parameters *parameters, bool *shared)
{
	char path[4096];
	struct stat folder;
	int fd;

	if (snprintf(path, sizeof(path), "%s/kvtap.%s", parameters->dir, parameters->name_space) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* group-writable by its maker's will: then the exporter may be another user of the group */
	*shared = fstat(fd, &folder) == 0 && (folder.st_mode & S_IWGRP);
	return fd;
}

/* Beyond RLIMIT_FSIZE the kernel would send SIGXFSZ, which ends a host that doesn't expect it. */
static int set_size(int fd, uint64_t bytes)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    bytes > limit.rlim_cur)
		return -EFBIG;
	return ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0;
}

static int allocate_file(int fd, uint64_t offset, uint64_t bytes)
{
	int rc;

	do {
		rc = posix_fallocate(fd, (off_t)offset, (off_t)bytes);
	} while (rc == EINTR);
	return -rc;
}

static void fill_header(struct kvtap_segment_header *header,
			const struct kvtap_segment_parameters *parameters,
			const struct kvtap_owner *owner, const uint8_t uuid[16])
{
	struct timespec monotonic, realtime;
	uint64_t ring_bytes;

	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	clock_gettime(CLOCK_REALTIME, &realtime);
	ring_bytes =
		round_up(KVTAP_RING_RECORDS +
				 (uint64_t)parameters->ring_slots * sizeof(struct kvtap_record) +
				 parameters->overflow_bytes,
			 PAGE);
	*header = (struct kvtap_segment_header){
		.major = KVTAP_LAYOUT_MAJOR,
		.minor = KVTAP_LAYOUT_MINOR,
		.header_bytes = sizeof(*header),
		.feature_incompat = KVTAP_READER_REMEMBERS | KVTAP_CONNECTORS | KVTAP_DEVICES,
		.record_bytes = sizeof(struct kvtap_record),
		.ring_slots = parameters->ring_slots,
		.ring_max = parameters->ring_max,
		.overflow_bytes = parameters->overflow_bytes,
		.dictionary_offset = PAGE,
		.dictionary_bytes = parameters->dictionary_bytes,
		.rings_offset = PAGE + parameters->dictionary_bytes,
		.ring_bytes = ring_bytes,
		.start_ticks = owner->start_ticks,
		.pid_namespace = owner->pid_namespace,
		.opened_monotonic_ns =
			(uint64_t)monotonic.tv_sec * 1000000000 + (uint64_t)monotonic.tv_nsec,
		.opened_realtime_ns =
			(uint64_t)realtime.tv_sec * 1000000000 + (uint64_t)realtime.tv_nsec,
		.pid = owner->pid,
	};
	header->segment_bytes = header->rings_offset + ring_bytes * parameters->ring_max;
	memcpy(header->magic, KVTAP_SEGMENT_MAGIC, sizeof(header->magic));
	memcpy(header->boot_id, owner->boot_id, 16);
	memcpy(header->uuid, uuid, 16);
#ifdef __GLIBC__
	header->beacons = 1; /* glibc's mutex begins with its futex word */
#endif
}

static int create_tails(struct kvtap_segment *segment, int folder, const char *name, mode_t mode)
{
	const struct kvtap_segment_header *from = segment->header;
	struct kvtap_tails_header header = { .major = KVTAP_LAYOUT_MAJOR,
					     .minor = KVTAP_LAYOUT_MINOR,
					     .ring_max = from->ring_max };
	uint64_t mapped =
		round_up(KVTAP_TAILS_OFFSET + from->ring_max * sizeof(struct kvtap_tail), PAGE);
	int fd, rc;
	void *tails;

	memcpy(header.magic, KVTAP_TAILS_MAGIC, sizeof(header.magic));
	memcpy(header.uuid, from->uuid, 16);
	header.tails_bytes = mapped;
	segment->step = "create the tails file";
	fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	rc = fchmod(fd, mode) < 0 ? -errno : set_size(fd, header.tails_bytes);
	if (!rc)
		rc = allocate_file(fd, 0, mapped);
	if (!rc && pwrite(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
		rc = -EIO;
	if (!rc) {
		tails = mmap(NULL, mapped, PROT_READ, MAP_SHARED, fd, 0);
		rc = tails == MAP_FAILED ? -errno : 0;
		if (!rc) {
			segment->tails = tails;
			madvise(tails, mapped,
				MADV_DONTFORK); /* else a child would keep it alive */
		}
	}
	segment->tails_mapped = mapped;
	close(fd);
	return rc;
}

static int create_file(struct kvtap_segment *segment, int folder, const char *name, mode_t mode,
		       const struct kvtap_segment_header *header)
{
	struct stat status;
	int rc;

	segment->step = "create a file";
	segment->fd =
		openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (segment->fd < 0)
		return -errno;
	segment->step = "lock the segment";
	rc = kvtap_owner_lock(segment->fd);
	if (rc < 0)
		return rc;
	segment->step = "allocate the segment";
	rc = set_size(segment->fd, header->segment_bytes);
	if (rc < 0)
		return rc;
	if (fchmod(segment->fd, mode) < 0 || fstat(segment->fd, &status) < 0)
		return -errno;
	segment->device = status.st_dev;
	segment->inode = status.st_ino;
	rc = allocate_file(segment->fd, 0, PAGE);
	if (rc < 0)
		return rc;
	segment->step = "map the segment";
	segment->base = mmap(NULL, header->segment_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			     segment->fd, 0);
	if (segment->base == MAP_FAILED) {
		segment->base = NULL;
		return -errno;
	}
	segment->header = (struct kvtap_segment_header *)segment->base;
	segment->bytes = header->segment_bytes;
	/* a fork child makes its own; MADV_DONTFORK keeps it from ever writing to this one */
	if (madvise(segment->base, segment->bytes, MADV_DONTFORK) < 0)
		return -errno;
	*segment->header = *header;
	return 0;
}

static int build(struct kvtap_segment *segment, int folder, bool shared, const struct names *names,
		 const struct kvtap_segment_header *header, const uint8_t *dictionary,
		 uint64_t dictionary_used)
{
	int rc = create_file(segment, folder, names->temporary, shared ? 0640 : 0600, header);

	if (!rc)
		rc = create_tails(segment, folder, names->tails, shared ? 0660 : 0600);
	if (!rc) {
		segment->step = "allocate the dictionary";
		rc = kvtap_segment_declare(segment, dictionary, dictionary_used);
	}
	if (rc)
		return rc;
	kvtap_store_relaxed(&segment->header->state, KVTAP_SEGMENT_READY); /* before rename(2) */
	segment->step = "rename the segment";
	return renameat(folder, names->temporary, folder, names->segment) < 0 ? -errno : 0;
}

/* The descriptor is ours only if it is still the same file: the program may have closed and reused it. */
static bool descriptor_is_ours(const struct kvtap_segment *segment)
{
	struct stat status;

	return segment->fd >= 0 && fstat(segment->fd, &status) == 0 &&
	       status.st_dev == segment->device && status.st_ino == segment->inode;
}

static void unmap(struct kvtap_segment *segment)
{
	if (segment->base)
		munmap(segment->base, segment->bytes);
	if (segment->tails)
		munmap((void *)(uintptr_t)segment->tails, segment->tails_mapped);
	segment->base = NULL;
	segment->header = NULL;
	segment->tails = NULL;
}

static void undo(struct kvtap_segment *segment, int folder, const struct names *names)
{
	unmap(segment);
	if (segment->fd >= 0)
		close(segment->fd);
	segment->fd = -1;
	unlinkat(folder, names->temporary, 0);
	unlinkat(folder, names->tails, 0);
}

int kvtap_segment_create(struct kvtap_segment *segment,
			 const struct kvtap_segment_parameters *parameters,
			 const uint8_t *dictionary, uint64_t dictionary_used)
{
	struct kvtap_segment_header header;
	struct kvtap_owner owner;
	struct names names;
	uint8_t uuid[16];
	bool shared = false;
	int folder, rc;

	*segment = (struct kvtap_segment){ .fd = -1 };
	segment->step = "read this process's identity in /proc";
	rc = kvtap_owner_self(&owner);
	if (rc < 0)
		return rc;
	if (getrandom(uuid, sizeof(uuid), 0) != (ssize_t)sizeof(uuid))
		return -EIO;
	fill_header(&header, parameters, &owner, uuid);
	make_names(&names, uuid, owner.pid);
	segment->step = "open the namespace's folder";
	folder = open_folder(parameters, &shared);
	if (folder < 0)
		return folder;
	rc = build(segment, folder, shared, &names, &header, dictionary, dictionary_used);
	if (rc)
		undo(segment, folder, &names);
	close(folder);
	return rc;
}

int kvtap_segment_allocate(struct kvtap_segment *segment, uint64_t offset, uint64_t bytes)
{
	int rc;

	/* needs no descriptor, faults the pages in, and tells of a full file system by EFAULT */
	if (madvise(segment->base + offset, bytes, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno != EINVAL)
		return errno == EFAULT ? -ENOSPC : -errno;
	if (!descriptor_is_ours(segment))
		return -EBADF;
	rc = allocate_file(segment->fd, offset, bytes);
	if (rc == 0)
		memset(segment->base + offset, 0,
		       bytes); /* else it looks like a hole to a reader */
	return rc;
}

int kvtap_segment_declare(struct kvtap_segment *segment, const uint8_t *dictionary, uint64_t used)
{
	struct kvtap_segment_header *header = segment->header;
	uint64_t before = kvtap_load_relaxed(&header->dictionary_used); /* own index */
	uint64_t needed = round_up(used ? used : 1, DICTIONARY_STEP);

	if (needed > header->dictionary_bytes)
		needed = header->dictionary_bytes;
	if (needed > segment->dictionary_allocated) {
		int rc = kvtap_segment_allocate(segment,
						header->dictionary_offset +
							segment->dictionary_allocated,
						needed - segment->dictionary_allocated);
		if (rc < 0)
			return rc;
		segment->dictionary_allocated = needed;
	}
	memcpy(segment->base + header->dictionary_offset + before, dictionary + before,
	       used - before);
	kvtap_store_release(&header->dictionary_used, used); /* A, pairs with a */
	return 0;
}

struct kvtap_ring_header *kvtap_segment_ring(const struct kvtap_segment *segment, uint32_t index)
{
	return (struct kvtap_ring_header *)(segment->base + segment->header->rings_offset +
					    index * segment->header->ring_bytes);
}

const struct kvtap_tail *kvtap_segment_tail(const struct kvtap_segment *segment, uint32_t index)
{
	const uint8_t *base = (const uint8_t *)segment->tails;

	return (const struct kvtap_tail *)(base + KVTAP_TAILS_OFFSET) + index;
}

void kvtap_segment_abandon(struct kvtap_segment *segment)
{
	if (descriptor_is_ours(segment))
		close(segment->fd);
	segment->fd = -1;
}

void kvtap_segment_close(struct kvtap_segment *segment)
{
	uint32_t rings = kvtap_load_relaxed(&segment->header->ring_count); /* own index */
	bool held = false;

	kvtap_store_release(&segment->header->state, KVTAP_SEGMENT_CLOSED); /* B, pairs with b */
	for (uint32_t i = 0; i < rings; i++) {
		struct kvtap_ring_header *ring = kvtap_segment_ring(segment, i);

		if (!kvtap_beacon_drop(ring) &&
		    kvtap_beacon_word_lit(kvtap_load_relaxed(&ring->beacon_word))) /* statistic */
			held = true;
	}
	kvtap_segment_abandon(segment);
	if (!held)
		unmap(segment);
}
