/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept.c - families and series as bytes of a state file, and back; pure
 *
 * Texts are kept as they are exposed, which is how the table has them, and are unescaped when they
 * are read: so they take the way of a worker's declaration, with all its checks.
 */
#include "kept.h"

#include <math.h>
#include <string.h>

struct family_head {
	uint32_t name_bytes, help_bytes;
	uint32_t bounds, labels;
	uint8_t metric, gauge_mode, lazy, own, reserved[4];
};

struct series_head {
	uint64_t family;
	uint64_t created_ns;
	uint32_t label_bytes;
	uint8_t other, child, reserved[2];
	uint8_t uuid[SERIES_UUID_BYTES];
};

struct value_head {
	struct kvtap_sum sum[NUMBER_PARTS];
	double value;
	uint64_t value_ns;
	double gauge_value; /* of workers that ended */
	uint64_t gauge_ns;
	uint8_t seen, gauge_kept, reserved[6];
};

struct input {
	const char *at;
	size_t left;
};

static bool take(struct input *input, void *to, size_t bytes)
{
	if (bytes > input->left)
		return false;
	memcpy(to, input->at, bytes);
	input->at += bytes;
	input->left -= bytes;
	return true;
}

static bool take_text(struct input *input, struct kvtap_text *text, uint32_t bytes)
{
	if (bytes > input->left)
		return false;
	*text = (struct kvtap_text){ input->at, bytes };
	input->at += bytes;
	input->left -= bytes;
	return true;
}

static bool name_valid(const struct kvtap_text *name, bool colon)
{
	for (uint32_t i = 0; i < name->bytes; i++) {
		char c = name->data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		      (c == ':' && colon) || (c >= '0' && c <= '9' && i)))
			return false;
	}
	return name->bytes && name->bytes <= KVTAP_NAME_MAX + sizeof("_total");
}

/* The inverse of text.c's escapes, up to an unescaped quotation mark or the end. */
static void unescape(struct text *to, struct input *from)
{
	while (from->left && *from->at != '"') {
		char c = *from->at++;

		from->left--;
		if (c == '\\' && from->left) {
			c = *from->at == 'n' ? '\n' : *from->at;
			from->at++;
			from->left--;
		}
		text_add_char(to, c);
	}
}

/* ---- families ----------------------------------------------------------------------------- */

void kept_family(struct text *bytes, const struct family *family)
{
	struct family_head head = { .name_bytes = (uint32_t)strlen(family->name),
				    .help_bytes = (uint32_t)strlen(family->help),
				    .bounds = family->bounds,
				    .labels = family->labels,
				    .metric = family->metric,
				    .gauge_mode = family->gauge_mode,
				    .lazy = family->lazy,
				    .own = family->own };

	text_add(bytes, (const char *)&head, sizeof(head));
	text_add(bytes, (const char *)family->bound, family->bounds * sizeof(double));
	text_add(bytes, family->name, head.name_bytes);
	text_add(bytes, family->help, head.help_bytes);
	for (uint32_t i = 0; i < family->labels; i++) {
		uint32_t label_bytes = (uint32_t)strlen(family->label[i]);

		text_add(bytes, (const char *)&label_bytes, sizeof(label_bytes));
		text_add(bytes, family->label[i], label_bytes);
	}
}

static bool bounds_valid(const double *bound, uint32_t bounds)
{
	for (uint32_t i = 0; i < bounds; i++)
		if (!isfinite(bound[i]) || (i && bound[i] <= bound[i - 1]))
			return false;
	return true;
}

static bool head_valid(const struct family_head *head)
{
	return head->metric >= KVTAP_COUNTER && head->metric <= KVTAP_HISTOGRAM &&
	       head->gauge_mode <= KVTAP_GAUGE_ALL && head->labels <= KVTAP_LABELS_MAX &&
	       head->bounds <= KVTAP_BOUNDS_MAX &&
	       (!head->bounds || head->metric == KVTAP_HISTOGRAM);
}

static bool take_labels(struct kept_family *kept, struct input *input, uint32_t labels)
{
	for (uint32_t i = 0; i < labels; i++) {
		uint32_t bytes;

		if (!take(input, &bytes, sizeof(bytes)) ||
		    !take_text(input, &kept->label[i], bytes) ||
		    !name_valid(&kept->label[i], false))
			return false;
	}
	return true;
}

static bool take_help(struct kept_family *kept, struct input *input, uint32_t bytes)
{
	struct kvtap_text escaped;

	if (!take_text(input, &escaped, bytes))
		return false;
	struct input help = { escaped.data, escaped.bytes };
	while (help.left) {
		unescape(&kept->help, &help);
		if (help.left) { /* a quotation mark, which a help text has as it is */
			text_add_char(&kept->help, '"');
			help.at++;
			help.left--;
		}
	}
	return !kept->help.failed;
}

bool kept_family_read(struct kept_family *kept, const void *bytes, size_t count)
{
	struct input input = { bytes, count };
	struct family_head head;
	struct kvtap_text name;

	*kept = (struct kept_family){ 0 };
	if (!take(&input, &head, sizeof(head)) || !head_valid(&head) ||
	    !take(&input, kept->bound, head.bounds * sizeof(double)) ||
	    !bounds_valid(kept->bound, head.bounds) || !take_text(&input, &name, head.name_bytes) ||
	    !name_valid(&name, true) || !take_help(kept, &input, head.help_bytes) ||
	    !take_labels(kept, &input, head.labels)) {
		text_free(&kept->help);
		return false;
	}
	kept->own = head.own;
	kept->view = (struct kvtap_family_view){
		.name = name,
		.help = { kept->help.data, (uint32_t)kept->help.bytes },
		.metric = head.metric,
		.gauge_mode = head.gauge_mode,
		.flags = head.lazy ? KVTAP_FAMILY_LAZY : 0,
		.labels = (uint16_t)head.labels,
		.bounds = (uint16_t)head.bounds,
		.label = kept->label,
		.bound = kept->bound,
	};
	return true;
}

/* ---- series ------------------------------------------------------------------------------- */

void kept_series(struct text *bytes, const struct series *series)
{
	const struct series *parent = series->gauge.parent;
	const struct series *shown = parent ? parent : series;
	struct series_head head = { .family = series->family->kept,
				    .created_ns = series->created_ns,
				    .label_bytes = shown->label_bytes,
				    .other = series->family->other == series,
				    .child = parent != NULL };

	memcpy(head.uuid, series->gauge.uuid, sizeof(head.uuid));
	text_add(bytes, (const char *)&head, sizeof(head));
	text_add(bytes, shown->label, shown->label_bytes);
}

/* name="value" and a comma, if more follow; values go into one text, which may move. */
static bool take_label(struct kept_series *kept, struct input *input, size_t *value_at)
{
	struct series_label *label = &kept->label[kept->labels];
	const char *equals = memchr(input->at, '=', input->left);

	if (!equals || kept->labels == SERIES_LABELS_MAX ||
	    !take_text(input, &label->name, (uint32_t)(equals - input->at)) ||
	    !name_valid(&label->name, false) || input->left < 3 || input->at[1] != '"')
		return false;
	input->at += 2;
	input->left -= 2;
	*value_at = kept->values.bytes;
	unescape(&kept->values, input);
	label->value.bytes = (uint32_t)(kept->values.bytes - *value_at);
	if (!input->left)
		return false;
	input->at++;
	input->left--;
	if (!input->left)
		return true;
	bool comma = *input->at == ',' && input->left > 1;
	input->at++;
	input->left--;
	return comma;
}

bool kept_series_read(struct kept_series *kept, const void *bytes, size_t count)
{
	struct input input = { bytes, count };
	size_t value_at[SERIES_LABELS_MAX];
	struct series_head head;

	*kept = (struct kept_series){ 0 };
	bool whole = take(&input, &head, sizeof(head)) && head.label_bytes == input.left;
	while (whole && input.left) {
		whole = take_label(kept, &input, &value_at[kept->labels]);
		kept->labels += whole;
	}
	if (!whole || kept->values.failed) {
		text_free(&kept->values);
		return false;
	}
	for (size_t i = 0; i < kept->labels; i++)
		kept->label[i].value.data = kept->values.data + value_at[i];
	kept->family = head.family;
	kept->created_ns = head.created_ns;
	kept->other = head.other;
	kept->child = head.child;
	memcpy(kept->uuid, head.uuid, sizeof(kept->uuid));
	return true;
}

/* ---- values ------------------------------------------------------------------------------- */

static size_t buckets_of(const struct family *family)
{
	return family->metric == KVTAP_HISTOGRAM ? family->bounds + 1u : 0;
}

/* The head and the buckets; the native buckets of a histogram follow. */
static size_t plain_bytes(const struct family *family)
{
	return sizeof(struct value_head) + buckets_of(family) * sizeof(uint64_t);
}

uint32_t kept_value_room(const struct family *family)
{
	bool histogram = family->metric == KVTAP_HISTOGRAM;

	return (uint32_t)(plain_bytes(family) + (histogram ? offsetof(struct native, hint) : 0));
}

uint32_t kept_value(void *value, const struct series *series)
{
	struct value_head head = { .value = series->value,
				   .value_ns = series->value_ns,
				   .gauge_value = series->gauge.kept_value,
				   .gauge_ns = series->gauge.kept_ns,
				   .seen = series->seen,
				   .gauge_kept = series->gauge.kept };
	size_t plain = plain_bytes(series->family);
	size_t native = series->native ? native_bytes(series->native) : 0;

	memcpy(head.sum, series->sum, sizeof(head.sum));
	memcpy(value, &head, sizeof(head));
	memcpy((char *)value + sizeof(head), series->bucket, plain - sizeof(head));
	if (native)
		memcpy((char *)value + plain, series->native, native);
	return (uint32_t)(plain + native);
}

/* Whether cumulative counts don't wrap; in all into *count. */
static bool buckets_valid(const struct family *family, const char *buckets, uint64_t *count)
{
	uint64_t bucket;

	*count = 0;
	for (size_t i = 0; i < buckets_of(family); i++) {
		memcpy(&bucket, buckets + i * sizeof(bucket), sizeof(bucket));
		if (__builtin_add_overflow(*count, bucket, count))
			return false;
	}
	return true;
}

static bool head_value_valid(const struct family *family, const struct value_head *head)
{
	double part[2];

	memcpy(part, head->sum[NUMBER_DOUBLE].word, sizeof(part));
	return isfinite(part[0]) && isfinite(part[1]) &&
	       (family->metric != KVTAP_COUNTER || part[0] + part[1] >= 0);
}

/* Both kinds of buckets count the same, or neither is to be believed. */
static bool native_read(struct series *series, const char *bytes, size_t count, uint64_t expected)
{
	if (!series->native)
		return !count;
	if (native_restore(series->native, bytes, count) &&
	    native_count(series->native) == expected)
		return true;
	native_init(series->native);
	return false;
}

bool kept_value_read(struct series *series, const void *value, size_t count)
{
	const struct family *family = series->family;
	const char *bytes = value;
	size_t plain = plain_bytes(family);
	struct value_head head;
	uint64_t observed;

	if (count < plain)
		return false;
	memcpy(&head, bytes, sizeof(head));
	if (!head_value_valid(family, &head) ||
	    !buckets_valid(family, bytes + sizeof(head), &observed) ||
	    !native_read(series, bytes + plain, count - plain, observed))
		return false;
	memcpy(series->sum, head.sum, sizeof(head.sum));
	series->value = head.value;
	series->value_ns = head.value_ns;
	series->gauge.kept = head.gauge_kept;
	series->gauge.kept_value = head.gauge_value;
	series->gauge.kept_ns = head.gauge_ns;
	series->seen = head.seen;
	memcpy(series->bucket, bytes + sizeof(head), plain - sizeof(head));
	return true;
}
