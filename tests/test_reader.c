/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_reader.c - no bytes of a segment can crash a reader, and what is wrong has a reason
 *
 * A good segment is made by the library and closed; each test damages its files in place, reads all
 * that can be read, and puts the bytes back. Files that are not what they should be (links, FIFOs,
 * owners) are in test_reader_files.c. The sanitizers see what a plain run does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

static int folder, segment, tails;
static char name[256], tails_name[256];
static struct kvtap_segment_header good;

/* A counter with a label, a gauge, a histogram, two kinds; a full ring and what it folded. */
static void record_everything(struct kvtap *tap)
{
	static const char *const label[] = { "tier" }, *const value[] = { "disk" };
	static const double bounds[] = { 1, 10, 100 };
	uint32_t family, labelled, gauge = gauge_series(tap, "gauge");
	uint32_t histogram = histogram_series(tap, "histogram", bounds, 3);
	uint32_t load = builtin_series(tap, KVTAP_OFFLOAD_LOAD);
	uint32_t nixl = builtin_series(tap, KVTAP_NIXL_TRANSFER);

	CHECK_EQ(kvtap_family_declare(tap, &family,
				      &(struct kvtap_family){ .name = "counter",
							      .help = "help",
							      .metric = KVTAP_COUNTER,
							      .label_names = label,
							      .label_count = 1 }),
		 0);
	CHECK_EQ(kvtap_family_series(tap, &labelled, family, value, 1), 0);
	for (int i = 0; i < 10; i++) {
		kvtap_add(tap, labelled, 1);
		kvtap_set(tap, gauge, i);
		kvtap_observe(tap, histogram, i);
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = load, .bytes = 10 });
		kvtap_transfer(tap, &(struct kvtap_transfer){ .series = nixl, .bytes = 10 });
	}
}

static void begin(void)
{
	struct kvtap_options options = small_options();
	struct kvtap *tap;

	options.model_name = "llama";
	CHECK_EQ(kvtap_open(&tap, &options), 0);
	record_everything(tap);
	kvtap_close(tap);
	folder = namespace_folder();
	CHECK(find_segment(name, folder, 0));
	snprintf(tails_name, sizeof(tails_name), "%.*s" KVTAP_TAILS_SUFFIX,
		 (int)(strlen(name) - strlen(KVTAP_SEGMENT_SUFFIX)), name);
	segment = openat(folder, name, O_RDWR | O_CLOEXEC);
	tails = openat(folder, tails_name, O_RDWR | O_CLOEXEC);
	CHECK(segment >= 0 && tails >= 0);
	CHECK_EQ(pread(segment, &good, sizeof(good), 0), sizeof(good));
	CHECK_EQ(kvtap_reader_guard(), 0);
}

static void end(void)
{
	close(segment);
	close(tails);
	close(folder);
	remove_segments();
}

/* ---- read all that there is ---- */

static volatile unsigned touched;

static void touch(const struct kvtap_text *text)
{
	for (uint32_t i = 0; i < text->bytes; i++)
		touched += (unsigned char)text->data[i];
}

static void touch_declarations(const struct kvtap_reader *reader)
{
	static struct kvtap_series_view view;

	for (uint32_t i = 0; i < 2 * kvtap_reader_constants(reader); i++)
		touch(&kvtap_reader_constant(reader, 0)[i]);
	for (uint32_t id = 1; kvtap_reader_connector(reader, id); id++)
		touch(&kvtap_reader_connector(reader, id)->name);
	for (uint32_t id = 1; id <= kvtap_reader_families(reader); id++) {
		const struct kvtap_family_view *family = kvtap_reader_family(reader, id);

		touch(&family->name);
		touch(&family->help);
		for (uint32_t i = 0; i < family->labels; i++)
			touch(&family->label[i]);
	}
	for (uint32_t id = 1; id <= kvtap_reader_series_count(reader); id++) {
		CHECK(kvtap_reader_series(reader, id, &view));
		CHECK(!view.plan->connector ||
		      kvtap_reader_connector(reader, view.plan->connector));
		for (uint32_t i = 0; i < view.labels; i++) {
			touch(&view.label[i]);
			touch(&view.label_value[i]);
		}
		for (uint32_t i = 0; i < view.plan->cells; i++) {
			uint32_t family = view.plan->cell[i].family;

			for (uint32_t j = 0; j < kvtap_reader_family(reader, family)->labels; j++)
				touch(&view.value[i * KVTAP_LABELS_MAX + j]);
		}
	}
}

static int64_t read_ring(struct kvtap_reader *reader, enum kvtap_reject *why, uint32_t ring,
			 uint64_t *taken)
{
	static struct kvtap_record record[32];
	struct kvtap_block_view block;
	uint32_t cursor = 0;
	ssize_t got = kvtap_reader_fetch(reader, why, ring, record, 32, NULL);
	int rc;

	if (got < 0)
		return got;
	*taken += (uint64_t)got;
	while ((rc = kvtap_reader_block(reader, why, ring, &cursor, &block)) > 0)
		*taken += block.now[0] - block.applied[0];
	return rc;
}

static uint64_t taken; /* records by the last look */

/* NONE, or why the segment, or something in it, was not trusted; any other error fails. */
static enum kvtap_reject read_all(void)
{
	enum kvtap_reject why = KVTAP_REJECT_COUNT;
	struct kvtap_losses losses;
	struct kvtap_reader *reader;
	int64_t rc = kvtap_reader_open(&reader, &why, folder, name);

	taken = 0;
	if (rc == 0) {
		uint32_t rings = kvtap_reader_rings(reader);

		CHECK(rings <= KVTAP_RINGS_MAX);
		touch_declarations(reader);
		for (uint32_t i = 0; i < rings && rc == 0; i++)
			rc = read_ring(reader, &why, i, &taken);
		CHECK_EQ(kvtap_reader_losses(reader, &losses), 0);
		kvtap_reader_life(reader, true);
		kvtap_reader_close(reader);
	}
	if (rc == 0)
		return KVTAP_REJECT_NONE;
	CHECK_EQ(rc, -EPROTO);
	CHECK(why > KVTAP_REJECT_NONE && why < KVTAP_REJECT_COUNT);
	return why;
}

/* read_all, with the tails as they were: a ring that is skipped is skipped for good */
static enum kvtap_reject look(void)
{
	uint8_t before[SMALL_RINGS * sizeof(struct kvtap_tail)];
	enum kvtap_reject why;

	CHECK_EQ(pread(tails, before, sizeof(before), KVTAP_TAILS_OFFSET), sizeof(before));
	why = read_all();
	CHECK_EQ(pwrite(tails, before, sizeof(before), KVTAP_TAILS_OFFSET), sizeof(before));
	return why;
}

/* look with these bytes in a file */
static enum kvtap_reject look_with(int file, uint64_t offset, const void *bytes, size_t count)
{
	uint8_t before[64];
	enum kvtap_reject why;

	CHECK_EQ(pread(file, before, count, (off_t)offset), count);
	CHECK_EQ(pwrite(file, bytes, count, (off_t)offset), count);
	why = look();
	CHECK_EQ(pwrite(file, before, count, (off_t)offset), count);
	return why;
}

static enum kvtap_reject with_u32(uint64_t offset, uint32_t value)
{
	return look_with(segment, offset, &value, sizeof(value));
}

static enum kvtap_reject with_u64(uint64_t offset, uint64_t value)
{
	return look_with(segment, offset, &value, sizeof(value));
}

/* Flips every byte of a range, in three ways; look decides. */
static void flip_all(int file, uint64_t first, uint64_t end_of)
{
	static const uint8_t pattern[] = { 0xff, 0x01, 0x80 };

	for (uint64_t offset = first; offset < end_of; offset++) {
		for (size_t i = 0; i < sizeof(pattern); i++) {
			uint8_t byte;

			CHECK_EQ(pread(file, &byte, 1, (off_t)offset), 1);
			byte ^= pattern[i];
			look_with(file, offset, &byte, 1);
		}
	}
	CHECK_EQ(look(), KVTAP_REJECT_NONE);
	CHECK_EQ(taken, 50);
}

#define HEADER(field) offsetof(struct kvtap_segment_header, field)
#define RING(field) (good.rings_offset + offsetof(struct kvtap_ring_header, field))
#define ARENA                                                                                      \
	(good.rings_offset + KVTAP_RING_RECORDS + good.ring_slots * sizeof(struct kvtap_record))

TEST(reader_takes_the_good_segment)
{
	begin();
	CHECK_EQ(look(), KVTAP_REJECT_NONE);
	CHECK_EQ(taken, 50);
	end();
}

/* ---- header ---- */

struct field {
	size_t offset, bytes;
	enum kvtap_reject reason; /* of any other value; COUNT: it depends on the value */
};

#define FIELD(name, reason)                                                                        \
	{                                                                                          \
		HEADER(name), sizeof(good.name), KVTAP_REJECT_##reason                             \
	}

static const struct field fields[] = {
	FIELD(major, VERSION),
	FIELD(minor, NONE),
	FIELD(header_bytes, COUNT),
	FIELD(feature_compat, NONE),
	FIELD(feature_incompat, COUNT),
	FIELD(record_bytes, HEADER),
	FIELD(ring_slots, COUNT),
	FIELD(ring_max, COUNT),
	FIELD(overflow_bytes, COUNT),
	FIELD(segment_bytes, SIZE),
	FIELD(dictionary_offset, COUNT),
	FIELD(dictionary_bytes, COUNT),
	FIELD(rings_offset, COUNT),
	FIELD(ring_bytes, COUNT),
	FIELD(start_ticks, NONE),
	FIELD(pid_namespace, NONE),
	FIELD(opened_monotonic_ns, NONE),
	FIELD(opened_realtime_ns, NONE),
	FIELD(pid, NONE),
	FIELD(beacons, NONE),
	FIELD(state, NONE),
	FIELD(ring_count, NONE),
	FIELD(dictionary_used, COUNT),
	FIELD(lost_records, NONE),
	FIELD(lost_bytes, NONE),
};

static void check_value(const struct field *field, uint64_t value, uint64_t before)
{
	uint64_t mask = field->bytes == 8 ? UINT64_MAX : (1ull << field->bytes * 8) - 1;
	enum kvtap_reject why;

	if ((value & mask) == before)
		return;
	why = look_with(segment, field->offset, &value, field->bytes);
	if (field->reason != KVTAP_REJECT_COUNT && why != field->reason)
		test_fail(__FILE__, __LINE__, "offset %zu, value %llx: %s", field->offset,
			  (unsigned long long)value, kvtap_reject_text(why));
}

TEST(reader_takes_no_value_of_any_header_field_on_trust)
{
	begin();
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		uint64_t before = 0;

		CHECK_EQ(pread(segment, &before, fields[i].bytes, (off_t)fields[i].offset),
			 fields[i].bytes);
		const uint64_t values[] = { 0,
					    1,
					    before - 1,
					    before + 1,
					    before * 2,
					    before / 2,
					    UINT64_MAX,
					    1ull << 63,
					    1ull << 31,
					    1ull << 40,
					    before + 64,
					    before - 128,
					    before + 4096 };

		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++)
			check_value(&fields[i], values[j], before);
	}
	CHECK_EQ(look(), KVTAP_REJECT_NONE);
	end();
}

TEST(reader_refuses_offsets_and_counts_that_contradict_each_other)
{
	begin();
	CHECK_EQ(with_u32(HEADER(ring_slots), 0), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u32(HEADER(ring_slots), 24), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u32(HEADER(ring_slots), 1u << 20), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u32(HEADER(ring_max), 0), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u32(HEADER(ring_max), SMALL_RINGS + 1), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u32(HEADER(ring_max), UINT32_MAX), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u32(HEADER(overflow_bytes), 16u << 20), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u64(HEADER(dictionary_offset), 0), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u64(HEADER(dictionary_offset), UINT64_MAX - 7), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u64(HEADER(dictionary_bytes), UINT64_MAX), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u64(HEADER(rings_offset), UINT64_MAX - 127), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u64(HEADER(rings_offset), good.rings_offset + 4), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u64(HEADER(ring_bytes), 1ull << 61), KVTAP_REJECT_HEADER);
	CHECK_EQ(with_u64(HEADER(dictionary_used), good.dictionary_bytes + 1),
		 KVTAP_REJECT_DICTIONARY);
	CHECK_EQ(look_with(segment, 0, "\x89NOPE!\r\n", 8), KVTAP_REJECT_MAGIC);
	end();
}

TEST(reader_survives_each_byte_of_the_header)
{
	begin();
	flip_all(segment, 0, sizeof(good));
	end();
}

TEST(reader_survives_each_byte_of_the_tails)
{
	begin();
	flip_all(tails, 0, sizeof(struct kvtap_tails_header));
	flip_all(tails, KVTAP_TAILS_OFFSET, KVTAP_TAILS_OFFSET + 16);
	end();
}

/* ---- dictionary ---- */

TEST(reader_survives_each_byte_of_the_dictionary)
{
	uint64_t used;

	begin();
	CHECK_EQ(pread(segment, &used, 8, HEADER(dictionary_used)), 8);
	CHECK(used > 500);
	flip_all(segment, good.dictionary_offset, good.dictionary_offset + used);
	end();
}

TEST(reader_survives_a_dictionary_cut_at_each_length)
{
	uint64_t used;

	begin();
	CHECK_EQ(pread(segment, &used, 8, HEADER(dictionary_used)), 8);
	for (uint64_t cut = 0; cut < used + 64; cut++)
		with_u64(HEADER(dictionary_used), cut);
	CHECK_EQ(with_u64(HEADER(dictionary_used), used - 1), KVTAP_REJECT_DICTIONARY);
	CHECK_EQ(with_u64(HEADER(dictionary_used), used + 8), KVTAP_REJECT_DICTIONARY);
	end();
}

/* The offset of the length before a string in the dictionary. */
static uint64_t find_string_length(const char *text)
{
	static uint8_t bytes[16384];
	ssize_t got = pread(segment, bytes, sizeof(bytes), (off_t)good.dictionary_offset);
	uint8_t *at = memmem(bytes, (size_t)got, text, strlen(text));

	CHECK(at);
	return good.dictionary_offset + (uint64_t)(at - bytes) - 4;
}

TEST(reader_refuses_strings_that_never_end)
{
	begin();
	uint64_t offset = find_string_length("disk");
	CHECK_EQ(with_u32(offset, UINT32_MAX), KVTAP_REJECT_DICTIONARY);
	CHECK_EQ(with_u32(offset, 4097), KVTAP_REJECT_DICTIONARY);
	CHECK_EQ(with_u32(offset, 4096), KVTAP_REJECT_DICTIONARY); /* beyond its entry */
	CHECK_EQ(with_u32(find_string_length("vllm:nixl_transfer"), 0), KVTAP_REJECT_DICTIONARY);
	CHECK_EQ(look_with(segment, find_string_length("gauge") + 4, "g\0uge", 5),
		 KVTAP_REJECT_DICTIONARY);
	end();
}

TEST(reader_skips_entries_of_a_newer_minor_version)
{
	const struct kvtap_entry entry = { .bytes = 32, .type = 77, .target = UINT32_MAX };
	uint64_t used;

	begin();
	CHECK_EQ(pread(segment, &used, 8, HEADER(dictionary_used)), 8);
	CHECK_EQ(pwrite(segment, &entry, sizeof(entry), (off_t)(good.dictionary_offset + used)),
		 sizeof(entry));
	CHECK_EQ(with_u64(HEADER(dictionary_used), used + 32), KVTAP_REJECT_NONE);
	CHECK_EQ(taken, 50);
	end();
}

/* The mode that a reader finds with these flags in the entry of the family "gauge". */
static int mode_with(uint8_t flags)
{
	off_t at = (off_t)(find_string_length("gauge") - sizeof(struct kvtap_entry) +
			   offsetof(struct kvtap_entry, flags));
	enum kvtap_reject why;
	struct kvtap_reader *reader;
	int mode = -1;

	CHECK_EQ(pwrite(segment, &flags, 1, at), 1);
	CHECK_EQ(kvtap_reader_open(&reader, &why, folder, name), 0);
	CHECK_EQ(kvtap_reader_refresh(reader, &why), 0);
	for (uint32_t id = 1; id <= kvtap_reader_families(reader); id++) {
		const struct kvtap_family_view *view = kvtap_reader_family(reader, id);

		if (view->name.bytes == 5 && !memcmp(view->name.data, "gauge", 5))
			mode = view->gauge_mode;
	}
	kvtap_reader_close(reader);
	return mode;
}

TEST(reader_takes_a_gauge_mode_of_a_newer_minor_version_for_the_default)
{
	begin();
	CHECK_EQ(mode_with(KVTAP_FAMILY_LAZY), KVTAP_GAUGE_LIVEMOSTRECENT);
	CHECK_EQ(mode_with(KVTAP_GAUGE_ALL << KVTAP_ENTRY_MODE_SHIFT), KVTAP_GAUGE_ALL);
	CHECK_EQ(mode_with((KVTAP_GAUGE_ALL + 1) << KVTAP_ENTRY_MODE_SHIFT), 0);
	CHECK_EQ(mode_with(0xe0 | KVTAP_GAUGE_SUM << KVTAP_ENTRY_MODE_SHIFT), KVTAP_GAUGE_SUM);
	end();
}

/* ---- rings ---- */

TEST(reader_skips_a_ring_whose_head_is_beyond_it)
{
	struct kvtap_record record[32];
	enum kvtap_reject why;
	struct kvtap_reader *reader;
	uint64_t head = SMALL_SLOTS + 1;

	begin();
	CHECK_EQ(with_u64(RING(head), head), KVTAP_REJECT_RING);
	CHECK_EQ(with_u64(RING(head), UINT64_MAX), KVTAP_REJECT_RING);
	CHECK_EQ(pwrite(segment, &head, 8, (off_t)RING(head)), 8);
	CHECK_EQ(kvtap_reader_open(&reader, &why, folder, name), 0);
	CHECK_EQ(kvtap_reader_rings(reader), 1);
	CHECK_EQ(kvtap_reader_fetch(reader, &why, 0, record, 32, NULL), -EPROTO);
	CHECK_EQ(why, KVTAP_REJECT_RING);
	CHECK_EQ(kvtap_reader_fetch(reader, &why, 0, record, 32, NULL), 0);
	CHECK_EQ(kvtap_reader_position(reader, 0), head);
	kvtap_reader_close(reader);
	end();
}

TEST(reader_skips_a_ring_whose_tail_is_beyond_its_head)
{
	uint64_t tail = SMALL_SLOTS + 1;

	begin();
	CHECK_EQ(look_with(tails, KVTAP_TAILS_OFFSET, &tail, 8), KVTAP_REJECT_RING);
	end();
}

TEST(reader_survives_each_byte_of_a_ring_header)
{
	begin();
	flip_all(segment, good.rings_offset, RING(redo[16]));
	end();
}

/* ---- overflow ---- */

TEST(reader_survives_each_byte_of_the_overflow_blocks)
{
	begin();
	flip_all(segment, ARENA, ARENA + 1024);
	end();
}

TEST(reader_refuses_overflow_that_is_out_of_the_arena)
{
	begin();
	CHECK_EQ(with_u32(RING(overflow_used), UINT32_MAX), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u32(RING(overflow_used), SMALL_OVERFLOW + 16), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u32(RING(overflow_used), 15), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u32(RING(overflow_used), 16), KVTAP_REJECT_OVERFLOW); /* half a block */
	CHECK_EQ(with_u32(RING(overflow_used), SMALL_OVERFLOW), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u32(RING(overflow_used), 0), KVTAP_REJECT_NONE);
	CHECK_EQ(with_u32(ARENA, 0), KVTAP_REJECT_OVERFLOW); /* series */
	CHECK_EQ(with_u32(ARENA, UINT32_MAX), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u32(ARENA + 4, 0), KVTAP_REJECT_OVERFLOW); /* words */
	CHECK_EQ(with_u32(ARENA + 4, UINT32_MAX), KVTAP_REJECT_OVERFLOW);
	end();
}

static void store_u32(uint64_t offset, uint32_t value)
{
	CHECK_EQ(pwrite(segment, &value, sizeof(value), (off_t)offset), sizeof(value));
}

TEST(reader_refuses_a_redo_that_is_nonsense)
{
	begin();
	store_u32(RING(fold_sequence), 7); /* a fold is under way */
	store_u32(RING(redo_block), 0);	   /* in the first block */
	store_u32(RING(redo_count), 1);
	CHECK_EQ(with_u64(RING(redo[0].word), 0), KVTAP_REJECT_NONE);
	CHECK_EQ(with_u64(RING(redo[0].word), 512), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u64(RING(redo[0].word), UINT64_MAX), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u32(RING(redo_count), KVTAP_REDO_ENTRIES + 1), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u32(RING(redo_count), UINT32_MAX), KVTAP_REJECT_OVERFLOW);
	CHECK_EQ(with_u32(RING(redo_block), UINT32_MAX), KVTAP_REJECT_NONE); /* of no block */
	end();
}

TEST(reader_survives_each_byte_of_a_redo_under_way)
{
	uint64_t sequence = 7;

	begin();
	CHECK_EQ(pwrite(segment, &sequence, 8, (off_t)RING(fold_sequence)), 8);
	store_u32(RING(redo_count), KVTAP_REDO_ENTRIES);
	for (uint64_t offset = RING(overflow_used); offset < RING(redo[8]); offset++)
		look_with(segment, offset, "\xa5", 1);
	end();
}
