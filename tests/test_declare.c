/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_declare.c - what may be declared, what is refused, and that a reader finds it as declared
 *
 * Errors are asked of the caller's side; what a reader does with malformed bytes is in
 * test_reader.c.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "support_segment.h"
#include "test.h"

static struct kvtap *tap;
static struct watch watch;

static void begin(void)
{
	struct kvtap_options options = small_options();

	options.overflow_bytes = 4 * SMALL_OVERFLOW;
	options.model_name = "llama \"3\"";
	options.engine = "0";
	CHECK_EQ(kvtap_open(&tap, &options), 0);
}

static void end(void)
{
	kvtap_close(tap);
	remove_segments();
}

static void end_watched(void)
{
	kvtap_close(tap);
	watch_remove(&watch);
}

/* The id, checked to be 0 exactly on error, or the error. */
static int declare(struct kvtap_family family)
{
	uint32_t id = 77;
	int rc = kvtap_family_declare(tap, &id, &family);

	CHECK(rc <= 0);
	CHECK((rc == 0) == (id != 0));
	return rc < 0 ? rc : (int)id;
}

static int declare_named(const char *name)
{
	return declare((struct kvtap_family){ .name = name, .metric = KVTAP_COUNTER });
}

static int declare_labelled(const char *name, enum kvtap_metric metric, const char *label)
{
	return declare((struct kvtap_family){
		.name = name, .metric = metric, .label_names = &label, .label_count = 1 });
}

static int declare_bounds(const char *name, const double *bounds, size_t count)
{
	return declare((struct kvtap_family){
		.name = name, .metric = KVTAP_HISTOGRAM, .bounds = bounds, .bound_count = count });
}

static int series_of(uint32_t family, const char *value)
{
	uint32_t series = 77;
	int rc = kvtap_family_series(tap, &series, family, &value, 1);

	CHECK((rc == 0) == (series != 0));
	return rc < 0 ? rc : (int)series;
}

/* ---- families ---- */

TEST(declare_same_family_again_gives_the_same_id)
{
	begin();
	CHECK_EQ(declare_named("a"), 1);
	CHECK_EQ(declare_named("b"), 2);
	CHECK_EQ(declare_named("a"), 1);
	CHECK_EQ(declare((struct kvtap_family){
			 .name = "a", .help = "another help", .metric = KVTAP_COUNTER }),
		 1);
	end();
}

TEST(declare_conflicting_families_gives_eexist)
{
	begin();
	CHECK_EQ(declare_labelled("a", KVTAP_COUNTER, "x"), 1);
	CHECK_EQ(declare_labelled("a", KVTAP_GAUGE, "x"), -EEXIST);
	CHECK_EQ(declare_labelled("a", KVTAP_COUNTER, "y"), -EEXIST);
	CHECK_EQ(declare_named("a"), -EEXIST);
	CHECK_EQ(declare_bounds("h", (double[]){ 1, 2 }, 2), 2);
	CHECK_EQ(declare_bounds("h", (double[]){ 1, 3 }, 2), -EEXIST);
	CHECK_EQ(declare_bounds("h", (double[]){ 1 }, 1), -EEXIST);
	CHECK_EQ(declare_bounds("h", NULL, 0), -EEXIST);
	CHECK_EQ(declare_bounds("h", (double[]){ 1, 2 }, 2), 2);
	end();
}

TEST(declare_takes_names_with_colons_and_no_others_outside_the_charset)
{
	static const char *const bad[] = {
		"", "1a", "a-b", "a b", "a.b", "\xc3\xa4", "a\n", "a\""
	};

	begin();
	CHECK_EQ(declare_named("vllm:kv:bytes_2"), 1);
	CHECK_EQ(declare_named(":"), 2);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(declare_named(bad[i]), -EINVAL);
	CHECK_EQ(declare_named(NULL), -EINVAL);
	end();
}

TEST(declare_takes_names_up_to_255_bytes)
{
	char name[257];

	begin();
	memset(name, 'a', sizeof(name));
	name[256] = 0;
	CHECK_EQ(declare_named(name), -EINVAL);
	name[255] = 0;
	CHECK_EQ(declare_named(name), 1);
	end();
}

TEST(declare_refuses_reserved_and_constant_labels)
{
	begin();
	CHECK_EQ(declare_labelled("a", KVTAP_HISTOGRAM, "le"), -EINVAL);
	CHECK_EQ(declare_labelled("a", KVTAP_COUNTER, "__name__"), -EINVAL);
	CHECK_EQ(declare_labelled("a", KVTAP_COUNTER, "model_name"), -EINVAL);
	CHECK_EQ(declare_labelled("a", KVTAP_COUNTER, "engine"), -EINVAL);
	CHECK_EQ(declare_labelled("a", KVTAP_COUNTER, "x:y"), -EINVAL);
	CHECK_EQ(declare_labelled("a", KVTAP_COUNTER, NULL), -EINVAL);
	CHECK_EQ(declare_labelled("a", KVTAP_COUNTER, "rank"), 1); /* not set on this tap */
	CHECK_EQ(declare_labelled("b", KVTAP_COUNTER, "le"), 2);
	end();
}

TEST(declare_refuses_a_label_twice_and_more_than_16)
{
	static const char *names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i",
				       "j", "k", "l", "m", "n", "o", "p", "q" };
	struct kvtap_family family = { .name = "x", .metric = KVTAP_COUNTER, .label_names = names };

	begin();
	family.label_count = 17;
	CHECK_EQ(declare(family), -E2BIG);
	family.label_count = 16;
	CHECK_EQ(declare(family), 1);
	family.label_names = (const char *[]){ "a", "b", "a" };
	family.label_count = 3;
	CHECK_EQ(declare(family), -EINVAL);
	family.label_names = NULL;
	CHECK_EQ(declare(family), -EINVAL);
	end();
}

TEST(declare_takes_0_to_64_buckets)
{
	double bounds[65];
	char name[8];

	begin();
	for (int i = 0; i < 65; i++)
		bounds[i] = i;
	for (size_t i = 0; i <= 64; i++) {
		snprintf(name, sizeof(name), "h%zu", i);
		CHECK_EQ(declare_bounds(name, bounds, i), i + 1);
	}
	CHECK_EQ(declare_bounds("h65", bounds, 65), -E2BIG);
	watch_open(&watch, 0);
	for (uint32_t i = 0; i <= 64; i++)
		CHECK_EQ(kvtap_reader_family(watch.reader, i + 1)->bounds, i);
	CHECK(kvtap_reader_family(watch.reader, 65)->bound[63] == 63);
	end_watched();
}

TEST(declare_refuses_bounds_that_are_not_finite_or_increasing)
{
	begin();
	CHECK_EQ(declare_bounds("h", (double[]){ 2, 1 }, 2), -EINVAL);
	CHECK_EQ(declare_bounds("h", (double[]){ 1, 1 }, 2), -EINVAL);
	CHECK_EQ(declare_bounds("h", (double[]){ NAN }, 1), -EINVAL);
	CHECK_EQ(declare_bounds("h", (double[]){ 1, NAN, 2 }, 3), -EINVAL);
	CHECK_EQ(declare_bounds("h", (double[]){ 1, INFINITY }, 2), -EINVAL);
	CHECK_EQ(declare_bounds("h", (double[]){ -INFINITY, 1 }, 2), -EINVAL);
	CHECK_EQ(declare_bounds("h", NULL, 1), -EINVAL);
	CHECK_EQ(declare_bounds("h", (double[]){ -DBL_MAX, 0, DBL_MAX }, 3), 1);
	end();
}

TEST(declare_refuses_bounds_and_metrics_and_flags_that_have_no_meaning)
{
	struct kvtap_family family = {
		.name = "x", .metric = KVTAP_GAUGE, .bounds = (double[]){ 1 }, .bound_count = 1
	};

	begin();
	CHECK_EQ(declare(family), -EINVAL);
	CHECK_EQ(declare((struct kvtap_family){ .name = "x" }), -EINVAL);
	CHECK_EQ(declare((struct kvtap_family){ .name = "x", .metric = 4 }), -EINVAL);
	CHECK_EQ(declare((struct kvtap_family){ .name = "x", .metric = KVTAP_COUNTER, .flags = 2 }),
		 -EINVAL);
	CHECK_EQ(declare((struct kvtap_family){
			 .name = "x", .metric = KVTAP_COUNTER, .flags = KVTAP_FAMILY_LAZY }),
		 1);
	end();
}

TEST(declare_takes_help_up_to_4096_bytes)
{
	struct kvtap_family family = { .name = "x", .metric = KVTAP_COUNTER };
	char help[4098];

	begin();
	memset(help, 'h', sizeof(help));
	help[4097] = 0;
	family.help = help;
	CHECK_EQ(declare(family), -E2BIG);
	help[4096] = 0;
	CHECK_EQ(declare(family), 1);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_family(watch.reader, 1)->help.bytes, 4096);
	end_watched();
}

TEST(declare_ends_at_1024_families)
{
	char name[16];

	begin();
	for (int i = 1; i <= 1024; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK_EQ(declare_named(name), i);
	}
	CHECK_EQ(declare_named("one_more"), -ENOSPC);
	CHECK_EQ(declare_named("f7"), 7);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_families(watch.reader), 1024);
	end_watched();
}

/* ---- series ---- */

TEST(declare_same_series_again_gives_the_same_id)
{
	begin();
	uint32_t family = (uint32_t)declare_labelled("a", KVTAP_COUNTER, "tier");

	CHECK_EQ(series_of(family, "x"), 1);
	CHECK_EQ(series_of(family, "y"), 2);
	CHECK_EQ(series_of(family, "x"), 1);
	CHECK_EQ(series_of(family, ""), 3);
	end();
}

static void check_text(const struct kvtap_text *text, const char *expected)
{
	CHECK_EQ(text->bytes, strlen(expected));
	CHECK(memcmp(text->data, expected, text->bytes) == 0);
}

TEST(declare_keeps_label_values_byte_for_byte)
{
	static struct kvtap_series_view view;
	char thousand[1001];
	const char *const value[] = { "\"", "a\nb", "c\\d", thousand, "\xff\xfe", "{}=,#", "" };
	const uint32_t count = sizeof(value) / sizeof(value[0]);

	memset(thousand, 'k', 1000);
	thousand[1000] = 0;
	begin();
	uint32_t family = (uint32_t)declare_labelled("a", KVTAP_COUNTER, "tier");
	for (uint32_t i = 0; i < count; i++)
		CHECK_EQ(series_of(family, value[i]), i + 1);
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_series_count(watch.reader), count);
	for (uint32_t i = 0; i < count; i++) {
		CHECK(kvtap_reader_series(watch.reader, i + 1, &view));
		check_text(&view.value[0], value[i]);
	}
	CHECK(!kvtap_reader_series(watch.reader, count + 1, &view));
	CHECK(!kvtap_reader_series(watch.reader, 0, &view));
	end_watched();
}

TEST(declare_takes_label_values_up_to_4096_bytes)
{
	static char value[4098];

	begin();
	uint32_t family = (uint32_t)declare_labelled("a", KVTAP_COUNTER, "tier");
	memset(value, 'v', 4097);
	CHECK_EQ(series_of(family, value), -E2BIG);
	value[4096] = 0;
	CHECK_EQ(series_of(family, value), 1);
	end();
}

TEST(declare_constant_label_of_4097_bytes_fails_to_open)
{
	static char value[4098];
	struct kvtap_options options = small_options();

	memset(value, 'v', 4097);
	options.model_name = value;
	CHECK_EQ(kvtap_open(&tap, &options), -E2BIG);
	kvtap_close(tap);
}

TEST(declare_refuses_series_that_do_not_fit_their_family)
{
	uint32_t series;
	const char *two[] = { "x", "y" }, *hole[] = { NULL };

	begin();
	uint32_t family = (uint32_t)declare_labelled("a", KVTAP_COUNTER, "tier");
	CHECK_EQ(kvtap_family_series(tap, &series, family, two, 2), -EINVAL);
	CHECK_EQ(kvtap_family_series(tap, &series, family, NULL, 0), -EINVAL);
	CHECK_EQ(kvtap_family_series(tap, &series, family, NULL, 1), -EINVAL);
	CHECK_EQ(kvtap_family_series(tap, &series, family, hole, 1), -EINVAL);
	CHECK_EQ(series, 0);
	CHECK_EQ(series_of(family + 1, "x"), -EINVAL);
	CHECK_EQ(series_of(0, "x"), -EINVAL);
	CHECK_EQ(series_of(UINT32_MAX, "x"), -EINVAL);
	CHECK_EQ(kvtap_kind_series(tap, &series, 1, NULL, 0), -EINVAL);
	CHECK_EQ(kvtap_builtin(tap, &series, "vllm:none", NULL), -EINVAL);
	end();
}

TEST(declare_refuses_a_builtin_whose_name_another_kind_has)
{
	struct kvtap_family family = { .name = "moved", .metric = KVTAP_COUNTER };
	struct kvtap_feed feed = { .field = KVTAP_FIELD_ONE };
	struct kvtap_kind kind = { .name = KVTAP_NIXL_TRANSFER, .feeds = &feed, .feed_count = 1 };
	uint32_t id, series;

	begin();
	CHECK_EQ(kvtap_family_declare(tap, &feed.family, &family), 0);
	CHECK_EQ(kvtap_kind_declare(tap, &id, &kind), 0);
	CHECK_EQ(kvtap_builtin(tap, &series, KVTAP_NIXL_TRANSFER, NULL), -EEXIST);
	CHECK_EQ(series, 0);
	end();
}

TEST(declare_thousands_of_series_a_reader_finds_them_all)
{
	static struct kvtap_series_view view;
	char value[64];

	begin();
	uint32_t family = (uint32_t)declare_labelled("a", KVTAP_COUNTER, "tier");
	watch_open(&watch, 0);
	for (uint32_t i = 1; i <= 8000; i++) {
		snprintf(value, sizeof(value), "the tier with the number %u", i);
		CHECK_EQ(series_of(family, value), i);
		kvtap_add(tap, i, i);
		if (i % 16 == 0) /* also while the dictionary grows */
			CHECK_EQ(watch_drain(&watch), 16);
	}
	CHECK_EQ(kvtap_reader_series_count(watch.reader), 8000);
	for (uint32_t i = 1; i <= 8000; i++) {
		snprintf(value, sizeof(value), "the tier with the number %u", i);
		CHECK(kvtap_reader_series(watch.reader, i, &view));
		check_text(&view.value[0], value);
		CHECK(total_double(watch_total(&watch, i), 0) == i);
	}
	end_watched();
}

/* 65,536 series or 8 MiB of dictionary, whichever is first; what was declared before stays. */
TEST(declare_ends_when_the_dictionary_is_full)
{
	static char value[4001];
	uint32_t series = 1, last = 0;
	int rc;

	begin();
	uint32_t family = (uint32_t)declare_labelled("a", KVTAP_COUNTER, "tier");
	memset(value, 'v', 4000);
	for (;;) {
		snprintf(value, sizeof(value), "%07u", last);
		value[7] = 'v';
		rc = kvtap_family_series(tap, &series, family, (const char *[]){ value }, 1);
		if (rc < 0)
			break;
		last = series;
	}
	CHECK_EQ(rc, -ENOSPC);
	CHECK(last > 2000);
	CHECK_EQ(series, 0);
	kvtap_add(tap, last, 1);
	kvtap_add(tap, series, 1);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 1);
	CHECK_EQ(kvtap_reader_series_count(watch.reader), last);
	end_watched();
}

/* ---- kinds ---- */

static int declare_kind(const struct kvtap_feed *feeds, size_t count, const char *label)
{
	struct kvtap_kind kind = { .name = "move", .feeds = feeds, .feed_count = count };
	uint32_t id = 77;

	kind.label_names = &label;
	kind.label_count = label ? 1 : 0;
	int rc = kvtap_kind_declare(tap, &id, &kind);
	CHECK((rc == 0) == (id != 0));
	return rc < 0 ? rc : (int)id;
}

TEST(declare_refuses_kinds_with_unknown_families_fields_or_conditions)
{
	begin();
	uint32_t counter = (uint32_t)declare_named("c");
	uint32_t gauge =
		(uint32_t)declare((struct kvtap_family){ .name = "g", .metric = KVTAP_GAUGE });
	const struct kvtap_feed bad[] = {
		{ .family = 0, .field = KVTAP_FIELD_ONE },
		{ .family = gauge + 1, .field = KVTAP_FIELD_ONE },
		{ .family = UINT32_MAX, .field = KVTAP_FIELD_ONE },
		{ .family = gauge, .field = KVTAP_FIELD_ONE },
		{ .family = counter, .field = 0 },
		{ .family = counter, .field = KVTAP_FIELD_THROUGHPUT + 1 },
		{ .family = counter, .field = KVTAP_FIELD_ONE, .when = 3 },
		{ .family = counter, .field = KVTAP_FIELD_ONE, .when = KVTAP_WHEN_STATUS - 1 },
		{ .family = counter, .field = KVTAP_FIELD_ONE, .when = 256 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(declare_kind(&bad[i], 1, NULL), -EINVAL);
	CHECK_EQ(declare_kind(NULL, 0, NULL), -EINVAL);
	end();
}

TEST(declare_takes_32_feeds_and_no_more)
{
	struct kvtap_feed feeds[33];

	begin();
	for (int i = 0; i < 33; i++)
		feeds[i] = (struct kvtap_feed){ .family = 1, .field = KVTAP_FIELD_BYTES };
	CHECK_EQ(declare_named("c"), 1);
	CHECK_EQ(declare_kind(feeds, 33, NULL), -E2BIG);
	CHECK_EQ(declare_kind(feeds, 32, NULL), 1);
	end();
}

TEST(declare_same_kind_again_gives_the_same_id_and_another_eexist)
{
	begin();
	uint32_t family = (uint32_t)declare_labelled("a", KVTAP_COUNTER, "tier");
	struct kvtap_feed feed = { .family = family, .field = KVTAP_FIELD_BYTES };

	CHECK_EQ(declare_kind(&feed, 1, "tier"), 1);
	CHECK_EQ(declare_kind(&feed, 1, "tier"), 1);
	feed.field = KVTAP_FIELD_DURATION;
	CHECK_EQ(declare_kind(&feed, 1, "tier"), -EEXIST);
	CHECK_EQ(declare_kind(&feed, 1, NULL), -EINVAL); /* nobody gives a value for tier */
	end();
}

TEST(declare_kind_mixes_fixed_label_values_with_its_own)
{
	static struct kvtap_series_view view;
	const char *const names[] = { "direction", "tier" }, *const fixed[] = { "load", NULL };
	uint32_t family, series;

	begin();
	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){ .name = "a",
							      .metric = KVTAP_COUNTER,
							      .label_names = names,
							      .label_count = 2 }),
		 0);
	struct kvtap_feed feeds[] = {
		{ .family = family, .field = KVTAP_FIELD_BYTES, .fixed_values = fixed },
		{ .family = (uint32_t)declare_named("b"), .field = KVTAP_FIELD_ONE },
	};
	CHECK_EQ(declare_kind(feeds, 2, "tier"), 1);
	CHECK_EQ(kvtap_kind_series(tap, &series, 1, (const char *[]){ "disk" }, 1), 0);
	watch_open(&watch, 0);
	CHECK(kvtap_reader_series(watch.reader, series, &view));
	CHECK_EQ(view.plan->cells, 2);
	check_text(&view.value[0], "load");
	check_text(&view.value[1], "disk");
	end_watched();
}

TEST(declare_constants_are_read_first)
{
	begin();
	watch_open(&watch, 0);
	CHECK_EQ(kvtap_reader_constants(watch.reader), 2);
	check_text(&kvtap_reader_constant(watch.reader, 0)[0], "model_name");
	check_text(&kvtap_reader_constant(watch.reader, 0)[1], "llama \"3\"");
	check_text(&kvtap_reader_constant(watch.reader, 1)[0], "engine");
	end_watched();
}

/* ---- values ---- */

TEST(declare_and_record_refuses_values_without_meaning)
{
	struct kvtap_stats stats;
	struct kvtap_losses losses;

	begin();
	uint32_t c = counter_series(tap, "c"), g = gauge_series(tap, "g");
	uint32_t h = histogram_series(tap, "h", (double[]){ 1 }, 1);
	kvtap_add(tap, c, NAN);
	kvtap_add(tap, c, -1);
	kvtap_add(tap, c, INFINITY);
	kvtap_observe(tap, h, NAN);
	kvtap_observe(tap, h, -INFINITY);
	kvtap_add(tap, 0, 1);
	kvtap_set(tap, 0, 1);
	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = 0, .bytes = 9 });
	kvtap_add(tap, c, 0);
	kvtap_add(tap, c, -0.0);
	kvtap_set(tap, g, -INFINITY);
	kvtap_observe(tap, h, -5);
	kvtap_stats(tap, &stats);
	CHECK_EQ(stats.refused_records, 8);
	CHECK_EQ(stats.lost_records + stats.lost_bytes + stats.ignored_calls, 0);
	watch_open(&watch, 0);
	CHECK_EQ(watch_drain(&watch), 4);
	CHECK_EQ(watch_total(&watch, h)->cell[0].bucket[0], 1);
	CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
	CHECK_EQ(losses.refused_records, 8);
	end_watched();
}

/* ---- threads ---- */

#define EACH 300

static void *declare_shared(void *unused)
{
	char value[32];

	(void)unused;
	for (int i = 0; i < EACH; i++) {
		snprintf(value, sizeof(value), "c%d", i);
		uint32_t family = (uint32_t)declare_labelled(value, KVTAP_COUNTER, "tier");
		int series = series_of(family, value);
		CHECK(series > 0);
		kvtap_add(tap, (uint32_t)series, 1);
	}
	return NULL;
}

TEST(declare_from_8_threads_while_a_reader_follows)
{
	pthread_t thread[8];

	begin();
	watch_open(&watch, 0);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, declare_shared, NULL), 0);
	while (watch.records + watch.folded < 8 * EACH)
		watch_drain(&watch);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	CHECK_EQ(watch.wrong, 0);
	CHECK_EQ(kvtap_reader_families(watch.reader), EACH);
	CHECK_EQ(kvtap_reader_series_count(watch.reader), EACH);
	for (uint32_t i = 1; i <= EACH; i++)
		CHECK(total_double(watch_total(&watch, i), 0) == 8);
	end_watched();
}
