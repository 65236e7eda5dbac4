/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.h - whether a user and password of Basic authentication (RFC 7617) are right
 *
 * bcrypt takes tens of milliseconds on purpose, so it runs in a thread of its own; what was found
 * right is remembered. A user that does not exist costs as much as a wrong password.
 */
#ifndef KVTAP_EXPORTER_AUTH_H
#define KVTAP_EXPORTER_AUTH_H

#include "web_config.h"

struct auth;

enum auth_verdict {
	AUTH_RIGHT,
	AUTH_WRONG,
	AUTH_UNKNOWN, /* ask the thread */
	AUTH_BUSY,    /* too many ask */
};

#define AUTH_DIGEST_BYTES 32

/* One question; borrowed from auth_ask() until answer is called, which may free it. */
struct auth_question {
	/* set by the caller; called once, without a lock, from auth's thread or that of auth_stop() */
	void (*answer)(struct auth_question *question, enum auth_verdict verdict);
	struct auth_question *next; /* the rest is auth.c's */
	const char *hash;	    /* of the configuration, which must outlive the question */
	bool known;
	char *password;
	unsigned char digest[AUTH_DIGEST_BYTES];
};

int auth_start(struct auth **auth); /* 0 or a negative errno */

/**
 * auth_look - judge without a check of bcrypt, where that can be
 * @config:        with at least one user
 * @authorization: the header, NULL: there is none
 *
 * UNKNOWN: question is filled, and goes to auth_ask() next. Any thread.
 */
enum auth_verdict auth_look(struct auth *auth, const struct web_config *config,
			    const char *authorization, struct auth_question *question);
/* auth_ask - have it checked; answers itself when there are too many, or after auth_end(); any thread */
void auth_ask(struct auth *auth, struct auth_question *question);

/* auth_drop - a question that is not asked after all; frees the password in it */
void auth_drop(struct auth_question *question);

/* auth_end - answer whoever asked, BUSY, and end the thread */
void auth_end(struct auth *auth);
/* auth_free - after auth_end(), when nobody calls any more */
void auth_free(struct auth *auth);

#endif
