/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_load.c - a mixed load of records, the private truth of who records it, and a page's word
 *
 * One table says which families each form of series feeds, in which unit and with which bounds. The
 * truth is kept by it and the page is compared by it; the records are made without it.
 */
#include "support_load.h"

#include <stdbool.h>
#include <stdio.h>

#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum value { VALUE, BYTES, DURATION, SUBMIT, DESCRIPTORS, ONE };
enum form { COUNTER, HISTOGRAM, TRANSFER, LOAD, STORE, NIXL, NOTIFICATION, FORMS };

struct bound {
	uint64_t most;
	const char *le;
};

struct cell {
	const char *name; /* of the samples, with _total */
	enum value value;
	unsigned digits;	   /* the unit of a sum is 10^-digits */
	const struct bound *bound; /* NULL: a counter */
	uint32_t bounds;
	enum kvtap_when when;
};

static const struct bound value_bounds[] = {
	{ 125, "0.125" }, { 1000, "1.0" }, { 10000, "10.0" }, { 50500, "50.5" }, { 100000, "100.0" }
};
static const struct bound bytes_bounds[] = { { 4096, "4096.0" },
					     { 1 << 20, "1.048576e+06" },
					     { 2 << 20, "2.097152e+06" } };
static const struct bound offload_bounds[] = { { 1000000, "1e+06" },	 { 5000000, "5e+06" },
					       { 10000000, "1e+07" },	 { 20000000, "2e+07" },
					       { 40000000, "4e+07" },	 { 60000000, "6e+07" },
					       { 80000000, "8e+07" },	 { 100000000, "1e+08" },
					       { 150000000, "1.5e+08" }, { 200000000, "2e+08" } };
#define MS(ms, le)                                                                                 \
	{                                                                                          \
		(ms) * 1000000ull, le                                                              \
	}
static const struct bound time_bounds[] = { MS(5, "0.005"),  MS(10, "0.01"),  MS(25, "0.025"),
					    MS(50, "0.05"),  MS(75, "0.075"), MS(100, "0.1"),
					    MS(200, "0.2"),  MS(300, "0.3"),  MS(500, "0.5"),
					    MS(750, "0.75"), MS(1000, "1.0"), MS(5000, "5.0") };
static const struct bound post_bounds[] = { MS(1, "0.001"),  MS(5, "0.005"),  MS(10, "0.01"),
					    MS(25, "0.025"), MS(50, "0.05"),  MS(75, "0.075"),
					    MS(100, "0.1"),  MS(200, "0.2"),  MS(300, "0.3"),
					    MS(500, "0.5"),  MS(750, "0.75"), MS(1000, "1.0"),
					    MS(5000, "5.0") };
static const struct bound nixl_bounds[] = { { 1 << 11, "2048.0" },
					    { 1 << 13, "8192.0" },
					    { 1 << 15, "32768.0" },
					    { 1 << 17, "131072.0" },
					    { 1 << 19, "524288.0" },
					    { 1 << 21, "2.097152e+06" },
					    { 1 << 23, "8.388608e+06" },
					    { 1 << 25, "3.3554432e+07" },
					    { 1ull << 27, "1.34217728e+08" },
					    { 1ull << 29, "5.36870912e+08" },
					    { 1ull << 31, "2.147483648e+09" },
					    { 1ull << 33, "8.589934592e+09" } };
static const struct bound descriptor_bounds[] = {
	{ 10, "10.0" },	      { 20, "20.0" },	   { 30, "30.0" },     { 50, "50.0" },
	{ 75, "75.0" },	      { 100, "100.0" },	   { 200, "200.0" },   { 400, "400.0" },
	{ 1000, "1000.0" },   { 2000, "2000.0" },  { 4000, "4000.0" }, { 10000, "10000.0" },
	{ 20000, "20000.0" }, { 50000, "50000.0" }
};

#define BOUNDS(table) table, COUNT(table)
static const struct cell forms[FORMS][LOAD_CELLS_MAX] = {
	[COUNTER] = { { "load_events_total", VALUE, 3, NULL, 0, 0 } },
	[HISTOGRAM] = { { "load_values", VALUE, 3, BOUNDS(value_bounds), 0 } },
	[TRANSFER] = { { "load_move_bytes", BYTES, 0, BOUNDS(bytes_bounds), 0 },
		       { "load_move_seconds_total", DURATION, 9, NULL, 0, 0 },
		       { "load_move_failed_total", ONE, 0, NULL, 0, KVTAP_WHEN_FAILED },
		       { "load_moves_total", ONE, 0, NULL, 0, KVTAP_WHEN_ALWAYS } },
	[LOAD] = { { "vllm:kv_offload_load_bytes_total", BYTES, 0, NULL, 0, 0 },
		   { "vllm:kv_offload_load_time_total", DURATION, 9, NULL, 0, 0 },
		   { "vllm:kv_offload_load_size", BYTES, 0, BOUNDS(offload_bounds), 0 } },
	[STORE] = { { "vllm:kv_offload_store_bytes_total", BYTES, 0, NULL, 0, 0 },
		    { "vllm:kv_offload_store_time_total", DURATION, 9, NULL, 0, 0 },
		    { "vllm:kv_offload_store_size", BYTES, 0, BOUNDS(offload_bounds), 0 } },
	[NIXL] = { { "vllm:nixl_xfer_time_seconds", DURATION, 9, BOUNDS(time_bounds), 0 },
		   { "vllm:nixl_post_time_seconds", SUBMIT, 9, BOUNDS(post_bounds), 0 },
		   { "vllm:nixl_bytes_transferred", BYTES, 0, BOUNDS(nixl_bounds), 0 },
		   { "vllm:nixl_num_descriptors", DESCRIPTORS, 0, BOUNDS(descriptor_bounds), 0 },
		   { "vllm:nixl_num_failed_transfers_total", ONE, 0, NULL, 0, KVTAP_WHEN_FAILED } },
	[NOTIFICATION] = { { "vllm:nixl_num_failed_notifications_total", VALUE, 3, NULL, 0, 0 } },
};

static enum form form_of(uint32_t index, uint32_t shards)
{
	if (index < 3 * shards)
		return index % 3;
	return LOAD + (index - 3 * shards);
}

/* ---- declaring ---- */

static const char *const shard_label[] = { "shard" };

static uint32_t declare(struct kvtap *tap, const char *name, enum kvtap_metric metric,
			const double *bounds, size_t count)
{
	uint32_t id;

	CHECK_EQ(kvtap_family_declare(tap, &id,
				      &(struct kvtap_family){ .name = name,
							      .help = "Of the mixed load.",
							      .metric = metric,
							      .label_names = shard_label,
							      .label_count = 1,
							      .bounds = bounds,
							      .bound_count = count }),
		 0);
	return id;
}

static uint32_t declare_move(struct kvtap *tap)
{
	static const double bounds[] = { 4096, 1 << 20, 2 << 20 };
	struct kvtap_feed feeds[] = {
		{ .family = declare(tap, "load_move_bytes", KVTAP_HISTOGRAM, bounds, 3),
		  .field = KVTAP_FIELD_BYTES },
		{ .family = declare(tap, "load_move_seconds", KVTAP_COUNTER, NULL, 0),
		  .field = KVTAP_FIELD_DURATION },
		{ .family = declare(tap, "load_move_failed", KVTAP_COUNTER, NULL, 0),
		  .field = KVTAP_FIELD_ONE,
		  .when = KVTAP_WHEN_FAILED },
		{ .family = declare(tap, "load_moves", KVTAP_COUNTER, NULL, 0),
		  .field = KVTAP_FIELD_ONE,
		  .when = KVTAP_WHEN_ALWAYS },
	};
	uint32_t id;

	CHECK_EQ(kvtap_kind_declare(tap, &id,
				    &(struct kvtap_kind){ .name = "load_move",
							  .label_names = shard_label,
							  .label_count = 1,
							  .feeds = feeds,
							  .feed_count = COUNT(feeds) }),
		 0);
	return id;
}

void load_open(struct load *load, const struct kvtap_options *given, uint32_t shards)
{
	static const double bounds[] = { 0.125, 1, 10, 50.5, 100 };
	struct kvtap_options options = *given;
	uint32_t *series = load->series;

	CHECK(shards <= LOAD_SHARDS_MAX);
	options.model_name = LOAD_MODEL;
	load->shards = shards;
	CHECK_EQ(kvtap_open(&load->tap, &options), 0);
	uint32_t counter = declare(load->tap, "load_events", KVTAP_COUNTER, NULL, 0);
	uint32_t histogram =
		declare(load->tap, "load_values", KVTAP_HISTOGRAM, bounds, COUNT(bounds));
	uint32_t move = declare_move(load->tap);
	for (uint32_t i = 0; i < shards; i++, series += 3) {
		char text[12];
		const char *const values[] = { text };

		snprintf(text, sizeof(text), "%u", i);
		CHECK_EQ(kvtap_family_series(load->tap, &series[COUNTER], counter, values, 1), 0);
		CHECK_EQ(kvtap_family_series(load->tap, &series[HISTOGRAM], histogram, values, 1),
			 0);
		CHECK_EQ(kvtap_kind_series(load->tap, &series[TRANSFER], move, values, 1), 0);
	}
	static const char *const builtins[] = { KVTAP_OFFLOAD_LOAD, KVTAP_OFFLOAD_STORE,
						KVTAP_NIXL_TRANSFER,
						"vllm:nixl_num_failed_notifications" };
	for (size_t i = 0; i < COUNT(builtins); i++)
		CHECK_EQ(kvtap_builtin(load->tap, &series[i], builtins[i], NULL), 0);
}

/* ---- recording ---- */

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void note(struct load_cell cells[LOAD_CELLS_MAX], enum form form, bool failed,
		 const uint64_t values[])
{
	for (int i = 0; i < LOAD_CELLS_MAX && forms[form][i].name; i++) {
		const struct cell *cell = &forms[form][i];
		uint64_t value = values[cell->value];
		uint32_t bucket = 0;

		if (cell->when != KVTAP_WHEN_ALWAYS && failed != (cell->when == KVTAP_WHEN_FAILED))
			continue;
		cells[i].records++;
		cells[i].sum += value;
		while (bucket < cell->bounds && value > cell->bound[bucket].most)
			bucket++;
		cells[i].bucket[bucket]++;
	}
}

/* Eighths up to 127.875, so that sums of doubles are exact; the truth has thousandths. */
static void record_scalar(const struct load *load, uint32_t series, enum form form, uint64_t random,
			  uint64_t values[])
{
	uint64_t eighths = random >> 40 & 1023;

	values[VALUE] = eighths * 125;
	if (form == HISTOGRAM)
		kvtap_observe(load->tap, series, (double)eighths / 8);
	else
		kvtap_add(load->tap, series, (double)eighths / 8);
}

/* Sizes and times over all buckets: the exponent is random too. */
static bool record_transfer(const struct load *load, uint32_t series, uint64_t random,
			    uint64_t values[])
{
	struct kvtap_transfer transfer = {
		.series = series,
		.status = (random & 31) == 31,
		.end_ns = 1,
		.duration_ns = (random >> 8 & 0xffffff) << (random >> 32 & 7),
		.bytes = (random >> 12 & 0xffff) << (random >> 40 & 11),
		.descriptors = (random >> 20 & 4095),
	};

	transfer.submit_ns = transfer.duration_ns >> 1;
	values[DURATION] = transfer.duration_ns;
	values[SUBMIT] = transfer.submit_ns;
	values[BYTES] = transfer.bytes;
	values[DESCRIPTORS] = transfer.descriptors;
	values[ONE] = 1;
	kvtap_transfer(load->tap, &transfer);
	return transfer.status;
}

void load_record(const struct load *load, struct load_truth *truth, uint64_t *seed,
		 uint64_t records)
{
	uint32_t count = LOAD_SERIES(load->shards);

	for (uint64_t i = 0; i < records; i++) {
		uint64_t values[ONE + 1] = { 0 };
		uint32_t index = (uint32_t)(i % count);
		enum form form = form_of(index, load->shards);
		uint64_t random = next(seed);
		bool failed = false;

		if (form == COUNTER || form == HISTOGRAM || form == NOTIFICATION)
			record_scalar(load, load->series[index], form, random, values);
		else
			failed = record_transfer(load, load->series[index], random, values);
		note(truth->cell[index], form, failed, values);
	}
	truth->records += records;
}

void load_add(struct load_truth *truth, const struct load_truth *more)
{
	truth->records += more->records;
	for (size_t i = 0; i < COUNT(truth->cell); i++) {
		for (size_t k = 0; k < LOAD_CELLS_MAX; k++) {
			struct load_cell *to = &truth->cell[i][k];
			const struct load_cell *from = &more->cell[i][k];

			to->records += from->records;
			to->sum += from->sum;
			for (size_t b = 0; b < LOAD_BUCKETS_MAX; b++)
				to->bucket[b] += from->bucket[b];
		}
	}
}

/* ---- what a page has to say ---- */

struct teller {
	const struct cell *cell;
	const char *engine, *shard;
	load_tell *tell;
	void *context;
};

static void tell(const struct teller *teller, const char *suffix, const char *le, unsigned digits,
		 uint64_t value)
{
	char key[512];

	snprintf(key, sizeof(key), "%s%s{engine=\"%s\"%s%s%s,model_name=\"" LOAD_MODEL "\"%s}",
		 teller->cell->name, suffix, teller->engine, le ? ",le=\"" : "", le ? le : "",
		 le ? "\"" : "", teller->shard);
	teller->tell(teller->context, key, digits, value);
}

static void tell_cell(const struct teller *teller, const struct load_cell *truth)
{
	const struct cell *cell = teller->cell;
	uint64_t below = 0;

	if (!cell->bound) {
		tell(teller, "", NULL, cell->digits, truth->sum);
		return;
	}
	for (uint32_t i = 0; i <= cell->bounds; i++) {
		below += truth->bucket[i];
		tell(teller, "_bucket", i < cell->bounds ? cell->bound[i].le : "+Inf", 0, below);
	}
	tell(teller, "_sum", NULL, cell->digits, truth->sum);
	tell(teller, "_count", NULL, 0, truth->records);
}

void load_samples(const struct load_truth *truth, const char *engine, uint32_t shards,
		  load_tell *tell_sample, void *context)
{
	for (uint32_t i = 0; i < LOAD_SERIES(shards); i++) {
		enum form form = form_of(i, shards);
		char shard[32] = "";

		if (form <= TRANSFER)
			snprintf(shard, sizeof(shard), ",shard=\"%u\"", i / 3);
		for (int k = 0; k < LOAD_CELLS_MAX && forms[form][k].name; k++)
			tell_cell(&(struct teller){ &forms[form][k], engine, shard, tell_sample,
						    context },
				  &truth->cell[i][k]);
	}
}
