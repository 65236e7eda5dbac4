/* SPDX-License-Identifier: Apache-2.0 */
/*
 * double_cuda_parts.h - what the parts of the double of the driver share
 *
 * double_cuda.c        the controls, and what each call begins and ends with
 * double_cuda_work.c   what streams have to do, and when
 * double_cuda_stream.c streams, events, capture and graphs
 * double_cuda_calls.c  devices, contexts, memory, modules
 * double_cuda_injection.c  what is loaded by cuInit
 *
 * One lock is held by each call from double_enter() to double_leave(), and dropped only while a
 * kernel or host function runs.
 */
#ifndef DOUBLE_CUDA_PARTS_H
#define DOUBLE_CUDA_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "double_cuda_functions.h"

#define DOUBLE_DECLARE(symbol, name, version, arguments) kvtap_cu_result symbol arguments;
DOUBLE_FUNCTIONS(DOUBLE_DECLARE)
#undef DOUBLE_DECLARE

#define DOUBLE_INDEX(symbol, name, version, arguments) AT_##symbol,
enum { DOUBLE_FUNCTIONS(DOUBLE_INDEX) DOUBLE_FUNCTION_COUNT };
#undef DOUBLE_INDEX

/* A function of the driver that does one thing under the lock. */
#define DOUBLE_CALL(symbol, arguments, does)                                                       \
	kvtap_cu_result symbol arguments                                                           \
	{                                                                                          \
		int result = double_enter(AT_##symbol);                                            \
		return double_leave(result ? result : (does));                                     \
	}

enum kind { CONTEXT, STREAM, EVENT, GRAPH, MODULE, FUNCTION, MEMORY, HOST_MEMORY, REGISTERED };

/* Whatever has a handle. Kept after its destruction until reset, so that late use is seen. */
struct object {
	enum kind kind;
	bool dead;
	void *handle;
	struct context *context;
};

struct context {
	struct object object;
	int device;
	int sticky;
	uint32_t retained; /* of a primary context */
};

struct kernel {
	struct object object; /* a FUNCTION */
	char name[64];
	void (*run)(void **arguments);
	uint32_t count;
	size_t size[16];
};

struct work {
	enum { COPY, KERNEL, HOST, RECORD, WAIT } kind;
	uint64_t submitted_ns;
	struct work *next;
	void *to; /* COPY; HOST: the argument */
	const void *from;
	size_t bytes;
	void (*host)(void *argument);
	struct kernel *kernel;
	uint64_t argument[32]; /* KERNEL: copies of its arguments, one after the other */
	struct event *event;   /* RECORD, WAIT */
	uint64_t record;       /* which one of the event's */
};

struct queue {
	struct work *first, *last;
};

struct stream {
	struct object object;
	bool busy; /* its first work is being done, without the lock */
	bool blocking, is_default;
	uint64_t thread;  /* whose default it is; 0: nobody's */
	uint64_t free_ns; /* when its last work ended */
	struct queue queue;
	struct graph *capture;
};

struct event {
	struct object object;
	bool timed;
	uint64_t recorded, done; /* which record was put last into a stream, and was reached last */
	uint64_t done_ns;
	struct graph *captured; /* the last record was captured by this */
};

/* Also an executable graph: what is captured is what is launched. */
struct graph {
	struct object object;
	struct queue queue;
	bool capturing, invalid;
	int mode;
	uint64_t thread;
};

struct memory {
	struct object object;
	void *address;
	size_t bytes;
};

struct thread { /* what the driver knows of a thread */
	uint64_t generation, id;
	struct context *stack[16];
	uint32_t depth;
	int mode;
	bool called_back; /* it runs a kernel or host function */
	uint64_t now_ns;  /* and that is when it was due */
};

struct state {
	pthread_mutex_t lock;
	pthread_cond_t change; /* work came or is done, the clock or the mode changed */
	bool manual, ready, forked, gone;
	bool thread_runs, thread_ends;
	uint64_t generation, threads, violations;
	uint64_t manual_ns;
	double rate;
	uint64_t copies, lost_copy; /* done; which one is not, from 1 */
	struct object **object;
	size_t objects, room;
	struct context *primary[2];
	int attribute[256];
};

#pragma GCC visibility push(hidden)

extern struct state state;

/* double_enter - take the lock; Returns: 0, or what the call has to return without doing anything */
int double_enter(int function);
int double_leave(int result);
void double_violation(const char *what);
struct thread *double_thread(void);

/* double_make - an object with a handle; @bytes: of the struct around it */
void *double_make(enum kind kind, size_t bytes, struct context *context);
/* double_find - Returns: 0, and the object, or why not */
int double_find(void *object, void *handle, enum kind kind);
/* double_current - the calling thread's context */
int double_current(struct context **context);
/* double_unsafe - what may not be called while somebody captures */
int double_unsafe(void);
/* double_implicit - whether work for a stream, if it is the legacy one, would break a capture */
int double_implicit(const struct stream *stream);

/* double_on_device - whether an address is in a device's memory */
bool double_on_device(const void *address);
/* double_inject - without the lock */
void double_inject(void);
/* double_tell_copy - to what was injected */
void double_tell_copy(const struct work *work, uint64_t end_ns);

/* double_stream - a stream by its handle, a default one as well */
int double_stream(struct stream **stream, void *handle);
/* double_submit - put work into a stream, or into the graph that captures it */
int double_submit(void *stream, const struct work *work);
int double_drain(struct stream *stream);
void double_append(struct queue *queue, const struct work *work);
void double_drop(struct queue *queue);

uint64_t double_now(void);
/* double_run_due - do what is due by a time; Returns: when there is more, or UINT64_MAX */
uint64_t double_run_due(uint64_t now_ns);
void double_start_thread(void);
void double_stop_thread(void);

#pragma GCC visibility pop

#endif
