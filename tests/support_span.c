/* SPDX-License-Identifier: Apache-2.0 */
#include "support_span.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "support_segment.h"
#include "test.h"

struct spans spans;

static atomic_bool by_hand;
static atomic_ullong begun;
static uint64_t contexts;
static struct watch watch;
static double added[64]; /* by series */

/* Takes the place of libc's, for kvtap as well. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
	uint64_t now_ns;

	if (clock != CLOCK_MONOTONIC || !by_hand)
		return (int)syscall(SYS_clock_gettime, clock, time);
	now_ns = spans.gpu->now();
	time->tv_sec = (time_t)(now_ns / SECOND);
	time->tv_nsec = (long)(now_ns % SECOND);
	return 0;
}

/* ---- open and close ---- */

static void open_all(const struct kvtap_cuda_options *options)
{
	struct kvtap_options small = small_options();

	small.ring_slots = 8192;
	small.ring_max = 64;
	small.groups = KVTAP_GROUP_OFFLOAD | KVTAP_GROUP_KVTAP;
	begun = 0;
	contexts = 0;
	memset(added, 0, sizeof(added));
	CHECK_EQ(kvtap_open(&spans.tap, &small), 0);
	spans.load = builtin_series(spans.tap, KVTAP_OFFLOAD_LOAD);
	spans.context = spans_context(0);
	spans.stream = spans_stream();
	CHECK_EQ(kvtap_cuda_open(&spans.cuda, spans.tap, options), 0);
	watch_open(&watch, 0);
}

void spans_open_following(const struct kvtap_cuda_options *options)
{
	spans.gpu = cuda_double(&spans.cu);
	spans.gpu->set_rate(1); /* a byte takes a nanosecond */
	open_all(options);
}

void spans_open(const struct kvtap_cuda_options *options)
{
	spans.gpu = cuda_double(&spans.cu);
	spans.gpu->set_rate(1);
	spans.gpu->set_manual(true);
	spans.gpu->advance(SECOND - spans.gpu->now() % SECOND); /* times are round ones */
	by_hand = true;
	open_all(options);
}

static void check_sum(void)
{
	struct kvtap_cuda_stats stats = spans_stats();

	CHECK_EQ(stats.recorded + stats.failed + stats.in_flight + stats.untimed_driver +
			 stats.untimed_capture + stats.untimed_full + stats.untimed_context +
			 stats.untimed_abandoned,
		 begun);
}

void spans_close_cuda(void)
{
	check_sum();
	kvtap_cuda_close(spans.cuda);
	spans.cuda = NULL;
	CHECK_EQ(spans.gpu->violations(), 0);
	CHECK_EQ(spans.gpu->live_events(), 0);
	CHECK_EQ(spans.gpu->calls("*Synchronize"), 0);
	CHECK_EQ(spans.gpu->calls("cuCtxCreate"), contexts);
	CHECK_EQ(spans.gpu->calls("cuDevicePrimaryCtx*"), 0);
	CHECK_EQ(spans.gpu->calls("cuCtxSetCurrent"), 0);
}

void spans_close(void)
{
	if (spans.cuda)
		spans_close_cuda();
	kvtap_close(spans.tap);
	watch_remove(&watch);
	by_hand = false;
	spans.gpu->reset();
}

/* ---- the driver ---- */

void *spans_context(int device)
{
	void *context;

	CHECK_EQ(spans.cu.cuCtxCreate_v4(&context, NULL, 0, device), 0);
	contexts++;
	return context;
}

void *spans_stream(void)
{
	void *stream;

	CHECK_EQ(spans.cu.cuStreamCreate(&stream, 1), 0);
	return stream;
}

/* A byte takes a nanosecond: onto itself. */
void spans_busy(void *stream, uint64_t ns)
{
	static char memory[64 * MS];
	uint64_t address = (uintptr_t)memory;

	CHECK(ns <= sizeof(memory));
	CHECK_EQ(spans.cu.cuMemcpyAsync(address, address, ns, stream), 0);
}

void spans_advance(uint64_t ns)
{
	spans.gpu->advance(ns);
}

uint64_t spans_now(void)
{
	return spans.gpu->now();
}

/* ---- spans and records ---- */

struct kvtap_span *spans_begin(void *stream)
{
	begun++;
	return kvtap_span_begin(spans.cuda, stream, spans.load);
}

void spans_once(void *stream, uint64_t bytes, uint64_t ns)
{
	struct kvtap_span *span = spans_begin(stream);

	CHECK(span);
	kvtap_span_add(span, bytes, 1);
	spans_busy(stream, ns);
	kvtap_span_end(span);
}

struct kvtap_cuda_stats spans_stats(void)
{
	struct kvtap_cuda_stats stats;

	kvtap_cuda_stats(spans.cuda, &stats);
	return stats;
}

static bool is_transfer(const struct kvtap_record *record)
{
	return (record->op & ~KVTAP_OP_OVERLAPPED) == KVTAP_OP_TRANSFER;
}

uint32_t spans_read(struct kvtap_record *record, uint32_t room)
{
	struct kvtap_record one;
	enum kvtap_reject why;
	uint32_t count = 0;

	for (uint32_t ring = 0; ring < kvtap_reader_rings(watch.reader); ring++) {
		while (kvtap_reader_fetch(watch.reader, &why, ring, &one, 1, NULL) == 1) {
			kvtap_reader_take(watch.reader, ring, 1);
			CHECK_EQ(kvtap_reader_give_back(watch.reader, ring), 0);
			if (one.op == KVTAP_OP_ADD && one.series < 64)
				added[one.series] += one.value;
			if (!is_transfer(&one))
				continue;
			CHECK(count < room);
			record[count++] = one;
		}
	}
	return count;
}

static bool is_text(const struct kvtap_text *text, const char *string)
{
	return text->bytes == strlen(string) && memcmp(text->data, string, text->bytes) == 0;
}

uint64_t spans_counted(const char *reason)
{
	static struct kvtap_series_view view;
	enum kvtap_reject why;

	CHECK_EQ(kvtap_reader_refresh(watch.reader, &why), 0);
	for (uint32_t id = 1; id < 64 && kvtap_reader_series(watch.reader, id, &view); id++)
		if (view.labels == 1 && is_text(&view.label[0], "reason") &&
		    is_text(&view.label_value[0], reason))
			return (uint64_t)added[id];
	test_fail(__FILE__, __LINE__, "no series with reason %s", reason);
}
