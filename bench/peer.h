/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - a program that records transfers in its own way and times it; bench_peers asks it to
 *
 * It is asked by lines on its standard input, and answers each by one line on its standard output:
 *
 *	(started)	ready VERSION
 *			missing WHAT, which has to be installed; and it ends
 *	round WAY	TRANSFERS NS NS ...	in a burst; then what one of them took, burst by burst
 *	check		RECORDED ARRIVED RECORDED_BYTES ARRIVED_BYTES	since its start, warm-up included
 *
 * At the end of its input it ends, with all that it has started. A way that is made of several steps gives
 * a number for each step of each burst, the steps of a burst in a row. Here is what such programs in
 * C and C++ share; peer.py is the same for Python. Every peer records the same transfers, whose sizes go
 * through all buckets of vLLM's histogram in order: what branch prediction likes best.
 */
#ifndef KVTAP_BENCH_PEER_H
#define KVTAP_BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* peer_bytes, peer_duration_ns - of the index'th transfer of a burst */
static inline uint64_t peer_bytes(uint32_t index)
{
	return 1600000 * (uint64_t)(1 + index % 128);
}

static inline uint64_t peer_duration_ns(uint32_t index)
{
	return 1000000 + 1000 * (uint64_t)index;
}

struct peer_way {
	const char *name;
	uint32_t burst; /* transfers */
	void (*record)(uint32_t count);
	void (*drain)(void *arg); /* on the last CPU, every millisecond of a round; NULL: nobody */
	void *arg;
};

struct peer {
	const char *version;
	const struct peer_way *way; /* [ways] */
	size_t ways;
	/* what arrived of all that was recorded, and how many bytes; nothing is recorded any more */
	void (*arrived)(uint64_t *transfers, uint64_t *bytes);
};

/* peer_serve - answer until the end of the input, from the first CPU; returns main's value */
int peer_serve(const struct peer *peer);

#ifdef __cplusplus
}
#endif

#endif
