/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cupti.c - libkvtap-cupti: copies of an unmodified CUDA program; see kvtap-cupti(7)
 *
 * The driver calls InitializeInjection in the program's cuInit. From then on a thread of ours takes
 * what CUPTI has and records it, each flush_ms and at exit; the program's own threads only hand
 * buffers over. All that stands in the way ends here: the program goes on without us.
 *
 *   who        store                          load                       why
 *   A cupti.c  start: active, release         active(): acquire          the table is filled in
 */
#include "cupti.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../atomic.h"
#include "cupti_buffers.h"
#include "cupti_copy.h"
#include "cupti_find.h"
#include "cupti_label.h"

#define DEVICE_BUFFER_BYTES ((size_t)256 << 10) /* of GPU memory; CUPTI's own default is 3.2 MB */
#define EXIT_WAIT_S 2				/* CUPTI or the driver may be stuck */

static pthread_once_t settings_once = PTHREAD_ONCE_INIT;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static struct kvtap_cupti_options options;
static const char *wrong_variable;

static struct kvtap_cupti cupti;
static _Atomic(const struct kvtap_cupti *) active;
static struct kvtap *tap;
static struct kvtap_copies *copies;
static void *subscriber;
static pthread_t thread;
static bool thread_runs;
static pid_t owner; /* a child of fork has the memory, but neither the thread nor CUDA */

static void read_settings(void)
{
	wrong_variable = kvtap_cupti_options_read(&options);
	if (!kvtap_labels_set(options.labels))
		wrong_variable = "KVTAP_CUPTI_LABELS";
}

const struct kvtap_cupti_options *kvtap_cupti_settings(const char **wrong)
{
	pthread_once(&settings_once, read_settings);
	if (wrong)
		*wrong = wrong_variable;
	return &options;
}

const struct kvtap_cupti *kvtap_cupti_active(void)
{
	return kvtap_load_acquire(&active); /* A */
}

/* A line for whoever set KVTAP_CUPTI_LOG: the program's own streams are not ours. */
static void log_line(void *argument, enum kvtap_level level, const char *message)
{
	int file;

	(void)argument, (void)level;
	if (!options.log)
		return;
	file = open(options.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (file < 0)
		return;
	dprintf(file, "kvtap-cupti[%d]: %s\n", (int)getpid(), message);
	close(file);
}

/* One process's: 1, or 0 with the reason. */
static void tell(const char *reason)
{
	static const char *const label = "reason";
	const char *value = reason ? reason : "";
	uint32_t family, series;

	if (kvtap_family_declare(tap, &family,
				 &(struct kvtap_family){ .name = "kvtap_cupti_up",
							 .help = "1: copies of this process are "
								 "seen; 0: not, and why.",
							 .metric = KVTAP_GAUGE,
							 .flags = KVTAP_FAMILY_LAZY,
							 .label_names = &label,
							 .label_count = 1,
							 .gauge_mode = KVTAP_GAUGE_LIVEALL }) ==
		    0 &&
	    kvtap_family_series(tap, &series, family, &value, 1) == 0)
		kvtap_set(tap, series, reason ? 0 : 1);
	if (reason)
		log_line(NULL, KVTAP_LOG_ERROR, reason);
}

/* ---- the thread ---- */

static void read_until(uint64_t until_ns)
{
	struct kvtap_buffer *buffer;

	while ((buffer = kvtap_buffers_wait(until_ns))) {
		kvtap_copies_read(copies, buffer);
		kvtap_buffers_free(buffer);
	}
}

/*
 * A plain flush gives back what is complete, and waits for nothing on the device. The forced one, at
 * exit, gives back records without their times too.
 */
static void *run(void *argument)
{
	bool last;

	tell(NULL);
	do {
		read_until(kvtap_cupti_now() + options.flush_ms * UINT64_C(1000000));
		last = kvtap_buffers_stopped();
		cupti.flush_all(last ? KVTAP_CUPTI_FLUSH_FORCED : 0);
		read_until(0);
		kvtap_copies_health(copies,
				    (double)kvtap_buffers_stalled_ns(kvtap_cupti_now()) / 1e9);
	} while (!last);
	return argument;
}

/* The program's signals are handled on its own threads. */
static bool start_thread(void)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	thread_runs = pthread_create(&thread, NULL, run, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return thread_runs;
}

/*
 * At exit(), before the handlers of what was loaded before us: the driver and CUPTI are still there.
 * The flush is on our thread, so that one that hangs, as when exit() was called under a lock of the
 * driver's, costs the program EXIT_WAIT_S and the last records.
 */
static void at_exit(void)
{
	struct timespec until;

	if (getpid() != owner)
		return;
	kvtap_store_release(&active, NULL); /* A: no push after the end */
	if (thread_runs) {
		kvtap_buffers_stop();
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += EXIT_WAIT_S;
		if (pthread_timedjoin_np(thread, NULL, &until) != 0)
			return;
	}
	kvtap_close(tap);
}

/* ---- start ---- */

/* CUPTI wants one; nothing is enabled that would call it. */
static void no_callback(void *argument, int domain, uint32_t id, const void *data)
{
	(void)argument, (void)domain, (void)id, (void)data;
}

static const char *reason_of(int result)
{
	static char text[32];

	switch (result) {
	case KVTAP_CUPTI_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED:
		return "another_profiler";
	case KVTAP_CUPTI_INSUFFICIENT_PRIVILEGES:
	case KVTAP_CUPTI_VIRTUALIZED_INSUFFICIENT_PRIVILEGES:
		return "insufficient_privileges";
	}
	snprintf(text, sizeof(text), "cupti_error_%d", result);
	return text;
}

static void disable(void)
{
	cupti.disable(KVTAP_CUPTI_KIND_MEMCPY);
	cupti.disable(KVTAP_CUPTI_KIND_PEER);
	if (kvtap_labels_count())
		cupti.disable(KVTAP_CUPTI_KIND_EXTERNAL);
	if (!options.shared)
		cupti.unsubscribe(subscriber);
}

static int enable_kinds(void)
{
	static const int kinds[] = { KVTAP_CUPTI_KIND_MEMCPY, KVTAP_CUPTI_KIND_PEER,
				     KVTAP_CUPTI_KIND_EXTERNAL };
	int count = kvtap_labels_count() ? 3 : 2, result = KVTAP_CUPTI_SUCCESS;

	for (int i = 0; i < count && result == KVTAP_CUPTI_SUCCESS; i++)
		result = cupti.enable(kinds[i]);
	return result;
}

/*
 * First the subscription: where another has it, nothing of CUPTI's is touched. The clock is CUPTI's
 * own, so that of a client we share it with is left alone.
 */
static int enable(void)
{
	size_t bytes = DEVICE_BUFFER_BYTES, value_bytes = sizeof(bytes);
	int result = options.shared ? 0 : cupti.subscribe(&subscriber, no_callback, NULL);

	if (result != KVTAP_CUPTI_SUCCESS)
		return result;
	kvtap_copies_clock(copies, !options.shared && !cupti.register_clock(kvtap_cupti_now));
	if (!options.shared)
		cupti.set_attribute(KVTAP_CUPTI_DEVICE_BUFFER_SIZE, &value_bytes, &bytes);
	result = cupti.register_callbacks(kvtap_buffers_requested, kvtap_buffers_completed);
	if (result == KVTAP_CUPTI_SUCCESS)
		result = enable_kinds();
	if (result != KVTAP_CUPTI_SUCCESS)
		disable();
	return result;
}

/* Returns: NULL, or why no copy will be seen. */
static const char *begin(void)
{
	const char *reason = kvtap_cupti_find(&cupti);
	int result;

	if (reason)
		return reason;
	kvtap_buffers_init();
	copies = kvtap_copies_open(tap, &cupti, &options);
	if (!copies)
		return "no_memory";
	result = enable();
	if (result != KVTAP_CUPTI_SUCCESS)
		return reason_of(result);
	if (!start_thread()) {
		disable();
		return "no_thread";
	}
	kvtap_store_release(&active, &cupti); /* A */
	return NULL;
}

static void start(void)
{
	const char *wrong, *reason;

	if (kvtap_cupti_settings(&wrong)->disabled)
		return;
	if (kvtap_open(&tap, &(struct kvtap_options){ .model_name = options.model_name,
						      .engine = options.engine,
						      .rank = options.rank,
						      .log = log_line }) < 0)
		return;
	owner = getpid();
	reason = wrong ? wrong : begin();
	if (reason)
		tell(reason);
	atexit(at_exit);
}

int InitializeInjection(void)
{
	pthread_once(&start_once, start);
	return 1;
}
