/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connector.c - connectors: checked, numbered, written to the dictionary
 *
 * Knows nothing of how the exporter sums one up. Published as families are; see declare.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "declare.h"

static int add_connector(struct kvtap *tap, uint32_t *id, const char *name,
			 const struct kvtap_entry_builder *entry)
{
	char *copy;
	int rc;

	*id = kvtap_dictionary_find(&tap->dictionary, entry);
	if (*id)
		return 0;
	for (uint32_t i = 1; i <= tap->connectors; i++)
		if (strcmp(tap->connector[i], name) == 0)
			return kvtap_complain(tap, -EEXIST, "connector", name,
					      "declared before with another summary");
	if (tap->connectors == KVTAP_CONNECTORS_MAX)
		return kvtap_complain(tap, -ENOSPC, "connector", name, "more than 64 connectors");
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	rc = kvtap_declare_append(tap, entry, tap->connectors + 1);
	if (rc < 0) {
		free(copy);
		return kvtap_complain(tap, rc, "connector", name, strerror(-rc));
	}
	tap->connector[tap->connectors + 1] = copy;
	kvtap_fence_seq_cst(); /* as in add_family */
	*id = ++tap->connectors;
	return 0;
}

int kvtap_declare_connector(struct kvtap *tap, uint32_t *id,
			    const struct kvtap_connector *connector)
{
	struct kvtap_entry head = { .type = KVTAP_ENTRY_CONNECTOR,
				    .metric = (uint8_t)connector->summary };
	struct kvtap_entry_builder entry;
	int rc;

	if (!connector->name || !*connector->name || connector->summary < KVTAP_SUMMARY_FAMILIES ||
	    connector->summary > KVTAP_SUMMARY_HF3FS)
		return kvtap_complain(tap, -EINVAL, "connector", connector->name,
				      "no name, or an unknown summary");
	if (strlen(connector->name) > KVTAP_NAME_MAX)
		return kvtap_complain(tap, -E2BIG, "connector", connector->name,
				      "the name is longer than 255 bytes");
	kvtap_entry_begin(&entry, &head);
	kvtap_entry_string(&entry, connector->name);
	rc = kvtap_entry_end(&entry);
	if (rc == 0)
		rc = add_connector(tap, id, connector->name, &entry);
	kvtap_entry_free(&entry);
	return rc;
}

int kvtap_connector_declare(struct kvtap *tap, uint32_t *id,
			    const struct kvtap_connector *connector)
{
	int rc = kvtap_declare_begin(tap, id);

	if (rc)
		return rc > 0 ? 0 : rc;
	rc = kvtap_declare_connector(tap, id, connector);
	kvtap_tap_unlock(tap);
	return rc;
}
