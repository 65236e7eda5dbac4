/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_config.c - a web configuration file in the form of Prometheus' exporter-toolkit; pure
 *
 * libyaml makes a document of nodes, which is kept: all strings of the configuration stand in it.
 * A table for each mapping says which keys it takes and by which function. Aliases may make the
 * document a graph, but no deeper than the tables go is it ever followed.
 */
#include "web_config.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "clock.h"
#include "quantity.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DAY_NS (24 * 3600 * 1000 * CLOCK_MS)
#define BCRYPT_BYTES 60
#define BCRYPT_CHARS "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
/* a check holds up all others: a cost of 15 takes some two seconds, and each more doubles it */
#define BCRYPT_COST_MAX 15

const char *const web_header_names[WEB_HEADERS] = {
	[WEB_HEADER_CSP] = "Content-Security-Policy",	 [WEB_HEADER_FRAME] = "X-Frame-Options",
	[WEB_HEADER_SNIFF] = "X-Content-Type-Options",	 [WEB_HEADER_XSS] = "X-XSS-Protection",
	[WEB_HEADER_HSTS] = "Strict-Transport-Security",
};

struct reader {
	yaml_document_t *document;
	struct web_config *config;
	const char *file;
	char *error;
};

/* A key that a mapping may have, and what takes its value into field. */
struct key {
	const char *name;
	int (*take)(struct reader *reader, const yaml_node_t *node, void *field);
	void *field;
};

/* ---- nodes ---- */

static int __attribute__((format(printf, 3, 4)))
fail_at(struct reader *reader, yaml_mark_t mark, const char *format, ...)
{
	va_list args;

	int used = snprintf(reader->error, WEB_ERROR_BYTES, "%s:%zu:%zu: ", reader->file,
			    mark.line + 1, mark.column + 1);
	if (used < 0 || used >= WEB_ERROR_BYTES)
		return -EINVAL;
	va_start(args, format);
	vsnprintf(reader->error + used, WEB_ERROR_BYTES - (size_t)used, format, args);
	va_end(args);
	return -EINVAL;
}

static yaml_node_t *node_at(const struct reader *reader, int index)
{
	return yaml_document_get_node(reader->document, index);
}

/* The text of a scalar without NUL; NULL: it is something else. */
static const char *scalar(const yaml_node_t *node)
{
	const char *text =
		node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;

	return text && strlen(text) == node->data.scalar.length ? text : NULL;
}

/* Nothing stands behind the key. */
static bool is_null(const yaml_node_t *node)
{
	const char *text = scalar(node);

	return text && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static int take_string(struct reader *reader, const yaml_node_t *node, void *field)
{
	const char **string = field;

	*string = scalar(node);
	if (!*string || !**string)
		return fail_at(reader, node->start_mark, "expected text that is not empty");
	return 0;
}

static int take_bool(struct reader *reader, const yaml_node_t *node, void *field)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
	const char *text = scalar(node);

	for (size_t i = 0; text && i < COUNT(words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*(bool *)field = i % 2;
			return 0;
		}
	}
	return fail_at(reader, node->start_mark, "expected true or false");
}

/* Whether a key stands twice before a pair, which is one of the mapping. */
static bool stands_before(const struct reader *reader, const yaml_node_t *mapping,
			  const yaml_node_pair_t *pair, const char *name)
{
	for (const yaml_node_pair_t *other = mapping->data.mapping.pairs.start; other < pair;
	     other++) {
		const char *text = scalar(node_at(reader, other->key));
		if (text && strcmp(text, name) == 0)
			return true;
	}
	return false;
}

/* The text of a pair's key, which no pair before it has; NULL: the error is set. */
static const char *take_key(struct reader *reader, const yaml_node_t *mapping,
			    const yaml_node_pair_t *pair)
{
	const yaml_node_t *node = node_at(reader, pair->key);
	const char *name = scalar(node);

	if (!name)
		fail_at(reader, node->start_mark, "expected the name of a key");
	else if (stands_before(reader, mapping, pair, name))
		fail_at(reader, node->start_mark, "'%s' stands here twice", name);
	else
		return name;
	return NULL;
}

static int take_pair(struct reader *reader, const yaml_node_pair_t *pair, const char *name,
		     const char *what, const struct key *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(keys[i].name, name) == 0)
			return keys[i].take(reader, node_at(reader, pair->value), keys[i].field);
	return fail_at(reader, node_at(reader, pair->key)->start_mark, "unknown key '%s' in %s",
		       name, what);
}

static int take_mapping(struct reader *reader, const yaml_node_t *node, const char *what,
			const struct key *keys, size_t count)
{
	if (node->type != YAML_MAPPING_NODE)
		return fail_at(reader, node->start_mark, "%s: expected keys with values", what);
	for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const char *name = take_key(reader, node, pair);
		if (!name || take_pair(reader, pair, name, what, keys, count) != 0)
			return -EINVAL;
	}
	return 0;
}

/* Hands each text of a list to take. */
static int take_list(struct reader *reader, const yaml_node_t *node, void *field,
		     int (*take)(struct reader *reader, const yaml_node_t *item, void *field))
{
	if (is_null(node))
		return 0;
	if (node->type != YAML_SEQUENCE_NODE)
		return fail_at(reader, node->start_mark, "expected a list");
	for (const yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++)
		if (take(reader, node_at(reader, *item), field) != 0)
			return -EINVAL;
	return 0;
}

/* ---- tls_server_config ---- */

static int take_version(struct reader *reader, const yaml_node_t *node, void *field)
{
	const char *name = scalar(node);

	if (!name || tls_policy_version(field, name) != 0)
		return fail_at(reader, node->start_mark, "none of TLS10, TLS11, TLS12, TLS13");
	return 0;
}

static int take_suite(struct reader *reader, const yaml_node_t *node, void *field)
{
	const char *name = scalar(node);

	if (!name || tls_policy_add_suite(field, name) != 0)
		return fail_at(reader, node->start_mark,
			       "'%s' is no suite that is held for secure; the names are like "
			       "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			       name ? name : "");
	return 0;
}

static int take_suites(struct reader *reader, const yaml_node_t *node, void *field)
{
	if (take_list(reader, node, field, take_suite) != 0)
		return -EINVAL;
	const char *extra = tls_policy_extra(field);
	if (extra)
		return fail_at(reader, node->start_mark,
			       "this list would also allow %s, as key exchange and cipher are "
			       "chosen "
			       "apart; add it, or make the list smaller",
			       extra);
	return 0;
}

static int take_curve(struct reader *reader, const yaml_node_t *node, void *field)
{
	const char *name = scalar(node);

	if (!name || tls_policy_add_curve(field, name) != 0)
		return fail_at(reader, node->start_mark,
			       "'%s' is none of CurveP256, CurveP384, CurveP521, X25519, or stands "
			       "here twice",
			       name ? name : "");
	return 0;
}

static int take_curves(struct reader *reader, const yaml_node_t *node, void *field)
{
	return take_list(reader, node, field, take_curve);
}

static int take_client_auth(struct reader *reader, const yaml_node_t *node, void *field)
{
	static const char *const names[] = {
		[CLIENT_AUTH_NONE] = "NoClientCert",
		[CLIENT_AUTH_REQUEST] = "RequestClientCert",
		[CLIENT_AUTH_REQUIRE_ANY] = "RequireAnyClientCert",
		[CLIENT_AUTH_VERIFY_IF_GIVEN] = "VerifyClientCertIfGiven",
		[CLIENT_AUTH_REQUIRE] = "RequireAndVerifyClientCert",
	};
	const char *text = scalar(node);

	for (size_t i = 0; text && i < COUNT(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*(enum client_auth *)field = (enum client_auth)i;
			return 0;
		}
	}
	return fail_at(reader, node->start_mark,
		       "none of NoClientCert, RequestClientCert, RequireAnyClientCert, "
		       "VerifyClientCertIfGiven, RequireAndVerifyClientCert");
}

static int take_san(struct reader *reader, const yaml_node_t *node, void *field)
{
	struct web_config *config = field;

	return take_string(reader, node, &config->sans[config->san_count++]);
}

static int take_sans(struct reader *reader, const yaml_node_t *node, void *field)
{
	struct web_config *config = field;
	size_t count =
		node->type == YAML_SEQUENCE_NODE
			? (size_t)(node->data.sequence.items.top - node->data.sequence.items.start)
			: 0;

	config->sans = calloc(count + 1, sizeof(config->sans[0]));
	if (!config->sans)
		return fail_at(reader, node->start_mark, "out of memory");
	return take_list(reader, node, config, take_san);
}

static int check_pem(struct reader *reader, const yaml_node_t *node, const struct web_pem *pem,
		     const char *name)
{
	if (pem->file && pem->text)
		return fail_at(reader, node->start_mark, "%s and %s_file: only one of them", name,
			       name);
	if (!pem->file && !pem->text)
		return fail_at(reader, node->start_mark, "%s_file or %s is missing", name, name);
	return 0;
}

static int check_tls(struct reader *reader, const yaml_node_t *node)
{
	const struct web_config *config = reader->config;
	const struct web_pem *ca = &config->client_ca;
	bool verify = config->client_auth >= CLIENT_AUTH_VERIFY_IF_GIVEN;

	if (check_pem(reader, node, &config->cert, "cert") != 0 ||
	    check_pem(reader, node, &config->key, "key") != 0)
		return -EINVAL;
	if (verify && check_pem(reader, node, ca, "client_ca") != 0)
		return -EINVAL;
	if (!verify && (ca->file || ca->text || config->san_count))
		return fail_at(reader, node->start_mark,
			       "client_ca and client_allowed_sans need a client_auth_type that "
			       "verifies: RequireAndVerifyClientCert or VerifyClientCertIfGiven");
	uint8_t min = config->policy.min, max = config->policy.max;
	if (max && max < (min ? min : 3))
		return fail_at(reader, node->start_mark, "max_version is below min_version%s",
			       min ? "" : ", which is TLS12 by default");
	return 0;
}

static int take_tls(struct reader *reader, const yaml_node_t *node, void *field)
{
	struct web_config *config = field;
	const struct key keys[] = {
		{ "cert_file", take_string, &config->cert.file },
		{ "cert", take_string, &config->cert.text },
		{ "key_file", take_string, &config->key.file },
		{ "key", take_string, &config->key.text },
		{ "client_ca_file", take_string, &config->client_ca.file },
		{ "client_ca", take_string, &config->client_ca.text },
		{ "client_auth_type", take_client_auth, &config->client_auth },
		{ "client_allowed_sans", take_sans, config },
		{ "min_version", take_version, &config->policy.min },
		{ "max_version", take_version, &config->policy.max },
		{ "cipher_suites", take_suites, &config->policy },
		{ "curve_preferences", take_curves, &config->policy },
		{ "prefer_server_cipher_suites", take_bool, &config->policy.server_order },
	};

	if (is_null(node))
		return 0;
	config->tls = true;
	if (take_mapping(reader, node, "tls_server_config", keys, COUNT(keys)) != 0)
		return -EINVAL;
	return check_tls(reader, node);
}

/* ---- http_server_config, rate_limit ---- */

static int take_header(struct reader *reader, const yaml_node_t *node, void *field)
{
	const char **value = field;

	*value = scalar(node);
	if (!*value)
		return fail_at(reader, node->start_mark, "expected the value of a header");
	for (const char *c = *value; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
			return fail_at(reader, node->start_mark,
				       "a header is of printable ASCII characters");
	return 0;
}

static int take_headers(struct reader *reader, const yaml_node_t *node, void *field)
{
	struct web_config *config = field;
	struct key keys[WEB_HEADERS];

	for (int i = 0; i < WEB_HEADERS; i++)
		keys[i] = (struct key){ web_header_names[i], take_header, &config->header[i] };
	return is_null(node) ? 0 : take_mapping(reader, node, "headers", keys, COUNT(keys));
}

/* There is no HTTP/2 here: whether it is wanted makes no difference. */
static int take_http(struct reader *reader, const yaml_node_t *node, void *field)
{
	bool http2;
	const struct key keys[] = {
		{ "http2", take_bool, &http2 },
		{ "headers", take_headers, field },
	};

	return is_null(node) ? 0
			     : take_mapping(reader, node, "http_server_config", keys, COUNT(keys));
}

static int take_interval(struct reader *reader, const yaml_node_t *node, void *field)
{
	const char *text = scalar(node);
	uint64_t duration_ns;

	if (!text || !quantity_duration(&duration_ns, text) || duration_ns > DAY_NS)
		return fail_at(reader, node->start_mark,
			       "expected a duration such as 50ms, 2s or 1m, up to a day");
	*(int *)field = (int)(duration_ns / CLOCK_MS);
	return 0;
}

static int take_burst(struct reader *reader, const yaml_node_t *node, void *field)
{
	const char *text = scalar(node);
	size_t digits = text ? strspn(text, "0123456789") : 0;

	if (!text || digits == 0 || digits > 6 || text[digits] || atoi(text) == 0)
		return fail_at(reader, node->start_mark,
			       "expected a number of requests, 1 to 999999");
	*(int *)field = atoi(text);
	return 0;
}

static int take_rate_limit(struct reader *reader, const yaml_node_t *node, void *field)
{
	struct web_config *config = field;
	const struct key keys[] = {
		{ "interval", take_interval, &config->rate_interval_ms },
		{ "burst", take_burst, &config->rate_burst },
	};

	config->rate_burst = 1;
	return is_null(node) ? 0 : take_mapping(reader, node, "rate_limit", keys, COUNT(keys));
}

/* ---- basic_auth_users ---- */

static bool is_bcrypt(const char *hash, int *cost)
{
	if (strlen(hash) != BCRYPT_BYTES || strncmp(hash, "$2", 2) != 0 ||
	    !strchr("aby", hash[2]) || strspn(hash + 4, "0123456789") != 2 || hash[3] != '$' ||
	    hash[6] != '$' || strspn(hash + 7, BCRYPT_CHARS) != BCRYPT_BYTES - 7)
		return false;
	*cost = (hash[4] - '0') * 10 + (hash[5] - '0');
	return true;
}

static int take_user(struct reader *reader, const yaml_node_t *mapping,
		     const yaml_node_pair_t *pair, struct web_user *user)
{
	const yaml_node_t *value = node_at(reader, pair->value);
	int cost;

	user->name = take_key(reader, mapping, pair);
	user->hash = scalar(value);
	if (!user->name)
		return -EINVAL;
	if (!*user->name || strchr(user->name, ':'))
		return fail_at(reader, node_at(reader, pair->key)->start_mark,
			       "a user's name is not empty and has no colon");
	if (!user->hash || !is_bcrypt(user->hash, &cost))
		return fail_at(reader, value->start_mark,
			       "no hash of bcrypt ($2y$10$...); htpasswd -nBC 10 '' makes one");
	if (cost < 4 || cost > BCRYPT_COST_MAX)
		return fail_at(reader, value->start_mark,
			       "a cost of bcrypt is 4 to %d here, not %d", BCRYPT_COST_MAX, cost);
	return 0;
}

static int take_users(struct reader *reader, const yaml_node_t *node, void *field)
{
	struct web_config *config = field;

	if (is_null(node))
		return 0;
	if (node->type != YAML_MAPPING_NODE)
		return fail_at(reader, node->start_mark,
			       "basic_auth_users: expected users with hashes");
	const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	const yaml_node_pair_t *end = node->data.mapping.pairs.top;
	if (pair == end)
		return 0;
	config->users = calloc((size_t)(end - pair), sizeof(config->users[0]));
	if (!config->users)
		return fail_at(reader, node->start_mark, "out of memory");
	for (; pair < end; pair++)
		if (take_user(reader, node, pair, &config->users[config->user_count++]) != 0)
			return -EINVAL;
	return 0;
}

/* ---- the file ---- */

static int take_document(struct reader *reader)
{
	struct web_config *config = reader->config;
	const yaml_node_t *root = yaml_document_get_root_node(reader->document);
	const struct key keys[] = {
		{ "tls_server_config", take_tls, config },
		{ "http_server_config", take_http, config },
		{ "basic_auth_users", take_users, config },
		{ "rate_limit", take_rate_limit, config },
	};

	return !root || is_null(root) ? 0
				      : take_mapping(reader, root, "the file", keys, COUNT(keys));
}

/* There must be one document, and nothing behind it. */
static int load_document(struct reader *reader, yaml_parser_t *parser)
{
	yaml_document_t more;

	if (!yaml_parser_load(parser, reader->document))
		return -EINVAL;
	if (!yaml_parser_load(parser, &more)) {
		yaml_document_delete(reader->document);
		return -EINVAL;
	}
	bool second = yaml_document_get_root_node(&more);
	yaml_mark_t mark = more.start_mark;
	yaml_document_delete(&more);
	if (!second)
		return 0;
	yaml_document_delete(reader->document);
	return fail_at(reader, mark, "a second document");
}

static int load(struct reader *reader, const char *text, size_t bytes)
{
	yaml_parser_t parser;

	if (!yaml_parser_initialize(&parser))
		return fail_at(reader, (yaml_mark_t){ 0 }, "out of memory");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
	int rc = load_document(reader, &parser);
	if (rc != 0 && parser.error != YAML_NO_ERROR)
		fail_at(reader, parser.problem_mark, "%s",
			parser.problem ? parser.problem : "out of memory");
	yaml_parser_delete(&parser);
	return rc;
}

int web_config_parse(struct web_config *config, const char *file, const char *text, size_t bytes,
		     char error[WEB_ERROR_BYTES])
{
	struct reader reader = { .config = config, .file = file, .error = error };

	*config = (struct web_config){ .tls = false };
	if (bytes > WEB_CONFIG_BYTES_MAX)
		return fail_at(&reader, (yaml_mark_t){ 0 }, "longer than %zu bytes",
			       WEB_CONFIG_BYTES_MAX);
	reader.document = calloc(1, sizeof(*reader.document));
	if (!reader.document)
		return fail_at(&reader, (yaml_mark_t){ 0 }, "out of memory");
	if (load(&reader, text, bytes) != 0) {
		free(reader.document);
		return -EINVAL;
	}
	config->document = reader.document;
	if (take_document(&reader) == 0)
		return 0;
	web_config_free(config);
	return -EINVAL;
}

void web_config_free(struct web_config *config)
{
	if (config->document)
		yaml_document_delete(config->document);
	free(config->document);
	free(config->sans);
	free(config->users);
	*config = (struct web_config){ .tls = false };
}
