/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declare.c - families, kinds and series: checked, numbered, written to the dictionary
 *
 * The order that keeps a recording thread lock-free: the entry is published and the plan is in its
 * place before the caller learns the id, so whoever has an id may use it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "declare.h"
#include "plan.h"
#include "tap.h"

int kvtap_complain(const struct kvtap *tap, int rc, const char *what, const char *name,
		   const char *why)
{
	kvtap_tap_log(tap, KVTAP_LOG_ERROR, "declare: %s \"%.80s\": %s", what,
		      name ? name : "(null)", why);
	return rc;
}

/* Private copy first, then the segment, which may be full. */
int kvtap_declare_append(struct kvtap *tap, const struct kvtap_entry_builder *entry, uint32_t id)
{
	uint64_t before = tap->dictionary.used;
	int rc = -ENOSPC;

	if (entry->bytes <= tap->dictionary.capacity - before) {
		memcpy(tap->dictionary.data + before, entry->data, entry->bytes);
		rc = kvtap_load_relaxed(&tap->live->open) /* under the lock */
			     ? kvtap_segment_declare(tap->live->segment, tap->dictionary.data,
						     before + entry->bytes)
			     : 0;
	}
	return rc < 0 ? rc : kvtap_dictionary_append(&tap->dictionary, entry, id);
}

int kvtap_declare_constants(struct kvtap *tap)
{
	struct kvtap_entry head = { .type = KVTAP_ENTRY_CONSTANTS,
				    .labels = (uint16_t)(tap->constants / 2) };
	struct kvtap_entry_builder entry;
	int rc;

	kvtap_entry_begin(&entry, &head);
	for (uint32_t i = 0; i < tap->constants; i++)
		kvtap_entry_string(&entry, tap->constant[i]);
	rc = kvtap_entry_end(&entry);
	if (rc < 0)
		kvtap_complain(tap, rc, "constant labels", "", "a value is longer than 4096 bytes");
	else
		rc = kvtap_declare_append(tap, &entry, 1);
	kvtap_entry_free(&entry);
	return rc;
}

/* ---- what is kept of a declaration ---- */

static void free_declared(struct kvtap_declared *declared)
{
	if (!declared)
		return;
	for (uint32_t i = 0; declared->label_names && i < declared->labels; i++)
		free(declared->label_names[i]);
	free(declared->label_names);
	free(declared->name);
	free(declared->bound);
	free(declared->limit);
	free(declared);
}

void kvtap_declare_free(struct kvtap *tap)
{
	for (uint32_t i = 1; i <= tap->connectors; i++)
		free(tap->connector[i]);
	for (uint32_t i = 1; i <= tap->families; i++)
		free_declared(tap->family[i]);
	for (uint32_t i = 1; i <= tap->kinds; i++)
		free_declared(tap->kind[i]);
}

static struct kvtap_declared *keep(const char *name, const char *const *label_names, size_t labels,
				   size_t limits)
{
	struct kvtap_declared *declared = calloc(1, sizeof(*declared));
	bool ok;

	if (!declared)
		return NULL;
	declared->labels = (uint32_t)labels;
	declared->name = strdup(name);
	declared->label_names = calloc(labels + 1, sizeof(char *));
	declared->limit = calloc(limits + 1, sizeof(uint64_t));
	ok = declared->name && declared->label_names && declared->limit;
	for (size_t i = 0; ok && i < labels; i++)
		ok = (declared->label_names[i] = strdup(label_names[i])) != NULL;
	if (ok)
		return declared;
	free_declared(declared);
	return NULL;
}

/* ---- families ---- */

static bool is_constant(const struct kvtap *tap, const char *name)
{
	for (uint32_t i = 0; i < tap->constants; i += 2)
		if (strcmp(tap->constant[i], name) == 0)
			return true;
	return false;
}

static int check_labels(const struct kvtap *tap, const char *what, const char *name,
			const char *const *names, size_t count, bool histogram)
{
	if (count > KVTAP_LABELS_MAX)
		return kvtap_complain(tap, -E2BIG, what, name, "more than 16 labels");
	if (count && !names)
		return kvtap_complain(tap, -EINVAL, what, name, "label_names is NULL");
	for (size_t i = 0; i < count; i++) {
		if (!names[i] || !kvtap_label_name_valid(names[i], strlen(names[i]), histogram))
			return kvtap_complain(tap, -EINVAL, what, name,
					      "a label name is not [a-zA-Z_][a-zA-Z0-9_]*, "
					      "or reserved");
		if (is_constant(tap, names[i]))
			return kvtap_complain(tap, -EINVAL, what, name,
					      "a label is also a constant label of the tap");
		for (size_t j = 0; j < i; j++)
			if (strcmp(names[i], names[j]) == 0)
				return kvtap_complain(tap, -EINVAL, what, name,
						      "a label name twice");
	}
	return 0;
}

static int check_gauge_mode(const struct kvtap *tap, const struct kvtap_family *family)
{
	bool all = family->gauge_mode >= KVTAP_GAUGE_LIVEALL;

	if (family->gauge_mode > KVTAP_GAUGE_ALL ||
	    (family->gauge_mode && family->metric != KVTAP_GAUGE))
		return kvtap_complain(tap, -EINVAL, "family", family->name,
				      "gauge_mode is unknown, or not of a gauge");
	for (size_t i = 0; all && i < family->label_count; i++)
		if (strcmp(family->label_names[i], "pid") == 0)
			return kvtap_complain(tap, -EINVAL, "family", family->name,
					      "its gauge_mode adds the label pid");
	return 0;
}

static int check_family(const struct kvtap *tap, const struct kvtap_family *family)
{
	bool histogram = family->metric == KVTAP_HISTOGRAM;

	if (!family->name || !kvtap_metric_name_valid(family->name, strlen(family->name)))
		return kvtap_complain(tap, -EINVAL, "family", family->name,
				      "the name is not [a-zA-Z_:][a-zA-Z0-9_:]* of at most "
				      "255 bytes");
	if (family->metric < KVTAP_COUNTER || family->metric > KVTAP_HISTOGRAM ||
	    (family->flags & ~KVTAP_FAMILY_LAZY))
		return kvtap_complain(tap, -EINVAL, "family", family->name,
				      "unknown metric or flags");
	if ((unsigned)family->unit > KVTAP_UNIT_RATIO ||
	    !kvtap_family_role_valid(family->role, (uint8_t)family->metric))
		return kvtap_complain(tap, -EINVAL, "family", family->name,
				      "unknown unit, or a role that a family of this "
				      "metric can't have");
	if (family->bound_count > KVTAP_BOUNDS_MAX)
		return kvtap_complain(tap, -E2BIG, "family", family->name, "more than 64 bounds");
	if (family->bound_count && (!histogram || !family->bounds ||
				    !kvtap_bounds_valid(family->bounds, family->bound_count)))
		return kvtap_complain(tap, -EINVAL, "family", family->name,
				      "bounds must be finite, increasing, and of a "
				      "histogram");
	int rc = check_labels(tap, "family", family->name, family->label_names, family->label_count,
			      histogram);
	return rc ? rc : check_gauge_mode(tap, family);
}

/* Checked before it is published. */
static uint32_t summary_target(uint32_t connector, enum kvtap_role role)
{
	return (connector & UINT16_MAX) | (uint32_t)role << KVTAP_ENTRY_ROLE_SHIFT;
}

static int build_family(struct kvtap_entry_builder *entry, const struct kvtap_family *family)
{
	struct kvtap_entry head = {
		.type = KVTAP_ENTRY_FAMILY,
		.metric = (uint8_t)family->metric,
		.flags = (uint8_t)(family->flags |
				   (unsigned)family->gauge_mode << KVTAP_ENTRY_MODE_SHIFT |
				   (unsigned)family->unit << KVTAP_ENTRY_UNIT_SHIFT),
		.target = summary_target(family->connector, family->role),
		.labels = (uint16_t)family->label_count,
		.count = (uint16_t)family->bound_count
	};

	kvtap_entry_begin(entry, &head);
	kvtap_entry_bytes(entry, family->bounds, family->bound_count * sizeof(double));
	kvtap_entry_string(entry, family->name);
	kvtap_entry_string(entry, family->help ? family->help : "");
	for (size_t i = 0; i < family->label_count; i++)
		kvtap_entry_string(entry, family->label_names[i]);
	return kvtap_entry_end(entry);
}

static bool same_family(const struct kvtap_declared *declared, const struct kvtap_family *family)
{
	const struct kvtap_cell *cell = &declared->plan.cell[0];

	if (declared->metric != family->metric || declared->gauge_mode != family->gauge_mode ||
	    declared->plan.connector != family->connector || declared->plan.role != family->role ||
	    declared->labels != family->label_count || cell->bounds != family->bound_count)
		return false;
	for (uint32_t i = 0; i < declared->labels; i++)
		if (strcmp(declared->label_names[i], family->label_names[i]) != 0)
			return false;
	return cell->bounds == 0 ||
	       memcmp(cell->bound, family->bounds, cell->bounds * sizeof(double)) == 0;
}

static struct kvtap_declared *keep_family(const struct kvtap_family *family, uint32_t id)
{
	struct kvtap_declared *declared =
		keep(family->name, family->label_names, family->label_count, family->bound_count);
	double *bound = malloc((family->bound_count + 1) * sizeof(double));

	if (!declared || !bound) {
		free(bound);
		free_declared(declared);
		return NULL;
	}
	if (family->bound_count)
		memcpy(bound, family->bounds, family->bound_count * sizeof(double));
	declared->bound = bound;
	declared->metric = (uint8_t)family->metric;
	declared->gauge_mode = (uint8_t)family->gauge_mode;
	kvtap_plan_begin(&declared->plan, kvtap_plan_op(declared->metric));
	declared->plan.connector = (uint16_t)family->connector;
	declared->plan.role = (uint8_t)family->role;
	kvtap_plan_cell(&declared->plan, id, declared->metric, 0, KVTAP_WHEN_ALWAYS, bound,
			(uint32_t)family->bound_count, declared->limit);
	return declared;
}

static int add_family(struct kvtap *tap, uint32_t *id, const struct kvtap_family *family,
		      const struct kvtap_entry_builder *entry)
{
	struct kvtap_declared *declared;
	int rc;

	if (family->connector > tap->connectors)
		return kvtap_complain(tap, -EINVAL, "family", family->name,
				      "its connector is not declared");
	for (uint32_t i = 1; i <= tap->families; i++) {
		if (strcmp(tap->family[i]->name, family->name) != 0)
			continue;
		if (!same_family(tap->family[i], family))
			return kvtap_complain(tap, -EEXIST, "family", family->name,
					      "declared before with something else than the "
					      "help or unit changed");
		*id = i;
		return 0;
	}
	if (tap->families == KVTAP_FAMILIES_MAX)
		return kvtap_complain(tap, -ENOSPC, "family", family->name,
				      "more than 1024 families");
	declared = keep_family(family, tap->families + 1);
	if (!declared)
		return -ENOMEM;
	rc = kvtap_declare_append(tap, entry, tap->families + 1);
	if (rc < 0) {
		free_declared(declared);
		return kvtap_complain(tap, rc, "family", family->name, strerror(-rc));
	}
	tap->family[tap->families + 1] = declared;
	kvtap_fence_seq_cst(); /* a fork child has all that is counted */
	*id = ++tap->families;
	return 0;
}

int kvtap_declare_begin(struct kvtap *tap, uint32_t *id)
{
	*id = 0;
	if (!tap || tap->disabled)
		return 1;
	return tap->id == KVTAP_ID_NONE ? -ENODEV : kvtap_tap_lock(tap);
}

int kvtap_declare_family(struct kvtap *tap, uint32_t *id, const struct kvtap_family *family)
{
	struct kvtap_entry_builder entry;
	int rc = check_family(tap, family);

	if (rc < 0)
		return rc;
	rc = build_family(&entry, family);
	if (rc == 0)
		rc = add_family(tap, id, family, &entry);
	else
		kvtap_complain(tap, rc, "family", family->name,
			       "the help is longer than 4096 bytes");
	kvtap_entry_free(&entry);
	return rc;
}

int kvtap_family_declare(struct kvtap *tap, uint32_t *id, const struct kvtap_family *family)
{
	int rc = kvtap_declare_begin(tap, id);

	if (rc)
		return rc > 0 ? 0 : rc;
	rc = kvtap_declare_family(tap, id, family);
	kvtap_tap_unlock(tap);
	return rc;
}

/* ---- kinds ---- */

static int find_label(const struct kvtap_kind *kind, const char *name)
{
	for (size_t i = 0; i < kind->label_count; i++)
		if (strcmp(kind->label_names[i], name) == 0)
			return (int)i;
	return -1;
}

static int resolve_feed(const struct kvtap *tap, const struct kvtap_kind *kind,
			const struct kvtap_feed *feed, struct kvtap_feed_entry *entry)
{
	const struct kvtap_declared *family;

	if (feed->family == 0 || feed->family > tap->families)
		return kvtap_complain(tap, -EINVAL, "kind", kind->name,
				      "a feed's family is not declared");
	family = tap->family[feed->family];
	if (family->metric == KVTAP_GAUGE || !kvtap_feed_valid(feed->field, feed->when))
		return kvtap_complain(tap, -EINVAL, "kind", kind->name,
				      "a feed has a gauge, or an unknown field or "
				      "condition");
	*entry = (struct kvtap_feed_entry){ .family = feed->family,
					    .field = (uint8_t)feed->field,
					    .when = (uint8_t)feed->when };
	for (uint32_t i = 0; i < family->labels; i++) {
		bool fixed = feed->fixed_values && feed->fixed_values[i];
		int at = fixed ? KVTAP_LABEL_FIXED : find_label(kind, family->label_names[i]);

		if (at < 0)
			return kvtap_complain(tap, -EINVAL, "kind", kind->name,
					      "a family's label is neither fixed nor a label of "
					      "the kind");
		entry->source[i] = (uint8_t)at;
	}
	return 0;
}

static int check_kind(const struct kvtap *tap, const struct kvtap_kind *kind)
{
	if (!kind->name || !kvtap_metric_name_valid(kind->name, strlen(kind->name)))
		return kvtap_complain(tap, -EINVAL, "kind", kind->name,
				      "the name is not [a-zA-Z_:][a-zA-Z0-9_:]* of at most "
				      "255 bytes");
	if (kind->feed_count == 0 || !kind->feeds)
		return kvtap_complain(tap, -EINVAL, "kind", kind->name, "it feeds nothing");
	if (kind->feed_count > KVTAP_FEEDS_MAX)
		return kvtap_complain(tap, -E2BIG, "kind", kind->name, "more than 32 feeds");
	if (!kvtap_kind_role_valid(kind->role))
		return kvtap_complain(tap, -EINVAL, "kind", kind->name, "not a role of a kind");
	return check_labels(tap, "kind", kind->name, kind->label_names, kind->label_count, false);
}

static int build_kind(struct kvtap *tap, struct kvtap_entry_builder *entry,
		      const struct kvtap_kind *kind)
{
	struct kvtap_entry head = { .type = KVTAP_ENTRY_KIND,
				    .target = summary_target(kind->connector, kind->role),
				    .labels = (uint16_t)kind->label_count,
				    .count = (uint16_t)kind->feed_count };
	int rc;

	kvtap_entry_begin(entry, &head);
	if (kind->connector > tap->connectors)
		return kvtap_complain(tap, -EINVAL, "kind", kind->name,
				      "its connector is not declared");
	for (size_t i = 0; i < kind->feed_count; i++) {
		struct kvtap_feed_entry feed;

		rc = resolve_feed(tap, kind, &kind->feeds[i], &feed);
		if (rc < 0)
			return rc;
		kvtap_entry_bytes(entry, &feed, sizeof(feed));
	}
	kvtap_entry_string(entry, kind->name);
	for (size_t i = 0; i < kind->label_count; i++)
		kvtap_entry_string(entry, kind->label_names[i]);
	for (size_t i = 0; i < kind->feed_count; i++) {
		const struct kvtap_feed *feed = &kind->feeds[i];

		for (uint32_t j = 0; feed->fixed_values && j < tap->family[feed->family]->labels;
		     j++)
			if (feed->fixed_values[j])
				kvtap_entry_string(entry, feed->fixed_values[j]);
	}
	rc = kvtap_entry_end(entry);
	return rc < 0 ? kvtap_complain(tap, rc, "kind", kind->name,
				       "a fixed label value is too long")
		      : 0;
}

static struct kvtap_declared *keep_kind(const struct kvtap *tap, const struct kvtap_kind *kind)
{
	struct kvtap_declared *declared;
	size_t limits = 0;
	uint64_t *limit;

	for (size_t i = 0; i < kind->feed_count; i++)
		limits += tap->family[kind->feeds[i].family]->plan.cell[0].bounds;
	declared = keep(kind->name, kind->label_names, kind->label_count, limits);
	if (!declared)
		return NULL;
	limit = declared->limit;
	kvtap_plan_begin(&declared->plan, KVTAP_OP_TRANSFER);
	declared->plan.connector = (uint16_t)kind->connector;
	declared->plan.role = (uint8_t)kind->role;
	for (size_t i = 0; i < kind->feed_count; i++) {
		const struct kvtap_feed *feed = &kind->feeds[i];
		const struct kvtap_cell *cell = &tap->family[feed->family]->plan.cell[0];

		kvtap_plan_cell(&declared->plan, feed->family, cell->metric, (uint8_t)feed->field,
				(uint8_t)feed->when, cell->bound, cell->bounds, limit);
		limit += cell->bounds;
	}
	return declared;
}

static int add_kind(struct kvtap *tap, uint32_t *id, const struct kvtap_kind *kind)
{
	struct kvtap_entry_builder entry;
	struct kvtap_declared *declared = NULL;
	int rc = build_kind(tap, &entry, kind);

	if (rc == 0)
		*id = kvtap_dictionary_find(&tap->dictionary, &entry);
	if (rc < 0 || *id)
		goto out;
	for (uint32_t i = 1; i <= tap->kinds && !rc; i++)
		if (strcmp(tap->kind[i]->name, kind->name) == 0)
			rc = kvtap_complain(tap, -EEXIST, "kind", kind->name,
					    "declared before with other labels, feeds, "
					    "connector or role");
	if (!rc && tap->kinds == KVTAP_KINDS_MAX)
		rc = kvtap_complain(tap, -ENOSPC, "kind", kind->name, "more than 256 kinds");
	if (!rc) {
		declared = keep_kind(tap, kind);
		rc = declared ? kvtap_declare_append(tap, &entry, tap->kinds + 1) : -ENOMEM;
	}
	if (rc < 0) {
		free_declared(declared);
		goto out;
	}
	tap->kind[tap->kinds + 1] = declared;
	kvtap_fence_seq_cst(); /* as in add_family */
	*id = ++tap->kinds;
out:
	kvtap_entry_free(&entry);
	return rc;
}

int kvtap_declare_kind(struct kvtap *tap, uint32_t *id, const struct kvtap_kind *kind)
{
	int rc = check_kind(tap, kind);

	return rc < 0 ? rc : add_kind(tap, id, kind);
}

int kvtap_kind_declare(struct kvtap *tap, uint32_t *id, const struct kvtap_kind *kind)
{
	int rc = kvtap_declare_begin(tap, id);

	if (rc)
		return rc > 0 ? 0 : rc;
	rc = kvtap_declare_kind(tap, id, kind);
	kvtap_tap_unlock(tap);
	return rc;
}

/* ---- series ---- */

static int build_series(struct kvtap_entry_builder *entry, uint16_t type, uint32_t target,
			const char *const *values, size_t count)
{
	struct kvtap_entry head = { .type = type, .target = target, .labels = (uint16_t)count };

	kvtap_entry_begin(entry, &head);
	for (size_t i = 0; i < count; i++)
		kvtap_entry_string(entry, values[i]);
	return kvtap_entry_end(entry);
}

static int add_series(struct kvtap *tap, uint32_t *series, const struct kvtap_plan *plan,
		      const struct kvtap_entry_builder *entry)
{
	int rc;

	*series = kvtap_dictionary_find(&tap->dictionary, entry);
	if (*series)
		return 0;
	if (tap->series == KVTAP_SERIES_MAX)
		return -ENOSPC;
	tap->plan[tap->series + 1] = plan;
	rc = kvtap_declare_append(tap, entry, tap->series + 1);
	if (rc < 0)
		return rc;
	kvtap_fence_seq_cst(); /* as in add_family */
	*series = ++tap->series;
	return 0;
}

int kvtap_declare_series(struct kvtap *tap, uint32_t *series, bool of_kind, uint32_t target,
			 const char *const *values, size_t count)
{
	const struct kvtap_declared *declared = NULL;
	struct kvtap_entry_builder entry;
	int rc;

	if (target && target <= (of_kind ? tap->kinds : tap->families))
		declared = of_kind ? tap->kind[target] : tap->family[target];
	rc = declared && declared->labels == count && (values || !count) ? 0 : -EINVAL;
	for (size_t i = 0; !rc && i < count; i++)
		rc = values[i] ? 0 : -EINVAL;
	if (rc < 0)
		return kvtap_complain(tap, rc, of_kind ? "series of kind" : "series of family",
				      declared ? declared->name : NULL,
				      "no such id, or not its number of label values");
	rc = build_series(&entry, of_kind ? KVTAP_ENTRY_KIND_SERIES : KVTAP_ENTRY_FAMILY_SERIES,
			  target, values, count);
	if (rc == 0)
		rc = add_series(tap, series, &declared->plan, &entry);
	kvtap_entry_free(&entry);
	return rc < 0 ? kvtap_complain(tap, rc, "series of", declared->name, strerror(-rc)) : 0;
}

static int lock_series(struct kvtap *tap, uint32_t *series, bool of_kind, uint32_t target,
		       const char *const *values, size_t count)
{
	int rc = kvtap_declare_begin(tap, series);

	if (rc)
		return rc > 0 ? 0 : rc;
	rc = kvtap_declare_series(tap, series, of_kind, target, values, count);
	kvtap_tap_unlock(tap);
	return rc;
}

int kvtap_family_series(struct kvtap *tap, uint32_t *series, uint32_t family,
			const char *const *label_values, size_t label_count)
{
	return lock_series(tap, series, false, family, label_values, label_count);
}

int kvtap_kind_series(struct kvtap *tap, uint32_t *series, uint32_t kind,
		      const char *const *label_values, size_t label_count)
{
	return lock_series(tap, series, true, kind, label_values, label_count);
}
