/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_sweep.c - remove what workers that died while opening left behind
 *
 * A worker locks its temporary file right after making it and makes its tails after that, so a tails
 * file without a segment is an orphan unless a temporary file of the same worker is locked.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "owner.h"
#include "reader.h"

#define SETTLED_SECONDS 2 /* between making a file and locking it */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t bytes = strlen(name), end = strlen(suffix);

	return bytes > end && strcmp(name + bytes - end, suffix) == 0;
}

static bool settled(int folder, const char *name)
{
	struct stat status;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(status.st_mode) && now.tv_sec - status.st_ctim.tv_sec >= SETTLED_SECONDS;
}

static bool held(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool locked;

	if (fd < 0)
		return errno != ENOENT;
	locked = kvtap_owner_locked(fd);
	close(fd);
	return locked;
}

static bool absent(int folder, const char *name)
{
	return faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static bool orphan(int folder, const char *name)
{
	char temporary[sizeof(((struct dirent *)0)->d_name) + 16], segment[sizeof(temporary)];
	int stem = (int)(strlen(name) - strlen(KVTAP_TAILS_SUFFIX));

	if (strncmp(name, KVTAP_TEMPORARY_PREFIX, strlen(KVTAP_TEMPORARY_PREFIX)) == 0)
		return settled(folder, name) && !held(folder, name);
	if (!has_suffix(name, KVTAP_TAILS_SUFFIX))
		return false;
	snprintf(temporary, sizeof(temporary), KVTAP_TEMPORARY_PREFIX "%.*s", stem, name);
	snprintf(segment, sizeof(segment), "%.*s" KVTAP_SEGMENT_SUFFIX, stem, name);
	/* again after the lock: a segment that got its name meanwhile is there now */
	return absent(folder, segment) && settled(folder, name) && !held(folder, temporary) &&
	       absent(folder, segment);
}

int kvtap_reader_sweep(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *entry;
	int removed = 0;
	DIR *names;

	if (fd < 0)
		return -errno;
	names = fdopendir(fd);
	if (!names) {
		int error = errno;

		close(fd);
		return -error;
	}
	while ((entry = readdir(names)))
		if (orphan(folder, entry->d_name) && unlinkat(folder, entry->d_name, 0) == 0)
			removed++;
	closedir(names);
	return removed;
}
