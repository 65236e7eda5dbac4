/* SPDX-License-Identifier: Apache-2.0 */
/* test_cut.c - a scrape waits for the drain's next pass, and for no more than its time-out */
#include "../exporter/cut.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "test.h"

#define NEVER_MS 60000 /* longer than a test may take */
#define REQUESTERS 4
#define REQUESTS 500

static bool is_readable(const struct cut *cut, int timeout_ms)
{
	struct pollfd polled = { .fd = cut_fd(cut), .events = POLLIN };

	return poll(&polled, 1, timeout_ms) == 1;
}

static void *request_one(void *cut)
{
	return cut_request(cut, NEVER_MS) ? cut : NULL;
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

TEST(cut_fd_is_quiet_when_nobody_asked)
{
	struct cut *cut = cut_create();

	CHECK(!is_readable(cut, 0));
	CHECK_EQ(cut_begin(cut), 0);
	cut_destroy(cut);
}

TEST(cut_request_returns_when_its_pass_has_ended)
{
	struct cut *cut = cut_create();
	pthread_t requester = start(request_one, cut);

	CHECK(is_readable(cut, NEVER_MS));
	uint64_t request = cut_begin(cut);
	CHECK_EQ(request, 1);
	CHECK(!is_readable(cut, 0));
	cut_end(cut, request);
	CHECK(join(requester));
	CHECK_EQ(cut_timeouts(cut), 0);
	cut_destroy(cut);
}

TEST(cut_request_waits_for_another_pass_when_it_came_inside_one)
{
	struct cut *cut = cut_create();
	uint64_t before = cut_begin(cut);
	pthread_t requester = start(request_one, cut);

	CHECK(is_readable(cut, NEVER_MS));
	cut_end(cut, before); /* a page that may lack what was recorded before the request */
	CHECK(is_readable(cut, 0));
	cut_end(cut, cut_begin(cut));
	CHECK(join(requester));
	cut_destroy(cut);
}

TEST(cut_request_gives_up_when_the_drain_does_not_answer)
{
	struct cut *cut = cut_create();

	CHECK(!cut_request(cut, 0));
	CHECK(!cut_request(cut, 20));
	CHECK_EQ(cut_timeouts(cut), 2);
	CHECK_EQ(cut_begin(cut), 2);
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
		CHECK(cut_request(crowd->cut, NEVER_MS));
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
