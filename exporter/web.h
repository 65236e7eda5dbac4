/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web.h - the web configuration that holds now, read again when one of its files changes
 *
 * Who serves a connection or a request holds the settings that were in force when it began.
 */
#ifndef KVTAP_EXPORTER_WEB_H
#define KVTAP_EXPORTER_WEB_H

#include "tls.h"
#include "web_config.h"

struct web;

/* Immutable while somebody holds it. */
struct web_settings {
	struct web_config config;
	struct tls *tls;     /* NULL: plain */
	unsigned references; /* web.c's, under its lock */
};

/**
 * web_open - read the file, and log what is wrong
 * @path: NULL: there is none, so no TLS and no passwords, for ever
 *
 * Returns: 0, -EINVAL or -ENOMEM.
 */
int web_open(struct web **web, const char *path);
/* web_close - when nobody holds settings */
void web_close(struct web *web);

/**
 * web_acquire - the settings in force, to be released; any thread
 *
 * At most once a second it is looked whether a file has changed; then all are read again. New
 * settings hold if all is well with them; else the old ones stay and an error is logged.
 */
struct web_settings *web_acquire(struct web *web);
void web_release(struct web *web, struct web_settings *settings);
/* web_reread - read again with the next web_acquire(), changed or not; any thread */
void web_reread(struct web *web);

/* web_is_good - the files were good when they were last read; any thread */
bool web_is_good(const struct web *web);

#endif
