/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exemplar.h - one slow transfer that stands for its histogram
 *
 * Of each histogram the slowest transfer that names a request is kept, and shown on the page until
 * a window has gone by; then the slowest since takes its place, if there was any. Windows are the
 * same for all series, so that a family changes its lines at most once in a window. An exemplar is
 * not part of the totals: it does not outlive the exporter.
 */
#ifndef KVTAP_EXPORTER_EXEMPLAR_H
#define KVTAP_EXPORTER_EXEMPLAR_H

#include <stdbool.h>
#include <stdint.h>

#include "kvtap_layout.h"
#include "publish.h"

#define EXEMPLAR_WINDOW_NS 15000000000ull

struct exemplar {
	uint64_t request_id; /* 0: none */
	uint64_t duration_ns;
	double value;	 /* that the histogram observed */
	uint64_t end_ns; /* CLOCK_MONOTONIC; once shown: since the epoch */
	uint32_t bucket; /* that it was counted in */
};

struct exemplars {
	struct exemplar slowest; /* since shown was */
	struct exemplar shown;
	uint64_t window;	      /* in which shown appeared */
	uint16_t bytes[PAGE_FORMATS]; /* that it takes in the family's block; 0: it is not there */
};

/* exemplar_offer - a transfer was observed: on the way of each record */
static inline void exemplar_offer(struct exemplars *exemplars, const struct kvtap_record *record,
				  double value, uint32_t bucket)
{
	struct exemplar *slowest = &exemplars->slowest;

	if (!record->request_id ||
	    (slowest->request_id && record->duration_ns <= slowest->duration_ns))
		return;
	*slowest = (struct exemplar){ .request_id = record->request_id,
				      .duration_ns = record->duration_ns,
				      .value = value,
				      .end_ns = record->end_ns,
				      .bucket = bucket };
}

/**
 * exemplar_turn - show the slowest, if its time has come
 * @now_ns: CLOCK_MONOTONIC
 * @real_ns: the same moment since the epoch
 *
 * Returns: whether another is shown now.
 */
static inline bool exemplar_turn(struct exemplars *exemplars, uint64_t now_ns, uint64_t real_ns)
{
	struct exemplar *slowest = &exemplars->slowest;
	uint64_t window = now_ns / EXEMPLAR_WINDOW_NS;

	if (!slowest->request_id || (exemplars->shown.request_id && exemplars->window == window))
		return false;
	exemplars->shown = *slowest;
	exemplars->window = window;
	*slowest = (struct exemplar){ 0 };
	/* a worker may say anything: what is not in the past ends now */
	uint64_t ago_ns = now_ns > exemplars->shown.end_ns ? now_ns - exemplars->shown.end_ns : 0;
	exemplars->shown.end_ns = real_ns > ago_ns ? real_ns - ago_ns : 0;
	return true;
}

#endif
