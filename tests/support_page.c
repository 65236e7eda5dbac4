/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_page.c - take a page in text format 0.0.4 apart, strictly
 *
 * One walk over the lines with the family and the histogram series that are open; the order in which
 * families and series must come is part of what is checked. Looking up is a binary search.
 */
#include "support_page.h"

#include <locale.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "support_number.h"
#include "test.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define KEY_BYTES (64u << 10)
#define DEADLINE_MS 60000

/* What is open while the lines go by. */
struct walk {
	struct page *page;
	const char *help_of; /* a HELP whose TYPE must follow */
	const char *help;
	struct page_family *family;
	/* of the histogram series whose _count did not come yet */
	bool in_series, has_inf, has_sum;
	char labels[KEY_BYTES]; /* without le */
	double le;
	uint64_t cumulative;
	/* of the sample that is read */
	char bare[KEY_BYTES]; /* its labels without le */
	char le_text[64];
};

#define WRONG(line, ...)                                                                           \
	do {                                                                                       \
		fprintf(stderr, "in the page: %.300s\n", line);                                    \
		test_fail(__FILE__, __LINE__, __VA_ARGS__);                                        \
	} while (0)

static void check_utf8(const char *text)
{
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);

	CHECK(utf8);
	locale_t before = uselocale(utf8);
	CHECK(mbstowcs(NULL, text, 0) != (size_t)-1);
	uselocale(before);
	freelocale(utf8);
}

static double parse_number(const char *line, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !strchr("+-.0123456789N", *text))
		WRONG(line, "not a number: %s", text);
	return value;
}

static uint64_t parse_integer(const char *line, const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (end == text || *end || *text < '0' || *text > '9')
		WRONG(line, "not a count: %s", text);
	return value;
}

/* ---- families ---- */

static void end_family(struct walk *walk, const char *line)
{
	if (walk->in_series)
		WRONG(line, "a histogram before it ends without _count");
	walk->family = NULL;
}

static void take_help(struct walk *walk, char *line)
{
	char *name = line + strlen("# HELP ");
	char *space = strchr(name, ' ');

	end_family(walk, line);
	if (walk->help_of || !space)
		WRONG(line, "HELP out of place");
	*space = '\0';
	for (const char *c = space + 1; (c = strchr(c, '\\')); c += 2)
		if (c[1] != '\\' && c[1] != 'n')
			WRONG(line, "a bad escape");
	walk->help_of = name;
	walk->help = space + 1;
}

static void take_type(struct walk *walk, char *line)
{
	struct page *page = walk->page;
	char *name = line + strlen("# TYPE ");
	char *space = strchr(name, ' ');

	end_family(walk, line);
	if (!space)
		WRONG(line, "TYPE without a type");
	*space = '\0';
	if (walk->help_of && strcmp(walk->help_of, name))
		WRONG(line, "after the HELP of %s", walk->help_of);
	if (page_family(page, name))
		WRONG(line, "a family twice");
	if (strcmp(space + 1, "counter") && strcmp(space + 1, "gauge") &&
	    strcmp(space + 1, "histogram"))
		WRONG(line, "an unknown type");
	if (page->families == page->family_room) {
		page->family_room = page->family_room ? 2 * page->family_room : 64;
		page->family = realloc(page->family, page->family_room * sizeof(*page->family));
		CHECK(page->family);
	}
	walk->family = &page->family[page->families++];
	*walk->family = (struct page_family){ name, space + 1, walk->help_of ? walk->help : NULL };
	walk->help_of = NULL;
}

/* ---- samples ---- */

/* One label at at; the end of its value. The name is in order after the one before. */
static const char *take_label(struct walk *walk, const char *line, const char *at, char before[256])
{
	size_t name = strspn(at, NAME_CHARS);
	const char *value = at + name + 2, *end = value;
	char text[256];

	if (!name || name > 255 || (*at >= '0' && *at <= '9') || strncmp(at + name, "=\"", 2))
		WRONG(line, "a bad label name");
	snprintf(text, sizeof(text), "%.*s", (int)name, at);
	if (strcmp(before, text) >= 0)
		WRONG(line, "label %s after %s", text, before);
	strcpy(before, text);
	for (; *end && *end != '"'; end++)
		if (*end == '\\' && !strchr("\\\"n", *++end))
			WRONG(line, "a bad escape");
	if (*end != '"')
		WRONG(line, "a label value without an end");
	if (strcmp(text, "le"))
		strncat(walk->bare, at, (size_t)(end + 1 - at)); /* names need no comma here */
	else
		snprintf(walk->le_text, sizeof(walk->le_text), "%.*s", (int)(end - value), value);
	return end + 1;
}

/* The labels of a sample; what follows them. */
static const char *take_labels(struct walk *walk, const char *line, const char *at)
{
	char before[256] = "";

	walk->bare[0] = walk->le_text[0] = '\0';
	if (*at != '{')
		return at;
	CHECK(strlen(line) < KEY_BYTES);
	do
		at = take_label(walk, line, at + 1, before);
	while (*at == ',');
	if (*at != '}')
		WRONG(line, "labels without an end");
	return at + 1;
}

static void take_bucket(struct walk *walk, const char *line, const char *value)
{
	double le = parse_number(line, walk->le_text);
	uint64_t count = parse_integer(line, value);

	if (!walk->in_series) {
		walk->in_series = true;
		walk->has_inf = walk->has_sum = false;
		strcpy(walk->labels, walk->bare);
	} else if (strcmp(walk->labels, walk->bare) || walk->has_inf || !(le > walk->le) ||
		   count < walk->cumulative) {
		WRONG(line, "a bucket out of order");
	}
	walk->has_inf = !strcmp(walk->le_text, "+Inf");
	walk->le = le;
	walk->cumulative = count;
}

static void take_histogram(struct walk *walk, const char *line, const char *suffix,
			   const char *value)
{
	if (!strcmp(suffix, "_bucket")) {
		take_bucket(walk, line, value);
		return;
	}
	if (!walk->has_inf || !walk->in_series || strcmp(walk->labels, walk->bare))
		WRONG(line, "not after its buckets");
	if (!strcmp(suffix, "_sum")) {
		parse_number(line, value);
		walk->has_sum = true;
		return;
	}
	if (strcmp(suffix, "_count") || !walk->has_sum ||
	    parse_integer(line, value) != walk->cumulative)
		WRONG(line, "%s is not the +Inf bucket %llu", suffix,
		      (unsigned long long)walk->cumulative);
	walk->in_series = false;
}

static void add_sample(struct page *page, const char *key, const char *value)
{
	if (page->samples == page->sample_room) {
		page->sample_room = page->sample_room ? 2 * page->sample_room : 1024;
		page->sample = realloc(page->sample, page->sample_room * sizeof(*page->sample));
		CHECK(page->sample);
	}
	page->sample[page->samples++] = (struct page_sample){ key, value };
}

static void take_sample(struct walk *walk, char *line)
{
	const struct page_family *family = walk->family;
	size_t name = strspn(line, NAME_CHARS ":");
	size_t known = family ? strlen(family->name) : 0;
	char suffix[256];

	if (!family || name < known || strncmp(line, family->name, known))
		WRONG(line, "a sample outside its family");
	snprintf(suffix, sizeof(suffix), "%.*s", (int)(name - known), line + known);
	char *value = line + (take_labels(walk, line, line + name) - line);
	if (*value != ' ')
		WRONG(line, "no value");
	*value++ = '\0';
	value = number_plain(value);
	if (!strcmp(family->type, "histogram")) {
		take_histogram(walk, line, suffix, value);
	} else {
		bool counter = !strcmp(family->type, "counter");

		if (*suffix ||
		    (counter && (known < 6 || strcmp(family->name + known - 6, "_total"))))
			WRONG(line, "a sample name that does not belong to the family");
		if (parse_number(line, value) < 0 && counter)
			WRONG(line, "a negative counter");
	}
	add_sample(walk->page, line, value);
}

/* ---- for tests ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct page_sample *)a)->key, ((const struct page_sample *)b)->key);
}

struct page *page_parse(const char *text)
{
	struct page *page = calloc(1, sizeof(*page));
	struct walk *walk = calloc(1, sizeof(*walk));

	CHECK(page && walk && text);
	check_utf8(text);
	page->text = strdup(text);
	CHECK(page->text);
	walk->page = page;
	const char *end = page->text + strlen(page->text);
	for (char *line = page->text, *next; line < end; line = next) {
		next = memchr(line, '\n', (size_t)(end - line));
		CHECK(next); /* the last line has its end too */
		*next++ = '\0';
		if (!strncmp(line, "# HELP ", 7))
			take_help(walk, line);
		else if (!strncmp(line, "# TYPE ", 7))
			take_type(walk, line);
		else
			take_sample(walk, line);
	}
	end_family(walk, "the end");
	CHECK(!walk->help_of);
	free(walk);
	qsort(page->sample, page->samples, sizeof(*page->sample), compare);
	for (size_t i = 1; i < page->samples; i++)
		if (!compare(&page->sample[i - 1], &page->sample[i]))
			WRONG(page->sample[i].key, "a sample twice");
	return page;
}

void page_free(struct page *page)
{
	free(page->sample);
	free(page->family);
	free(page->text);
	free(page);
}

struct page *page_scrape(struct exporter *exporter)
{
	char *text = exporter_scrape(exporter);
	struct page *page = page_parse(text);

	free(text);
	return page;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Not by page_value: it walks by lines, which takes long in a big page with a sanitizer. */
static double value_of(const char *page, const char *key)
{
	char line[512];

	CHECK(snprintf(line, sizeof(line), "\n%s ", key) < (int)sizeof(line));
	const char *found = strstr(page, line);
	return found ? strtod(found + strlen(line), NULL) : NAN;
}

int64_t page_wait(struct exporter *exporter, const char *key, double value)
{
	int64_t began_ms = now_ms(), took_ms;
	double found = NAN;

	while (!(found >= value && found <= value)) {
		char *text = exporter_scrape(exporter);

		found = value_of(text, key);
		free(text);
		took_ms = now_ms() - began_ms;
		if (took_ms > DEADLINE_MS)
			test_fail(__FILE__, __LINE__, "%s is %f after %lld ms, not %f\n%s", key,
				  found, (long long)took_ms, value, exporter->log);
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return took_ms;
}

void log_wait(struct exporter *exporter, const char *text)
{
	int64_t end_ms = now_ms() + DEADLINE_MS, left_ms;
	struct pollfd said = { .fd = exporter->stderr_fd, .events = POLLIN };

	while (!exporter_says(exporter, text)) {
		left_ms = end_ms - now_ms();
		if (left_ms <= 0)
			test_fail(__FILE__, __LINE__, "not said: %s\n%s", text, exporter->log);
		poll(&said, 1, (int)left_ms);
	}
}

void exporter_forget(const char *name_space)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/kvtap.%s/exporter.state", test_folder(), name_space);
	CHECK_EQ(unlink(path), 0);
	*strrchr(path, '/') = '\0';
	CHECK_EQ(rmdir(path), 0);
}

void exporter_finish(struct exporter *exporter)
{
	exporter_stop(exporter);
	exporter_forget("default");
}

const char *page_find(const struct page *page, const char *key)
{
	struct page_sample wanted = { key, NULL };
	const struct page_sample *found =
		bsearch(&wanted, page->sample, page->samples, sizeof(wanted), compare);

	return found ? found->value : NULL;
}

const struct page_family *page_family(const struct page *page, const char *name)
{
	for (size_t i = 0; i < page->families; i++)
		if (!strcmp(page->family[i].name, name))
			return &page->family[i];
	return NULL;
}

static const char *must_find(const struct page *page, const char *key)
{
	const char *value = page_find(page, key);

	if (!value)
		test_fail(__FILE__, __LINE__, "not on the page: %s", key);
	return value;
}

double page_number(const struct page *page, const char *key)
{
	return parse_number(key, must_find(page, key));
}

uint64_t page_scaled(const struct page *page, unsigned digits, const char *format, ...)
{
	char key[8192], whole[64];
	va_list args;

	va_start(args, format);
	CHECK(vsnprintf(key, sizeof(key), format, args) < (int)sizeof(key));
	va_end(args);
	const char *value = must_find(page, key);
	const char *point = strchr(value, '.');
	size_t before = point ? (size_t)(point - value) : strlen(value);
	size_t after = point ? strlen(point + 1) : 0;
	if (before + digits >= 20 || after > digits)
		test_fail(__FILE__, __LINE__, "%s: no integer of 10^-%u: %s", key, digits, value);
	snprintf(whole, sizeof(whole), "%.*s%s%.*s", (int)before, value, point ? point + 1 : "",
		 (int)(digits - after), "00000000000000000000");
	return parse_integer(key, whole);
}
