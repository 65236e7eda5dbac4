/* SPDX-License-Identifier: Apache-2.0 */
/* test_cut.c - a scrape is answered by the drain's next pass, or at its deadline */
#include "../exporter/cut.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "test.h"

#define NEVER_NS UINT64_MAX
#define REQUESTERS 4
#define REQUESTS 500

static bool is_readable(const struct cut *cut, int timeout_ms)
{
	struct pollfd polled = { .fd = cut_fd(cut), .events = POLLIN };

	return poll(&polled, 1, timeout_ms) == 1;
}

static pthread_t start(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, run, arg), 0);
	return thread;
}

static void *join(pthread_t thread)
{
	void *result;

	CHECK_EQ(pthread_join(thread, &result), 0);
	return result;
}

/* A request that notes how it was answered, and wakes who waits for that. */
struct asked {
	struct cut_waiter waiter;
	sem_t answered;
	int answers;
	bool in_time;
};

static void note_answer(struct cut_waiter *waiter, bool in_time)
{
	struct asked *asked = (struct asked *)waiter; /* its first member */

	asked->answers++;
	asked->in_time = in_time;
	sem_post(&asked->answered);
}

static void request(struct cut *cut, struct asked *asked, uint64_t deadline_ns)
{
	*asked = (struct asked){ .waiter = { .deadline_ns = deadline_ns, .answer = note_answer } };
	CHECK_EQ(sem_init(&asked->answered, 0, 0), 0);
	cut_request(cut, &asked->waiter);
}

TEST(cut_fd_is_quiet_when_nobody_asked)
{
	struct cut *cut = cut_create();

	CHECK(!is_readable(cut, 0));
	CHECK_EQ(cut_begin(cut), 0);
	CHECK(cut_expire(cut, UINT64_MAX) == UINT64_MAX);
	cut_destroy(cut);
}

TEST(cut_request_is_answered_when_its_pass_has_ended)
{
	struct cut *cut = cut_create();
	struct asked asked;

	request(cut, &asked, NEVER_NS);
	CHECK(is_readable(cut, 0));
	uint64_t number = cut_begin(cut);
	CHECK_EQ(number, 1);
	CHECK(!is_readable(cut, 0));
	CHECK_EQ(asked.answers, 0);
	cut_end(cut, number);
	CHECK_EQ(asked.answers, 1);
	CHECK(asked.in_time);
	CHECK_EQ(cut_timeouts(cut), 0);
	cut_destroy(cut);
}

TEST(cut_request_waits_for_another_pass_when_it_came_inside_one)
{
	struct cut *cut = cut_create();
	struct asked asked;

	uint64_t before = cut_begin(cut);
	request(cut, &asked, NEVER_NS);
	cut_end(cut, before); /* a page that may lack what was recorded before the request */
	CHECK_EQ(asked.answers, 0);
	CHECK(is_readable(cut, 0));
	cut_end(cut, cut_begin(cut));
	CHECK_EQ(asked.answers, 1);
	cut_destroy(cut);
}

TEST(cut_expire_gives_up_those_whose_deadline_has_come)
{
	struct cut *cut = cut_create();
	struct asked asked[3];

	request(cut, &asked[0], 100);
	request(cut, &asked[1], 300);
	request(cut, &asked[2], 200);
	CHECK_EQ(cut_expire(cut, 99), 100);
	CHECK_EQ(cut_expire(cut, 200), 300);
	CHECK(asked[0].answers == 1 && asked[1].answers == 0 && asked[2].answers == 1);
	CHECK(!asked[0].in_time && !asked[2].in_time);
	CHECK_EQ(cut_timeouts(cut), 2);
	cut_end(cut, cut_begin(cut));
	CHECK(asked[0].answers == 1 && asked[1].answers == 1 && asked[2].answers == 1);
	CHECK(asked[1].in_time);
	cut_destroy(cut);
}

TEST(cut_request_is_answered_at_once_when_the_drain_has_ended)
{
	struct cut *cut = cut_create();
	struct asked before, after;

	request(cut, &before, NEVER_NS);
	cut_end(cut, UINT64_MAX);
	CHECK_EQ(before.answers, 1);
	request(cut, &after, NEVER_NS);
	CHECK_EQ(after.answers, 1);
	CHECK(after.in_time);
	cut_destroy(cut);
}

static bool is_odd(void *context)
{
	return *(int *)context % 2;
}

TEST(cut_is_fresh_only_when_the_drain_says_so)
{
	struct cut *cut = cut_create();
	int number = 1;

	CHECK(!cut_fresh(cut));
	cut_set_fresh(cut, is_odd, &number);
	CHECK(cut_fresh(cut));
	number++;
	CHECK(!cut_fresh(cut));
	cut_destroy(cut);
}

struct crowd {
	struct cut *cut;
	_Atomic unsigned long recorded, published, stale;
	atomic_bool stop;
};

/* What is recorded before a request must be published when it returns. */
static void *request_many(void *arg)
{
	struct crowd *crowd = arg;

	for (int i = 0; i < REQUESTS; i++) {
		unsigned long mine = atomic_fetch_add(&crowd->recorded, 1) + 1;
		struct asked asked;
		request(crowd->cut, &asked, NEVER_NS);
		while (sem_wait(&asked.answered) != 0)
			;
		CHECK(asked.in_time);
		if (atomic_load(&crowd->published) < mine)
			crowd->stale++;
	}
	return NULL;
}

static void *drain(void *arg)
{
	struct crowd *crowd = arg;

	while (!crowd->stop) {
		if (!is_readable(crowd->cut, 10))
			continue;
		uint64_t request = cut_begin(crowd->cut);
		atomic_store(&crowd->published, atomic_load(&crowd->recorded));
		is_readable(crowd->cut, 1); /* a request inside the pass, where one comes */
		cut_end(crowd->cut, request);
	}
	return NULL;
}

TEST(cut_covers_what_was_recorded_before_when_many_ask)
{
	struct crowd crowd = { .cut = cut_create() };
	pthread_t requesters[REQUESTERS], drainer = start(drain, &crowd);

	for (int i = 0; i < REQUESTERS; i++)
		requesters[i] = start(request_many, &crowd);
	for (int i = 0; i < REQUESTERS; i++)
		join(requesters[i]);
	crowd.stop = true;
	join(drainer);
	CHECK_EQ(crowd.stale, 0);
	CHECK_EQ(crowd.published, REQUESTERS * REQUESTS);
	CHECK_EQ(cut_timeouts(crowd.cut), 0);
	cut_destroy(crowd.cut);
}
