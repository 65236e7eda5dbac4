/* SPDX-License-Identifier: Apache-2.0 */
#include "double_cupti.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* the client has its own declarations, and finds these by name */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define INVALID_OPERATION 7
#define MAX_LIMIT_REACHED 12
#define INVALID_KIND 21
#define QUEUE_EMPTY 18
#define MEMCPY 1
#define KERNEL 3 /* known to CUPTI, but not asked for */
#define PEER 22
#define EXTERNAL 39
#define KINDS 64
#define QUEUE 64
#define DEPTH 16
#define EXPORT __attribute__((visibility("default")))

typedef void requested(uint8_t **buffer, size_t *bytes, size_t *records_max);
typedef void completed(void *context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid);

struct filled {
	uint8_t *bytes;
	size_t size, used, records;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static uint32_t version = 130001;
static struct rule {
	const char *function;
	int result;
	uint64_t calls;
} rules[32];
static requested *request;
static completed *complete;
static uint64_t (*stamp)(void);
static bool enabled[KINDS], any_enabled, holding, hanging;
static size_t buffer_records, dropped_records;
static struct filled current, queue[QUEUE];
static size_t queued;
static uint32_t correlation;
static uint64_t stolen_buffers, forced, out, wrong;
static __thread uint64_t ids[DEPTH];
static __thread uint32_t ids_depth, ids_kind;

/* Called with the lock. Returns: the rule of a function, made when it is new. */
static struct rule *rule_of(const char *function)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (!rules[i].function)
			rules[i].function = function;
		if (strcmp(rules[i].function, function) == 0)
			return &rules[i];
	}
	abort();
}

static int call(const char *function)
{
	struct rule *rule;
	int result;

	pthread_mutex_lock(&lock);
	rule = rule_of(function);
	rule->calls++;
	result = rule->result;
	pthread_mutex_unlock(&lock);
	return result;
}

#define ENTER                                                                                      \
	do {                                                                                       \
		int result = call(__func__);                                                       \
		if (result)                                                                        \
			return result;                                                             \
	} while (0)

static void violation(const char *what)
{
	wrong++;
	fprintf(stderr, "double of libcupti: violation: %s\n", what);
}

/* ---- buffers ---- */

/* With the lock, which callbacks are called without: they may call CUPTI. */
static void give_back(struct filled filled)
{
	completed *function = complete;

	out--;
	pthread_mutex_unlock(&lock);
	function(NULL, 0, filled.bytes, filled.size, filled.used);
	pthread_mutex_lock(&lock);
}

static void current_is_full(void)
{
	struct filled full = current;

	current = (struct filled){ 0 };
	if (holding && queued < QUEUE)
		queue[queued++] = full;
	else
		give_back(full);
}

static bool room(size_t bytes)
{
	struct filled fresh = { 0 };
	size_t records_max = 0;
	requested *function = request;

	if (current.bytes && current.size - current.used < bytes)
		current_is_full();
	if (current.bytes)
		return true;
	if (!function)
		return false;
	pthread_mutex_unlock(&lock);
	function(&fresh.bytes, &fresh.size, &records_max);
	pthread_mutex_lock(&lock);
	if (!fresh.bytes)
		return false;
	memset(fresh.bytes, 0, fresh.size);
	out++;
	current = fresh;
	return true;
}

static void put(const void *record, size_t bytes)
{
	if (!room(bytes)) {
		dropped_records++;
		return;
	}
	memcpy(current.bytes + current.used, record, bytes);
	current.used += bytes;
	if (++current.records == buffer_records)
		current_is_full();
}

/* ---- records ---- */

static void put32(uint8_t *record, size_t at, uint32_t value)
{
	memcpy(record + at, &value, sizeof(value));
}

static void put64(uint8_t *record, size_t at, uint64_t value)
{
	memcpy(record + at, &value, sizeof(value));
}

static size_t bytes_of(uint32_t kind)
{
	switch (kind) {
	case MEMCPY:
		return version >= 26 ? 96 : 88;
	case PEER:
		return 96;
	case EXTERNAL:
		return 24;
	case KERNEL:
		return 64;
	default:
		return 0;
	}
}

static void put_external(uint32_t id)
{
	uint8_t record[24] = { EXTERNAL };

	put32(record, 4, ids_kind);
	put64(record, 8, ids[ids_depth - 1]);
	put32(record, 16, id);
	put(record, sizeof(record));
}

static void put_copy(const struct double_copy *copy, uint32_t id)
{
	uint8_t record[96] = { copy->peer ? PEER : MEMCPY };

	record[4] = copy->kind;
	record[5] = copy->source;
	record[6] = copy->target;
	put64(record, 8, copy->bytes);
	put64(record, 16, copy->start);
	put64(record, 24, copy->end);
	put32(record, 32, copy->device);
	put32(record, 40, copy->stream);
	put32(record, copy->peer ? 60 : 44, id);
	if (!copy->peer)
		put64(record, 88, copy->count);
	put(record, bytes_of(record[0]));
}

static void do_copy(struct double_copy copy)
{
	bool labelled;
	uint32_t id;

	pthread_mutex_lock(&lock);
	labelled = enabled[EXTERNAL] && ids_depth && ids_depth <= DEPTH;
	if (enabled[copy.peer ? PEER : MEMCPY]) {
		id = ++correlation;
		if (labelled && !copy.label_late)
			put_external(id);
		put_copy(&copy, id);
		if (labelled && copy.label_late)
			put_external(id);
	}
	pthread_mutex_unlock(&lock);
}

static void do_raw(const void *record, size_t bytes, size_t valid)
{
	pthread_mutex_lock(&lock);
	if (room(bytes)) {
		memcpy(current.bytes + current.used, record, bytes);
		current.used += valid;
		current_is_full();
	}
	pthread_mutex_unlock(&lock);
}

/* ---- CUPTI's functions ---- */

EXPORT int cuptiGetVersion(uint32_t *number)
{
	ENTER;
	*number = version;
	return 0;
}

EXPORT int cuptiSubscribe(void **subscriber, void *callback, void *argument)
{
	ENTER;
	(void)argument;
	*subscriber = &version;
	return callback ? 0 : 1;
}

EXPORT int cuptiUnsubscribe(void *subscriber)
{
	ENTER;
	return subscriber == &version ? 0 : 1;
}

EXPORT int cuptiActivityRegisterCallbacks(requested *new_request, completed *new_complete)
{
	ENTER;
	pthread_mutex_lock(&lock);
	request = new_request;
	complete = new_complete;
	pthread_mutex_unlock(&lock);
	return 0;
}

EXPORT int cuptiActivityRegisterTimestampCallback(uint64_t (*clock)(void))
{
	ENTER;
	if (any_enabled)
		violation("a clock after the first kind");
	stamp = clock;
	return 0;
}

EXPORT int cuptiActivitySetAttribute(int attribute, size_t *bytes, void *value)
{
	ENTER;
	(void)value;
	return attribute == 0 && *bytes == sizeof(size_t) ? 0 : 1;
}

static int set_enabled(int kind, bool on)
{
	if (kind != MEMCPY && kind != PEER && kind != EXTERNAL)
		violation("a kind that costs more than copies do");
	if (kind < 0 || kind >= KINDS)
		return INVALID_KIND;
	pthread_mutex_lock(&lock);
	enabled[kind] = on;
	any_enabled = true;
	pthread_mutex_unlock(&lock);
	return 0;
}

EXPORT int cuptiActivityEnable(int kind)
{
	ENTER;
	return set_enabled(kind, true);
}

EXPORT int cuptiActivityDisable(int kind)
{
	ENTER;
	return set_enabled(kind, false);
}

/* As the real one it goes by the kinds' sizes; a last record may end behind what is valid. */
EXPORT int cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid, void **record)
{
	uint8_t *next = buffer;

	ENTER;
	if (*record)
		next = (uint8_t *)*record + bytes_of(*(uint32_t *)*record);
	if (next >= buffer + valid)
		return MAX_LIMIT_REACHED;
	if (!bytes_of(*(uint32_t *)(void *)next))
		return INVALID_KIND;
	*record = next;
	return 0;
}

EXPORT int cuptiActivityGetNumDroppedRecords(void *context, uint32_t stream, size_t *dropped)
{
	ENTER;
	(void)context, (void)stream;
	pthread_mutex_lock(&lock);
	*dropped = dropped_records;
	dropped_records = 0;
	pthread_mutex_unlock(&lock);
	return 0;
}

EXPORT int cuptiActivityFlushAll(uint32_t flag)
{
	ENTER;
	pthread_mutex_lock(&lock);
	if (!complete) {
		pthread_mutex_unlock(&lock);
		return INVALID_OPERATION;
	}
	forced += flag & 1;
	while (hanging)
		pthread_cond_wait(&never, &lock);
	if (current.used)
		current_is_full();
	pthread_mutex_unlock(&lock);
	return 0;
}

EXPORT int cuptiActivityPushExternalCorrelationId(uint32_t kind, uint64_t id)
{
	ENTER;
	if (ids_depth < DEPTH)
		ids[ids_depth] = id;
	ids_depth++;
	ids_kind = kind;
	return 0;
}

EXPORT int cuptiActivityPopExternalCorrelationId(uint32_t kind, uint64_t *last)
{
	ENTER;
	if (!ids_depth || kind != ids_kind)
		return QUEUE_EMPTY;
	ids_depth--;
	if (last && ids_depth < DEPTH)
		*last = ids[ids_depth];
	return 0;
}

/* ---- controls ---- */

static void set_version(uint32_t value)
{
	version = value;
}

static void fail(const char *function, int result)
{
	pthread_mutex_lock(&lock);
	rule_of(function)->result = result;
	pthread_mutex_unlock(&lock);
}

static void set_buffer_records(size_t records)
{
	buffer_records = records;
}

static void hold(void)
{
	pthread_mutex_lock(&lock);
	holding = true;
	pthread_mutex_unlock(&lock);
}

static void hang_flush(void)
{
	pthread_mutex_lock(&lock);
	hanging = true;
	pthread_mutex_unlock(&lock);
}

static void release(void)
{
	pthread_mutex_lock(&lock);
	holding = false;
	for (size_t i = 0; i < queued; i++)
		give_back(queue[i]);
	queued = 0;
	pthread_mutex_unlock(&lock);
}

static uint64_t now(void)
{
	struct timespec time;

	if (stamp)
		return stamp();
	clock_gettime(CLOCK_REALTIME, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void others_request(uint8_t **buffer, size_t *bytes, size_t *records_max)
{
	*bytes = 4096;
	*buffer = malloc(*bytes);
	*records_max = 0;
}

static void others_complete(void *context, uint32_t stream, uint8_t *buffer, size_t bytes,
			    size_t valid)
{
	(void)context, (void)stream, (void)bytes, (void)valid;
	free(buffer);
	pthread_mutex_lock(&lock);
	stolen_buffers++;
	pthread_mutex_unlock(&lock);
}

static void steal(void)
{
	pthread_mutex_lock(&lock);
	request = others_request;
	complete = others_complete;
	pthread_mutex_unlock(&lock);
}

static uint64_t locked(const uint64_t *value)
{
	uint64_t result;

	pthread_mutex_lock(&lock);
	result = *value;
	pthread_mutex_unlock(&lock);
	return result;
}

static uint64_t stolen(void)
{
	return locked(&stolen_buffers);
}

static uint64_t calls(const char *function)
{
	uint64_t result;

	pthread_mutex_lock(&lock);
	result = rule_of(function)->calls;
	pthread_mutex_unlock(&lock);
	return result;
}

static uint64_t forced_flushes(void)
{
	return locked(&forced);
}

static uint64_t buffers_out(void)
{
	return locked(&out);
}

static uint64_t violations(void)
{
	return locked(&wrong);
}

EXPORT const struct double_cupti *double_cupti_control(void)
{
	static const struct double_cupti control = {
		.set_version = set_version,
		.fail = fail,
		.set_buffer_records = set_buffer_records,
		.hold = hold,
		.release = release,
		.hang_flush = hang_flush,
		.copy = do_copy,
		.raw = do_raw,
		.now = now,
		.steal = steal,
		.stolen = stolen,
		.calls = calls,
		.forced_flushes = forced_flushes,
		.buffers_out = buffers_out,
		.violations = violations,
	};

	return &control;
}
