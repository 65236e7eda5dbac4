/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roles.h - what a worker process of the demo does; each function is the process's whole life
 *
 * SIGTERM is blocked in it from the start; it ends the offload and the decode worker after the
 * transfer at hand. The prefill worker ends when the decode worker has left.
 */
#ifndef DEMO_ROLES_H
#define DEMO_ROLES_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK_BYTES ((size_t)2 << 20)  /* 16 tokens of Llama-3.1-8B in bf16 */
#define LAYER_BYTES ((size_t)64 << 10) /* the share of one of its 32 layers */
#define BLOCK_LAYERS (BLOCK_BYTES / LAYER_BYTES)
#define PREFILL_BLOCKS 32

struct role {
	const char *name; /* "offload", "prefill", "decode" */
	uint32_t rank;
	uint32_t threads; /* offload */
	uint32_t blocks;  /* offload: of both pools together */
	int truth_fd;
	int peer_fd; /* pair: a SOCK_SEQPACKET socket to the other */
	int pool_fd; /* pair: the file behind the prefill pool */
};

/* Each returns the exit status. */
int offload_main(const struct role *role);
int prefill_main(const struct role *role);
int decode_main(const struct role *role);

/* wait_for_end - until SIGTERM comes */
void wait_for_end(void);
/* random_next - xorshift64*; state not 0 */
uint64_t random_next(uint64_t *state);
/* random_below - 0 to limit - 1 */
uint32_t random_below(uint64_t *state, uint32_t limit);

#endif
