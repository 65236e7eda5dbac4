/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_processes.h - does a process feel CUPTI, and do its times agree with those of events?
 *
 * Three processes make the same copies by turns, one of them with libkvtap-cupti.so injected, two
 * without. Then the injected one has spans too, and what CUPTI says of a job, from the start of its
 * first copy to the end of its last, is put beside what the job's events say.
 */
#ifndef KVTAP_BENCH_CUDA_PROCESSES_H
#define KVTAP_BENCH_CUDA_PROCESSES_H

#include <stdbool.h>

#include "cuda_work.h"

struct cuda_processes {
	const struct cuda_cell *cell; /* [cells] each in both directions and by both ways */
	uint32_t cells, rounds;
	bool batches;	   /* the driver has them */
	size_t pool_bytes; /* of each process */
	double ceiling[2]; /* GB/s, by cell.load */
	uint64_t limit_ns; /* CLOCK_MONOTONIC: no cell begins later */
	uint64_t *random;
};

/* cuda_processes_run - print it; Returns: whether all checks passed */
bool cuda_processes_run(const struct cuda_processes *processes);

#endif
