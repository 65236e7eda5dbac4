/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_lttng.c - LTTng-UST: one event of 64 bytes for each transfer
 *
 *	peer_lttng ARRIVED
 *
 * peer_lttng.sh starts it in a session that records its events, and gives the command that ends the
 * session and prints how many events arrived and the sum of their bytes. LTTng reads a clock for
 * each event by itself.
 */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "peer_lttng.h"

#include <errno.h>
#include <inttypes.h>
#include <lttng/ust-version.h>
#include <stdio.h>

#include "bench.h"
#include "peer.h"

#define BURST 1024

#define TEXT(number) #number
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

static const char *arrived_command;

static inline void fill(uint64_t word[8], uint64_t now_ns, uint32_t i)
{
	word[1] = now_ns + i;
	word[2] = peer_duration_ns(i);
	word[3] = 20000 + i;
	word[5] = peer_bytes(i);
	word[6] = 1 + i;
	word[7] = i;
}

static void record_array(uint32_t count)
{
	uint64_t now_ns = bench_now_ns();
	uint64_t word[8] = { 1 };

	for (uint32_t i = 0; i < count; i++) {
		fill(word, now_ns, i);
		lttng_ust_tracepoint(kvtap_bench, array, word);
	}
}

static void record_fields(uint32_t count)
{
	uint64_t now_ns = bench_now_ns();
	uint64_t word[8] = { 1 };

	for (uint32_t i = 0; i < count; i++) {
		fill(word, now_ns, i);
		lttng_ust_tracepoint(kvtap_bench, fields, word);
	}
}

static void arrived(uint64_t *transfers, uint64_t *bytes)
{
	FILE *said = popen(arrived_command, "r");

	if (!said || fscanf(said, "%" SCNu64 " %" SCNu64, transfers, bytes) != 2)
		bench_fail(arrived_command, EIO);
	pclose(said);
}

int main(int argc, char **argv)
{
	static const struct peer_way ways[] = {
		{ "array", BURST, record_array, NULL, NULL },
		{ "fields", BURST, record_fields, NULL, NULL },
	};
	const struct peer peer = {
		VERSION(LTTNG_UST_MAJOR_VERSION, LTTNG_UST_MINOR_VERSION,
			LTTNG_UST_PATCHLEVEL_VERSION),
		ways,
		2,
		arrived,
	};

	if (argc != 2)
		return 2;
	arrived_command = argv[1];
	return peer_serve(&peer);
}
