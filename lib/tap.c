/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap.c - open and close a tap, and give its threads their rings
 *
 * Everything here may make system calls and take the tap's lock; record.c must not.
 *
 *   worker, kvtap_tap_bind                 reader, kvtap_reader_retire
 *     light or take the beacon               C store_seq_cst(retired)
 *   A fence_seq_cst                          D fence_seq_cst
 *   B load(retired)                          E load(beacons)
 *   Dekker (store buffering): at least one of the two sees the other, so that a worker that comes
 *   back to life moves to a new segment, or the reader goes on with this one, or both.
 *
 * live->open: G store_release after the segment is there, pairs with H in kvtap_tap_ignore.
 * ring_count: F store_release after the ring's header is ready, pairs with kvtap_reader_rings.
 */
#include "tap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "declare.h"
#include "overflow.h"

#define DICTIONARY_BYTES (8u << 20)
#define DEFAULT_SLOTS 4096
#define DEFAULT_RINGS 128
#define DEFAULT_OVERFLOW (60u << 10)

/* No lock: a fork while another thread opens a tap must not leave one held in the child. */
static _Atomic(uint32_t) slot_taken[KVTAP_TAPS_MAX];
static _Atomic(uint64_t) ids;

static struct kvtap_ring nothing_ring = { .unbound = true };
static struct kvtap nothing = { .id = KVTAP_ID_NONE, .disabled = true, .none = &nothing_ring };

struct kvtap *kvtap_tap_nothing(void)
{
	return &nothing;
}

void kvtap_tap_log(const struct kvtap *tap, enum kvtap_level level, const char *format, ...)
{
	char message[512];
	va_list arguments;

	if (!tap->log)
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	tap->log(tap->log_arg, level, message);
}

static void *map_private(size_t bytes)
{
	void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return data == MAP_FAILED ? NULL : data;
}

/* ---- options ---- */

static const char *choose(const char *variable, const char *option, const char *fallback)
{
	const char *value = getenv(variable);

	if (value && *value)
		return value;
	return option && *option ? option : fallback;
}

static bool name_space_valid(const char *name)
{
	size_t bytes = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_.-");

	return bytes > 0 && bytes <= 64 && !name[bytes] && name[0] != '.';
}

static int choose_slots(struct kvtap *tap, uint32_t option)
{
	const char *text = choose("KVTAP_RING_SLOTS", NULL, "");
	unsigned long slots = option ? option : DEFAULT_SLOTS;
	char *end;

	if (*text) {
		errno = 0;
		slots = strtoul(text, &end, 10);
		if (errno || *end)
			slots = 0;
	}
	if (slots < KVTAP_SLOTS_MIN || slots > KVTAP_SLOTS_MAX || (slots & (slots - 1))) {
		kvtap_tap_log(tap, KVTAP_LOG_ERROR,
			      "open: ring slots %s must be a power of two from %d to %u",
			      *text ? text : "option", KVTAP_SLOTS_MIN, KVTAP_SLOTS_MAX);
		return -EINVAL;
	}
	tap->ring_slots = (uint32_t)slots;
	return 0;
}

static int add_constant(struct kvtap *tap, const char *name, const char *value)
{
	if (!value)
		return 0;
	tap->constant[tap->constants] = strdup(name);
	tap->constant[tap->constants + 1] = strdup(value);
	tap->constants += 2;
	return tap->constant[tap->constants - 2] && tap->constant[tap->constants - 1] ? 0 : -ENOMEM;
}

static int set_options(struct kvtap *tap, const struct kvtap_options *options)
{
	const char *name_space = choose("KVTAP_NAMESPACE", options->name_space, "default");
	int rc;

	if (!name_space_valid(name_space)) {
		kvtap_tap_log(tap, KVTAP_LOG_ERROR,
			      "open: namespace \"%.80s\" must be 1 to 64 of [A-Za-z0-9_.-] and not "
			      "begin with a dot",
			      name_space);
		return -EINVAL;
	}
	tap->ring_max = options->ring_max ? options->ring_max : DEFAULT_RINGS;
	tap->overflow_bytes = options->overflow_bytes ? options->overflow_bytes : DEFAULT_OVERFLOW;
	if (tap->ring_max > KVTAP_RINGS_MAX || tap->overflow_bytes > KVTAP_OVERFLOW_MAX ||
	    tap->overflow_bytes % 4096) {
		kvtap_tap_log(tap, KVTAP_LOG_ERROR,
			      "open: ring_max must be at most %d, overflow_bytes a multiple of "
			      "4096 and "
			      "at most %u",
			      KVTAP_RINGS_MAX, KVTAP_OVERFLOW_MAX);
		return -EINVAL;
	}
	if (options->clock > KVTAP_CLOCK_TSC) {
		kvtap_tap_log(tap, KVTAP_LOG_ERROR, "open: clock %u is unknown", options->clock);
		return -EINVAL;
	}
	tap->tsc = options->clock == KVTAP_CLOCK_TSC && kvtap_clock_trusted();
	if (tap->tsc)
		kvtap_clock_tsc(); /* its first point */
	tap->dir = strdup(choose("KVTAP_DIR", options->dir, "/dev/shm"));
	tap->name_space = strdup(name_space);
	rc = tap->dir && tap->name_space ? choose_slots(tap, options->ring_slots) : -ENOMEM;
	if (!rc)
		rc = add_constant(tap, "model_name", options->model_name);
	if (!rc)
		rc = add_constant(tap, "engine", options->engine);
	return rc ? rc : add_constant(tap, "rank", options->rank);
}

/* ---- segment ---- */

static int open_segment(struct kvtap *tap)
{
	struct kvtap_segment_parameters parameters = {
		.dir = tap->dir,
		.name_space = tap->name_space,
		.ring_slots = tap->ring_slots,
		.ring_max = tap->ring_max,
		.overflow_bytes = tap->overflow_bytes,
		.dictionary_bytes = DICTIONARY_BYTES,
	};
	struct kvtap_segment *segment = calloc(1, sizeof(*segment));
	int rc;

	if (!segment)
		return -ENOMEM;
	rc = kvtap_segment_create(segment, &parameters, tap->dictionary.data, tap->dictionary.used);
	if (rc < 0) {
		kvtap_tap_log(tap, KVTAP_LOG_ERROR, "open: %s/kvtap.%s: %s: %s", tap->dir,
			      tap->name_space, segment->step, strerror(-rc));
		free(segment);
		return rc;
	}
	segment->next = tap->live->segment;
	tap->live->segment = segment;
	tap->inherited = segment;
	return 0;
}

static void drop_inherited(struct kvtap *tap)
{
	if (!tap->inherited)
		return;
	kvtap_segment_abandon(tap->inherited);
	free(tap->inherited);
	tap->inherited = NULL;
	/* another thread may have been between an entry and its number: nobody has that id, so it goes */
	kvtap_dictionary_cut(&tap->dictionary,
			     1 + tap->families + tap->kinds + tap->series + tap->connectors);
}

/* With the lock held. After a fork, live is all zero and inherited is the parent's. */
static int ensure_open(struct kvtap *tap)
{
	if (kvtap_load_relaxed(&tap->live->open) || tap->live->error) /* under the lock */
		return tap->live->error;
	drop_inherited(tap);
	tap->live->error = open_segment(tap);
	if (tap->live->error == 0)
		kvtap_store_release(&tap->live->open, 1); /* G, pairs with H */
	return tap->live->error;
}

int kvtap_tap_lock(struct kvtap *tap)
{
	int rc;

	pthread_mutex_lock(&tap->live->lock);
	rc = ensure_open(tap);
	if (rc < 0)
		pthread_mutex_unlock(&tap->live->lock);
	return rc;
}

void kvtap_tap_unlock(struct kvtap *tap)
{
	pthread_mutex_unlock(&tap->live->lock);
}

/* ---- rings ---- */

/* A ring whose thread ended goes on under the next one. */
static struct kvtap_ring *adopt_ring(struct kvtap *tap)
{
	struct kvtap_segment *segment = tap->live->segment;
	uint32_t rings = kvtap_load_relaxed(&segment->header->ring_count); /* own index */

	for (uint32_t i = 0; i < rings; i++) {
		struct kvtap_ring_header *shared = kvtap_segment_ring(segment, i);
		struct kvtap_ring *ring = tap->live->ring[i];

		if (!ring || kvtap_beacon_take(shared) < 0)
			continue;
		kvtap_ring_attach(ring, shared, kvtap_segment_tail(segment, i), tap->ring_slots,
				  tap->overflow_bytes);
		kvtap_overflow_recover(ring);
		kvtap_store_relaxed(&ring->parked, 0); /* own index */
		return ring;
	}
	return NULL;
}

/* A ring that nobody had, with its beacon held; not published. Returns: its index, or an errno. */
static int fresh_ring(struct kvtap *tap, enum kvtap_producers producers)
{
	struct kvtap_segment *segment = tap->live->segment;
	struct kvtap_segment_header *header = segment->header;
	uint32_t index = kvtap_load_relaxed(&header->ring_count); /* own index */
	struct kvtap_ring_header *shared;
	int rc;

	if (index == header->ring_max)
		return -EUSERS;
	rc = kvtap_segment_allocate(segment, header->rings_offset + index * header->ring_bytes,
				    header->ring_bytes);
	if (rc < 0)
		return rc;
	shared = kvtap_segment_ring(segment, index);
	kvtap_store_relaxed(&shared->producers, producers); /* before F */
	rc = kvtap_beacon_light(shared);
	return rc < 0 ? rc : (int)index;
}

static void publish_ring(struct kvtap_segment *segment, int index)
{
	kvtap_store_release(&segment->header->ring_count, (uint32_t)index + 1); /* F */
}

static int add_ring(struct kvtap *tap, struct kvtap_ring *ring)
{
	struct kvtap_segment *segment = tap->live->segment;
	int index = fresh_ring(tap, KVTAP_PRODUCERS_THREAD);

	if (index < 0)
		return index;
	kvtap_ring_attach(ring, kvtap_segment_ring(segment, (uint32_t)index),
			  kvtap_segment_tail(segment, (uint32_t)index), tap->ring_slots,
			  tap->overflow_bytes);
	tap->live->ring[index] = ring;
	publish_ring(segment, index);
	return 0;
}

static struct kvtap_ring *take_ring(struct kvtap *tap, struct kvtap_ring *handle)
{
	struct kvtap_ring *ring = handle ? NULL : adopt_ring(tap);
	int rc;

	if (ring)
		return ring;
	ring = handle ? handle : kvtap_ring_create(tap);
	rc = ring ? add_ring(tap, ring) : -errno;
	if (rc == 0)
		return ring;
	if (!tap->live->ring_logged)
		kvtap_tap_log(tap, KVTAP_LOG_WARN,
			      "no ring for a thread: %s; records of such threads are only counted",
			      strerror(-rc));
	tap->live->ring_logged = true;
	if (ring && ring != handle)
		kvtap_ring_destroy(ring);
	return NULL;
}

/*
 * If the reader took this process for dead: a new segment, which it will find. The private side of
 * ended threads' rings stays mapped, which is 0.5 MB of addresses.
 *
 * Returns: whether the ring, whose beacon was just lit, is to be taken again, or a negative errno:
 * nobody reads the old segment, and there is no new one.
 */
static int move_if_retired(struct kvtap *tap, struct kvtap_ring_header *shared)
{
	struct kvtap_segment *segment = tap->live->segment;
	int rc;

	kvtap_fence_seq_cst();				   /* A, pairs with D */
	if (!kvtap_load_relaxed(&segment->tails->retired)) /* B, pairs with C */
		return 0;
	kvtap_beacon_drop(shared);
	rc = open_segment(tap);
	if (rc < 0)
		return rc;
	memset(tap->live->ring, 0, sizeof(tap->live->ring));
	return 1;
}

struct kvtap_ring *kvtap_tap_bind(struct kvtap *tap, struct kvtap_ring *handle)
{
	struct kvtap_ring *ring;
	int moved;

	if (tap->id == KVTAP_ID_NONE || kvtap_tap_lock(tap) < 0)
		return tap->none;
	ring = take_ring(tap, handle);
	moved = ring ? move_if_retired(tap, ring->shared) : 0;
	if (moved)
		ring = moved < 0 ? NULL : take_ring(tap, ring);
	if (ring)
		ring->tsc = tap->tsc;
	kvtap_tap_unlock(tap);
	return ring ? ring : tap->none;
}

/* No thread takes it over: it has no private side in live->ring. */
static int take_device_ring(struct kvtap *tap, struct kvtap_ring_header **shared)
{
	int index = fresh_ring(tap, KVTAP_PRODUCERS_DEVICE);

	if (index < 0)
		return index;
	publish_ring(tap->live->segment, index);
	*shared = kvtap_segment_ring(tap->live->segment, (uint32_t)index);
	return index;
}

int kvtap_tap_device_ring(struct kvtap *tap, struct kvtap_ring_header **shared,
			  const struct kvtap_tail **tail)
{
	int index, moved;

	if (tap->id == KVTAP_ID_NONE || kvtap_tap_lock(tap) < 0)
		return -ENODEV;
	index = tap->ring_slots > KVTAP_DEVICE_SLOTS_MAX ? -ENOTSUP : take_device_ring(tap, shared);
	moved = index < 0 ? 0 : move_if_retired(tap, *shared);
	if (moved)
		index = moved < 0 ? moved : take_device_ring(tap, shared);
	if (index >= 0)
		*tail = kvtap_segment_tail(tap->live->segment, (uint32_t)index);
	kvtap_tap_unlock(tap);
	return index < 0 ? index : 0;
}

void kvtap_tap_ignore(struct kvtap *tap, uint64_t bytes)
{
	struct kvtap_segment_header *header;

	if (tap->disabled)
		return;
	if (tap->id == KVTAP_ID_NONE || !kvtap_load_acquire(&tap->live->open)) { /* H */
		kvtap_add_relaxed(&tap->ignored_calls, 1);			 /* statistic */
		return;
	}
	header = tap->live->segment->header;
	kvtap_add_relaxed(&header->lost_records, 1); /* statistic */
	if (bytes)
		kvtap_add_relaxed(&header->lost_bytes, bytes); /* statistic */
}

/* ---- open and close ---- */

static int take_slot(struct kvtap *tap)
{
	for (uint32_t i = 0; i < KVTAP_TAPS_MAX; i++) {
		uint32_t taken = 0;

		if (!kvtap_swap_relaxed(&slot_taken[i], &taken, 1)) /* single copy */
			continue;
		tap->slot = i;
		tap->id = kvtap_add_relaxed(&ids, 1) + 1; /* single copy */
		return 0;
	}
	return -EMFILE;
}

static void give_slot(const struct kvtap *tap)
{
	if (tap->id != KVTAP_ID_NONE)
		kvtap_store_relaxed(&slot_taken[tap->slot], 0); /* single copy */
}

static int prepare(struct kvtap *tap, uint32_t groups)
{
	int rc = kvtap_dictionary_init(&tap->dictionary, DICTIONARY_BYTES);

	if (rc < 0)
		return rc;
	tap->plan = map_private((KVTAP_SERIES_MAX + 1) * sizeof(*tap->plan));
	tap->live = map_private(sizeof(*tap->live));
	if (!tap->plan || !tap->live)
		return -ENOMEM;
	if (madvise(tap->live, sizeof(*tap->live), MADV_WIPEONFORK) < 0)
		return errno == EINVAL ? -ENOSYS : -errno;
	rc = kvtap_declare_constants(tap);
	if (!rc)
		rc = kvtap_declare_groups(tap, groups);
	return rc < 0 ? rc : take_slot(tap);
}

static int open_tap(struct kvtap *tap, const struct kvtap_options *options)
{
	int rc = set_options(tap, options);

	if (!rc)
		rc = prepare(tap, options->groups);
	if (rc < 0)
		return rc;
	rc = kvtap_tap_lock(tap);
	if (rc == 0)
		kvtap_tap_unlock(tap);
	return rc;
}

static bool switched_off(void)
{
	const char *value = getenv("KVTAP_DISABLE");

	return value && *value && strcmp(value, "0") != 0;
}

int kvtap_open(struct kvtap **result, const struct kvtap_options *options)
{
	static const struct kvtap_options defaults;
	struct kvtap *tap;
	int rc;

	*result = &nothing;
	if (switched_off())
		return 0;
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return -ENOMEM;
	options = options ? options : &defaults;
	tap->id = KVTAP_ID_NONE;
	tap->log = options->log;
	tap->log_arg = options->log_arg;
	tap->none = kvtap_ring_create(tap);
	if (!tap->none) {
		rc = -errno;
		free(tap);
		return rc;
	}
	madvise(tap->none, KVTAP_RING_OWN, MADV_KEEPONFORK); /* a child has no ring there too */
	tap->none->unbound = true;
	*result = tap;
	rc = open_tap(tap, options);
	if (rc < 0) {
		give_slot(tap);
		tap->id = KVTAP_ID_NONE;
	}
	return rc;
}

static void close_segments(struct kvtap *tap)
{
	struct kvtap_segment *next;

	for (struct kvtap_segment *segment = tap->live->segment; segment; segment = next) {
		next = segment->next;
		kvtap_segment_close(segment);
		free(segment);
	}
	for (uint32_t i = 0; i < tap->ring_max; i++)
		if (tap->live->ring[i])
			kvtap_ring_destroy(tap->live->ring[i]);
}

void kvtap_close(struct kvtap *tap)
{
	if (!tap || tap == &nothing)
		return;
	if (tap->live) {
		if (!kvtap_load_relaxed(&tap->live->open)) /* nobody else is here */
			drop_inherited(tap);		   /* a fork child that never recorded */
		close_segments(tap);
		munmap(tap->live, sizeof(*tap->live));
	}
	give_slot(tap);
	if (tap->plan)
		munmap(tap->plan, (KVTAP_SERIES_MAX + 1) * sizeof(*tap->plan));
	kvtap_dictionary_destroy(&tap->dictionary);
	kvtap_declare_free(tap);
	kvtap_ring_destroy(tap->none);
	for (uint32_t i = 0; i < tap->constants; i++)
		free(tap->constant[i]);
	free(tap->dir);
	free(tap->name_space);
	free(tap);
}

static void add_stats(const struct kvtap_segment *segment, struct kvtap_stats *stats)
{
	struct kvtap_segment_header *header = segment->header;
	uint32_t rings = kvtap_load_relaxed(&header->ring_count); /* own index */

	stats->lost_records += kvtap_load_relaxed(&header->lost_records); /* statistic */
	stats->lost_bytes += kvtap_load_relaxed(&header->lost_bytes);	  /* statistic */
	for (uint32_t i = 0; i < rings; i++) {
		struct kvtap_ring_header *ring = kvtap_segment_ring(segment, i);

		stats->lost_records += kvtap_load_relaxed(&ring->lost_records); /* statistic */
		stats->lost_bytes += kvtap_load_relaxed(&ring->lost_bytes);	/* statistic */
		stats->refused_records +=
			kvtap_load_relaxed(&ring->refused_records); /* statistic */
	}
}

void kvtap_stats(struct kvtap *tap, struct kvtap_stats *stats)
{
	*stats = (struct kvtap_stats){ 0 };
	if (!tap || tap->disabled)
		return;
	stats->ignored_calls = kvtap_load_relaxed(&tap->ignored_calls); /* statistic */
	if (tap->id == KVTAP_ID_NONE || kvtap_tap_lock(tap) < 0)
		return;
	for (struct kvtap_segment *segment = tap->live->segment; segment; segment = segment->next)
		add_stats(segment, stats);
	kvtap_tap_unlock(tap);
}
