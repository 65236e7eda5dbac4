/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vectors_numpy.c - what numpy makes of transfers at test time is what the exporter tells of them
 *
 * And shows of them on its page, where sums are exact. An engine for each case. A ring has room for
 * all of a case, so that none is folded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_vectors.h"
#include "test.h"

#define CASES_MAX 512
#define NAME_BYTES 64
#define FIGURES_BYTES 512
#define SUMS 4
#define SLOTS_MIN 16
#define BIG 10000 /* records of a case that is waited for, for the sake of shared memory */

struct vector {
	char engine[NAME_BYTES], form[NAME_BYTES], figures[FIGURES_BYTES];
	uint32_t count;
	double sum[SUMS];
};

static uint32_t series_of(struct kvtap *tap, const char *form)
{
	static const struct {
		const char *form, *kind;
	} kind[] = {
		{ "nixl", KVTAP_NIXL_TRANSFER },   { "mooncake", KVTAP_MOONCAKE_SEND },
		{ "store", KVTAP_MOONCAKE_STORE }, { "hf3fs", KVTAP_HF3FS_SAVE },
		{ "offload", KVTAP_OFFLOAD_LOAD },
	};
	const struct kvtap_builtin_labels put = { .operation = "save_put", .status = "ok" };
	size_t i = 0;

	while (strcmp(kind[i].form, form) != 0)
		i++;
	return interval_series(tap, kind[i].kind, strcmp(form, "store") ? NULL : &put);
}

static void record(struct kvtap *tap, uint32_t series, const char *line)
{
	struct kvtap_transfer transfer = { .series = series };
	unsigned long long duration_ns, submit_ns, bytes;

	CHECK_EQ(sscanf(line, "%llu %llu %llu %u", &duration_ns, &submit_ns, &bytes,
			&transfer.descriptors),
		 4);
	transfer.duration_ns = duration_ns;
	transfer.submit_ns = submit_ns;
	transfer.bytes = bytes;
	kvtap_transfer(tap, &transfer);
}

/* Returns: false: there is no more. */
static bool record_case(FILE *cases, struct vector *vector)
{
	uint32_t slots = SLOTS_MIN;
	char line[FIGURES_BYTES];

	if (!fgets(line, sizeof(line), cases))
		return false;
	CHECK_EQ(sscanf(line, "case %63s %63s %u", vector->engine, vector->form, &vector->count),
		 3);
	while (slots <= vector->count)
		slots *= 2;
	struct kvtap *tap =
		interval_tap(vector->engine,
			     &(struct kvtap_options){ .ring_slots = slots, .ring_max = 1 });
	uint32_t series = series_of(tap, vector->form);
	for (uint32_t i = 0; i < vector->count; i++) {
		CHECK(fgets(line, sizeof(line), cases));
		record(tap, series, line);
	}
	kvtap_close(tap);
	CHECK(fgets(vector->figures, sizeof(vector->figures), cases));
	vector->figures[strcspn(vector->figures, "\n")] = '\0';
	for (size_t i = 0; i < SUMS; i++)
		CHECK_EQ(fscanf(cases, "%lf ", &vector->sum[i]), 1);
	return true;
}

/* A page has all digits of a sum, so it reads back as the double that is nearest. */
static void check_page(const struct interval *interval, const struct vector *vector)
{
	static const char *const family[SUMS] = { "xfer_time_seconds", "post_time_seconds",
						  "bytes_transferred", "num_descriptors" };
	char sample[160];

	for (size_t i = 0; i < SUMS; i++) {
		snprintf(sample, sizeof(sample),
			 "vllm:nixl_%s_count{engine=\"%s\",model_name=\"m\"}", family[i],
			 vector->engine);
		CHECK(page_value(interval->page, sample) == vector->count);
		snprintf(sample, sizeof(sample), "vllm:nixl_%s_sum{engine=\"%s\",model_name=\"m\"}",
			 family[i], vector->engine);
		if (page_value(interval->page, sample) != vector->sum[i])
			test_fail(__FILE__, __LINE__, "%s is not %.17g", sample, vector->sum[i]);
	}
}

TEST_TIMEOUT(vectors_of_numpy_are_told_to_the_digit, 300)
{
	static struct vector vector[CASES_MAX];
	struct interval interval;
	size_t count = 0;

	if (system("/usr/bin/python3 -c 'import numpy' 2>/dev/null"))
		SKIP("python3-numpy is missing");
	FILE *cases = popen("/usr/bin/python3 -B tests/interval_vectors.py", "re");
	CHECK(cases);
	interval_begin(&interval);
	while (count < CASES_MAX && record_case(cases, &vector[count])) {
		if (vector[count++].count > BIG)
			free(exporter_scrape(&interval.exporter));
		CHECK(!exporter_says(&interval.exporter, "level=error")); /* reads what it says */
	}
	CHECK_EQ(pclose(cases), 0);
	interval_end(&interval);
	CHECK(count > 200 && count < CASES_MAX);
	for (size_t i = 0; i < count; i++)
		interval_check(&interval, vector[i].engine, vector[i].figures);
	for (size_t i = 0; i < count; i++)
		if (strcmp(vector[i].form, "nixl") == 0)
			check_page(&interval, &vector[i]);
	interval_free(&interval);
}
