/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cupti.c - copies of a program that knows nothing of kvtap, through the double of CUPTI
 *
 * Each program is injected as the driver does it; what it copied is compared with the page of the
 * real exporter.
 */
#include "support_cupti.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

#define COPIES 5000
/* an empty label is not on a page: "" is what a label that isn't there is */
#define LABELS(direction, memory, device, stream)                                                  \
	"{device=\"" device "\",direction=\"" direction "\",memory=\"" memory                      \
	"\",stream=\"" stream "\"}"

#define A_COPY LABELS("h2d", "pinned", "0", "7")

static const struct double_cupti *cupti;
static struct page *page;

static void begin(void)
{
	cupti = cupti_load();
	cupti_inject();
}

static void copy_times(int count)
{
	for (int i = 0; i < count; i++)
		cupti->copy(cupti_a_copy(cupti));
}

/* Run it to its end, and scrape. */
static void run(void (*program)(void))
{
	struct program child;

	program_start(&child, program);
	program_end(&child);
	page = page_of();
}

static double value(const char *key)
{
	return page_number(page, key);
}

/* Copies as cupti_a_copy(cupti) makes them, and what became of all records. */
static void check_page(double copies, double dropped, double ignored)
{
	CHECK_EQ(value("kvtap_cuda_copies_total" A_COPY), copies);
	CHECK_EQ(value("kvtap_cuda_copy_bytes_total" A_COPY), 4096 * copies);
	CHECK_EQ(value("kvtap_cupti_dropped_records_total"), dropped);
	CHECK_EQ(value("kvtap_cupti_ignored_records_total"), ignored);
	page_free(page);
}

/* ---- totals ---- */

static void copy_5000(void)
{
	static const struct double_copy kinds[] = {
		{ .kind = H2D, .source = PINNED, .target = DEVICE, .device = 0 },
		{ .kind = H2D, .source = PAGEABLE, .target = DEVICE, .device = 1 },
		{ .kind = D2H, .source = DEVICE, .target = PINNED, .device = 1 },
		{ .kind = D2D, .source = DEVICE, .target = DEVICE, .device = 0 },
		{ .kind = P2P, .source = DEVICE, .target = DEVICE, .device = 1, .peer = true },
	};

	begin();
	for (uint64_t i = 0; i < COPIES; i++) {
		struct double_copy copy = cupti_a_copy(cupti), kind = kinds[i % 5];

		kind.bytes = 1000 + i;
		kind.start = copy.start;
		kind.end = copy.end;
		kind.count = 1;
		kind.stream = 7;
		cupti->copy(kind);
	}
	CHECK_EQ(cupti->violations(), 0);
}

/* 1000 copies of 1000 + first, + 5, + 10 ... bytes */
static double expected(int first)
{
	return 1000 * (1000 + first) + 5 * 999 * 1000 / 2.0;
}

TEST(cupti_counts_bytes_of_5000_copies_by_direction_memory_and_device)
{
	run(copy_5000);
	CHECK_EQ(value("kvtap_cuda_copy_bytes_total" LABELS("h2d", "pinned", "0", "7")),
		 expected(0));
	CHECK_EQ(value("kvtap_cuda_copy_bytes_total" LABELS("h2d", "pageable", "1", "7")),
		 expected(1));
	CHECK_EQ(value("kvtap_cuda_copy_bytes_total" LABELS("d2h", "pinned", "1", "7")),
		 expected(2));
	CHECK_EQ(value("kvtap_cuda_copy_bytes_total" LABELS("d2d", "device", "0", "7")),
		 expected(3));
	CHECK_EQ(value("kvtap_cuda_copy_bytes_total" LABELS("p2p", "device", "1", "7")),
		 expected(4));
	CHECK_EQ(value("kvtap_cuda_copies_total" LABELS("h2d", "pinned", "0", "7")), 1000);
	CHECK_EQ(value("kvtap_cuda_copy_seconds_count" LABELS("d2h", "pinned", "1", "7")), 1000);
	CHECK_EQ(value("kvtap_cupti_dropped_records_total"), 0);
	CHECK_EQ(value("kvtap_cupti_ignored_records_total"), 0);
	page_free(page);
}

/* ---- buffers ---- */

static void fill_10_small_buffers(void)
{
	begin();
	cupti->set_buffer_records(3);
	copy_times(30);
}

TEST(cupti_loses_nothing_when_buffers_are_small)
{
	run(fill_10_small_buffers);
	check_page(30, 0, 0);
}

static void fill_more_buffers_than_there_are(void)
{
	begin();
	cupti->set_buffer_records(1);
	cupti->hold();
	copy_times(20);
	CHECK_EQ(cupti->buffers_out(), 16);
	cupti->release();
}

TEST(cupti_counts_what_was_dropped_when_no_buffer_is_free)
{
	run(fill_more_buffers_than_there_are);
	check_page(16, 4, 0);
}

static void fill_late(void)
{
	begin();
	cupti->set_buffer_records(10);
	cupti->hold();
	copy_times(45); /* a buffer is half full */
	cupti->release();
}

TEST(cupti_counts_copies_whose_buffers_come_late)
{
	run(fill_late);
	check_page(45, 0, 0);
}

/* Buffers that were read are filled again: in all more than there are. */
static void fill_for_long(void)
{
	begin();
	cupti->set_buffer_records(100);
	for (int i = 0; i < 100; i++) {
		copy_times(100);
		while (cupti->calls("cuptiActivityGetNextRecord") < (uint64_t)(i + 1) * 101)
			sched_yield();
	}
}

TEST(cupti_fills_its_buffers_again_when_they_were_read)
{
	run(fill_for_long);
	check_page(10000, 0, 0);
}

/* ---- what a record says ---- */

static void copy_batches(void)
{
	struct double_copy copy;

	begin();
	copy = cupti_a_copy(cupti);
	copy.count = 128;
	cupti->copy(copy);
}

TEST(cupti_counts_each_copy_of_a_batch_since_cuda_12_8)
{
	run(copy_batches);
	CHECK_EQ(value("kvtap_cuda_copies_total" A_COPY), 128);
	CHECK_EQ(value("kvtap_cuda_copy_bytes_total" A_COPY), 4096);
	CHECK_EQ(value("kvtap_cuda_copy_seconds_count" A_COPY), 1);
	page_free(page);
}

static void copy_by_cuda_12_0(void)
{
	cupti = cupti_load();
	cupti->set_version(19);
	cupti_inject();
	copy_times(10);
}

TEST(cupti_counts_one_copy_a_record_before_cuda_12_8)
{
	run(copy_by_cuda_12_0);
	check_page(10, 0, 0);
}

static void copy_untimed(void)
{
	struct double_copy copy;

	begin();
	copy = cupti_a_copy(cupti);
	copy.start = copy.end = 0;
	cupti->copy(copy);
}

TEST(cupti_counts_a_copy_without_times_but_observes_no_duration)
{
	run(copy_untimed);
	CHECK_EQ(value("kvtap_cupti_untimed_copies_total"), 1);
	CHECK(!page_find(page, "kvtap_cuda_copy_seconds_count" A_COPY));
	check_page(1, 0, 0);
}

static void copy_for_2_us(void)
{
	begin();
	copy_times(4);
}

TEST(cupti_observes_the_time_on_the_device)
{
	run(copy_for_2_us);
	CHECK(fabs(value("kvtap_cuda_copy_seconds_sum" A_COPY) - 8e-6) < 1e-12);
	check_page(4, 0, 0);
}

static void copy_to_hosts(void)
{
	struct double_copy copy;

	begin();
	copy = cupti_a_copy(cupti);
	copy.kind = D2H;
	copy.source = DEVICE;
	copy.target = MANAGED;
	cupti->copy(copy);
	copy.kind = H2H;
	copy.source = PAGEABLE;
	copy.device = 400;
	cupti->copy(copy);
	copy.kind = 99;
	copy.source = 99;
	cupti->copy(copy);
}

TEST(cupti_names_the_hosts_memory_and_what_it_does_not_know)
{
	run(copy_to_hosts);
	CHECK_EQ(value("kvtap_cuda_copies_total" LABELS("d2h", "managed", "0", "7")), 1);
	CHECK_EQ(value("kvtap_cuda_copies_total" LABELS("h2h", "pageable", "other", "7")), 1);
	CHECK_EQ(value("kvtap_cuda_copies_total" LABELS("unknown", "unknown", "other", "7")), 1);
	page_free(page);
}

static void raw_records(void)
{
	uint32_t kernel[16] = { 3 }, unknown[4] = { 4711 }, half[24] = { 1 };

	begin();
	cupti->copy(cupti_a_copy(cupti));
	cupti->raw(kernel, sizeof(kernel), sizeof(kernel)); /* ignored */
	cupti->copy(cupti_a_copy(cupti));
	cupti->raw(unknown, sizeof(unknown), sizeof(unknown)); /* ends its buffer */
	cupti->copy(cupti_a_copy(cupti));
	cupti->raw(half, sizeof(half), 48); /* ends within it */
	cupti->raw(half, sizeof(half), SIZE_MAX / 2);
	cupti->copy(cupti_a_copy(cupti));
}

TEST(cupti_ignores_and_counts_malformed_records)
{
	run(raw_records);
	CHECK_EQ(value("kvtap_cuda_copies_total" A_COPY), 4);
	CHECK(value("kvtap_cupti_ignored_records_total") >= 3);
	page_free(page);
}

/* ---- filters and bounds ---- */

static void copy_sizes(void)
{
	struct double_copy copy;

	begin();
	copy = cupti_a_copy(cupti);
	copy.bytes = 4095;
	cupti->copy(copy);
	cupti->copy(cupti_a_copy(cupti));
	copy = cupti_a_copy(cupti);
	copy.kind = D2D;
	copy.count = 2;
	cupti->copy(copy);
}

TEST(cupti_leaves_out_small_copies_and_directions_not_asked_for)
{
	setenv("KVTAP_CUPTI_MIN_BYTES", "4096", 1);
	setenv("KVTAP_CUPTI_DIRECTIONS", "h2d,d2h", 1);
	run(copy_sizes);
	CHECK_EQ(value("kvtap_cupti_filtered_copies_total"), 3);
	check_page(1, 0, 0);
}

static void copy_on_5_streams(void)
{
	begin();
	for (uint32_t i = 0; i < 10; i++) {
		struct double_copy copy = cupti_a_copy(cupti);

		copy.stream = 7 + i % 5;
		cupti->copy(copy);
	}
}

TEST(cupti_calls_streams_past_the_bound_other)
{
	setenv("KVTAP_CUPTI_STREAMS", "2", 1);
	run(copy_on_5_streams);
	CHECK_EQ(value("kvtap_cuda_copies_total" LABELS("h2d", "pinned", "0", "8")), 2);
	CHECK_EQ(value("kvtap_cuda_copies_total" LABELS("h2d", "pinned", "0", "other")), 6);
	check_page(2, 0, 0);
}

static void copy_on_256_streams_of_8_devices(void)
{
	begin();
	for (uint32_t i = 0; i < 2048; i++) {
		struct double_copy copy = cupti_a_copy(cupti);

		copy.stream = i % 256;
		copy.device = i / 256;
		cupti->copy(copy);
	}
}

static double total_of(const char *prefix)
{
	double total = 0;

	for (size_t i = 0; i < page->samples; i++) {
		if (strncmp(page->sample[i].key, prefix, strlen(prefix)) == 0)
			total += strtod(page->sample[i].value, NULL);
	}
	return total;
}

TEST(cupti_counts_every_copy_when_there_are_too_many_series)
{
	setenv("KVTAP_CUPTI_STREAMS", "256", 1);
	run(copy_on_256_streams_of_8_devices);
	CHECK_EQ(total_of("kvtap_cuda_copies_total{"), 2048);
	CHECK_EQ(value("kvtap_cuda_copies_total" LABELS("h2d", "pinned", "7", "other")), 256);
	page_free(page);
}

TEST(cupti_series_have_the_constant_labels_of_the_environment)
{
	setenv("KVTAP_CUPTI_MODEL_NAME", "llama", 1);
	setenv("KVTAP_CUPTI_ENGINE", "3", 1);
	run(copy_for_2_us);
	CHECK_EQ(value("kvtap_cuda_copies_total{device=\"0\",direction=\"h2d\",engine=\"3\","
		       "memory=\"pinned\",model_name=\"llama\",stream=\"7\"}"),
		 4);
	page_free(page);
}
