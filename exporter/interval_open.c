/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval_open.c - which accumulators of an interval the records of a series go to
 *
 * Knows what a connector's summary wants to hear of; how accumulators are kept is interval.c's.
 */
#include <stdlib.h>
#include <string.h>

#include "interval.h"
#include "log.h"

static struct kvtap_text constant(const struct kvtap_reader *reader, const char *name)
{
	struct kvtap_text wanted = { name, (uint32_t)strlen(name) };

	for (uint32_t i = 0; i < kvtap_reader_constants(reader); i++) {
		const struct kvtap_text *pair = kvtap_reader_constant(reader, i);

		if (interval_same(&pair[0], &wanted))
			return pair[1];
	}
	return (struct kvtap_text){ NULL, 0 };
}

static struct kvtap_text label_of(const struct kvtap_series_view *view, const char *name)
{
	struct kvtap_text wanted = { name, (uint32_t)strlen(name) };

	for (uint32_t i = 0; i < view->labels; i++)
		if (interval_same(&view->label[i], &wanted))
			return view->label_value[i];
	return (struct kvtap_text){ NULL, 0 };
}

/* What is looked up once for all connectors of a series. */
struct origin {
	struct intervals *intervals;
	const struct kvtap_reader *reader;
	const struct kvtap_series_view *view;
	struct interval_engine *engine;
	uint32_t other;
};

/* Of what is the same in all transfers of a connector: its role, and the operation of a store. */
static struct interval_transfers transfers_key(const struct origin *origin)
{
	struct interval_transfers key = { .role = origin->view->plan->role };

	if (key.role == KVTAP_ROLE_OPERATION)
		key.operation = origin->other ? (struct kvtap_text){ "other", 5 }
					      : label_of(origin->view, "operation");
	return key;
}

static struct interval_rank rank_key(const struct origin *origin)
{
	const struct kvtap_identity *identity = kvtap_reader_identity(origin->reader);
	struct interval_rank key = { .name = constant(origin->reader, "rank") };

	if (!key.name.bytes)
		key.name =
			(struct kvtap_text){ (const char *)identity->uuid, sizeof(identity->uuid) };
	return key;
}

static bool add_transfers(const struct origin *origin, struct interval_target *target)
{
	const struct kvtap_plan *plan = origin->view->plan;
	const struct kvtap_connector_view *view =
		kvtap_reader_connector(origin->reader, plan->connector);
	struct interval_connector *connector =
		interval_get_connector(origin->intervals, origin->engine, view);
	struct interval_transfers key = transfers_key(origin), *transfers;
	struct interval_rank rank = rank_key(origin);
	struct kvtap_text status = label_of(origin->view, "status"), error = { "error", 5 };

	transfers = connector ? interval_get_transfers(origin->intervals, connector, &key) : NULL;
	if (!transfers)
		return false;
	target->operation = plan->role == KVTAP_ROLE_OPERATION;
	target->error = interval_same(&status, &error);
	target->sampled = view->summary != KVTAP_SUMMARY_FAMILIES;
	target->rank = interval_get_rank(origin->intervals, transfers, &rank);
	if (!target->rank) {
		transfers->users--;
		return false;
	}
	target->transfers = transfers;
	interval_map(target);
	return true;
}

/* Whether a summary has figures of transfers with a role. Those of families have their failures. */
static bool is_summed(uint8_t summary, uint8_t role)
{
	switch (summary) {
	case KVTAP_SUMMARY_NIXL:
		return role == KVTAP_ROLE_TRANSFER;
	case KVTAP_SUMMARY_MOONCAKE:
		return role == KVTAP_ROLE_TRANSFER || role == KVTAP_ROLE_RECEIVE;
	case KVTAP_SUMMARY_MOONCAKE_STORE:
		return role == KVTAP_ROLE_OPERATION;
	case KVTAP_SUMMARY_HF3FS:
		return role == KVTAP_ROLE_SAVE || role == KVTAP_ROLE_LOAD;
	default:
		return role != KVTAP_ROLE_NONE && role != KVTAP_ROLE_OPERATION;
	}
}

/* Whether the log tells of a family by itself: as all of its connector's, or as an event. */
static bool is_told(const struct kvtap_family_view *family,
		    const struct kvtap_connector_view *connector)
{
	return connector && (connector->summary == KVTAP_SUMMARY_FAMILIES ||
			     family->role == KVTAP_ROLE_FAILED_NOTIFICATION ||
			     family->role == KVTAP_ROLE_EXPIRED_REQUEST);
}

/* False: no memory, or it contradicts what another worker declared. */
static bool add_figure(const struct origin *origin, struct interval_target *target, uint32_t cell)
{
	uint32_t id = origin->view->plan->cell[cell].family;
	const struct kvtap_family_view *view = kvtap_reader_family(origin->reader, id);
	const struct kvtap_connector_view *owner =
		view->connector ? kvtap_reader_connector(origin->reader, view->connector) : NULL;

	if (!is_told(view, owner))
		return true;
	struct intervals *intervals = origin->intervals;
	struct interval_connector *connector =
		interval_get_connector(intervals, origin->engine, owner);
	struct interval_family *family =
		connector ? interval_get_family(intervals, connector, view, id) : NULL;
	struct interval_figure *figure =
		family ? interval_get_figure(intervals, family,
					     &origin->view->value[cell * KVTAP_LABELS_MAX],
					     origin->other >> cell & 1)
		       : NULL;
	if (figure)
		target->figure[cell] = figure;
	return figure;
}

static bool wants(const struct kvtap_reader *reader, const struct kvtap_series_view *view)
{
	const struct kvtap_plan *plan = view->plan;

	if (plan->connector)
		return true;
	for (uint32_t i = 0; i < plan->cells; i++)
		if (kvtap_reader_family(reader, plan->cell[i].family)->connector)
			return true;
	return false;
}

static void tell_once(void)
{
	static bool told;

	if (!told)
		log_error("The interval log lacks a series, for want of memory or room or because "
			  "its connector contradicts another worker's");
	told = true;
}

struct interval_target *interval_open(struct intervals *intervals,
				      const struct kvtap_reader *reader,
				      const struct kvtap_series_view *view, uint32_t exposed,
				      uint32_t other)
{
	const struct kvtap_plan *plan = view->plan;
	struct origin origin = { intervals, reader, view, NULL, other };

	if (!intervals || !exposed || !wants(reader, view))
		return NULL;
	origin.engine =
		interval_get_engine(intervals, &(struct interval_engine){
						       .model_name = constant(reader, "model_name"),
						       .engine = constant(reader, "engine") });
	struct interval_target *target =
		origin.engine ? calloc(1, sizeof(*target) +
						  plan->cells * sizeof(struct interval_figure *))
			      : NULL;
	if (!target) {
		tell_once();
		return NULL;
	}
	target->intervals = intervals;
	target->plan = plan;
	bool wanted = false, all = true;
	if (plan->op == KVTAP_OP_TRANSFER && plan->connector &&
	    is_summed(kvtap_reader_connector(reader, plan->connector)->summary, plan->role))
		all = add_transfers(&origin, target);
	for (uint32_t i = 0; i < plan->cells; i++) {
		if (exposed >> i & 1)
			all &= add_figure(&origin, target, i);
		wanted |= target->figure[i] != NULL;
	}
	if (!all)
		tell_once();
	if (wanted || target->transfers)
		return target;
	free(target);
	return NULL;
}

void interval_close(struct interval_target *target)
{
	if (!target)
		return;
	for (uint32_t i = 0; i < target->plan->cells; i++)
		if (target->figure[i])
			target->figure[i]->users--;
	if (target->rank)
		target->rank->users--;
	if (target->transfers)
		target->transfers->users--;
	free(target);
}
