/* SPDX-License-Identifier: Apache-2.0 */
/*
 * family.h - the families of all workers, by name
 *
 * The first declaration of a name stays. One with another metric or gauge mode, other bounds or other
 * labels is a conflict, and so is one whose sample names (x_total; x_bucket, x_sum, x_count) are those
 * of another family. A family goes when it has no series and no open worker declares it; then the
 * name is free. Only the drain thread may call.
 */
#ifndef KVTAP_EXPORTER_FAMILY_H
#define KVTAP_EXPORTER_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block.h"
#include "budget.h"
#include "kvtap_reader.h"
#include "number.h"
#include "publish.h"

struct cds_lfht;
struct integer_buckets;
struct series;

/* How OpenMetrics shows it, where a counter's name is without _total, and more names are taken. */
enum family_shown { FAMILY_SHOWN, FAMILY_SHOWN_UNKNOWN, FAMILY_NOT_SHOWN };

struct family {
	char *name; /* as in HELP and TYPE; a counter's ends in _total */
	char *help; /* escaped; "" for none */
	uint8_t metric;
	uint8_t gauge_mode; /* enum kvtap_gauge_mode */
	bool lazy, own;
	bool conflict_logged;
	uint32_t labels, bounds;
	char **label;		  /* [labels] names, as declared */
	double *bound;		  /* [bounds] */
	char (*le)[NUMBER_BYTES]; /* [bounds + 1] as text; the last is +Inf */
	uint8_t *le_length;	  /* [bounds + 1] */
	uint32_t le_bytes;	  /* of the longest */
	uint32_t name_bytes;
	struct series *first, *last; /* in order of appearance */
	struct series *other; /* of first to last: for what is over a budget; NULL: none yet */
	uint32_t users;	      /* open workers that declare it */
	uint64_t layout;      /* another number whenever other lines are printed */
	uint64_t kept;	      /* the journal's item, 0: none */
	uint8_t shown;	      /* enum family_shown */
	/* of a histogram, by enum number_part: of its cells that transfers feed; NULL: none such yet */
	const struct integer_buckets *integers[NUMBER_DOUBLE];
	struct page_block block[PAGE_FORMATS];
};

struct families {
	struct family **family; /* [count] in order of first declaration */
	uint32_t count, room;
	uint64_t conflicts;
	struct budget taken; /* series included */
	struct budget_limits limits;
	struct budget reserve;	/* for series "other" */
	uint64_t layout;	/* the last number that was given to a family: each is given once */
	uint64_t members;	/* counts the families that came and went */
	bool unused;		/* a family may have lost its last series or user */
	struct cds_lfht *names; /* sample name -> family */
	/* told of each family before families_sweep removes it; or NULL */
	void (*removed)(void *context, struct family *family);
	void *context;
};

/* families_init - with budget_defaults, which the caller may change before the first declaration */
int families_init(struct families *families);
/* families_free - the series must be gone */
void families_free(struct families *families);

/**
 * family_declare - the family of a declaration
 * @view: its name and label names are in the charset, its bounds finite and increasing
 * @family: NULL on error
 * @budget: of the worker, for a new one; NULL: of the exporter itself: no worker may share it
 *
 * Returns: 0, -EEXIST: a conflict, which is counted; -ENOSPC: no budget; or -ENOMEM.
 */
int family_declare(struct family **family, struct families *families,
		   const struct kvtap_family_view *view, struct budget *budget);
/* family_find - the family that may print samples of this name, or NULL */
struct family *family_find(const struct families *families, const char *sample);
/* family_conflict - count one, and log it once for the family that stays */
void family_conflict(struct families *families, struct family *family, const char *with);
/* family_relayout - note that it prints other lines from now on */
void family_relayout(struct families *families, struct family *family);
/* family_feed - before transfers are reduced into a cell of it; false: no memory */
bool family_feed(struct family *family, const struct kvtap_cell *cell);
/* family_release - a worker that declared it has gone; it added itself to users */
void family_release(struct families *families, struct family *family);
/* families_sweep - remove families without series and users; Returns: whether there were any */
bool families_sweep(struct families *families);

#endif
