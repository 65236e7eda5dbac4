/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut.h - a scrape asks the drain for a page that holds all that was recorded before it
 *
 * Requests are numbered; the drain answers all that were made before it began a pass. Nobody's
 * thread waits: who asked is told by a call.
 */
#ifndef KVTAP_EXPORTER_CUT_H
#define KVTAP_EXPORTER_CUT_H

#include <stdbool.h>
#include <stdint.h>

struct cut;

/* One request; borrowed from cut_request() until answer is called, which may free it. */
struct cut_waiter {
	uint64_t deadline_ns; /* of clock_ns(); set by the caller */
	/* set by the caller; called once, without a lock, from any of the threads named below */
	void (*answer)(struct cut_waiter *waiter, bool in_time);
	uint64_t request; /* the rest is cut.c's */
	struct cut_waiter *next;
};

struct cut *cut_create(void); /* NULL: errno says why */
void cut_destroy(struct cut *cut);

/**
 * cut_request - wake the drain; any thread
 *
 * The waiter is answered by cut_end() in the drain's thread, by cut_expire() in the caller's, or
 * inside this call when the drain has ended.
 */
void cut_request(struct cut *cut, struct cut_waiter *waiter);

/**
 * cut_expire - answer who waits past his deadline, and count it; any thread
 *
 * Returns: the earliest deadline left, UINT64_MAX when nobody waits.
 */
uint64_t cut_expire(struct cut *cut, uint64_t now_ns);

/* cut_fd - readable while a request waits; for the drain's poll(2); owned by cut */
int cut_fd(const struct cut *cut);
/* cut_begin - before a pass: the newest request; clears cut_fd */
uint64_t cut_begin(struct cut *cut);
/* cut_end - after its page is published: requests up to this one are answered; UINT64_MAX: all, ever */
void cut_end(struct cut *cut, uint64_t request);

/* cut_set_fresh - how cut_fresh() finds out, by a quick call in any thread; before the first request */
void cut_set_fresh(struct cut *cut, bool (*fresh)(void *context), void *context);
/* cut_fresh - the current page holds all that is committed: a scrape needs no pass; any thread */
bool cut_fresh(const struct cut *cut);

/* cut_timeouts - requests that were not answered in time so far; any thread */
uint64_t cut_timeouts(const struct cut *cut);

#endif
