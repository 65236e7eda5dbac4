/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_child.h - this bench once more, as a process that copies when it is asked to
 *
 * What is loaded into a process for its whole life, as CUPTI is, can be compared between processes
 * only. Asked and answered by lines, on the child's standard input and output:
 *
 *	(started)				ready, or missing WHAT
 *	cell LAYOUT BYTES TENSORS BLOCKS LOAD BATCHED	JOBS of a slice; 0: its pools are too small
 *	slice MODE				BEGAN WALL SUBMIT DEVICE of each job, ns; WRONG checks
 */
#ifndef KVTAP_BENCH_CUDA_CHILD_H
#define KVTAP_BENCH_CUDA_CHILD_H

#include <stdio.h>
#include <sys/types.h>

#include "cuda_modes.h"

struct cuda_child {
	pid_t pid;
	FILE *ask, *answer;
	char missing[128];
	/* of the last slice */
	struct cuda_job job[CUDA_JOBS_MAX]; /* began_ns, wall_ns, submit_ns, device_ns */
	uint32_t jobs;
	uint64_t wrong; /* checks that failed so far */
};

/**
 * cuda_child_start - and wait until it has its context
 * @injection: library that the driver loads into it; NULL: none
 * @dir: KVTAP_DIR of what is injected
 * Returns: false: missing says why
 */
bool cuda_child_start(struct cuda_child *child, const char *injection, const char *dir,
		      size_t pool_bytes);
/* cuda_child_cell - Returns: false: too large for its pools */
bool cuda_child_cell(struct cuda_child *child, const struct cuda_cell *cell);
void cuda_child_slice(struct cuda_child *child, enum cuda_mode mode);
void cuda_child_stop(struct cuda_child *child);

/* cuda_child_main - what the child does; Returns: its exit status */
int cuda_child_main(size_t pool_bytes);

#define CUDA_CHILD_NAMESPACE "injected"

#endif
