/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_connector.c - connectors, roles and units: declared, refused, read back, and hostile
 *
 * A hostile segment is a good one with some bytes of its dictionary written over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

static struct kvtap *tap;
static struct watch watch;

static void begin(void)
{
	tap = small_tap();
}

static void end(void)
{
	kvtap_close(tap);
	remove_segments();
}

/* The id, or the error. */
static int connect_named(const char *name, enum kvtap_summary summary)
{
	uint32_t id = 77;
	int rc = kvtap_connector_declare(tap, &id,
					 &(struct kvtap_connector){ .name = name,
								    .summary = summary });

	CHECK((rc == 0) == (id != 0));
	return rc < 0 ? rc : (int)id;
}

static int declare(struct kvtap_family family)
{
	uint32_t id;
	int rc = kvtap_family_declare(tap, &id, &family);

	return rc < 0 ? rc : (int)id;
}

#define DECLARE(...)                                                                               \
	declare((struct kvtap_family){ .name = "c", .metric = KVTAP_COUNTER, __VA_ARGS__ })

static int declare_kind(uint32_t connector, enum kvtap_role role)
{
	const struct kvtap_feed feed = { .family = 1, .field = KVTAP_FIELD_ONE };
	uint32_t id;
	int rc = kvtap_kind_declare(tap, &id,
				    &(struct kvtap_kind){ .name = "k",
							  .feeds = &feed,
							  .feed_count = 1,
							  .connector = connector,
							  .role = role });

	return rc < 0 ? rc : (int)id;
}

/* ---- declared ---- */

TEST(connector_declared_again_gives_the_same_id_and_with_another_summary_eexist)
{
	begin();
	CHECK_EQ(connect_named("A", KVTAP_SUMMARY_NIXL), 1);
	CHECK_EQ(connect_named("B", KVTAP_SUMMARY_NIXL), 2);
	CHECK_EQ(connect_named("A", KVTAP_SUMMARY_NIXL), 1);
	CHECK_EQ(connect_named("A", KVTAP_SUMMARY_HF3FS), -EEXIST);
	end();
}

TEST(connector_has_a_name_of_at_most_255_bytes_and_a_known_summary)
{
	char name[257];

	begin();
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	CHECK_EQ(connect_named(name, KVTAP_SUMMARY_NIXL), -E2BIG);
	name[255] = '\0';
	CHECK_EQ(connect_named(name, KVTAP_SUMMARY_NIXL), 1);
	CHECK_EQ(connect_named(NULL, KVTAP_SUMMARY_NIXL), -EINVAL);
	CHECK_EQ(connect_named("", KVTAP_SUMMARY_NIXL), -EINVAL);
	CHECK_EQ(connect_named("A", 0), -EINVAL);
	CHECK_EQ(connect_named("A", KVTAP_SUMMARY_HF3FS + 1), -EINVAL);
	CHECK_EQ(connect_named("A", 256 + KVTAP_SUMMARY_NIXL), -EINVAL);
	end();
}

TEST(connector_number_65_does_not_fit)
{
	char name[2] = "";

	begin();
	for (char c = 1; c <= 64; c++) {
		name[0] = c;
		CHECK_EQ(connect_named(name, KVTAP_SUMMARY_FAMILIES), c);
	}
	CHECK_EQ(connect_named("one more", KVTAP_SUMMARY_FAMILIES), -ENOSPC);
	end();
}

TEST(connector_of_a_family_or_kind_has_to_be_declared_before)
{
	begin();
	CHECK_EQ(DECLARE(.connector = 1), -EINVAL);
	CHECK_EQ(DECLARE(.connector = 1u << 16), -EINVAL);
	CHECK_EQ(DECLARE(.connector = 0), 1);
	CHECK_EQ(declare_kind(1, KVTAP_ROLE_TRANSFER), -EINVAL);
	CHECK_EQ(declare_kind(1u << 16, KVTAP_ROLE_TRANSFER), -EINVAL);
	CHECK_EQ(connect_named("A", KVTAP_SUMMARY_NIXL), 1);
	CHECK_EQ(declare_kind(1, KVTAP_ROLE_TRANSFER), 1);
	end();
}

TEST(connector_or_role_changed_is_another_family_or_kind_and_the_unit_is_not)
{
	begin();
	connect_named("A", KVTAP_SUMMARY_NIXL);
	connect_named("B", KVTAP_SUMMARY_NIXL);
	CHECK_EQ(DECLARE(.connector = 1, .role = KVTAP_ROLE_EXPIRED_REQUEST), 1);
	CHECK_EQ(DECLARE(.connector = 2, .role = KVTAP_ROLE_EXPIRED_REQUEST), -EEXIST);
	CHECK_EQ(DECLARE(.connector = 1), -EEXIST);
	CHECK_EQ(DECLARE(.connector = 1, .role = KVTAP_ROLE_EXPIRED_REQUEST,
			 .unit = KVTAP_UNIT_COUNT),
		 1);
	CHECK_EQ(declare_kind(1, KVTAP_ROLE_SAVE), 1);
	CHECK_EQ(declare_kind(1, KVTAP_ROLE_LOAD), -EEXIST);
	CHECK_EQ(declare_kind(2, KVTAP_ROLE_SAVE), -EEXIST);
	CHECK_EQ(declare_kind(1, KVTAP_ROLE_SAVE), 1);
	end();
}

TEST(connector_roles_of_kinds_and_of_counters_are_not_mixed)
{
	begin();
	CHECK_EQ(DECLARE(.role = KVTAP_ROLE_TRANSFER), -EINVAL);
	CHECK_EQ(DECLARE(.role = KVTAP_ROLE_EXPIRED_REQUEST + 1), -EINVAL);
	CHECK_EQ(declare((struct kvtap_family){
			 .name = "g", .metric = KVTAP_GAUGE, .role = KVTAP_ROLE_EXPIRED_REQUEST }),
		 -EINVAL);
	CHECK_EQ(DECLARE(.unit = KVTAP_UNIT_RATIO + 1), -EINVAL);
	CHECK_EQ(DECLARE(.unit = KVTAP_UNIT_RATIO), 1);
	CHECK_EQ(declare_kind(0, KVTAP_ROLE_EXPIRED_REQUEST), -EINVAL);
	CHECK_EQ(declare_kind(0, KVTAP_ROLE_OPERATION), 1);
	end();
}

static void check_inert(struct kvtap *inert, int declared)
{
	uint32_t id = 77;

	CHECK_EQ(kvtap_connector_declare(inert, &id,
					 &(struct kvtap_connector){ "A", KVTAP_SUMMARY_NIXL }),
		 declared);
	CHECK_EQ(id, 0);
}

TEST(connector_is_taken_by_null_and_not_by_a_tap_that_could_not_be_opened)
{
	check_inert(NULL, 0);
	CHECK_EQ(kvtap_open(&tap, &(struct kvtap_options){ .name_space = "." }), -EINVAL);
	check_inert(tap, -ENODEV);
	kvtap_close(tap);
}

/* ---- read back ---- */

/* Two connectors; of the second, a counter and a kind that feeds it. Returns: the kind's series. */
static uint32_t declare_all(void)
{
	uint32_t series, family;

	CHECK_EQ(connect_named("First", KVTAP_SUMMARY_FAMILIES), 1);
	CHECK_EQ(connect_named("Second", KVTAP_SUMMARY_HF3FS), 2);
	CHECK_EQ(DECLARE(.connector = 2, .role = KVTAP_ROLE_EXPIRED_REQUEST,
			 .unit = KVTAP_UNIT_BYTES),
		 1);
	CHECK_EQ(kvtap_family_series(tap, &family, 1, NULL, 0), 0);
	CHECK_EQ(declare_kind(2, KVTAP_ROLE_SAVE), 1);
	CHECK_EQ(kvtap_kind_series(tap, &series, 1, NULL, 0), 0);
	CHECK_EQ(family, 1);
	CHECK_EQ(series, 2);
	return series;
}

static void check_read_back(void)
{
	const struct kvtap_connector_view *second = kvtap_reader_connector(watch.reader, 2);
	const struct kvtap_family_view *family = kvtap_reader_family(watch.reader, 1);
	const struct kvtap_plan *scalar = kvtap_reader_plan(watch.reader, 1);
	const struct kvtap_plan *transfer = kvtap_reader_plan(watch.reader, 2);

	CHECK(!kvtap_reader_connector(watch.reader, 0));
	CHECK(!kvtap_reader_connector(watch.reader, 3));
	CHECK_EQ(kvtap_reader_connector(watch.reader, 1)->summary, KVTAP_SUMMARY_FAMILIES);
	CHECK_EQ(second->summary, KVTAP_SUMMARY_HF3FS);
	CHECK(second->name.bytes == 6 && !memcmp(second->name.data, "Second", 6));
	CHECK_EQ(family->connector, 2);
	CHECK_EQ(family->role, KVTAP_ROLE_EXPIRED_REQUEST);
	CHECK_EQ(family->unit, KVTAP_UNIT_BYTES);
	CHECK_EQ(scalar->connector, 2);
	CHECK_EQ(scalar->role, KVTAP_ROLE_EXPIRED_REQUEST);
	CHECK_EQ(transfer->connector, 2);
	CHECK_EQ(transfer->role, KVTAP_ROLE_SAVE);
}

TEST(connector_role_and_unit_are_read_back_as_declared)
{
	begin();
	declare_all();
	watch_open(&watch, 0);
	check_read_back();
	kvtap_close(tap);
	watch_remove(&watch);
}

TEST(connector_is_there_in_a_fork_child_too)
{
	int status;

	begin();
	declare_all();
	pid_t child = fork();
	if (child == 0) {
		CHECK_EQ(connect_named("Second", KVTAP_SUMMARY_HF3FS), 2);
		CHECK_EQ(connect_named("Second", KVTAP_SUMMARY_NIXL), -EEXIST);
		CHECK_EQ(connect_named("Third", KVTAP_SUMMARY_NIXL), 3);
		kvtap_close(tap);
		watch_open(&watch, getpid());
		CHECK_EQ(kvtap_reader_connector(watch.reader, 3)->summary, KVTAP_SUMMARY_NIXL);
		CHECK_EQ(kvtap_reader_plan(watch.reader, 2)->connector, 2);
		watch_remove(&watch);
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(connect_named("Another", KVTAP_SUMMARY_NIXL), 3);
	end();
}

TEST(connector_series_has_the_labels_of_its_kind)
{
	static struct kvtap_series_view view;
	const char *const names[] = { "operation", "status" }, *const values[] = { "put", "ok" };
	const struct kvtap_feed feed = { .family = 1, .field = KVTAP_FIELD_ONE };
	uint32_t kind, series;

	begin();
	CHECK_EQ(DECLARE(.label_names = names, .label_count = 1), 1);
	CHECK_EQ(kvtap_kind_declare(tap, &kind,
				    &(struct kvtap_kind){ .name = "k",
							  .label_names = names,
							  .label_count = 2,
							  .feeds = &feed,
							  .feed_count = 1 }),
		 0);
	CHECK_EQ(kvtap_kind_series(tap, &series, kind, values, 2), 0);
	watch_open(&watch, 0);
	CHECK(kvtap_reader_series(watch.reader, series, &view));
	CHECK_EQ(view.labels, 2);
	CHECK(view.label[1].bytes == 6 && !memcmp(view.label[1].data, "status", 6));
	CHECK(view.label_value[0].bytes == 3 && !memcmp(view.label_value[0].data, "put", 3));
	CHECK(view.label_value[1].bytes == 2 && !memcmp(view.label_value[1].data, "ok", 2));
	kvtap_close(tap);
	watch_remove(&watch);
}

/* ---- hostile ---- */

static int folder, segment;
static char name[256];
static struct kvtap_segment_header header;

static void begin_hostile(void)
{
	begin();
	declare_all();
	kvtap_close(tap);
	folder = namespace_folder();
	CHECK(find_segment(name, folder, 0));
	segment = openat(folder, name, O_RDWR | O_CLOEXEC);
	CHECK_EQ(pread(segment, &header, sizeof(header), 0), sizeof(header));
	CHECK_EQ(kvtap_reader_guard(), 0);
}

static void end_hostile(void)
{
	close(segment);
	close(folder);
	remove_segments();
}

/* The entry of this type, the first one. */
static off_t find_entry(uint16_t type)
{
	off_t at = (off_t)header.dictionary_offset;
	struct kvtap_entry entry;

	for (;; at += entry.bytes) {
		CHECK_EQ(pread(segment, &entry, sizeof(entry), at), sizeof(entry));
		CHECK(entry.bytes);
		if (entry.type == type)
			return at;
	}
}

/* Opens the segment as it is now into watch.reader; why not, if it is not trusted. */
static enum kvtap_reject try_open(void)
{
	enum kvtap_reject why = KVTAP_REJECT_NONE;

	watch.reader = NULL;
	CHECK(kvtap_reader_open(&watch.reader, &why, folder, name) == 0 ||
	      why != KVTAP_REJECT_NONE);
	return why;
}

static enum kvtap_reject with(off_t at, const void *bytes, size_t count)
{
	CHECK_EQ(pwrite(segment, bytes, count, at), count);
	return try_open();
}

static enum kvtap_reject with_target(uint16_t type, uint32_t target)
{
	return with(find_entry(type) + (off_t)offsetof(struct kvtap_entry, target), &target, 4);
}

static void check_refused(enum kvtap_reject why)
{
	CHECK_EQ(why, KVTAP_REJECT_DICTIONARY);
	CHECK(!watch.reader);
}

TEST(connector_that_is_not_an_earlier_one_is_refused)
{
	begin_hostile();
	check_refused(with_target(KVTAP_ENTRY_FAMILY, 3));
	check_refused(with_target(KVTAP_ENTRY_FAMILY, UINT16_MAX));
	CHECK_EQ(with_target(KVTAP_ENTRY_FAMILY, 0), KVTAP_REJECT_NONE);
	kvtap_reader_close(watch.reader);
	check_refused(with_target(KVTAP_ENTRY_KIND, 3));
	check_refused(with_target(KVTAP_ENTRY_KIND, UINT32_MAX));
	CHECK_EQ(with_target(KVTAP_ENTRY_KIND, 1), KVTAP_REJECT_NONE);
	kvtap_reader_close(watch.reader);
	end_hostile();
}

/* What a reader finds with this role in an entry that has the connector 2. */
static uint8_t role_with(uint16_t type, uint32_t role, uint32_t series)
{
	CHECK_EQ(with_target(type, 2 | role << KVTAP_ENTRY_ROLE_SHIFT), KVTAP_REJECT_NONE);
	role = kvtap_reader_plan(watch.reader, series)->role;
	kvtap_reader_close(watch.reader);
	return (uint8_t)role;
}

TEST(connector_role_of_a_newer_minor_version_is_none)
{
	begin_hostile();
	CHECK_EQ(role_with(KVTAP_ENTRY_FAMILY, KVTAP_ROLE_FAILED_NOTIFICATION, 1),
		 KVTAP_ROLE_FAILED_NOTIFICATION);
	CHECK_EQ(role_with(KVTAP_ENTRY_FAMILY, KVTAP_ROLE_EXPIRED_REQUEST + 1, 1), KVTAP_ROLE_NONE);
	CHECK_EQ(role_with(KVTAP_ENTRY_FAMILY, KVTAP_ROLE_SAVE, 1), KVTAP_ROLE_NONE);
	CHECK_EQ(role_with(KVTAP_ENTRY_FAMILY, 256 + KVTAP_ROLE_EXPIRED_REQUEST, 1),
		 KVTAP_ROLE_NONE);
	CHECK_EQ(role_with(KVTAP_ENTRY_KIND, KVTAP_ROLE_OPERATION, 2), KVTAP_ROLE_OPERATION);
	CHECK_EQ(role_with(KVTAP_ENTRY_KIND, KVTAP_ROLE_EXPIRED_REQUEST, 2), KVTAP_ROLE_NONE);
	CHECK_EQ(role_with(KVTAP_ENTRY_KIND, UINT16_MAX, 2), KVTAP_ROLE_NONE);
	end_hostile();
}

static uint8_t unit_with(uint8_t unit)
{
	uint8_t flags = (uint8_t)(unit << KVTAP_ENTRY_UNIT_SHIFT);

	CHECK_EQ(with(find_entry(KVTAP_ENTRY_FAMILY) + (off_t)offsetof(struct kvtap_entry, flags),
		      &flags, 1),
		 KVTAP_REJECT_NONE);
	unit = kvtap_reader_family(watch.reader, 1)->unit;
	kvtap_reader_close(watch.reader);
	return unit;
}

TEST(connector_unit_of_a_newer_minor_version_is_none)
{
	begin_hostile();
	CHECK_EQ(unit_with(KVTAP_UNIT_RATIO), KVTAP_UNIT_RATIO);
	CHECK_EQ(unit_with(KVTAP_UNIT_RATIO + 1), KVTAP_UNIT_NONE);
	CHECK_EQ(unit_with(KVTAP_ENTRY_UNIT_MASK), KVTAP_UNIT_NONE);
	end_hostile();
}

static uint8_t summary_with(uint8_t summary)
{
	CHECK_EQ(with(find_entry(KVTAP_ENTRY_CONNECTOR) +
			      (off_t)offsetof(struct kvtap_entry, metric),
		      &summary, 1),
		 KVTAP_REJECT_NONE);
	summary = kvtap_reader_connector(watch.reader, 1)->summary;
	kvtap_reader_close(watch.reader);
	return summary;
}

TEST(connector_summary_of_a_newer_minor_version_is_by_families)
{
	begin_hostile();
	CHECK_EQ(summary_with(KVTAP_SUMMARY_HF3FS), KVTAP_SUMMARY_HF3FS);
	CHECK_EQ(summary_with(KVTAP_SUMMARY_HF3FS + 1), KVTAP_SUMMARY_FAMILIES);
	CHECK_EQ(summary_with(UINT8_MAX), KVTAP_SUMMARY_FAMILIES);
	CHECK_EQ(summary_with(0), KVTAP_SUMMARY_FAMILIES);
	end_hostile();
}

/* A connector more, with a name of so many bytes, behind what is there. */
static enum kvtap_reject add_connector(uint32_t bytes)
{
	struct {
		struct kvtap_entry head;
		uint32_t length;
		char text[300];
	} entry = { .head = { .bytes = sizeof(entry),
			      .type = KVTAP_ENTRY_CONNECTOR,
			      .metric = KVTAP_SUMMARY_NIXL },
		    .length = bytes };
	off_t used_at = offsetof(struct kvtap_segment_header, dictionary_used);
	uint64_t used;

	CHECK_EQ(pread(segment, &used, 8, used_at), 8);
	CHECK_EQ(pwrite(segment, &entry, sizeof(entry), (off_t)(header.dictionary_offset + used)),
		 sizeof(entry));
	used += sizeof(entry);
	return with(used_at, &used, 8);
}

TEST(connector_without_a_name_or_with_256_bytes_is_refused)
{
	begin_hostile();
	CHECK_EQ(add_connector(255), KVTAP_REJECT_NONE);
	kvtap_reader_close(watch.reader);
	check_refused(add_connector(256));
	end_hostile();
	begin_hostile();
	check_refused(add_connector(0));
	end_hostile();
	begin_hostile();
	check_refused(add_connector(UINT32_MAX));
	end_hostile();
}

TEST(connector_number_65_of_a_segment_is_refused)
{
	begin_hostile();
	for (int i = 3; i <= 64; i++) {
		CHECK_EQ(add_connector(5), KVTAP_REJECT_NONE);
		kvtap_reader_close(watch.reader);
	}
	check_refused(add_connector(5));
	end_hostile();
}

TEST(connector_feature_is_not_asked_of_workers_of_earlier_minor_versions)
{
	const uint32_t before = KVTAP_READER_REMEMBERS, newer = KVTAP_DEVICES << 1;
	const uint16_t minor = 0;

	begin_hostile();
	CHECK_EQ(header.feature_incompat,
		 KVTAP_READER_REMEMBERS | KVTAP_CONNECTORS | KVTAP_DEVICES);
	CHECK_EQ(pwrite(segment, &minor, 2, offsetof(struct kvtap_segment_header, minor)), 2);
	CHECK_EQ(with(offsetof(struct kvtap_segment_header, feature_incompat), &before, 4),
		 KVTAP_REJECT_NONE);
	kvtap_reader_close(watch.reader);
	CHECK_EQ(with(offsetof(struct kvtap_segment_header, feature_incompat), &newer, 4),
		 KVTAP_REJECT_FEATURE);
	end_hostile();
}
