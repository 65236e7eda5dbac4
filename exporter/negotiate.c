/* SPDX-License-Identifier: Apache-2.0 */
/*
 * negotiate.c - what a client gets by its Accept and Accept-Encoding headers (RFC 9110, 12.5); pure
 *
 * A list of elements "token;parameter=value;q=0.5" is taken apart in place of strcmp(3): clients
 * differ in spaces, in the digits of a weight, and in the order of parameters. An element that is
 * malformed counts for nothing, the others are read on.
 */
#include "negotiate.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WEIGHT_ONE 1000000u
#define SPACES " \t"

/* A piece of a header. */
struct span {
	const char *at;
	size_t bytes;
};

struct parameter {
	struct span name, value;
};

/* What a media range says beside its type. */
struct range {
	struct span type;
	struct span version, proto, encoding, escaping;
	uint32_t weight;
	uint8_t parameters; /* that are not q */
};

static const struct {
	const char *type, *version, *proto, *encoding;
	enum page_format format;
	const char *content_type;
} offers[OFFERS] = {
	[OFFER_TEXT] = { "text/plain", "0.0.4", NULL, NULL, PAGE_TEXT,
			 "text/plain; version=0.0.4; charset=utf-8" },
	[OFFER_OPENMETRICS] = { "application/openmetrics-text", "1.0.0", NULL, NULL,
				PAGE_OPENMETRICS,
				"application/openmetrics-text; version=1.0.0; charset=utf-8" },
	[OFFER_TEXT_1] = { "text/plain", "1.0.0", NULL, NULL, PAGE_TEXT,
			   "text/plain; version=1.0.0; charset=utf-8" },
	[OFFER_PROTOBUF] = { "application/vnd.google.protobuf", NULL,
			     "io.prometheus.client.MetricFamily", "delimited", PAGE_PROTOBUF,
			     "application/vnd.google.protobuf; "
			     "proto=io.prometheus.client.MetricFamily; encoding=delimited" },
};

/* All names that are served are the same under each of these; index 0 is none. */
static const char *const escapings[] = { "", "allow-utf-8", "underscores", "dots", "values" };
#define ESCAPINGS (sizeof(escapings) / sizeof(escapings[0]))
#define ESCAPING_DEFAULT "underscores"

/* ---- lists ---- */

static bool span_is(struct span span, const char *text)
{
	return span.bytes == strlen(text) && strncasecmp(span.at, text, span.bytes) == 0;
}

static struct span trim(const char *at, const char *end)
{
	while (at < end && strchr(SPACES, *at))
		at++;
	while (end > at && strchr(SPACES, end[-1]))
		end--;
	return (struct span){ at, (size_t)(end - at) };
}

/* Where a piece ends: at one of stops outside of quotation marks, or at the end. */
static const char *piece_end(const char *at, const char *end, const char *stops)
{
	bool quoted = false;

	for (; at < end; at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (quoted && *at == '\\' && at + 1 < end)
			at++;
		else if (!quoted && strchr(stops, *at))
			break;
	}
	return at;
}

/* Cuts the next piece off rest; false when there is none. */
static bool next_piece(struct span *rest, struct span *piece, const char *stops)
{
	const char *end = rest->at + rest->bytes;

	if (!rest->at || rest->at > end)
		return false;
	const char *stop = piece_end(rest->at, end, stops);
	*piece = trim(rest->at, stop);
	/* past the stop; behind the last piece there is not even an empty one */
	*rest = stop < end ? (struct span){ stop + 1, (size_t)(end - stop - 1) }
			   : (struct span){ NULL, 0 };
	return true;
}

static struct parameter split_parameter(struct span piece)
{
	const char *end = piece.at + piece.bytes, *sign = piece_end(piece.at, end, "=");
	struct parameter parameter = { .name = trim(piece.at, sign) };

	if (sign == end)
		return parameter;
	parameter.value = trim(sign + 1, end);
	struct span *value = &parameter.value;
	if (value->bytes >= 2 && value->at[0] == '"' && value->at[value->bytes - 1] == '"')
		*value = (struct span){ value->at + 1, value->bytes - 2 };
	return parameter;
}

/* 0 to 1 with any number of digits, in millionths; what is above 1 is 1. False: no number. */
static bool parse_weight(uint32_t *weight, struct span text)
{
	uint32_t whole = 0, part = 0, unit = WEIGHT_ONE;
	size_t i = 0, digits = 0;

	for (; i < text.bytes && text.at[i] >= '0' && text.at[i] <= '9'; i++, digits++)
		whole = whole || text.at[i] != '0';
	if (i < text.bytes && text.at[i] == '.')
		for (i++; i < text.bytes && text.at[i] >= '0' && text.at[i] <= '9'; i++, digits++)
			part += (uint32_t)(text.at[i] - '0') * (unit /= 10);
	*weight = whole ? WEIGHT_ONE : part;
	return digits && i == text.bytes;
}

static bool take_parameter(struct range *range, struct parameter parameter)
{
	if (span_is(parameter.name, "q"))
		return parse_weight(&range->weight, parameter.value);
	if (span_is(parameter.name, ""))
		return true;
	range->parameters++;
	if (span_is(parameter.name, "version"))
		range->version = parameter.value;
	else if (span_is(parameter.name, "proto"))
		range->proto = parameter.value;
	else if (span_is(parameter.name, "encoding"))
		range->encoding = parameter.value;
	else if (span_is(parameter.name, "escaping"))
		range->escaping = parameter.value;
	return true;
}

/* The next element of a list that is well-formed; false at the end. */
static bool next_range(struct span *rest, struct range *range)
{
	struct span element, piece;

	while (next_piece(rest, &element, ",")) {
		bool good = true;

		*range = (struct range){ .weight = WEIGHT_ONE };
		next_piece(&element, &range->type, ";");
		while (good && next_piece(&element, &piece, ";"))
			good = take_parameter(range, split_parameter(piece));
		if (good && range->type.bytes)
			return true;
	}
	return false;
}

static struct span whole(const char *header)
{
	return (struct span){ header, strlen(header) };
}

/* ---- Accept ---- */

static bool fits(struct span said, const char *offered)
{
	return !said.at || (offered && span_is(said, offered));
}

/* How exactly a range names an offer: 1 for any type, 2 for a main type, then by parameters; 0: not */
static uint8_t exactness(const struct range *range, enum offer offer)
{
	const char *type = offers[offer].type;
	size_t main_bytes = (size_t)(strchr(type, '/') - type) + 1;

	if (span_is(range->type, "*/*"))
		return 1;
	if (range->type.bytes == main_bytes + 1 && range->type.at[main_bytes] == '*' &&
	    strncasecmp(range->type.at, type, main_bytes) == 0)
		return 2;
	if (!span_is(range->type, type) || !fits(range->version, offers[offer].version) ||
	    !fits(range->proto, offers[offer].proto) ||
	    !fits(range->encoding, offers[offer].encoding))
		return 0;
	return range->parameters < 100 ? (uint8_t)(3 + range->parameters) : 103;
}

static uint8_t escaping_of(struct span said)
{
	for (uint8_t i = 1; i < ESCAPINGS; i++)
		if (said.at && span_is(said, escapings[i]))
			return i;
	return 0;
}

void negotiate_accept(struct accept *accept, const char *header)
{
	struct span rest = whole(header);
	struct range range;

	while (next_range(&rest, &range)) {
		for (int offer = 0; offer < OFFERS; offer++) {
			uint8_t exact = exactness(&range, (enum offer)offer);

			if (exact <= accept->offer[offer].exact)
				continue;
			accept->offer[offer] = (struct liking){ range.weight, exact };
			accept->escaping[offer] = escaping_of(range.escaping);
		}
	}
}

/* Of two that are liked the same, the one that was named more exactly, then the first in the table. */
enum offer negotiate_offer(const struct accept *accept)
{
	enum offer best = OFFER_TEXT;

	for (int offer = 1; offer < OFFERS; offer++) {
		const struct liking *this = &accept->offer[offer], *other = &accept->offer[best];

		if (this->weight > other->weight ||
		    (this->weight && this->weight == other->weight && this->exact > other->exact))
			best = (enum offer)offer;
	}
	return best;
}

enum page_format negotiate_format(enum offer offer)
{
	return offers[offer].format;
}

void negotiate_type(char type[CONTENT_TYPE_BYTES], const struct accept *accept, enum offer offer)
{
	const char *escaping = escapings[accept->escaping[offer]];

	if (offer == OFFER_TEXT_1 && !*escaping)
		escaping = ESCAPING_DEFAULT;
	bool escaped = *escaping && (offer == OFFER_TEXT_1 || offer == OFFER_OPENMETRICS);
	snprintf(type, CONTENT_TYPE_BYTES, "%s%s%s", offers[offer].content_type,
		 escaped ? "; escaping=" : "", escaped ? escaping : "");
}

/* ---- Accept-Encoding ---- */

static void like(struct liking *liking, uint8_t exact, uint32_t weight)
{
	if (exact > liking->exact)
		*liking = (struct liking){ weight, exact };
}

void negotiate_accept_encoding(struct accept_encoding *accept, const char *header)
{
	struct span rest = whole(header);
	struct range range;

	while (next_range(&rest, &range)) {
		bool any = span_is(range.type, "*");

		if (any || span_is(range.type, "gzip") || span_is(range.type, "x-gzip"))
			like(&accept->gzip, any ? 1 : 2, range.weight);
		if (any || span_is(range.type, "identity"))
			like(&accept->identity, any ? 1 : 2, range.weight);
	}
}

bool negotiate_gzip(const struct accept_encoding *accept)
{
	return accept->gzip.weight && accept->gzip.weight >= accept->identity.weight;
}

bool negotiate_needs_gzip(const struct accept_encoding *accept)
{
	return accept->gzip.weight && accept->identity.exact && !accept->identity.weight;
}
