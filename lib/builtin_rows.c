/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builtin_rows.c - vLLM's families and our own, and the kinds of transfer that feed them, as data
 *
 * Names, labels, help texts and bounds are vLLM's own, to the letter, so that dashboards go on
 * working: vllm/distributed/kv_transfer/kv_connector/v1/{offloading/metrics.py,nixl/stats.py,
 * mooncake/store/metrics.py,hf3fs/hf3fs_connector.py} and vllm/v1/kv_offload/. A family more is a row
 * more. What is done with the rows is builtin.c's.
 */
#include "builtin.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- bounds and labels ---- */

static const double offload_sizes[] = {
	1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 100e6, 150e6, 200e6
};
static const double sync_delays[] = { 1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1 };
static const double async_delays[] = { 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 5, 10 };
static const double cpu_blocks[] = { 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144 };
static const double nixl_times[] = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
				     0.2,   0.3,  0.5,	 0.75, 1.0,   5.0 };
static const double nixl_post_times[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
					  0.2,	 0.3,	0.5,  0.75,  1.0,  5.0 };
static const double nixl_bytes[] = { 0x1p11, 0x1p13, 0x1p15, 0x1p17, 0x1p19, 0x1p21,
				     0x1p23, 0x1p25, 0x1p27, 0x1p29, 0x1p31, 0x1p33 };
static const double nixl_descriptors[] = { 10,	20,   30,   50,	  75,	 100,	200,
					   400, 1000, 2000, 4000, 10000, 20000, 50000 };
static const double store_times[] = { 1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.2, 0.3, 0.4,
				      0.5,  0.75, 1,	1.5,  2,   3,	4 };
static const double hf3fs_times[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
				      0.2,   0.3,   0.5,  0.75,	 1,    5 };
static const double own_seconds[] = { 1e-5,   2.5e-5, 5e-5, 1e-4,  2.5e-4, 5e-4, 1e-3,
				      2.5e-3, 5e-3,   0.01, 0.025, 0.05,   0.1,	 0.25,
				      0.5,    1,      2.5,  5,	   10 };
static const double own_bytes[] = { 0x1p12, 0x1p14, 0x1p16, 0x1p18, 0x1p20, 0x1p22,
				    0x1p24, 0x1p26, 0x1p28, 0x1p30, 0x1p32, 0x1p34 };
static const double own_rates[] = { 1e6,   2.5e6, 5e6,	  1e7,	 2.5e7, 5e7,  1e8,
				    2.5e8, 5e8,	  1e9,	  2.5e9, 5e9,	1e10, 2.5e10,
				    5e10,  1e11,  2.5e11, 5e11,	 1e12 };
static const double own_descriptors[] = { 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144 };

static const char *const none[] = { NULL };
static const char *const transfer_type[] = { "transfer_type", NULL };
static const char *const transfer_types[] = { "CPU_to_GPU", "GPU_to_CPU", NULL };
static const char *const tier[] = { "tier", NULL };
static const char *const operation[] = { "operation", "status", NULL };
static const char *const own[] = { "connector", "direction", "tier", "peer", "device", NULL };
static const char *const own_class[] = { "connector", "direction", "tier", "peer",
					 "device",    "class",	   NULL };
static const char *const own_connector[] = { "connector", NULL };

/* ---- connectors ---- */

static const struct kvtap_connector offloading = { "OffloadingConnector", KVTAP_SUMMARY_FAMILIES };
static const struct kvtap_connector nixl = { "NixlPullConnector", KVTAP_SUMMARY_NIXL };
static const struct kvtap_connector mooncake = { "MooncakeConnector", KVTAP_SUMMARY_MOONCAKE };
static const struct kvtap_connector mooncake_store = { "MooncakeStoreConnector",
						       KVTAP_SUMMARY_MOONCAKE_STORE };
static const struct kvtap_connector hf3fs = { "HF3FSKVConnector", KVTAP_SUMMARY_HF3FS };

/* ---- families ---- */

#define FAMILY(metric_, name_, unit_, labels_, help_, ...)                                         \
	.family = { .name = name_,                                                                 \
		    .help = help_,                                                                 \
		    .metric = metric_,                                                             \
		    .unit = KVTAP_UNIT_##unit_,                                                    \
		    .label_names = labels_,                                                        \
		    .label_count = COUNT(labels_) - 1,                                             \
		    __VA_ARGS__ }
#define COUNTER(name, unit, labels, help)                                                          \
	{                                                                                          \
		FAMILY(KVTAP_COUNTER, name, unit, labels, help)                                    \
	}
#define GAUGE(name, unit, labels, help)                                                            \
	{                                                                                          \
		FAMILY(KVTAP_GAUGE, name, unit, labels, help)                                      \
	}
#define HISTOGRAM(name, unit, labels, bounds_, help)                                               \
	{                                                                                          \
		FAMILY(KVTAP_HISTOGRAM, name, unit, labels, help, .bounds = bounds_,               \
		       .bound_count = COUNT(bounds_))                                              \
	}

static const struct kvtap_builtin_family offload_families[] = {
	COUNTER("vllm:kv_offload_load_bytes", BYTES, none,
		"Total bytes loaded from offload storage to GPU."),
	COUNTER("vllm:kv_offload_load_time", SECONDS, none,
		"Total load time from offload storage to GPU, in seconds."),
	HISTOGRAM("vllm:kv_offload_load_size", BYTES, none, offload_sizes,
		  "Histogram of KV offload load operation size, in bytes."),
	COUNTER("vllm:kv_offload_store_bytes", BYTES, none,
		"Total bytes stored from GPU to offload storage."),
	COUNTER("vllm:kv_offload_store_time", SECONDS, none,
		"Total store time from GPU to offload storage, in seconds."),
	HISTOGRAM("vllm:kv_offload_store_size", BYTES, none, offload_sizes,
		  "Histogram of KV offload store operation size, in bytes."),
	HISTOGRAM("vllm:kv_offload_lookup_sync_delay_seconds", SECONDS, none, sync_delays,
		  "Histogram of the time spent in a single offload lookup call, in seconds."),
	HISTOGRAM("vllm:kv_offload_lookup_async_delay_seconds", SECONDS, none, async_delays,
		  "Histogram of time between a request's offload lookup first deferring and the "
		  "following lookup resolving, or request finish, in seconds."),
	COUNTER("vllm:kv_offload_allocation_failure", COUNT, none,
		"Number of KV offload store allocation attempts that failed."),
};

static const struct kvtap_builtin_family deprecated_families[] = {
	COUNTER("vllm:kv_offload_total_bytes", BYTES, transfer_type,
		"Number of bytes offloaded by KV connector"),
	COUNTER("vllm:kv_offload_total_time", SECONDS, transfer_type,
		"Total time measured by all KV offloading operations"),
	HISTOGRAM("vllm:kv_offload_size", BYTES, transfer_type, offload_sizes,
		  "Histogram of KV offload transfer size, in bytes."),
};

/* vLLM has kv_offload_stores_skipped only with store_threshold >= 2. */
static const struct kvtap_builtin_family cpu_families[] = {
	GAUGE("vllm:kv_offload_cpu_cache_usage_perc", RATIO, none,
	      "Fraction of CPU KV-cache space currently pinned by active transfers (0.0 = idle, "
	      "1.0 = saturated). Sustained high values indicate transfers (stores or promotions) "
	      "may be dropped due to insufficient capacity."),
	GAUGE("vllm:kv_offload_cpu_cache_write_usage_perc", RATIO, none,
	      "Fraction of CPU KV-cache space currently pinned by in-flight stores that have not "
	      "yet completed (0.0 = idle, 1.0 = saturated)."),
	GAUGE("vllm:kv_offload_cpu_cache_read_usage_perc", RATIO, none,
	      "Fraction of CPU KV-cache space currently pinned by in-flight loads that have not "
	      "yet completed (0.0 = idle, 1.0 = saturated)."),
	HISTOGRAM("vllm:kv_offload_cpu_allocation_size", COUNT, none, cpu_blocks,
		  "Histogram of the number of CPU blocks requested by each KV offload "
		  "prepare_store call."),
	{ FAMILY(KVTAP_COUNTER, "vllm:kv_offload_stores_skipped", COUNT, none,
		 "Number of KV offload stores skipped because the reuse threshold was not "
		 "reached."),
	  .on_demand = true },
};

static const struct kvtap_builtin_family tiering_families[] = {
	HISTOGRAM("vllm:kv_offload_tiering_lookup_sync_delay_seconds", SECONDS, tier, sync_delays,
		  "Histogram of blocking time spent in a per-block tier lookup that resolved as a "
		  "hit or miss, labeled by tier, in seconds."),
	HISTOGRAM("vllm:kv_offload_tiering_lookup_async_delay_seconds", SECONDS, tier, async_delays,
		  "Histogram of wall-clock time from a per-block tier lookup first returning retry "
		  "until that same tier lookup resolves as a hit or miss, labeled by tier, in "
		  "seconds."),
	COUNTER("vllm:kv_offload_tiering_read_bytes", BYTES, tier,
		"Total bytes read from secondary tiers into the primary tier, labeled by tier."),
	COUNTER("vllm:kv_offload_tiering_read_time", SECONDS, tier,
		"Total time spent reading from secondary tiers into the primary tier, in seconds, "
		"labeled by tier."),
	COUNTER("vllm:kv_offload_tiering_write_bytes", BYTES, tier,
		"Total bytes written from the primary tier to secondary tiers, labeled by tier."),
	COUNTER("vllm:kv_offload_tiering_write_time", SECONDS, tier,
		"Total time spent writing from the primary tier to secondary tiers, in seconds, "
		"labeled by tier."),
	COUNTER("vllm:kv_offload_tiering_promotion_job_failures", COUNT, tier,
		"Number of failed secondary-tier promotion jobs, labeled by tier."),
	COUNTER("vllm:kv_offload_tiering_cascade_job_failures", COUNT, tier,
		"Number of failed secondary-tier cascade jobs, labeled by tier."),
	COUNTER("vllm:kv_offload_tiering_chunk_queries", COUNT, tier,
		"Number of block lookup queries sent to a tier, labeled by tier."),
	COUNTER("vllm:kv_offload_tiering_chunk_hits", COUNT, tier,
		"Number of block lookup hits in a tier, labeled by tier."),
	COUNTER("vllm:kv_offload_tiering_promotion_allocation_failures", COUNT, none,
		"Number of promotion attempts that failed because the primary tier could not "
		"allocate space."),
	GAUGE("vllm:kv_offload_tiering_primary_write_usage_perc", RATIO, tier,
	      "Current fraction of primary-tier space used by writes from secondary tiers, labeled "
	      "by tier."),
	GAUGE("vllm:kv_offload_tiering_primary_read_usage_perc", RATIO, tier,
	      "Current fraction of primary-tier space used by reads to secondary tiers, labeled by "
	      "tier."),
	GAUGE("vllm:kv_offload_tiering_active_promotion_jobs", COUNT, tier,
	      "Number of active secondary-tier promotion jobs, labeled by tier."),
	GAUGE("vllm:kv_offload_tiering_active_cascade_jobs", COUNT, tier,
	      "Number of active secondary-tier cascade jobs, labeled by tier."),
};

static const struct kvtap_builtin_family nixl_families[] = {
	HISTOGRAM("vllm:nixl_xfer_time_seconds", SECONDS, none, nixl_times,
		  "Histogram of transfer duration for NIXL KV Cache transfers."),
	HISTOGRAM("vllm:nixl_post_time_seconds", SECONDS, none, nixl_post_times,
		  "Histogram of transfer post time for NIXL KV Cache transfers."),
	HISTOGRAM("vllm:nixl_bytes_transferred", BYTES, none, nixl_bytes,
		  "Histogram of bytes transferred per NIXL KV Cache transfers."),
	HISTOGRAM("vllm:nixl_num_descriptors", COUNT, none, nixl_descriptors,
		  "Histogram of number of descriptors per NIXL  KV Cache transfers."),
	COUNTER("vllm:nixl_num_failed_transfers", COUNT, none,
		"Number of failed NIXL KV Cache transfers."),
	{ FAMILY(KVTAP_COUNTER, "vllm:nixl_num_failed_notifications", COUNT, none,
		 "Number of failed NIXL KV Cache notifications.",
		 .role = KVTAP_ROLE_FAILED_NOTIFICATION) },
	{ FAMILY(KVTAP_COUNTER, "vllm:nixl_num_kv_expired_reqs", COUNT, none,
		 "Number of requests that had their KV expire. NOTE: This metric is tracked on the "
		 "P instance.",
		 .role = KVTAP_ROLE_EXPIRED_REQUEST) },
};

static const struct kvtap_builtin_family mooncake_store_families[] = {
	HISTOGRAM("vllm:mooncake_store_operation_time_seconds", SECONDS, operation, store_times,
		  "Histogram of Mooncake store communication time."),
	COUNTER("vllm:mooncake_store_operation", COUNT, operation,
		"Number of Mooncake store communication operations."),
	COUNTER("vllm:mooncake_store_operation_keys", COUNT, operation,
		"Number of Mooncake store keys touched by operations."),
	COUNTER("vllm:mooncake_store_operation_bytes", BYTES, operation,
		"Number of bytes transferred by Mooncake store operations."),
	COUNTER("vllm:mooncake_store_operation_failed_keys", COUNT, operation,
		"Number of Mooncake store keys that failed in operations."),
};

static const struct kvtap_builtin_family hf3fs_families[] = {
	HISTOGRAM("vllm:hf3fs_save_duration_seconds", SECONDS, none, hf3fs_times,
		  "Histogram of save duration for HF3FSKVConnector."),
	HISTOGRAM("vllm:hf3fs_load_duration_seconds", SECONDS, none, hf3fs_times,
		  "Histogram of load duration for HF3FSKVConnector."),
	COUNTER("vllm:hf3fs_num_failed_save", COUNT, none, "Number of failed HF3FS KV save."),
	COUNTER("vllm:hf3fs_num_failed_load", COUNT, none, "Number of failed HF3FS KV load."),
};

static const struct kvtap_builtin_family own_families[] = {
	HISTOGRAM("kvtap_transfer_size_bytes", BYTES, own, own_bytes,
		  "Size of successful KV-cache transfers, in bytes."),
	HISTOGRAM("kvtap_transfer_duration_seconds", SECONDS, own, own_seconds,
		  "Time that successful KV-cache transfers took as a whole, in seconds."),
	HISTOGRAM("kvtap_transfer_submit_seconds", SECONDS, own, own_seconds,
		  "Part of the time that the caller spent submitting, in seconds."),
	HISTOGRAM("kvtap_transfer_queue_seconds", SECONDS, own, own_seconds,
		  "Part of the time that was spent waiting for the device, in seconds."),
	HISTOGRAM("kvtap_transfer_device_seconds", SECONDS, own, own_seconds,
		  "Part of the time after submitting and waiting, in seconds."),
	HISTOGRAM("kvtap_transfer_throughput_bytes_per_second", NONE, own, own_rates,
		  "Bytes a second of each successful KV-cache transfer."),
	HISTOGRAM("kvtap_transfer_descriptors", COUNT, own, own_descriptors,
		  "Descriptors of successful KV-cache transfers."),
	COUNTER("kvtap_transfer_failures", COUNT, own_class,
		"KV-cache transfers that failed, by class of failure."),
	{ FAMILY(KVTAP_COUNTER, "kvtap_expired_requests", COUNT, own_connector,
		 "Requests whose KV cache expired before it was fetched.",
		 .role = KVTAP_ROLE_EXPIRED_REQUEST),
	  .connector = &mooncake },
};

#define FAMILIES(rows) .family = rows, .families = COUNT(rows)

const struct kvtap_builtin_group kvtap_builtin_group[] = {
	{ KVTAP_GROUP_OFFLOAD, &offloading, FAMILIES(offload_families) },
	{ KVTAP_GROUP_OFFLOAD_DEPRECATED, NULL, FAMILIES(deprecated_families), .at_zero = true,
	  .values = transfer_types },
	{ KVTAP_GROUP_OFFLOAD_CPU, &offloading, FAMILIES(cpu_families) },
	{ KVTAP_GROUP_TIERING, &offloading, FAMILIES(tiering_families) },
	{ KVTAP_GROUP_NIXL, &nixl, FAMILIES(nixl_families), .at_zero = true },
	{ KVTAP_GROUP_MOONCAKE_STORE, &mooncake_store, FAMILIES(mooncake_store_families) },
	{ KVTAP_GROUP_HF3FS, &hf3fs, FAMILIES(hf3fs_families), .at_zero = true },
	{ KVTAP_GROUP_KVTAP, NULL, FAMILIES(own_families) },
};
const size_t kvtap_builtin_groups = COUNT(kvtap_builtin_group);

/* ---- kinds ---- */

static const struct kvtap_builtin_feed load_feeds[] = {
	{ "vllm:kv_offload_load_bytes", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_load_time", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_load_size", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_total_bytes", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, "CPU_to_GPU" },
	{ "vllm:kv_offload_total_time", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, "CPU_to_GPU" },
	{ "vllm:kv_offload_size", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, "CPU_to_GPU" },
};
static const struct kvtap_builtin_feed store_feeds[] = {
	{ "vllm:kv_offload_store_bytes", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_store_time", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_store_size", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_total_bytes", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, "GPU_to_CPU" },
	{ "vllm:kv_offload_total_time", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, "GPU_to_CPU" },
	{ "vllm:kv_offload_size", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, "GPU_to_CPU" },
};
static const struct kvtap_builtin_feed read_feeds[] = {
	{ "vllm:kv_offload_tiering_read_bytes", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_tiering_read_time", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_tiering_promotion_job_failures", KVTAP_FIELD_ONE, KVTAP_WHEN_FAILED,
	  NULL },
};
static const struct kvtap_builtin_feed write_feeds[] = {
	{ "vllm:kv_offload_tiering_write_bytes", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_tiering_write_time", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, NULL },
	{ "vllm:kv_offload_tiering_cascade_job_failures", KVTAP_FIELD_ONE, KVTAP_WHEN_FAILED,
	  NULL },
};
static const struct kvtap_builtin_feed nixl_feeds[] = {
	{ "vllm:nixl_xfer_time_seconds", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, NULL },
	{ "vllm:nixl_post_time_seconds", KVTAP_FIELD_SUBMIT, KVTAP_WHEN_OK, NULL },
	{ "vllm:nixl_bytes_transferred", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, NULL },
	{ "vllm:nixl_num_descriptors", KVTAP_FIELD_DESCRIPTORS, KVTAP_WHEN_OK, NULL },
	{ "vllm:nixl_num_failed_transfers", KVTAP_FIELD_ONE, KVTAP_WHEN_FAILED, NULL },
};
static const struct kvtap_builtin_feed mooncake_store_feeds[] = {
	{ "vllm:mooncake_store_operation_time_seconds", KVTAP_FIELD_DURATION, KVTAP_WHEN_ALWAYS,
	  NULL },
	{ "vllm:mooncake_store_operation", KVTAP_FIELD_ONE, KVTAP_WHEN_ALWAYS, NULL },
	{ "vllm:mooncake_store_operation_keys", KVTAP_FIELD_DESCRIPTORS, KVTAP_WHEN_ALWAYS, NULL },
	{ "vllm:mooncake_store_operation_bytes", KVTAP_FIELD_BYTES, KVTAP_WHEN_ALWAYS, NULL },
	{ "vllm:mooncake_store_operation_failed_keys", KVTAP_FIELD_FAILED_DESCRIPTORS,
	  KVTAP_WHEN_ALWAYS, NULL },
};
static const struct kvtap_builtin_feed save_feeds[] = {
	{ "vllm:hf3fs_save_duration_seconds", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, NULL },
	{ "vllm:hf3fs_num_failed_save", KVTAP_FIELD_ONE, KVTAP_WHEN_FAILED, NULL },
};
static const struct kvtap_builtin_feed hf3fs_load_feeds[] = {
	{ "vllm:hf3fs_load_duration_seconds", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, NULL },
	{ "vllm:hf3fs_num_failed_load", KVTAP_FIELD_ONE, KVTAP_WHEN_FAILED, NULL },
};

const struct kvtap_builtin_feed kvtap_builtin_own_feed[] = {
	{ "kvtap_transfer_size_bytes", KVTAP_FIELD_BYTES, KVTAP_WHEN_OK, NULL },
	{ "kvtap_transfer_duration_seconds", KVTAP_FIELD_DURATION, KVTAP_WHEN_OK, NULL },
	{ "kvtap_transfer_submit_seconds", KVTAP_FIELD_SUBMIT, KVTAP_WHEN_OK, NULL },
	{ "kvtap_transfer_queue_seconds", KVTAP_FIELD_QUEUE, KVTAP_WHEN_OK, NULL },
	{ "kvtap_transfer_device_seconds", KVTAP_FIELD_DEVICE, KVTAP_WHEN_OK, NULL },
	{ "kvtap_transfer_throughput_bytes_per_second", KVTAP_FIELD_THROUGHPUT, KVTAP_WHEN_OK,
	  NULL },
	{ "kvtap_transfer_descriptors", KVTAP_FIELD_DESCRIPTORS, KVTAP_WHEN_OK, NULL },
	{ "kvtap_transfer_failures", KVTAP_FIELD_ONE, KVTAP_WHEN_STATUS | KVTAP_FAILED, "error" },
	{ "kvtap_transfer_failures", KVTAP_FIELD_ONE, KVTAP_WHEN_STATUS | KVTAP_TIMED_OUT,
	  "timeout" },
	{ "kvtap_transfer_failures", KVTAP_FIELD_ONE, KVTAP_WHEN_STATUS | KVTAP_PEER_LOST, "peer" },
	{ "kvtap_transfer_failures", KVTAP_FIELD_ONE, KVTAP_WHEN_STATUS | KVTAP_NO_SPACE, "space" },
	{ "kvtap_transfer_failures", KVTAP_FIELD_ONE, KVTAP_WHEN_STATUS | KVTAP_CANCELLED,
	  "cancelled" },
	{ "kvtap_transfer_failures", KVTAP_FIELD_ONE, KVTAP_WHEN_FROM | (KVTAP_CANCELLED + 1),
	  "other" },
};
const size_t kvtap_builtin_own_feeds = COUNT(kvtap_builtin_own_feed);

#define FEEDS(rows) rows, COUNT(rows)

const struct kvtap_builtin_kind kvtap_builtin_kind[] = {
	{ KVTAP_OFFLOAD_LOAD, KVTAP_GROUP_OFFLOAD, &offloading, KVTAP_ROLE_TRANSFER, "load", NULL,
	  FEEDS(load_feeds) },
	{ KVTAP_OFFLOAD_STORE, KVTAP_GROUP_OFFLOAD, &offloading, KVTAP_ROLE_TRANSFER, "store", NULL,
	  FEEDS(store_feeds) },
	{ KVTAP_TIERING_READ, KVTAP_GROUP_TIERING, &offloading, KVTAP_ROLE_TRANSFER, "read", tier,
	  FEEDS(read_feeds) },
	{ KVTAP_TIERING_WRITE, KVTAP_GROUP_TIERING, &offloading, KVTAP_ROLE_TRANSFER, "write", tier,
	  FEEDS(write_feeds) },
	{ KVTAP_NIXL_TRANSFER, KVTAP_GROUP_NIXL, &nixl, KVTAP_ROLE_TRANSFER, "transfer", NULL,
	  FEEDS(nixl_feeds) },
	{ KVTAP_MOONCAKE_SEND, KVTAP_GROUP_KVTAP, &mooncake, KVTAP_ROLE_TRANSFER, "send", NULL,
	  NULL, 0 },
	{ KVTAP_MOONCAKE_RECEIVE, KVTAP_GROUP_KVTAP, &mooncake, KVTAP_ROLE_RECEIVE, "receive", NULL,
	  NULL, 0 },
	{ KVTAP_MOONCAKE_STORE, KVTAP_GROUP_MOONCAKE_STORE, &mooncake_store, KVTAP_ROLE_OPERATION,
	  NULL, operation, FEEDS(mooncake_store_feeds) },
	{ KVTAP_HF3FS_SAVE, KVTAP_GROUP_HF3FS, &hf3fs, KVTAP_ROLE_SAVE, "save", NULL,
	  FEEDS(save_feeds) },
	{ KVTAP_HF3FS_LOAD, KVTAP_GROUP_HF3FS, &hf3fs, KVTAP_ROLE_LOAD, "load", NULL,
	  FEEDS(hf3fs_load_feeds) },
};
const size_t kvtap_builtin_kinds = COUNT(kvtap_builtin_kind);
