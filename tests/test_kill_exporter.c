/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_kill_exporter.c - SIGKILL of an exporter at every instruction of what changes its state
 *
 * A victim is worker and exporter at once: it records, and counts that in memory that outlives it,
 * then does some part of an exporter's work and is killed there. The next exporter has to come to
 * exactly these totals from what was left in the folder: not one record less or more.
 *
 *	KILL_POINTS=all make check T=kill_exporter
 */
#include "test.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../exporter/log.h"
#include "support_load.h"
#include "support_parts.h"
#include "support_segment.h"
#include "support_trace.h"

#define SHARDS 1

static struct load_truth *truth; /* shared with the victims, of which there is one at a time */
static struct parts victim;
static struct load load;
static uint64_t seed = 7;

/*
 * In the place of liburcu's: the tables of an exporter that serves many workers take much longer to
 * make than all the rest of a life here.
 */
struct cds_lfht *_cds_lfht_new(unsigned long first, unsigned long least, unsigned long most,
			       int flags, const struct cds_lfht_mm_type *mm,
			       const struct rcu_flavor_struct *flavor, pthread_attr_t *attr)
{
	static __typeof__(_cds_lfht_new) *real;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "_cds_lfht_new");
	(void)first;
	(void)least;
	(void)most;
	return real(64, 64, 64, flags, mm, flavor, attr);
}

static void record(uint64_t records)
{
	load_record(&load, truth, &seed, records);
}

static void open_load(void)
{
	struct kvtap_options options = small_options();

	options.engine = "0";
	load_open(&load, &options, SHARDS);
}

/*
 * As parts_begin() but for discover, which keeps nothing, and whose end waits long in the kernel. What
 * comes before the state is opened is apart, as it keeps nothing either.
 */
static void create(struct parts *exporter)
{
	*exporter = (struct parts){ 0 };
	CHECK_EQ(kvtap_reader_guard(), 0);
	CHECK_EQ(series_table_init(&exporter->table), 0);
	CHECK_EQ(self_init(&exporter->self, &exporter->table), 0);
	exporter->journal = journal_create(&exporter->table);
	CHECK(exporter->journal);
	exporter->drain =
		drain_create(&exporter->table, &exporter->self, exporter->journal, false, NULL);
	CHECK(exporter->drain);
}

static void open_state(struct parts *exporter)
{
	int folder = namespace_folder();
	char name[256];

	CHECK_EQ(journal_open(exporter->journal, folder), 0);
	if (find_segment(name, folder, 0))
		drain_offer(exporter->drain, folder, name, true);
	drain_sweep(exporter->drain, folder);
	close(folder);
}

static void open_and_pass(struct parts *exporter)
{
	open_state(exporter);
	drain_pass(exporter->drain, true);
}

static void begin(struct parts *exporter)
{
	create(exporter);
	open_and_pass(exporter);
}

static void end(struct parts *exporter)
{
	drain_destroy(exporter->drain);
	journal_destroy(exporter->journal);
	series_table_free(&exporter->table);
	text_free(&exporter->page);
}

/* The next life: to the end of the worker, which the kill has ended too. */
static struct page *next_page(struct parts *next)
{
	begin(next);
	while (next->self.series[SELF_WORKERS]->value > 0)
		drain_pass(next->drain, true);
	parts_render(next);
	return page_parse(next->page.data);
}

static void finish(struct parts *next, struct page *page, uint64_t records)
{
	CHECK_EQ(page_count(page, "kvtap_records_drained_total") +
			 page_count(page, "kvtap_records_folded_total"),
		 records);
	CHECK_EQ(page_count(page, "kvtap_records_lost_total"), 0);
	CHECK_EQ(page_count(page, "kvtap_workers_dead_total") +
			 page_count(page, "kvtap_workers_closed_total"),
		 1);
	page_free(page);
	end(next);
	remove_segments();
	memset(truth, 0, sizeof(*truth));
}

static void killed(pid_t pid)
{
	struct parts next;
	struct page *page = next_page(&next);

	(void)pid;
	load_check(page, "0", truth, SHARDS);
	finish(&next, page, truth->records);
}

static void run(const struct trace_scenario *scenario)
{
	if (trace_unavailable())
		SKIP("%s", trace_unavailable());
	log_set_level(LOG_LEVEL_ERROR);
	truth = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	CHECK(truth != MAP_FAILED);
	struct trace_result result = trace_kill(scenario);
	printf("kill points: %s %u, of them %u not in libc; %u and %u of these beside the recorded "
	       "instruction, %u left out; all totals exact\n",
	       scenario->name, result.points, result.own, result.beside, result.own_beside,
	       result.skipped);
	CHECK(result.points > 1000);
}

/* ---- a worker with few series, as making them is long and changes no state ---- */

static struct kvtap *tap;
static uint32_t counter, histogram, gauge;

static void few(uint64_t records)
{
	for (uint64_t i = 0; i < records; i++, truth->records++) {
		kvtap_add(tap, counter, 1);
		kvtap_observe(tap, histogram, 1);
	}
}

static void open_few(void)
{
	static const double bounds[] = { 1 };

	tap = small_tap();
	counter = counter_series(tap, "few");
	histogram = histogram_series(tap, "sizes", bounds, 1);
	gauge = gauge_series(tap, "level");
	kvtap_set(tap, gauge, 7);
}

static void killed_few(pid_t pid)
{
	struct parts next;
	struct page *page = next_page(&next);

	(void)pid;
	CHECK_EQ(page_count(page, "few_total"), truth->records);
	CHECK_EQ(page_count(page, "sizes_count"), truth->records);
	CHECK_EQ(page_count(page, "sizes_bucket{le=\"1.0\"}"), truth->records);
	CHECK(!page_find(page, "level")); /* went with its worker */
	finish(&next, page, 2 * truth->records + 1);
}

/* ---- draining ---- */

static void prepare_drain(void)
{
	open_few();
	few(1);
	begin(&victim);
	few(SMALL_SLOTS / 2);
}

static void act_drain(void)
{
	drain_pass(victim.drain, true);
}

TEST_TIMEOUT(kill_exporter_at_every_instruction_of_a_drain_of_values, 900)
{
	run(&(struct trace_scenario){ "exporter drain", prepare_drain, act_drain, NULL, killed_few,
				      0 });
}

/* What is there twice is folded. */
static void prepare_overflow(void)
{
	open_few();
	few(SMALL_SLOTS);
	begin(&victim);
	few(SMALL_SLOTS);
}

TEST_TIMEOUT(kill_exporter_at_every_instruction_of_an_overflow_take_over, 900)
{
	run(&(struct trace_scenario){ "exporter overflow", prepare_overflow, act_drain, NULL,
				      killed_few, 0 });
}

/* Of each kind and label that there is; most of these series are new to the state. */
static void prepare_load(void)
{
	open_load();
	record(2);
	begin(&victim);
	record(LOAD_SERIES(SHARDS));
}

TEST_TIMEOUT(kill_exporter_at_every_instruction_of_a_drain_of_all_kinds, 900)
{
	run(&(struct trace_scenario){ "exporter drain of all kinds", prepare_load, act_drain, NULL,
				      killed, 0 });
}

/* ---- a worker's end ---- */

/* Starts and ends are long: all of its points are for KILL_POINTS=all, and take some minutes. */
static uint32_t stride(uint32_t points)
{
	const char *asked = getenv("KILL_POINTS");

	return asked && !strcmp(asked, "all") ? 0 : points;
}

/* Another life, in which no worker was judged yet: it is then in the first pass. */
static void prepare_end(void)
{
	prepare_overflow();
	drain_pass(victim.drain, true);
	end(&victim);
	few(1);
	kvtap_close(tap);
	create(&victim);
	open_state(&victim);
}

static void act_end(void)
{
	drain_pass(victim.drain, true);
	CHECK(victim.self.series[SELF_WORKERS]->value == 0);
}

TEST_TIMEOUT(kill_exporter_at_every_instruction_of_a_workers_end, 900)
{
	run(&(struct trace_scenario){ "exporter worker's end", prepare_end, act_end, NULL,
				      killed_few, stride(10) });
}

/* ---- starting ---- */

static void prepare_first_start(void)
{
	open_few();
	few(SMALL_SLOTS);
	create(&victim);
}

static void act_start(void)
{
	open_and_pass(&victim);
}

TEST_TIMEOUT(kill_exporter_at_every_instruction_of_its_first_start, 900)
{
	run(&(struct trace_scenario){ "exporter first start", prepare_first_start, act_start, NULL,
				      killed_few, stride(10) });
}

static void prepare_recovery(void)
{
	prepare_first_start();
	open_and_pass(&victim);
	end(&victim);
	few(2);
	create(&victim);
}

TEST_TIMEOUT(kill_exporter_at_every_instruction_of_its_recovery, 3600)
{
	run(&(struct trace_scenario){ "exporter recovery", prepare_recovery, act_start, NULL,
				      killed_few, stride(40) });
}
