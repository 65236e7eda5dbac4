/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e2e_groups.c - a worker that opens taps and records as it is told, a line at a time
 *
 *	open TAP [model=] [engine=] [rank=] [groups=offload,nixl]
 *	builtin|transfer|add|set|observe TAP NAME [tier=] [peer=] [device=] [operation=] [status=] [value=]
 *		[ended=] [duration=] [submit=] [queue=] [bytes=] [descriptors=] [failed_descriptors=]
 *		[request=]
 *
 * Words are separated by blanks; in a value %XX is a byte. Times are in nanoseconds. Each line is
 * answered by what the library returned, 0 or a negative errno, after the record is in its ring.
 * The end of the input closes the taps. Not a test: tests/support_e2e.py talks to it.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvtap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TAPS 16

struct order {
	const char *word, *name;
	struct kvtap *tap;
	struct kvtap_builtin_labels labels;
	struct kvtap_options options;
	struct kvtap_transfer transfer;
	double value;
};

static struct kvtap *taps[TAPS];

static uint32_t groups_of(char *list)
{
	static const struct {
		const char *name;
		uint32_t group;
	} names[] = {
		{ "offload", KVTAP_GROUP_OFFLOAD },
		{ "offload-deprecated", KVTAP_GROUP_OFFLOAD_DEPRECATED },
		{ "offload-cpu", KVTAP_GROUP_OFFLOAD_CPU },
		{ "tiering", KVTAP_GROUP_TIERING },
		{ "nixl", KVTAP_GROUP_NIXL },
		{ "mooncake-store", KVTAP_GROUP_MOONCAKE_STORE },
		{ "hf3fs", KVTAP_GROUP_HF3FS },
		{ "kvtap", KVTAP_GROUP_KVTAP },
	};
	uint32_t groups = 0;

	for (char *save, *name = strtok_r(list, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		size_t i = 0;

		while (i < COUNT(names) && strcmp(names[i].name, name) != 0)
			i++;
		if (i == COUNT(names)) {
			fprintf(stderr, "no group is called %s\n", name);
			exit(2);
		}
		groups |= names[i].group;
	}
	return groups;
}

/* In place. */
static char *decode(char *text)
{
	char *out = text;

	for (char *in = text; *in; out++) {
		char hex[3] = { 0 };

		if (*in == '%' && in[1] && in[2]) {
			memcpy(hex, in + 1, 2);
			*out = (char)strtol(hex, NULL, 16);
			in += 3;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
	return text;
}

static void set_label(struct order *order, const char *key, const char *value)
{
	const struct {
		const char *key;
		const char **value;
	} labels[] = {
		{ "tier", &order->labels.tier },	   { "peer", &order->labels.peer },
		{ "operation", &order->labels.operation }, { "status", &order->labels.status },
		{ "model", &order->options.model_name },   { "engine", &order->options.engine },
		{ "rank", &order->options.rank },	   { "device", &order->labels.device },
	};

	for (size_t i = 0; i < COUNT(labels); i++)
		if (strcmp(labels[i].key, key) == 0)
			*labels[i].value = value;
}

static void set_number(struct order *order, const char *key, const char *value)
{
	struct kvtap_transfer *transfer = &order->transfer;
	const struct {
		const char *key;
		uint64_t *value;
	} wide[] = {
		{ "duration", &transfer->duration_ns }, { "submit", &transfer->submit_ns },
		{ "queue", &transfer->queue_ns },	{ "bytes", &transfer->bytes },
		{ "request", &transfer->request_id },
	};

	for (size_t i = 0; i < COUNT(wide); i++)
		if (strcmp(wide[i].key, key) == 0)
			*wide[i].value = strtoull(value, NULL, 10);
	if (strcmp(key, "ended") == 0)
		transfer->status = (uint8_t)atoi(value);
	else if (strcmp(key, "descriptors") == 0)
		transfer->descriptors = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(key, "failed_descriptors") == 0)
		transfer->failed_descriptors = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(key, "value") == 0)
		order->value = strtod(value, NULL);
}

static void set(struct order *order, const char *key, char *value)
{
	if (strcmp(key, "groups") == 0)
		order->options.groups = groups_of(value);
	set_label(order, key, decode(value));
	set_number(order, key, value);
}

static int obey(struct order *order)
{
	uint32_t series;
	int rc = kvtap_builtin(order->tap, &series, order->name, &order->labels);

	if (rc < 0 || strcmp(order->word, "builtin") == 0)
		return rc;
	order->transfer.series = series;
	if (strcmp(order->word, "transfer") == 0)
		kvtap_transfer(order->tap, &order->transfer);
	else if (strcmp(order->word, "add") == 0)
		kvtap_add(order->tap, series, order->value);
	else if (strcmp(order->word, "set") == 0)
		kvtap_set(order->tap, series, order->value);
	else if (strcmp(order->word, "observe") == 0)
		kvtap_observe(order->tap, series, order->value);
	else
		return -ENOSYS;
	return 0;
}

static int parse(char *line)
{
	struct order order = { 0 };
	char *save;

	order.word = strtok_r(line, " \n", &save);
	const char *tap = strtok_r(NULL, " \n", &save);
	if (!order.word || !tap || (unsigned)atoi(tap) >= TAPS)
		return -EINVAL;
	bool open = strcmp(order.word, "open") == 0;
	if (!open)
		order.name = strtok_r(NULL, " \n", &save);
	for (char *word; (word = strtok_r(NULL, " \n", &save));) {
		char *value = strchr(word, '=');

		if (!value)
			return -EINVAL;
		*value++ = '\0';
		set(&order, word, value);
	}
	if (open)
		return kvtap_open(&taps[atoi(tap)], &order.options);
	order.tap = taps[atoi(tap)];
	return order.name ? obey(&order) : -EINVAL;
}

int main(void)
{
	static char line[32768];

	while (fgets(line, sizeof(line), stdin)) {
		printf("%d\n", parse(line));
		fflush(stdout);
	}
	for (int i = 0; i < TAPS; i++)
		kvtap_close(taps[i]);
	return 0;
}
