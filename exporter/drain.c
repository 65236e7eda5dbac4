/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain.c - take records out of all workers and reduce them; judge which workers are alive
 *
 * For each worker: its dictionary, then each ring and after it the ring's overflow blocks. Records
 * are copied in batches, reduced, committed, and only then given back. What fails a check is counted by reason
 * and told once a worker: a bad ring or block is skipped, a bad dictionary or a truncated file ends
 * the worker (its file stays, discover does not offer it again).
 */
#include "drain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "clock.h"
#include "fresh.h"
#include "log.h"
#include "worker.h"

#define WORKERS_MAX 4096
#define BATCHES_A_PASS 16    /* of one ring, when not all is asked for */
#define RECORDS_A_SERIES 512 /* that are reduced in ten times the time of keeping one series */
#define BLOCK_TRIES 8
#define LIFE_NS (250 * CLOCK_MS)
#define THOROUGH_NS (5000 * CLOCK_MS)

struct drain {
	struct series_table *table;
	struct self *self;
	struct journal *journal;
	struct fresh *fresh;
	bool rank_label;
	struct intervals *intervals;
	struct worker *worker[WORKERS_MAX];
	uint32_t workers;
	uint64_t life_due, thorough_due;
	/* of the pass that runs */
	uint64_t taken, folded, in_flight;
	uint64_t committed; /* of taken */
	bool all, changed;
	double fill; /* of the fullest ring */
	double fill_max;
	struct batch batch;
};

struct drain *drain_create(struct series_table *table, struct self *self, struct journal *journal,
			   bool rank_label, struct intervals *intervals)
{
	struct drain *drain = calloc(1, sizeof(*drain));

	if (!drain)
		return NULL;
	drain->table = table;
	drain->self = self;
	drain->journal = journal;
	drain->rank_label = rank_label;
	drain->intervals = intervals;
	drain->fresh = fresh_create();
	if (drain->fresh)
		return drain;
	free(drain);
	return NULL;
}

void drain_destroy(struct drain *drain)
{
	fresh_destroy(drain->fresh);
	for (uint32_t i = 0; i < drain->workers; i++) {
		progress_close(drain->worker[i]->progress);
		worker_close(drain->worker[i], drain->table);
	}
	free(drain);
}

/* ---- what is wrong ------------------------------------------------------------------------ */

/* Count a reason once a worker. Returns: 0 if reading can go on, else -EPROTO. */
static int reject(struct drain *drain, struct worker *worker, enum kvtap_reject why)
{
	bool goes_on = why == KVTAP_REJECT_RING || why == KVTAP_REJECT_OVERFLOW;

	if (!(worker->rejected & 1u << why)) {
		worker->rejected |= 1u << why;
		drain->changed = true;
		self_add_rejected(drain->self, why);
		log_warn(goes_on ? "Skipped a part of a segment" : "Gave up a segment", "segment",
			 worker->name, "reason", kvtap_reject_text(why));
	}
	return goes_on ? 0 : -EPROTO;
}

/*
 * What to do about the result of a reader's call. Returns: 0 if reading can go on, -EPROTO, or
 * -ENOMEM: nothing may be taken now, and all of it in another pass. (What has no room in the state is
 * -ENOSPC: the same for a ring.)
 */
static int judge(struct drain *drain, struct worker *worker, int rc, enum kvtap_reject why)
{
	if (rc == -EPROTO)
		return reject(drain, worker, why);
	return rc == -ENOMEM ? rc : 0;
}

static int refresh(struct drain *drain, struct worker *worker)
{
	enum kvtap_reject why = KVTAP_REJECT_NONE;
	uint32_t families = worker->families, targets = worker->targets;
	int rc = worker_refresh(worker, &why, drain->table);

	drain->changed |= worker->families != families || worker->targets != targets;
	return judge(drain, worker, rc, why);
}

/* ---- rings -------------------------------------------------------------------------------- */

/*
 * Reduce the first *count records of the batch; the dictionary may have grown meanwhile. Returns: 0,
 * or what ended it after *count records.
 */
static int reduce_batch(struct drain *drain, struct worker *worker, uint32_t ring, uint32_t *count)
{
	uint64_t position = kvtap_reader_position(worker->reader, ring);
	struct batch *batch = &drain->batch;
	int rc = 0;

	batch_begin(batch);
	uint32_t sorted = batch_sort(batch, worker, position, 0, *count, false);
	if (sorted < *count) {
		rc = refresh(drain, worker);
		if (rc)
			*count = sorted;
		else
			batch_sort(batch, worker, position, sorted, *count, true);
	}
	batch_reduce(batch, worker);
	for (int i = 1; i < REFUSALS_COUNT; i++)
		if (batch->refused[i])
			self_add_refused(drain->self, i, batch->refused[i]);
	self_add(drain->self, SELF_RECORDS_DRAINED, *count);
	drain->taken += *count;
	return rc;
}

static void note_fill(struct drain *drain, const struct worker *worker, uint64_t pending)
{
	double fill = (double)pending / kvtap_reader_identity(worker->reader)->ring_slots;

	drain->in_flight += pending;
	if (fill > drain->fill)
		drain->fill = fill;
}

/* Let a worker write over the records that are committed. */
static int give_back(struct drain *drain, struct worker *worker)
{
	int rc = 0;

	while (worker->moves && !rc)
		rc = kvtap_reader_give_back(worker->reader, worker->moved[--worker->moves]);
	return rc ? reject(drain, worker, KVTAP_REJECT_TRUNCATED) : 0;
}

static int commit(struct drain *drain, struct worker *worker)
{
	if (!journal_commit(drain->journal))
		return -ENOSPC;
	drain->committed = drain->taken;
	return give_back(drain, worker);
}

static void take(struct worker *worker, uint32_t ring, size_t count)
{
	kvtap_reader_take(worker->reader, ring, count);
	progress_ring(worker->progress, ring);
	if (!worker->moves || worker->moved[worker->moves - 1] != ring)
		worker->moved[worker->moves++] = ring;
}

/*
 * Whether the ring gets its room back now: a commit writes each series that changed, whole, which is
 * to cost little beside the records that it is for.
 */
static bool commit_due(const struct drain *drain)
{
	uint64_t changed = drain->table->changed.count;

	return drain->taken - drain->committed >= changed * RECORDS_A_SERIES;
}

/* Take what a ring had when it was first looked at. */
static int drain_ring(struct drain *drain, struct worker *worker, uint32_t ring)
{
	enum kvtap_reject why = KVTAP_REJECT_NONE;
	uint64_t pending = 0, left = UINT64_MAX;

	if (journal_stuck(drain->journal) || progress_room_ring(worker->progress, ring))
		return -ENOSPC; /* it folds, until there is room to note what is taken */
	for (int batches = 0; left && (drain->all || batches < BATCHES_A_PASS); batches++) {
		ssize_t count = kvtap_reader_fetch(worker->reader, &why, ring, drain->batch.record,
						   BATCH_RECORDS, &pending);

		if (count < 0)
			return judge(drain, worker, (int)count, why);
		if (left == UINT64_MAX) {
			left = pending;
			note_fill(drain, worker, pending);
		}
		if (count == 0)
			break;
		uint32_t reduced = (uint32_t)count;
		int rc = reduce_batch(drain, worker, ring, &reduced);
		take(worker, ring, reduced);
		if (!rc && reduced == BATCH_RECORDS && commit_due(drain))
			rc = commit(drain, worker);
		if (rc)
			return rc;
		left -= left < reduced ? left : reduced;
	}
	return 0;
}

/* ---- overflow ----------------------------------------------------------------------------- */

static int apply_block(struct drain *drain, struct worker *worker,
		       const struct kvtap_block_view *block)
{
	size_t bytes = block->words * sizeof(*block->now);
	const struct reduce_target *target = worker_target(worker, block->series);

	if (!memcmp(block->now, block->applied, bytes))
		return 0;
	if (journal_stuck(drain->journal))
		return -ENOSPC;
	if (!target) {
		int rc = refresh(drain, worker);
		if (rc)
			return rc;
		target = worker_target(worker, block->series);
	}
	if (!target || target->plan->words != block->words)
		return reject(drain, worker, KVTAP_REJECT_OVERFLOW);
	int room = progress_room_block(worker->progress, block);
	if (room)
		return room == -EPROTO ? reject(drain, worker, KVTAP_REJECT_OVERFLOW) : room;
	uint64_t records = block->now[0] - block->applied[0];
	enum refusal refusal = reduce_block(target, block->now, block->applied);
	if (refusal == REFUSE_VALUE)
		return reject(drain, worker, KVTAP_REJECT_OVERFLOW);
	if (refusal)
		self_add_refused(drain->self, refusal, records);
	kvtap_reader_block_take(worker->reader, block);
	progress_block(worker->progress, block);
	self_add(drain->self, SELF_RECORDS_FOLDED, records);
	drain->folded += records;
	return 0;
}

static int drain_overflow(struct drain *drain, struct worker *worker, uint32_t ring)
{
	enum kvtap_reject why = KVTAP_REJECT_NONE;
	struct kvtap_block_view block;
	uint32_t cursor = 0;
	int tries = 0, rc;

	while ((rc = kvtap_reader_block(worker->reader, &why, ring, &cursor, &block))) {
		if (rc == -EAGAIN && ++tries < BLOCK_TRIES)
			rc = drain_ring(drain, worker,
					ring); /* room in the ring ends the folding */
		else if (rc == 1)
			rc = apply_block(drain, worker, &block);
		else
			return judge(drain, worker, rc, why);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- workers ------------------------------------------------------------------------------ */

static int drain_losses(struct drain *drain, struct worker *worker)
{
	struct kvtap_losses losses;
	int rc = kvtap_reader_losses(worker->reader, &losses);

	if (rc)
		return judge(drain, worker, rc, KVTAP_REJECT_TRUNCATED);
	self_add(drain->self, SELF_RECORDS_LOST, losses.lost_records);
	self_add(drain->self, SELF_LOST_BYTES, losses.lost_bytes);
	self_add_refused(drain->self, REFUSE_WORKER, losses.refused_records);
	if (losses.lost_records || losses.lost_bytes || losses.refused_records) {
		progress_losses(worker->progress);
		drain->changed = true;
	}
	return 0;
}

static int drain_worker(struct drain *drain, struct worker *worker)
{
	uint32_t rings = kvtap_reader_rings(worker->reader);
	int rc = refresh(drain, worker), full = 0;

	if (!rc && !journal_stuck(drain->journal)) /* no longer: of a pass whose commit failed */
		rc = give_back(drain, worker);
	for (uint32_t ring = 0; ring < rings && !rc; ring++) {
		rc = drain_ring(drain, worker, ring);
		if (!rc)
			rc = drain_overflow(drain, worker, ring);
		if (rc == -ENOSPC) {
			full = rc; /* of this ring; others may have their room */
			rc = 0;
		}
	}
	int committed = commit(drain, worker);
	return rc ? rc : committed ? committed : full;
}

/* Nothing to take, to take over, to tell or to give back, whatever a pass over it would do. */
static bool is_quiet(const struct worker *worker)
{
	return !worker->moves && worker->families == kvtap_reader_families(worker->reader) &&
	       worker->targets == kvtap_reader_series_count(worker->reader) &&
	       kvtap_reader_quiet(worker->reader);
}

static int visit(struct drain *drain, struct worker *worker, bool losses)
{
	int rc = drain_worker(drain, worker);

	if (!rc && losses)
		rc = drain_losses(drain, worker);
	journal_commit(drain->journal);
	return rc;
}

/* Its progress was forgotten or closed before. */
static void remove_worker(struct drain *drain, uint32_t index)
{
	fresh_clear(drain->fresh); /* scrapes may look into the segment */
	worker_end(drain->worker[index], drain->table);
	drain->worker[index] = drain->worker[--drain->workers];
	drain->changed = true;
}

/*
 * End a worker that is not alive. Returns: 0 if it stays: it is alive after all, because a thread of
 * a process that had been taken for dead came back, or there was no room to take all it left.
 */
static int finish(struct drain *drain, uint32_t index, enum kvtap_life life)
{
	struct worker *worker = drain->worker[index];
	bool all = drain->all;

	if (!kvtap_reader_retire(worker->reader))
		return 0;
	drain->all = true;
	int rc = drain_worker(drain, worker);
	if (!rc)
		rc = drain_losses(drain, worker);
	drain->all = all;
	if (rc && rc != -EPROTO)
		return 0;
	progress_end(worker->progress);
	self_add(drain->self, life == KVTAP_CLOSED ? SELF_WORKERS_CLOSED : SELF_WORKERS_DEAD, 1);
	if (!journal_commit(drain->journal))
		return 0;
	kvtap_reader_unlink(worker->reader);
	progress_forget(worker->progress);
	log_info(life == KVTAP_CLOSED ? "Worker closed" : "Worker died", "segment", worker->name);
	remove_worker(drain, index);
	return 1;
}

/* Returns: whether the worker is still at index. */
static bool judge_life(struct drain *drain, uint32_t index, bool thorough)
{
	enum kvtap_life life = kvtap_reader_life(drain->worker[index]->reader, thorough);

	return life == KVTAP_ALIVE || !finish(drain, index, life);
}

/* Go on where the last commit has left the worker. Returns: true: needs no other offer. */
static bool take_in(struct drain *drain, struct worker *worker)
{
	bool ended = false;

	fresh_clear(drain->fresh); /* what it has recorded is not on the page */
	worker->progress = progress_begin(journal_progress(drain->journal), worker->name,
					  worker->reader, &ended);
	if (!worker->progress) {
		worker_close(worker, drain->table);
		return false;
	}
	if (ended) { /* killed between the commit of its end and the removal of its files */
		kvtap_reader_unlink(worker->reader);
		progress_forget(worker->progress);
		worker_end(worker, drain->table);
		return true;
	}
	drain->worker[drain->workers++] = worker;
	drain->changed = true;
	log_info("Worker found", "segment", worker->name);
	return true;
}

bool drain_offer(void *context, int folder, const char *name, bool first)
{
	struct drain *drain = context;
	struct worker *worker;
	enum kvtap_reject why = KVTAP_REJECT_NONE;

	for (uint32_t i = 0; i < drain->workers; i++)
		if (!strcmp(drain->worker[i]->name, name))
			return false; /* replaced while it is read: after that worker's end */
	if (drain->workers == WORKERS_MAX) {
		if (first)
			log_error("Too many workers; a segment has to wait", "segment", name);
		return false;
	}
	int rc = worker_open(&worker, &why, folder, name, drain->rank_label, drain->intervals);
	if (!rc)
		return take_in(drain, worker);
	if (rc == -EPROTO && first) {
		drain->changed = true;
		self_add_rejected(drain->self, why);
		log_warn("Rejected a segment", "segment", name, "reason", kvtap_reject_text(why));
	}
	if (rc != -EPROTO && rc != -ENOENT && first)
		log_error("Can't open a segment", "segment", name, "error", strerror(-rc));
	/* what may pass is offered again: a descriptor too few, a second name that goes away */
	return rc == -EINVAL ||
	       (rc == -EPROTO && why != KVTAP_REJECT_IO && why != KVTAP_REJECT_HARD_LINK);
}

static void count_pass(struct drain *drain, uint64_t began_ns)
{
	struct self *self = drain->self;

	if (drain->fill > drain->fill_max)
		drain->fill_max = drain->fill;
	self_set(self, SELF_RECORDS_IN_FLIGHT, (double)drain->in_flight);
	self_set(self, SELF_RING_FILL_MAX, drain->fill_max);
	self_set(self, SELF_WORKERS, drain->workers);
	self_observe_ns(self, SELF_DRAIN_SECONDS, clock_ns() - began_ns);
}

static bool due(uint64_t *at, uint64_t now, uint64_t interval)
{
	if (now < *at)
		return false;
	*at = now + interval;
	return true;
}

static void worker_gone(void *context, const uint8_t uuid[16])
{
	struct drain *drain = context;

	drain->changed |= series_end_worker(drain->table, uuid);
}

void drain_stale(struct drain *drain)
{
	fresh_clear(drain->fresh);
}

void drain_sweep(struct drain *drain, int folder)
{
	progress_sweep(journal_progress(drain->journal), folder, worker_gone, drain);
}

bool drain_pass(struct drain *drain, bool all)
{
	uint64_t now = clock_ns();
	bool life = due(&drain->life_due, now, LIFE_NS);
	bool thorough = due(&drain->thorough_due, now, THOROUGH_NS);

	if (journal_stuck(drain->journal))
		journal_commit(drain->journal);
	drain->taken = drain->committed = drain->folded = drain->in_flight = 0;
	drain->fill = 0;
	drain->all = all;
	for (uint32_t i = 0; i < drain->workers;) {
		struct worker *worker = drain->worker[i];
		int rc = is_quiet(worker) ? 0 : visit(drain, worker, all || life);

		if (rc == -EPROTO) {
			progress_close(worker->progress);
			remove_worker(drain, i);
		} else if (rc || !(life || thorough) || judge_life(drain, i, thorough)) {
			i++;
		}
	}
	count_pass(drain, now);
	drain->changed |= series_expire(drain->table, now);
	journal_commit(drain->journal);
	bool changed = drain->changed || drain_took(drain);
	drain->changed = false;
	return changed;
}

bool drain_took(const struct drain *drain)
{
	return drain->taken || drain->folded;
}

double drain_fill(const struct drain *drain)
{
	return drain->folded ? 1 : drain->fill;
}

static size_t watch_workers(const struct drain *drain, struct kvtap_watch *watch, size_t room)
{
	size_t count = 0;

	for (uint32_t i = 0; i < drain->workers; i++) {
		size_t left = count < room ? room - count : 0;

		count += kvtap_reader_watch(drain->worker[i]->reader, left ? watch + count : NULL,
					    left);
	}
	return count;
}

void drain_published(struct drain *drain, uint64_t until_ns)
{
	size_t count = watch_workers(drain, NULL, 0);
	struct kvtap_watch *watch = calloc(count + 1, sizeof(*watch));

	if (watch)
		watch_workers(drain, watch, count);
	fresh_set(drain->fresh, watch, count, until_ns);
}

bool drain_fresh(struct drain *drain)
{
	return fresh_now(drain->fresh);
}
