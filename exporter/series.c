/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series.c - the series of all workers, by family and label set
 *
 * The label set is rendered once, when a worker names it, and that text is the key: the same
 * labels in another order, or with bytes that are exposed alike, are the same series. The table has
 * a fixed number of buckets: it is searched when a worker declares a series, never for a record.
 */
#include "series.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "hash.h"

#define SERIES_BUCKETS 65536

struct key {
	const struct family *family;
	const struct text *label;
};

int series_table_init(struct series_table *table)
{
	*table = (struct series_table){ .now_ns = clock_ns() };
	table->series = cds_lfht_new(SERIES_BUCKETS, SERIES_BUCKETS, SERIES_BUCKETS, 0, NULL);
	if (!table->series)
		return -ENOMEM;
	int rc = families_init(&table->families);
	if (rc)
		cds_lfht_destroy(table->series, NULL);
	return rc;
}

void series_table_free(struct series_table *table)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	urcu_bp_read_lock();
	cds_lfht_first(table->series, &iter);
	while ((node = cds_lfht_iter_get_node(&iter))) {
		cds_lfht_next(table->series, &iter);
		cds_lfht_del(table->series, node);
		free(caa_container_of(node, struct series, node)); /* nobody else reads */
	}
	urcu_bp_read_unlock();
	cds_lfht_destroy(table->series, NULL);
	families_free(&table->families);
	text_free(&table->scratch);
	free(table->changed.series);
	free(table->unpublished.series);
}

static int compare_names(const void *a, const void *b)
{
	const struct kvtap_text *x = &((const struct series_label *)a)->name;
	const struct kvtap_text *y = &((const struct series_label *)b)->name;
	int order = memcmp(x->data, y->data, x->bytes < y->bytes ? x->bytes : y->bytes);

	if (order)
		return order;
	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static const struct series_label le = { .name = { "le", 2 } };

/* Whether no name stands twice; labels are sorted. */
static bool distinct(const struct family *family, const struct series_label *labels, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i && !compare_names(&labels[i - 1], &labels[i]))
			return false;
		if (family->metric == KVTAP_HISTOGRAM && !compare_names(&labels[i], &le))
			return false;
	}
	return true;
}

/* Render sorted labels into text; returns le_at. */
static uint32_t render(struct text *text, const struct series_label *labels, size_t count)
{
	size_t le_at = SIZE_MAX;

	text->bytes = 0;
	for (size_t i = 0; i < count; i++) {
		if (!labels[i].value.bytes)
			continue; /* to a reader of the page it is the same as no label */
		if (text->bytes)
			text_add_char(text, ',');
		if (le_at == SIZE_MAX && compare_names(&labels[i], &le) > 0)
			le_at = text->bytes;
		text_add(text, labels[i].name.data, labels[i].name.bytes);
		text_add_string(text, "=\"");
		text_add_label_value(text, labels[i].value.data, labels[i].value.bytes);
		text_add_char(text, '"');
	}
	return (uint32_t)(le_at == SIZE_MAX ? text->bytes : le_at);
}

static int match(struct cds_lfht_node *node, const void *key)
{
	const struct series *series = caa_container_of(node, struct series, node);
	const struct key *wanted = key;

	return !series->gauge.parent && series->family == wanted->family &&
	       series->label_bytes == wanted->label->bytes &&
	       (!series->label_bytes ||
		!memcmp(series->label, wanted->label->data, series->label_bytes));
}

static unsigned long key_hash(const struct key *key)
{
	return hash_bytes(key->label->data, key->label->bytes) ^
	       hash_bytes(&key->family, sizeof(key->family));
}

struct series *series_find(struct series_table *table, unsigned long hash,
			   cds_lfht_match_fct match_key, const void *key)
{
	struct cds_lfht_iter iter;

	urcu_bp_read_lock();
	cds_lfht_lookup(table->series, hash, match_key, key, &iter);
	struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
	urcu_bp_read_unlock();
	return node ? caa_container_of(node, struct series, node) : NULL;
}

void series_link(struct series_table *table, unsigned long hash, struct series *series)
{
	cds_lfht_node_init(&series->node);
	urcu_bp_read_lock();
	cds_lfht_add(table->series, hash, &series->node);
	urcu_bp_read_unlock();
}

/* More than any line has beside its name, labels and le: a number, the suffix and punctuation. */
#define LINE_BYTES (NUMBER_BYTES + sizeof("_bucket{,le=\"\"} \n"))

struct budget series_cost(const struct series *series)
{
	const struct family *family = series->family;
	bool histogram = family->metric == KVTAP_HISTOGRAM;
	uint64_t lines = histogram ? family->bounds + 3u : 1;
	uint64_t line_bytes =
		strlen(family->name) + series->label_bytes + family->le_bytes + LINE_BYTES;
	uint64_t more = histogram ? sizeof(struct native) + sizeof(struct exemplars) : 0;

	if (series->gauge.parent)
		return (struct budget){ .series = 1 };
	return (struct budget){ .bytes = lines * line_bytes + more,
				.string_bytes = series->label_bytes,
				.series = 1 };
}

static void append(struct family *family, struct series *series)
{
	series->prev = family->last;
	if (family->last)
		family->last->next = series;
	else
		family->first = series;
	family->last = series;
}

static void unlink_series(struct family *family, struct series *series)
{
	*(series->prev ? &series->prev->next : &family->first) = series->next;
	*(series->next ? &series->next->prev : &family->last) = series->prev;
	if (family->other == series)
		family->other = NULL;
}

/* Histograms have more behind the buckets; the labels come last. */
static struct series *allocate(struct family *family, const struct text *text)
{
	bool histogram = family->metric == KVTAP_HISTOGRAM;
	size_t buckets = histogram ? family->bounds + 1u : 0;
	size_t native_at = sizeof(struct series) + buckets * sizeof(uint64_t);
	size_t exemplars_at = native_at + sizeof(struct native);
	size_t label_at = histogram ? exemplars_at + sizeof(struct exemplars) : native_at;
	struct series *series = calloc(1, label_at + text->bytes);

	if (!series)
		return NULL;
	char *base = (char *)series;
	if (histogram) {
		series->native = (struct native *)(base + native_at);
		series->exemplars = (struct exemplars *)(base + exemplars_at);
	}
	if (text->bytes)
		memcpy(base + label_at, text->data, text->bytes);
	series->family = family;
	series->label = base + label_at;
	series->label_bytes = (uint32_t)text->bytes;
	series->created_ns = clock_real_ns();
	return series;
}

_Static_assert(_Alignof(struct native) <= _Alignof(uint64_t) &&
		       sizeof(struct native) % _Alignof(struct exemplars) == 0,
	       "what lies behind the buckets");

/* Room for one more in both lists, so that touching never fails. */
static bool reserve(struct series_table *table)
{
	struct series_list *lists[] = { &table->changed, &table->unpublished };
	uint32_t room = table->room ? table->room * 2 : 256;

	if (table->count < table->room)
		return true;
	for (size_t i = 0; i < 2; i++) {
		struct series **grown = realloc(lists[i]->series, room * sizeof(*grown));

		if (!grown)
			return false;
		lists[i]->series = grown;
	}
	table->room = room;
	return true;
}

static void unlist(struct series_table *table, struct series *series)
{
	struct series_list *changed = &table->changed, *unpublished = &table->unpublished;

	if (series->changed) {
		struct series *last = changed->series[--changed->count];
		changed->series[series->changed_at] = last;
		last->changed_at = series->changed_at;
	}
	if (series->unpublished) {
		struct series *last = unpublished->series[--unpublished->count];
		unpublished->series[series->unpublished_at] = last;
		last->unpublished_at = series->unpublished_at;
	}
}

static void settle(struct series_table *table, struct series *series)
{
	series->changed = false;
	if (series->gauge.parent)
		return;
	if (series->gauge.first_child || series->gauge.kept)
		series_combine(table, series);
	if (series->unpublished)
		return;
	series->unpublished = true;
	series->unpublished_at = table->unpublished.count;
	table->unpublished.series[table->unpublished.count++] = series;
}

void series_settle(struct series_table *table)
{
	struct series_list *changed = &table->changed;

	for (uint32_t i = 0; i < changed->count; i++) /* grows meanwhile */
		if (changed->series[i]->gauge.parent)
			series_touch(table, changed->series[i]->gauge.parent);
	for (uint32_t i = 0; i < changed->count; i++)
		settle(table, changed->series[i]);
	changed->count = 0;
}

int series_make(struct series **series, struct series_table *table, struct family *family,
		struct series *parent, const struct text *label, struct budget *budget)
{
	struct families *families = &table->families;
	struct series *made = reserve(table) ? allocate(family, label) : NULL;

	if (!made)
		return -ENOMEM;
	made->gauge.parent = parent;
	struct budget cost = series_cost(made);
	if (!budget_take(&families->taken, budget, &cost, &families->limits, family->name)) {
		free(made);
		table->refused += !budget->reserve; /* or it was counted before */
		return -ENOSPC;
	}
	table->count++;
	made->users = 1;
	if (!family->own) /* the exporter itself uses its own for ever */
		series_release(table, made);
	*series = made;
	return 0;
}

void series_remove(struct series_table *table, struct series *series)
{
	struct budget cost = series_cost(series);

	if (table->removed)
		table->removed(table->context, series);
	unlist(table, series);
	series_hold(table, series); /* no longer among the idle */
	urcu_bp_read_lock();
	cds_lfht_del(table->series, &series->node);
	urcu_bp_read_unlock();
	if (series->gauge.parent) {
		series_child_unlink(table, series);
	} else {
		unlink_series(series->family, series);
		family_relayout(&table->families, series->family);
		table->families.unused = true;
	}
	budget_give(&table->families.taken, &cost);
	table->count--;
	free(series);
}

static int create(struct series **created, struct series_table *table, const struct key *key,
		  struct family *family, uint32_t le_at, struct budget *budget)
{
	int rc = series_make(created, table, family, NULL, key->label, budget);

	if (rc)
		return rc;
	struct series *series = *created;
	series->le_at = le_at;
	series_link(table, key_hash(key), series);
	append(family, series);
	family_relayout(&table->families, family);
	series_touch(table, series); /* a 0 is a value too: it has to be there after a restart */
	return 0;
}

/* labels are sorted, and no name stands twice. */
static int find_or_create(struct series **series, struct series_table *table, struct family *family,
			  const struct series_label *labels, size_t count, struct budget *budget)
{
	struct key key = { family, &table->scratch };
	uint32_t le_at = render(&table->scratch, labels, count);

	if (table->scratch.failed) {
		text_free(&table->scratch);
		return -ENOMEM;
	}
	*series = series_find(table, key_hash(&key), match, &key);
	return *series ? 0 : create(series, table, &key, family, le_at, budget);
}

/* Where a family adds up what has no room: the labels of the first such series, each "other". */
static int get_other(struct series **series, struct series_table *table, struct family *family,
		     struct series_label *labels, size_t count)
{
	struct budget *reserve = &table->families.reserve;
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		if (labels[i].value.bytes)
			labels[i].value = (struct kvtap_text){ "other", 5 };
	if (!family->other)
		rc = find_or_create(&family->other, table, family, labels, count, reserve);
	*series = family->other;
	return rc;
}

int series_get(struct series **series, struct series_table *table, struct family *family,
	       const struct series_label *labels, size_t count, struct budget *budget)
{
	struct series_label sorted[SERIES_LABELS_MAX];

	*series = NULL;
	assert(count <= SERIES_LABELS_MAX);
	if (count)
		memcpy(sorted, labels, count * sizeof(*labels));
	qsort(sorted, count, sizeof(*sorted), compare_names);
	if (!distinct(family, sorted, count)) {
		family_conflict(&table->families, family, "a label name stands twice");
		return -EEXIST;
	}
	int rc = find_or_create(series, table, family, sorted, count, budget);
	if (rc == -ENOSPC && family->metric != KVTAP_GAUGE &&
	    get_other(series, table, family, sorted, count) == -ENOMEM)
		rc = -ENOMEM;
	return rc;
}
