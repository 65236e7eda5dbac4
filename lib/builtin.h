/* SPDX-License-Identifier: Apache-2.0 */
/* builtin.h - the rows of builtin_rows.c: built-in groups, their families, and kinds of transfer */
#ifndef KVTAP_BUILTIN_H
#define KVTAP_BUILTIN_H

#include <stdbool.h>

#include "kvtap.h"

struct kvtap_builtin_family {
	/* label_names end with NULL too; flags and connector come when it is declared */
	struct kvtap_family family;
	const struct kvtap_connector *connector; /* NULL: that of the group */
	bool on_demand; /* not there before kvtap_builtin() asks for it by name */
};

struct kvtap_builtin_group {
	uint32_t bit;				   /* KVTAP_GROUP_* */
	const struct kvtap_connector *connector;   /* NULL: none */
	const struct kvtap_builtin_family *family; /* [families] */
	size_t families;
	bool at_zero; /* series are there at 0 from the start; else families are lazy */
	const char *const *values; /* which: values of the families' one label, ended by NULL */
};

struct kvtap_builtin_feed {
	const char *family;
	enum kvtap_field field;
	uint32_t when;	   /* enum kvtap_when */
	const char *value; /* of the family's label transfer_type or class; NULL: it has none */
};

struct kvtap_builtin_kind {
	const char *name;
	uint32_t group; /* the one to which its use opts in */
	const struct kvtap_connector *connector;
	enum kvtap_role role;
	const char *direction; /* label value; NULL: the value of its label operation */
	const char *const
		*labels; /* names of those that must be given, ended by NULL; NULL: none */
	const struct kvtap_builtin_feed
		*feed; /* [feeds]; those of other groups count if the tap has them */
	size_t feeds;
};

extern const struct kvtap_builtin_group kvtap_builtin_group[];
extern const size_t kvtap_builtin_groups;
extern const struct kvtap_builtin_kind kvtap_builtin_kind[];
extern const size_t kvtap_builtin_kinds;
/* what every kind feeds too in a tap that has KVTAP_GROUP_KVTAP */
extern const struct kvtap_builtin_feed kvtap_builtin_own_feed[];
extern const size_t kvtap_builtin_own_feeds;

#endif
