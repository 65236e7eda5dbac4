/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - see peer.h */
#include "peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

#define BURSTS 40 /* that are measured, a round */
#define WARM_UP 4
#define PERIOD_NS 1000000

struct recorded {
	uint64_t transfers, bytes;
};

static double time_burst(const struct peer_way *way, struct bench_timer *timer,
			 struct recorded *recorded)
{
	uint64_t began_ns = bench_now_ns();
	uint64_t took_ns;

	way->record(way->burst);
	took_ns = bench_now_ns() - began_ns;
	if (way->drain)
		bench_timer_wait(timer);
	recorded->transfers += way->burst;
	for (uint32_t i = 0; i < way->burst; i++)
		recorded->bytes += peer_bytes(i);
	return (double)took_ns / way->burst;
}

static void run_round(const struct peer_way *way, struct recorded *recorded)
{
	struct bench_timer timer = {
		.call = way->drain,
		.arg = way->arg,
		.period_ns = PERIOD_NS,
		.cpu = bench_cpus() - 1,
	};

	if (way->drain)
		bench_timer_start(&timer);
	for (int i = 0; i < WARM_UP; i++)
		time_burst(way, &timer, recorded);
	printf("%" PRIu32, way->burst);
	for (int i = 0; i < BURSTS; i++)
		printf(" %.2f", time_burst(way, &timer, recorded));
	printf("\n");
	if (way->drain)
		bench_timer_stop(&timer);
}

static const struct peer_way *find_way(const struct peer *peer, const char *name)
{
	for (size_t i = 0; i < peer->ways; i++)
		if (strcmp(peer->way[i].name, name) == 0)
			return &peer->way[i];
	bench_fail(name, 22);
}

int peer_serve(const struct peer *peer)
{
	struct recorded recorded = { 0 };
	uint64_t arrived, arrived_bytes;
	char line[64], name[32];

	bench_pin(0);
	printf("ready %s\n", peer->version);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "round %31s", name) == 1) {
			run_round(find_way(peer, name), &recorded);
		} else {
			peer->arrived(&arrived, &arrived_bytes);
			printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
			       recorded.transfers, arrived, recorded.bytes, arrived_bytes);
		}
		fflush(stdout);
	}
	return 0;
}
