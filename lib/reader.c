/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.c - open a segment, take its records, judge its worker
 *
 *   reader                                        worker
 *   C load_acquire(head)      fetch               B store_release, ring.h
 *   D store_release(tail)     give_back           A load_acquire, ring.c
 *   a load_acquire(dictionary_used)  refresh      A store_release, segment.c
 *   b load_acquire(state)     life                B store_release, segment.c
 *   f load_acquire(ring_count) rings              F store_release, tap.c
 *   R store_seq_cst(retired)  retire              B in kvtap_tap_bind (Dekker), tap.c
 */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "atomic.h"
#include "guard.h"

const char *kvtap_reject_text(enum kvtap_reject why)
{
	static const char *const text[] = {
#define KVTAP_REJECT_TEXT(id, name) [KVTAP_REJECT_##id] = name,
		KVTAP_REJECTS(KVTAP_REJECT_TEXT)
#undef KVTAP_REJECT_TEXT
	};

	return why < KVTAP_REJECT_COUNT ? text[why] : "unknown";
}

/* ---- open ---- */

/* In a folder that others may write to, only one's own files; see kvtap_reader_open. */
static bool owner_trusted(int folder, const struct stat *file)
{
	struct stat dir;

	if (file->st_uid == geteuid())
		return true;
	if (fstat(folder, &dir) < 0 || (dir.st_mode & S_IWOTH))
		return false;
	if (file->st_uid == dir.st_uid)
		return true;
	return (dir.st_mode & S_IWGRP) && file->st_gid == dir.st_gid;
}

static int open_file(int folder, const char *name, int flags, struct stat *status,
		     enum kvtap_reject *why)
{
	/* NONBLOCK: a FIFO must not make the reader wait for a writer */
	int fd = openat(folder, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		if (errno == ENOENT)
			return -ENOENT;
		return kvtap_reader_reject(why, errno == ELOOP ? KVTAP_REJECT_NOT_REGULAR
							       : KVTAP_REJECT_IO);
	}
	*why = KVTAP_REJECT_NONE;
	if (fstat(fd, status) < 0)
		*why = KVTAP_REJECT_IO;
	else if (!S_ISREG(status->st_mode))
		*why = KVTAP_REJECT_NOT_REGULAR;
	else if (status->st_nlink != 1)
		*why = KVTAP_REJECT_HARD_LINK;
	else if (!owner_trusted(folder, status))
		*why = KVTAP_REJECT_OWNER;
	if (*why == KVTAP_REJECT_NONE)
		return fd;
	close(fd);
	return -EPROTO;
}

static bool power_of_two(uint32_t value)
{
	return value && !(value & (value - 1));
}

/* All products fit: each factor was bounded before. */
static bool header_consistent(const struct kvtap_segment_header *header)
{
	uint64_t ring_needed = KVTAP_RING_RECORDS +
			       (uint64_t)header->ring_slots * sizeof(struct kvtap_record) +
			       header->overflow_bytes;

	return header->header_bytes >= offsetof(struct kvtap_segment_header, reserved1) &&
	       header->header_bytes <= header->dictionary_offset &&
	       header->record_bytes == sizeof(struct kvtap_record) &&
	       power_of_two(header->ring_slots) && header->ring_slots >= KVTAP_SLOTS_MIN &&
	       header->ring_slots <= KVTAP_SLOTS_MAX && header->ring_max > 0 &&
	       header->ring_max <= KVTAP_RINGS_MAX &&
	       header->overflow_bytes <= KVTAP_OVERFLOW_MAX &&
	       header->overflow_bytes % KVTAP_BLOCK_ALIGN == 0 &&
	       header->dictionary_offset >= sizeof(*header) &&
	       header->dictionary_offset <= KVTAP_DICTIONARY_MAX &&
	       header->dictionary_offset % 8 == 0 &&
	       header->dictionary_bytes <= KVTAP_DICTIONARY_MAX &&
	       header->rings_offset % 128 == 0 && header->ring_bytes % 128 == 0 &&
	       header->rings_offset >= header->dictionary_offset + header->dictionary_bytes &&
	       header->rings_offset <= header->segment_bytes && header->ring_bytes >= ring_needed &&
	       header->ring_bytes <= header->segment_bytes &&
	       header->ring_bytes * header->ring_max <=
		       header->segment_bytes - header->rings_offset;
}

static enum kvtap_reject check_header(const struct kvtap_segment_header *header, uint64_t bytes)
{
	if (memcmp(header->magic, KVTAP_SEGMENT_MAGIC, sizeof(header->magic)) != 0)
		return KVTAP_REJECT_MAGIC;
	if (header->major != KVTAP_LAYOUT_MAJOR)
		return KVTAP_REJECT_VERSION;
	if (header->feature_incompat & ~(KVTAP_READER_REMEMBERS | KVTAP_CONNECTORS | KVTAP_DEVICES))
		return KVTAP_REJECT_FEATURE;
	if (header->segment_bytes != bytes || bytes > KVTAP_SEGMENT_MAX)
		return KVTAP_REJECT_SIZE;
	return header_consistent(header) ? KVTAP_REJECT_NONE : KVTAP_REJECT_HEADER;
}

static int map_segment(struct kvtap_reader *reader, const struct stat *status,
		       enum kvtap_reject *why)
{
	size_t bytes = (size_t)status->st_size;
	enum kvtap_reject reason;
	void *base;

	if (bytes < sizeof(reader->header))
		return kvtap_reader_reject(why, KVTAP_REJECT_SIZE);
	base = mmap(NULL, bytes, PROT_READ, MAP_SHARED, reader->fd, 0);
	if (base == MAP_FAILED)
		return kvtap_reader_reject(why, KVTAP_REJECT_IO);
	reader->base = base;
	reader->header.segment_bytes = bytes;
	if (!kvtap_guard_copy(&reader->header, base, sizeof(reader->header))) {
		reader->header.segment_bytes = bytes;
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	}
	reason = check_header(&reader->header, bytes);
	reader->header.segment_bytes = bytes; /* what unmapping goes by */
	return reason == KVTAP_REJECT_NONE ? 0 : kvtap_reader_reject(why, reason);
}

/* A worker of an earlier version has more behind its tails, which we have no use for. */
static bool tails_consistent(const struct kvtap_tails_header *tails,
			     const struct kvtap_segment_header *segment, uint64_t bytes)
{
	return memcmp(tails->magic, KVTAP_TAILS_MAGIC, sizeof(tails->magic)) == 0 &&
	       tails->major == KVTAP_LAYOUT_MAJOR && tails->ring_max == segment->ring_max &&
	       memcmp(tails->uuid, segment->uuid, 16) == 0 && tails->tails_bytes == bytes &&
	       bytes >= KVTAP_TAILS_OFFSET + segment->ring_max * sizeof(struct kvtap_tail);
}

static int map_tails(struct kvtap_reader *reader, enum kvtap_reject *why)
{
	struct kvtap_tails_header header;
	enum kvtap_reject reason;
	struct stat status;
	size_t stem = strlen(reader->name) - strlen(KVTAP_SEGMENT_SUFFIX);
	void *tails;

	snprintf(reader->tails_name, sizeof(reader->tails_name), "%.*s" KVTAP_TAILS_SUFFIX,
		 (int)stem, reader->name);
	reader->tails_fd = open_file(reader->folder, reader->tails_name, O_RDWR, &status, &reason);
	if (reader->tails_fd < 0 || (size_t)status.st_size < sizeof(header))
		return kvtap_reader_reject(why, KVTAP_REJECT_TAILS);
	reader->tails_bytes = (size_t)status.st_size;
	tails = mmap(NULL, reader->tails_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		     reader->tails_fd, 0);
	if (tails == MAP_FAILED)
		return kvtap_reader_reject(why, KVTAP_REJECT_IO);
	reader->tails = tails;
	if (!kvtap_guard_copy(&header, tails, sizeof(header)))
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	if (!tails_consistent(&header, &reader->header, reader->tails_bytes))
		return kvtap_reader_reject(why, KVTAP_REJECT_TAILS);
	return 0;
}

static struct kvtap_tail *tail_at(const struct kvtap_reader *reader, uint32_t ring)
{
	return (struct kvtap_tail *)(reader->tails + KVTAP_TAILS_OFFSET) + ring;
}

/* Where an earlier reader stopped. */
static int load_tails(struct kvtap_reader *reader, enum kvtap_reject *why)
{
	for (uint32_t i = 0; i < reader->header.ring_max; i++) {
		reader->ring[i].folds_read = UINT64_MAX;
		if (!kvtap_guard_load64(&tail_at(reader, i)->tail, &reader->ring[i].tail))
			return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	}
	return 0;
}

static int allocate(struct kvtap_reader *reader)
{
	struct kvtap_reader_dictionary *dictionary = &reader->dictionary;

	reader->ring = calloc(reader->header.ring_max, sizeof(*reader->ring));
	reader->block = malloc(reader->header.overflow_bytes + 8);
	dictionary->capacity = reader->header.dictionary_bytes + 8;
	dictionary->data = mmap(NULL, dictionary->capacity, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (dictionary->data == MAP_FAILED)
		dictionary->data = NULL;
	return reader->ring && reader->block && dictionary->data ? 0 : -ENOMEM;
}

static void identify(struct kvtap_reader *reader)
{
	const struct kvtap_segment_header *header = &reader->header;

	reader->identity = (struct kvtap_identity){ .pid = header->pid,
						    .start_ticks = header->start_ticks,
						    .ring_slots = header->ring_slots,
						    .ring_max = header->ring_max,
						    .overflow_bytes = header->overflow_bytes };
	memcpy(reader->identity.uuid, header->uuid, 16);
	reader->owner = (struct kvtap_owner){ .start_ticks = header->start_ticks,
					      .pid_namespace = header->pid_namespace,
					      .pid = header->pid };
	memcpy(reader->owner.boot_id, header->boot_id, 16);
}

static bool name_valid(const char *name)
{
	size_t bytes = strlen(name), suffix = strlen(KVTAP_SEGMENT_SUFFIX);

	return bytes > suffix && bytes < 200 && !strchr(name, '/') &&
	       strcmp(name + bytes - suffix, KVTAP_SEGMENT_SUFFIX) == 0;
}

static int open_reader(struct kvtap_reader *reader, enum kvtap_reject *why)
{
	struct stat status;
	int rc;

	reader->fd = open_file(reader->folder, reader->name, O_RDONLY, &status, why);
	if (reader->fd < 0)
		return reader->fd;
	rc = map_segment(reader, &status, why);
	if (!rc)
		rc = map_tails(reader, why);
	if (!rc)
		rc = allocate(reader);
	if (!rc)
		rc = load_tails(reader, why);
	if (!rc)
		rc = kvtap_owner_self(&reader->self);
	if (rc)
		return rc;
	identify(reader);
	return kvtap_reader_refresh(reader, why);
}

int kvtap_reader_open(struct kvtap_reader **result, enum kvtap_reject *why, int folder,
		      const char *name)
{
	struct kvtap_reader *reader;
	int rc;

	*result = NULL;
	*why = KVTAP_REJECT_NONE;
	if (!name_valid(name))
		return -EINVAL;
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	reader->folder = folder;
	reader->fd = reader->tails_fd = -1;
	snprintf(reader->name, sizeof(reader->name), "%s", name);
	rc = open_reader(reader, why);
	if (rc < 0)
		kvtap_reader_close(reader);
	else
		*result = reader;
	return rc;
}

void kvtap_reader_close(struct kvtap_reader *reader)
{
	if (!reader)
		return;
	for (uint32_t i = 0; reader->ring && i < reader->header.ring_max; i++)
		free(reader->ring[i].applied);
	free(reader->ring);
	free(reader->block);
	kvtap_reader_dictionary_free(&reader->dictionary);
	if (reader->base)
		munmap((void *)(uintptr_t)reader->base, reader->header.segment_bytes);
	if (reader->tails)
		munmap(reader->tails, reader->tails_bytes);
	if (reader->fd >= 0)
		close(reader->fd);
	if (reader->tails_fd >= 0)
		close(reader->tails_fd);
	free(reader);
}

const struct kvtap_identity *kvtap_reader_identity(const struct kvtap_reader *reader)
{
	return &reader->identity;
}

/* ---- dictionary and rings ---- */

/*
 * Reading a hole of a mapped tmpfs file allocates it, at the reader's expense. A worker backs what
 * it publishes, so HEADER is for one that doesn't.
 */
static enum kvtap_reject check_backed(const struct kvtap_reader *reader, uint64_t offset,
				      uint64_t bytes)
{
	off_t hole = lseek(reader->fd, (off_t)offset, SEEK_HOLE);
	struct stat status;

	if (hole >= 0 && (uint64_t)hole >= offset + bytes)
		return KVTAP_REJECT_NONE;
	if (fstat(reader->fd, &status) == 0 &&
	    (uint64_t)status.st_size == reader->header.segment_bytes)
		return KVTAP_REJECT_HEADER;
	return KVTAP_REJECT_TRUNCATED;
}

int kvtap_reader_refresh(struct kvtap_reader *reader, enum kvtap_reject *why)
{
	struct kvtap_reader_dictionary *dictionary = &reader->dictionary;
	uint64_t parsed = dictionary->parsed, used;
	enum kvtap_reject reason;
	int rc;

	if (reader->unbacked)
		return kvtap_reader_reject(why, reader->unbacked);
	if (!kvtap_guard_load64(&kvtap_reader_live(reader)->dictionary_used, &used)) /* a */
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	if (used == parsed)
		return 0;
	if (used < parsed || used > reader->header.dictionary_bytes)
		return kvtap_reader_reject(why, KVTAP_REJECT_DICTIONARY);
	reason = check_backed(reader, reader->header.dictionary_offset + parsed, used - parsed);
	if (reason)
		return kvtap_reader_reject(why, reason);
	if (!kvtap_guard_copy(dictionary->data + parsed,
			      reader->base + reader->header.dictionary_offset + parsed,
			      used - parsed))
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	rc = kvtap_reader_parse(dictionary, used);
	return rc == -EPROTO ? kvtap_reader_reject(why, KVTAP_REJECT_DICTIONARY) : rc;
}

/* With more slots than a device ring may have it is a ring whose head stays where it is. */
static void learn_producers(struct kvtap_reader *reader, uint32_t ring)
{
	uint32_t producers;

	reader->ring[ring].device =
		kvtap_guard_load32(&kvtap_reader_ring_at(reader, ring)->producers, &producers) &&
		producers == KVTAP_PRODUCERS_DEVICE &&
		reader->header.ring_slots <= KVTAP_DEVICE_SLOTS_MAX;
}

uint32_t kvtap_reader_rings(struct kvtap_reader *reader)
{
	uint32_t rings;

	if (!kvtap_guard_load32(&kvtap_reader_live(reader)->ring_count, &rings) || /* f */
	    rings > reader->header.ring_max)
		return reader->rings;
	while (reader->rings < rings && !reader->unbacked) {
		const struct kvtap_segment_header *header = &reader->header;

		reader->unbacked =
			check_backed(reader,
				     header->rings_offset + reader->rings * header->ring_bytes,
				     header->ring_bytes);
		if (!reader->unbacked)
			learn_producers(reader, reader->rings++);
	}
	return reader->rings;
}

uint64_t kvtap_reader_position(const struct kvtap_reader *reader, uint32_t ring)
{
	return reader->ring[ring].tail;
}

ssize_t kvtap_reader_fetch(struct kvtap_reader *reader, enum kvtap_reject *why, uint32_t ring,
			   struct kvtap_record *records, size_t capacity, uint64_t *pending)
{
	const struct kvtap_ring_header *shared = kvtap_reader_ring_at(reader, ring);
	const struct kvtap_record *slot =
		(const struct kvtap_record *)((const uint8_t *)shared + KVTAP_RING_RECORDS);
	uint64_t tail = reader->ring[ring].tail, slots = reader->header.ring_slots;
	uint64_t head, count, first;

	if (!(reader->ring[ring].device
		      ? kvtap_reader_device_head(reader, ring, &head)
		      : kvtap_guard_load64(&shared->head, &head))) /* C, pairs with B */
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	if (head - tail > slots) {
		kvtap_reader_take(reader, ring, head - tail);
		kvtap_reader_give_back(reader, ring);
		return kvtap_reader_reject(why, KVTAP_REJECT_RING);
	}
	count = head - tail;
	if (pending)
		*pending = count;
	if (count > capacity)
		count = capacity;
	first = slots - (tail & (slots - 1));
	if (first > count)
		first = count;
	if (count &&
	    (!kvtap_guard_copy(records, slot + (tail & (slots - 1)), first * sizeof(*records)) ||
	     !kvtap_guard_copy(records + first, slot, (count - first) * sizeof(*records))))
		return kvtap_reader_reject(why, KVTAP_REJECT_TRUNCATED);
	return (ssize_t)count;
}

void kvtap_reader_take(struct kvtap_reader *reader, uint32_t ring, size_t count)
{
	reader->ring[ring].tail += count;
}

int kvtap_reader_give_back(struct kvtap_reader *reader, uint32_t ring)
{
	return kvtap_guard_store64(&tail_at(reader, ring)->tail, reader->ring[ring].tail) ? /* D */
		       0
											  : -EPROTO;
}

void kvtap_reader_resume(struct kvtap_reader *reader, uint32_t ring, uint64_t position)
{
	if (ring < reader->header.ring_max)
		reader->ring[ring].tail = position;
}

/* Add the words of one place, and keep the first and the last of them. */
static bool add_losses(const _Atomic(uint64_t) *const from[3], uint64_t sum[3], uint64_t *lost,
		       uint64_t *refused)
{
	uint64_t value[3] = { 0 };

	for (int i = 0; i < 3; i++) {
		if (from[i] && !kvtap_guard_load64(from[i], &value[i]))
			return false;
		sum[i] += value[i];
	}
	*lost = value[0];
	*refused = value[2];
	return true;
}

/* What grew since it was told last; a count that went back is nonsense and counts nothing. */
static uint64_t count_loss(uint64_t *told, uint64_t now)
{
	uint64_t before = *told;

	if (now <= before)
		return 0;
	*told = now;
	return now - before;
}

int kvtap_reader_losses(struct kvtap_reader *reader, struct kvtap_losses *losses)
{
	const struct kvtap_segment_header *live = kvtap_reader_live(reader);
	const _Atomic(uint64_t) *const ringless[3] = { &live->lost_records, &live->lost_bytes,
						       NULL };
	uint64_t now[3] = { 0 };
	uint64_t none;
	bool ok = add_losses(ringless, now, &reader->ringless_lost, &none);

	for (uint32_t i = 0; i < kvtap_reader_rings(reader) && ok; i++) {
		const struct kvtap_ring_header *ring = kvtap_reader_ring_at(reader, i);
		const _Atomic(uint64_t) *const from[3] = { &ring->lost_records, &ring->lost_bytes,
							   &ring->refused_records };

		ok = add_losses(from, now, &reader->ring[i].lost, &reader->ring[i].refused);
	}
	*losses = (struct kvtap_losses){ 0 };
	if (!ok)
		return -EPROTO;
	losses->lost_records = count_loss(&reader->told.lost_records, now[0]);
	losses->lost_bytes = count_loss(&reader->told.lost_bytes, now[1]);
	losses->refused_records = count_loss(&reader->told.refused_records, now[2]);
	return 0;
}

void kvtap_reader_resume_losses(struct kvtap_reader *reader, const struct kvtap_losses *told)
{
	reader->told = *told;
}

struct kvtap_losses kvtap_reader_told(const struct kvtap_reader *reader)
{
	return reader->told;
}

/* ---- life and death ---- */

static bool beacon_lit(struct kvtap_reader *reader)
{
	uint32_t word;

	if (!reader->header.beacons)
		return false;
	for (uint32_t i = 0; i < kvtap_reader_rings(reader); i++)
		if (kvtap_guard_load32(&kvtap_reader_ring_at(reader, i)->beacon_word, &word) &&
		    kvtap_beacon_word_lit(word))
			return true;
	return false;
}

enum kvtap_life kvtap_reader_life(struct kvtap_reader *reader, bool thorough)
{
	uint32_t state = KVTAP_SEGMENT_READY;
	bool held;

	kvtap_guard_load32(&kvtap_reader_live(reader)->state, &state); /* b, pairs with B */
	if (state == KVTAP_SEGMENT_CLOSED)
		return KVTAP_CLOSED;
	thorough |= !reader->judged;
	reader->judged = true;
	held = beacon_lit(reader) || kvtap_owner_locked(reader->fd);
	if (held && !thorough)
		return KVTAP_ALIVE;
	switch (kvtap_owner_process(&reader->owner, &reader->self)) {
	case KVTAP_PROCESS_RUNS: /* held by nothing: it closed its descriptors, or called exec */
		held = held || kvtap_owner_maps(&reader->owner, reader->fd);
		break;
	case KVTAP_PROCESS_GONE:
		return KVTAP_DEAD;
	case KVTAP_PROCESS_UNKNOWN:
		break;
	}
	return held ? KVTAP_ALIVE : KVTAP_DEAD;
}

bool kvtap_reader_retire(struct kvtap_reader *reader)
{
	struct kvtap_tails_header *tails = (struct kvtap_tails_header *)reader->tails;

	kvtap_guard_store32(&tails->retired, 1); /* R */
	kvtap_fence_seq_cst();			 /* D in tap.c, pairs with A there */
	reader->retired = kvtap_reader_life(reader, true) != KVTAP_ALIVE;
	if (reader->retired)
		return true;
	kvtap_guard_store32(&tails->retired, 0); /* R */
	return false;
}

void kvtap_reader_unlink(struct kvtap_reader *reader)
{
	unlinkat(reader->folder, reader->name, 0);
	unlinkat(reader->folder, reader->tails_name, 0);
}
