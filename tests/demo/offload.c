/* SPDX-License-Identifier: Apache-2.0 */
/*
 * offload.c - a worker that moves batches of KV blocks between a GPU's pool and a host pool
 *
 * With a GPU they are device memory and pinned host memory, a stream copies and a span times each
 * job. Without one both are host memory and the copies are memcpy: the shape of an offload. Each
 * thread has its own slice of both pools, as a rank has its own device.
 */
#include "roles.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "gpu.h"
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
	struct gpu_lane device; /* spans NULL: there is no GPU */
	pthread_t id;
};

static struct cuda_driver driver;
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

static void pool_number(struct pool *pool, uint32_t blocks)
{
	pool->blocks = blocks > 256 ? 256 : blocks;
	for (uint32_t i = 0; i < pool->blocks; i++)
		pool->order[i] = i;
}

static void pools_create_on_device(struct lane *lane, uint32_t gpu_blocks)
{
	pool_number(&lane->gpu, gpu_blocks);
	pool_number(&lane->host, 2 * gpu_blocks);
	lane->gpu.memory = gpu_device_memory(&lane->device, lane->gpu.blocks * BLOCK_BYTES);
	lane->host.memory = gpu_pinned_memory(&lane->device, lane->host.blocks * BLOCK_BYTES);
}

static int pool_create(struct pool *pool, uint32_t blocks)
{
	pool_number(pool, blocks);
	pool->memory = mmap(NULL, pool->blocks * BLOCK_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool->memory == MAP_FAILED) {
		perror("offload worker: pool");
		return -1;
	}
	for (uint32_t i = 0; i < pool->blocks; i++)
		memset(pool->memory + i * BLOCK_BYTES, (int)i + 1, BLOCK_BYTES);
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

static void copy_blocks(const struct gpu_lane *device, const struct pool *to,
			const struct pool *from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		char *target = to->memory + to->order[i] * BLOCK_BYTES;
		const char *source = from->memory + from->order[i] * BLOCK_BYTES;

		if (device->spans)
			gpu_copy(device, target, source, BLOCK_BYTES);
		else
			memcpy(target, source, BLOCK_BYTES);
	}
}

static void copy(struct lane *lane, bool load, uint32_t blocks)
{
	if (load)
		copy_blocks(&lane->device, &lane->gpu, &lane->host, blocks);
	else
		copy_blocks(&lane->device, &lane->host, &lane->gpu, blocks);
}

static void copy_on_device(struct lane *lane, const struct event *event)
{
	struct gpu_lane *device = &lane->device;
	struct kvtap_span *span = kvtap_span_begin(device->spans, device->stream,
						   lane->recorder->series[event->kind]);

	copy(lane, event->kind == EVENT_LOAD, event->descriptors);
	kvtap_span_add(span, event->bytes, event->descriptors);
	kvtap_span_job(span, event->request_id);
	kvtap_span_end(span);
	gpu_wait(device);
}

static void run_job(struct lane *lane, uint64_t job)
{
	uint32_t blocks = 1 + random_below(&lane->random, lane->gpu.blocks);
	bool load = random_below(&lane->random, 2);
	struct event event = { .kind = load ? EVENT_LOAD : EVENT_STORE,
			       .bytes = blocks * BLOCK_BYTES,
			       .descriptors = blocks,
			       .request_id = job };
	uint64_t start = now_ns();

	pool_pick(&lane->gpu, &lane->random, blocks);
	pool_pick(&lane->host, &lane->random, blocks);
	event.submit_ns = now_ns() - start;
	if (lane->device.spans)
		copy_on_device(lane, &event);
	else
		copy(lane, load, blocks);
	event.end_ns = now_ns();
	event.duration_ns = event.end_ns - start;
	if (lane->device.spans)
		recorder_harvest(lane->recorder, lane->thread, &event, lane->device.spans);
	else
		recorder_record(lane->recorder, lane->thread, &event);
}

static void *lane_run(void *arg)
{
	struct lane *lane = arg;

	if (lane->device.spans)
		gpu_lane_enter(&lane->device);
	for (uint64_t job = 1; !ending; job++)
		run_job(lane, job);
	return NULL;
}

static int lane_start(struct lane *lane, uint32_t blocks)
{
	uint32_t gpu_blocks = blocks / 3 > 2 ? blocks / 3 : 2;

	lane->random = now_ns() * 2 + 1 + lane->thread;
	if (driver.context) {
		gpu_lane_open(&lane->device, &driver, lane->recorder->tap);
		pools_create_on_device(lane, gpu_blocks);
		if (lane->thread == 0 && gpu_declare(&lane->device, lane->recorder))
			return -1;
	} else if (pool_create(&lane->gpu, gpu_blocks) ||
		   pool_create(&lane->host, 2 * gpu_blocks)) {
		return -1;
	}
	return pthread_create(&lane->id, NULL, lane_run, lane);
}

static void lane_stop(struct lane *lane)
{
	pthread_join(lane->id, NULL);
	if (lane->device.spans)
		gpu_lane_close(&lane->device);
}

int offload_main(const struct role *role)
{
	static struct recorder recorder;
	static struct lane lanes[THREADS_MAX];
	char rank[16];

	snprintf(rank, sizeof(rank), "%u", role->rank);
	if (recorder_open(&recorder, role->truth_fd, OFFLOAD_ENGINE, rank))
		return 1;
	if (!gpu_open(&driver, recorder.truth) && recorder_declare(&recorder, OFFLOAD_ENGINE))
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
		lane_stop(&lanes[i]);
	recorder_close(&recorder);
	return 0;
}
