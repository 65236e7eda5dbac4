/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_protobuf.c - take a delimited stream of io.prometheus.client.MetricFamily apart, strictly
 *
 * One table of the fields that are used, by message; written from the definition in
 * github.com/prometheus/client_model, not from what the exporter does.
 */
#include "support_protobuf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

enum type { UNSIGNED, SIGNED, DOUBLE, STRING, PACKED_SIGNED, SUB };

enum message {
	FAMILY,
	METRIC,
	LABEL,
	GAUGE,
	COUNTER,
	HISTOGRAM,
	BUCKET,
	SPAN,
	EXEMPLAR,
	TIMESTAMP
};

static const struct field {
	enum message of;
	unsigned number;
	const char *name;
	enum type type;
	enum message sub;
} fields[] = {
	{ FAMILY, 1, "name", STRING, 0 },
	{ FAMILY, 2, "help", STRING, 0 },
	{ FAMILY, 3, "type", UNSIGNED, 0 },
	{ FAMILY, 4, "metric", SUB, METRIC },
	{ METRIC, 1, "label", SUB, LABEL },
	{ METRIC, 2, "gauge", SUB, GAUGE },
	{ METRIC, 3, "counter", SUB, COUNTER },
	{ METRIC, 7, "histogram", SUB, HISTOGRAM },
	{ LABEL, 1, "name", STRING, 0 },
	{ LABEL, 2, "value", STRING, 0 },
	{ GAUGE, 1, "value", DOUBLE, 0 },
	{ COUNTER, 1, "value", DOUBLE, 0 },
	{ COUNTER, 3, "start_timestamp", SUB, TIMESTAMP },
	{ HISTOGRAM, 1, "sample_count", UNSIGNED, 0 },
	{ HISTOGRAM, 2, "sample_sum", DOUBLE, 0 },
	{ HISTOGRAM, 3, "bucket", SUB, BUCKET },
	{ HISTOGRAM, 5, "schema", SIGNED, 0 },
	{ HISTOGRAM, 6, "zero_threshold", DOUBLE, 0 },
	{ HISTOGRAM, 7, "zero_count", UNSIGNED, 0 },
	{ HISTOGRAM, 9, "negative_span", SUB, SPAN },
	{ HISTOGRAM, 10, "negative_delta", PACKED_SIGNED, 0 },
	{ HISTOGRAM, 12, "positive_span", SUB, SPAN },
	{ HISTOGRAM, 13, "positive_delta", PACKED_SIGNED, 0 },
	{ HISTOGRAM, 15, "start_timestamp", SUB, TIMESTAMP },
	{ BUCKET, 1, "cumulative_count", UNSIGNED, 0 },
	{ BUCKET, 2, "upper_bound", DOUBLE, 0 },
	{ BUCKET, 3, "exemplar", SUB, EXEMPLAR },
	{ SPAN, 1, "offset", SIGNED, 0 },
	{ SPAN, 2, "length", UNSIGNED, 0 },
	{ EXEMPLAR, 1, "label", SUB, LABEL },
	{ EXEMPLAR, 2, "value", DOUBLE, 0 },
	{ EXEMPLAR, 3, "timestamp", SUB, TIMESTAMP },
	{ TIMESTAMP, 1, "seconds", UNSIGNED, 0 },
	{ TIMESTAMP, 2, "nanos", UNSIGNED, 0 },
};

struct input {
	const unsigned char *at, *end;
	FILE *out;
};

static uint64_t take_varint(struct input *input)
{
	uint64_t value = 0;
	unsigned char byte = 0x80;

	for (int shift = 0; byte & 0x80; shift += 7) {
		CHECK(input->at < input->end && shift < 70);
		byte = *input->at++;
		CHECK(shift < 63 || byte <= 1);
		value |= (uint64_t)(byte & 0x7f) << shift;
	}
	return value;
}

static struct input take_bytes(struct input *input)
{
	uint64_t bytes = take_varint(input);

	CHECK(bytes <= (uint64_t)(input->end - input->at));
	struct input taken = { input->at, input->at + bytes, input->out };
	input->at += bytes;
	return taken;
}

static long long take_signed(struct input *input)
{
	uint64_t value = take_varint(input);

	return (long long)(value >> 1 ^ -(value & 1));
}

static double take_double(struct input *input)
{
	double value;

	CHECK(input->end - input->at >= 8);
	memcpy(&value, input->at, 8);
	input->at += 8;
	return value;
}

static const struct field *find(enum message of, unsigned number)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].of == of && fields[i].number == number)
			return &fields[i];
	test_fail(__FILE__, __LINE__, "message %d has no field %u", of, number);
}

static void print_message(struct input *input, enum message message);

static void print_bytes(struct input bytes, const struct field *field)
{
	if (field->type == SUB) {
		fprintf(bytes.out, "%s { ", field->name);
		print_message(&bytes, field->sub);
		fputs("} ", bytes.out);
	} else if (field->type == STRING) {
		fprintf(bytes.out, "%s: \"%.*s\" ", field->name, (int)(bytes.end - bytes.at),
			(const char *)bytes.at);
	} else {
		while (bytes.at < bytes.end)
			fprintf(bytes.out, "%s: %lld ", field->name, take_signed(&bytes));
	}
}

static void print_message(struct input *input, enum message message)
{
	static const unsigned wires[] = { [UNSIGNED] = 0, [SIGNED] = 0,	       [DOUBLE] = 1,
					  [STRING] = 2,	  [PACKED_SIGNED] = 2, [SUB] = 2 };

	while (input->at < input->end) {
		uint64_t tag = take_varint(input);
		const struct field *field = find(message, (unsigned)(tag >> 3));

		CHECK_EQ(tag & 7, wires[field->type]);
		if (field->type == UNSIGNED)
			fprintf(input->out, "%s: %llu ", field->name,
				(unsigned long long)take_varint(input));
		else if (field->type == SIGNED)
			fprintf(input->out, "%s: %lld ", field->name, take_signed(input));
		else if (field->type == DOUBLE)
			fprintf(input->out, "%s: %.17g ", field->name, take_double(input));
		else
			print_bytes(take_bytes(input), field);
	}
}

char *protobuf_text(const char *data, size_t bytes)
{
	const unsigned char *begin = (const unsigned char *)data;
	char *text;
	size_t text_bytes;
	FILE *out = open_memstream(&text, &text_bytes);

	CHECK(out);
	struct input input = { begin, begin + bytes, out };
	while (input.at < input.end) {
		const unsigned char *length = input.at;
		struct input family = take_bytes(&input);

		CHECK(family.at - length <= 5); /* Prometheus reads no longer one */
		print_message(&family, FAMILY);
		fputc('\n', out);
	}
	CHECK_EQ(fclose(out), 0);
	return text;
}
