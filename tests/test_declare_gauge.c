/* SPDX-License-Identifier: Apache-2.0 */
/* test_declare_gauge.c - gauge modes from a worker's declaration to a reader */
#include <errno.h>
#include <stdio.h>

#include "support_segment.h"
#include "test.h"

static int declare(struct kvtap *tap, const struct kvtap_family *family)
{
	uint32_t id;
	int rc = kvtap_family_declare(tap, &id, family);

	return rc < 0 ? rc : (int)id;
}

TEST(declare_gauge_gives_a_reader_the_mode_and_the_flags)
{
	struct kvtap_family family = { .metric = KVTAP_GAUGE };
	struct kvtap *tap = small_tap();
	struct watch watch;
	char name[16];

	family.name = name;
	for (int i = 0; i <= KVTAP_GAUGE_ALL; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		family.gauge_mode = (enum kvtap_gauge_mode)i;
		family.flags = i % 3 ? KVTAP_FAMILY_LAZY : 0;
		CHECK_EQ(declare(tap, &family), i + 1);
	}
	watch_open(&watch, 0);
	for (int i = 0; i <= KVTAP_GAUGE_ALL; i++) {
		const struct kvtap_family_view *view =
			kvtap_reader_family(watch.reader, (uint32_t)i + 1);

		CHECK_EQ(view->gauge_mode, i);
		CHECK_EQ(view->flags, i % 3 ? KVTAP_FAMILY_LAZY : 0);
	}
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(declare_gauge_again_with_another_mode_gives_eexist)
{
	struct kvtap_family family = { .name = "x", .metric = KVTAP_GAUGE };
	struct kvtap *tap = small_tap();

	CHECK_EQ(declare(tap, &family), 1);
	family.gauge_mode = KVTAP_GAUGE_SUM;
	CHECK_EQ(declare(tap, &family), -EEXIST);
	family.gauge_mode = KVTAP_GAUGE_LIVEMOSTRECENT; /* what it is without a word */
	CHECK_EQ(declare(tap, &family), 1);
	kvtap_close(tap);
	remove_segments();
}

TEST(declare_gauge_refuses_modes_that_have_no_meaning)
{
	static const char *const pid[] = { "pid" };
	struct kvtap_family family = { .name = "x",
				       .metric = KVTAP_COUNTER,
				       .gauge_mode = KVTAP_GAUGE_SUM };
	struct kvtap *tap = small_tap();

	CHECK_EQ(declare(tap, &family), -EINVAL);
	family.metric = KVTAP_GAUGE;
	family.gauge_mode = (enum kvtap_gauge_mode)(KVTAP_GAUGE_ALL + 1);
	CHECK_EQ(declare(tap, &family), -EINVAL);
	family.gauge_mode = KVTAP_GAUGE_ALL; /* adds a label pid of its own */
	family.label_names = pid;
	family.label_count = 1;
	CHECK_EQ(declare(tap, &family), -EINVAL);
	family.gauge_mode = KVTAP_GAUGE_SUM;
	CHECK_EQ(declare(tap, &family), 1);
	kvtap_close(tap);
	remove_segments();
}
