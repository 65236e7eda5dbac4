/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare.c - equal to the last nanosecond, or not
 *
 * A killed worker may have been inside a record, at most one a thread. Each such event is known in
 * full; it may be in the scrape or not, but as a whole: the scrape has to be equal to the committed
 * totals plus some of these events in every number at once.
 */
#include "compare.h"

#include <inttypes.h>
#include <stdio.h>

struct difference {
	enum family_id id;
	const char *what;
	uint64_t counted, scraped;
};

/*
 * What a device took is known to nobody else: longer than nothing, and no longer than the worker
 * waited for it, by its own clock.
 */
static bool device_time(const struct totals *counted, const struct totals *scraped,
			enum family_id id)
{
	return counted->on_device && (id == STORE_TIME || id == LOAD_TIME) &&
	       scraped->sum[id] <= counted->sum[id] && (scraped->sum[id] || !counted->sum[id]);
}

/* Calls print, if there is one, for each number that is not equal. Returns: how many. */
static uint32_t differences(const struct totals *a, const struct totals *b,
			    void (*print)(const struct difference *))
{
	uint32_t count = 0;

	for (int id = 0; id < FAMILY_COUNT; id++) {
		struct difference cells[2 + BUCKETS_MAX] = {
			{ id, "sum", a->sum[id], b->sum[id] },
			{ id, "count", a->count[id], b->count[id] },
		};
		for (int i = 0; i < BUCKETS_MAX; i++)
			cells[2 + i] = (struct difference){ id, "bucket", a->bucket[id][i],
							    b->bucket[id][i] };
		for (int i = 0; i < 2 + BUCKETS_MAX; i++) {
			if (cells[i].counted == cells[i].scraped || device_time(a, b, id))
				continue;
			count++;
			if (print)
				print(&cells[i]);
		}
	}
	return count;
}

/* Of all choices of events that may have arrived, take the one that fits best. */
static void choose_arrived(struct comparison *comparison, const struct event *events)
{
	struct totals committed = comparison->counted;

	comparison->differences = UINT32_MAX;
	for (uint32_t choice = 0; choice < 1u << comparison->in_flight; choice++) {
		struct totals totals = committed;

		for (uint32_t i = 0; i < comparison->in_flight; i++) {
			if (choice >> i & 1)
				totals_apply(&totals, &events[i]);
		}
		uint32_t count = differences(&totals, &comparison->scraped, NULL);
		if (count < comparison->differences) {
			comparison->differences = count;
			comparison->counted = totals;
			comparison->arrived = (uint32_t)__builtin_popcount(choice);
		}
	}
}

void compare(struct comparison *comparison, const struct report *report)
{
	struct event events[THREADS_MAX];

	*comparison = (struct comparison){ 0 };
	scrape_totals(report->scrape, &comparison->scraped);
	for (size_t i = 0; i < report->count; i++) {
		const struct counted *worker = &report->workers[i];

		truth_total(worker->truth, &comparison->counted);
		comparison->counted.on_device |= worker->truth->on_device;
		comparison->lost_records += worker->truth->stats.lost_records +
					    worker->truth->stats.refused_records +
					    worker->truth->stats.ignored_calls;
		if (!worker->killed)
			continue;
		comparison->killed = true;
		comparison->in_flight = (uint32_t)truth_in_flight(worker->truth, events);
	}
	choose_arrived(comparison, events);
}

static void print_difference(const struct difference *difference)
{
	const struct family *family = &families[difference->id];

	printf("  DIFFERS %s{engine=\"%s\"} %s: workers %" PRIu64 ", scrape %" PRIu64 "\n",
	       family->name, family->engine, difference->what, difference->counted,
	       difference->scraped);
}

void compare_print_differences(const struct comparison *comparison)
{
	differences(&comparison->counted, &comparison->scraped, print_difference);
}
