/* SPDX-License-Identifier: Apache-2.0 */
/*
 * negotiate.h - what a client gets by its Accept and Accept-Encoding headers (RFC 9110, 12.5); pure
 *
 * Zero a struct, give it each of the request's headers in turn, then ask. Whatever a header holds,
 * there is an answer: text 0.0.4 when nothing fits, and never status 406.
 */
#ifndef KVTAP_EXPORTER_NEGOTIATE_H
#define KVTAP_EXPORTER_NEGOTIATE_H

#include <stdbool.h>
#include <stdint.h>

#include "publish.h"

enum offer { OFFER_TEXT, OFFER_OPENMETRICS, OFFER_TEXT_1, OFFER_PROTOBUF, OFFERS };

/* How much a client likes something, and how exactly it said so. */
struct liking {
	uint32_t weight; /* q in millionths */
	uint8_t exact;	 /* 0: not named; the most exact range counts */
};

struct accept {
	struct liking offer[OFFERS];
	uint8_t escaping[OFFERS]; /* the scheme that was asked for; 0: none */
};

void negotiate_accept(struct accept *accept, const char *header);
enum offer negotiate_offer(const struct accept *accept);
enum page_format negotiate_format(enum offer offer);

#define CONTENT_TYPE_BYTES 128
/* negotiate_type - the Content-Type of an offer: version, charset, and the escaping asked for */
void negotiate_type(char type[CONTENT_TYPE_BYTES], const struct accept *accept, enum offer offer);

struct accept_encoding {
	struct liking gzip, identity;
};

void negotiate_accept_encoding(struct accept_encoding *accept, const char *header);
/* negotiate_gzip - gzip is acceptable, and not liked less than the plain bytes */
bool negotiate_gzip(const struct accept_encoding *accept);
/* negotiate_needs_gzip - the plain bytes are refused, and gzip is not */
bool negotiate_needs_gzip(const struct accept_encoding *accept);

#endif
