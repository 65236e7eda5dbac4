/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_slow.h - a page that fits into no socket buffer, and a client that leaves it there
 *
 * While a response is in flight, an exporter that was told to stop goes on serving the connections
 * that it has. A request on one of them gets the page of its last pass: what is final.
 */
#ifndef KVTAP_TESTS_SUPPORT_SLOW_H
#define KVTAP_TESTS_SUPPORT_SLOW_H

#include "kvtap.h"
#include "support_exporter.h"

/* ballast_open - a worker whose series make the page bigger than 10 MB */
struct kvtap *ballast_open(void);

struct slow {
	int reading; /* a scrape whose body is not read */
	int waiting; /* a connection that was accepted, without a request */
};

/* slow_begin - a scrape of which no more than the first byte is taken, and the other connection */
void slow_begin(struct slow *slow, const struct exporter *exporter);
/* slow_last - the page now, over the waiting connection; to be freed */
char *slow_last(struct slow *slow);
/* slow_end - take the rest of the first scrape, whole to the byte; to be freed */
char *slow_end(struct slow *slow);

#endif
