/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builtin.c - vLLM's families and the kinds of transfer that feed them, as data
 *
 * Names, help texts and bounds are vLLM's own, to the letter, so that dashboards go on working:
 * vllm/distributed/kv_transfer/kv_connector/v1/{offloading/metrics.py,nixl/stats.py}.
 */
#include <errno.h>
#include <string.h>

#include "kvtap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const double offload_sizes[] = {
	1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 100e6, 150e6, 200e6
};
static const double nixl_times[] = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
				     0.2,   0.3,  0.5,	 0.75, 1.0,   5.0 };
static const double nixl_post_times[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
					  0.2,	 0.3,	0.5,  0.75,  1.0,  5.0 };
static const double nixl_bytes[] = { 0x1p11, 0x1p13, 0x1p15, 0x1p17, 0x1p19, 0x1p21,
				     0x1p23, 0x1p25, 0x1p27, 0x1p29, 0x1p31, 0x1p33 };
static const double nixl_descriptors[] = { 10,	20,   30,   50,	  75,	 100,	200,
					   400, 1000, 2000, 4000, 10000, 20000, 50000 };

#define COUNTER_ROW(name_, help_, flags_)                                                          \
	{                                                                                          \
		.name = name_, .help = help_, .metric = KVTAP_COUNTER, .flags = flags_             \
	}
#define HISTOGRAM_ROW(name_, help_, flags_, bounds_)                                               \
	{                                                                                          \
		.name = name_, .help = help_, .metric = KVTAP_HISTOGRAM, .flags = flags_,          \
		.bounds = bounds_, .bound_count = COUNT(bounds_)                                   \
	}

enum family {
	LOAD_BYTES,
	LOAD_TIME,
	LOAD_SIZE,
	STORE_BYTES,
	STORE_TIME,
	STORE_SIZE,
	XFER_TIME,
	POST_TIME,
	XFER_BYTES,
	XFER_DESCRIPTORS,
	FAILED_TRANSFERS,
	FAILED_NOTIFICATIONS,
	EXPIRED_REQUESTS,
};

/* Offload families are lazy and NIXL's are there at 0 from the start, as in vLLM. */
static const struct kvtap_family families[] = {
	[LOAD_BYTES] =
		COUNTER_ROW("vllm:kv_offload_load_bytes",
			    "Total bytes loaded from offload storage to GPU.", KVTAP_FAMILY_LAZY),
	[LOAD_TIME] = COUNTER_ROW("vllm:kv_offload_load_time",
				  "Total load time from offload storage to GPU, in seconds.",
				  KVTAP_FAMILY_LAZY),
	[LOAD_SIZE] = HISTOGRAM_ROW("vllm:kv_offload_load_size",
				    "Histogram of KV offload load operation size, in bytes.",
				    KVTAP_FAMILY_LAZY, offload_sizes),
	[STORE_BYTES] =
		COUNTER_ROW("vllm:kv_offload_store_bytes",
			    "Total bytes stored from GPU to offload storage.", KVTAP_FAMILY_LAZY),
	[STORE_TIME] = COUNTER_ROW("vllm:kv_offload_store_time",
				   "Total store time from GPU to offload storage, in seconds.",
				   KVTAP_FAMILY_LAZY),
	[STORE_SIZE] = HISTOGRAM_ROW("vllm:kv_offload_store_size",
				     "Histogram of KV offload store operation size, in bytes.",
				     KVTAP_FAMILY_LAZY, offload_sizes),
	[XFER_TIME] = HISTOGRAM_ROW("vllm:nixl_xfer_time_seconds",
				    "Histogram of transfer duration for NIXL KV Cache transfers.",
				    0, nixl_times),
	[POST_TIME] = HISTOGRAM_ROW("vllm:nixl_post_time_seconds",
				    "Histogram of transfer post time for NIXL KV Cache transfers.",
				    0, nixl_post_times),
	[XFER_BYTES] = HISTOGRAM_ROW("vllm:nixl_bytes_transferred",
				     "Histogram of bytes transferred per NIXL KV Cache transfers.",
				     0, nixl_bytes),
	[XFER_DESCRIPTORS] =
		HISTOGRAM_ROW("vllm:nixl_num_descriptors",
			      "Histogram of number of descriptors per NIXL  KV Cache transfers.", 0,
			      nixl_descriptors),
	[FAILED_TRANSFERS] = COUNTER_ROW("vllm:nixl_num_failed_transfers",
					 "Number of failed NIXL KV Cache transfers.", 0),
	[FAILED_NOTIFICATIONS] = COUNTER_ROW("vllm:nixl_num_failed_notifications",
					     "Number of failed NIXL KV Cache notifications.", 0),
	[EXPIRED_REQUESTS] = COUNTER_ROW("vllm:nixl_num_kv_expired_reqs",
					 "Number of requests that had their KV expire. NOTE: This "
					 "metric is tracked on the P instance.",
					 0),
};

/* In a table, family is an index into families[]; declaring turns it into the tap's id. */
static const struct kvtap_feed load_feeds[] = {
	{ .family = LOAD_BYTES, .field = KVTAP_FIELD_BYTES },
	{ .family = LOAD_TIME, .field = KVTAP_FIELD_DURATION },
	{ .family = LOAD_SIZE, .field = KVTAP_FIELD_BYTES },
};
static const struct kvtap_feed store_feeds[] = {
	{ .family = STORE_BYTES, .field = KVTAP_FIELD_BYTES },
	{ .family = STORE_TIME, .field = KVTAP_FIELD_DURATION },
	{ .family = STORE_SIZE, .field = KVTAP_FIELD_BYTES },
};
static const struct kvtap_feed nixl_feeds[] = {
	{ .family = XFER_TIME, .field = KVTAP_FIELD_DURATION },
	{ .family = POST_TIME, .field = KVTAP_FIELD_SUBMIT },
	{ .family = XFER_BYTES, .field = KVTAP_FIELD_BYTES },
	{ .family = XFER_DESCRIPTORS, .field = KVTAP_FIELD_DESCRIPTORS },
	{ .family = FAILED_TRANSFERS, .field = KVTAP_FIELD_ONE, .when = KVTAP_WHEN_FAILED },
};

static const struct kvtap_kind kinds[] = {
	{ .name = KVTAP_OFFLOAD_LOAD, .feeds = load_feeds, .feed_count = COUNT(load_feeds) },
	{ .name = KVTAP_OFFLOAD_STORE, .feeds = store_feeds, .feed_count = COUNT(store_feeds) },
	{ .name = KVTAP_NIXL_TRANSFER, .feeds = nixl_feeds, .feed_count = COUNT(nixl_feeds) },
};

static int declare_kind(struct kvtap *tap, uint32_t *series, const struct kvtap_kind *row)
{
	struct kvtap_kind kind = *row;
	struct kvtap_feed feeds[COUNT(nixl_feeds)];
	uint32_t id;
	int rc = 0;

	*series = 0;
	for (size_t i = 0; i < row->feed_count && rc == 0; i++) {
		feeds[i] = row->feeds[i];
		rc = kvtap_family_declare(tap, &feeds[i].family, &families[row->feeds[i].family]);
	}
	kind.feeds = feeds;
	if (rc == 0)
		rc = kvtap_kind_declare(tap, &id, &kind);
	return rc < 0 ? rc : kvtap_kind_series(tap, series, id, NULL, 0);
}

static int declare_family(struct kvtap *tap, uint32_t *series, enum family family)
{
	uint32_t id;
	int rc = kvtap_family_declare(tap, &id, &families[family]);

	*series = 0;
	return rc < 0 ? rc : kvtap_family_series(tap, series, id, NULL, 0);
}

int kvtap_builtin(struct kvtap *tap, uint32_t *series, const char *name,
		  const struct kvtap_builtin_labels *labels)
{
	(void)labels;
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return declare_kind(tap, series, &kinds[i]);
	for (size_t i = 0; i < COUNT(families); i++)
		if (strcmp(families[i].name, name) == 0)
			return declare_family(tap, series, (enum family)i);
	*series = 0;
	return -EINVAL;
}
