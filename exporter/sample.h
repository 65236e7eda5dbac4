/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample.h - the transfers of one interval, one by one, and in ranges where there are too many
 *
 * A sample is kept for each record in the order of arrival, until the pool that all share is used
 * up; then a record only counts in a log-linear bucket, whose bounds are 2^-7 apart. What a worker
 * folded is only known by its family's buckets. Of each record either the sample, the bucket or the
 * range is there, or nothing; how many there are in all is the caller's to know. Knows no connector.
 * Only the drain thread calls.
 */
#ifndef KVTAP_EXPORTER_SAMPLE_H
#define KVTAP_EXPORTER_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "statistic.h"

struct sample {
	uint64_t duration_ns, submit_ns;
	uint64_t bytes;
};

/* What an estimate is asked for. */
enum sample_time { SAMPLE_DURATION, SAMPLE_SUBMIT, SAMPLE_TIMES };

/* Of the exporter's pool: 2^20 that are kept, and an eighth for chunks that aren't full; 27 MiB. */
#define SAMPLE_LIMIT ((1u << 20) + (1u << 17))

struct sample_chunk;

struct sample_pool {
	size_t limit;	 /* samples in all */
	size_t used;	 /* samples for which there is or was room in this interval */
	unsigned tables; /* of buckets that exist */
	uint32_t ranges; /* for which there is room */
	/* full-sized chunks of the last interval and of this one: memory that needs no page fault */
	struct sample_chunk *spare, *ended;
};

struct sample_chunk {
	struct sample_chunk *next;
	uint32_t used, room;
	struct sample sample[];
};

struct sample_table;

struct sample_ranges {
	struct statistic_range *range; /* [count] seconds, by low and then by high */
	uint32_t count, room;
};

struct samples {
	struct sample_chunk *first, *last;
	uint64_t count;		    /* of samples */
	struct sample_table *table; /* NULL: none counts in a bucket */
	struct sample_ranges folded[SAMPLE_TIMES];
};

/* Of records that came one after the other. */
struct sample_columns {
	const uint64_t *duration_ns, *submit_ns, *bytes; /* [count] */
	uint32_t count;
};

/* samples_add - all of them; without room and memory they are some of which nothing is there */
void samples_add(struct samples *samples, struct sample_pool *pool,
		 const struct sample_columns *columns);
/* sample_fold - so many records with a time above low and up to high, in seconds; as samples_add */
void sample_fold(struct samples *samples, struct sample_pool *pool, enum sample_time time,
		 double low, double high, uint64_t records);
/* sample_reset - give all back */
void sample_reset(struct samples *samples, struct sample_pool *pool);
/* sample_pool_turn - all were reset: what the interval used is there for the next, the rest is freed */
void sample_pool_turn(struct sample_pool *pool);

/*
 * sample_seconds - a time of each sample, in order; sample_mib - its bytes in units of 2^20
 * @value: [samples->count]
 */
void sample_seconds(const struct samples *samples, enum sample_time time, double *value);
void sample_mib(const struct samples *samples, double *value);

/**
 * sample_ranges - where a time of each of all records is
 * @records: how many there are; those of which nothing is there are between 0 and infinity
 * @count:   of ranges
 *
 * Returns: to be freed; NULL: no memory.
 */
struct statistic_range *sample_ranges(const struct samples *samples, enum sample_time time,
				      uint64_t records, size_t *count);

#endif
