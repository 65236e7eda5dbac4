/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_reader_files.c - files that are not a worker's, or change under the reader; what is swept
 *
 * What is wrong inside of the files is in test_reader.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

static int folder;
static char name[256], tails_name[256];

static void name_tails(char *to, const char *of)
{
	snprintf(to, 256, "%.*s" KVTAP_TAILS_SUFFIX,
		 (int)(strlen(of) - strlen(KVTAP_SEGMENT_SUFFIX)), of);
}

/* A closed segment with 16 records in its ring and 34 folded. */
static void begin(void)
{
	struct kvtap *tap = small_tap();
	uint32_t counter = counter_series(tap, "c");

	for (int i = 0; i < 50; i++)
		kvtap_add(tap, counter, 1);
	kvtap_close(tap);
	folder = namespace_folder();
	CHECK(find_segment(name, folder, 0));
	name_tails(tails_name, name);
	CHECK_EQ(kvtap_reader_guard(), 0);
}

static void end(void)
{
	close(folder);
	remove_segments();
}

/* NONE, or why it is not opened */
static enum kvtap_reject try_open(const char *file)
{
	enum kvtap_reject why;
	struct kvtap_reader *reader;
	int rc = kvtap_reader_open(&reader, &why, folder, file);

	if (rc == 0) {
		kvtap_reader_close(reader);
		return KVTAP_REJECT_NONE;
	}
	CHECK_EQ(rc, -EPROTO);
	CHECK(!reader);
	return why;
}

static struct kvtap_reader *open_good(void)
{
	enum kvtap_reject why;
	struct kvtap_reader *reader;

	CHECK_EQ(kvtap_reader_open(&reader, &why, folder, name), 0);
	CHECK_EQ(kvtap_reader_rings(reader), 1);
	return reader;
}

static void truncate_at(const char *file, uint64_t bytes)
{
	int fd = openat(folder, file, O_RDWR | O_CLOEXEC);

	CHECK_EQ(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

static uint64_t size_of(const char *file)
{
	struct stat status;

	CHECK_EQ(fstatat(folder, file, &status, 0), 0);
	return (uint64_t)status.st_size;
}

TEST(reader_file_names_are_checked)
{
	enum kvtap_reject why;
	struct kvtap_reader *reader;

	begin();
	CHECK_EQ(kvtap_reader_open(&reader, &why, folder, "x/y.seg"), -EINVAL);
	CHECK_EQ(kvtap_reader_open(&reader, &why, folder, ".seg"), -EINVAL);
	CHECK_EQ(kvtap_reader_open(&reader, &why, folder, tails_name), -EINVAL);
	CHECK_EQ(kvtap_reader_open(&reader, &why, folder, "1.none.seg"), -ENOENT);
	end();
}

TEST(reader_file_truncated_at_any_size_is_refused)
{
	static const uint64_t sizes[] = {
		4096 + (8 << 20) + 4096, 4096 + (8 << 20), 1 << 20, 8192, 4097, 4096, 384, 383, 1, 0
	};

	begin();
	truncate_at(name, size_of(name) - 1);
	CHECK_EQ(try_open(name), KVTAP_REJECT_SIZE);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		truncate_at(name, sizes[i]);
		CHECK_EQ(try_open(name), KVTAP_REJECT_SIZE);
	}
	end();
}

TEST(reader_file_longer_than_its_header_says_is_refused)
{
	begin();
	truncate_at(name, size_of(name) + 4096);
	CHECK_EQ(try_open(name), KVTAP_REJECT_SIZE);
	end();
}

/* Everything that a reader may call, on a segment that shrank to this size after it was opened. */
static void use_truncated(uint64_t bytes)
{
	struct kvtap_record record[16];
	struct kvtap_block_view block;
	struct kvtap_losses losses;
	enum kvtap_reject why = KVTAP_REJECT_NONE;
	uint32_t cursor = 0;

	begin();
	struct kvtap_reader *reader = open_good();
	truncate_at(name, bytes);
	CHECK_EQ(kvtap_reader_fetch(reader, &why, 0, record, 16, NULL), -EPROTO);
	CHECK_EQ(why, KVTAP_REJECT_TRUNCATED);
	CHECK_EQ(kvtap_reader_block(reader, &why, 0, &cursor, &block), -EPROTO);
	CHECK_EQ(why, KVTAP_REJECT_TRUNCATED);
	CHECK_EQ(kvtap_reader_losses(reader, &losses), -EPROTO);
	CHECK_EQ(kvtap_reader_refresh(reader, &why), bytes ? 0 : -EPROTO);
	CHECK_EQ(kvtap_reader_rings(reader), 1);
	kvtap_reader_life(reader, true);
	kvtap_reader_retire(reader);
	kvtap_reader_close(reader);
	end();
}

TEST(reader_survives_a_segment_truncated_to_nothing_while_mapped)
{
	use_truncated(0);
}

TEST(reader_survives_a_segment_truncated_to_its_header_while_mapped)
{
	use_truncated(4096);
}

TEST(reader_survives_records_truncated_while_mapped)
{
	struct kvtap_record record[16];
	enum kvtap_reject why;

	begin();
	struct kvtap_reader *reader = open_good();
	truncate_at(name, 4096 + (8 << 20) + KVTAP_RING_RECORDS); /* leaves the ring's header */
	CHECK_EQ(kvtap_reader_fetch(reader, &why, 0, record, 16, NULL), -EPROTO);
	CHECK_EQ(why, KVTAP_REJECT_TRUNCATED);
	kvtap_reader_close(reader);
	end();
}

TEST(reader_survives_tails_truncated_while_mapped)
{
	struct kvtap_record record[16];
	enum kvtap_reject why;

	if (with_tsan())
		SKIP("ThreadSanitizer makes the faulting store under a lock of its own");
	begin();
	struct kvtap_reader *reader = open_good();
	truncate_at(tails_name, 0);
	CHECK_EQ(kvtap_reader_fetch(reader, &why, 0, record, 16, NULL), 16);
	kvtap_reader_take(reader, 0, 16);
	CHECK_EQ(kvtap_reader_give_back(reader, 0), -EPROTO);
	kvtap_reader_retire(reader);
	kvtap_reader_close(reader);
	end();
}

static blkcnt_t blocks_of(const char *file)
{
	struct stat status;

	CHECK_EQ(fstatat(folder, file, &status, 0), 0);
	return status.st_blocks;
}

/* A worker allocates a ring before it counts it; reading the holes of another would allocate them. */
TEST(reader_refuses_rings_that_are_holes_without_filling_them)
{
	uint32_t rings = SMALL_RINGS;
	struct kvtap_reader *reader;
	enum kvtap_reject why;

	begin();
	int fd = openat(folder, name, O_RDWR | O_CLOEXEC);
	CHECK_EQ(pwrite(fd, &rings, 4, offsetof(struct kvtap_segment_header, ring_count)), 4);
	close(fd);
	blkcnt_t before = blocks_of(name);
	CHECK_EQ(kvtap_reader_open(&reader, &why, folder, name), 0);
	CHECK_EQ(kvtap_reader_rings(reader), 1);
	CHECK_EQ(kvtap_reader_refresh(reader, &why), -EPROTO);
	CHECK_EQ(why, KVTAP_REJECT_HEADER);
	kvtap_reader_close(reader);
	CHECK_EQ(blocks_of(name), before);
	end();
}

/* Segments of layout 1.0: the tails file has more behind the tails, and the feature bit is not set. */
TEST(reader_reads_a_segment_of_the_last_version)
{
	struct kvtap_tails_header header;
	struct kvtap_record record[16];
	enum kvtap_reject why;
	uint32_t none = 0;

	begin();
	int fd = openat(folder, name, O_RDWR | O_CLOEXEC);
	CHECK_EQ(pwrite(fd, &none, 2, offsetof(struct kvtap_segment_header, minor)), 2);
	CHECK_EQ(pwrite(fd, &none, 4, offsetof(struct kvtap_segment_header, feature_incompat)), 4);
	close(fd);
	fd = openat(folder, tails_name, O_RDWR | O_CLOEXEC);
	CHECK_EQ(pread(fd, &header, sizeof(header), 0), sizeof(header));
	header.reserved0 = header.tails_bytes; /* where the applied words were */
	header.tails_bytes += SMALL_RINGS * SMALL_OVERFLOW;
	CHECK_EQ(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	CHECK_EQ(ftruncate(fd, (off_t)header.tails_bytes), 0);
	close(fd);
	struct kvtap_reader *reader = open_good();
	CHECK_EQ(kvtap_reader_fetch(reader, &why, 0, record, 16, NULL), 16);
	kvtap_reader_close(reader);
	end();
}

TEST(reader_file_with_a_second_name_is_refused)
{
	begin();
	CHECK_EQ(linkat(folder, name, folder, "2.link.seg", 0), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_HARD_LINK);
	CHECK_EQ(try_open("2.link.seg"), KVTAP_REJECT_HARD_LINK);
	end();
}

TEST(reader_file_that_is_not_regular_is_refused)
{
	begin();
	CHECK_EQ(symlinkat(name, folder, "2.link.seg"), 0);
	CHECK_EQ(try_open("2.link.seg"), KVTAP_REJECT_NOT_REGULAR);
	CHECK_EQ(mkfifoat(folder, "2.fifo.seg", 0600), 0);
	CHECK_EQ(try_open("2.fifo.seg"), KVTAP_REJECT_NOT_REGULAR);
	CHECK_EQ(mkdirat(folder, "2.folder.seg", 0700), 0);
	CHECK_EQ(try_open("2.folder.seg"), KVTAP_REJECT_NOT_REGULAR);
	CHECK_EQ(unlinkat(folder, "2.folder.seg", AT_REMOVEDIR), 0);
	CHECK_EQ(symlinkat("/dev/zero", folder, "3.link.seg"), 0);
	CHECK_EQ(try_open("3.link.seg"), KVTAP_REJECT_NOT_REGULAR);
	end();
}

TEST(reader_file_of_another_user_is_refused)
{
	begin();
	if (fchownat(folder, name, 12345, 12345, 0) < 0) {
		test_leaves_files();
		SKIP("chown: %s", strerror(errno));
	}
	CHECK_EQ(try_open(name), KVTAP_REJECT_OWNER);
	end();
}

/* The folder's owner is trusted, and the folder's group where it may write; in no case all others. */
TEST(reader_trusts_whom_the_folder_trusts)
{
	begin();
	if (fchownat(folder, name, 12345, 12345, 0) < 0) {
		test_leaves_files();
		SKIP("chown: %s", strerror(errno));
	}
	CHECK_EQ(fchown(folder, 12345, (gid_t)-1), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_NONE);
	CHECK_EQ(fchmod(folder, 0777), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_OWNER);
	CHECK_EQ(fchown(folder, 0, 12345), 0);
	CHECK_EQ(fchmod(folder, 0770), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_NONE);
	CHECK_EQ(fchmod(folder, 0750), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_OWNER);
	end();
}

TEST(reader_own_file_in_a_world_writable_folder_is_taken)
{
	begin();
	CHECK_EQ(fchmod(folder, 0777), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_NONE);
	end();
}

TEST(reader_refuses_a_segment_without_its_tails)
{
	begin();
	CHECK_EQ(unlinkat(folder, tails_name, 0), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_TAILS);
	CHECK_EQ(symlinkat("/dev/zero", folder, tails_name), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_TAILS);
	end();
}

/* The name of the other of two segments. */
static void make_second(char second[256])
{
	CHECK_EQ(renameat(folder, name, folder, "aside"), 0);
	kvtap_close(small_tap());
	CHECK(find_segment(second, folder, 0));
	CHECK_EQ(renameat(folder, "aside", folder, name), 0);
}

TEST(reader_refuses_the_tails_of_another_segment)
{
	char second[256], second_tails[256];

	begin();
	make_second(second);
	name_tails(second_tails, second);
	CHECK_EQ(renameat(folder, second_tails, folder, tails_name), 0);
	CHECK_EQ(try_open(name), KVTAP_REJECT_TAILS);
	end();
}

/* Who has it open goes on with the old file; who opens it anew sees that the tails don't belong. */
TEST(reader_notices_a_segment_that_was_replaced)
{
	struct kvtap_record record[16];
	enum kvtap_reject why;
	char second[256];

	begin();
	make_second(second);
	struct kvtap_reader *reader = open_good();
	CHECK_EQ(renameat(folder, second, folder, name), 0);
	CHECK_EQ(kvtap_reader_fetch(reader, &why, 0, record, 16, NULL), 16);
	kvtap_reader_close(reader);
	CHECK_EQ(try_open(name), KVTAP_REJECT_TAILS);
	end();
}

/* ---- the guard ---- */

static void on_foreign_sigbus(int signal_number)
{
	(void)signal_number;
	_exit(42);
}

TEST(reader_guard_leaves_foreign_faults_to_the_handler_before_it)
{
	struct sigaction action = { .sa_handler = on_foreign_sigbus };
	int status;
	pid_t child;

	CHECK_EQ(sigaction(SIGBUS, &action, NULL), 0);
	begin();
	child = fork();
	if (child == 0) {
		int fd = openat(folder, name, O_RDWR | O_CLOEXEC);
		volatile char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

		truncate_at(name, 0);
		_exit(map[100] ? 1 : 2); /* not reached: the access faults */
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 42);
	end();
}

/* ---- the sweep ---- */

static void make_file(const char *file)
{
	int fd = openat(folder, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	close(fd);
}

static bool exists(const char *file)
{
	return faccessat(folder, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A process that holds the lock of a file, as a worker that is just opening does. */
static pid_t hold(const char *file)
{
	int ready[2];
	pid_t child;
	char byte;

	CHECK_EQ(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct flock lock = { .l_type = F_WRLCK, .l_len = 1 };
		int fd = openat(folder, file, O_RDWR | O_CLOEXEC);

		_exit(fcntl(fd, F_SETLK, &lock) < 0 || write(ready[1], "", 1) != 1 ? 1 : pause());
	}
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return child;
}

/* Sweeps until count files are gone: they have to be 2 s old, by a clock that nobody can set. */
static void sweep_until(int count)
{
	for (int removed = 0; removed < count;) {
		int rc = kvtap_reader_sweep(folder);

		CHECK(rc >= 0);
		removed += rc;
		CHECK(removed <= count);
		if (removed < count)
			poll(NULL, 0, 50);
	}
}

TEST(reader_sweep_leaves_young_files)
{
	begin();
	make_file(".tmp.1.dead");
	CHECK_EQ(kvtap_reader_sweep(folder), 0);
	CHECK(exists(".tmp.1.dead"));
	CHECK_EQ(unlinkat(folder, ".tmp.1.dead", 0), 0);
	end();
}

TEST(reader_sweep_removes_orphans_and_nothing_else)
{
	static const char *const keep[] = { ".tmp.2.held", "2.held.tails", "notes.txt", ".hidden" };

	begin();
	for (size_t i = 0; i < 4; i++)
		make_file(keep[i]);
	CHECK_EQ(symlinkat("/nowhere", folder, "4.link.tails"), 0);
	pid_t holder = hold(".tmp.2.held");
	make_file(".tmp.1.dead");
	make_file("1.dead.tails");
	make_file("3.alone.tails");
	sweep_until(3);
	CHECK(!exists(".tmp.1.dead") && !exists("1.dead.tails") && !exists("3.alone.tails"));
	for (size_t i = 0; i < 4; i++)
		CHECK(exists(keep[i]));
	CHECK(exists(name) && exists(tails_name) && exists("4.link.tails"));
	kill(holder, SIGKILL);
	CHECK_EQ(waitpid(holder, NULL, 0), holder);
	sweep_until(2); /* what it held is an orphan now */
	CHECK(!exists(keep[0]) && !exists(keep[1]));
	CHECK_EQ(unlinkat(folder, keep[2], 0), 0);
	CHECK_EQ(unlinkat(folder, keep[3], 0), 0);
	end();
}
