/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web.c - the web configuration that holds now, read again when one of its files changes
 *
 * The files are known by what stat(2) says of what was opened, so a change while they are read is
 * seen the next time. One thread reads at a time, without the lock: the others go on with the old
 * settings. A failed reading is not tried again before another change.
 */
#include "web.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define LOOK_NS (1000 * CLOCK_MS)
#define FILES_MAX 4 /* the configuration, certificate, key, client CA */

/* A file and how it was when it was read; all zero but the path: it could not be opened. */
struct watched {
	char *path;
	dev_t device;
	ino_t inode;
	off_t bytes;
	struct timespec modified, changed;
};

struct reading {
	struct watched file[FILES_MAX];
	size_t files;
	char error[WEB_ERROR_BYTES];
};

struct web {
	char *path; /* NULL: no file */
	pthread_mutex_t lock;
	struct web_settings *current; /* under lock, as is what follows */
	uint64_t look_ns;
	bool reading, forced;
	struct reading last; /* by the thread that has set reading */
	atomic_bool good;    /* relaxed: statistic */
};

/* ---- files ---- */

static void remember(struct watched *file, const struct stat *stat)
{
	file->device = stat->st_dev;
	file->inode = stat->st_ino;
	file->bytes = stat->st_size;
	file->modified = stat->st_mtim;
	file->changed = stat->st_ctim;
}

static bool is_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool has_changed(const struct watched *file)
{
	struct watched now = { .path = file->path };
	struct stat status;

	if (stat(file->path, &status) == 0)
		remember(&now, &status);
	return now.device != file->device || now.inode != file->inode || now.bytes != file->bytes ||
	       !is_same_time(now.modified, file->modified) ||
	       !is_same_time(now.changed, file->changed);
}

/* Reads all of it; a negative errno when it is no regular file, or too long. */
static int read_open_file(int fd, struct watched *file, gnutls_datum_t *content)
{
	struct stat status;
	ssize_t got;

	if (fstat(fd, &status) != 0)
		return -errno;
	remember(file, &status);
	if (!S_ISREG(status.st_mode))
		return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
	if (status.st_size > (off_t)WEB_CONFIG_BYTES_MAX)
		return -EFBIG;
	content->data = malloc((size_t)status.st_size + 1);
	if (!content->data)
		return -ENOMEM;
	content->size = 0;
	while ((off_t)content->size < status.st_size) {
		got = read(fd, content->data + content->size,
			   (size_t)status.st_size - content->size);
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		content->size += (unsigned)got;
	}
	return 0;
}

/* Takes path over. The file is watched from now on, even if it can't be read. */
static int read_file(struct reading *reading, char *path, gnutls_datum_t *content)
{
	struct watched *file = &reading->file[reading->files];

	if (!path)
		return -ENOMEM;
	reading->files++;
	*file = (struct watched){ .path = path };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
	int rc = fd < 0 ? -errno : read_open_file(fd, file, content);
	if (fd >= 0)
		close(fd);
	if (rc != 0)
		snprintf(reading->error, sizeof(reading->error), "%s: %s", path, strerror(-rc));
	return rc;
}

/* A path in the configuration starts at its folder. */
static char *resolve(const char *config_path, const char *path)
{
	const char *slash = strrchr(config_path, '/');
	char *resolved;

	if (*path == '/' || !slash)
		return strdup(path);
	if (asprintf(&resolved, "%.*s%s", (int)(slash - config_path + 1), config_path, path) < 0)
		return NULL;
	return resolved;
}

static void forget(struct reading *reading)
{
	for (size_t i = 0; i < reading->files; i++)
		free(reading->file[i].path);
	reading->files = 0;
}

/* ---- settings ---- */

static int read_pem(struct web *web, struct reading *reading, const struct web_pem *pem,
		    gnutls_datum_t *content)
{
	if (pem->file)
		return read_file(reading, resolve(web->path, pem->file), content);
	if (!pem->text)
		return 0;
	content->data = (unsigned char *)strdup(pem->text);
	content->size = (unsigned)strlen(pem->text);
	return content->data ? 0 : -ENOMEM;
}

static void free_pem(gnutls_datum_t *content)
{
	if (content->data)
		explicit_bzero(content->data, content->size);
	free(content->data);
}

static int load_tls(struct web *web, struct reading *reading, struct web_settings *settings)
{
	const struct web_config *config = &settings->config;
	struct tls_pems pems = { .cert = { NULL, 0 } };
	const char *why;

	int rc = read_pem(web, reading, &config->cert, &pems.cert);
	if (rc == 0)
		rc = read_pem(web, reading, &config->key, &pems.key);
	if (rc == 0)
		rc = read_pem(web, reading, &config->client_ca, &pems.client_ca);
	if (rc == 0) {
		rc = tls_create(&settings->tls, config, &pems, &why);
		if (rc != 0)
			snprintf(reading->error, sizeof(reading->error),
				 "%s: tls_server_config: certificate and key, or client_ca: %s",
				 web->path, why);
	}
	free_pem(&pems.cert);
	free_pem(&pems.key);
	free_pem(&pems.client_ca);
	return rc;
}

static int load_settings(struct web *web, struct reading *reading, struct web_settings *settings)
{
	gnutls_datum_t text = { NULL, 0 };

	int rc = read_file(reading, strdup(web->path), &text);
	if (rc == 0)
		rc = web_config_parse(&settings->config, web->path, (const char *)text.data,
				      text.size, reading->error);
	free_pem(&text);
	if (rc == 0 && settings->config.tls)
		rc = load_tls(web, reading, settings);
	return rc;
}

static void settings_free(struct web_settings *settings)
{
	tls_destroy(settings->tls);
	web_config_free(&settings->config);
	free(settings);
}

/* Reads all files; NULL: the error is in reading. */
static struct web_settings *load(struct web *web, struct reading *reading)
{
	struct web_settings *settings = calloc(1, sizeof(*settings));

	snprintf(reading->error, sizeof(reading->error), "out of memory");
	if (!settings)
		return NULL;
	settings->references = 1;
	if (!web->path || load_settings(web, reading, settings) == 0)
		return settings;
	settings_free(settings);
	return NULL;
}

/* ---- what holds now ---- */

static void set_good(struct web *web, bool good)
{
	atomic_store_explicit(&web->good, good, memory_order_relaxed);
}

int web_open(struct web **web, const char *path)
{
	struct web *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	pthread_mutex_init(&made->lock, NULL);
	made->path = path ? strdup(path) : NULL;
	made->current = path && !made->path ? NULL : load(made, &made->last);
	if (made->current) {
		set_good(made, true);
		*web = made;
		return 0;
	}
	log_error("Cannot use the web configuration", "error", made->last.error);
	web_close(made);
	return -EINVAL;
}

void web_close(struct web *web)
{
	if (web->current)
		settings_free(web->current);
	forget(&web->last);
	pthread_mutex_destroy(&web->lock);
	free(web->path);
	free(web);
}

/* Under lock. */
static void release(struct web_settings *settings)
{
	if (--settings->references == 0)
		settings_free(settings);
}

/* By the thread that has set reading, without the lock. NULL: the old ones stay. */
static struct web_settings *read_again(struct web *web, bool forced)
{
	struct reading reading = { .files = 0 };
	bool changed = forced;

	for (size_t i = 0; i < web->last.files; i++)
		changed = changed || has_changed(&web->last.file[i]);
	if (!changed)
		return NULL;
	struct web_settings *settings = load(web, &reading);
	set_good(web, settings);
	if (settings)
		log_info("Read the web configuration again", "file", web->path);
	else
		log_error("Cannot use the web configuration; the old one stays", "error",
			  reading.error);
	forget(&web->last);
	web->last = reading;
	return settings;
}

/* Whether it is this thread's turn to read; under lock. */
static bool take_turn(struct web *web)
{
	uint64_t now_ns = clock_ns();

	if (!web->path || web->reading || (!web->forced && now_ns < web->look_ns))
		return false;
	web->look_ns = now_ns + LOOK_NS;
	web->reading = true;
	return true;
}

struct web_settings *web_acquire(struct web *web)
{
	pthread_mutex_lock(&web->lock);
	if (take_turn(web)) {
		bool forced = web->forced;

		web->forced = false;
		pthread_mutex_unlock(&web->lock);
		struct web_settings *settings = read_again(web, forced);
		pthread_mutex_lock(&web->lock);
		web->reading = false;
		if (settings) {
			release(web->current);
			web->current = settings;
		}
	}
	struct web_settings *current = web->current;
	current->references++;
	pthread_mutex_unlock(&web->lock);
	return current;
}

void web_release(struct web *web, struct web_settings *settings)
{
	pthread_mutex_lock(&web->lock);
	release(settings);
	pthread_mutex_unlock(&web->lock);
}

void web_reread(struct web *web)
{
	pthread_mutex_lock(&web->lock);
	web->forced = true;
	pthread_mutex_unlock(&web->lock);
}

bool web_is_good(const struct web *web)
{
	return atomic_load_explicit(&web->good, memory_order_relaxed);
}
