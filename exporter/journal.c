/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.c - what must not be lost or counted twice when the exporter is killed
 *
 * A family gets an item when its first series is kept, a series one when it is first touched. A
 * commit writes the series that were touched since the last one, whole: they are few, whatever the
 * number of records was.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "kept.h"
#include "log.h"

enum { ITEM_FAMILY = 1, ITEM_SERIES };

/* What a family's item became, by item, in increasing order. */
struct restored {
	uint64_t item;
	struct family *family;
};

struct journal {
	struct series_table *table;
	struct progress_set progress;
	struct state *state; /* NULL: nothing is kept */
	struct text scratch;
	uint64_t errors;
	bool stuck; /* the last commit failed */
	bool error_logged;
	bool restored;
	struct restored *family; /* while the file is read */
	uint32_t families, room;
};

/* ---- keeping ------------------------------------------------------------------------------ */

static bool keep_family(struct journal *journal, struct family *family)
{
	if (family->kept)
		return true;
	journal->scratch.bytes = 0;
	kept_family(&journal->scratch, family);
	if (!journal->scratch.failed)
		family->kept = state_add(journal->state, ITEM_FAMILY, journal->scratch.data,
					 (uint32_t)journal->scratch.bytes, 0);
	return family->kept;
}

static bool make_item(struct journal *journal, struct series *series)
{
	if (series->kept)
		return true;
	if (!keep_family(journal, series->family))
		return false;
	journal->scratch.bytes = 0;
	kept_series(&journal->scratch, series);
	if (!journal->scratch.failed)
		series->kept = state_add(journal->state, ITEM_SERIES, journal->scratch.data,
					 (uint32_t)journal->scratch.bytes,
					 kept_value_room(series->family));
	return series->kept;
}

static void forget(struct journal *journal, uint64_t *item)
{
	if (*item && journal->state)
		state_remove(journal->state, *item);
	*item = 0;
}

/* A gauge is what its children are, but for what was left by workers that ended. */
static bool has_own_value(const struct series *series)
{
	return series->family->metric != KVTAP_GAUGE || series->gauge.parent || series->gauge.kept;
}

static bool keep(struct journal *journal, struct series *series)
{
	if (series->transient)
		return true;
	if (!has_own_value(series)) {
		forget(journal, &series->kept);
		return true;
	}
	if (!make_item(journal, series))
		return false;
	uint32_t bytes = kept_value(state_value(journal->state, series->kept), series);
	state_end(journal->state, series->kept, bytes);
	return true;
}

static void note_error(struct journal *journal)
{
	journal->errors++;
	if (!journal->error_logged)
		log_error("No room for a bigger state; workers fold until there is", "file",
			  JOURNAL_NAME, "error", strerror(errno));
	journal->error_logged = true;
	if (journal->scratch.failed)
		text_free(&journal->scratch);
}

static bool keep_changed(struct journal *journal)
{
	const struct series_list *changed = &journal->table->changed;

	for (uint32_t i = 0; i < changed->count; i++)
		if (!keep(journal, changed->series[i]))
			return false;
	return true;
}

bool journal_commit(struct journal *journal)
{
	bool all = !journal->state || keep_changed(journal);

	journal->stuck = !all || (!journal->state && journal->restored);
	if (!all || journal->progress.failed)
		note_error(journal);
	journal->progress.failed = 0;
	if (!all)
		return false;
	if (journal->state)
		state_commit(journal->state);
	series_settle(journal->table);
	return !journal->stuck;
}

bool journal_stuck(const struct journal *journal)
{
	return journal->stuck;
}

static void forget_series(void *context, struct series *series)
{
	forget(context, &series->kept);
}

static void forget_family(void *context, struct family *family)
{
	forget(context, &family->kept);
}

/* ---- restoring ---------------------------------------------------------------------------- */

static struct family *restored_family(const struct journal *journal, uint64_t item)
{
	uint32_t low = 0, high = journal->families;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (journal->family[middle].item < item)
			low = middle + 1;
		else
			high = middle;
	}
	return low < journal->families && journal->family[low].item == item
		       ? journal->family[low].family
		       : NULL;
}

/* Nothing of a worker's budget is taken: who declared it is long forgotten. */
static bool restore_family(struct journal *journal, const struct state_item *item)
{
	struct kept_family kept;
	struct budget nobodys = { 0 };
	struct family *family = NULL;

	if (journal->families == journal->room) {
		uint32_t room = journal->room ? journal->room * 2 : 64;
		struct restored *grown = realloc(journal->family, room * sizeof(*grown));

		if (!grown)
			return false;
		journal->family = grown;
		journal->room = room;
	}
	if (!kept_family_read(&kept, item->fixed, item->fixed_bytes))
		return false;
	family_declare(&family, &journal->table->families, &kept.view, kept.own ? NULL : &nobodys);
	text_free(&kept.help);
	if (!family || family->kept)
		return false;
	family->kept = item->item;
	journal->family[journal->families++] = (struct restored){ item->item, family };
	return true;
}

/* The series of an item, made if it is new. */
static struct series *find_series(struct journal *journal, struct family *family,
				  const struct kept_series *kept)
{
	struct series *series, *child;

	if (kept->child &&
	    (family->metric != KVTAP_GAUGE || !progress_knows(&journal->progress, kept->uuid)))
		return NULL;
	if (series_get(&series, journal->table, family, kept->label, kept->labels, NULL))
		return NULL;
	if (!kept->child)
		return series;
	return series_child(&child, journal->table, series, kept->uuid, NULL) ? NULL : child;
}

static bool restore_value(struct series *series, const struct kept_series *kept,
			  const struct state_item *item)
{
	if (series->kept || series->transient || item->room < kept_value_room(series->family) ||
	    !kept_value_read(series, item->value, item->bytes))
		return false;
	if (kept->other)
		series->family->other = series;
	series->kept = item->item;
	series->created_ns = kept->created_ns;
	return true;
}

static bool restore_series(struct journal *journal, const struct state_item *item)
{
	struct kept_series kept;
	struct series *series = NULL;

	if (!item->value || !kept_series_read(&kept, item->fixed, item->fixed_bytes))
		return false;
	struct family *family = restored_family(journal, kept.family);
	if (family)
		series = find_series(journal, family, &kept);
	text_free(&kept.values);
	return series && restore_value(series, &kept, item);
}

/* A gauge must not outlast its children, and shows what they are. */
static void restore_gauges(struct journal *journal)
{
	const struct families *families = &journal->table->families;

	for (uint32_t i = 0; i < families->count; i++) {
		struct series *series = families->family[i]->first, *next;

		for (; families->family[i]->metric == KVTAP_GAUGE && series; series = next) {
			next = series->next;
			if (families->family[i]->own)
				continue;
			if (series->gauge.first_child || series->gauge.kept)
				series_combine(journal->table, series);
			else
				series_remove(journal->table, series);
		}
	}
}

/* Families and workers first: the others refer to them, and may stand before them. */
static bool restore_item(struct journal *journal, const struct state_item *item, bool first)
{
	switch (item->type) {
	case ITEM_FAMILY:
		return !first || restore_family(journal, item);
	case ITEM_SERIES:
		return first || restore_series(journal, item);
	default:
		return progress_is_worker(item) != first ||
		       progress_restore(&journal->progress, item);
	}
}

static void restore(struct journal *journal)
{
	uint32_t dropped = 0;
	char count[16];

	for (int pass = 0; pass < 2; pass++) {
		struct state_item item = { 0 };

		while (state_next(journal->state, &item)) {
			if (restore_item(journal, &item, pass == 0))
				continue;
			state_remove(journal->state, item.item);
			dropped++;
		}
	}
	restore_gauges(journal);
	free(journal->family);
	journal->family = NULL;
	journal->families = journal->room = 0;
	state_commit(journal->state);
	snprintf(count, sizeof(count), "%u", dropped);
	if (dropped)
		log_warn("Parts of the state are of no use to this version and were dropped",
			 "items", count);
}

/* ---- the file ----------------------------------------------------------------------------- */

static void log_refused(int rc, const char *why, int holder)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", holder);
	if (rc == -EWOULDBLOCK)
		log_error("Another exporter holds the state", "file", JOURNAL_NAME, "pid",
			  holder ? pid : "of another pid namespace");
	else
		log_error("Can't open the state", "file", JOURNAL_NAME, "error",
			  why ? why : strerror(-rc));
}

static int set_aside(int folder, const char *reason)
{
	log_error("The state is set aside", "file", JOURNAL_NAME, "reason", reason, "now",
		  JOURNAL_REFUSED);
	if (!renameat(folder, JOURNAL_NAME, folder, JOURNAL_REFUSED))
		return 0;
	int rc = -errno;
	log_error("Can't set the state aside; remove it by hand", "file", JOURNAL_NAME, "error",
		  strerror(-rc));
	return rc;
}

static int open_state(struct journal *journal, int folder)
{
	const char *why = NULL;
	int holder = 0, rc = 0;

	/* what another exporter has left in a folder that replaces ours is not ours to go on with */
	if (journal->restored && !faccessat(folder, JOURNAL_NAME, F_OK, AT_SYMLINK_NOFOLLOW))
		rc = set_aside(folder, "it is not the one that this exporter went on with");
	if (!rc)
		rc = state_open(&journal->state, &why, &holder, folder, JOURNAL_NAME);
	if (rc == -EPROTO) {
		rc = set_aside(folder, why);
		if (!rc)
			rc = state_open(&journal->state, &why, &holder, folder, JOURNAL_NAME);
	}
	if (rc) {
		journal->errors++;
		log_refused(rc, why, holder);
	}
	return rc;
}

/* A series and its children are new to the file. */
static void keep_anew(struct journal *journal, struct series *series)
{
	series->kept = 0;
	series_touch(journal->table, series);
	for (series = series->gauge.first_child; series; series = series->next)
		keep_anew(journal, series);
}

/* All that is in memory is. */
static void keep_all(struct journal *journal)
{
	const struct families *families = &journal->table->families;

	for (uint32_t i = 0; i < families->count; i++) {
		families->family[i]->kept = 0;
		for (struct series *series = families->family[i]->first; series;
		     series = series->next)
			keep_anew(journal, series);
	}
}

int journal_open(struct journal *journal, int folder)
{
	struct state *before = journal->state;
	char count[16];

	journal->state = NULL;
	int rc = open_state(journal, folder);
	progress_move(&journal->progress, journal->state);
	state_close(before);
	if (rc)
		return rc;
	if (journal->restored) {
		keep_all(journal);
		journal_commit(journal);
		return 0;
	}
	uint32_t own = journal->table->count;
	journal->table->now_ns = clock_ns(); /* idle from now on, if no worker comes */
	restore(journal);
	journal->restored = true;
	snprintf(count, sizeof(count), "%u", journal->table->count - own);
	log_info("State opened", "file", JOURNAL_NAME, "series", count);
	return 0;
}

struct journal *journal_create(struct series_table *table)
{
	struct journal *journal = calloc(1, sizeof(*journal));

	if (!journal)
		return NULL;
	journal->table = table;
	table->removed = forget_series;
	table->context = journal;
	table->families.removed = forget_family;
	table->families.context = journal;
	return journal;
}

void journal_destroy(struct journal *journal)
{
	progress_free(&journal->progress);
	state_close(journal->state);
	text_free(&journal->scratch);
	free(journal);
}

struct progress_set *journal_progress(struct journal *journal)
{
	return &journal->progress;
}

uint64_t journal_bytes(const struct journal *journal)
{
	return journal->state ? state_bytes(journal->state) : 0;
}

uint64_t journal_errors(const struct journal *journal)
{
	return journal->errors;
}
