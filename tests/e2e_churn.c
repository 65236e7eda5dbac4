/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e2e_churn.c - workers come and go, each with label sets that nobody had before
 *
 *	e2e_churn SECONDS
 *
 * Four at a time, one new each quarter of a second for each of them; every other one is killed, the
 * others close their tap. Prints how many there were. Not a test: tests/soak.sh runs it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support_load.h"
#include "test.h"

#define ALIVE 4
#define SHARDS 4
#define RECORDS 2000

static const struct timespec turn = { .tv_nsec = 250000000 / ALIVE };

static _Noreturn void live(unsigned long number)
{
	static struct load_truth truth;
	uint64_t seed = number + 1;
	struct load load;
	char engine[24];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(engine, sizeof(engine), "%lu", number);
	load_open(&load, &(struct kvtap_options){ .engine = engine, .ring_slots = 256 }, SHARDS);
	load_record(&load, &truth, &seed, RECORDS);
	for (int i = 0; i < ALIVE || number % 2 == 0; i++)
		nanosleep(&turn, NULL); /* the even ones until they are killed */
	kvtap_close(load.tap);
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned long turns = argc == 2 ? (unsigned long)atol(argv[1]) * 4 * ALIVE : 0;
	pid_t pid[ALIVE] = { 0 };

	if (!turns) {
		fprintf(stderr, "usage: e2e_churn SECONDS\n");
		return 2;
	}
	for (unsigned long i = 0; i < turns + ALIVE; i++) {
		pid_t *place = &pid[i % ALIVE];

		if (*place) {
			if (i % 2 == 0)
				kill(*place, SIGKILL);
			waitpid(*place, NULL, 0);
		}
		*place = i < turns ? fork() : 0;
		CHECK(*place >= 0);
		if (*place == 0 && i < turns)
			live(i);
		nanosleep(&turn, NULL);
	}
	printf("%lu\n", turns);
	return 0;
}
