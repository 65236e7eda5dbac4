/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_segment.c - libFuzzer over the bytes of a segment: nothing that stands there may hurt a reader
 *
 * Each input becomes two files in KVTAP_DIR. They are read by the calls of kvtap_reader.h one by
 * one, and by the exporter's drain with its series and its page.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../exporter/drain.h"
#include "../exporter/interval_log.h"
#include "../exporter/interval_text.h"
#include "../exporter/log.h"
#include "../exporter/self.h"
#include "../lib/owner.h"
#include "fuzz_image.h"
#include "kvtap_reader.h"
#include "support_render.h"

#define FILE_MAX (16u << 20) /* a bigger size is refused for not being the header's */
#define PASSES_MAX 4
#define BATCH 64
#define INTERVAL_SAMPLES 16
#define FUZZ_WORDS 128		/* of a block; larger ones are not resumed */
#define GROWTH_MAX (256u << 10) /* more than the tails of all rings */

struct image {
	struct kvtap_segment_header header; /* as it stands in the file */
	struct kvtap_tails_header tails;
	int segment_fd, tails_fd;
	uint64_t segment_bytes, tails_bytes;
};

static int folder;
static char segment_name[64], tails_name[64];
static struct kvtap_owner self_owner;
static volatile uint64_t sink; /* what is read, so that it is read */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *dir = getenv("KVTAP_DIR");

	(void)argc;
	(void)argv;
	folder = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (folder < 0 || kvtap_reader_guard() < 0 || kvtap_owner_self(&self_owner) < 0) {
		fprintf(stderr, "KVTAP_DIR must name a folder on a tmpfs\n");
		exit(1);
	}
	log_set_level(LOG_LEVEL_ERROR);
	snprintf(segment_name, sizeof(segment_name), "%d" KVTAP_SEGMENT_SUFFIX, (int)getpid());
	snprintf(tails_name, sizeof(tails_name), "%d" KVTAP_TAILS_SUFFIX, (int)getpid());
	return 0;
}

/* ---- the files ---- */

static int create(const char *name)
{
	int fd = openat(folder, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		abort();
	return fd;
}

static void resize(int fd, uint64_t *bytes, uint64_t wanted)
{
	*bytes = wanted < FILE_MAX ? wanted : FILE_MAX;
	if (ftruncate(fd, (off_t)*bytes) < 0)
		abort();
}

/* Only into the file as it is: it doesn't grow. */
static void put(int fd, uint64_t file_bytes, uint64_t offset, const void *data, size_t bytes)
{
	if (offset > file_bytes || bytes > file_bytes - offset)
		return;
	if (pwrite(fd, data, bytes, (off_t)offset) != (ssize_t)bytes)
		abort();
}

/* A part of a header, whole with what stands there already. */
static bool merge(void *header, size_t header_bytes, uint64_t offset, const void *data,
		  size_t bytes)
{
	if (offset > header_bytes || bytes > header_bytes - offset)
		return false;
	memcpy((uint8_t *)header + offset, data, bytes);
	return true;
}

static void own(struct image *image)
{
	memcpy(image->header.boot_id, self_owner.boot_id, 16);
	image->header.start_ticks = self_owner.start_ticks;
	image->header.pid_namespace = self_owner.pid_namespace;
	image->header.pid = self_owner.pid;
}

static void put_segment(struct image *image, uint64_t offset, const void *data, size_t bytes,
			bool alive)
{
	if (!merge(&image->header, sizeof(image->header), offset, data, bytes))
		return;
	if (alive)
		own(image);
	if (offset == 0)
		resize(image->segment_fd, &image->segment_bytes, image->header.segment_bytes);
	put(image->segment_fd, image->segment_bytes, 0, &image->header, sizeof(image->header));
}

static void put_tails(struct image *image, uint64_t offset, const void *data, size_t bytes)
{
	if (!merge(&image->tails, sizeof(image->tails), offset, data, bytes))
		return;
	if (offset == 0)
		resize(image->tails_fd, &image->tails_bytes, image->tails.tails_bytes);
	put(image->tails_fd, image->tails_bytes, 0, &image->tails, sizeof(image->tails));
}

static uint64_t place_in_segment(const struct image *image, const struct fuzz_chunk *chunk)
{
	const struct kvtap_segment_header *header = &image->header;
	uint64_t ring = header->rings_offset + chunk->ring * header->ring_bytes;

	switch (chunk->place % FUZZ_PLACES) {
	case FUZZ_DICTIONARY:
		return header->dictionary_offset;
	case FUZZ_RECORDS:
		return ring + KVTAP_RING_RECORDS;
	case FUZZ_ARENA:
		return ring + KVTAP_RING_RECORDS + header->ring_slots * sizeof(struct kvtap_record);
	}
	return ring;
}

/* What an earlier reader has applied of a block, or says so. */
static struct {
	uint64_t word[FUZZ_WORDS];
	uint32_t ring, offset, words;
} applied;

static void put_applied(const struct fuzz_chunk *chunk, const void *data)
{
	applied.words = chunk->bytes / 8 < FUZZ_WORDS ? chunk->bytes / 8 : FUZZ_WORDS;
	applied.ring = chunk->ring;
	applied.offset = chunk->offset;
	if (applied.words)
		memcpy(applied.word, data, applied.words * 8);
}

static void put_chunk(struct image *image, const struct fuzz_chunk *chunk, const void *data,
		      bool alive)
{
	switch (chunk->place % FUZZ_PLACES) {
	case FUZZ_SEGMENT:
		put_segment(image, chunk->offset, data, chunk->bytes, alive);
		return;
	case FUZZ_TAILS:
		put_tails(image, chunk->offset, data, chunk->bytes);
		return;
	case FUZZ_TAIL:
		put(image->tails_fd, image->tails_bytes,
		    KVTAP_TAILS_OFFSET + chunk->ring * sizeof(struct kvtap_tail) + chunk->offset,
		    data, chunk->bytes);
		return;
	case FUZZ_APPLIED:
		put_applied(chunk, data);
		return;
	case FUZZ_TRUNCATE:
		if (chunk->offset < image->segment_bytes)
			resize(image->segment_fd, &image->segment_bytes, chunk->offset);
		return;
	}
	put(image->segment_fd, image->segment_bytes, place_in_segment(image, chunk) + chunk->offset,
	    data, chunk->bytes);
}

/* A raw segment gets the tails that belong to it. */
static void put_raw(struct image *image, const uint8_t *data, size_t bytes)
{
	struct kvtap_tails_header tails = { .major = KVTAP_LAYOUT_MAJOR };
	size_t known = bytes < sizeof(image->header) ? bytes : sizeof(image->header);

	memcpy(&image->header, data, known);
	resize(image->segment_fd, &image->segment_bytes, bytes);
	put(image->segment_fd, image->segment_bytes, 0, data, bytes);
	memcpy(tails.magic, KVTAP_TAILS_MAGIC, sizeof(tails.magic));
	memcpy(tails.uuid, image->header.uuid, 16);
	tails.ring_max = image->header.ring_max;
	tails.tails_bytes =
		KVTAP_TAILS_OFFSET + (uint64_t)tails.ring_max * sizeof(struct kvtap_tail);
	put_tails(image, 0, &tails, sizeof(tails));
}

static uint64_t allocated_bytes(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		abort();
	return (uint64_t)status.st_blocks * 512;
}

/*
 * Reading fills no holes but in what the reader writes itself: headers, tails, and of each block that
 * is there what was applied of it.
 */
static void check_growth(const struct image *image, uint64_t segment_before, uint64_t tails_before)
{
	uint64_t segment = allocated_bytes(image->segment_fd);
	uint64_t tails = allocated_bytes(image->tails_fd);

	if (segment > segment_before + GROWTH_MAX ||
	    tails > tails_before + segment_before + GROWTH_MAX)
		abort();
}

/* ---- by the calls of a reader ---- */

static void look(const void *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		sink += ((const uint8_t *)data)[i];
}

static void look_at_text(const struct kvtap_text *text)
{
	look(text->data, text->bytes);
}

static void read_dictionary(struct kvtap_reader *reader)
{
	for (uint32_t i = 0; i < kvtap_reader_constants(reader); i++) {
		look_at_text(&kvtap_reader_constant(reader, i)[0]);
		look_at_text(&kvtap_reader_constant(reader, i)[1]);
	}
	for (uint32_t id = 1; id <= kvtap_reader_families(reader); id++) {
		const struct kvtap_family_view *family = kvtap_reader_family(reader, id);

		look_at_text(&family->name);
		look_at_text(&family->help);
		for (uint32_t i = 0; i < family->labels; i++)
			look_at_text(&family->label[i]);
		look(family->bound, family->bounds * sizeof(*family->bound));
	}
	for (uint32_t id = 1; id <= kvtap_reader_series_count(reader); id++) {
		struct kvtap_series_view view;

		if (!kvtap_reader_series(reader, id, &view))
			abort();
		for (uint32_t i = 0; i < view.plan->cells; i++) {
			uint32_t family = view.plan->cell[i].family;

			for (uint32_t j = 0; j < kvtap_reader_family(reader, family)->labels; j++)
				look_at_text(&view.value[i * KVTAP_LABELS_MAX + j]);
		}
	}
}

/* Leaves the records, which the exporter shall find too. */
static void read_ring(struct kvtap_reader *reader, uint32_t ring)
{
	struct kvtap_record record[BATCH];
	struct kvtap_block_view block;
	enum kvtap_reject why;
	uint32_t cursor = 0;
	ssize_t count = kvtap_reader_fetch(reader, &why, ring, record, BATCH, NULL);

	if (count > BATCH)
		abort();
	look(record, count > 0 ? (size_t)count * sizeof(*record) : 0);
	while (kvtap_reader_block(reader, &why, ring, &cursor, &block) == 1) {
		look(block.now, block.words * sizeof(*block.now));
		look(block.applied, block.words * sizeof(*block.applied));
	}
}

/* False: not even that can be opened. */
static bool read_all(void)
{
	struct kvtap_reader *reader;
	struct kvtap_losses losses;
	enum kvtap_reject why;
	int rc = kvtap_reader_open(&reader, &why, folder, segment_name);

	if (rc < 0) {
		if (reader || (rc == -EPROTO && why == KVTAP_REJECT_NONE))
			abort();
		return false;
	}
	read_dictionary(reader);
	kvtap_reader_resume_block(reader, applied.ring, applied.offset, applied.word,
				  applied.words);
	for (uint32_t ring = 0; ring < kvtap_reader_rings(reader); ring++)
		read_ring(reader, ring);
	if (kvtap_reader_losses(reader, &losses) == 0)
		look(&losses, sizeof(losses));
	if (kvtap_reader_life(reader, true) != KVTAP_ALIVE && !kvtap_reader_retire(reader))
		abort();
	kvtap_reader_close(reader);
	return true;
}

/* ---- by the exporter ---- */

#define BUCKETS_MAX 64

/*
 * In the place of liburcu's: the table of an exporter that serves many workers takes much longer to
 * make than an input to read.
 */
struct cds_lfht *_cds_lfht_new(unsigned long first, unsigned long least, unsigned long most,
			       int flags, const struct cds_lfht_mm_type *mm,
			       const struct rcu_flavor_struct *flavor, pthread_attr_t *attr)
{
	static __typeof__(_cds_lfht_new) *real;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "_cds_lfht_new");
	if (first > BUCKETS_MAX)
		first = least = most = BUCKETS_MAX;
	return real(first, least, most, flags, mm, flavor, attr);
}

struct exporter {
	struct series_table table;
	struct self self;
	struct journal *journal;
	struct intervals *intervals;
	struct drain *drain; /* NULL: not there yet */
	/* of the page: its own and the reserve, and a worker's each time it was offered one */
	uint64_t bytes_max;
};

static void exporter_create(struct exporter *exporter)
{
	if (series_table_init(&exporter->table) || self_init(&exporter->self, &exporter->table))
		abort();
	exporter->journal = journal_create(&exporter->table);
	if (!exporter->journal || journal_open(exporter->journal, folder))
		abort();
	exporter->intervals = intervals_create(INTERVAL_SAMPLES);
	if (!exporter->intervals)
		abort();
	exporter->drain = drain_create(&exporter->table, &exporter->self, exporter->journal, true,
				       exporter->intervals);
	if (!exporter->drain)
		abort();
	exporter->bytes_max = exporter->table.families.taken.bytes + PAGE_BYTES_MAX / 8;
}

/* However little a segment is, it has its share of the page and no more. */
static void check_budget(const struct exporter *exporter, const struct text *page)
{
	uint64_t taken = exporter->table.families.taken.bytes;

	if (page->bytes > taken || taken > exporter->bytes_max)
		abort();
}

/* Every line of a page is a comment or a sample: text a reader of it can take apart. */
static void check_page(const struct text *page)
{
	if (page->failed || page->bytes == 0 || page->data[page->bytes - 1] != '\n')
		abort();
	for (const char *line = page->data, *end; line < page->data + page->bytes; line = end + 1) {
		end = memchr(line, '\n', (size_t)(page->data + page->bytes - line));
		if (line == end || (*line != '#' && !memchr(line, ' ', (size_t)(end - line))))
			abort();
	}
}

/* Whatever a segment says, its lines are lines. */
static void end_interval(struct exporter *exporter)
{
	const struct interval_time time = { .length_ns = 1 };

	for (const struct interval_engine *of = exporter->intervals->engines; of; of = of->next) {
		struct text lines = { 0 };

		interval_text_plain(&lines, of, &time);
		interval_text_json(&lines, of, &time);
		if (lines.failed || lines.bytes > 2 * INTERVAL_LOG_LINE_MAX)
			abort();
		for (size_t i = 0, count = 0; i < lines.bytes; i++) {
			count += lines.data[i] == '\n';
			if ((unsigned char)lines.data[i] < ' ' && lines.data[i] != '\n')
				abort();
			if (count > 2)
				abort();
		}
		text_free(&lines);
	}
	intervals_reset(exporter->intervals);
}

static void exporter_pass(struct exporter *exporter, const struct image *image)
{
	uint64_t segment_bytes = allocated_bytes(image->segment_fd);
	uint64_t tails_bytes = allocated_bytes(image->tails_fd);
	struct text page = { 0 }, other = { 0 };

	if (!exporter->drain)
		exporter_create(exporter);
	drain_offer(exporter->drain, folder, segment_name, true);
	exporter->bytes_max += WORKER_BYTES_MAX;
	drain_pass(exporter->drain, true);
	check_growth(image, segment_bytes, tails_bytes);
	end_interval(exporter);
	series_settle(&exporter->table);
	render_page(&page, &exporter->table, PAGE_TEXT);
	check_page(&page);
	check_budget(exporter, &page);
	render_page(&other, &exporter->table, PAGE_OPENMETRICS);
	render_page(&other, &exporter->table, PAGE_PROTOBUF);
	text_free(&page);
	text_free(&other);
}

static void exporter_destroy(struct exporter *exporter)
{
	if (!exporter->drain)
		return;
	drain_destroy(exporter->drain);
	intervals_destroy(exporter->intervals);
	journal_destroy(exporter->journal);
	series_table_free(&exporter->table);
}

/* ---- an input ---- */

static void run_chunks(struct image *image, struct exporter *exporter, const uint8_t *data,
		       size_t bytes, bool alive)
{
	struct fuzz_chunk chunk;
	int passes = 0;

	while (bytes >= sizeof(chunk)) {
		memcpy(&chunk, data, sizeof(chunk));
		data += sizeof(chunk);
		bytes -= sizeof(chunk);
		if (chunk.bytes > bytes)
			chunk.bytes = (uint16_t)bytes;
		if (chunk.place % FUZZ_PLACES != FUZZ_PASS)
			put_chunk(image, &chunk, data, alive);
		else if (++passes < PASSES_MAX)
			exporter_pass(exporter, image);
		data += chunk.bytes;
		bytes -= chunk.bytes;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct image image = { .segment_fd = create(segment_name), .tails_fd = create(tails_name) };
	struct exporter exporter = { .drain = NULL };

	applied.words = 0;
	if (bytes > 0 && (data[0] & FUZZ_RAW))
		put_raw(&image, data + 1, bytes - 1);
	else if (bytes > 0)
		run_chunks(&image, &exporter, data + 1, bytes - 1, data[0] & FUZZ_ALIVE);
	uint64_t segment_bytes = allocated_bytes(image.segment_fd);
	uint64_t tails_bytes = allocated_bytes(image.tails_fd);
	bool opened = read_all();
	check_growth(&image, segment_bytes, tails_bytes);
	if (opened)
		exporter_pass(&exporter, &image);
	exporter_destroy(&exporter);
	close(image.segment_fd);
	close(image.tails_fd);
	unlinkat(folder, JOURNAL_NAME, 0);
	unlinkat(folder, segment_name, 0);
	unlinkat(folder, tails_name, 0);
	return 0;
}
