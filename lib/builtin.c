/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builtin.c - declare the built-in groups and kinds, and find their series by name and labels
 *
 * Knows what a row means, and no row: those are builtin_rows.c's. A group is in tap->groups only when
 * all of it is declared, so that a fork child goes on where another thread of its parent was.
 */
#include "builtin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "declare.h"

static int refuse(const struct kvtap *tap, const char *name, const char *label, const char *why)
{
	char text[128];

	snprintf(text, sizeof(text), "label %.40s: %s", label, why);
	return kvtap_complain(tap, -EINVAL, "built-in", name, text);
}

/* ---- groups ---- */

static int connector_id(struct kvtap *tap, uint32_t *id, const struct kvtap_connector *connector)
{
	*id = 0;
	return connector ? kvtap_declare_connector(tap, id, connector) : 0;
}

static int declare_family(struct kvtap *tap, uint32_t *id, const struct kvtap_builtin_group *group,
			  const struct kvtap_builtin_family *row)
{
	struct kvtap_family family = row->family;
	int rc = connector_id(tap, &family.connector,
			      row->connector ? row->connector : group->connector);

	family.flags = group->at_zero ? 0 : KVTAP_FAMILY_LAZY;
	return rc < 0 ? rc : kvtap_declare_family(tap, id, &family);
}

static int declare_at_zero(struct kvtap *tap, uint32_t family, const char *const *values)
{
	uint32_t series;
	int rc = 0;

	if (!values)
		return kvtap_declare_series(tap, &series, false, family, NULL, 0);
	for (size_t i = 0; values[i] && !rc; i++)
		rc = kvtap_declare_series(tap, &series, false, family, &values[i], 1);
	return rc;
}

static int declare_group(struct kvtap *tap, const struct kvtap_builtin_group *group)
{
	int rc = 0;

	if (tap->groups & group->bit)
		return 0;
	for (size_t i = 0; i < group->families && !rc; i++) {
		uint32_t id;

		if (group->family[i].on_demand)
			continue;
		rc = declare_family(tap, &id, group, &group->family[i]);
		if (!rc && group->at_zero)
			rc = declare_at_zero(tap, id, group->values);
	}
	if (rc)
		return rc;
	kvtap_fence_seq_cst(); /* a fork child has all of its groups */
	tap->groups |= group->bit;
	return 0;
}

int kvtap_declare_groups(struct kvtap *tap, uint32_t groups)
{
	int rc = 0;

	for (size_t i = 0; i < kvtap_builtin_groups && !rc; i++) {
		if (groups & kvtap_builtin_group[i].bit)
			rc = declare_group(tap, &kvtap_builtin_group[i]);
		groups &= ~kvtap_builtin_group[i].bit;
	}
	if (rc || !groups)
		return rc;
	kvtap_tap_log(tap, KVTAP_LOG_ERROR,
		      "open: groups has unknown bits 0x%x; they are KVTAP_GROUP_*", groups);
	return -EINVAL;
}

static const struct kvtap_builtin_group *group_of(uint32_t bit)
{
	const struct kvtap_builtin_group *group = kvtap_builtin_group;

	while (group->bit != bit)
		group++;
	return group;
}

static const struct kvtap_builtin_family *find_family(const struct kvtap_builtin_group **group,
						      const char *name)
{
	for (size_t i = 0; i < kvtap_builtin_groups; i++) {
		*group = &kvtap_builtin_group[i];
		for (size_t j = 0; j < (*group)->families; j++)
			if (strcmp((*group)->family[j].family.name, name) == 0)
				return &(*group)->family[j];
	}
	return NULL;
}

/* ---- labels ---- */

/* Those of struct kvtap_builtin_labels; all transfers may have the first ones. */
static const char *const label_names[] = { "tier", "peer", "device", "operation", "status", NULL };

#define OPTIONAL 3

/* What the caller gave for a label; NULL: nothing, or no such label can be given. */
static const char *given(const struct kvtap_builtin_labels *labels, const char *name)
{
	const char *const value[] = { labels->tier, labels->peer, labels->device, labels->operation,
				      labels->status };

	for (size_t i = 0; label_names[i]; i++)
		if (strcmp(label_names[i], name) == 0)
			return value[i];
	return NULL;
}

static bool has(const char *const *labels, const char *name)
{
	for (; labels && *labels; labels++)
		if (strcmp(*labels, name) == 0)
			return true;
	return false;
}

/* All that are needed were given, and no others but the optional ones. */
static int check_labels(const struct kvtap *tap, const char *name, const char *const *needed,
			const struct kvtap_builtin_labels *labels, size_t optional)
{
	for (size_t i = 0; needed && needed[i]; i++)
		if (!given(labels, needed[i]))
			return refuse(tap, name, needed[i],
				      has(label_names, needed[i])
					      ? "it has no value"
					      : "only a kind of transfer gives it a value");
	for (size_t i = optional; label_names[i]; i++)
		if (given(labels, label_names[i]) && !has(needed, label_names[i]))
			return refuse(tap, name, label_names[i], "it has no such label");
	return 0;
}

/* ---- families ---- */

static int family_series(struct kvtap *tap, uint32_t *series,
			 const struct kvtap_builtin_group *group,
			 const struct kvtap_builtin_family *row,
			 const struct kvtap_builtin_labels *labels)
{
	bool own = row->connector; /* its one label says which */
	const char *values[KVTAP_LABELS_MAX] = { own ? row->connector->name : NULL };
	const struct kvtap_family *family = &row->family;
	uint32_t id;
	int rc = check_labels(tap, family->name, own ? NULL : family->label_names, labels, 0);

	if (!rc)
		rc = declare_group(tap, group);
	if (!rc)
		rc = declare_family(tap, &id, group, row);
	for (size_t i = 0; !own && i < family->label_count; i++)
		values[i] = given(labels, family->label_names[i]);
	return rc ? rc : kvtap_declare_series(tap, series, false, id, values, family->label_count);
}

/* ---- kinds ---- */

/* A kind under construction, with what it points to. */
struct draft {
	struct kvtap_kind kind;
	const char *label[KVTAP_LABELS_MAX];
	struct kvtap_feed feed[KVTAP_FEEDS_MAX];
	const char *fixed[KVTAP_FEEDS_MAX][KVTAP_LABELS_MAX];
};

static void add_label(struct draft *draft, const char *name)
{
	draft->label[draft->kind.label_count++] = name;
}

/* Our own families have more labels than vLLM's. */
static void add_labels(struct draft *draft, const struct kvtap_builtin_kind *row, bool own)
{
	for (size_t i = 0; row->labels && row->labels[i]; i++)
		add_label(draft, row->labels[i]);
	if (own && !row->direction)
		add_label(draft, "direction");
	for (size_t i = 0; own && i < OPTIONAL; i++)
		if (!has(row->labels, label_names[i]))
			add_label(draft, label_names[i]);
	draft->kind.label_names = draft->label;
}

/* The value that a kind has for a label of all families it feeds; NULL: one of its own labels. */
static const char *fixed_value(const struct kvtap_builtin_kind *row,
			       const struct kvtap_builtin_feed *feed, const char *label)
{
	if (strcmp(label, "connector") == 0)
		return row->connector->name;
	if (strcmp(label, "direction") == 0)
		return row->direction;
	return has(row->labels, label) || has(label_names, label) ? NULL : feed->value;
}

static int add_feeds(struct kvtap *tap, struct draft *draft, const struct kvtap_builtin_kind *row,
		     const struct kvtap_builtin_feed *feed, size_t feeds)
{
	for (size_t i = 0; i < feeds; i++) {
		const struct kvtap_builtin_group *group;
		const struct kvtap_builtin_family *family = find_family(&group, feed[i].family);
		size_t at = draft->kind.feed_count;
		uint32_t id;
		int rc;

		if (!(tap->groups & group->bit))
			continue;
		rc = declare_family(tap, &id, group, family);
		if (rc < 0)
			return rc;
		for (size_t j = 0; j < family->family.label_count; j++)
			draft->fixed[at][j] =
				fixed_value(row, &feed[i], family->family.label_names[j]);
		draft->feed[at] = (struct kvtap_feed){ .family = id,
						       .field = feed[i].field,
						       .when = feed[i].when,
						       .fixed_values = draft->fixed[at] };
		draft->kind.feed_count++;
	}
	return 0;
}

static int declare_kind(struct kvtap *tap, uint32_t *id, const struct kvtap_builtin_kind *row)
{
	struct draft draft = { .kind = { .name = row->name, .role = row->role } };
	bool own = tap->groups & KVTAP_GROUP_KVTAP;
	int rc = connector_id(tap, &draft.kind.connector, row->connector);

	add_labels(&draft, row, own);
	draft.kind.feeds = draft.feed;
	if (!rc)
		rc = add_feeds(tap, &draft, row, row->feed, row->feeds);
	if (!rc && own)
		rc = add_feeds(tap, &draft, row, kvtap_builtin_own_feed, kvtap_builtin_own_feeds);
	return rc < 0 ? rc : kvtap_declare_kind(tap, id, &draft.kind);
}

/* It keeps the feeds that it had at first, whatever groups came since. */
static uint32_t find_kind(const struct kvtap *tap, const char *name)
{
	for (uint32_t i = 1; i <= tap->kinds; i++)
		if (strcmp(tap->kind[i]->name, name) == 0)
			return i;
	return 0;
}

/* The caller may have declared a kind of that name. */
static bool is_of(const struct kvtap *tap, uint32_t id, const struct kvtap_builtin_kind *row)
{
	const struct kvtap_plan *plan = &tap->kind[id]->plan;

	return plan->role == row->role && plan->connector &&
	       strcmp(tap->connector[plan->connector], row->connector->name) == 0;
}

static int kind_series(struct kvtap *tap, uint32_t *series, const struct kvtap_builtin_kind *row,
		       const struct kvtap_builtin_labels *labels)
{
	const char *values[KVTAP_LABELS_MAX];
	uint32_t id = find_kind(tap, row->name);
	int rc = check_labels(tap, row->name, row->labels, labels, OPTIONAL);

	if (!rc && !id) {
		rc = declare_group(tap, group_of(row->group));
		if (!rc)
			rc = declare_kind(tap, &id, row);
	}
	if (!rc && !is_of(tap, id, row))
		rc = kvtap_complain(tap, -EEXIST, "built-in", row->name,
				    "declared before as a kind that is not built in");
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < tap->kind[id]->labels; i++) {
		const char *name = tap->kind[id]->label_names[i];

		values[i] = strcmp(name, "direction") ? given(labels, name) : labels->operation;
		values[i] = values[i] ? values[i] : "";
	}
	return kvtap_declare_series(tap, series, true, id, values, tap->kind[id]->labels);
}

/* ---- all of them ---- */

static int find_series(struct kvtap *tap, uint32_t *series, const char *name,
		       const struct kvtap_builtin_labels *labels)
{
	const struct kvtap_builtin_group *group;
	const struct kvtap_builtin_family *family = name ? find_family(&group, name) : NULL;

	for (size_t i = 0; name && i < kvtap_builtin_kinds; i++)
		if (strcmp(kvtap_builtin_kind[i].name, name) == 0)
			return kind_series(tap, series, &kvtap_builtin_kind[i], labels);
	if (family)
		return family_series(tap, series, group, family, labels);
	return kvtap_complain(tap, -EINVAL, "built-in", name,
			      "no such family or kind of transfer; see kvtap.h");
}

int kvtap_builtin(struct kvtap *tap, uint32_t *series, const char *name,
		  const struct kvtap_builtin_labels *labels)
{
	static const struct kvtap_builtin_labels none;
	int rc = kvtap_declare_begin(tap, series);

	if (rc)
		return rc > 0 ? 0 : rc;
	rc = find_series(tap, series, name, labels ? labels : &none);
	kvtap_tap_unlock(tap);
	return rc;
}
