/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attack.h - clients that hold connections and do next to nothing with them
 *
 * All come from one address of the loopback network that is not 127.0.0.1, so that a limit on each
 * client is theirs alone. A connection's end tells that it was cut off, but for those who read: they
 * would see it only behind what they did not read yet, so there the kernel is asked about the
 * server's end.
 */
#ifndef KVTAP_BENCH_ATTACK_H
#define KVTAP_BENCH_ATTACK_H

#include <stdbool.h>
#include <stdint.h>

#include "bench.h"
#include "server.h"

enum attack_kind { ATTACK_READ, ATTACK_SEND, ATTACK_SILENT, ATTACK_KINDS };

extern const char *const attack_name[ATTACK_KINDS];
extern const uint32_t attack_clients[ATTACK_KINDS];

struct attack {
	struct attacker *attacker; /* [attackers] */
	uint32_t attackers;
	uint32_t refused; /* whose connection was not taken in the first place */
	uint64_t next_byte_ns, next_look_ns;
	uint32_t left[ATTACK_KINDS];		  /* not cut off yet */
	struct bench_samples cut_s[ATTACK_KINDS]; /* from connecting to being cut off */
};

/* attack_begin - all connect; the readers and senders begin */
void attack_begin(struct attack *attack, const struct server *server);
/* attack_step - send and read what is due, see who was cut off; Returns: whether anybody is left */
bool attack_step(struct attack *attack, const struct server *server);
/* attack_end - those that are left hang up */
void attack_end(struct attack *attack);
void attack_free(struct attack *attack);

#endif
