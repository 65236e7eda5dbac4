/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format_protobuf.c - io.prometheus.client.MetricFamily, each after its length
 *
 * A histogram has its buckets with bounds and its native ones in one message. All that changes has a
 * fixed width: doubles have eight bytes, counts are varints of ten, of which most say nothing, and
 * lengths that are known only later have five. The fields of a message may stand in any order, so
 * what changes stands together: a series' numbers are written over in one walk.
 */
#include "format.h"

#include <endian.h>
#include <string.h>

#define COUNT_BYTES 10 /* of a varint for 64 bits */
#define LENGTH_BYTES 5 /* of a varint for 35 */
#define DOUBLE_BYTES 8

enum wire { VARINT = 0, FIXED64 = 1, MESSAGE = 2 };

/* Field numbers of the messages, as in metrics.proto. */
enum field {
	FAMILY_NAME = 1,
	FAMILY_HELP = 2,
	FAMILY_TYPE = 3,
	FAMILY_METRIC = 4,
	METRIC_LABEL = 1,
	METRIC_GAUGE = 2,
	METRIC_COUNTER = 3,
	METRIC_HISTOGRAM = 7,
	LABEL_NAME = 1,
	LABEL_VALUE = 2,
	SCALAR_VALUE = 1,
	COUNTER_START = 3,
	HISTOGRAM_COUNT = 1,
	HISTOGRAM_SUM = 2,
	HISTOGRAM_BUCKET = 3,
	HISTOGRAM_SCHEMA = 5,
	HISTOGRAM_ZERO_THRESHOLD = 6,
	HISTOGRAM_ZERO_COUNT = 7,
	HISTOGRAM_NEGATIVE_SPAN = 9,
	HISTOGRAM_NEGATIVE_DELTA = 10,
	HISTOGRAM_POSITIVE_SPAN = 12,
	HISTOGRAM_POSITIVE_DELTA = 13,
	HISTOGRAM_START = 15,
	BUCKET_COUNT = 1,
	BUCKET_BOUND = 2,
	BUCKET_EXEMPLAR = 3,
	SPAN_OFFSET = 1,
	SPAN_LENGTH = 2,
	EXEMPLAR_LABEL = 1,
	EXEMPLAR_VALUE = 2,
	EXEMPLAR_TIME = 3,
	TIME_SECONDS = 1,
	TIME_NANOSECONDS = 2,
};

/* ---- encoding ---- */

static char *put_varint(char *at, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes - 1; i++, value >>= 7)
		*at++ = (char)(0x80 | value);
	*at++ = (char)value;
	return at;
}

static char *put_count(char *at, uint64_t count)
{
	return put_varint(at, count, COUNT_BYTES);
}

static char *put_double(char *at, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	bits = htole64(bits);
	memcpy(at, &bits, DOUBLE_BYTES);
	return at + DOUBLE_BYTES;
}

static uint64_t zigzag(int64_t value)
{
	return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static void add_varint(struct text *text, uint64_t value)
{
	for (; value > 0x7f; value >>= 7)
		text_add_char(text, (char)(0x80 | value));
	text_add_char(text, (char)value);
}

static void add_tag(struct text *text, enum field field, enum wire wire)
{
	add_varint(text, (uint64_t)field << 3 | (uint64_t)wire);
}

static void add_integer(struct text *text, enum field field, uint64_t value)
{
	add_tag(text, field, VARINT);
	add_varint(text, value);
}

/* A count that can be written over. */
static void add_count(struct text *text, enum field field, uint64_t count)
{
	char out[COUNT_BYTES];

	add_tag(text, field, VARINT);
	put_count(out, count);
	text_add(text, out, sizeof(out));
}

static void add_double(struct text *text, enum field field, double value)
{
	char out[DOUBLE_BYTES];

	add_tag(text, field, FIXED64);
	put_double(out, value);
	text_add(text, out, sizeof(out));
}

static void add_string(struct text *text, enum field field, const char *data, size_t bytes)
{
	add_tag(text, field, MESSAGE);
	add_varint(text, bytes);
	text_add(text, data, bytes);
}

/* Text that was escaped for a line. */
static void add_unescaped(struct text *text, enum field field, const char *data, size_t bytes)
{
	size_t escapes = 0;

	for (size_t i = 0; i < bytes; i++)
		if (data[i] == '\\') {
			escapes++;
			i++;
		}
	add_tag(text, field, MESSAGE);
	add_varint(text, bytes - escapes);
	for (size_t i = 0; i < bytes; i++) {
		bool escaped = data[i] == '\\';

		i += escaped;
		text_add_char(text, escaped && data[i] == 'n' ? '\n' : data[i]);
	}
}

/* Room for the length of what follows; returns where that begins. */
static size_t begin_length(struct text *text)
{
	static const char room[LENGTH_BYTES];

	text_add(text, room, sizeof(room));
	return text->bytes;
}

static size_t begin(struct text *text, enum field field)
{
	add_tag(text, field, MESSAGE);
	return begin_length(text);
}

static void end(struct text *text, size_t begun)
{
	if (!text->failed)
		put_varint(text->data + begun - LENGTH_BYTES, text->bytes - begun, LENGTH_BYTES);
}

/* The same for what never changes: the length takes no more bytes than it needs. */
static void end_short(struct text *text, size_t begun)
{
	size_t bytes = text->bytes - begun;
	int length = 1;

	if (text->failed)
		return;
	for (size_t left = bytes >> 7; left; left >>= 7)
		length++;
	char *at = put_varint(text->data + begun - LENGTH_BYTES, bytes, length);
	memmove(at, text->data + begun, bytes);
	text->bytes = (size_t)(at - text->data) + bytes;
}

static void add_time(struct text *text, enum field field, uint64_t ns)
{
	size_t time = begin(text, field);

	add_integer(text, TIME_SECONDS, ns / 1000000000);
	add_integer(text, TIME_NANOSECONDS, ns % 1000000000);
	end_short(text, time);
}

/* ---- labels ---- */

static void add_label(struct text *text, enum field field, const char *name, size_t name_bytes,
		      const char *value, size_t value_bytes)
{
	size_t label = begin(text, field);

	add_string(text, LABEL_NAME, name, name_bytes);
	add_unescaped(text, LABEL_VALUE, value, value_bytes);
	end_short(text, label);
}

/* a="1",b="2" */
static void add_labels(struct text *text, const struct series *series)
{
	const char *at = series->label, *last = at + series->label_bytes;

	while (at < last) {
		const char *name = at;
		const char *value = (const char *)memchr(at, '=', (size_t)(last - at)) + 2;

		for (at = value; *at != '"'; at++)
			at += *at == '\\';
		add_label(text, METRIC_LABEL, name, (size_t)(value - 2 - name), value,
			  (size_t)(at - value));
		at += 2; /* a quotation mark, and a comma or the end */
	}
}

/* ---- histograms ---- */

/* Returns: how many bytes. */
static uint16_t add_exemplar(struct text *text, const struct exemplar *exemplar)
{
	char number[NUMBER_BYTES];
	size_t before = text->bytes, message = begin(text, BUCKET_EXEMPLAR);
	size_t digits = number_double(number, (double)exemplar->duration_ns / 1e9);
	char id[NUMBER_COUNT_BYTES];
	size_t zeros = 0;

	number_count(id, exemplar->request_id);
	while (zeros < sizeof(id) - 1 && id[zeros] == '0')
		zeros++;
	add_label(text, EXEMPLAR_LABEL, "request_id", strlen("request_id"), id + zeros,
		  sizeof(id) - zeros);
	add_label(text, EXEMPLAR_LABEL, "duration_seconds", strlen("duration_seconds"), number,
		  digits);
	add_double(text, EXEMPLAR_VALUE, exemplar->value);
	add_time(text, EXEMPLAR_TIME, exemplar->end_ns);
	end_short(text, message);
	return (uint16_t)(text->bytes - before);
}

static void add_bucket(struct text *text, struct series *series, uint32_t i, uint64_t count)
{
	const struct family *family = series->family;
	struct exemplars *exemplars = series->exemplars;
	size_t bucket = begin(text, HISTOGRAM_BUCKET);

	add_count(text, BUCKET_COUNT, count);
	add_double(text, BUCKET_BOUND, i < family->bounds ? family->bound[i] : __builtin_inf());
	if (exemplars->shown.request_id && exemplars->shown.bucket == i)
		exemplars->bytes[PAGE_PROTOBUF] = add_exemplar(text, &exemplars->shown);
	end(text, bucket);
}

/* The native buckets of one side: from..to of all. */
struct side {
	uint32_t from, to;
	enum field span, delta;
};

static void find_sides(struct side side[2], const struct native *native)
{
	uint32_t negative = 0;

	while (negative < native->buckets && native_is_negative(&native->bucket[negative]))
		negative++;
	side[0] = (struct side){ 0, negative, HISTOGRAM_NEGATIVE_SPAN, HISTOGRAM_NEGATIVE_DELTA };
	side[1] = (struct side){ negative, native->buckets, HISTOGRAM_POSITIVE_SPAN,
				 HISTOGRAM_POSITIVE_DELTA };
}

/* Each count but the first is written as its difference to the one before. */
static char *put_deltas(char *at, const struct native *native, const struct side *side)
{
	uint64_t before = 0;

	for (uint32_t i = side->from; i < side->to; i++) {
		at = put_count(at, zigzag((int64_t)(native->bucket[i].count - before)));
		before = native->bucket[i].count;
	}
	return at;
}

static void add_deltas(struct text *text, const struct native *native, const struct side *side)
{
	char out[NATIVE_BUCKETS * COUNT_BYTES];

	if (side->from == side->to)
		return;
	size_t deltas = begin(text, side->delta);
	text_add(text, out, (size_t)(put_deltas(out, native, side) - out));
	end(text, deltas);
}

/* Runs of neighbours; an offset is from the end of the run before, the first from 0. */
static void add_spans(struct text *text, const struct native *native, const struct side *side)
{
	int expected = 0;

	for (uint32_t i = side->from, length; i < side->to; i += length) {
		int first = native_index(&native->bucket[i]);

		for (length = 1; i + length < side->to; length++)
			if (native_index(&native->bucket[i + length]) != first + (int)length)
				break;
		size_t span = begin(text, side->span);
		add_integer(text, SPAN_OFFSET, zigzag(first - expected));
		add_integer(text, SPAN_LENGTH, length);
		end_short(text, span);
		expected = first + (int)length;
	}
}

static void add_native(struct text *text, const struct native *native)
{
	struct side side[2];

	find_sides(side, native);
	add_integer(text, HISTOGRAM_SCHEMA, zigzag(native_schema(native)));
	add_double(text, HISTOGRAM_ZERO_THRESHOLD, NATIVE_ZERO);
	add_count(text, HISTOGRAM_ZERO_COUNT, native->zeros);
	add_deltas(text, native, &side[0]);
	add_deltas(text, native, &side[1]);
	add_spans(text, native, &side[0]);
	add_spans(text, native, &side[1]);
}

/* Returns: where the first number stands in text. */
static size_t add_histogram(struct text *text, struct series *series)
{
	size_t histogram = begin(text, METRIC_HISTOGRAM), first = text->bytes + 1;
	uint64_t count = 0;

	for (uint32_t i = 0; i <= series->family->bounds; i++)
		count += series->bucket[i];
	add_count(text, HISTOGRAM_COUNT, count);
	add_double(text, HISTOGRAM_SUM, number_sum(series->sum));
	count = 0;
	series->exemplars->bytes[PAGE_PROTOBUF] = 0;
	for (uint32_t i = 0; i <= series->family->bounds; i++)
		add_bucket(text, series, i, count += series->bucket[i]);
	add_native(text, series->native);
	add_time(text, HISTOGRAM_START, series->created_ns);
	end(text, histogram);
	return first;
}

/* What stands between two numbers: tags of one byte, and the length of a bucket. */
#define TAG_BYTES 1
#define BUCKET_HEAD_BYTES (TAG_BYTES + LENGTH_BYTES + TAG_BYTES)

static char *patch_histogram(char *at, const struct series *series)
{
	const struct exemplars *exemplars = series->exemplars;
	const struct native *native = series->native;
	char *count_at = at;
	struct side side[2];
	uint64_t count = 0;

	at = put_double(at + COUNT_BYTES + TAG_BYTES, number_sum(series->sum));
	for (uint32_t i = 0; i <= series->family->bounds; i++) {
		at = put_count(at + BUCKET_HEAD_BYTES, count += series->bucket[i]);
		at += TAG_BYTES + DOUBLE_BYTES;
		if (exemplars->shown.bucket == i)
			at += exemplars->bytes[PAGE_PROTOBUF];
	}
	put_count(count_at, count);
	at += TAG_BYTES + 1 + TAG_BYTES + DOUBLE_BYTES; /* schema and threshold */
	at = put_count(at + TAG_BYTES, native->zeros);
	find_sides(side, native);
	for (int i = 0; i < 2; i++)
		if (side[i].from != side[i].to)
			at = put_deltas(at + TAG_BYTES + LENGTH_BYTES, native, &side[i]);
	return at;
}

/* ---- families ---- */

static size_t add_scalar(struct text *text, const struct series *series)
{
	bool counter = series->family->metric == KVTAP_COUNTER;
	size_t scalar = begin(text, counter ? METRIC_COUNTER : METRIC_GAUGE);
	size_t first = text->bytes + 1;

	add_double(text, SCALAR_VALUE, counter ? number_sum(series->sum) : series->value);
	if (counter)
		add_time(text, COUNTER_START, series->created_ns);
	end(text, scalar);
	return first;
}

static void add_series(struct text *text, struct series *series, size_t block)
{
	size_t metric = begin(text, FAMILY_METRIC);

	add_labels(text, series);
	size_t first = series->family->metric == KVTAP_HISTOGRAM ? add_histogram(text, series)
								 : add_scalar(text, series);
	series->place[PAGE_PROTOBUF] = (uint32_t)(first - block);
	end(text, metric);
}

void protobuf_render(struct text *text, struct family *family)
{
	static const uint64_t types[] = {
		[KVTAP_COUNTER] = 0,
		[KVTAP_GAUGE] = 1,
		[KVTAP_HISTOGRAM] = 4,
	};
	size_t block = text->bytes, message = begin_length(text);

	add_string(text, FAMILY_NAME, family->name, family->name_bytes);
	add_unescaped(text, FAMILY_HELP, family->help, strlen(family->help));
	add_integer(text, FAMILY_TYPE, types[family->metric]);
	for (struct series *series = family->first; series; series = series->next) {
		series->place[PAGE_PROTOBUF] = 0;
		if (!family->lazy || series->seen)
			add_series(text, series, block);
	}
	end(text, message);
}

char *protobuf_patch(char *at, const struct series *series)
{
	if (series->family->metric == KVTAP_HISTOGRAM)
		return patch_histogram(at, series);
	return put_double(at, series->family->metric == KVTAP_GAUGE ? series->value
								    : number_sum(series->sum));
}
