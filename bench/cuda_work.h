/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_work.h - jobs of KV blocks between pinned host memory and a device, as connectors make them
 *
 * A pool holds a region for each tensor, a region slots of a block each. A job copies so many blocks
 * at random, of every tensor: blocks * tensors descriptors. A slice is some jobs whose blocks are all
 * different ones, so that after it each can be looked at. Knows nothing of time and records.
 */
#ifndef KVTAP_BENCH_CUDA_WORK_H
#define KVTAP_BENCH_CUDA_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "cuda_driver.h"

struct cuda_cell {
	const char *layout;
	uint32_t block_bytes; /* of one tensor; a multiple of 16 */
	uint32_t tensors, blocks;
	bool load;    /* to the device; else to the host */
	bool batched; /* cuMemcpyBatchAsync; else a loop of cuMemcpyAsync */
};

struct cuda_work {
	const struct cuda_driver *cuda;
	void *stream;
	size_t pool_bytes;
	uint8_t *host;	     /* pinned pool */
	uint8_t *shadow;     /* pinned: what is, or has to be, in the device's pool */
	cuda_address device; /* pool */
	/* of the cell */
	struct cuda_cell cell;
	uint32_t jobs, descriptors; /* of a slice; of a job */
	size_t region_bytes;	    /* of each pool that the cell uses */
	uint64_t slice;		    /* how many were prepared */
	size_t *from, *to;	    /* [jobs * descriptors] offsets in the pools */
	/* what the batch takes, for one job: [descriptors] */
	cuda_address *batch_from, *batch_to;
	size_t *batch_bytes;
};

/* cuda_work_open - pools and a stream; bench_fail if there is no memory */
void cuda_work_open(struct cuda_work *work, const struct cuda_driver *cuda, size_t pool_bytes);
/* cuda_work_cell - the jobs of a cell from now on; Returns: false: the pools are too small */
bool cuda_work_cell(struct cuda_work *work, const struct cuda_cell *cell, uint64_t *random);
/* cuda_work_prepare - so that after the next slice it shows which of its copies were made */
void cuda_work_prepare(struct cuda_work *work);
/* cuda_work_gather - addresses of a job, for the batch */
void cuda_work_gather(struct cuda_work *work, uint32_t job);
/* cuda_work_batch - put the gathered job into the stream by one call; cuda_work_copy: one descriptor */
void cuda_work_batch(struct cuda_work *work);
void cuda_work_copy(struct cuda_work *work, uint32_t job, uint32_t descriptor);
/* cuda_work_wait - until all that is in the stream is done */
void cuda_work_wait(struct cuda_work *work);
/* cuda_work_wrong - blocks of the slice that are not what was copied; the stream is empty */
uint32_t cuda_work_wrong(struct cuda_work *work);
/* cuda_work_whole - one copy of so many bytes, and wait */
void cuda_work_whole(struct cuda_work *work, bool load, size_t bytes);
void cuda_work_close(struct cuda_work *work);

/* cuda_check - bench_fail if a call of the driver failed */
void cuda_check(const char *what, int result);

#endif
