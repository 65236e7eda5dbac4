/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.c - the witnesses of owner.h, one by one; the verdict is in reader.c
 *
 * Robust futexes: https://docs.kernel.org/locking/robust-futex-ABI.html; /proc: proc(5).
 */
#include "owner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "atomic.h"

static ssize_t read_small(const char *path, char *text, size_t capacity)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t bytes;

	if (fd < 0)
		return -errno;
	bytes = read(fd, text, capacity - 1);
	if (bytes < 0)
		bytes = -errno;
	else
		text[bytes] = 0;
	close(fd);
	return bytes;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_boot_id(uint8_t boot_id[16])
{
	char text[64];
	ssize_t bytes = read_small("/proc/sys/kernel/random/boot_id", text, sizeof(text));
	int digits = 0;

	if (bytes < 0)
		return (int)bytes;
	memset(boot_id, 0, 16);
	for (ssize_t i = 0; i < bytes && digits < 32; i++) {
		int digit = hex_digit(text[i]);

		if (digit >= 0) {
			boot_id[digits / 2] |= (uint8_t)(digits % 2 ? digit : digit << 4);
			digits++;
		}
	}
	return digits == 32 ? 0 : -EPROTO;
}

struct process_stat {
	char state;
	uint64_t threads, start_ticks;
};

/* Fields 3, 20 and 22 of proc(5); the second, the name, may hold blanks and parentheses. */
static int read_stat(const char *path, struct process_stat *stat)
{
	char text[1024];
	ssize_t bytes = read_small(path, text, sizeof(text));
	char *at;

	if (bytes < 0)
		return (int)bytes;
	at = strrchr(text, ')');
	if (!at || at[1] != ' ')
		return -EPROTO;
	at += 2;
	stat->state = *at;
	for (int field = 3; field < 22; field++) {
		if (field == 20)
			stat->threads = strtoull(at, NULL, 10);
		at = strchr(at, ' ');
		if (!at)
			return -EPROTO;
		at++;
	}
	stat->start_ticks = strtoull(at, NULL, 10);
	return 0;
}

/* A container may have the host's /proc: what stands under a pid there is another process. */
static bool proc_is_foreign(void)
{
	char text[32];
	ssize_t bytes = readlink("/proc/self", text, sizeof(text) - 1);

	if (bytes < 0)
		return true;
	text[bytes] = 0;
	return strtol(text, NULL, 10) != getpid();
}

int kvtap_owner_self(struct kvtap_owner *owner)
{
	struct process_stat process;
	struct stat namespace_stat;
	int rc = read_boot_id(owner->boot_id);

	if (rc < 0)
		return rc;
	rc = read_stat("/proc/self/stat", &process);
	if (rc < 0)
		return rc;
	if (stat("/proc/self/ns/pid", &namespace_stat) < 0)
		return -errno;
	owner->start_ticks = process.start_ticks;
	owner->pid_namespace = namespace_stat.st_ino;
	owner->pid = (uint32_t)getpid();
	owner->proc_foreign = proc_is_foreign();
	return 0;
}

enum kvtap_owner_process kvtap_owner_process(const struct kvtap_owner *owner,
					     const struct kvtap_owner *self)
{
	struct process_stat process;
	char path[32];
	int rc;

	if (memcmp(owner->boot_id, self->boot_id, 16) != 0)
		return KVTAP_PROCESS_GONE;
	if (owner->pid_namespace != self->pid_namespace || self->proc_foreign || owner->pid == 0 ||
	    owner->pid > INT32_MAX)
		return KVTAP_PROCESS_UNKNOWN;
	snprintf(path, sizeof(path), "/proc/%u/stat", owner->pid);
	rc = read_stat(path, &process);
	if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM)
		return KVTAP_PROCESS_RUNS; /* no answer is no reason to bury it */
	if (rc < 0) {
		/* hidepid or no /proc: ask the kernel whether there is such a process at all */
		if (kill((pid_t)owner->pid, 0) < 0 && errno == ESRCH)
			return KVTAP_PROCESS_GONE;
		return KVTAP_PROCESS_UNKNOWN;
	}
	if (process.start_ticks != owner->start_ticks)
		return KVTAP_PROCESS_GONE;
	/* a zombie whose other threads run on is alive */
	if ((process.state == 'Z' || process.state == 'X') && process.threads <= 1)
		return KVTAP_PROCESS_GONE;
	return KVTAP_PROCESS_RUNS;
}

bool kvtap_owner_maps(const struct kvtap_owner *owner, int fd)
{
	char path[32], *line = NULL;
	size_t capacity = 0;
	struct stat file;
	bool found = false, any = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%u/maps", owner->pid);
	maps = fstat(fd, &file) < 0 ? NULL : fopen(path, "re");
	while (maps && !found && getline(&line, &capacity, maps) > 0) {
		unsigned int major, minor;
		unsigned long inode;

		any = true;
		found = sscanf(line, "%*s %*s %*s %x:%x %lu", &major, &minor, &inode) == 3 &&
			inode == file.st_ino && makedev(major, minor) == file.st_dev;
	}
	free(line);
	if (maps)
		fclose(maps);
	return found || !any;
}

/* Byte 0 for exclusive use. Not an OFD lock: a fork child would go on holding that one. */
static struct flock whole_lock(short type)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };
}

int kvtap_owner_lock(int fd)
{
	struct flock lock = whole_lock(F_WRLCK);

	return fcntl(fd, F_SETLK, &lock) < 0 ? -errno : 0;
}

bool kvtap_owner_locked(int fd)
{
	struct flock lock = whole_lock(F_RDLCK);

	return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int kvtap_beacon_light(struct kvtap_ring_header *ring)
{
	pthread_mutexattr_t attributes;
	int rc = pthread_mutexattr_init(&attributes);

	if (rc)
		return -rc;
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	rc = pthread_mutex_init(&ring->beacon, &attributes);
	pthread_mutexattr_destroy(&attributes);
	/* nobody else knows it yet; a lock would look like a wait for it under the tap's lock */
	return rc ? -rc : -pthread_mutex_trylock(&ring->beacon);
}

int kvtap_beacon_take(struct kvtap_ring_header *ring)
{
	int rc = pthread_mutex_trylock(&ring->beacon);

	if (rc == EOWNERDEAD)
		rc = pthread_mutex_consistent(&ring->beacon);
	return -rc;
}

bool kvtap_beacon_drop(struct kvtap_ring_header *ring)
{
	return pthread_mutex_unlock(&ring->beacon) == 0; /* EPERM: not the holder */
}

bool kvtap_beacon_word_lit(uint32_t word)
{
	return (word & FUTEX_TID_MASK) != 0 && !(word & FUTEX_OWNER_DIED);
}
