/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filler.h - a worker that fills its rings when it is told to, for benches of the drain
 *
 * A process with one thread a ring, all on the first CPU. What is recorded under a number is always
 * the same, so that a bench can work out what has to arrive. Kinds are those of vLLM's offloading and
 * of NIXL, as rows of the families that they feed.
 */
#ifndef KVTAP_FILLER_H
#define KVTAP_FILLER_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "kvtap.h"

#define FILLER_RINGS_MAX 256

/* A family that a kind feeds. */
struct filler_row {
	const char *family; /* without suffix */
	uint8_t metric;	    /* enum kvtap_metric */
	uint8_t field;	    /* enum kvtap_field */
	uint8_t when;	    /* enum kvtap_when */
	const double *bound;
	size_t bounds;
	const char *type; /* value of the label transfer_type; NULL: no such label */
};

struct filler_kind {
	const char *name;
	const char *builtin; /* NULL: one family, to which 1 is added */
	uint32_t groups;     /* KVTAP_GROUP_* */
	struct kvtap_connector connector;
	const struct filler_row *row;
	size_t rows;
};

extern const struct filler_kind filler_offload, filler_mirror, filler_nixl, filler_counter;

struct filler {
	const struct filler_kind *kind; /* NULL: plain memory, no tap */
	uint32_t series;		/* that records are scattered over */
	uint32_t rings;			/* up to FILLER_RINGS_MAX */
	uint32_t records;		/* a ring and turn: a ring's size */
	/* private, but for memory */
	pid_t pid;
	struct filler_turn *turn; /* shared with the process */
	uint8_t *memory;	  /* [rings * records] lines of 64 bytes, if kind is NULL */
};

/**
 * filler_start - start the process; kind, series, rings and records are set
 * @folder: KVTAP_DIR of its tap, in the namespace "default"
 *
 * Returns when all is declared. Ends the program on errors.
 */
void filler_start(struct filler *filler, const char *folder);
/* filler_fill - have each ring filled with its records; returns when they are */
void filler_fill(struct filler *filler);
void filler_stop(struct filler *filler);

/*
 * filler_transfer - what is recorded under a number, into which of count series; of the turns before
 * the n-th there are n * rings * records numbers from 0
 */
struct kvtap_transfer filler_transfer(uint64_t number, uint32_t *series, uint32_t count);
/* filler_value - what a transfer gives to a field of a row */
uint64_t filler_value(const struct kvtap_transfer *transfer, uint8_t field);

#endif
