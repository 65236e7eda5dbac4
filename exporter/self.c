/* SPDX-License-Identifier: Apache-2.0 */
/*
 * self.c - the exporter's own families, in the same table as the workers'
 *
 * One table gives name, metric and help. The families with a label have one series for each reason,
 * there from the start, so that a rate over them works from the first rejection on.
 */
#include "self.h"

#include <errno.h>
#include <string.h>

static const double durations[] = { 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5 };
#define DURATIONS (sizeof(durations) / sizeof(durations[0]))

static struct kvtap_text text_of(const char *string)
{
	return (struct kvtap_text){ string, (uint32_t)strlen(string) };
}

/* Declare a family of the exporter with one label at most, and get one of its series. */
static struct series *declare(struct series_table *table, enum kvtap_metric metric,
			      const char *name, const char *help, const char *label,
			      const char *value)
{
	struct series_label labels = { { 0 }, { 0 } };
	struct kvtap_family_view view = {
		.name = text_of(name),
		.help = text_of(help),
		.metric = (uint8_t)metric,
		.bound = durations,
		.bounds = metric == KVTAP_HISTOGRAM ? DURATIONS : 0,
		.label = &labels.name,
		.labels = label ? 1 : 0,
	};

	if (label)
		labels = (struct series_label){ text_of(label), text_of(value) };
	struct family *family;
	struct series *series;
	if (family_declare(&family, &table->families, &view, NULL) ||
	    series_get(&series, table, family, &labels, view.labels, NULL))
		return NULL;
	return series;
}

static bool declare_reasons(struct self *self)
{
	static const char *const refusal[] = {
#define REFUSAL_TEXT(id, text) text,
		REFUSALS(REFUSAL_TEXT)
#undef REFUSAL_TEXT
	};
	static const char *const closure[] = {
#define CLOSE_TEXT(id, text) text,
		CLOSE_REASONS(CLOSE_TEXT)
#undef CLOSE_TEXT
	};

	for (int i = 1; i < REFUSALS_COUNT; i++) {
		self->refused[i] =
			declare(self->table, KVTAP_COUNTER, "kvtap_records_refused_total",
				"Records that were not or not fully applied, by reason.", "reason",
				refusal[i]);
		if (!self->refused[i])
			return false;
	}
	for (int i = 1; i < KVTAP_REJECT_COUNT; i++) {
		self->rejected[i] =
			declare(self->table, KVTAP_COUNTER, "kvtap_segments_rejected_total",
				"Segments that were not or not fully trusted, by reason.", "reason",
				kvtap_reject_text(i));
		if (!self->rejected[i])
			return false;
	}
	for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
		self->closed[i] = declare(self->table, KVTAP_COUNTER, "kvtap_http_closed_total",
					  "Connections that were cut off or refused, by reason.",
					  "reason", closure[i]);
		if (!self->closed[i])
			return false;
	}
	return true;
}

int self_init(struct self *self, struct series_table *table)
{
	static const struct {
		enum kvtap_metric metric;
		const char *name, *help;
	} families[] = {
#define SELF_ROW(id, metric, name, help) { KVTAP_##metric, name, help },
		SELF_FAMILIES(SELF_ROW)
#undef SELF_ROW
	};

	*self = (struct self){ .table = table };
	struct series *info = declare(table, KVTAP_GAUGE, "kvtap_exporter_build_info",
				      "The version that runs; always 1.", "version", KVTAP_VERSION);
	if (!info)
		return -ENOMEM;
	info->value = 1;
	info->transient = true;
	for (int i = 0; i < SELF_COUNT; i++) {
		self->series[i] = declare(table, families[i].metric, families[i].name,
					  families[i].help, NULL, NULL);
		if (!self->series[i])
			return -ENOMEM;
		self->series[i]->transient = families[i].metric == KVTAP_GAUGE;
	}
	self->series[SELF_CPU_SECONDS]->transient = true;
	return declare_reasons(self) ? 0 : -ENOMEM;
}

static void add(struct self *self, struct series *series, uint64_t amount)
{
	if (!amount)
		return;
	kvtap_sum_add(&series->sum[NUMBER_UNITS], amount);
	series_touch(self->table, series);
}

void self_add(struct self *self, enum self_id id, uint64_t amount)
{
	add(self, self->series[id], amount);
}

void self_add_refused(struct self *self, enum refusal reason, uint64_t records)
{
	add(self, self->refused[reason], records);
}

void self_add_rejected(struct self *self, enum kvtap_reject reason)
{
	if (self->rejected[reason]) /* none is no reason */
		add(self, self->rejected[reason], 1);
}

static void count(struct self *self, struct series *series, uint64_t *counted, uint64_t total)
{
	add(self, series, total - *counted);
	*counted = total;
}

void self_count(struct self *self, enum self_id id, uint64_t total)
{
	count(self, self->series[id], &self->counted[id], total);
}

void self_set(struct self *self, enum self_id id, double value)
{
	struct series *series = self->series[id];
	void *place = &series->value;

	if (series->family->metric != KVTAP_GAUGE)
		place = &series->sum[NUMBER_DOUBLE].word[0];
	if (!memcmp(place, &value, sizeof(value)))
		return; /* most of them stay as they are, and need no place in a page that is made */
	memcpy(place, &value, sizeof(value));
	series_touch(self->table, series);
}

void self_set_http(struct self *self, struct http_counts counts)
{
	self_set(self, SELF_HTTP_CONNECTIONS, counts.connections);
	self_count(self, SELF_HTTP_UNAUTHORIZED, counts.unauthorized);
	self_set(self, SELF_WEB_CONFIG_GOOD, counts.config_good);
	for (int i = 0; i < CLOSE_REASON_COUNT; i++)
		count(self, self->closed[i], &self->closed_counted[i], counts.closed[i]);
}

void self_observe_ns(struct self *self, enum self_id id, uint64_t duration_ns)
{
	struct series *series = self->series[id];
	uint32_t bucket = 0;

	while (bucket < DURATIONS && (double)duration_ns / 1e9 > durations[bucket])
		bucket++;
	series->bucket[bucket]++;
	series_observe(series, (double)duration_ns / 1e9, 1);
	kvtap_sum_add(&series->sum[NUMBER_NANOSECONDS], duration_ns);
	series_touch(self->table, series);
}

void self_update(struct self *self)
{
	const struct process *process = &self->process;

	process_read(&self->process);
	self_set(self, SELF_CPU_SECONDS, process->cpu_seconds);
	self_set(self, SELF_OPEN_FDS, process->open_fds);
	self_set(self, SELF_MAX_FDS, process->max_fds);
	self_set(self, SELF_VIRTUAL_BYTES, process->virtual_bytes);
	self_set(self, SELF_VIRTUAL_MAX_BYTES, process->virtual_max_bytes);
	self_set(self, SELF_RESIDENT_BYTES, process->resident_bytes);
	self_set(self, SELF_START_SECONDS, process->start_time_seconds);
	self_set(self, SELF_THREADS, process->threads);
	self_set(self, SELF_SERIES, self->table->count - self->table->children);
	self_count(self, SELF_SERIES_REFUSED, self->table->refused);
	self_count(self, SELF_OTHER_RECORDS, self->table->other_records);
	self_count(self, SELF_CONFLICTS, self->table->families.conflicts);
}
