/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard.h - touch a mapped file that somebody may truncate meanwhile
 *
 * Each call returns false if the access raised SIGBUS. Needs kvtap_reader_guard() once.
 * sigsetjmp without the signal mask costs about 3 ns.
 */
#ifndef KVTAP_GUARD_H
#define KVTAP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool kvtap_guard_copy(void *to, const void *from, size_t bytes);
/* kvtap_guard_words - each word by an acquire load */
bool kvtap_guard_words(uint64_t *to, const _Atomic(uint64_t) *from, size_t words);
bool kvtap_guard_load32(const _Atomic(uint32_t) *from, uint32_t *value); /* acquire */
bool kvtap_guard_load64(const _Atomic(uint64_t) *from, uint64_t *value); /* acquire */
/* kvtap_guard_run - any number of accesses; what the call has put into arg is only good if all were */
bool kvtap_guard_run(void (*access)(void *arg), void *arg);
bool kvtap_guard_store32(_Atomic(uint32_t) *to, uint32_t value); /* seq_cst */
bool kvtap_guard_store64(_Atomic(uint64_t) *to, uint64_t value); /* release */

#endif
