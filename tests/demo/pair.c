/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pair.c - a prefill worker that offers KV blocks and a decode worker that pulls them
 *
 * The bytes cross the process border by process_vm_readv(2), one descriptor for each layer of each
 * block. Prefill writes a pattern that depends on the request; decode checks every word of it. One
 * request in 16 names a block that prefill has withdrawn: no page is behind its address, the pull
 * fails with EFAULT, and for every second of these the notification fails too, with EPIPE. Where
 * the kernel does not allow process_vm_readv, decode reads the file behind the pool instead, and
 * the withdrawn block is past its end.
 */
#include "roles.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "truth.h"

#define PULL_BLOCKS_MAX 8
#define EXPIRE_EVERY 16 /* the 8th, the 24th, ... request */
#define LAYER_WORDS (LAYER_BYTES / sizeof(uint64_t))

/* decode to prefill: how the last pull ended (request 0: none yet), and whether it wants more */
struct report {
	uint64_t request;
	uint32_t failed;
	uint32_t more;
};

/* prefill to decode */
struct grant {
	uint64_t request;
	uint64_t pool; /* address of the pool in prefill's memory */
	pid_t pid;
	uint32_t blocks;
	uint32_t id[PULL_BLOCKS_MAX];
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	return (a * 0x9e3779b97f4a7c15ull) ^ (b * 0xc2b2ae3d27d4eb4full);
}

/* ---- prefill ------------------------------------------------------------------------------ */

/* The pool, and behind it the place of one more block where no page is. */
static char *prefill_pool(int pool_fd)
{
	size_t bytes = PREFILL_BLOCKS * BLOCK_BYTES;
	char *place =
		mmap(NULL, bytes + BLOCK_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (place == MAP_FAILED || ftruncate(pool_fd, (off_t)bytes) ||
	    mmap(place, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, pool_fd, 0) ==
		    MAP_FAILED) {
		perror("prefill worker: pool");
		return NULL;
	}
	for (uint32_t block = 0; block < PREFILL_BLOCKS; block++) {
		uint64_t *word = (uint64_t *)(void *)(place + block * BLOCK_BYTES);

		for (size_t i = 0; i < BLOCK_BYTES / sizeof(*word); i++)
			word[i] = mix(block, 1) + i % LAYER_WORDS;
	}
	return place;
}

/* The first and the last word of each layer name the request that it was computed for. */
static void stamp_block(char *pool, uint32_t block, uint64_t request)
{
	for (size_t layer = 0; layer < BLOCK_LAYERS; layer++) {
		uint64_t *word =
			(uint64_t *)(void *)(pool + block * BLOCK_BYTES + layer * LAYER_BYTES);

		word[0] = word[LAYER_WORDS - 1] = mix(request, block * BLOCK_LAYERS + layer);
	}
}

static void grant_next(struct grant *grant, uint64_t *random)
{
	grant->request++;
	grant->blocks = 1 + random_below(random, PULL_BLOCKS_MAX);
	uint32_t first = random_below(random, PREFILL_BLOCKS);
	for (uint32_t i = 0; i < grant->blocks; i++) {
		/* 13 and 32 have no common divisor: no block twice */
		grant->id[i] = (first + 13 * i) % PREFILL_BLOCKS;
		stamp_block((char *)(uintptr_t)grant->pool, grant->id[i], grant->request);
	}
	if (grant->request % EXPIRE_EVERY == EXPIRE_EVERY / 2)
		grant->id[0] = PREFILL_BLOCKS;
}

static int prefill_serve(struct recorder *recorder, struct grant *grant, int peer)
{
	uint64_t random = now_ns() | 1;
	struct report report = { 0 };

	for (;;) {
		if (recv(peer, &report, sizeof(report), 0) != sizeof(report)) {
			fprintf(stderr, "prefill worker: decode left without a word\n");
			return 1;
		}
		if (report.failed)
			recorder_record(recorder, 0,
					&(struct event){ .kind = EVENT_EXPIRED_REQUEST });
		if (!report.more)
			return 0;
		grant_next(grant, &random);
		if (send(peer, grant, sizeof(*grant), MSG_NOSIGNAL) != sizeof(*grant)) {
			perror("prefill worker: grant");
			return 1;
		}
	}
}

int prefill_main(const struct role *role)
{
	static struct recorder recorder;
	char *pool = prefill_pool(role->pool_fd);

	if (!pool || recorder_open(&recorder, role->truth_fd, PREFILL_ENGINE, "0") ||
	    recorder_declare(&recorder, PREFILL_ENGINE))
		return 1;
	/* under Yama only an ancestor may read this memory; let the driver's other children too */
	prctl(PR_SET_PTRACER, (unsigned long)getppid(), 0, 0, 0);
	struct grant grant = { .pool = (uintptr_t)pool, .pid = getpid() };
	int status = prefill_serve(&recorder, &grant, role->peer_fd);
	recorder_close(&recorder);
	return status;
}

/* ---- decode ------------------------------------------------------------------------------- */

struct decode {
	struct recorder recorder;
	int peer_fd, pool_fd;
	int gone_fd; /* a socket whose other end was closed */
	char *memory;
	struct iovec local[PULL_BLOCKS_MAX * BLOCK_LAYERS];
	struct iovec remote[PULL_BLOCKS_MAX * BLOCK_LAYERS];
	int status;
};

static _Atomic int ending;

static uint32_t describe(struct decode *decode, const struct grant *grant)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < grant->blocks; i++) {
		for (size_t layer = 0; layer < BLOCK_LAYERS; layer++) {
			uintptr_t address = (uintptr_t)grant->pool + grant->id[i] * BLOCK_BYTES +
					    layer * LAYER_BYTES;

			decode->remote[count] = (struct iovec){ (void *)address, LAYER_BYTES };
			decode->local[count] =
				(struct iovec){ decode->memory + count * LAYER_BYTES, LAYER_BYTES };
			count++;
		}
	}
	return count;
}

static ssize_t pull_through_file(struct decode *decode, const struct grant *grant, uint32_t count)
{
	ssize_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		off_t offset = (off_t)((uintptr_t)decode->remote[i].iov_base - grant->pool);
		ssize_t got =
			pread(decode->pool_fd, decode->local[i].iov_base, LAYER_BYTES, offset);

		if (got != (ssize_t)LAYER_BYTES)
			return -1;
		bytes += got;
	}
	return bytes;
}

/* Returns: 0, or 1: the transfer failed. */
static uint32_t pull(struct decode *decode, const struct grant *grant, uint32_t count)
{
	struct truth *truth = decode->recorder.truth;
	ssize_t bytes = -1;

	if (!truth->through_file) {
		bytes = process_vm_readv(grant->pid, decode->local, count, decode->remote, count,
					 0);
		if (bytes < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS))
			truth->through_file = 1;
	}
	if (truth->through_file)
		bytes = pull_through_file(decode, grant, count);
	return bytes != (ssize_t)(count * LAYER_BYTES);
}

/* Returns: how many words of one layer are not what prefill wrote. */
static uint64_t wrong_words(const uint64_t *word, uint64_t stamp, uint64_t first)
{
	uint64_t wrong = (word[0] != stamp) + (word[LAYER_WORDS - 1] != stamp);

	for (size_t i = 1; i < LAYER_WORDS - 1; i++)
		wrong += word[i] != first + i;
	return wrong;
}

static void check(struct decode *decode, const struct grant *grant)
{
	const char *memory = decode->memory;
	uint64_t wrong = 0;

	for (uint32_t i = 0; i < grant->blocks; i++) {
		for (size_t layer = 0; layer < BLOCK_LAYERS; layer++) {
			wrong += wrong_words((const uint64_t *)(const void *)memory,
					     mix(grant->request,
						 grant->id[i] * BLOCK_LAYERS + layer),
					     mix(grant->id[i], 1));
			memory += LAYER_BYTES;
		}
	}
	decode->recorder.truth->bytes_checked += grant->blocks * BLOCK_BYTES;
	decode->recorder.truth->bytes_wrong += wrong * sizeof(uint64_t);
}

/* Every second failed request has lost its notification channel as well. */
static void notify_failure(struct decode *decode, uint64_t request)
{
	bool gone = request / EXPIRE_EVERY % 2 == 0;

	if (gone && send(decode->gone_fd, &request, sizeof(request), MSG_NOSIGNAL) < 0)
		recorder_record(&decode->recorder, 0,
				&(struct event){ .kind = EVENT_FAILED_NOTIFICATION });
}

static uint32_t transfer(struct decode *decode, const struct grant *grant)
{
	uint64_t start = now_ns();
	uint32_t count = describe(decode, grant);
	uint64_t posted = now_ns();
	uint32_t failed = pull(decode, grant, count);
	uint64_t end = now_ns();

	recorder_record(&decode->recorder, 0,
			&(struct event){ .kind = EVENT_PULL,
					 .status = failed,
					 .end_ns = end,
					 .duration_ns = end - start,
					 .submit_ns = posted - start,
					 .bytes = count * LAYER_BYTES,
					 .descriptors = count,
					 .request_id = grant->request });
	if (failed)
		notify_failure(decode, grant->request);
	else
		check(decode, grant);
	return failed;
}

static void *decode_run(void *arg)
{
	struct decode *decode = arg;
	struct report report = { .more = 1 };
	struct grant grant;

	decode->status = 1;
	while (report.more) {
		if (send(decode->peer_fd, &report, sizeof(report), MSG_NOSIGNAL) !=
			    sizeof(report) ||
		    recv(decode->peer_fd, &grant, sizeof(grant), 0) != sizeof(grant)) {
			fprintf(stderr, "decode worker: prefill is gone\n");
			/* the thread that waits for SIGTERM has nothing to wait for any more */
			_exit(1);
		}
		report.request = grant.request;
		report.failed = transfer(decode, &grant);
		report.more = !ending;
	}
	if (send(decode->peer_fd, &report, sizeof(report), MSG_NOSIGNAL) == sizeof(report))
		decode->status = 0;
	return NULL;
}

static int decode_open(struct decode *decode, const struct role *role)
{
	int ends[2];

	decode->peer_fd = role->peer_fd;
	decode->pool_fd = role->pool_fd;
	decode->memory = mmap(NULL, PULL_BLOCKS_MAX * BLOCK_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (decode->memory == MAP_FAILED ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		perror("decode worker");
		return -1;
	}
	decode->gone_fd = ends[0];
	close(ends[1]);
	int error = recorder_open(&decode->recorder, role->truth_fd, DECODE_ENGINE, "0");

	return error ? error : recorder_declare(&decode->recorder, DECODE_ENGINE);
}

int decode_main(const struct role *role)
{
	static struct decode decode;
	pthread_t id;

	if (decode_open(&decode, role) || pthread_create(&id, NULL, decode_run, &decode))
		return 1;
	wait_for_end();
	ending = 1;
	pthread_join(id, NULL);
	recorder_close(&decode.recorder);
	return decode.status;
}
