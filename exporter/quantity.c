/* SPDX-License-Identifier: Apache-2.0 */
/* quantity.c - see quantity.h */
#include "quantity.h"

#include <stddef.h>
#include <string.h>

struct unit {
	const char *name; /* one that begins another stands behind it; NULL ends */
	uint64_t worth;
};

static const struct unit sizes[] = {
	{ "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 }, { NULL, 0 }
};

static const struct unit times[] = { { "ms", 1000000ull },	 { "s", 1000000000ull },
				     { "m", 60000000000ull },	 { "h", 3600000000000ull },
				     { "d", 86400000000000ull }, { NULL, 0 } };

static bool take_number(uint64_t *number, const char **text)
{
	const char *begin = *text;

	*number = 0;
	for (; **text >= '0' && **text <= '9'; ++*text)
		if (__builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, (uint64_t)(**text - '0'), number))
			return false;
	return *text != begin;
}

static bool take_unit(uint64_t *number, const struct unit *unit, const char **text)
{
	for (; unit->name; unit++) {
		size_t bytes = strlen(unit->name);

		if (strncmp(*text, unit->name, bytes))
			continue;
		*text += bytes;
		return !__builtin_mul_overflow(*number, unit->worth, number);
	}
	return false;
}

bool quantity_count(uint64_t *count, const char *text)
{
	uint64_t number;

	if (!take_number(&number, &text) || (*text && !take_unit(&number, sizes, &text)) || *text)
		return false;
	*count = number;
	return true;
}

bool quantity_duration(uint64_t *duration_ns, const char *text)
{
	uint64_t sum = 0, number;

	if (!strcmp(text, "0")) {
		*duration_ns = 0;
		return true;
	}
	do {
		if (!take_number(&number, &text) || !take_unit(&number, times, &text) ||
		    __builtin_add_overflow(sum, number, &sum))
			return false;
	} while (*text);
	*duration_ns = sum;
	return true;
}
