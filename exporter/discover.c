/* SPDX-License-Identifier: Apache-2.0 */
/*
 * discover.c - find segments in the namespace's folder; knows names, opens no segment
 *
 * Every find is a full scan: a sorted list of the segments that are there, compared with the list
 * of the scan before. inotify only says when to scan early, so that a lost event costs some seconds
 * and nothing else. A file is known by name and inode until it is gone from the folder. A folder
 * that was removed or replaced is opened anew by the next scan.
 */
#include "discover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "journal.h"
#include "kvtap_reader.h"
#include "log.h"

#define SCAN_NS (5000 * CLOCK_MS)
#define FILES_MAX 16384 /* segments; what is beyond has to wait */

struct found {
	ino_t inode;
	char *name;
	bool settled; /* needs no other offer */
};

struct list {
	struct found *file;
	size_t count;
};

struct discover {
	char path[PATH_MAX];
	discover_offer *offer;
	void *context;
	int folder; /* -1: not there */
	int holder; /* the exporter that has locked it, if one has */
	uint64_t opened;
	int inotify, watch;
	struct list known; /* sorted by name, inode */
	uint64_t scan_due;
	bool folder_logged;
};

static void list_free(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->file[i].name);
	free(list->file);
	*list = (struct list){ 0 };
}

static int compare(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (x->inode > y->inode) - (x->inode < y->inode);
}

static bool is_segment(const char *name)
{
	size_t bytes = strlen(name), end = sizeof(KVTAP_SEGMENT_SUFFIX) - 1;

	return name[0] != '.' && bytes > end && !strcmp(name + bytes - end, KVTAP_SEGMENT_SUFFIX);
}

static int list_add(struct list *list, const struct dirent *entry)
{
	if (list->count >= FILES_MAX)
		return 0;
	if (!(list->count & (list->count - 1))) { /* full at each power of two */
		size_t room = list->count ? list->count * 2 : 1;
		struct found *grown = realloc(list->file, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		list->file = grown;
	}
	char *name = strdup(entry->d_name);
	if (!name)
		return -ENOMEM;
	list->file[list->count++] = (struct found){ .inode = entry->d_ino, .name = name };
	return 0;
}

static int list_read(struct list *list, int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int rc = 0;

	if (!entries) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc && (entry = readdir(entries)))
		if (is_segment(entry->d_name))
			rc = list_add(list, entry);
	closedir(entries);
	if (rc)
		list_free(list);
	else if (list->count)
		qsort(list->file, list->count, sizeof(*list->file), compare);
	return rc;
}

static void offer_new(struct discover *discover, struct list *now)
{
	const struct list *before = &discover->known;

	for (size_t i = 0; i < now->count; i++) {
		struct found *file = &now->file[i];
		const struct found *known =
			before->count
				? bsearch(file, before->file, before->count, sizeof(*file), compare)
				: NULL;

		file->settled = known && known->settled;
		if (!file->settled)
			file->settled = discover->offer(discover->context, discover->folder,
							file->name, !known);
	}
}

/* ---- the folder --------------------------------------------------------------------------- */

static int folder_lock(struct discover *discover, int folder)
{
	struct stat status;

	if (flock(folder, LOCK_EX | LOCK_NB)) {
		int rc = -errno;

		discover->holder = state_holder(folder, JOURNAL_NAME);
		return rc;
	}
	if (fstat(folder, &status))
		return -errno;
	if (status.st_mode & S_IWOTH)
		log_warn("Every user of this machine may write into the folder", "folder",
			 discover->path);
	int watch = inotify_add_watch(discover->inotify, discover->path,
				      IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
	if (watch < 0)
		return -errno;
	discover->watch = watch;
	return 0;
}

static int folder_open(struct discover *discover)
{
	if (mkdir(discover->path, 0700) && errno != EEXIST)
		return -errno;
	int folder = open(discover->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0)
		return -errno;
	int rc = folder_lock(discover, folder);
	if (rc) {
		close(folder);
		return rc;
	}
	discover->folder = folder;
	discover->opened++;
	return 0;
}

static void folder_close(struct discover *discover)
{
	if (discover->folder < 0)
		return;
	inotify_rm_watch(discover->inotify, discover->watch); /* fails if the folder is gone */
	close(discover->folder);
	discover->folder = -1;
}

/* Whether the folder that is open still has its name. */
static bool folder_current(const struct discover *discover)
{
	struct stat there, ours;

	return discover->folder >= 0 && !fstat(discover->folder, &ours) &&
	       !lstat(discover->path, &there) && there.st_ino == ours.st_ino &&
	       there.st_dev == ours.st_dev;
}

static void log_folder(const struct discover *discover, int rc)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", discover->holder);
	if (rc == -EWOULDBLOCK)
		log_error("Another exporter reads the folder", "folder", discover->path, "pid",
			  discover->holder ? pid
					   : "unknown: of another pid namespace or just starting");
	else
		log_error("Can't open the folder", "folder", discover->path, "error",
			  strerror(-rc));
}

static int folder_check(struct discover *discover)
{
	if (folder_current(discover))
		return 0;
	folder_close(discover);
	int rc = folder_open(discover);
	if (rc && !discover->folder_logged)
		log_folder(discover, rc);
	discover->folder_logged = rc != 0;
	return rc;
}

/* ---- for the loop ------------------------------------------------------------------------- */

int discover_open(struct discover **discover, const char *dir, const char *name_space,
		  discover_offer *offer, void *context)
{
	struct discover *made = calloc(1, sizeof(*made));
	int rc;

	if (!made)
		return -ENOMEM;
	made->folder = -1;
	made->offer = offer;
	made->context = context;
	if (snprintf(made->path, sizeof(made->path), "%s/kvtap.%s", dir, name_space) >=
	    (int)sizeof(made->path)) {
		rc = -ENAMETOOLONG;
		goto fail;
	}
	made->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (made->inotify < 0) {
		rc = -errno;
		log_error("Can't watch folders", "error", strerror(errno));
		goto fail;
	}
	rc = folder_check(made);
	if (rc)
		goto fail_folder;
	*discover = made;
	return 0;

fail_folder:
	close(made->inotify);
fail:
	free(made);
	return rc;
}

void discover_close(struct discover *discover)
{
	folder_close(discover);
	close(discover->inotify);
	list_free(&discover->known);
	free(discover);
}

int discover_fd(const struct discover *discover)
{
	return discover->inotify;
}

/* Take all events; what they say doesn't matter, a scan follows. */
static void take_events(const struct discover *discover)
{
	char buffer[4096] __attribute__((aligned(8)));

	while (read(discover->inotify, buffer, sizeof(buffer)) > 0)
		;
}

int discover_folder(const struct discover *discover)
{
	return discover->folder;
}

uint64_t discover_opened(const struct discover *discover)
{
	return discover->opened;
}

bool discover_poll(struct discover *discover, bool happened)
{
	struct list now = { 0 };
	uint64_t time_ns = clock_ns();
	bool full = time_ns >= discover->scan_due;

	if (happened)
		take_events(discover);
	if (!happened && !full)
		return false;
	if (full)
		discover->scan_due = time_ns + SCAN_NS;
	if (folder_check(discover) || list_read(&now, discover->folder))
		return false;
	offer_new(discover, &now);
	list_free(&discover->known);
	discover->known = now;
	if (full)
		kvtap_reader_sweep(discover->folder);
	return full;
}
