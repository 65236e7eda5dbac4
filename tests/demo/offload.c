/* SPDX-License-Identifier: Apache-2.0 */
/*
 * offload.c - a worker that moves batches of KV blocks between a 'GPU' pool and a host pool
 *
 * Both pools are host memory and the copies are memcpy: the shape of an offload, without a GPU.
 * Each thread has its own slice of both pools, as a rank has its own device.
 */
#include "roles.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "truth.h"

struct pool {
	char *memory;
	uint32_t blocks;
	uint32_t order[256]; /* block ids; the first of a partial shuffle are a job's */
};

struct lane {
	struct recorder *recorder;
	uint32_t thread;
	uint64_t random;
	struct pool gpu, host;
	pthread_t id;
};

static _Atomic int ending;

uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

uint32_t random_below(uint64_t *state, uint32_t limit)
{
	return (uint32_t)((random_next(state) >> 32) * limit >> 32);
}

void wait_for_end(void)
{
	sigset_t set;
	int signal_number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigwait(&set, &signal_number);
}

static int pool_create(struct pool *pool, uint32_t blocks)
{
	pool->blocks = blocks > 256 ? 256 : blocks;
	pool->memory = mmap(NULL, pool->blocks * BLOCK_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool->memory == MAP_FAILED) {
		perror("offload worker: pool");
		return -1;
	}
	for (uint32_t i = 0; i < pool->blocks; i++) {
		pool->order[i] = i;
		memset(pool->memory + i * BLOCK_BYTES, (int)i + 1, BLOCK_BYTES);
	}
	return 0;
}

static void pool_pick(struct pool *pool, uint64_t *random, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t j = i + random_below(random, pool->blocks - i);
		uint32_t id = pool->order[j];

		pool->order[j] = pool->order[i];
		pool->order[i] = id;
	}
}

static void copy_blocks(const struct pool *to, const struct pool *from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		memcpy(to->memory + to->order[i] * BLOCK_BYTES,
		       from->memory + from->order[i] * BLOCK_BYTES, BLOCK_BYTES);
}

static void run_job(struct lane *lane, uint64_t job)
{
	uint32_t blocks = 1 + random_below(&lane->random, lane->gpu.blocks);
	bool load = random_below(&lane->random, 2);
	uint64_t start = now_ns();

	pool_pick(&lane->gpu, &lane->random, blocks);
	pool_pick(&lane->host, &lane->random, blocks);
	uint64_t submitted = now_ns();
	if (load)
		copy_blocks(&lane->gpu, &lane->host, blocks);
	else
		copy_blocks(&lane->host, &lane->gpu, blocks);
	uint64_t end = now_ns();

	recorder_record(lane->recorder, lane->thread,
			&(struct event){ .kind = load ? EVENT_LOAD : EVENT_STORE,
					 .end_ns = end,
					 .duration_ns = end - start,
					 .submit_ns = submitted - start,
					 .bytes = blocks * BLOCK_BYTES,
					 .descriptors = blocks,
					 .request_id = job });
}

static void *lane_run(void *arg)
{
	struct lane *lane = arg;

	for (uint64_t job = 1; !ending; job++)
		run_job(lane, job);
	return NULL;
}

static int lane_start(struct lane *lane, uint32_t blocks)
{
	uint32_t gpu_blocks = blocks / 3 > 2 ? blocks / 3 : 2;

	lane->random = now_ns() * 2 + 1 + lane->thread;
	if (pool_create(&lane->gpu, gpu_blocks) || pool_create(&lane->host, 2 * gpu_blocks))
		return -1;
	return pthread_create(&lane->id, NULL, lane_run, lane);
}

int offload_main(const struct role *role)
{
	static struct recorder recorder;
	static struct lane lanes[THREADS_MAX];
	char rank[16];

	snprintf(rank, sizeof(rank), "%u", role->rank);
	if (recorder_open(&recorder, role->truth_fd, OFFLOAD_ENGINE, rank))
		return 1;
	for (uint32_t i = 0; i < role->threads; i++) {
		lanes[i].recorder = &recorder;
		lanes[i].thread = i;
		if (lane_start(&lanes[i], role->blocks / role->threads))
			return 1;
	}
	wait_for_end();
	ending = 1;
	for (uint32_t i = 0; i < role->threads; i++)
		pthread_join(lanes[i].id, NULL);
	recorder_close(&recorder);
	return 0;
}
