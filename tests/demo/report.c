/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c - the tables and the lines of the scrape, for a terminal of 80 to 100 columns
 *
 * What is equal is decided in compare.c; here it is only said.
 */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare.h"

const char *print_number(uint64_t value)
{
	static char buffers[8][32];
	static unsigned int next;
	char *at = buffers[next++ % 8] + 31;
	int digits = 0;

	*at = '\0';
	do {
		if (digits++ % 3 == 0 && digits > 1)
			*--at = ',';
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return at;
}

static const char *seconds(uint64_t ns)
{
	static char buffers[4][32];
	static unsigned int next;
	char *text = buffers[next++ % 4];

	snprintf(text, sizeof(buffers[0]), "%" PRIu64 ".%09" PRIu64, ns / NS_PER_SECOND,
		 ns % NS_PER_SECOND);
	return text;
}

static const char *verdict(uint64_t a, uint64_t b)
{
	return a == b ? "equal" : "DIFFERS";
}

/* ---- offload: a row for each worker ------------------------------------------------------- */

struct offload_columns {
	const char *title;
	enum family_id bytes, time, size;
};

static void print_row(const char *name, const struct totals *totals,
		      const struct offload_columns *columns)
{
	printf("  %-34s %12s %18s %15s\n", name, print_number(totals->count[columns->size]),
	       print_number(totals->sum[columns->bytes]), seconds(totals->sum[columns->time]));
}

static void print_offload(const struct report *report, const struct comparison *comparison,
			  const struct offload_columns *columns)
{
	const struct totals *a = &comparison->counted, *b = &comparison->scraped;

	printf("\n%-36s %12s %18s %15s\n", columns->title, "transfers", "bytes", "seconds");
	for (size_t i = 0; i < report->count; i++) {
		const struct counted *worker = &report->workers[i];
		struct totals totals = { 0 };
		char name[64];

		if (strcmp(worker->role, "offload"))
			continue;
		truth_total(worker->truth, &totals);
		snprintf(name, sizeof(name), "offload %u (pid %d%s)", worker->rank, worker->pid,
			 worker->killed	     ? ", killed"
			 : worker->restarted ? ", restarted"
					     : "");
		print_row(name, &totals, columns);
	}
	print_row(comparison->arrived ? "sum, with what was in flight" : "sum of the workers", a,
		  columns);
	print_row("the scrape, engine=\"" OFFLOAD_ENGINE "\"", b, columns);
	printf("  %-34s %12s %18s %15s\n", "",
	       verdict(a->count[columns->size], b->count[columns->size]),
	       verdict(a->sum[columns->bytes], b->sum[columns->bytes]),
	       a->on_device && b->sum[columns->time] <= a->sum[columns->time]
		       ? "no more"
		       : verdict(a->sum[columns->time], b->sum[columns->time]));
}

static void print_device(const struct report *report)
{
	const struct truth *truth = NULL;

	for (size_t i = 0; i < report->count && !truth; i++)
		if (!strcmp(report->workers[i].role, "offload"))
			truth = report->workers[i].truth;
	if (truth && truth->on_device)
		printf("\n  GPU: %s. Blocks went between its memory and pinned host memory; the "
		       "scrape's seconds\n  are what it took by its own clock, the workers' how "
		       "long they waited for it.\n",
		       truth->device);
	else if (truth)
		printf("\n  No GPU (%s): both sides of stores and loads are host memory.\n",
		       truth->device);
}

/* ---- pair: a row for each number ---------------------------------------------------------- */

static void print_pair_row(const char *name, const char *counted, const char *scraped)
{
	printf("  %-34s %18s %18s   %s\n", name, counted, scraped,
	       strcmp(counted, scraped) ? "DIFFERS" : "equal");
}

static void print_pair(const struct comparison *comparison)
{
	const struct totals *a = &comparison->counted, *b = &comparison->scraped;
	static const struct {
		enum family_id id;
		const char *name;
	} sums[] = {
		{ PULL_BYTES, "bytes" },
		{ PULL_DESCRIPTORS, "descriptors" },
		{ PULL_TIME, "transfer seconds" },
		{ PULL_POST_TIME, "of these, post seconds" },
		{ PULL_FAILED, "failed transfers" },
		{ FAILED_NOTIFICATIONS, "failed notifications" },
		{ EXPIRED_REQUESTS, "expired requests (prefill)" },
	};

	printf("\n%-36s %18s %18s\n", "PULL  prefill -> decode", "the workers", "the scrape");
	print_pair_row("transfers", print_number(a->count[PULL_BYTES]),
		       print_number(b->count[PULL_BYTES]));
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
		enum family_id id = sums[i].id;

		if (families[id].unit == NS_PER_SECOND)
			print_pair_row(sums[i].name, seconds(a->sum[id]), seconds(b->sum[id]));
		else
			print_pair_row(sums[i].name, print_number(a->sum[id]),
				       print_number(b->sum[id]));
	}
}

/* Returns: whether decode got what prefill wrote. */
static bool print_checked(const struct report *report)
{
	uint64_t checked = 0, wrong = 0;
	bool through_file = false;

	for (size_t i = 0; i < report->count; i++) {
		checked += report->workers[i].truth->bytes_checked;
		wrong += report->workers[i].truth->bytes_wrong;
		through_file |= report->workers[i].truth->through_file;
	}
	printf("  Decode compared all %s bytes with what prefill wrote: %s wrong.\n",
	       print_number(checked), print_number(wrong));
	if (through_file)
		printf("  process_vm_readv is not allowed here: decode read the file behind the "
		       "pool.\n");
	return !wrong;
}

static void print_verdict(const struct comparison *comparison)
{
	printf("\n");
	if (comparison->in_flight)
		printf("%u in flight when killed: of these, %u had arrived in the scrape.\n",
		       comparison->in_flight, comparison->arrived);
	if (comparison->lost_records)
		printf("%s records were lost or refused by the workers' taps.\n",
		       print_number(comparison->lost_records));
	if (comparison->differences) {
		printf("%u of %u numbers (counts, sums, buckets) are NOT equal:\n",
		       comparison->differences, totals_cells());
		compare_print_differences(comparison);
		return;
	}
	printf("EQUAL: all %u numbers of the scrape (counts, sums to the nanosecond, buckets) are "
	       "what\n"
	       "the workers counted%s.\n",
	       totals_cells() - (comparison->counted.on_device ? 2 : 0),
	       comparison->killed ? ", the killed one among them" : "");
	if (comparison->counted.on_device)
		printf("Not among them: the seconds of stores and loads, which the GPU alone "
		       "knows. "
		       "They are above 0\nand no more than the workers waited.\n");
}

/* ---- throughput and latency --------------------------------------------------------------- */

static void print_speed(const struct report *report, const struct comparison *comparison,
			const char *name, enum event_kind kind, enum family_id bytes,
			enum family_id time, enum family_id count)
{
	const struct totals *totals = &comparison->counted;
	uint64_t slots[LATENCY_SLOTS] = { 0 };
	double ns = (double)totals->sum[time], transfers = (double)totals->count[count];

	for (size_t i = 0; i < report->count; i++)
		truth_latency(report->workers[i].truth, kind, slots);
	if (totals->count[count] == 0)
		return;
	printf("  %-24s %8.2f %10.2f %10.1f %9.2f %8.2f %8.2f\n", name,
	       (double)totals->sum[bytes] / report->seconds / 1e9, (double)totals->sum[bytes] / ns,
	       (double)totals->sum[bytes] / transfers / 1e6, ns / transfers / 1e6,
	       latency_percentile(slots, 0.5) / 1e6, latency_percentile(slots, 0.9) / 1e6);
}

static void print_speeds(const struct report *report, const struct comparison *comparison)
{
	printf("\n%-26s %8s %10s %10s %9s %8s %8s\n", "SPEED", "all GB/s", "each GB/s", "mean MB",
	       "mean ms", "P50 ms", "P90 ms");
	print_speed(report, comparison, "store GPU -> CPU", EVENT_STORE, STORE_BYTES, STORE_TIME,
		    STORE_SIZE);
	print_speed(report, comparison, "load  CPU -> GPU", EVENT_LOAD, LOAD_BYTES, LOAD_TIME,
		    LOAD_SIZE);
	print_speed(report, comparison, "pull  prefill -> decode", EVENT_PULL, PULL_BYTES,
		    PULL_TIME, PULL_BYTES);
	printf("  all: bytes over %.1f s of wall time; each: while one transfer runs; P50 and P90 "
	       "from\n"
	       "  the workers' own histograms (slots of 6 to 12 %%), not from the scraped "
	       "buckets.\n",
	       report->seconds);
}

/* ---- the scrape --------------------------------------------------------------------------- */

static void print_lines(const struct scrape *scrape, const char *start, int limit)
{
	size_t length = strlen(start);

	for (const char *line = scrape->text; limit && line && *line;) {
		if (!strncmp(line, start, length)) {
			printf("  %.*s\n", (int)strcspn(line, "\n"), line);
			limit--;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
}

static void print_scrape(const struct report *report)
{
	static const struct {
		const char *start;
		int limit;
	} lines[] = {
		{ "# HELP vllm:kv_offload_load_bytes_total", 1 },
		{ "# TYPE vllm:kv_offload_load_bytes_total", 1 },
		{ "vllm:kv_offload_load_bytes_total{", 1 },
		{ "vllm:kv_offload_load_time_total{", 1 },
		{ "vllm:kv_offload_store_bytes_total{", 1 },
		{ "vllm:kv_offload_store_time_total{", 1 },
		{ "# TYPE vllm:kv_offload_store_size", 1 },
		{ "vllm:kv_offload_store_size_bucket{", 3 },
		{ "vllm:kv_offload_store_size_sum{", 1 },
		{ "vllm:kv_offload_store_size_count{", 1 },
		{ "vllm:nixl_xfer_time_seconds_sum{engine=\"" DECODE_ENGINE, 1 },
		{ "vllm:nixl_xfer_time_seconds_count{engine=\"" DECODE_ENGINE, 1 },
		{ "vllm:nixl_num_failed_transfers_total{engine=\"" DECODE_ENGINE, 1 },
		{ "vllm:nixl_num_kv_expired_reqs_total{engine=\"" PREFILL_ENGINE, 1 },
		{ "kvtap_transfer_device_seconds_sum{connector=\"Nixl", 1 },
		{ "kvtap_transfer_failures_total{", 1 },
		{ "kvtap_workers_dead_total", 1 },
		{ "kvtap_records_drained_total", 1 },
	};

	printf("\nSome lines of the scrape (%s bytes in %.1f ms):\n",
	       print_number(report->scrape->bytes), report->scrape->took_ms);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		print_lines(report->scrape, lines[i].start, lines[i].limit);
}

bool report_print(const struct report *report)
{
	static const struct offload_columns store = { "STORE  GPU -> CPU", STORE_BYTES, STORE_TIME,
						      STORE_SIZE };
	static const struct offload_columns load = { "LOAD  CPU -> GPU", LOAD_BYTES, LOAD_TIME,
						     LOAD_SIZE };
	struct comparison comparison;

	compare(&comparison, report);
	print_offload(report, &comparison, &store);
	print_offload(report, &comparison, &load);
	print_device(report);
	print_pair(&comparison);
	bool right = print_checked(report);
	print_speeds(report, &comparison);
	print_scrape(report);
	print_verdict(&comparison);
	return right && !comparison.differences && !comparison.lost_records;
}
