/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvtap_reader.h - read the segments of workers; all that a reader of segments includes
 *
 * A reader opens a segment by its name in the namespace's folder, takes records out of its rings,
 * sees what was folded into its overflow blocks, and judges whether its worker is alive. It maps
 * the segment read-only and writes only the tails file, so there must be one reader a namespace.
 *
 * All bytes of a segment are hostile input. Each is read once into private memory, checked there
 * and only then used; what fails a check is told as an enum kvtap_reject and never trusted. A file
 * that is truncated while it is mapped raises SIGBUS: kvtap_reader_guard() turns that into
 * KVTAP_REJECT_TRUNCATED from the call that met it.
 *
 * Results are 0 or a negative errno; -EPROTO says that *why names the reason.
 * Threads: not MT-safe on one reader; different readers are independent.
 * Signals, fork: none of these calls is async-signal-safe; a fork child must not use a reader.
 * Ownership: what the views point to belongs to the reader and lives until kvtap_reader_close().
 */
#ifndef KVTAP_READER_H
#define KVTAP_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kvtap.h"
#include "kvtap_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Why something was not trusted. The names are label values of the exporter: add, never change. */
#define KVTAP_REJECTS(X)                                                                           \
	X(NONE, "none")                                                                            \
	X(NOT_REGULAR, "not_regular") /* a symbolic link, a FIFO, a directory, ... */              \
	X(OWNER, "owner")	      /* of a user that may not write here */                      \
	X(HARD_LINK, "hard_link")     /* more than one name */                                     \
	X(SIZE, "size")		      /* not the size its header says, or beyond the limits */     \
	X(MAGIC, "magic")	      /* not a segment, or of the other byte order */              \
	X(VERSION, "version")	      /* another major layout version */                           \
	X(FEATURE, "feature")	      /* an incompatible feature this reader does not know */      \
	X(HEADER, "header")	      /* offsets, counts or sizes that contradict each other */    \
	X(TAILS, "tails")	      /* the tails file is missing or does not belong to it */     \
	X(DICTIONARY, "dictionary")   /* an entry that is malformed or refers to nothing */        \
	X(RING, "ring")		      /* a head that is behind or more than a ring ahead */        \
	X(OVERFLOW, "overflow")	      /* a block that is malformed */                              \
	X(TRUNCATED, "truncated")     /* the file shrank under the reader */                       \
	X(IO, "io")		      /* the file could not be opened or mapped */

enum kvtap_reject {
#define KVTAP_REJECT_ENUM(id, text) KVTAP_REJECT_##id,
	KVTAP_REJECTS(KVTAP_REJECT_ENUM)
#undef KVTAP_REJECT_ENUM
		KVTAP_REJECT_COUNT
};

/* kvtap_reject_text - the reason as a label value; static, never NULL */
KVTAP_API const char *kvtap_reject_text(enum kvtap_reject why);

/* ---- what a series feeds: shared by the fold in the worker and the reduction in a reader ----- */

/* One family that a record feeds, with the place of its cell in an overflow block. */
struct kvtap_cell {
	uint32_t family; /* id, from 1 */
	uint8_t metric;	 /* enum kvtap_metric */
	uint8_t field;	 /* enum kvtap_field; 0: the record's double value */
	uint8_t when;	 /* enum kvtap_when */
	uint8_t reserved;
	uint8_t first, last; /* status: what when says, to be asked without a branch */
	uint16_t word;	     /* of kvtap_block.word: sum or value, 2 words, then the buckets */
	uint32_t bounds;     /* finite bounds; bounds + 1 buckets follow the sum of a histogram */
	const double *bound; /* [bounds] */
	const uint64_t
		*limit; /* [bounds] smallest integer above bound[i], in the field's own unit */
};

struct kvtap_plan {
	uint32_t words; /* of a block, with word[0] */
	uint32_t cells;
	uint8_t op;	    /* enum kvtap_op that records of it have */
	uint8_t role;	    /* enum kvtap_role in its connector's summary; unknown ones are none */
	uint16_t connector; /* id; 0: none */
	struct kvtap_cell cell[KVTAP_FEEDS_MAX];
};

/* kvtap_field_value - the integer that a transfer gives to a field; no checks, no side effects */
KVTAP_API uint64_t kvtap_field_value(const struct kvtap_record *record, uint8_t field);
/* kvtap_field_unit - what one of it is worth when exposed: 1e-9 for times, else 1 */
KVTAP_API double kvtap_field_unit(uint8_t field);
/* kvtap_cell_takes - whether a transfer of this status feeds the cell */
KVTAP_API bool kvtap_cell_takes(const struct kvtap_cell *cell, uint8_t status);
/* kvtap_cell_bucket - index of the bucket of a value, 0 to bounds; bounds are inclusive (le) */
KVTAP_API uint32_t kvtap_cell_bucket(const struct kvtap_cell *cell, uint64_t value);
KVTAP_API uint32_t kvtap_cell_bucket_double(const struct kvtap_cell *cell, double value);

/* A sum: 128-bit integer (low word first) or double-double (high part first), see kvtap_block. */
struct kvtap_sum {
	uint64_t word[2];
};

KVTAP_API void kvtap_sum_add(struct kvtap_sum *sum, uint64_t value);
KVTAP_API void kvtap_sum_add_double(struct kvtap_sum *sum, double value);
/* kvtap_sum_advance - sum += now - before, where both are states of one growing sum */
KVTAP_API void kvtap_sum_advance(struct kvtap_sum *sum, const uint64_t now[2],
				 const uint64_t before[2], bool is_double);

/* ---- dictionary --------------------------------------------------------------------------- */

struct kvtap_text { /* bytes, not NUL-terminated, any bytes but bounded */
	const char *data;
	uint32_t bytes;
};

struct kvtap_family_view {
	struct kvtap_text name, help; /* name: checked against the charset */
	uint8_t metric, flags;
	uint8_t gauge_mode; /* enum kvtap_gauge_mode; of a newer minor version: the default */
	uint8_t unit;	    /* enum kvtap_unit; of a newer minor version: none */
	uint8_t role;	    /* enum kvtap_role; of a newer minor version: none */
	uint16_t connector; /* id; 0: none */
	uint16_t labels, bounds;
	const struct kvtap_text *label; /* [labels] names, checked */
	const double *bound;		/* [bounds] finite and increasing */
};

struct kvtap_connector_view {
	struct kvtap_text name; /* 1 to 255 bytes */
	uint8_t summary;	/* enum kvtap_summary; of a newer minor version: by families */
};

struct kvtap_series_view {
	const struct kvtap_plan *plan;
	/* the labels of the kind, or of the family of a scalar series */
	const struct kvtap_text *label; /* [labels] names */
	struct kvtap_text label_value[KVTAP_LABELS_MAX];
	uint16_t labels;
	/* label values of each cell's family: value[cell * KVTAP_LABELS_MAX + label] */
	struct kvtap_text value[KVTAP_FEEDS_MAX * KVTAP_LABELS_MAX];
};

/* ---- segment ------------------------------------------------------------------------------ */

struct kvtap_reader;

struct kvtap_identity {
	uint8_t uuid[16];
	uint32_t pid; /* in its own pid namespace */
	uint64_t start_ticks;
	uint32_t ring_slots, ring_max;
	uint32_t overflow_bytes; /* arena of one ring */
};

/**
 * kvtap_reader_guard - install the SIGBUS handler that reading needs, for the process, once
 *
 * A SIGBUS outside a reader's call goes to the handler that was there before.
 * Returns: 0 or the negative errno of sigaction(2).
 */
KVTAP_API int kvtap_reader_guard(void);

/**
 * kvtap_reader_open - open, check and map the segment NAME in the folder
 * @reader: owned by the caller; NULL on error
 * @why:    the reason when -EPROTO is returned
 * @folder: descriptor of the namespace's folder, borrowed for the reader's life
 * @name:   without a slash, ending in KVTAP_SEGMENT_SUFFIX
 *
 * Trusted owners: the caller's own user, the folder's owner, and, if the folder is writable to its
 * group but not to others, files of the folder's group.
 *
 * Returns: 0, -EPROTO, -ENOMEM, or -ENOENT if the file went away meanwhile.
 */
KVTAP_API int kvtap_reader_open(struct kvtap_reader **reader, enum kvtap_reject *why, int folder,
				const char *name);
KVTAP_API void kvtap_reader_close(struct kvtap_reader *reader);

KVTAP_API const struct kvtap_identity *kvtap_reader_identity(const struct kvtap_reader *reader);

/**
 * kvtap_reader_refresh - read what was declared since the last call
 * Returns: 0, -ENOMEM, or -EPROTO; then the reader keeps what it had and should be closed.
 */
KVTAP_API int kvtap_reader_refresh(struct kvtap_reader *reader, enum kvtap_reject *why);

/* Counts and views of what is declared; ids from 1 to the count, so index id - 1. */
KVTAP_API uint32_t kvtap_reader_constants(const struct kvtap_reader *reader);
KVTAP_API const struct kvtap_text *kvtap_reader_constant(const struct kvtap_reader *reader,
							 uint32_t index); /* [2]: name, value */
KVTAP_API uint32_t kvtap_reader_families(const struct kvtap_reader *reader);
KVTAP_API const struct kvtap_family_view *kvtap_reader_family(const struct kvtap_reader *reader,
							      uint32_t id);
/* kvtap_reader_connector - by an id from 1; NULL: no such */
KVTAP_API const struct kvtap_connector_view *
kvtap_reader_connector(const struct kvtap_reader *reader, uint32_t id);
KVTAP_API uint32_t kvtap_reader_series_count(const struct kvtap_reader *reader);
/* kvtap_reader_plan - what records of a series feed; NULL: no such series (yet) */
KVTAP_API const struct kvtap_plan *kvtap_reader_plan(const struct kvtap_reader *reader,
						     uint32_t id);
/* kvtap_reader_series - fill in the view of a declared series; false: no such series */
KVTAP_API bool kvtap_reader_series(const struct kvtap_reader *reader, uint32_t id,
				   struct kvtap_series_view *view);

/* kvtap_reader_rings - rings in use; 0 to ring_max, never shrinks */
KVTAP_API uint32_t kvtap_reader_rings(struct kvtap_reader *reader);

/**
 * kvtap_reader_fetch - copy the oldest records of a ring that were not committed yet
 * @ring:    index below kvtap_reader_rings()
 * @records: [capacity], filled
 * @capacity: at least 1
 * @pending: records that were there, whether or not they fitted; may be NULL
 *
 * The records are as the worker wrote them but for their sequence, which the caller checks with
 * kvtap_reader_position() + index: their series, op and values are not checked.
 *
 * Returns: the number copied, or -EPROTO: the ring is skipped to its head (KVTAP_REJECT_RING), or
 * the file was truncated.
 */
KVTAP_API ssize_t kvtap_reader_fetch(struct kvtap_reader *reader, enum kvtap_reject *why,
				     uint32_t ring, struct kvtap_record *records, size_t capacity,
				     uint64_t *pending);
/* kvtap_reader_position - index of the first record that the next fetch returns */
KVTAP_API uint64_t kvtap_reader_position(const struct kvtap_reader *reader, uint32_t ring);
/* kvtap_reader_take - the first count fetched records are taken: the next fetch goes on after them */
KVTAP_API void kvtap_reader_take(struct kvtap_reader *reader, uint32_t ring, size_t count);
/*
 * kvtap_reader_give_back - let the worker use the slots of all records that were taken
 *
 * Whoever has to survive its own death makes sure first that it remembers what it took.
 * Returns: 0, or -EPROTO: the tails file was truncated (KVTAP_REJECT_TRUNCATED).
 */
KVTAP_API int kvtap_reader_give_back(struct kvtap_reader *reader, uint32_t ring);

/* One overflow block: absolute words, and those that were applied before. */
struct kvtap_block_view {
	uint32_t series, words;
	uint32_t ring, offset;
	const uint64_t *now;	 /* [words], one consistent state; until the next call */
	const uint64_t *applied; /* [words], the state that was applied last; zeroes at first */
};

/**
 * kvtap_reader_block - the next overflow block of a ring
 * @cursor: 0 for the first; advanced
 *
 * With cursor 0 and no fold since the blocks were last read to the end, there is nothing to read.
 * Wait-free also against a worker that was stopped or killed inside a fold: the redo that it left
 * behind is applied to the copy.
 *
 * Returns: 1 and *block, 0 at the end, -EAGAIN if the block changes too fast to be copied (drain the
 * ring and try again; cursor is not advanced), -EPROTO, -ENOMEM.
 */
KVTAP_API int kvtap_reader_block(struct kvtap_reader *reader, enum kvtap_reject *why, uint32_t ring,
				 uint32_t *cursor, struct kvtap_block_view *block);

/* kvtap_reader_block_take - the caller has taken now - applied */
KVTAP_API void kvtap_reader_block_take(struct kvtap_reader *reader,
				       const struct kvtap_block_view *block);

/* What the worker itself could not deliver. */
struct kvtap_losses {
	uint64_t lost_records, lost_bytes, refused_records;
};

/**
 * kvtap_reader_losses - what was lost since the last call
 * Returns: 0, or -EPROTO: the file was truncated (KVTAP_REJECT_TRUNCATED).
 */
KVTAP_API int kvtap_reader_losses(struct kvtap_reader *reader, struct kvtap_losses *losses);

/*
 * Go on where an earlier reader of the segment stopped; before anything else is taken. A reader that
 * was just opened goes on after the records that were given back, and knows of no block and no loss.
 *
 * kvtap_reader_resume        - at this position of a ring; one that can't be is met by the next fetch
 * kvtap_reader_resume_block  - this much is applied of the block; false: there can't be such a block
 * kvtap_reader_resume_losses - this much was told, since the segment was made
 */
KVTAP_API void kvtap_reader_resume(struct kvtap_reader *reader, uint32_t ring, uint64_t position);
KVTAP_API bool kvtap_reader_resume_block(struct kvtap_reader *reader, uint32_t ring,
					 uint32_t offset, const uint64_t *applied, uint32_t words);
KVTAP_API void kvtap_reader_resume_losses(struct kvtap_reader *reader,
					  const struct kvtap_losses *told);
/* kvtap_reader_told - all losses that were told since the segment was made */
KVTAP_API struct kvtap_losses kvtap_reader_told(const struct kvtap_reader *reader);

/* A word of a segment that changes when its worker records or declares, and what was taken of it. */
struct kvtap_watch {
	const KVTAP_ATOMIC(uint64_t) * word;
	uint64_t taken;
};

/**
 * kvtap_reader_watch - all such words of a worker
 * @watch: [room]; what is written points into the reader's mapping and is valid until it is closed
 *
 * Returns: how many there are, also if there is no room for all of them.
 */
KVTAP_API size_t kvtap_reader_watch(const struct kvtap_reader *reader, struct kvtap_watch *watch,
				    size_t room);
/**
 * kvtap_watch_quiet - whether nothing was recorded or declared that was not taken then
 *
 * Threads: MT-safe, also while the readers are used, but not while one of them is closed.
 * Returns: false also if a file was truncated.
 */
KVTAP_API bool kvtap_watch_quiet(const struct kvtap_watch *watch, size_t count);

/**
 * kvtap_reader_quiet - whether all that its worker has recorded or declared is taken and told
 *
 * Then a pass over its dictionary, rings, blocks and losses finds nothing. Cost: two cache lines a ring.
 * Returns: false also if the file was truncated; a pass tells so.
 */
KVTAP_API bool kvtap_reader_quiet(const struct kvtap_reader *reader);

enum kvtap_life {
	KVTAP_ALIVE = 1,
	KVTAP_CLOSED = 2, /* ended cleanly */
	KVTAP_DEAD = 3,
};

/**
 * kvtap_reader_life - is the worker alive?
 * @thorough: also ask /proc where a beacon says alive (once in some seconds: an OOM-killed process
 *            can leave its beacon set)
 *
 * Closed cleanly: no. A beacon (robust mutex) held by a thread, or the POSIX lock on the segment:
 * yes, unless the process is known to be gone. Else, in the same pid namespace: yes if a process
 * with this pid and start time runs, is not a zombie without threads, and still maps the segment
 * (after exec it doesn't). Else: no.
 * Returns: enum kvtap_life.
 */
KVTAP_API enum kvtap_life kvtap_reader_life(struct kvtap_reader *reader, bool thorough);

/**
 * kvtap_reader_retire - mark a segment whose worker is not alive as no longer read
 *
 * To be followed by a last drain and kvtap_reader_unlink(). If a thread of the worker got a ring in
 * the meantime, the worker is alive: then drop the plan and go on reading.
 * Returns: true if the worker is still not alive.
 */
KVTAP_API bool kvtap_reader_retire(struct kvtap_reader *reader);
/* kvtap_reader_unlink - remove the segment and its tails from the folder */
KVTAP_API void kvtap_reader_unlink(struct kvtap_reader *reader);

/**
 * kvtap_reader_sweep - remove what workers that died while opening left in the folder
 *
 * Temporary files that nobody holds, and tails without a segment, both at least 2 s old.
 * Returns: the number of files removed, or a negative errno.
 */
KVTAP_API int kvtap_reader_sweep(int folder);

#ifdef __cplusplus
}
#endif

#endif /* KVTAP_READER_H */
