/* SPDX-License-Identifier: Apache-2.0 */
/*
 * self.h - the exporter's own families, in the same table as the workers'
 *
 * They are declared first and are marked as the exporter's own, so no worker can take their names
 * or write into them. Totals outlive the workers that they came from. Only the drain thread calls.
 */
#ifndef KVTAP_EXPORTER_SELF_H
#define KVTAP_EXPORTER_SELF_H

#include <stdint.h>

#include "http.h"
#include "kvtap_reader.h"
#include "process.h"
#include "reduce.h"
#include "series.h"

/* id, metric, name, help; those with a label stand below */
#define SELF_FAMILIES(X)                                                                           \
	X(WORKERS, GAUGE, "kvtap_workers", "Workers whose segments are read.")                     \
	X(WORKERS_DEAD, COUNTER, "kvtap_workers_dead_total",                                       \
	  "Workers that ended without closing their segment.")                                     \
	X(WORKERS_CLOSED, COUNTER, "kvtap_workers_closed_total",                                   \
	  "Workers that closed their segment.")                                                    \
	X(RECORDS_DRAINED, COUNTER, "kvtap_records_drained_total", "Records taken out of rings.")  \
	X(RECORDS_FOLDED, COUNTER, "kvtap_records_folded_total",                                   \
	  "Records that workers folded into totals because a ring was full; they are in all "      \
	  "counts and sums.")                                                                      \
	X(RECORDS_LOST, COUNTER, "kvtap_records_lost_total",                                       \
	  "Records that workers had no ring and no overflow space for.")                           \
	X(LOST_BYTES, COUNTER, "kvtap_lost_bytes_total", "Transferred bytes of lost records.")     \
	X(RECORDS_IN_FLIGHT, GAUGE, "kvtap_records_in_flight",                                     \
	  "Records that waited in rings when the last pass began.")                                \
	X(RING_FILL_MAX, GAUGE, "kvtap_ring_fill_max_ratio",                                       \
	  "Highest share of a ring that was found in use since the exporter started.")             \
	X(CONFLICTS, COUNTER, "kvtap_declaration_conflicts_total",                                 \
	  "Declarations of workers that are not exposed because they contradict an earlier one.")  \
	X(SERIES, GAUGE, "kvtap_series", "Series that are exposed, the exporter's own included.")  \
	X(SERIES_REFUSED, COUNTER, "kvtap_series_refused_total",                                   \
	  "Series that have no place of their own because the exporter has no room for more.")     \
	X(DRAIN_SECONDS, HISTOGRAM, "kvtap_drain_duration_seconds",                                \
	  "Duration of a pass over all workers.")                                                  \
	X(PUBLISH_SECONDS, HISTOGRAM, "kvtap_publish_duration_seconds",                            \
	  "Duration of making and publishing a page.")                                             \
	X(CUT_TIMEOUTS, COUNTER, "kvtap_scrape_cut_timeouts_total",                                \
	  "Scrapes that were answered with an older page because the drain was busy.")             \
	X(STATE_BYTES, GAUGE, "kvtap_state_bytes", "Size of the state file.")                      \
	X(STATE_ERRORS, COUNTER, "kvtap_state_errors_total",                                       \
	  "Commits that failed, for want of room for the state file.")                             \
	X(OTHER_RECORDS, COUNTER, "kvtap_records_over_budget_total",                               \
	  "Records of series that the exporter has no room for, added to one series of their "     \
	  "family.")                                                                               \
	X(PUBLICATIONS, COUNTER, "kvtap_publications_total",                                       \
	  "How often the pages were brought up to date.")                                          \
	X(PAGES_SKIPPED, COUNTER, "kvtap_pages_skipped_total",                                     \
	  "Pages that stayed as they were because responses held all buffers.")                    \
	X(PAGES_BYTES, GAUGE, "kvtap_pages_memory_bytes",                                          \
	  "Memory for the pages of all formats and encodings.")                                    \
	X(INTERVAL_LINES_LOST, COUNTER, "kvtap_interval_lines_lost_total",                         \
	  "Lines of the interval log that could not be written.")                                  \
	X(HTTP_CONNECTIONS, GAUGE, "kvtap_http_connections", "Connections that are open.")         \
	X(HTTP_UNAUTHORIZED, COUNTER, "kvtap_http_unauthorized_total",                             \
	  "Requests without a right user and password.")                                           \
	X(WEB_CONFIG_GOOD, GAUGE, "kvtap_web_config_last_reload_successful",                       \
	  "Whether the web configuration was good when it was last read; 1 without one.")          \
	X(CPU_SECONDS, COUNTER, "process_cpu_seconds_total",                                       \
	  "Total user and system CPU time spent in seconds.")                                      \
	X(OPEN_FDS, GAUGE, "process_open_fds", "Number of open file descriptors.")                 \
	X(MAX_FDS, GAUGE, "process_max_fds", "Maximum number of open file descriptors.")           \
	X(VIRTUAL_BYTES, GAUGE, "process_virtual_memory_bytes", "Virtual memory size in bytes.")   \
	X(VIRTUAL_MAX_BYTES, GAUGE, "process_virtual_memory_max_bytes",                            \
	  "Maximum amount of virtual memory available in bytes.")                                  \
	X(RESIDENT_BYTES, GAUGE, "process_resident_memory_bytes",                                  \
	  "Resident memory size in bytes.")                                                        \
	X(START_SECONDS, GAUGE, "process_start_time_seconds",                                      \
	  "Start time of the process since unix epoch in seconds.")                                \
	X(THREADS, GAUGE, "process_threads", "Number of threads.")

enum self_id {
#define SELF_ENUM(id, metric, name, help) SELF_##id,
	SELF_FAMILIES(SELF_ENUM)
#undef SELF_ENUM
		SELF_COUNT
};

struct self {
	struct series_table *table;
	struct series *series[SELF_COUNT];
	uint64_t counted[SELF_COUNT]; /* by self_count() */
	struct series *refused[REFUSALS_COUNT];
	struct series *rejected[KVTAP_REJECT_COUNT];
	struct series *closed[CLOSE_REASON_COUNT];
	uint64_t closed_counted[CLOSE_REASON_COUNT];
	struct process process;
};

/* self_init - declare all; Returns: 0 or -ENOMEM */
int self_init(struct self *self, struct series_table *table);
/* self_add - to a counter */
void self_add(struct self *self, enum self_id id, uint64_t amount);
void self_add_refused(struct self *self, enum refusal reason, uint64_t records);
void self_add_rejected(struct self *self, enum kvtap_reject reason);
/* self_count - to a counter: what was counted elsewhere, in all, since this process began */
void self_count(struct self *self, enum self_id id, uint64_t total);
/* self_set - a gauge, or the process's own CPU time */
void self_set(struct self *self, enum self_id id, double value);
/* self_set_http - what is counted in HTTP's threads */
void self_set_http(struct self *self, struct http_counts counts);
void self_observe_ns(struct self *self, enum self_id id, uint64_t duration_ns);
/* self_update - read the process and the table, before a page is made */
void self_update(struct self *self);

#endif
