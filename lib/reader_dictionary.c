/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_dictionary.c - parse a worker's declarations, none of which is trusted
 *
 * Works on a private copy that the worker can't change any more. Every length is checked against
 * what is left before it is used; every reference is to something parsed before.
 */
#include "reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "plan.h"

struct cursor {
	const uint8_t *at;
	size_t left;
	bool bad; /* sticky */
};

static const void *take(struct cursor *cursor, size_t bytes)
{
	const void *at = cursor->at;

	if (cursor->bad || bytes > cursor->left) {
		cursor->bad = true;
		return NULL;
	}
	cursor->at += bytes;
	cursor->left -= bytes;
	return at;
}

static struct kvtap_text take_text(struct cursor *cursor)
{
	const void *length = take(cursor, sizeof(uint32_t));
	struct kvtap_text text = { "", 0 };

	if (!length)
		return text;
	memcpy(&text.bytes, length, sizeof(text.bytes));
	if (text.bytes > KVTAP_STRING_MAX)
		cursor->bad = true;
	text.data = take(cursor, text.bytes);
	return text.data ? text : (struct kvtap_text){ "", 0 };
}

static void *keep(struct kvtap_reader_dictionary *dictionary, size_t bytes)
{
	void *block;

	if (dictionary->blocks == dictionary->blocks_capacity) {
		size_t capacity =
			dictionary->blocks_capacity ? 2 * dictionary->blocks_capacity : 64;
		void **grown = realloc(dictionary->block, capacity * sizeof(void *));

		if (!grown)
			return NULL;
		dictionary->block = grown;
		dictionary->blocks_capacity = capacity;
	}
	block = calloc(1, bytes ? bytes : 1);
	if (block)
		dictionary->block[dictionary->blocks++] = block;
	return block;
}

void kvtap_reader_dictionary_free(struct kvtap_reader_dictionary *dictionary)
{
	for (size_t i = 0; i < dictionary->blocks; i++)
		free(dictionary->block[i]);
	free(dictionary->block);
	free(dictionary->one);
	if (dictionary->data)
		munmap(dictionary->data, dictionary->capacity);
}

static bool same_text(const struct kvtap_text *a, const struct kvtap_text *b)
{
	return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

static bool labels_valid(const struct kvtap_text *label, size_t labels, bool histogram)
{
	for (size_t i = 0; i < labels; i++) {
		if (!kvtap_label_name_valid(label[i].data, label[i].bytes, histogram))
			return false;
		for (size_t j = 0; j < i; j++)
			if (same_text(&label[i], &label[j]))
				return false;
	}
	return true;
}

static int parse_constants(struct kvtap_reader_dictionary *dictionary,
			   const struct kvtap_entry *entry, struct cursor *cursor)
{
	struct kvtap_text names[KVTAP_LABELS_MAX];

	if (dictionary->begun || entry->labels > KVTAP_LABELS_MAX)
		return -EPROTO;
	dictionary->begun = true;
	for (uint32_t i = 0; i < 2u * entry->labels; i++) {
		dictionary->constant[i] = take_text(cursor);
		if (i % 2 == 0)
			names[i / 2] = dictionary->constant[i];
	}
	if (cursor->bad || !labels_valid(names, entry->labels, true))
		return -EPROTO;
	dictionary->constants = entry->labels;
	return 0;
}

static uint8_t gauge_mode(const struct kvtap_entry *entry)
{
	uint8_t mode = entry->flags >> KVTAP_ENTRY_MODE_SHIFT & KVTAP_ENTRY_MODE_MASK;

	return entry->metric == KVTAP_GAUGE && mode <= KVTAP_GAUGE_ALL ? mode : 0;
}

static uint8_t unit(const struct kvtap_entry *entry)
{
	uint8_t unit = entry->flags >> KVTAP_ENTRY_UNIT_SHIFT & KVTAP_ENTRY_UNIT_MASK;

	return unit <= KVTAP_UNIT_RATIO ? unit : KVTAP_UNIT_NONE;
}

static int parse_connector(struct kvtap_reader_dictionary *dictionary,
			   const struct kvtap_entry *entry, struct cursor *cursor)
{
	struct kvtap_connector_view *connector;
	bool known =
		entry->metric >= KVTAP_SUMMARY_FAMILIES && entry->metric <= KVTAP_SUMMARY_HF3FS;
	struct kvtap_text name = take_text(cursor);

	if (cursor->bad || name.bytes == 0 || name.bytes > KVTAP_NAME_MAX ||
	    dictionary->connectors == KVTAP_CONNECTORS_MAX)
		return -EPROTO;
	connector = &dictionary->connector[dictionary->connectors++];
	connector->name = name;
	connector->summary = known ? entry->metric : KVTAP_SUMMARY_FAMILIES;
	return 0;
}

/* Whose summary the plan's target is in, and as what; false: there is no such connector. */
static bool parse_summary(const struct kvtap_reader_dictionary *dictionary,
			  const struct kvtap_entry *entry, struct kvtap_plan *plan)
{
	uint32_t role = entry->target >> KVTAP_ENTRY_ROLE_SHIFT;
	bool known = entry->type == KVTAP_ENTRY_KIND ? kvtap_kind_role_valid(role)
						     : kvtap_family_role_valid(role, entry->metric);

	plan->connector = (uint16_t)entry->target;
	plan->role = known ? (uint8_t)role : KVTAP_ROLE_NONE;
	return plan->connector <= dictionary->connectors;
}

static int parse_family(struct kvtap_reader_dictionary *dictionary, const struct kvtap_entry *entry,
			struct cursor *cursor)
{
	bool histogram = entry->metric == KVTAP_HISTOGRAM;
	size_t bound_bytes = entry->count * sizeof(double);
	struct kvtap_reader_family *family;
	struct kvtap_text *label;
	double *bound;

	if (entry->metric < KVTAP_COUNTER || entry->metric > KVTAP_HISTOGRAM ||
	    entry->labels > KVTAP_LABELS_MAX || entry->count > (histogram ? KVTAP_BOUNDS_MAX : 0) ||
	    dictionary->families == KVTAP_FAMILIES_MAX)
		return -EPROTO;
	family = keep(dictionary, sizeof(*family));
	bound = keep(dictionary, bound_bytes + entry->count * sizeof(uint64_t));
	label = keep(dictionary, entry->labels * sizeof(*label));
	if (!family || !bound || !label)
		return -ENOMEM;
	if (take(cursor, bound_bytes))
		memcpy(bound, cursor->at - bound_bytes, bound_bytes);
	family->view.name = take_text(cursor);
	family->view.help = take_text(cursor);
	for (uint32_t i = 0; i < entry->labels; i++)
		label[i] = take_text(cursor);
	if (cursor->bad || !kvtap_bounds_valid(bound, entry->count) ||
	    !kvtap_metric_name_valid(family->view.name.data, family->view.name.bytes) ||
	    !labels_valid(label, entry->labels, histogram))
		return -EPROTO;
	family->view.metric = entry->metric;
	family->view.flags = entry->flags & KVTAP_FAMILY_LAZY;
	family->view.gauge_mode = gauge_mode(entry);
	family->view.labels = entry->labels;
	family->view.bounds = entry->count;
	family->view.label = label;
	family->view.bound = bound;
	family->view.unit = unit(entry);
	kvtap_plan_begin(&family->plan, kvtap_plan_op(entry->metric));
	if (!parse_summary(dictionary, entry, &family->plan))
		return -EPROTO;
	family->view.connector = family->plan.connector;
	family->view.role = family->plan.role;
	kvtap_plan_cell(&family->plan, ++dictionary->families, entry->metric, 0, KVTAP_WHEN_ALWAYS,
			bound, entry->count, (uint64_t *)(bound + entry->count));
	dictionary->family[dictionary->families - 1] = family;
	return 0;
}

/* One feed of a kind: its cell, and where its family's label values come from. */
static int parse_feed(struct kvtap_reader_dictionary *dictionary, struct kvtap_reader_kind *kind,
		      uint32_t index, const struct kvtap_feed_entry *feed)
{
	const struct kvtap_family_view *family;
	uint64_t *limit;

	if (feed->family == 0 || feed->family > dictionary->families ||
	    !kvtap_feed_valid(feed->field, feed->when))
		return -EPROTO;
	family = &dictionary->family[feed->family - 1]->view;
	if (family->metric == KVTAP_GAUGE)
		return -EPROTO;
	for (uint32_t i = 0; i < family->labels; i++) {
		kind->feed[index].source[i] = feed->source[i];
		if (feed->source[i] != KVTAP_LABEL_FIXED && feed->source[i] >= kind->labels)
			return -EPROTO;
	}
	limit = keep(dictionary, family->bounds * sizeof(*limit));
	if (!limit)
		return -ENOMEM;
	kvtap_plan_cell(&kind->plan, feed->family, family->metric, feed->field, feed->when,
			family->bound, family->bounds, limit);
	return 0;
}

static void parse_fixed(struct kvtap_reader_dictionary *dictionary, struct kvtap_reader_kind *kind,
			struct cursor *cursor)
{
	for (uint32_t i = 0; i < kind->plan.cells; i++) {
		uint32_t family = kind->plan.cell[i].family;

		for (uint32_t j = 0; j < dictionary->family[family - 1]->view.labels; j++)
			if (kind->feed[i].source[j] == KVTAP_LABEL_FIXED)
				kind->feed[i].fixed[j] = take_text(cursor);
	}
}

static int parse_kind(struct kvtap_reader_dictionary *dictionary, const struct kvtap_entry *entry,
		      struct cursor *cursor)
{
	struct kvtap_reader_kind *kind;
	struct kvtap_text name;

	if (entry->labels > KVTAP_LABELS_MAX || entry->count == 0 ||
	    entry->count > KVTAP_FEEDS_MAX || dictionary->kinds == KVTAP_KINDS_MAX)
		return -EPROTO;
	kind = keep(dictionary, sizeof(*kind));
	if (!kind)
		return -ENOMEM;
	kind->labels = entry->labels;
	kvtap_plan_begin(&kind->plan, KVTAP_OP_TRANSFER);
	if (!parse_summary(dictionary, entry, &kind->plan))
		return -EPROTO;
	for (uint32_t i = 0; i < entry->count; i++) {
		const void *at = take(cursor, sizeof(struct kvtap_feed_entry));
		struct kvtap_feed_entry feed;
		int rc = -EPROTO;

		if (at) {
			memcpy(&feed, at, sizeof(feed));
			rc = parse_feed(dictionary, kind, i, &feed);
		}
		if (rc < 0)
			return rc;
	}
	name = take_text(cursor);
	for (uint32_t i = 0; i < entry->labels; i++)
		kind->label[i] = take_text(cursor);
	parse_fixed(dictionary, kind, cursor);
	if (cursor->bad || !kvtap_metric_name_valid(name.data, name.bytes) ||
	    !labels_valid(kind->label, entry->labels, false))
		return -EPROTO;
	dictionary->kind[dictionary->kinds++] = kind;
	return 0;
}

static int reserve_series(struct kvtap_reader_dictionary *dictionary)
{
	uint32_t capacity = dictionary->series_capacity ? 2 * dictionary->series_capacity : 64;
	struct kvtap_reader_series *grown;

	if (dictionary->series < dictionary->series_capacity)
		return 0;
	grown = realloc(dictionary->one, capacity * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	dictionary->one = grown;
	dictionary->series_capacity = capacity;
	return 0;
}

static int parse_series(struct kvtap_reader_dictionary *dictionary, const struct kvtap_entry *entry,
			struct cursor *cursor)
{
	bool of_kind = entry->type == KVTAP_ENTRY_KIND_SERIES;
	uint32_t targets = of_kind ? dictionary->kinds : dictionary->families;
	struct kvtap_reader_series series = { 0 };
	struct kvtap_text *value;

	if (entry->target == 0 || entry->target > targets || dictionary->series == KVTAP_SERIES_MAX)
		return -EPROTO;
	if (of_kind) {
		series.kind = dictionary->kind[entry->target - 1];
		series.plan = &series.kind->plan;
		series.label = series.kind->label;
		series.labels = series.kind->labels;
	} else {
		const struct kvtap_reader_family *family = dictionary->family[entry->target - 1];

		series.plan = &family->plan;
		series.label = family->view.label;
		series.labels = family->view.labels;
	}
	if (entry->labels != series.labels)
		return -EPROTO;
	value = keep(dictionary, series.labels * sizeof(*value));
	if (!value || reserve_series(dictionary) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < series.labels; i++)
		value[i] = take_text(cursor);
	if (cursor->bad)
		return -EPROTO;
	series.value = value;
	dictionary->one[dictionary->series++] = series;
	return 0;
}

static int parse_entry(struct kvtap_reader_dictionary *dictionary, const struct kvtap_entry *entry,
		       struct cursor *cursor)
{
	switch (entry->type) {
	case KVTAP_ENTRY_CONSTANTS:
		return parse_constants(dictionary, entry, cursor);
	case KVTAP_ENTRY_FAMILY:
		return parse_family(dictionary, entry, cursor);
	case KVTAP_ENTRY_KIND:
		return parse_kind(dictionary, entry, cursor);
	case KVTAP_ENTRY_FAMILY_SERIES:
	case KVTAP_ENTRY_KIND_SERIES:
		return parse_series(dictionary, entry, cursor);
	case KVTAP_ENTRY_CONNECTOR:
		return parse_connector(dictionary, entry, cursor);
	}
	return 0; /* of a newer minor version */
}

int kvtap_reader_parse(struct kvtap_reader_dictionary *dictionary, uint64_t used)
{
	while (dictionary->parsed < used) {
		const uint8_t *at = dictionary->data + dictionary->parsed;
		size_t left = used - dictionary->parsed;
		struct kvtap_entry entry;
		struct cursor cursor;
		int rc;

		if (left < sizeof(entry))
			return -EPROTO;
		memcpy(&entry, at, sizeof(entry));
		if (entry.bytes < sizeof(entry) || entry.bytes > left || entry.bytes % 8)
			return -EPROTO;
		cursor = (struct cursor){ at + sizeof(entry), entry.bytes - sizeof(entry), false };
		rc = parse_entry(dictionary, &entry, &cursor);
		if (rc < 0)
			return rc;
		dictionary->parsed += entry.bytes;
	}
	return 0;
}

/* ---- views ---- */

uint32_t kvtap_reader_constants(const struct kvtap_reader *reader)
{
	return reader->dictionary.constants;
}

const struct kvtap_text *kvtap_reader_constant(const struct kvtap_reader *reader, uint32_t index)
{
	return &reader->dictionary.constant[2 * index];
}

uint32_t kvtap_reader_families(const struct kvtap_reader *reader)
{
	return reader->dictionary.families;
}

const struct kvtap_family_view *kvtap_reader_family(const struct kvtap_reader *reader, uint32_t id)
{
	return &reader->dictionary.family[id - 1]->view;
}

const struct kvtap_connector_view *kvtap_reader_connector(const struct kvtap_reader *reader,
							  uint32_t id)
{
	if (id == 0 || id > reader->dictionary.connectors)
		return NULL;
	return &reader->dictionary.connector[id - 1];
}

uint32_t kvtap_reader_series_count(const struct kvtap_reader *reader)
{
	return reader->dictionary.series;
}

const struct kvtap_plan *kvtap_reader_plan(const struct kvtap_reader *reader, uint32_t id)
{
	if (id == 0 || id > reader->dictionary.series)
		return NULL;
	return reader->dictionary.one[id - 1].plan;
}

bool kvtap_reader_series(const struct kvtap_reader *reader, uint32_t id,
			 struct kvtap_series_view *view)
{
	const struct kvtap_reader_series *series;

	if (!kvtap_reader_plan(reader, id))
		return false;
	series = &reader->dictionary.one[id - 1];
	view->plan = series->plan;
	view->label = series->label;
	view->labels = series->labels;
	for (uint32_t i = 0; i < series->labels; i++)
		view->label_value[i] = series->value[i];
	for (uint32_t i = 0; i < series->plan->cells; i++) {
		uint32_t family = series->plan->cell[i].family;
		struct kvtap_text *value = &view->value[i * KVTAP_LABELS_MAX];

		for (uint32_t j = 0; j < reader->dictionary.family[family - 1]->view.labels; j++) {
			uint8_t source = series->kind ? series->kind->feed[i].source[j] : j;

			value[j] = source == KVTAP_LABEL_FIXED ? series->kind->feed[i].fixed[j]
							       : series->value[source];
		}
	}
	return true;
}
