/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval.c - the accumulators of an interval: found or made, reset, and freed
 *
 * Lists are short and in the order in which things appeared; what can be many is in a tree as well:
 * label sets, operations, ranks and engines. What a worker leaves stays until its interval ends, so a
 * figure is in the line that follows its last record, and a soak of workers leaves nothing.
 */
#include "interval.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

struct intervals *intervals_create(size_t samples)
{
	struct intervals *intervals = calloc(1, sizeof(*intervals));

	if (intervals)
		intervals->pool.limit = samples;
	return intervals;
}

/* Zeroed; NULL: no memory or no room. */
static void *make(struct intervals *intervals, size_t bytes)
{
	void *made = bytes <= INTERVAL_BYTES_MAX - intervals->bytes ? calloc(1, bytes) : NULL;

	if (made)
		intervals->bytes += bytes;
	return made;
}

static void unmake(struct intervals *intervals, void *made, size_t bytes)
{
	intervals->bytes -= bytes;
	free(made);
}

/* Names stand behind what they name. */
static void copy(struct kvtap_text *to, char *data, const struct kvtap_text *from)
{
	if (from->bytes)
		memcpy(data, from->data, from->bytes);
	*to = (struct kvtap_text){ data, from->bytes };
}

static int compare(const struct kvtap_text *a, const struct kvtap_text *b)
{
	if (a->bytes != b->bytes)
		return a->bytes < b->bytes ? -1 : 1;
	return a->bytes ? memcmp(a->data, b->data, a->bytes) : 0;
}

bool interval_same(const struct kvtap_text *a, const struct kvtap_text *b)
{
	return compare(a, b) == 0;
}

static void *find(void *const *tree, const void *key, int (*order)(const void *, const void *))
{
	void *const *found = tfind(key, tree, order);

	return found ? *found : NULL;
}

/* ---- found or made ---- */

static int compare_engines(const void *a, const void *b)
{
	const struct interval_engine *one = a, *other = b;
	int order = compare(&one->engine, &other->engine);

	return order ? order : compare(&one->model_name, &other->model_name);
}

static size_t engine_bytes(const struct interval_engine *engine)
{
	return sizeof(*engine) + engine->model_name.bytes + engine->engine.bytes;
}

struct interval_engine *interval_get_engine(struct intervals *intervals,
					    const struct interval_engine *key)
{
	struct interval_engine *made = find(&intervals->by_engine, key, compare_engines);

	if (made)
		return made;
	made = make(intervals, engine_bytes(key));
	if (!made)
		return NULL;
	char *names = (char *)(made + 1);
	copy(&made->model_name, names, &key->model_name);
	copy(&made->engine, names + key->model_name.bytes, &key->engine);
	if (!tsearch(made, &intervals->by_engine, compare_engines)) {
		unmake(intervals, made, engine_bytes(key));
		return NULL;
	}
	if (intervals->last)
		intervals->last->next = made;
	else
		intervals->engines = made;
	return intervals->last = made;
}

struct interval_connector *interval_get_connector(struct intervals *intervals,
						  struct interval_engine *engine,
						  const struct kvtap_connector_view *view)
{
	struct interval_connector **at = &engine->connectors, *made;
	unsigned count = 0;

	for (; *at; at = &(*at)->next, count++)
		if (interval_same(&(*at)->name, &view->name))
			return (*at)->summary == view->summary ? *at : NULL;
	made = count < KVTAP_CONNECTORS_MAX ? make(intervals, sizeof(*made) + view->name.bytes)
					    : NULL;
	if (!made)
		return NULL;
	copy(&made->name, (char *)(made + 1), &view->name);
	made->summary = view->summary;
	return *at = made;
}

/* vLLM's name has no _total. */
static struct kvtap_text short_name(const struct kvtap_family_view *view)
{
	struct kvtap_text name = view->name;

	if (view->metric == KVTAP_COUNTER && name.bytes > 6 &&
	    !memcmp(name.data + name.bytes - 6, "_total", 6))
		name.bytes -= 6;
	return name;
}

struct interval_family *interval_get_family(struct intervals *intervals,
					    struct interval_connector *connector,
					    const struct kvtap_family_view *view, uint32_t id)
{
	struct interval_family **at, **place = NULL, *made;
	struct kvtap_text name = short_name(view);
	unsigned count = 0;

	for (at = &connector->families; *at; at = &(*at)->next, count++) {
		if (interval_same(&(*at)->name, &name) && (*at)->metric == view->metric &&
		    (*at)->labels == view->labels)
			return *at;
		if (!place && (*at)->id > id)
			place = at;
	}
	made = count < KVTAP_FAMILIES_MAX ? make(intervals, sizeof(*made) + name.bytes) : NULL;
	if (!made)
		return NULL;
	copy(&made->name, (char *)(made + 1), &name);
	made->metric = view->metric;
	made->unit = view->unit;
	made->role = view->role;
	made->labels = view->labels;
	made->id = id;
	if (!place)
		place = at;
	made->next = *place;
	return *place = made;
}

static int compare_figures(const void *a, const void *b)
{
	const struct interval_figure *one = a, *other = b;

	if (one->bytes != other->bytes)
		return one->bytes < other->bytes ? -1 : 1;
	return one->bytes ? memcmp(one->values, other->values, one->bytes) : 0;
}

/* The label values of one cell, as a figure has them. */
static void join_values(struct text *values, const struct kvtap_text *value, uint32_t labels,
			bool other)
{
	static const struct kvtap_text others = { "other", 5 };

	for (uint32_t i = 0; i < labels; i++) {
		const struct kvtap_text *one = other ? &others : &value[i];

		text_add(values, (const char *)&one->bytes, sizeof(one->bytes));
		text_add(values, one->data, one->bytes);
	}
}

static struct interval_figure *
make_figure(struct intervals *intervals, struct interval_family *family, const struct text *values)
{
	struct interval_figure *made = make(intervals, sizeof(*made) + values->bytes);

	if (!made)
		return NULL;
	char *at = (char *)(made + 1);
	made->family = family;
	made->bytes = (uint32_t)values->bytes;
	made->values = at;
	if (values->bytes)
		memcpy(at, values->data, values->bytes);
	if (!tsearch(made, &family->figures, compare_figures)) {
		unmake(intervals, made, sizeof(*made) + values->bytes);
		return NULL;
	}
	if (family->last)
		family->last->next = made;
	else
		family->first = made;
	return family->last = made;
}

struct interval_figure *interval_get_figure(struct intervals *intervals,
					    struct interval_family *family,
					    const struct kvtap_text *value, bool other)
{
	struct interval_figure *figure = NULL, key = { 0 };
	struct text values = { 0 };

	join_values(&values, value, family->labels, other);
	key.bytes = (uint32_t)values.bytes;
	key.values = values.data;
	if (!values.failed)
		figure = find(&family->figures, &key, compare_figures);
	if (!values.failed && !figure)
		figure = make_figure(intervals, family, &values);
	text_free(&values);
	if (figure)
		figure->users++;
	return figure;
}

static int compare_transfers(const void *a, const void *b)
{
	const struct interval_transfers *one = a, *other = b;

	if (one->role != other->role)
		return one->role < other->role ? -1 : 1;
	return compare(&one->operation, &other->operation);
}

struct interval_transfers *interval_get_transfers(struct intervals *intervals,
						  struct interval_connector *connector,
						  const struct interval_transfers *key)
{
	struct interval_transfers *made = find(&connector->by_operation, key, compare_transfers);
	size_t bytes = sizeof(*made) + key->operation.bytes;

	if (!made) {
		made = make(intervals, bytes);
		if (!made)
			return NULL;
		made->role = key->role;
		copy(&made->operation, (char *)(made + 1), &key->operation);
		if (!tsearch(made, &connector->by_operation, compare_transfers)) {
			unmake(intervals, made, bytes);
			return NULL;
		}
		made->next = connector->transfers;
		connector->transfers = made;
	}
	made->users++;
	return made;
}

static int compare_ranks(const void *a, const void *b)
{
	const struct interval_rank *one = a, *other = b;

	return compare(&one->name, &other->name);
}

struct interval_rank *interval_get_rank(struct intervals *intervals,
					struct interval_transfers *transfers,
					const struct interval_rank *key)
{
	struct interval_rank *made = find(&transfers->by_rank, key, compare_ranks);
	size_t bytes = sizeof(*made) + key->name.bytes;

	if (!made) {
		made = make(intervals, bytes);
		if (!made)
			return NULL;
		copy(&made->name, (char *)(made + 1), &key->name);
		if (!tsearch(made, &transfers->by_rank, compare_ranks)) {
			unmake(intervals, made, bytes);
			return NULL;
		}
		made->next = transfers->ranks;
		transfers->ranks = made;
	}
	made->users++;
	return made;
}

/* ---- a new interval ---- */

static void reset_figures(struct intervals *intervals, struct interval_family *family)
{
	struct interval_figure **at = &family->first;

	family->last = NULL;
	while (*at) {
		struct interval_figure *figure = *at;

		if (figure->users) {
			figure->touched = false;
			figure->count = 0;
			memset(figure->sum, 0, sizeof(figure->sum));
			family->last = figure;
			at = &figure->next;
		} else {
			*at = figure->next;
			tdelete(figure, &family->figures, compare_figures);
			unmake(intervals, figure, sizeof(*figure) + figure->bytes);
		}
	}
}

static void reset_families(struct intervals *intervals, struct interval_connector *connector)
{
	struct interval_family **at = &connector->families;

	while (*at) {
		struct interval_family *family = *at;

		reset_figures(intervals, family);
		if (family->first) {
			at = &family->next;
		} else {
			*at = family->next;
			unmake(intervals, family, sizeof(*family) + family->name.bytes);
		}
	}
}

static void reset_ranks(struct intervals *intervals, struct interval_transfers *transfers)
{
	struct interval_rank **at = &transfers->ranks;

	while (*at) {
		struct interval_rank *rank = *at;

		rank->records = 0;
		rank->bytes = rank->duration_ns = 0;
		if (rank->users) {
			at = &rank->next;
		} else {
			*at = rank->next;
			tdelete(rank, &transfers->by_rank, compare_ranks);
			unmake(intervals, rank, sizeof(*rank) + rank->name.bytes);
		}
	}
}

static void reset_transfers(struct intervals *intervals, struct interval_connector *connector)
{
	struct interval_transfers **at = &connector->transfers;

	while (*at) {
		struct interval_transfers *transfers = *at;

		sample_reset(&transfers->samples, &intervals->pool);
		reset_ranks(intervals, transfers);
		transfers->records = transfers->failed = transfers->errors = 0;
		transfers->duration_ns = transfers->submit_ns = transfers->bytes = 0;
		transfers->descriptors = transfers->failed_descriptors = 0;
		if (transfers->users) {
			at = &transfers->next;
		} else {
			*at = transfers->next;
			tdelete(transfers, &connector->by_operation, compare_transfers);
			unmake(intervals, transfers,
			       sizeof(*transfers) + transfers->operation.bytes);
		}
	}
}

static void reset_connectors(struct intervals *intervals, struct interval_engine *engine)
{
	struct interval_connector **at = &engine->connectors;

	while (*at) {
		struct interval_connector *connector = *at;

		reset_families(intervals, connector);
		reset_transfers(intervals, connector);
		if (connector->families || connector->transfers) {
			at = &connector->next;
		} else {
			*at = connector->next;
			unmake(intervals, connector, sizeof(*connector) + connector->name.bytes);
		}
	}
}

void intervals_reset(struct intervals *intervals)
{
	struct interval_engine **at = &intervals->engines;

	intervals->last = NULL;
	while (*at) {
		struct interval_engine *engine = *at;

		reset_connectors(intervals, engine);
		if (engine->connectors) {
			intervals->last = engine;
			at = &engine->next;
		} else {
			*at = engine->next;
			tdelete(engine, &intervals->by_engine, compare_engines);
			unmake(intervals, engine, engine_bytes(engine));
		}
	}
	sample_pool_turn(&intervals->pool);
}

void intervals_destroy(struct intervals *intervals)
{
	if (!intervals)
		return;
	intervals_reset(intervals); /* no target is left, so this frees all */
	sample_pool_turn(&intervals->pool);
	free(intervals);
}
