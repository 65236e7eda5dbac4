/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scraper.h - a scrape as a client sees it: keep-alive, raw sockets, reads of 1 MB
 *
 * What a client library costs is not in the figures: of the answer only the head is looked at. Who
 * closes the connection is connected to again, before the clock starts.
 */
#ifndef KVTAP_BENCH_SCRAPER_H
#define KVTAP_BENCH_SCRAPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum format { FORMAT_TEXT, FORMAT_OPENMETRICS, FORMAT_PROTOBUF, FORMATS };

extern const char *const format_name[FORMATS];
extern const char *const format_type[FORMATS]; /* the media type of an answer in it */

struct scraper {
	uint16_t port; /* on 127.0.0.1 */
	enum format format;
	bool gzip,
		reconnect; /* ask for gzip; a connection of its own for each scrape, in its time */
	/* private */
	int fd; /* 0: not connected */
	char *buffer;
};

struct answer {
	uint64_t ns; /* from the first byte written to the last byte read */
	int status;
	bool asked; /* has the format and encoding that was asked for */
	char type[128];
	size_t bytes; /* of the body */
	char *body; /* [bytes], NUL-terminated, the caller's to free; NULL unless asked to keep it */
};

/* scraper_get - GET /metrics; Returns: false: no connection, or no whole answer came */
bool scraper_get(struct scraper *scraper, struct answer *answer, bool keep);
/* scraper_page - the body of a GET that must be a 200; bench_fail otherwise; to be freed */
char *scraper_page(struct scraper *scraper, size_t *bytes);
void scraper_close(struct scraper *scraper);

/* scraper_connect - to a port on loopback, from a source address, 0: any; -1: refused */
int scraper_connect(uint16_t port, uint32_t source);

#endif
