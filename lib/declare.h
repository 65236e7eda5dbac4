/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declare.h - declaring, as the files that do it share it
 *
 * All but begin: with the tap's lock held, or before anybody else has the tap. Those that declare
 * do what the public call of that name does, and log why they could not.
 */
#ifndef KVTAP_DECLARE_H
#define KVTAP_DECLARE_H

#include "tap.h"

/*
 * kvtap_declare_begin - how each public call that declares begins; sets id to 0
 * Returns: 0 and the lock held; 1: the tap is switched off or NULL and takes it silently; -ENODEV
 * without a segment, or what kvtap_tap_lock returns.
 */
int kvtap_declare_begin(struct kvtap *tap, uint32_t *id);

int kvtap_declare_connector(struct kvtap *tap, uint32_t *id,
			    const struct kvtap_connector *connector);
int kvtap_declare_family(struct kvtap *tap, uint32_t *id, const struct kvtap_family *family);
int kvtap_declare_kind(struct kvtap *tap, uint32_t *id, const struct kvtap_kind *kind);
/* kvtap_declare_series - of a kind, or of a family */
int kvtap_declare_series(struct kvtap *tap, uint32_t *series, bool of_kind, uint32_t target,
			 const char *const *values, size_t count);

/* kvtap_complain - log why a declaration of what, by this name, failed; returns rc */
int kvtap_complain(const struct kvtap *tap, int rc, const char *what, const char *name,
		   const char *why);

/* kvtap_declare_append - publish an entry; 0 or a negative errno */
int kvtap_declare_append(struct kvtap *tap, const struct kvtap_entry_builder *entry, uint32_t id);

/* kvtap_declare_groups - the built-in groups that the tap is opened with; 0 or a negative errno */
int kvtap_declare_groups(struct kvtap *tap, uint32_t groups);

#endif
