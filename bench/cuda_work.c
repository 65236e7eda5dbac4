/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_work.c - see cuda_work.h */
#include "cuda_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "paired.h"

#define SLICE_BYTES (8u << 20) /* or one job, if that is more */
#define SLICE_DESCRIPTORS 1024
#define SLICE_JOBS 64

void cuda_check(const char *what, int result)
{
	if (!result)
		return;
	fprintf(stderr, "bench: %s: CUDA error %d\n", what, result);
	exit(1);
}

static void *pinned(const struct cuda_driver *cuda, size_t bytes)
{
	void *memory;

	cuda_check("pin host memory", cuda->pinned_new(&memory, bytes));
	return memory;
}

void cuda_work_open(struct cuda_work *work, const struct cuda_driver *cuda, size_t pool_bytes)
{
	uint64_t random = 0;

	*work = (struct cuda_work){ .cuda = cuda, .pool_bytes = pool_bytes };
	work->host = pinned(cuda, pool_bytes);
	work->shadow = pinned(cuda, pool_bytes);
	cuda_check("allocate device memory", cuda->memory_new(&work->device, pool_bytes));
	cuda_check("make a stream", cuda->stream_new(&work->stream, CUDA_STREAM_NON_BLOCKING));
	for (size_t i = 0; i < pool_bytes; i += sizeof(random)) {
		uint64_t word = paired_random(&random);

		memcpy(work->host + i, &word, sizeof(word));
		memcpy(work->shadow + pool_bytes - sizeof(word) - i, &word, sizeof(word));
	}
}

static void forget_cell(struct cuda_work *work)
{
	free(work->from);
	free(work->to);
	free(work->batch_from);
	free(work->batch_to);
	free(work->batch_bytes);
}

static uint32_t jobs_in_slice(const struct cuda_cell *cell, uint32_t descriptors)
{
	uint64_t jobs = SLICE_BYTES / ((uint64_t)descriptors * cell->block_bytes);

	if (jobs > SLICE_DESCRIPTORS / descriptors)
		jobs = SLICE_DESCRIPTORS / descriptors;
	if (jobs > SLICE_JOBS)
		jobs = SLICE_JOBS;
	return jobs ? (uint32_t)jobs : 1;
}

/* Of each job all blocks of a tensor, then of the next one. */
static void place(struct cuda_work *work, size_t *offset, uint32_t slots, uint64_t *random)
{
	const struct cuda_cell *cell = &work->cell;
	uint32_t *order = bench_allocate(slots * sizeof(*order));

	paired_shuffle(random, order, slots);
	for (uint32_t job = 0; job < work->jobs; job++)
		for (uint32_t i = 0; i < work->descriptors; i++) {
			uint32_t slot = order[job * cell->blocks + i % cell->blocks];
			uint32_t tensor = i / cell->blocks;

			*offset++ = ((size_t)tensor * slots + slot) * cell->block_bytes;
		}
	free(order);
}

bool cuda_work_cell(struct cuda_work *work, const struct cuda_cell *cell, uint64_t *random)
{
	size_t slot_bytes = (size_t)cell->block_bytes * cell->tensors, count;
	uint32_t slots;

	forget_cell(work);
	work->cell = *cell;
	work->descriptors = cell->tensors * cell->blocks;
	work->jobs = jobs_in_slice(cell, work->descriptors);
	slots = 2 * work->jobs * cell->blocks;
	if (slots > work->pool_bytes / slot_bytes)
		slots = (uint32_t)(work->pool_bytes / slot_bytes);
	count = (size_t)work->jobs * work->descriptors;
	work->from = bench_allocate(count * sizeof(*work->from));
	work->to = bench_allocate(count * sizeof(*work->to));
	work->batch_from = bench_allocate(work->descriptors * sizeof(*work->batch_from));
	work->batch_to = bench_allocate(work->descriptors * sizeof(*work->batch_to));
	work->batch_bytes = bench_allocate(work->descriptors * sizeof(*work->batch_bytes));
	if (slots < work->jobs * cell->blocks)
		return false;
	place(work, work->from, slots, random);
	place(work, work->to, slots, random);
	work->region_bytes = slots * slot_bytes;
	if (!cell->load) {
		cuda_check("fill the device's pool",
			   work->cuda->copy(work->device, (cuda_address)(uintptr_t)work->shadow,
					    work->region_bytes, work->stream));
		cuda_work_wait(work);
	}
	return true;
}

/* Both ends: a copy that is cut short is seen as well. */
static void write_ends(uint8_t *block, uint32_t bytes, uint64_t value)
{
	memcpy(block, &value, sizeof(value));
	memcpy(block + bytes - sizeof(value), &value, sizeof(value));
}

/* What is to be copied is new to the device, or what is to be overwritten is not right yet. */
void cuda_work_prepare(struct cuda_work *work)
{
	const size_t *offset = work->cell.load ? work->from : work->to;

	work->slice++;
	for (size_t i = 0; i < (size_t)work->jobs * work->descriptors; i++)
		write_ends(work->host + offset[i], work->cell.block_bytes,
			   ~(work->slice << 32 | i));
}

static cuda_address at(const struct cuda_work *work, bool device, size_t offset)
{
	return (device ? work->device : (cuda_address)(uintptr_t)work->host) + offset;
}

void cuda_work_gather(struct cuda_work *work, uint32_t job)
{
	size_t first = (size_t)job * work->descriptors;

	for (uint32_t i = 0; i < work->descriptors; i++) {
		work->batch_from[i] = at(work, !work->cell.load, work->from[first + i]);
		work->batch_to[i] = at(work, work->cell.load, work->to[first + i]);
		work->batch_bytes[i] = work->cell.block_bytes;
	}
}

void cuda_work_batch(struct cuda_work *work)
{
	struct cuda_copy_attributes attributes = { .source_order = 1 };
	size_t from = 0, failed = 0;

	cuda_check("cuMemcpyBatchAsync",
		   work->cuda->copy_batch(work->batch_to, work->batch_from, work->batch_bytes,
					  work->descriptors, &attributes, &from, 1, &failed,
					  work->stream));
}

void cuda_work_copy(struct cuda_work *work, uint32_t job, uint32_t descriptor)
{
	size_t i = (size_t)job * work->descriptors + descriptor;

	cuda_check("cuMemcpyAsync", work->cuda->copy(at(work, work->cell.load, work->to[i]),
						     at(work, !work->cell.load, work->from[i]),
						     work->cell.block_bytes, work->stream));
}

void cuda_work_wait(struct cuda_work *work)
{
	cuda_check("wait for a stream", work->cuda->stream_wait(work->stream));
}

uint32_t cuda_work_wrong(struct cuda_work *work)
{
	const uint8_t *from = work->cell.load ? work->host : work->shadow;
	const uint8_t *to = work->cell.load ? work->shadow : work->host;
	uint32_t wrong = 0;

	if (work->cell.load) {
		cuda_check("read the device's pool",
			   work->cuda->copy((cuda_address)(uintptr_t)work->shadow, work->device,
					    work->region_bytes, work->stream));
		cuda_work_wait(work);
	}
	for (size_t i = 0; i < (size_t)work->jobs * work->descriptors; i++)
		wrong +=
			memcmp(to + work->to[i], from + work->from[i], work->cell.block_bytes) != 0;
	return wrong;
}

void cuda_work_whole(struct cuda_work *work, bool load, size_t bytes)
{
	cuda_check("copy a pool",
		   work->cuda->copy(at(work, load, 0), at(work, !load, 0), bytes, work->stream));
	cuda_work_wait(work);
}

void cuda_work_close(struct cuda_work *work)
{
	forget_cell(work);
	work->cuda->stream_free(work->stream);
	work->cuda->memory_free(work->device);
	work->cuda->pinned_free(work->host);
	work->cuda->pinned_free(work->shadow);
	*work = (struct cuda_work){ 0 };
}
