/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_connector.h - a connector of each form, as a worker declares them by hand
 *
 * What fails here fails the test. Names are short: what vLLM's are is for the tests of the built-ins.
 */
#ifndef KVTAP_TESTS_SUPPORT_CONNECTOR_H
#define KVTAP_TESTS_SUPPORT_CONNECTOR_H

#include "kvtap.h"

/* Bounds of all histograms of time: 10 and 25 ms. */
#define CONNECTOR_LOW_MS 10
#define CONNECTOR_HIGH_MS 25

/* connector_tap - of model "m" and this engine and rank, either of which may be NULL; 16 slots */
struct kvtap *connector_tap(const char *engine, const char *rank);

/* connector_declare - the id of a connector */
uint32_t connector_declare(struct kvtap *tap, const char *name, enum kvtap_summary summary);

/**
 * connector_kind - a kind of transfers that feeds name_time, name_post, name_bytes, name_descriptors
 * (histograms of those that succeeded) and name_failed
 *
 * Returns: its series.
 */
uint32_t connector_kind(struct kvtap *tap, uint32_t connector, enum kvtap_role role,
			const char *name);
/* connector_operation - a series of transfers of a store, which all feed store_time and sums */
uint32_t connector_operation(struct kvtap *tap, uint32_t connector, const char *operation,
			     const char *status);
/* connector_family - a series of a family of the connector; label: NULL or the value of "tier" */
uint32_t connector_family(struct kvtap *tap, uint32_t connector, enum kvtap_metric metric,
			  enum kvtap_unit unit, enum kvtap_role role, const char *name,
			  const char *label);

/* move_us - record a transfer that took so long, submit included */
void move_us(struct kvtap *tap, uint32_t series, uint64_t duration_us, uint64_t submit_us,
	     uint64_t bytes, uint32_t descriptors);
/* fail_move - record a transfer with a status */
void fail_move(struct kvtap *tap, uint32_t series, uint8_t status);

#endif
