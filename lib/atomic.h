/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomic.h - the only place that names memory orders
 *
 * Every use outside says with a letter which access it pairs with; see the table at the head of
 * each file. signal_fence orders against a handler on the same thread, so it costs no instruction.
 */
#ifndef KVTAP_ATOMIC_H
#define KVTAP_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#define kvtap_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define kvtap_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define kvtap_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define kvtap_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define kvtap_store_seq_cst(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)
#define kvtap_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define kvtap_swap_relaxed(p, expected, v)                                                         \
	atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_relaxed,        \
						memory_order_relaxed)
/* the same, for an object that changes hands: acquires it, and releases what was done to it */
#define kvtap_swap_acq_rel(p, expected, v)                                                         \
	atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel,        \
						memory_order_acquire)
#define kvtap_fence_seq_cst() atomic_thread_fence(memory_order_seq_cst)
#define kvtap_signal_fence() atomic_signal_fence(memory_order_seq_cst)

_Static_assert(sizeof(_Atomic(uint64_t)) == 8 && sizeof(_Atomic(uint32_t)) == 4, "shared layout");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
	       "an atomic between processes must be lock-free");

#define kvtap_likely(x) __builtin_expect(!!(x), 1)
#define kvtap_unlikely(x) __builtin_expect(!!(x), 0)

#endif
