/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.c - whether a user and password of Basic authentication (RFC 7617) are right
 *
 * What is remembered of a right password is a keyed digest of it with the user and the hash, under
 * a key of this process alone; so there are as many as users at most, a new hash of a user is
 * another, and nobody can push the others out by wrong passwords. Digests are compared in constant
 * time, all of them each time.
 */
#include "auth.h"

#include <crypt.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REMEMBERED 256u
#define WAITING_MAX 16u /* at 70 ms each, the last waits for a second */
#define SCHEME "Basic "

struct auth {
	unsigned char key[32];
	struct crypt_data crypt; /* of the thread */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	/* under lock */
	bool ending;
	struct auth_question *first, **last;
	unsigned waiting;
	unsigned char right[REMEMBERED][AUTH_DIGEST_BYTES];
	unsigned rights; /* ever; the oldest is replaced */
};

/* ---- memory of right ones ---- */

static int make_digest(const struct auth *auth, struct auth_question *question, const char *user)
{
	gnutls_hmac_hd_t hmac;

	int rc = gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, auth->key, sizeof(auth->key));
	if (rc != 0)
		return rc;
	/* with their NULs, so that no two triples are the same bytes */
	rc = gnutls_hmac(hmac, user, strlen(user) + 1);
	if (rc == 0)
		rc = gnutls_hmac(hmac, question->hash, strlen(question->hash) + 1);
	if (rc == 0)
		rc = gnutls_hmac(hmac, question->password, strlen(question->password) + 1);
	gnutls_hmac_deinit(hmac, question->digest);
	return rc;
}

static bool is_remembered(struct auth *auth, const unsigned char digest[AUTH_DIGEST_BYTES])
{
	int found = 0;

	pthread_mutex_lock(&auth->lock);
	unsigned count = auth->rights < REMEMBERED ? auth->rights : REMEMBERED;
	for (unsigned i = 0; i < count; i++)
		found |= gnutls_memcmp(auth->right[i], digest, AUTH_DIGEST_BYTES) == 0;
	pthread_mutex_unlock(&auth->lock);
	return found;
}

static void remember(struct auth *auth, const unsigned char digest[AUTH_DIGEST_BYTES])
{
	if (is_remembered(auth, digest)) /* two asked at once */
		return;
	pthread_mutex_lock(&auth->lock);
	memcpy(auth->right[auth->rights++ % REMEMBERED], digest, AUTH_DIGEST_BYTES);
	pthread_mutex_unlock(&auth->lock);
}

/* ---- the thread ---- */

void auth_drop(struct auth_question *question)
{
	explicit_bzero(question->password, strlen(question->password));
	free(question->password);
	question->password = NULL;
}

static enum auth_verdict check(struct auth *auth, const struct auth_question *question)
{
	const char *made = crypt_r(question->password, question->hash, &auth->crypt);
	size_t bytes = strlen(question->hash);
	bool same =
		made && strlen(made) == bytes && gnutls_memcmp(made, question->hash, bytes) == 0;

	explicit_bzero(&auth->crypt, sizeof(auth->crypt));
	if (!same || !question->known)
		return AUTH_WRONG;
	remember(auth, question->digest);
	return AUTH_RIGHT;
}

/* Takes the first question; NULL: the end. */
static struct auth_question *next_question(struct auth *auth)
{
	pthread_mutex_lock(&auth->lock);
	while (!auth->first && !auth->ending)
		pthread_cond_wait(&auth->asked, &auth->lock);
	struct auth_question *question = auth->ending ? NULL : auth->first;
	if (question) {
		auth->waiting--;
		auth->first = question->next;
		if (!auth->first)
			auth->last = &auth->first;
	}
	pthread_mutex_unlock(&auth->lock);
	return question;
}

static void *run(void *arg)
{
	struct auth *auth = arg;
	struct auth_question *question;

	while ((question = next_question(auth))) {
		enum auth_verdict verdict = check(auth, question);
		auth_drop(question);
		question->answer(question, verdict);
	}
	return NULL;
}

int auth_start(struct auth **auth)
{
	struct auth *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->last = &made->first;
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->asked, NULL);
	int rc = gnutls_rnd(GNUTLS_RND_KEY, made->key, sizeof(made->key)) == 0 ? 0 : EIO;
	if (rc == 0)
		rc = pthread_create(&made->thread, NULL, run, made);
	if (rc != 0) {
		free(made);
		return -rc;
	}
	*auth = made;
	return 0;
}

/* ---- questions ---- */

/* Splits "user:password" of a header, to be freed as one by the user; NULL: malformed. */
static char *decode(const char *authorization, char **password)
{
	gnutls_datum_t bytes;
	char *user;

	if (!authorization || strncasecmp(authorization, SCHEME, strlen(SCHEME)) != 0)
		return NULL;
	const char *text = authorization + strlen(SCHEME);
	gnutls_datum_t encoded = { (unsigned char *)text, (unsigned)strlen(text) };
	if (!encoded.size || gnutls_base64_decode2(&encoded, &bytes) != 0)
		return NULL;
	user = memchr(bytes.data, '\0', bytes.size) ? NULL : calloc(1, bytes.size + 1u);
	if (user)
		memcpy(user, bytes.data, bytes.size);
	explicit_bzero(bytes.data, bytes.size);
	gnutls_free(bytes.data);
	char *colon = user ? strchr(user, ':') : NULL;
	if (!colon) {
		free(user);
		return NULL;
	}
	*colon = '\0';
	*password = colon + 1;
	return user;
}

static const char *hash_of(const struct web_config *config, const char *user)
{
	for (size_t i = 0; i < config->user_count; i++)
		if (strcmp(config->users[i].name, user) == 0)
			return config->users[i].hash;
	return NULL;
}

enum auth_verdict auth_look(struct auth *auth, const struct web_config *config,
			    const char *authorization, struct auth_question *question)
{
	enum auth_verdict verdict = AUTH_BUSY;
	char *password, *user = decode(authorization, &password);

	if (!user)
		return AUTH_WRONG;
	size_t password_bytes = strlen(password);
	question->hash = hash_of(config, user);
	question->known = question->hash;
	if (!question->known) /* somebody's, to take as long */
		question->hash = config->users[0].hash;
	question->password = strdup(password);
	if (question->password && make_digest(auth, question, user) == 0)
		verdict = question->known && is_remembered(auth, question->digest) ? AUTH_RIGHT
										   : AUTH_UNKNOWN;
	if (verdict != AUTH_UNKNOWN && question->password)
		auth_drop(question);
	explicit_bzero(password, password_bytes);
	free(user);
	return verdict;
}

void auth_ask(struct auth *auth, struct auth_question *question)
{
	question->next = NULL;
	pthread_mutex_lock(&auth->lock);
	bool taken = !auth->ending && auth->waiting < WAITING_MAX;
	if (taken) {
		auth->waiting++;
		*auth->last = question;
		auth->last = &question->next;
		pthread_cond_signal(&auth->asked);
	}
	pthread_mutex_unlock(&auth->lock);
	if (taken)
		return;
	auth_drop(question);
	question->answer(question, AUTH_BUSY);
}

void auth_end(struct auth *auth)
{
	pthread_mutex_lock(&auth->lock);
	auth->ending = true;
	struct auth_question *left = auth->first;
	auth->first = NULL;
	pthread_cond_signal(&auth->asked);
	pthread_mutex_unlock(&auth->lock);
	pthread_join(auth->thread, NULL);
	while (left) {
		struct auth_question *question = left;

		left = question->next;
		auth_drop(question);
		question->answer(question, AUTH_BUSY);
	}
}

void auth_free(struct auth *auth)
{
	explicit_bzero(auth->key, sizeof(auth->key));
	pthread_cond_destroy(&auth->asked);
	pthread_mutex_destroy(&auth->lock);
	free(auth);
}
