/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard.c - SIGBUS while a guarded access runs becomes its result
 *
 * The orders of the loads and stores are those of their callers in reader*.c, which name the pairs.
 */
#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "atomic.h"
#include "kvtap_reader.h"

static _Thread_local sigjmp_buf *volatile current;
static struct sigaction previous;

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	if (current) {
		const ucontext_t *interrupted = context;

		/* no change, unless a sanitizer's runtime blocks signals around handlers */
		pthread_sigmask(SIG_SETMASK, &interrupted->uc_sigmask, NULL);
		siglongjmp(*current, 1);
	}
	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(signal_number, info, context);
		return;
	}
	if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(signal_number);
		return;
	}
	sigaction(SIGBUS, &previous,
		  NULL); /* the faulting access runs again and ends the process */
}

static int install_error;

static void install(void)
{
	/* NODEFER: the jump out of the handler does not restore a signal mask */
	struct sigaction action = { .sa_sigaction = on_sigbus,
				    .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigemptyset(&action.sa_mask);
	install_error = sigaction(SIGBUS, &action, &previous) < 0 ? -errno : 0;
}

int kvtap_reader_guard(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	return install_error;
}

/* Not a function: sigsetjmp must be called by the frame that makes the access. */
#define GUARDED(access)                                                                            \
	do {                                                                                       \
		sigjmp_buf jump;                                                                   \
                                                                                                   \
		if (sigsetjmp(jump, 0)) {                                                          \
			current = NULL;                                                            \
			return false;                                                              \
		}                                                                                  \
		current = &jump;                                                                   \
		kvtap_signal_fence();                                                              \
		access;                                                                            \
		kvtap_signal_fence();                                                              \
		current = NULL;                                                                    \
		return true;                                                                       \
	} while (0)

bool kvtap_guard_copy(void *to, const void *from, size_t bytes)
{
	GUARDED(memcpy(to, from, bytes));
}

static void load_words(uint64_t *to, const _Atomic(uint64_t) *from, size_t words)
{
	for (size_t i = 0; i < words; i++)
		to[i] = kvtap_load_acquire(&from[i]);
}

bool kvtap_guard_words(uint64_t *to, const _Atomic(uint64_t) *from, size_t words)
{
	GUARDED(load_words(to, from, words));
}

bool kvtap_guard_load32(const _Atomic(uint32_t) *from, uint32_t *value)
{
	GUARDED(*value = kvtap_load_acquire(from));
}

bool kvtap_guard_load64(const _Atomic(uint64_t) *from, uint64_t *value)
{
	GUARDED(*value = kvtap_load_acquire(from));
}

bool kvtap_guard_run(void (*access)(void *arg), void *arg)
{
	GUARDED(access(arg));
}

bool kvtap_guard_store32(_Atomic(uint32_t) *to, uint32_t value)
{
	GUARDED(kvtap_store_seq_cst(to, value));
}

bool kvtap_guard_store64(_Atomic(uint64_t) *to, uint64_t value)
{
	GUARDED(kvtap_store_release(to, value));
}
