/* SPDX-License-Identifier: Apache-2.0 */
/* test_exemplar.c - which transfer stands for its histogram, and for how long */
#include "../exporter/exemplar.h"

#include "test.h"

#define REAL_NS 1700000000000000000

static void offer(struct exemplars *exemplars, uint64_t request_id, uint64_t duration_ns)
{
	struct kvtap_record record = { .request_id = request_id,
				       .duration_ns = duration_ns,
				       .end_ns = 7 };

	exemplar_offer(exemplars, &record, 0.5, 3);
}

TEST(exemplar_is_the_slowest_that_names_a_request)
{
	struct exemplars exemplars = { 0 };

	CHECK(!exemplar_turn(&exemplars, 10, REAL_NS));
	offer(&exemplars, 0, 100);
	CHECK(!exemplar_turn(&exemplars, 10, REAL_NS));
	offer(&exemplars, 1, 5);
	offer(&exemplars, 2, 50);
	offer(&exemplars, 3, 50);
	offer(&exemplars, 0, 100);
	CHECK(exemplar_turn(&exemplars, 10, REAL_NS));
	CHECK_EQ(exemplars.shown.request_id, 2);
	CHECK_EQ(exemplars.shown.duration_ns, 50);
	CHECK_EQ(exemplars.shown.bucket, 3);
	CHECK(exemplars.shown.value == 0.5);
	CHECK_EQ(exemplars.shown.end_ns, REAL_NS - 3);
}

TEST(exemplar_stays_until_its_window_is_over)
{
	struct exemplars exemplars = { 0 };

	offer(&exemplars, 1, 50);
	CHECK(exemplar_turn(&exemplars, 10, REAL_NS));
	offer(&exemplars, 2, 500);
	offer(&exemplars, 3, 5);
	CHECK(!exemplar_turn(&exemplars, EXEMPLAR_WINDOW_NS - 1, REAL_NS));
	CHECK_EQ(exemplars.shown.request_id, 1);
	CHECK(exemplar_turn(&exemplars, EXEMPLAR_WINDOW_NS, REAL_NS));
	CHECK_EQ(exemplars.shown.request_id, 2);
}

TEST(exemplar_stays_when_none_came_since)
{
	struct exemplars exemplars = { 0 };

	offer(&exemplars, 1, 50);
	CHECK(exemplar_turn(&exemplars, 10, REAL_NS));
	CHECK(!exemplar_turn(&exemplars, 5 * EXEMPLAR_WINDOW_NS, REAL_NS));
	CHECK_EQ(exemplars.shown.request_id, 1);
	offer(&exemplars, 2, 5);
	CHECK(exemplar_turn(&exemplars, 5 * EXEMPLAR_WINDOW_NS, REAL_NS));
	CHECK_EQ(exemplars.shown.request_id, 2);
}

TEST(exemplar_ends_now_when_the_worker_says_later)
{
	struct exemplars exemplars = { 0 };

	offer(&exemplars, 1, 50);
	CHECK(exemplar_turn(&exemplars, 5, REAL_NS));
	CHECK_EQ(exemplars.shown.end_ns, REAL_NS);
}
