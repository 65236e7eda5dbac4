/* SPDX-License-Identifier: Apache-2.0 */
/*
 * family.c - the families of all workers, by name
 *
 * The table holds every sample name that a family may print, so that two families can never print
 * the same line. It has a fixed number of buckets: families are few and looked up only when a
 * worker declares.
 */
#include "family.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <urcu-bp.h>
#include <urcu/rculfhash.h>

#include "hash.h"
#include "integer_buckets.h"
#include "log.h"
#include "text.h"

#define NAME_BUCKETS 4096
#define NAME_BYTES (KVTAP_NAME_MAX + sizeof("_bucket"))

struct name {
	struct cds_lfht_node node;
	struct family *family;
	char text[];
};

static const char *const suffixes[][5] = {
	[KVTAP_COUNTER] = { "", NULL },
	[KVTAP_GAUGE] = { "", NULL },
	[KVTAP_HISTOGRAM] = { "", "_bucket", "_sum", "_count", NULL },
};

static int name_match(struct cds_lfht_node *node, const void *key)
{
	return !strcmp(caa_container_of(node, struct name, node)->text, key);
}

struct family *family_find(const struct families *families, const char *sample)
{
	struct cds_lfht_iter iter;

	urcu_bp_read_lock();
	cds_lfht_lookup(families->names, hash_bytes(sample, strlen(sample)), name_match, sample,
			&iter);
	struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
	struct family *family = node ? caa_container_of(node, struct name, node)->family : NULL;
	urcu_bp_read_unlock();
	return family;
}

static int name_add(struct families *families, struct family *family, const char *suffix)
{
	size_t bytes = strlen(family->name) + strlen(suffix) + 1;
	struct name *name = malloc(sizeof(*name) + bytes);

	if (!name)
		return -ENOMEM;
	name->family = family;
	snprintf(name->text, bytes, "%s%s", family->name, suffix);
	cds_lfht_node_init(&name->node);
	urcu_bp_read_lock();
	cds_lfht_add(families->names, hash_bytes(name->text, bytes - 1), &name->node);
	urcu_bp_read_unlock();
	return 0;
}

static void name_remove(struct families *families, const char *text)
{
	struct cds_lfht_iter iter;

	urcu_bp_read_lock();
	cds_lfht_lookup(families->names, hash_bytes(text, strlen(text)), name_match, text, &iter);
	struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
	if (node)
		cds_lfht_del(families->names, node);
	urcu_bp_read_unlock();
	if (node)
		free(caa_container_of(node, struct name, node)); /* nobody else reads */
}

/* The names that a family has by now. */
static void names_remove(struct families *families, const struct family *family)
{
	char sample[NAME_BYTES + sizeof("_bucket")];

	for (const char *const *suffix = suffixes[family->metric]; *suffix; suffix++) {
		snprintf(sample, sizeof(sample), "%s%s", family->name, *suffix);
		name_remove(families, sample);
	}
}

int families_init(struct families *families)
{
	*families = (struct families){ .limits = budget_defaults, .reserve.reserve = true };
	families->names = cds_lfht_new(NAME_BUCKETS, NAME_BUCKETS, NAME_BUCKETS, 0, NULL);
	return families->names ? 0 : -ENOMEM;
}

static void family_free(struct family *family)
{
	for (uint32_t i = 0; family->label && i < family->labels; i++)
		free(family->label[i]);
	free(family->label);
	for (int i = 0; i < PAGE_FORMATS; i++)
		gzip_free(&family->block[i].gzip);
	for (int i = 0; i < NUMBER_DOUBLE; i++)
		integer_buckets_put(family->integers[i]);
	free(family->bound);
	free(family->le_length);
	free(family->le);
	free(family->help);
	free(family->name);
	free(family);
}

void families_free(struct families *families)
{
	if (!families->names)
		return;
	for (uint32_t i = 0; i < families->count; i++) {
		names_remove(families, families->family[i]);
		family_free(families->family[i]);
	}
	cds_lfht_destroy(families->names, NULL);
	free(families->family);
}

/* The name as it is exposed: a counter's ends in _total exactly once. */
static void exposed_name(char out[NAME_BYTES], const struct kvtap_family_view *view)
{
	static const char total[] = "_total";
	size_t bytes = view->name.bytes, end = sizeof(total) - 1;
	bool has = bytes > end && !memcmp(view->name.data + bytes - end, total, end);

	snprintf(out, NAME_BYTES, "%.*s%s", (int)bytes, view->name.data,
		 view->metric == KVTAP_COUNTER && !has ? total : "");
}

static bool same(const struct family *family, const char *name,
		 const struct kvtap_family_view *view)
{
	if (strcmp(family->name, name) || family->metric != view->metric ||
	    family->gauge_mode != view->gauge_mode || family->labels != view->labels ||
	    family->bounds != view->bounds)
		return false;
	for (uint32_t i = 0; i < family->labels; i++)
		if (strlen(family->label[i]) != view->label[i].bytes ||
		    memcmp(family->label[i], view->label[i].data, view->label[i].bytes))
			return false;
	for (uint32_t i = 0; i < family->bounds; i++)
		if (family->bound[i] != view->bound[i])
			return false;
	return true;
}

static char *escaped_help(const struct kvtap_text *help)
{
	struct text text = { 0 };

	text_add_help(&text, help->data, help->bytes);
	text_add_char(&text, '\0');
	if (text.failed)
		text_free(&text);
	return text.data;
}

static bool copy_shape(struct family *family, const struct kvtap_family_view *view)
{
	family->label = calloc(view->labels + 1u, sizeof(*family->label));
	family->bound = calloc(view->bounds + 1u, sizeof(*family->bound));
	family->le = calloc(view->bounds + 1u, sizeof(*family->le));
	family->le_length = calloc(view->bounds + 1u, sizeof(*family->le_length));
	if (!family->label || !family->bound || !family->le || !family->le_length)
		return false;
	for (; family->labels < view->labels; family->labels++) {
		const struct kvtap_text *label = &view->label[family->labels];

		family->label[family->labels] = strndup(label->data, label->bytes);
		if (!family->label[family->labels])
			return false;
	}
	for (; family->bounds < view->bounds; family->bounds++) {
		family->bound[family->bounds] = view->bound[family->bounds];
		size_t bytes =
			number_bound(family->le[family->bounds], view->bound[family->bounds]);

		family->le_length[family->bounds] = (uint8_t)bytes;
		if (bytes > family->le_bytes)
			family->le_bytes = (uint32_t)bytes;
	}
	strcpy(family->le[family->bounds], "+Inf");
	family->le_length[family->bounds] = strlen("+Inf");
	if (family->le_bytes < strlen("+Inf"))
		family->le_bytes = strlen("+Inf");
	return true;
}

static struct family *family_create(const char *name, const struct kvtap_family_view *view,
				    bool own)
{
	struct family *family = calloc(1, sizeof(*family));

	if (!family)
		return NULL;
	family->metric = view->metric;
	family->gauge_mode = view->gauge_mode;
	family->lazy = view->flags & KVTAP_FAMILY_LAZY;
	family->own = own;
	family->name = strdup(name);
	family->name_bytes = (uint32_t)strlen(name);
	family->help = escaped_help(&view->help);
	if (family->name && family->help && copy_shape(family, view))
		return family;
	family_free(family);
	return NULL;
}

static bool families_grow(struct families *families)
{
	if (families->count < families->room)
		return true;
	uint32_t room = families->room ? families->room * 2 : 64;
	struct family **grown = realloc(families->family, room * sizeof(struct family *));
	if (!grown)
		return false;
	families->family = grown;
	families->room = room;
	return true;
}

/*
 * HELP and TYPE; of a name without help only the latter. A histogram may come to have integer_buckets
 * of both units, 17 KiB that are on no page: a few segments could fill memory with them.
 */
static struct budget family_cost(const struct family *family)
{
	uint64_t name_bytes = strlen(family->name), help_bytes = strlen(family->help);
	struct budget cost = { .bytes = 2 * name_bytes + help_bytes +
					sizeof("# HELP  \n# TYPE  histogram\n"),
			       .string_bytes = name_bytes + help_bytes,
			       .families = 1 };

	if (family->metric == KVTAP_HISTOGRAM)
		cost.bytes += sizeof(family->integers) / sizeof(family->integers[0]) *
			      sizeof(struct integer_buckets);
	for (uint32_t i = 0; i < family->labels; i++)
		cost.string_bytes += strlen(family->label[i]);
	return cost;
}

static int names_add(struct families *families, struct family *family)
{
	for (const char *const *suffix = suffixes[family->metric]; *suffix; suffix++) {
		if (name_add(families, family, *suffix)) {
			names_remove(families, family);
			return -ENOMEM;
		}
	}
	return 0;
}

static int family_add(struct family **added, struct families *families, const char *name,
		      const struct kvtap_family_view *view, struct budget *budget)
{
	struct family *family = families_grow(families) ? family_create(name, view, !budget) : NULL;
	int rc = family ? names_add(families, family) : -ENOMEM;

	if (rc)
		goto fail;
	struct budget cost = family_cost(family);
	if (!budget_take(&families->taken, budget, &cost, &families->limits, name)) {
		names_remove(families, family);
		rc = -ENOSPC;
		goto fail;
	}
	families->family[families->count++] = family;
	families->unused = true; /* nobody uses it yet */
	family_relayout(families, family);
	families->members++;
	*added = family;
	return 0;

fail:
	if (family)
		family_free(family);
	return rc;
}

void family_relayout(struct families *families, struct family *family)
{
	family->layout = ++families->layout;
}

bool family_feed(struct family *family, const struct kvtap_cell *cell)
{
	enum number_part part = number_part_of(cell);

	if (cell->metric != KVTAP_HISTOGRAM || part == NUMBER_DOUBLE || family->integers[part])
		return true;
	family->integers[part] = integer_buckets_get(cell);
	return family->integers[part];
}

void family_release(struct families *families, struct family *family)
{
	family->users--;
	families->unused = true;
}

bool families_sweep(struct families *families)
{
	uint32_t kept = 0, before = families->count;

	if (!families->unused)
		return false;
	families->unused = false;
	for (uint32_t i = 0; i < before; i++) {
		struct family *family = families->family[i];

		if (family->own || family->users || family->first) {
			families->family[kept++] = family;
			continue;
		}
		struct budget cost = family_cost(family);
		budget_give(&families->taken, &cost);
		names_remove(families, family);
		if (families->removed)
			families->removed(families->context, family);
		family_free(family);
		families->members++;
	}
	families->count = kept;
	return kept != before;
}

void family_conflict(struct families *families, struct family *family, const char *with)
{
	families->conflicts++;
	if (!family->conflict_logged)
		log_warn("A declaration conflicts with an earlier one and is not exported",
			 "family", family->name, "declared", with);
	family->conflict_logged = true;
}

int family_declare(struct family **family, struct families *families,
		   const struct kvtap_family_view *view, struct budget *budget)
{
	char name[NAME_BYTES], sample[NAME_BYTES + sizeof("_bucket")];

	*family = NULL;
	exposed_name(name, view);
	for (const char *const *suffix = suffixes[view->metric]; *suffix; suffix++) {
		snprintf(sample, sizeof(sample), "%s%s", name, *suffix);
		struct family *there = family_find(families, sample);

		if (!there)
			continue;
		if (there->own == !budget && same(there, name, view)) {
			*family = there;
			return 0;
		}
		family_conflict(families, there, name);
		return -EEXIST;
	}
	return family_add(family, families, name, view, budget);
}
