/* SPDX-License-Identifier: Apache-2.0 */
/* test_paired.c - the statistics of benches, on times whose answer is known */
#include "test.h"

#include "../bench/paired.h"

#define ROUNDS 100
#define TRIALS 300

/* What three things took in each round: they share the machine's drift, and have noise of their own. */
struct times {
	double off[ROUNDS], again[ROUNDS], on[ROUNDS];
};

static double random_unit(uint64_t *state)
{
	return (double)(paired_random(state) >> 11) / 9007199254740992.0;
}

/* About normal, with a deviation of 1, and one in 16 far out, as a preemption is. */
static double noise(uint64_t *state)
{
	double sum = -6;

	for (int i = 0; i < 12; i++)
		sum += random_unit(state);
	return paired_random_below(state, 16) ? sum : 20 * random_unit(state);
}

static void time_all(struct times *times, double effect, uint64_t *state)
{
	for (int i = 0; i < ROUNDS; i++) {
		double drift = 100 + 50 * random_unit(state);

		times->off[i] = drift * (1 + 0.01 * noise(state));
		times->again[i] = drift * (1 + 0.01 * noise(state));
		times->on[i] = drift * effect * (1 + 0.01 * noise(state));
	}
}

static bool told_apart(double effect, uint64_t *state)
{
	struct paired control, ratio;
	struct times times;

	time_all(&times, effect, state);
	paired_ratio(&control, times.again, times.off, ROUNDS, state);
	paired_ratio(&ratio, times.on, times.off, ROUNDS, state);
	return !paired_same(&ratio, &control);
}

static int told_apart_of_trials(double effect)
{
	uint64_t state = 1;
	int trials = 0;

	for (int i = 0; i < TRIALS; i++)
		trials += told_apart(effect, &state);
	return trials;
}

TEST(paired_ratio_is_exact_when_only_the_machine_drifts)
{
	uint64_t state = 1;
	struct paired ratio;
	double under[ROUNDS], over[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		under[i] = 1 << paired_random_below(&state, 20);
		over[i] = 1.25 * under[i];
	}
	paired_ratio(&ratio, over, under, ROUNDS, &state);
	CHECK(ratio.low == 1.25 && ratio.p50 == 1.25 && ratio.high == 1.25);
}

TEST(paired_ratio_is_the_middle_one_of_the_rounds)
{
	static const double over[] = { 9, 1, 300, 2, 4 }, under[] = { 3, 1, 2, 4, 2 };
	uint64_t state = 1;
	struct paired ratio;

	paired_ratio(&ratio, over, under, 5, &state);
	CHECK(ratio.p50 == 2);
	CHECK(ratio.low == 0.5 && ratio.high == 150); /* 5 rounds can't say more */
}

TEST(paired_interval_has_the_true_ratio_in_it_19_times_of_20)
{
	uint64_t state = 1;
	int inside = 0;

	for (int i = 0; i < TRIALS; i++) {
		struct paired ratio;
		struct times times;

		time_all(&times, 1.05, &state);
		paired_ratio(&ratio, times.on, times.off, ROUNDS, &state);
		inside += ratio.low <= 1.05 && 1.05 <= ratio.high;
	}
	CHECK(inside >= TRIALS * 92 / 100);
	CHECK(inside <= TRIALS * 98 / 100);
}

TEST(paired_same_is_true_10_times_of_11_when_there_is_no_difference)
{
	int trials = told_apart_of_trials(1);

	CHECK(trials >= TRIALS / 20);
	CHECK(trials <= TRIALS / 7);
}

TEST(paired_same_is_false_when_the_difference_is_larger_than_the_noise)
{
	CHECK(told_apart_of_trials(1.01) >= TRIALS * 99 / 100);
	CHECK(told_apart_of_trials(0.99) >= TRIALS * 99 / 100);
}

TEST(paired_shuffle_puts_each_index_anywhere_once)
{
	uint64_t state = 1;
	uint32_t first[4] = { 0 };

	for (int i = 0; i < 4000; i++) {
		uint32_t order[4], seen = 0;

		paired_shuffle(&state, order, 4);
		for (int j = 0; j < 4; j++)
			seen |= 1u << order[j];
		CHECK_EQ(seen, 15);
		first[order[0]]++;
	}
	for (int i = 0; i < 4; i++)
		CHECK(first[i] > 850 && first[i] < 1150);
}
