/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paired.h - does one way to do a thing take longer than another, and how sure is that?
 *
 * Both were timed once a round, one soon after the other, so that what else the machine does in a
 * round is in both and leaves their ratio. The median of the ratios is the answer; its interval is a
 * bootstrap: rounds are drawn with replacement, as often as there are, and the median of each such
 * draw is kept. Knows nothing of what was timed.
 */
#ifndef KVTAP_BENCH_PAIRED_H
#define KVTAP_BENCH_PAIRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAIRED_DRAWS 2000

struct paired {
	double p50;	  /* median over rounds of the ratio in a round */
	double low, high; /* 95 % of the draws had their median in between */
};

/* paired_random - splitmix64, from any seed; below: an equal chance for each number under the limit */
uint64_t paired_random(uint64_t *state);
uint32_t paired_random_below(uint64_t *state, uint32_t limit);
/* paired_shuffle - indices: [count], becomes a random order of 0 to count - 1 */
void paired_shuffle(uint64_t *state, uint32_t *indices, uint32_t count);

/**
 * paired_ratio - of what was timed in the same rounds
 * @ratio: over / under
 * @over, @under: [rounds], at least 1; all of @under above 0
 * @state: of paired_random; the same one gives the same interval
 */
void paired_ratio(struct paired *ratio, const double *over, const double *under, uint32_t rounds,
		  uint64_t *state);

/**
 * paired_same - can it not be told from the control?
 * @control: the same thing over itself, in the same rounds and over the same times as @ratio
 *
 * True if the median is inside the control's interval. Of things that make no difference one in
 * eleven is not: both medians have the noise of what they are over in common, which makes that
 * fewer than the one in six of two medians that have nothing in common, and more than one in twenty.
 */
bool paired_same(const struct paired *ratio, const struct paired *control);

/* paired_print_ratio - both with their intervals, as keys of a line */
void paired_print_ratio(const struct paired *ratio, const struct paired *control);
/* paired_print_more - the median of how much longer it took in a round; times in us */
void paired_print_more(const double *over_us, const double *under_us, uint32_t rounds);
/* paired_print_verdict - by how much they differ, if they do */
void paired_print_verdict(const struct paired *ratio, const struct paired *control);

#endif
