/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state_open.c - make a state file, or check one that is there and undo what was not committed
 *
 * The file was written by another life of this program, or by anybody: nothing in it is used before
 * it was found to lie within it and to fit its sum. Who holds the file is told by a POSIX lock, which
 * names the process and goes with it.
 */
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvtap_reader.h"

#define MAGIC "\x89KVTST\r\n"
#define GENERATION_BITS 47 /* a commit each nanosecond, for a day and a half; one less than fit */
#define VERSION 2	   /* of this file's layout, and of what items mean to the journal */

static bool check_slot(const struct state *state, uint64_t item, struct state_slot *slot)
{
	uint64_t its = state_load(&slot->generation);

	if (!state_word_valid(state, &slot->generation))
		return false;
	if (its > state_generation(state))
		state_store(state, &slot->generation, 0);
	else if (its && (slot->bytes > state_head_at(state, item)->value_bytes ||
			 slot->sum != state_slot_sum(item, slot, its)))
		return false;
	return true;
}

/* Undo what was not committed. Returns: whether the rest of it is whole. */
static bool check_item(const struct state *state, uint64_t item)
{
	struct state_head *head = state_head_at(state, item);
	uint64_t now = state_generation(state);

	if (!state_word_valid(state, &head->born) || !state_word_valid(state, &head->died))
		return false;
	if (state_load(&head->died) > now)
		state_store(state, &head->died, 0);
	if (state_load(&head->born) > now)
		state_store(state, &head->born, 0);
	if (state_is_free(head))
		return true;
	if (state_item_bytes(head->fixed_bytes, head->value_bytes) > head->bytes ||
	    head->sum != state_head_sum(head, item))
		return false;
	for (int i = 0; head->value_bytes && i < 2; i++)
		if (!check_slot(state, item, state_slot_of(head, i)))
			return false;
	return true;
}

static const char *check_items(struct state *state)
{
	uint64_t used = state_load(&state_header(state)->used);

	if (!state_word_valid(state, &state_header(state)->generation) ||
	    !state_word_valid(state, &state_header(state)->used) ||
	    used < sizeof(struct state_header) || used > state->bytes || used % STATE_ALIGN)
		return "its header contradicts itself";
	if (state_generation(state) >> GENERATION_BITS)
		return "its generation is beyond all that there can be";
	for (uint64_t at = sizeof(struct state_header); at < used;
	     at += state_head_at(state, at)->bytes) {
		const struct state_head *head = state_head_at(state, at);

		if (head->bytes < sizeof(*head) || head->bytes % STATE_ALIGN ||
		    head->bytes > used - at)
			return "an item does not fit in";
		if (!check_item(state, at))
			return "an item's sum is wrong";
	}
	for (uint64_t at = sizeof(struct state_header); at < used;
	     at += state_head_at(state, at)->bytes)
		if (state_is_free(state_head_at(state, at)))
			state_release(state, at);
	return NULL;
}

static void boot_id(uint8_t id[16])
{
	char text[64] = "";
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (file && !fgets(text, sizeof(text), file))
		text[0] = '\0';
	if (file)
		fclose(file);
	memset(id, 0, 16);
	for (int i = 0, digits = 0; text[i] && digits < 32; i++) {
		const char *hex = strchr("0123456789abcdef", text[i]);

		if (!hex)
			continue;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | (hex - "0123456789abcdef"));
		digits++;
	}
}

static const char *check(struct state *state)
{
	const struct state_header *found = state_header(state);
	uint8_t boot[16];

	if (memcmp(found->magic, MAGIC, sizeof(found->magic)))
		return "it is no state file";
	if (found->version != VERSION || found->header_bytes != sizeof(*found))
		return "it is of another version";
	boot_id(boot);
	if (memcmp(found->boot_id, boot, sizeof(boot)))
		return "it is of an earlier boot, and may not have reached the disk in full";
	return check_items(state);
}

static int lock(int fd, int *holder)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(fd, F_SETLK, &lock))
		return 0;
	int rc = errno == EACCES || errno == EAGAIN ? -EWOULDBLOCK : -errno;
	if (rc == -EWOULDBLOCK && !fcntl(fd, F_GETLK, &lock) && lock.l_type != F_UNLCK)
		*holder = lock.l_pid > 0 ? lock.l_pid : 0;
	return rc;
}

int state_holder(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int holder = 0;

	if (fd < 0)
		return 0;
	if (!fcntl(fd, F_GETLK, &lock) && lock.l_type != F_UNLCK && lock.l_pid > 0)
		holder = lock.l_pid;
	close(fd);
	return holder;
}

/* Under a temporary name until it is whole: nobody ever sees half a header. */
static int create(struct state *state, int *holder, int folder, const char *name)
{
	char temporary[64];

	snprintf(temporary, sizeof(temporary), KVTAP_TEMPORARY_PREFIX "%s", name);
	unlinkat(folder, temporary,
		 0); /* of a process that was killed here; it has the folder's lock */
	state->fd =
		openat(folder, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (state->fd < 0)
		return -errno;
	int rc = lock(state->fd, holder);
	if (!rc)
		rc = state_grow(state, STATE_GROW);
	if (rc) {
		unlinkat(folder, temporary, 0);
		return rc;
	}
	struct state_header *made = state_header(state);
	*made = (struct state_header){ .version = VERSION, .header_bytes = sizeof(*made) };
	state_store(state, &made->generation, 1);
	state_store(state, &made->used, sizeof(*made));
	memcpy(made->magic, MAGIC, sizeof(made->magic));
	boot_id(made->boot_id);
	return renameat(folder, temporary, folder, name) ? -errno : 0;
}

static const char *check_file(const struct stat *status)
{
	if (!S_ISREG(status->st_mode) || status->st_nlink != 1)
		return "it is no regular file of one name";
	if (status->st_uid != geteuid() || (status->st_mode & (S_IWGRP | S_IWOTH)))
		return "others may write to it";
	if ((uint64_t)status->st_size < sizeof(struct state_header) ||
	    (uint64_t)status->st_size > STATE_BYTES_MAX)
		return "its size is none of a state file";
	return NULL;
}

static int open_file(struct state *state, const char **why, int *holder)
{
	struct stat status;

	if (fstat(state->fd, &status))
		return -errno;
	*why = check_file(&status);
	if (*why)
		return -EPROTO;
	int rc = lock(state->fd, holder);
	if (rc)
		return rc;
	rc = state_grow(state, (uint64_t)status.st_size);
	if (rc)
		return rc;
	*why = check(state);
	return *why ? -EPROTO : 0;
}

int state_open(struct state **opened, const char **why, int *holder, int folder, const char *name)
{
	struct state *state = calloc(1, sizeof(*state));
	int rc;

	*opened = NULL;
	*why = NULL;
	*holder = 0;
	if (!state)
		return -ENOMEM;
	/* NONBLOCK: a FIFO must not make us wait for a writer */
	state->fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (state->fd >= 0)
		rc = open_file(state, why, holder);
	else if (errno == ENOENT)
		rc = create(state, holder, folder, name);
	else
		rc = errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EPROTO : -errno;
	if (rc == -EPROTO && !*why)
		*why = "it is no regular file";
	if (rc)
		state_close(state);
	else
		*opened = state;
	return rc;
}

void state_close(struct state *state)
{
	if (!state)
		return;
	if (state->base)
		munmap(state->base, state->bytes);
	if (state->fd >= 0)
		close(state->fd);
	for (uint32_t i = 0; i < state->classes; i++)
		free(state->class[i].item);
	free(state->class);
	free(state->dead);
	free(state);
}

uint64_t state_bytes(const struct state *state)
{
	return state->bytes;
}
