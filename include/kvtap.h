/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvtap.h - record KV-cache transfers; all that a worker includes
 *
 * A tap is this process's way to the exporter. Declare families and series on it once, then record:
 *
 *	struct kvtap *tap;
 *	uint32_t load;
 *
 *	kvtap_open(&tap, &(struct kvtap_options){ .model_name = "llama", .engine = "0" });
 *	kvtap_builtin(tap, &load, KVTAP_OFFLOAD_LOAD, NULL);
 *	kvtap_transfer(tap, &(struct kvtap_transfer){
 *		.series = load, .duration_ns = 1400000, .bytes = 2 << 20 });
 *	kvtap_close(tap);
 *
 * Rules for the whole API
 *   Arguments  object, result, input, the length of an array after the array. All input is borrowed
 *              for the call and copied. Label values are strings; times are integer nanoseconds.
 *   Errors     calls that open or declare return 0 or a negative errno, and log why (options.log).
 *              Calls that record return nothing and never fail: a record that cannot be taken is
 *              counted (kvtap_stats) and, where it was known to carry bytes, its bytes too.
 *              Every call takes a tap that could not be opened, one that is switched off, or NULL.
 *   Threads    every call is MT-safe, except kvtap_close. Opening and declaring take a lock;
 *              recording is wait-free: no lock, no allocation and, after a thread's first record on
 *              a tap, no system call (the clock is read through the vDSO). A thread is given a ring
 *              by its first record or by kvtap_ring(); its ring outlives it and is handed on.
 *   Signals    the calls that record are async-signal-safe once the thread has its ring (in a fork
 *              child: once it has recorded there); a handler that interrupts a record on its own
 *              thread parks up to 8 records, which that record publishes when it ends; more are
 *              lost and counted. A handler must return, not jump, and not return in a child that
 *              it forked inside a record. The other calls are not safe.
 *   fork       a child without exec records into a segment of its own, made by its first call that
 *              needs one; handles and series stay valid in it. vfork: no kvtap call in the child.
 *   exec       the new program has nothing of the tap; the exporter takes the process for gone.
 *   dlclose    the shared library stays loaded (-z nodelete), and no hook of it runs at exit, at
 *              fork or when a thread ends.
 *   Death      at any instruction, loses at most the record being written, of each thread.
 *
 * Environment (wins over the options)
 *   KVTAP_DISABLE     any value but "" and "0": every call is a no-op
 *   KVTAP_DIR         folder on a tmpfs; default /dev/shm
 *   KVTAP_NAMESPACE   default "default"
 *   KVTAP_RING_SLOTS  records a ring; see struct kvtap_options
 */
#ifndef KVTAP_H
#define KVTAP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVTAP_VERSION "0.1.0"

#if defined(__GNUC__)
#define KVTAP_API __attribute__((visibility("default")))
#else
#define KVTAP_API
#endif

struct kvtap;	   /* one per kvtap_open; shared by the threads of the process */
struct kvtap_ring; /* one thread's ring; only that thread may record through it */

enum kvtap_level { KVTAP_LOG_ERROR = 0, KVTAP_LOG_WARN = 1, KVTAP_LOG_INFO = 2 };

/* Where the time of a record that brings none comes from; it is CLOCK_MONOTONIC either way. */
enum kvtap_clock {
	KVTAP_CLOCK_MONOTONIC = 0, /* clock_gettime() */
	/*
	 * The CPU's counter (rdtsc), calibrated to it when the tap is opened and about each second,
	 * by the thread that notices. Where the counter is not invariant, or the kernel's own
	 * clocksource is not "tsc", as MONOTONIC. The two differ by at most 1.01 ms, which takes a
	 * kernel that slews its clock by all it may. A counter that jumps, as in a virtual machine that
	 * moved, is noticed within a second, and the process is as with MONOTONIC from then on. Times
	 * of one thread don't go back.
	 * What forbids the counter (PR_SET_TSC, strict seccomp) forbids the vDSO's clock too.
	 */
	KVTAP_CLOCK_TSC = 1,
};

/* Zero or NULL in a field means its default. Initialise by name, so that fields may be added. */
struct kvtap_options {
	const char *name_space; /* who shares an exporter: [A-Za-z0-9_.-]{1,64}, no dot first */
	const char *dir;	/* a folder on a tmpfs, there already; default /dev/shm */
	const char *model_name; /* constant labels of every series; NULL: the label is not there */
	const char *engine;
	const char *rank;    /* identifies the worker beside its engine; shown only on request */
	uint32_t groups;     /* KVTAP_GROUP_*: built-in families that are there from the start */
	uint32_t ring_slots; /* a power of two, 16 to 2^20; default 4096 (256 KiB a thread) */
	uint32_t ring_max;   /* recording threads at once, at most 1024; default 128 */
	/* a ring's arena, a multiple of 4096, at most 16 MiB; default 60 KiB (see README) */
	uint32_t overflow_bytes;
	uint32_t clock; /* enum kvtap_clock */
	/* told of errors, by the thread that met them; must not call kvtap. NULL: silence */
	void (*log)(void *log_arg, enum kvtap_level level, const char *message);
	void *log_arg;
};

/**
 * kvtap_open - make this process's segment and the tap to it
 * @tap:     never NULL afterwards, also on error: then every call on it is a counted no-op;
 *           owned by the caller, given back by kvtap_close()
 * @options: borrowed; NULL: all defaults
 *
 * Returns: 0, also when KVTAP_DISABLE switches everything off, or
 *   -EINVAL        an option or an environment variable is malformed; the log says which
 *   -ENOSPC        the folder's file system is full
 *   -EACCES, -ENOENT, -ENOTDIR, -ELOOP, ...  the folder can't be used, from the system call
 *   -EFBIG         the process may not make files of this size (RLIMIT_FSIZE)
 *   -EMFILE        8 taps are open in this process, or it is out of descriptors
 *   -ENOMEM, -ENOSYS  no memory; a kernel before 4.14
 * Cost: some milliseconds, shared memory for the dictionary (16 KiB at first) and no ring yet.
 */
KVTAP_API int kvtap_open(struct kvtap **tap, const struct kvtap_options *options);

/**
 * kvtap_close - finish the segment; the exporter takes what is left in it and removes it
 * @tap: given back; NULL is allowed
 *
 * Threads: no other thread may be in a call on the tap, and its ring handles end with it.
 */
KVTAP_API void kvtap_close(struct kvtap *tap);

/* ---- declaring ---------------------------------------------------------------------------- */

enum kvtap_metric { KVTAP_COUNTER = 1, KVTAP_GAUGE = 2, KVTAP_HISTOGRAM = 3 };

#define KVTAP_FAMILY_LAZY 1u /* a series has no sample before its first record; else it is 0 */

/*
 * What a gauge shows that several workers set, as in client_python's multiprocess mode: of the last
 * value of each worker. With LIVE a worker's value goes when the worker ends; without, it stays in.
 */
enum kvtap_gauge_mode {
	KVTAP_GAUGE_LIVEMOSTRECENT = 0, /* the latest by CLOCK_MONOTONIC */
	KVTAP_GAUGE_MOSTRECENT = 1,
	KVTAP_GAUGE_LIVESUM = 2,
	KVTAP_GAUGE_SUM = 3,
	KVTAP_GAUGE_LIVEMAX = 4,
	KVTAP_GAUGE_MAX = 5,
	KVTAP_GAUGE_LIVEMIN = 6,
	KVTAP_GAUGE_MIN = 7,
	KVTAP_GAUGE_LIVEALL = 8, /* a series for each worker, with its pid in a label pid */
	KVTAP_GAUGE_ALL = 9,
};

/* What a family's values are. Bytes and counts are whole numbers in the interval log. */
enum kvtap_unit {
	KVTAP_UNIT_NONE = 0,
	KVTAP_UNIT_SECONDS = 1,
	KVTAP_UNIT_BYTES = 2,
	KVTAP_UNIT_COUNT = 3,
	KVTAP_UNIT_RATIO = 4,
};

/* How the exporter's interval log sums up a connector's interval: the forms of vLLM's classes. */
enum kvtap_summary {
	KVTAP_SUMMARY_FAMILIES = 1, /* what its families got, each: OffloadingConnectorStats */
	KVTAP_SUMMARY_NIXL = 2,	    /* NixlKVConnectorStats */
	KVTAP_SUMMARY_MOONCAKE = 3, /* MooncakeKVConnectorStats */
	KVTAP_SUMMARY_MOONCAKE_STORE = 4, /* MooncakeStoreConnectorStats */
	KVTAP_SUMMARY_HF3FS = 5,	  /* HF3FSKVConnectorStats */
};

/* What a kind of transfer or a family is in the summary of its connector. */
enum kvtap_role {
	KVTAP_ROLE_NONE = 0,
	KVTAP_ROLE_TRANSFER = 1,	    /* kind */
	KVTAP_ROLE_RECEIVE = 2,		    /* kind, of which the failures are told */
	KVTAP_ROLE_SAVE = 3,		    /* kind */
	KVTAP_ROLE_LOAD = 4,		    /* kind */
	KVTAP_ROLE_OPERATION = 5,	    /* kind with the labels operation and status */
	KVTAP_ROLE_FAILED_NOTIFICATION = 6, /* counter */
	KVTAP_ROLE_EXPIRED_REQUEST = 7,	    /* counter */
};

struct kvtap_connector {
	const char *name; /* at most 255 bytes; as the log shows it beside others */
	enum kvtap_summary summary;
};

/**
 * kvtap_connector_declare - declare whose transfers are summed up together in the interval log
 * @tap:       borrowed
 * @id:        for the field connector of families and kinds of this tap; 0 on error
 * @connector: copied
 *
 * Declaring the same again gives the same id.
 *
 * Returns: 0, or -EINVAL (no name, an unknown summary), -E2BIG, -EEXIST (the name with another
 * summary), -ENOSPC, -ENODEV, -ENOMEM as kvtap_family_declare.
 */
KVTAP_API int kvtap_connector_declare(struct kvtap *tap, uint32_t *id,
				      const struct kvtap_connector *connector);

struct kvtap_family {
	const char *
		name; /* [a-zA-Z_:][a-zA-Z0-9_:]*, at most 255; a counter's _total may be left out */
	const char *help; /* at most 4096 bytes; NULL: none */
	enum kvtap_metric metric;
	uint32_t flags;			/* KVTAP_FAMILY_LAZY */
	const char *const *label_names; /* [label_count], beyond the constant labels */
	size_t label_count;		/* at most 16 */
	const double *bounds; /* [bound_count], histogram: increasing, finite; +Inf is implied */
	size_t bound_count;   /* at most 64 */
	enum kvtap_gauge_mode gauge_mode; /* of a gauge */
	enum kvtap_unit unit;
	uint32_t connector; /* id: the interval log shows it with this one's; 0: not */
	enum kvtap_role role;
};

/**
 * kvtap_family_declare - declare a counter, gauge or histogram family
 * @tap:    borrowed
 * @id:     the family's id, for this tap; 0 on error
 * @family: copied
 *
 * Declaring the same again gives the same id. If another worker's family of this name has another
 * metric or gauge mode, other bounds or labels, the exporter keeps the one it saw first and counts
 * the other.
 *
 * Returns: 0, or
 *   -EINVAL  a name outside the charset, a reserved label name ("le" in a histogram, "__...", a
 *            constant label, "pid" in a gauge that shows all), bounds out of order or not finite,
 *            bounds on another metric than a histogram, a gauge mode that is unknown or not a gauge's,
 *            an unknown unit, a connector that is not declared, a role that is not a counter's
 *   -E2BIG   too many labels or bounds, or a text that is too long
 *   -EEXIST  declared before on this tap with something else than help or unit changed
 *   -ENOSPC  the dictionary is full, or the file system is
 *   -ENODEV  the tap could not be opened
 *   -ENOMEM  no memory
 */
KVTAP_API int kvtap_family_declare(struct kvtap *tap, uint32_t *id,
				   const struct kvtap_family *family);

/* The value that a transfer gives to a family it feeds. Times are exposed in seconds. */
enum kvtap_field {
	KVTAP_FIELD_ONE = 1, /* 1 for each transfer */
	KVTAP_FIELD_BYTES = 2,
	KVTAP_FIELD_DESCRIPTORS = 3,
	KVTAP_FIELD_DURATION = 4,
	KVTAP_FIELD_SUBMIT = 5,
	KVTAP_FIELD_QUEUE = 6,
	KVTAP_FIELD_DEVICE = 7, /* duration - submit - queue, at least 0; if OVERLAPPED: duration */
	KVTAP_FIELD_FAILED_DESCRIPTORS = 8,
	KVTAP_FIELD_THROUGHPUT = 9, /* bytes a second, at most 2^64 - 1; a duration of 0 is 1 ns */
};

/* How a transfer ended. Others, up to 255, are failures of the caller's own. */
enum kvtap_status {
	KVTAP_OK = 0,
	KVTAP_FAILED = 1, /* for a reason that is none of the following, or unknown */
	KVTAP_TIMED_OUT = 2,
	KVTAP_PEER_LOST = 3, /* the peer is gone, or refused */
	KVTAP_NO_SPACE = 4,  /* where it should have gone */
	KVTAP_CANCELLED = 5,
};

/* For transfers of which status. */
enum kvtap_when {
	KVTAP_WHEN_OK = 0,
	KVTAP_WHEN_FAILED = 1,
	KVTAP_WHEN_ALWAYS = 2,
	KVTAP_WHEN_STATUS = 0x40, /* | status, 0 to 63: exactly this one */
	KVTAP_WHEN_FROM = 0x80,	  /* | status, 0 to 127: this one and those above it */
};

struct kvtap_feed {
	uint32_t family; /* id of a counter or histogram of this tap */
	enum kvtap_field field;
	uint32_t when; /* enum kvtap_when */
	/*
	 * [label_count of the family]: a fixed value, or NULL: the value of the kind's label of the
	 * same name. NULL as a whole: all by name.
	 */
	const char *const *fixed_values;
};

struct kvtap_kind {
	const char *name;		/* as a metric name; for messages and tools */
	const char *const *label_names; /* [label_count] */
	size_t label_count;
	const struct kvtap_feed *feeds; /* [feed_count], 1 to 32 */
	size_t feed_count;
	uint32_t connector; /* id: the interval log sums it up with this one's; 0: not */
	enum kvtap_role role;
};

/**
 * kvtap_kind_declare - declare a kind of transfer: which families one record feeds
 * @tap:  borrowed
 * @id:   the kind's id, for this tap; 0 on error
 * @kind: copied
 *
 * Returns: 0, or -EINVAL (an unknown family, field, condition or connector, a gauge, a role that is
 * not a kind's, a family's label that is neither fixed nor a label of the kind), -E2BIG, -EEXIST,
 * -ENOSPC, -ENODEV, -ENOMEM as kvtap_family_declare.
 */
KVTAP_API int kvtap_kind_declare(struct kvtap *tap, uint32_t *id, const struct kvtap_kind *kind);

/**
 * kvtap_family_series - the series of a family for these label values
 * kvtap_kind_series   - the same for all families of a kind
 * @tap:    borrowed
 * @series: what a record names; 0 on error: recording to 0 is a counted no-op
 * @family, @kind: id from the declaration
 * @label_values: [label_count], strings of at most 4096 bytes; bytes that are not UTF-8 are exposed
 *          as U+FFFD
 *
 * The same values give the same series.
 *
 * Returns: 0, -EINVAL (unknown id, label_count is not that of the declaration), -E2BIG, -ENOSPC,
 * -ENODEV, -ENOMEM.
 */
KVTAP_API int kvtap_family_series(struct kvtap *tap, uint32_t *series, uint32_t family,
				  const char *const *label_values, size_t label_count);
KVTAP_API int kvtap_kind_series(struct kvtap *tap, uint32_t *series, uint32_t kind,
				const char *const *label_values, size_t label_count);

/*
 * Built-in families, in groups as vLLM's connectors have them: names, labels, buckets and help are
 * vLLM's own. A group that is asked for in kvtap_options.groups is there from the start, as in vLLM:
 * NIXL's, HF3FS's and the deprecated families with series at 0, the others without a series.
 */
#define KVTAP_GROUP_OFFLOAD 0x01u	     /* vllm:kv_offload_{load,store,lookup,allocation}_* */
#define KVTAP_GROUP_OFFLOAD_DEPRECATED 0x02u /* the same by transfer_type */
#define KVTAP_GROUP_OFFLOAD_CPU 0x04u	     /* vllm:kv_offload_cpu_*, kv_offload_stores_skipped */
#define KVTAP_GROUP_TIERING 0x08u	     /* vllm:kv_offload_tiering_* */
#define KVTAP_GROUP_NIXL 0x10u		     /* vllm:nixl_* */
#define KVTAP_GROUP_MOONCAKE_STORE 0x20u     /* vllm:mooncake_store_* */
#define KVTAP_GROUP_HF3FS 0x40u		     /* vllm:hf3fs_* */
#define KVTAP_GROUP_KVTAP 0x80u /* kvtap_transfer_*, fed by the transfers of all groups */

/* Kinds of transfer. All other built-ins are families, by the names that vLLM gives them. */
#define KVTAP_OFFLOAD_LOAD "vllm:kv_offload_load"
#define KVTAP_OFFLOAD_STORE "vllm:kv_offload_store"
#define KVTAP_TIERING_READ "vllm:kv_offload_tiering_read"   /* promotions; label tier */
#define KVTAP_TIERING_WRITE "vllm:kv_offload_tiering_write" /* cascades; label tier */
#define KVTAP_NIXL_TRANSFER "vllm:nixl_transfer"
#define KVTAP_MOONCAKE_SEND "vllm:mooncake_send" /* families of the group KVTAP alone */
#define KVTAP_MOONCAKE_RECEIVE "vllm:mooncake_receive"
#define KVTAP_MOONCAKE_STORE "vllm:mooncake_store" /* labels operation, status */
#define KVTAP_HF3FS_SAVE "vllm:hf3fs_save"
#define KVTAP_HF3FS_LOAD "vllm:hf3fs_load"

/* NULL: not given. tier, peer and device may be given for any transfer, for the group KVTAP's families. */
struct kvtap_builtin_labels {
	const char *tier, *peer, *device, *operation, *status;
};

/**
 * kvtap_builtin - the series of a built-in family or kind of transfer
 * @tap:    borrowed
 * @series: what a record names; 0 on error
 * @name:   of a family without _total, or one of the kinds above
 * @labels: NULL: none
 *
 * Declares the group it belongs to, unless it was asked for at open. A kind feeds the families of
 * those groups that the tap has when the kind is asked for first.
 *
 * Returns: 0, -EINVAL (unknown name, a label that is missing or that it doesn't have), else as
 * kvtap_kind_declare.
 */
KVTAP_API int kvtap_builtin(struct kvtap *tap, uint32_t *series, const char *name,
			    const struct kvtap_builtin_labels *labels);

/* ---- recording ---------------------------------------------------------------------------- */

/*
 * duration_ns is the device's alone, as two events on a stream give it, and it worked while the caller
 * still submitted: submit_ns and queue_ns stand beside it, not inside.
 */
#define KVTAP_TRANSFER_OVERLAPPED 0x80u

/* One transfer: one cache line. */
struct kvtap_transfer {
	uint32_t series; /* of a kind */
	uint8_t status;	 /* enum kvtap_status */
	uint8_t flags;	 /* KVTAP_TRANSFER_*; other bits are 0 */
	uint8_t reserved0[2];
	uint64_t end_ns; /* CLOCK_MONOTONIC at completion; 0: now */
	uint64_t duration_ns;
	uint64_t submit_ns; /* part of duration: the caller's own post or submit call */
	uint64_t queue_ns;  /* part of duration: waiting before the device began */
	uint64_t bytes;
	uint32_t descriptors;
	uint32_t failed_descriptors; /* of descriptors */
	uint64_t request_id;	     /* request or job, 0 for none */
};

/**
 * kvtap_transfer - record one transfer, in the calling thread's ring
 * @tap:      borrowed
 * @transfer: copied
 *
 * When the ring is full (no exporter, or a slow one) the transfer is folded into the series' totals
 * and buckets in shared memory; nothing is lost but the single record.
 *
 * Returns: nothing.
 * Threads: any; wait-free. Signals: see the top of this file. Fork: see the top of this file.
 * Cost:    bench_record.
 */
KVTAP_API void kvtap_transfer(struct kvtap *tap, const struct kvtap_transfer *transfer);

/**
 * kvtap_add     - add to a counter;           @amount:  finite and not negative, else refused
 * kvtap_set     - set a gauge;                @value:   any, also NaN and infinities
 * kvtap_observe - observe into a histogram;   @value:   finite, else refused
 * @tap:    borrowed
 * @series: of a family of that metric; another one is refused by the exporter and counted there
 *
 * Refused values are counted (kvtap_stats). Sums keep about 100 bits. Of several threads that set a
 * gauge the latest by CLOCK_MONOTONIC wins; of several workers, see enum kvtap_gauge_mode. Returns, threads, signals, fork, cost: as kvtap_transfer.
 */
KVTAP_API void kvtap_add(struct kvtap *tap, uint32_t series, double amount);
KVTAP_API void kvtap_set(struct kvtap *tap, uint32_t series, double value);
KVTAP_API void kvtap_observe(struct kvtap *tap, uint32_t series, double value);

/**
 * kvtap_ring - the calling thread's ring, for the lowest cost a record
 * @tap: borrowed
 *
 * Returns: the handle, never NULL; valid for this thread until kvtap_close(), also in a fork child.
 */
KVTAP_API struct kvtap_ring *kvtap_ring(struct kvtap *tap);

/* The same as above, through the calling thread's own handle. */
KVTAP_API void kvtap_ring_transfer(struct kvtap_ring *ring, const struct kvtap_transfer *transfer);
KVTAP_API void kvtap_ring_add(struct kvtap_ring *ring, uint32_t series, double amount);
KVTAP_API void kvtap_ring_set(struct kvtap_ring *ring, uint32_t series, double value);
KVTAP_API void kvtap_ring_observe(struct kvtap_ring *ring, uint32_t series, double value);

/**
 * kvtap_ring_transfers - record a batch and publish it at once
 * @ring:      the calling thread's
 * @transfers: [count], copied
 *
 * A reader sees none of the batch before the call ends; SIGKILL inside it loses up to all of it.
 */
KVTAP_API void kvtap_ring_transfers(struct kvtap_ring *ring, const struct kvtap_transfer *transfers,
				    size_t count);

/* What this process could not deliver. All zero is health. */
struct kvtap_stats {
	uint64_t lost_records;	  /* no ring for the thread, or the overflow arena was full */
	uint64_t lost_bytes;	  /* carried by them */
	uint64_t refused_records; /* series 0, or a value that the metric can't take */
	uint64_t ignored_calls;	  /* records on a tap that could not be opened */
};

/**
 * kvtap_stats - read the tap's own counters
 * @tap:   borrowed
 * @stats: filled in; all zero for a tap that is switched off or NULL
 */
KVTAP_API void kvtap_stats(struct kvtap *tap, struct kvtap_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* KVTAP_H */
