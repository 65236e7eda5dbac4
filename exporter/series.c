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
#define LABELS_MAX (2 * KVTAP_LABELS_MAX) /* constant labels and the family's */

struct key {
	const struct family *family;
	const struct text *label;
};

int series_table_init(struct series_table *table)
{
	*table = (struct series_table){ 0 };
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

	return series->family == wanted->family && series->label_bytes == wanted->label->bytes &&
	       (!series->label_bytes ||
		!memcmp(series->label, wanted->label->data, series->label_bytes));
}

static unsigned long key_hash(const struct key *key)
{
	return hash_bytes(key->label->data, key->label->bytes) ^
	       hash_bytes(&key->family, sizeof(key->family));
}

static struct series *find(struct series_table *table, const struct key *key)
{
	struct cds_lfht_iter iter;

	urcu_bp_read_lock();
	cds_lfht_lookup(table->series, key_hash(key), match, key, &iter);
	struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
	urcu_bp_read_unlock();
	return node ? caa_container_of(node, struct series, node) : NULL;
}

/* More than any line has beside its name, labels and le: a number, the suffix and punctuation. */
#define LINE_BYTES (NUMBER_BYTES + sizeof("_bucket{,le=\"\"} \n"))

static struct budget series_cost(const struct family *family, const struct text *label)
{
	uint64_t lines = family->metric == KVTAP_HISTOGRAM ? family->bounds + 3u : 1;
	uint64_t line_bytes = strlen(family->name) + label->bytes + family->le_bytes + LINE_BYTES;

	return (struct budget){ .bytes = lines * line_bytes, .series = 1 };
}

static void append(struct family *family, struct series *series)
{
	if (family->last)
		family->last->next = series;
	else
		family->first = series;
	family->last = series;
}

static struct series *allocate(struct family *family, const struct text *text, uint32_t le_at)
{
	size_t buckets = family->metric == KVTAP_HISTOGRAM ? family->bounds + 1u : 0;
	size_t label_offset = sizeof(struct series) + buckets * sizeof(uint64_t);
	struct series *series = calloc(1, label_offset + text->bytes);

	if (!series)
		return NULL;
	char *label = (char *)series + label_offset;
	if (text->bytes)
		memcpy(label, text->data, text->bytes);
	series->family = family;
	series->label = label;
	series->label_bytes = (uint32_t)text->bytes;
	series->le_at = le_at;
	series->created_ns = clock_real_ns();
	return series;
}

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

void series_settle(struct series_table *table)
{
	for (uint32_t i = 0; i < table->changed.count; i++) {
		struct series *series = table->changed.series[i];

		series->changed = false;
		if (series->unpublished)
			continue;
		series->unpublished = true;
		table->unpublished.series[table->unpublished.count++] = series;
	}
	table->changed.count = 0;
}

static int create(struct series **created, struct series_table *table, const struct key *key,
		  struct family *family, uint32_t le_at, struct budget *budget)
{
	struct budget cost = series_cost(family, key->label);
	struct series *series = reserve(table) ? allocate(family, key->label, le_at) : NULL;

	if (!series)
		return -ENOMEM;
	if (!budget_take(&table->families.taken, budget, &cost, family->name)) {
		free(series);
		table->refused++;
		return -ENOSPC;
	}
	cds_lfht_node_init(&series->node);
	urcu_bp_read_lock();
	cds_lfht_add(table->series, key_hash(key), &series->node);
	urcu_bp_read_unlock();
	append(family, series);
	family->layout++;
	table->count++;
	*created = series;
	return 0;
}

int series_get(struct series **series, struct series_table *table, struct family *family,
	       const struct series_label *labels, size_t count, struct budget *budget)
{
	struct series_label sorted[LABELS_MAX];
	struct key key = { family, &table->scratch };

	*series = NULL;
	assert(count <= LABELS_MAX);
	if (count)
		memcpy(sorted, labels, count * sizeof(*labels));
	qsort(sorted, count, sizeof(*sorted), compare_names);
	if (!distinct(family, sorted, count)) {
		family_conflict(&table->families, family, "a label name stands twice");
		return -EEXIST;
	}
	uint32_t le_at = render(&table->scratch, sorted, count);
	if (table->scratch.failed) {
		text_free(&table->scratch);
		return -ENOMEM;
	}
	*series = find(table, &key);
	return *series ? 0 : create(series, table, &key, family, le_at, budget);
}
