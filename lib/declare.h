/* SPDX-License-Identifier: Apache-2.0 */
/* declare.h - what all calls that declare do, as the files that have them share it */
#ifndef KVTAP_DECLARE_H
#define KVTAP_DECLARE_H

#include "tap.h"

/* kvtap_declare_complain - log why a declaration of what, by this name, failed; returns rc */
int kvtap_declare_complain(const struct kvtap *tap, int rc, const char *what, const char *name,
			   const char *why);

/* kvtap_declare_append - publish an entry, with the lock held; 0 or a negative errno */
int kvtap_declare_append(struct kvtap *tap, const struct kvtap_entry_builder *entry, uint32_t id);

/*
 * kvtap_declare_unusable - whether the tap takes no declarations; sets id to 0
 * Returns: 0 if it does, -ENODEV without a segment, 1 if it is switched off or NULL and is silent.
 */
int kvtap_declare_unusable(struct kvtap *tap, uint32_t *id);

#endif
