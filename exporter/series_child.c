/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_child.c - gauges that several workers set: a child for each, and what all of them show
 *
 * Only what was set counts: a worker that declared a gauge and never set it adds no 0 to a minimum.
 * NaN counts in a sum, and loses against any number in a minimum or maximum.
 */
#include "series.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "hash.h"

/* A mode and its live form differ in the low bit. */
static bool is_live(const struct family *family)
{
	return !(family->gauge_mode & 1);
}

struct reading {
	bool there;
	double value;
	uint64_t when_ns;
};

static double joined(uint8_t mode, double a, double b, bool b_is_later)
{
	switch (mode | 1) {
	case KVTAP_GAUGE_SUM:
		return a + b;
	case KVTAP_GAUGE_MAX:
		return fmax(a, b);
	case KVTAP_GAUGE_MIN:
		return fmin(a, b);
	default:
		return b_is_later ? b : a;
	}
}

static void join(struct reading *reading, uint8_t mode, const struct series *child)
{
	bool later = child->value_ns >= reading->when_ns;

	if (!child->seen)
		return;
	reading->value =
		reading->there ? joined(mode, reading->value, child->value, later) : child->value;
	if (later)
		reading->when_ns = child->value_ns;
	reading->there = true;
}

static struct reading kept(const struct series *series)
{
	return (struct reading){ series->gauge.kept, series->gauge.kept_value,
				 series->gauge.kept_ns };
}

void series_combine(struct series_table *table, struct series *series)
{
	struct reading reading = kept(series);

	for (const struct series *child = series->gauge.first_child; child; child = child->next)
		join(&reading, series->family->gauge_mode, child);
	if (reading.there != series->seen && series->family->lazy)
		family_relayout(&table->families, series->family);
	series->seen = reading.there;
	series->value = reading.value;
	series->value_ns = reading.when_ns;
}

struct child_key {
	const struct series *parent;
	uint8_t uuid[SERIES_UUID_BYTES];
};

static int match(struct cds_lfht_node *node, const void *key)
{
	const struct series *series = caa_container_of(node, struct series, node);
	const struct child_key *wanted = key;

	return series->gauge.parent == wanted->parent &&
	       !memcmp(series->gauge.uuid, wanted->uuid, SERIES_UUID_BYTES);
}

static void link_child(struct series_table *table, struct series *child,
		       const uint8_t uuid[SERIES_UUID_BYTES])
{
	struct series **list = &table->child[uuid[0]], *parent = child->gauge.parent;

	memcpy(child->gauge.uuid, uuid, SERIES_UUID_BYTES);
	child->next = parent->gauge.first_child;
	if (child->next)
		child->next->prev = child;
	parent->gauge.first_child = child;
	child->gauge.worker_next = *list;
	if (*list)
		(*list)->gauge.worker_prev = child;
	*list = child;
	table->children++;
	series_hold(table, parent);
}

void series_child_unlink(struct series_table *table, struct series *child)
{
	struct series *parent = child->gauge.parent;
	struct series *next = child->gauge.worker_next, *prev = child->gauge.worker_prev;

	if (child->next)
		child->next->prev = child->prev;
	*(child->prev ? &child->prev->next : &parent->gauge.first_child) = child->next;
	if (next)
		next->gauge.worker_prev = prev;
	*(prev ? &prev->gauge.worker_next : &table->child[child->gauge.uuid[0]]) = next;
	table->children--;
	series_release(table, parent);
}

static bool is_empty(const struct series *parent)
{
	return !parent->gauge.first_child && !parent->gauge.kept;
}

int series_child(struct series **child, struct series_table *table, struct series *parent,
		 const uint8_t uuid[SERIES_UUID_BYTES], struct budget *budget)
{
	static const struct text none;
	struct child_key key = { .parent = parent };

	memcpy(key.uuid, uuid, SERIES_UUID_BYTES);
	unsigned long hash = hash_bytes(&key, sizeof(key));
	*child = series_find(table, hash, match, &key);
	if (*child)
		return 0;
	int rc = series_make(child, table, parent->family, parent, &none, budget);
	if (!rc) {
		series_link(table, hash, *child);
		link_child(table, *child, uuid);
	}
	if (rc && is_empty(parent)) { /* made a moment ago, for this child */
		if (budget) {
			struct budget cost = series_cost(parent);
			budget_give(budget, &cost);
		}
		series_remove(table, parent);
	}
	return rc;
}

void series_child_end(struct series_table *table, struct series *child)
{
	struct series *parent = child->gauge.parent;

	if (!is_live(parent->family) && child->seen) {
		struct reading reading = kept(parent);

		join(&reading, parent->family->gauge_mode, child);
		parent->gauge.kept = true;
		parent->gauge.kept_value = reading.value;
		parent->gauge.kept_ns = reading.when_ns;
	}
	series_remove(table, child);
	if (is_empty(parent))
		series_remove(table, parent);
	else
		series_touch(table, parent);
}

bool series_end_worker(struct series_table *table, const uint8_t uuid[SERIES_UUID_BYTES])
{
	bool any = false;

	for (struct series *child = table->child[uuid[0]], *next; child; child = next) {
		next = child->gauge.worker_next;
		if (child->users || memcmp(child->gauge.uuid, uuid, SERIES_UUID_BYTES))
			continue;
		series_child_end(table, child);
		any = true;
	}
	return any;
}
