/* SPDX-License-Identifier: Apache-2.0 */
/*
 * summary.c - the figures of a connector's interval, as vLLM's stats class of it reduces; pure
 *
 * What vLLM takes from numpy is rounded as numpy.float64 is, what went through .item() or
 * statistics.fmean() as a float of Python is.
 */
#include "summary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "summary_figures.h"
#include "text.h"

#define WIDE_BYTES 40 /* digits of 128 bits, and a NUL */

struct teller {
	const struct summary_sink *sink;
	bool done; /* the sink takes no more */
};

/* ---- one figure ---- */

static void tell(struct teller *teller, const char *key, const char *value)
{
	if (!teller->done)
		teller->done = !teller->sink->take(teller->sink->context, key, strlen(key), value);
}

static void tell_integer(struct teller *teller, const char *key, number_wide value)
{
	char text[WIDE_BYTES];

	tell(teller, key, summary_integer(text, value));
}

static void tell_double(struct teller *teller, const char *key, double value)
{
	char text[STATISTIC_BYTES];

	statistic_repr(text, value);
	tell(teller, key, text);
}

/* As round() does it with a numpy.float64. */
static void tell_numpy(struct teller *teller, const char *key, double value, int digits)
{
	tell_double(teller, key, statistic_round_numpy(value, digits));
}

static void tell_python(struct teller *teller, const char *key, double value, int digits)
{
	tell_double(teller, key, statistic_round_python(value, digits));
}

/* A bound of a percentile stays one when it is printed: the nearest decimal that isn't above it. */
static double round_down(double value)
{
	double rounded = statistic_round_python(value, 3);

	return rounded > value ? statistic_round_python(rounded - 0.001, 3) : rounded;
}

/* ---- families ---- */

static void tell_part(struct teller *teller, struct text *key, const char *suffix,
		      const char *value)
{
	size_t bytes = key->bytes;

	text_add_string(key, suffix);
	if (!teller->done && !key->failed)
		teller->done =
			!teller->sink->take(teller->sink->context, key->data, key->bytes, value);
	key->bytes = bytes;
}

static void tell_figure(struct teller *teller, const struct interval_figure *figure)
{
	char value[SUMMARY_VALUE_BYTES], count[WIDE_BYTES];
	struct text key = { 0 };

	summary_key(&key, figure);
	summary_value(value, figure);
	if (figure->family->metric == KVTAP_HISTOGRAM) {
		tell_part(teller, &key, "_count", summary_integer(count, figure->count));
		tell_part(teller, &key, "_sum", value);
	} else {
		tell_part(teller, &key, "", value);
	}
	text_free(&key);
}

static uint64_t count_failed(const struct interval_connector *connector)
{
	uint64_t failed = 0;

	for (const struct interval_transfers *of = connector->transfers; of; of = of->next)
		failed += of->failed;
	return failed;
}

static void tell_families(struct teller *teller, const struct interval_connector *connector)
{
	uint64_t failed = count_failed(connector);

	for (const struct interval_family *of = connector->families; of; of = of->next)
		for (const struct interval_figure *figure = of->first; figure && !teller->done;
		     figure = figure->next)
			if (figure->touched)
				tell_figure(teller, figure);
	if (failed)
		tell_integer(teller, "Num failed transfers", failed);
}

/* ---- transfers ---- */

static const struct interval_transfers *find(const struct interval_connector *connector,
					     enum kvtap_role role)
{
	static const struct interval_transfers none;

	for (const struct interval_transfers *of = connector->transfers; of; of = of->next)
		if (of->role == role)
			return of;
	return &none;
}

static const char *events(char text[SUMMARY_VALUE_BYTES],
			  const struct interval_connector *connector, enum kvtap_role role)
{
	struct interval_figure all = { 0 };

	for (const struct interval_family *of = connector->families; of; of = of->next)
		for (const struct interval_figure *figure = of->first; of->role == role && figure;
		     figure = figure->next)
			summary_join(&all, figure);
	struct interval_family family = { .metric = KVTAP_COUNTER, .unit = KVTAP_UNIT_COUNT };
	all.family = &family;
	return summary_value(text, &all);
}

static void tell_events(struct teller *teller, const char *key,
			const struct interval_connector *connector, enum kvtap_role role)
{
	char text[SUMMARY_VALUE_BYTES];

	tell(teller, key, events(text, connector, role));
}

/* How sure a percentile is. */
static void tell_bounds(struct teller *teller, const char *name, const struct summary_time *time)
{
	char key[128];

	if (!time->estimated)
		return;
	snprintf(key, sizeof(key), "P90 %s low (ms)", name);
	tell_double(teller, key, round_down(time->low * 1e3));
	snprintf(key, sizeof(key), "P90 %s high (ms)", name);
	tell_double(teller, key, -round_down(-time->high * 1e3));
}

static void tell_estimated(struct teller *teller, const struct interval_transfers *transfers)
{
	if (transfers->records != transfers->samples.count)
		tell_integer(teller, "Estimated from records",
			     transfers->records - transfers->samples.count);
}

/* The rate of each rank by itself, added up; those without a time as their connector takes it. */
static double aggregate(const struct interval_transfers *transfers, bool zero, uint64_t *ranks)
{
	double sum = 0;

	*ranks = 0;
	for (const struct interval_rank *rank = transfers->ranks; rank; rank = rank->next) {
		if (!rank->records)
			continue;
		++*ranks;
		if (rank->duration_ns || !zero)
			sum += (double)rank->bytes / 0x1p20 / summary_seconds(rank->duration_ns);
	}
	return sum;
}

static void tell_throughput(struct teller *teller, const struct interval_transfers *transfers,
			    double per_rank, bool zero)
{
	uint64_t ranks;
	double sum = aggregate(transfers, zero, &ranks);

	if (transfers->records) {
		tell_numpy(teller, "Per-rank throughput (MB/s)", per_rank, 3);
		tell_numpy(teller, "Aggregate throughput (MB/s)", sum, 3);
	} else {
		tell(teller, "Per-rank throughput (MB/s)", "0");
		tell(teller, "Aggregate throughput (MB/s)", "0");
	}
	tell_integer(teller, "Ranks", ranks);
}

static void tell_zeros(struct teller *teller, const char *const *key)
{
	for (; *key; key++)
		tell(teller, *key, "0");
}

static void tell_nixl_own(struct teller *teller, const struct interval_connector *connector,
			  double throughput)
{
	const struct interval_transfers *transfers = find(connector, KVTAP_ROLE_TRANSFER);

	tell_integer(teller, "Num failed transfers", transfers->failed);
	tell_events(teller, "Num failed notifications", connector, KVTAP_ROLE_FAILED_NOTIFICATION);
	tell_events(teller, "Num KV expired reqs", connector, KVTAP_ROLE_EXPIRED_REQUEST);
	tell_throughput(teller, transfers, throughput, false);
}

static void tell_nixl(struct teller *teller, const struct interval_connector *connector)
{
	static const char *const key[] = {
		"Num successful transfers", "Avg xfer time (ms)",	 "P90 xfer time (ms)",
		"Avg post time (ms)",	    "P90 post time (ms)",	 "Avg MB per transfer",
		"Throughput (MB/s)",	    "Avg number of descriptors", NULL
	};
	const struct interval_transfers *transfers = find(connector, KVTAP_ROLE_TRANSFER);
	double count = (double)transfers->records;

	if (!transfers->records) {
		tell_zeros(teller, key);
		tell_nixl_own(teller, connector, 0);
		return;
	}
	struct summary_time xfer = summary_time(transfers, SAMPLE_DURATION);
	struct summary_time post = summary_time(transfers, SAMPLE_SUBMIT);
	double mb = summary_mib(transfers), throughput = mb / xfer.sum;
	tell_integer(teller, key[0], transfers->records);
	tell_numpy(teller, key[1], xfer.sum / count * 1e3, 3);
	tell_python(teller, key[2], xfer.p90 * 1e3, 3);
	tell_numpy(teller, key[3], post.sum / count * 1e3, 3);
	tell_python(teller, key[4], post.p90 * 1e3, 3);
	tell_numpy(teller, key[5], mb / count, 3);
	tell_numpy(teller, key[6], throughput, 3);
	tell_numpy(teller, key[7], (double)transfers->descriptors / count, 1);
	tell_nixl_own(teller, connector, throughput);
	tell_bounds(teller, "xfer time", &xfer);
	tell_bounds(teller, "post time", &post);
	tell_estimated(teller, transfers);
}

static void tell_mooncake_events(struct teller *teller, const struct interval_connector *connector)
{
	tell_integer(teller, "Num failed transfers", find(connector, KVTAP_ROLE_TRANSFER)->failed);
	tell_integer(teller, "Num failed recvs", find(connector, KVTAP_ROLE_RECEIVE)->failed);
	tell_events(teller, "Num KV expired reqs", connector, KVTAP_ROLE_EXPIRED_REQUEST);
}

static void tell_mooncake(struct teller *teller, const struct interval_connector *connector)
{
	static const char *const key[] = { "Num successful transfers",
					   "Avg xfer time (ms)",
					   "P90 xfer time (ms)",
					   "Avg MB per transfer",
					   "Throughput (MB/s)",
					   "Avg number of descriptors",
					   NULL };
	const struct interval_transfers *transfers = find(connector, KVTAP_ROLE_TRANSFER);
	double count = (double)transfers->records;

	if (!transfers->records) {
		tell_zeros(teller, key);
		tell_mooncake_events(teller, connector);
		tell_throughput(teller, transfers, 0, true);
		return;
	}
	struct summary_time xfer = summary_time(transfers, SAMPLE_DURATION);
	double mb = summary_mib(transfers), throughput = xfer.sum > 0 ? mb / xfer.sum : 0;
	tell_integer(teller, key[0], transfers->records);
	tell_numpy(teller, key[1], xfer.sum / count * 1e3, 3);
	tell_python(teller, key[2], xfer.p90 * 1e3, 3);
	tell_numpy(teller, key[3], mb / count, 3);
	tell_numpy(teller, key[4], throughput, 3);
	tell_numpy(teller, key[5], (double)transfers->descriptors / count, 1);
	tell_mooncake_events(teller, connector);
	tell_throughput(teller, transfers, throughput, true);
	tell_bounds(teller, "xfer time", &xfer);
	tell_estimated(teller, transfers);
}

/* ---- Mooncake's store ---- */

/* As Python sorts str: UTF-8 keeps the order of code points. */
static int compare_operations(const void *a, const void *b)
{
	const struct kvtap_text *one = &(*(const struct interval_transfers *const *)a)->operation;
	const struct kvtap_text *other = &(*(const struct interval_transfers *const *)b)->operation;
	uint32_t common = one->bytes < other->bytes ? one->bytes : other->bytes;
	int order = common ? memcmp(one->data, other->data, common) : 0;

	return order ? order : (one->bytes > other->bytes) - (one->bytes < other->bytes);
}

static void tell_operation(struct teller *teller, const struct interval_transfers *of)
{
	char text[WIDE_BYTES], number[STATISTIC_BYTES];
	struct summary_time time = summary_time_store(of);
	struct text key = { 0 };

	text_add(&key, of->operation.data, of->operation.bytes);
	tell_part(teller, &key, "_count", summary_integer(text, of->records));
	statistic_repr(number, statistic_round_python(time.mean * 1e3, 3));
	tell_part(teller, &key, "_avg_ms", number);
	statistic_repr(number, statistic_round_python(time.p90 * 1e3, 3));
	tell_part(teller, &key, "_p90_ms", number);
	tell_part(teller, &key, "_total_keys", summary_integer(text, of->descriptors));
	tell_part(teller, &key, "_total_bytes", summary_integer(text, of->bytes));
	tell_part(teller, &key, "_failed_keys", summary_integer(text, of->failed_descriptors));
	tell_part(teller, &key, "_error_count", summary_integer(text, of->errors));
	if (time.estimated) {
		statistic_repr(number, round_down(time.low * 1e3));
		tell_part(teller, &key, "_p90_low_ms", number);
		statistic_repr(number, -round_down(-time.high * 1e3));
		tell_part(teller, &key, "_p90_high_ms", number);
		tell_part(teller, &key, "_estimated_count",
			  summary_integer(text, of->records - of->samples.count));
	}
	text_free(&key);
}

static void tell_store(struct teller *teller, const struct interval_connector *connector)
{
	const struct interval_transfers **sorted;
	size_t count = 0, i = 0;

	for (const struct interval_transfers *of = connector->transfers; of; of = of->next)
		count += of->role == KVTAP_ROLE_OPERATION && of->records;
	sorted = calloc(count + 1, sizeof(*sorted));
	for (const struct interval_transfers *of = connector->transfers; of; of = of->next) {
		if (of->role != KVTAP_ROLE_OPERATION || !of->records)
			continue;
		if (sorted)
			sorted[i++] = of;
		else
			tell_operation(teller, of); /* in another order, but there */
	}
	if (i > 1)
		qsort(sorted, i, sizeof(*sorted), compare_operations);
	for (size_t k = 0; k < i && !teller->done; k++)
		tell_operation(teller, sorted[k]);
	free(sorted);
}

/* ---- HF3FS ---- */

static void tell_hf3fs(struct teller *teller, const struct interval_connector *connector)
{
	const struct interval_transfers *save = find(connector, KVTAP_ROLE_SAVE);
	const struct interval_transfers *load = find(connector, KVTAP_ROLE_LOAD);
	struct summary_time saved = summary_time(save, SAMPLE_DURATION);
	struct summary_time loaded = summary_time(load, SAMPLE_DURATION);
	uint64_t estimated =
		save->records - save->samples.count + load->records - load->samples.count;

	tell_integer(teller, "Num transfers task",
		     (number_wide)save->records + save->failed + load->records + load->failed);
	tell_integer(teller, "Num save task success", save->records);
	tell_integer(teller, "Num save task failed", save->failed);
	tell_integer(teller, "Num load task success", load->records);
	tell_integer(teller, "Num load task failed", load->failed);
	tell_numpy(teller, "Avg save duration (ms)", saved.mean * 1e3, 3);
	tell_numpy(teller, "P90 save duration (ms)", saved.p90 * 1e3, 3);
	tell_numpy(teller, "Avg load duration (ms)", loaded.mean * 1e3, 3);
	tell_numpy(teller, "P90 load duration (ms)", loaded.p90 * 1e3, 3);
	tell_bounds(teller, "save duration", &saved);
	tell_bounds(teller, "load duration", &loaded);
	if (estimated)
		tell_integer(teller, "Estimated from records", estimated);
}

/* ---- all ---- */

static bool has_figures(const struct interval_connector *connector)
{
	for (const struct interval_family *of = connector->families; of; of = of->next)
		for (const struct interval_figure *figure = of->first; figure;
		     figure = figure->next)
			if (figure->touched)
				return true;
	return false;
}

/* An event that was recorded as 0 is none. */
static bool has_events(const struct interval_connector *connector)
{
	char text[SUMMARY_VALUE_BYTES];

	return strcmp(events(text, connector, KVTAP_ROLE_FAILED_NOTIFICATION), "0") ||
	       strcmp(events(text, connector, KVTAP_ROLE_EXPIRED_REQUEST), "0");
}

static uint64_t count_records(const struct interval_connector *connector)
{
	uint64_t records = 0;

	for (const struct interval_transfers *of = connector->transfers; of; of = of->next)
		if (of->role != KVTAP_ROLE_RECEIVE)
			records += of->records;
	return records;
}

bool summary_is_empty(const struct interval_connector *connector)
{
	bool failed = count_failed(connector);

	switch (connector->summary) {
	case KVTAP_SUMMARY_NIXL:
	case KVTAP_SUMMARY_MOONCAKE:
		return !failed && !count_records(connector) && !has_events(connector);
	case KVTAP_SUMMARY_MOONCAKE_STORE:
	case KVTAP_SUMMARY_HF3FS:
		return !failed && !count_records(connector);
	default:
		return !failed && !has_figures(connector);
	}
}

void summary_tell(const struct interval_connector *connector, const struct summary_sink *sink)
{
	struct teller teller = { .sink = sink };

	switch (connector->summary) {
	case KVTAP_SUMMARY_NIXL:
		tell_nixl(&teller, connector);
		break;
	case KVTAP_SUMMARY_MOONCAKE:
		tell_mooncake(&teller, connector);
		break;
	case KVTAP_SUMMARY_MOONCAKE_STORE:
		tell_store(&teller, connector);
		break;
	case KVTAP_SUMMARY_HF3FS:
		tell_hf3fs(&teller, connector);
		break;
	default:
		tell_families(&teller, connector);
	}
}
