/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_life.c - which series are used, and the end of those that no longer are
 *
 * A series that no open worker refers to can't change, so the time since the last one left is the
 * time that it is idle, and the list of the idle is in the order in which they are to go. Nothing is
 * searched, and nothing is noted on the way of a record.
 */
#include "series.h"

#define EXPIRE_INTERVAL_NS 1000000000ull
#define EXPIRE_MAX 10000 /* series a call: some milliseconds */

static void idle_add(struct series_table *table, struct series *series)
{
	series->idle_ns = table->now_ns;
	series->idle_prev = table->idle_last;
	series->idle_next = NULL;
	*(table->idle_last ? &table->idle_last->idle_next : &table->idle_first) = series;
	table->idle_last = series;
}

static void idle_drop(struct series_table *table, struct series *series)
{
	struct series *next = series->idle_next, *prev = series->idle_prev;

	*(prev ? &prev->idle_next : &table->idle_first) = next;
	*(next ? &next->idle_prev : &table->idle_last) = prev;
}

void series_hold(struct series_table *table, struct series *series)
{
	if (!series->users++)
		idle_drop(table, series);
}

void series_release(struct series_table *table, struct series *series)
{
	if (!--series->users)
		idle_add(table, series);
}

/* The longest idle, if it is so for long enough. */
static struct series *expired(const struct series_table *table)
{
	struct series *first = table->idle_first;
	bool due = table->idle_timeout_ns && first &&
		   table->now_ns - first->idle_ns >= table->idle_timeout_ns;

	return due ? first : NULL;
}

bool series_expire(struct series_table *table, uint64_t now_ns)
{
	struct series *series;
	bool removed = false;

	table->now_ns = now_ns;
	if (now_ns < table->expire_due)
		return false;
	table->expire_due = now_ns + EXPIRE_INTERVAL_NS;
	for (int i = 0; i < EXPIRE_MAX && (series = expired(table)); i++) {
		if (series->gauge.parent)
			series_child_end(table, series);
		else
			series_remove(table, series);
		removed = true;
	}
	return families_sweep(&table->families) || removed;
}
