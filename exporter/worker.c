/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - one open segment, and which series its ids stand for
 *
 * Ids are per segment and count from 1, so both maps are arrays that grow with the dictionary.
 * Families are taken over before series: a family without series has its HELP and TYPE on the page.
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int worker_open(struct worker **worker, enum kvtap_reject *why, int folder, const char *name,
		bool rank_label, struct intervals *intervals)
{
	struct worker *made = calloc(1, sizeof(*made));
	int rc = -ENOMEM;

	if (!made)
		return rc;
	made->rank_label = rank_label;
	made->intervals = intervals;
	made->name = strdup(name);
	if (!made->name)
		goto fail_name;
	made->folder = fcntl(folder, F_DUPFD_CLOEXEC, 3);
	if (made->folder < 0) {
		rc = -errno;
		goto fail_folder;
	}
	rc = kvtap_reader_open(&made->reader, why, made->folder, name);
	if (rc)
		goto fail_reader;
	made->moved = calloc(kvtap_reader_identity(made->reader)->ring_max, sizeof(uint32_t));
	if (!made->moved) {
		rc = -ENOMEM;
		goto fail_moved;
	}
	*worker = made;
	return 0;

fail_moved:
	kvtap_reader_close(made->reader);
fail_reader:
	close(made->folder);
fail_folder:
	free(made->name);
fail_name:
	free(made);
	return rc;
}

static void free_target(struct series_table *table, struct reduce_target *target)
{
	for (uint32_t i = 0; i < target->plan->cells; i++)
		if (target->cell[i])
			series_release(table, target->cell[i]);
	interval_close(target->interval);
	free(target->cell);
}

void worker_close(struct worker *worker, struct series_table *table)
{
	for (uint32_t i = 0; i < worker->targets; i++)
		free_target(table, &worker->target[i]);
	for (uint32_t i = 0; i < worker->families; i++)
		if (worker->family[i].family)
			family_release(&table->families, worker->family[i].family);
	kvtap_reader_close(worker->reader); /* the targets' plans were its own */
	close(worker->folder);
	free(worker->target);
	free(worker->moved);
	free(worker->family);
	free(worker->name);
	free(worker);
}

void worker_end(struct worker *worker, struct series_table *table)
{
	struct kvtap_identity identity = *kvtap_reader_identity(worker->reader);

	worker_close(worker, table);
	series_end_worker(table, identity.uuid);
}

static int take_families(struct worker *worker, struct families *families)
{
	uint32_t count = kvtap_reader_families(worker->reader);

	if (count == worker->families)
		return 0;
	struct worker_family *grown = realloc(worker->family, count * sizeof(struct worker_family));
	if (!grown)
		return -ENOMEM;
	worker->family = grown;
	for (; worker->families < count; worker->families++) {
		struct worker_family *next = &grown[worker->families];
		int rc = family_declare(&next->family, families,
					kvtap_reader_family(worker->reader, worker->families + 1),
					&worker->budget);

		if (rc == -ENOMEM)
			return rc;
		next->over_budget = rc == -ENOSPC;
		if (next->family)
			next->family->users++;
	}
	return 0;
}

static bool is_rank(const struct kvtap_text *name)
{
	return name->bytes == 4 && !memcmp(name->data, "rank", 4);
}

/* The worker's constant labels that are exposed; room for KVTAP_LABELS_MAX. */
static size_t constant_labels(const struct worker *worker, struct series_label *labels)
{
	uint32_t constants = kvtap_reader_constants(worker->reader);
	size_t count = 0;

	for (uint32_t i = 0; i < constants && count < KVTAP_LABELS_MAX; i++) {
		const struct kvtap_text *pair = kvtap_reader_constant(worker->reader, i);

		if (worker->rank_label || !is_rank(&pair[0]))
			labels[count++] = (struct series_label){ pair[0], pair[1] };
	}
	return count;
}

/* The series of a family; of a gauge the child that this worker sets. */
static int find_series(struct worker *worker, struct series_table *table, struct family *family,
		       struct series_label *labels, size_t count, struct series **series)
{
	const struct kvtap_identity *identity = kvtap_reader_identity(worker->reader);
	char pid[12];

	if (family->gauge_mode >= KVTAP_GAUGE_LIVEALL) {
		int bytes = snprintf(pid, sizeof(pid), "%" PRIu32, identity->pid);
		labels[count++] = (struct series_label){ { "pid", 3 }, { pid, (uint32_t)bytes } };
	}
	int rc = series_get(series, table, family, labels, count, &worker->budget);
	if (rc || family->metric != KVTAP_GAUGE)
		return rc;
	struct series *parent = *series;
	return series_child(series, table, parent, identity->uuid, &worker->budget);
}

/* The series of one cell of a plan; labels holds the constants and has room for all others. */
static int find_cell(struct worker *worker, struct series_table *table,
		     const struct kvtap_series_view *view, struct series_label *labels,
		     size_t constants, struct series **series, uint32_t cell)
{
	uint32_t id = view->plan->cell[cell].family;
	const struct worker_family *family = &worker->family[id - 1];
	const struct kvtap_text *value = &view->value[cell * KVTAP_LABELS_MAX];
	const struct kvtap_family_view *declared = kvtap_reader_family(worker->reader, id);

	if (!family->family) {
		table->refused += family->over_budget;
		return family->over_budget ? -ENOSPC : -EEXIST;
	}
	if (!family_feed(family->family, &view->plan->cell[cell]))
		return -ENOMEM;
	for (uint32_t i = 0; i < declared->labels; i++)
		labels[constants + i] = (struct series_label){ declared->label[i], value[i] };
	return find_series(worker, table, family->family, labels, constants + declared->labels,
			   series);
}

/* All cells of a new target, or -ENOMEM and none. */
static int make_target(struct worker *worker, struct series_table *table,
		       const struct kvtap_series_view *view, struct series_label *labels,
		       size_t constants, struct reduce_target *target)
{
	uint32_t exposed = 0;

	*target = (struct reduce_target){ .plan = view->plan, .table = table };
	target->cell = calloc(view->plan->cells + 1u, sizeof(struct series *));
	if (!target->cell)
		return -ENOMEM;
	for (uint32_t i = 0; i < view->plan->cells; i++) {
		int rc = find_cell(worker, table, view, labels, constants, &target->cell[i], i);

		if (rc == -ENOMEM) {
			free_target(table, target);
			return rc;
		}
		if (rc == -ENOSPC)
			target->over_budget |= 1u << i;
		if (target->cell[i]) {
			series_hold(table, target->cell[i]);
			exposed |= 1u << i;
		}
		target->other |= rc == -ENOSPC && target->cell[i];
	}
	target->interval = interval_open(worker->intervals, worker->reader, view, exposed,
					 target->over_budget);
	return 0;
}

static int take_series(struct worker *worker, struct series_table *table)
{
	uint32_t count = kvtap_reader_series_count(worker->reader);
	struct series_label labels[SERIES_LABELS_MAX];

	if (count == worker->targets)
		return 0;
	struct reduce_target *grown = realloc(worker->target, count * sizeof(struct reduce_target));
	if (!grown)
		return -ENOMEM;
	worker->target = grown;
	size_t constants = constant_labels(worker, labels);
	for (; worker->targets < count; worker->targets++) {
		struct kvtap_series_view view;

		if (!kvtap_reader_series(worker->reader, worker->targets + 1, &view))
			break;
		int rc = make_target(worker, table, &view, labels, constants,
				     &grown[worker->targets]);
		if (rc)
			return rc;
	}
	return 0;
}

int worker_refresh(struct worker *worker, enum kvtap_reject *why, struct series_table *table)
{
	int rc = kvtap_reader_refresh(worker->reader, why);

	if (rc)
		return rc;
	rc = take_families(worker, &table->families);
	return rc ? rc : take_series(worker, table);
}

struct reduce_target *worker_target(const struct worker *worker, uint32_t series)
{
	return series - 1 < worker->targets ? &worker->target[series - 1] : NULL;
}
