/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample.c - the transfers of one interval, one by one, and in ranges where there are too many
 *
 * Chunks grow with what they hold, so that many lists of few samples take little room. Tables of
 * buckets are made on demand and only so many, and so are ranges: names of operations and bounds are
 * a worker's choice.
 */
#include "sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MIN 4
#define CHUNK_MAX 1024 /* samples, 24 KiB */
#define TABLES_MAX 64  /* 119 KiB each */
#define RANGES_MIN 32
#define RANGES_MAX 1024	      /* of one time; families of a connector have far fewer bounds */
#define RANGES_ALL (1u << 18) /* 6 MiB */
#define SINGLE_MAX 65536 /* samples that are ranges of their own; more of them go into buckets */
#define MANTISSA 7	 /* bits below the first */
#define BUCKETS ((64 - MANTISSA + 1) << MANTISSA)

struct sample_table {
	uint64_t bucket[SAMPLE_TIMES][BUCKETS];
};

/* ---- log-linear buckets ---- */

static uint32_t bucket_of(uint64_t ns)
{
	int shift = 63 - __builtin_clzll(ns | 1) - MANTISSA;

	if (shift <= 0)
		return (uint32_t)ns;
	return ((uint32_t)shift << MANTISSA) + (uint32_t)(ns >> shift);
}

/* The smallest and the largest value of a bucket. */
static void bucket_bounds(uint32_t bucket, uint64_t *low_ns, uint64_t *high_ns)
{
	int shift = (int)(bucket >> MANTISSA) - 1;

	*low_ns = *high_ns = bucket;
	if (shift <= 0)
		return;
	*low_ns = (uint64_t)(bucket - ((uint32_t)shift << MANTISSA)) << shift;
	*high_ns = *low_ns + ((uint64_t)1 << shift) - 1;
}

static uint64_t time_of(const struct sample *sample, enum sample_time time)
{
	return time == SAMPLE_DURATION ? sample->duration_ns : sample->submit_ns;
}

/* ---- what comes ---- */

static struct sample_chunk *make_chunk(struct sample_pool *pool, size_t room)
{
	struct sample_chunk *spare = pool->spare;

	if (room != CHUNK_MAX || !spare)
		return malloc(sizeof(*spare) + room * sizeof(struct sample));
	pool->spare = spare->next;
	return spare;
}

static struct sample_chunk *grow(struct samples *samples, struct sample_pool *pool)
{
	size_t eighth = (size_t)samples->count / 8; /* see SAMPLE_LIMIT */
	size_t room = eighth < CHUNK_MIN ? CHUNK_MIN : eighth > CHUNK_MAX ? CHUNK_MAX : eighth;

	if (room > pool->limit - pool->used)
		room = pool->limit - pool->used;
	struct sample_chunk *chunk = room ? make_chunk(pool, room) : NULL;
	if (!chunk)
		return NULL;
	*chunk = (struct sample_chunk){ .room = (uint32_t)room };
	pool->used += room;
	if (samples->last)
		samples->last->next = chunk;
	else
		samples->first = chunk;
	samples->last = chunk;
	return chunk;
}

static void count_times(uint64_t *bucket, const uint64_t *ns, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		bucket[bucket_of(ns[i])]++;
}

static void count_in_table(struct samples *samples, struct sample_pool *pool,
			   const struct sample_columns *columns, uint32_t from)
{
	uint32_t count = columns->count - from;

	if (!samples->table && pool->tables < TABLES_MAX) {
		samples->table = calloc(1, sizeof(*samples->table));
		pool->tables += samples->table != NULL;
	}
	if (!samples->table)
		return;
	count_times(samples->table->bucket[SAMPLE_DURATION], columns->duration_ns + from, count);
	count_times(samples->table->bucket[SAMPLE_SUBMIT], columns->submit_ns + from, count);
}

/* As many as the last chunk has room for; returns up to where. */
static uint32_t fill_chunk(struct samples *samples, const struct sample_columns *columns,
			   uint32_t from)
{
	struct sample_chunk *chunk = samples->last;
	uint32_t room = chunk ? chunk->room - chunk->used : 0, left = columns->count - from;
	uint32_t to = from + (left < room ? left : room);

	if (from == to)
		return to;
	struct sample *sample = &chunk->sample[chunk->used];
	samples->count += to - from;
	chunk->used += to - from;
	for (; from < to; from++)
		*sample++ = (struct sample){ .duration_ns = columns->duration_ns[from],
					     .submit_ns = columns->submit_ns[from],
					     .bytes = columns->bytes[from] };
	return to;
}

void samples_add(struct samples *samples, struct sample_pool *pool,
		 const struct sample_columns *columns)
{
	uint32_t at = fill_chunk(samples, columns, 0);

	while (at < columns->count) {
		if (!grow(samples, pool)) {
			count_in_table(samples, pool, columns, at);
			return;
		}
		at = fill_chunk(samples, columns, at);
	}
}

/* Where a range is among those in order, or would be. */
static uint32_t find_range(const struct sample_ranges *folded, double low, double high)
{
	uint32_t first = 0, end = folded->count;

	while (first < end) {
		uint32_t middle = first + (end - first) / 2;
		const struct statistic_range *range = &folded->range[middle];

		if (range->low < low || (range->low == low && range->high < high))
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

static bool grow_ranges(struct sample_ranges *folded, struct sample_pool *pool)
{
	uint32_t room = folded->room ? 2 * folded->room : RANGES_MIN;

	if (room > RANGES_MAX || pool->ranges + room - folded->room > RANGES_ALL)
		return false;
	struct statistic_range *grown =
		realloc(folded->range, room * sizeof(struct statistic_range));
	if (!grown)
		return false;
	pool->ranges += room - folded->room;
	folded->range = grown;
	folded->room = room;
	return true;
}

void sample_fold(struct samples *samples, struct sample_pool *pool, enum sample_time time,
		 double low, double high, uint64_t records)
{
	struct sample_ranges *folded = &samples->folded[time];
	uint32_t i = find_range(folded, low, high);
	bool there =
		i < folded->count && folded->range[i].low == low && folded->range[i].high == high;

	if (!there && folded->count == folded->room && !grow_ranges(folded, pool))
		return;
	struct statistic_range *range = &folded->range[i];
	if (!there) {
		memmove(range + 1, range, (folded->count++ - i) * sizeof(*range));
		*range = (struct statistic_range){ .low = low, .high = high };
	}
	range->count += records;
}

void sample_reset(struct samples *samples, struct sample_pool *pool)
{
	for (struct sample_chunk *chunk = samples->first; chunk;) {
		struct sample_chunk *next = chunk->next;

		pool->used -= chunk->room;
		if (chunk->room == CHUNK_MAX) {
			chunk->next = pool->ended;
			pool->ended = chunk;
		} else {
			free(chunk);
		}
		chunk = next;
	}
	pool->tables -= samples->table != NULL;
	free(samples->table);
	for (int time = 0; time < SAMPLE_TIMES; time++) {
		pool->ranges -= samples->folded[time].room;
		free(samples->folded[time].range);
	}
	*samples = (struct samples){ 0 };
}

void sample_pool_turn(struct sample_pool *pool)
{
	for (struct sample_chunk *chunk = pool->spare, *next; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	pool->spare = pool->ended;
	pool->ended = NULL;
}

/* ---- what was there ---- */

void sample_seconds(const struct samples *samples, enum sample_time time, double *value)
{
	for (const struct sample_chunk *chunk = samples->first; chunk; chunk = chunk->next)
		for (uint32_t i = 0; i < chunk->used; i++)
			*value++ = statistic_seconds(time_of(&chunk->sample[i], time));
}

void sample_mib(const struct samples *samples, double *value)
{
	for (const struct sample_chunk *chunk = samples->first; chunk; chunk = chunk->next)
		for (uint32_t i = 0; i < chunk->used; i++)
			*value++ = (double)chunk->sample[i].bytes / 0x1p20;
}

struct ranges {
	struct statistic_range *range;
	size_t count;
	uint64_t records;
};

static void put_range(struct ranges *ranges, double low, double high, uint64_t records)
{
	if (!records)
		return;
	ranges->range[ranges->count++] = (struct statistic_range){ low, high, records };
	ranges->records += records;
}

static void put_singles(struct ranges *ranges, const struct samples *samples, enum sample_time time)
{
	for (const struct sample_chunk *chunk = samples->first; chunk; chunk = chunk->next) {
		for (uint32_t i = 0; i < chunk->used; i++) {
			double value = statistic_seconds(time_of(&chunk->sample[i], time));

			put_range(ranges, value, value, 1);
		}
	}
}

static void put_buckets(struct ranges *ranges, const uint64_t *bucket)
{
	for (uint32_t i = 0; i < BUCKETS; i++) {
		uint64_t low_ns, high_ns;

		if (!bucket[i])
			continue;
		bucket_bounds(i, &low_ns, &high_ns);
		put_range(ranges, statistic_seconds(low_ns), statistic_seconds(high_ns), bucket[i]);
	}
}

/* All samples in buckets, with those that were there before; NULL: no memory. */
static uint64_t *bucket_samples(const struct samples *samples, enum sample_time time)
{
	uint64_t *bucket = calloc(BUCKETS, sizeof(*bucket));

	if (bucket && samples->table)
		memcpy(bucket, samples->table->bucket[time], BUCKETS * sizeof(*bucket));
	for (const struct sample_chunk *chunk = samples->first; bucket && chunk;
	     chunk = chunk->next)
		for (uint32_t i = 0; i < chunk->used; i++)
			bucket[bucket_of(time_of(&chunk->sample[i], time))]++;
	return bucket;
}

struct statistic_range *sample_ranges(const struct samples *samples, enum sample_time time,
				      uint64_t records, size_t *count)
{
	const struct sample_ranges *folded = &samples->folded[time];
	bool single = samples->count <= SINGLE_MAX;
	uint64_t *bucket = single ? NULL : bucket_samples(samples, time);
	size_t room = (single ? (size_t)samples->count : 0) + BUCKETS + folded->count + 1;
	struct ranges ranges = { .range = malloc(room * sizeof(struct statistic_range)) };

	*count = 0;
	if (!ranges.range || (!single && !bucket)) {
		free(ranges.range);
		free(bucket);
		return NULL;
	}
	if (single)
		put_singles(&ranges, samples, time);
	if (bucket || samples->table)
		put_buckets(&ranges, bucket ? bucket : samples->table->bucket[time]);
	for (uint32_t i = 0; i < folded->count; i++)
		put_range(&ranges, folded->range[i].low, folded->range[i].high,
			  folded->range[i].count);
	if (ranges.records < records)
		put_range(&ranges, 0, INFINITY, records - ranges.records);
	free(bucket);
	*count = ranges.count;
	return ranges.range;
}
