/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h - the hash of both tables: keyed once a process, so that collisions can't be prepared */
#ifndef KVTAP_EXPORTER_HASH_H
#define KVTAP_EXPORTER_HASH_H

#include <stddef.h>

unsigned long hash_bytes(const void *data, size_t bytes);

#endif
