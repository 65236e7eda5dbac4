/* SPDX-License-Identifier: Apache-2.0 */
/* support_connector.c - see support_connector.h */
#include "support_connector.h"

#include <stdio.h>

#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const double seconds[] = { CONNECTOR_LOW_MS / 1e3, CONNECTOR_HIGH_MS / 1e3 };

struct kvtap *connector_tap(const char *engine, const char *rank)
{
	struct kvtap *tap;

	CHECK_EQ(kvtap_open(&tap, &(struct kvtap_options){ .dir = test_folder(),
							   .model_name = "m",
							   .engine = engine,
							   .rank = rank,
							   .ring_slots = 16,
							   .ring_max = 8 }),
		 0);
	return tap;
}

uint32_t connector_declare(struct kvtap *tap, const char *name, enum kvtap_summary summary)
{
	uint32_t id;

	CHECK_EQ(kvtap_connector_declare(tap, &id,
					 &(struct kvtap_connector){ .name = name,
								    .summary = summary }),
		 0);
	return id;
}

static uint32_t family(struct kvtap *tap, const char *prefix, const char *name,
		       enum kvtap_metric metric, const char *const *labels, size_t count)
{
	bool histogram = metric == KVTAP_HISTOGRAM;
	char whole[64];
	uint32_t id;

	snprintf(whole, sizeof(whole), "%s_%s", prefix, name);
	CHECK_EQ(kvtap_family_declare(tap, &id,
				      &(struct kvtap_family){ .name = whole,
							      .metric = metric,
							      .label_names = labels,
							      .label_count = count,
							      .bounds = histogram ? seconds : NULL,
							      .bound_count = histogram ? 2 : 0 }),
		 0);
	return id;
}

uint32_t connector_kind(struct kvtap *tap, uint32_t connector, enum kvtap_role role,
			const char *name)
{
	struct kvtap_feed feeds[] = {
		{ family(tap, name, "failed", KVTAP_COUNTER, NULL, 0), KVTAP_FIELD_ONE,
		  KVTAP_WHEN_FAILED, NULL },
		{ family(tap, name, "bytes", KVTAP_HISTOGRAM, NULL, 0), KVTAP_FIELD_BYTES,
		  KVTAP_WHEN_OK, NULL },
		{ family(tap, name, "time", KVTAP_HISTOGRAM, NULL, 0), KVTAP_FIELD_DURATION,
		  KVTAP_WHEN_OK, NULL },
		{ family(tap, name, "post", KVTAP_HISTOGRAM, NULL, 0), KVTAP_FIELD_SUBMIT,
		  KVTAP_WHEN_OK, NULL },
		{ family(tap, name, "descriptors", KVTAP_HISTOGRAM, NULL, 0),
		  KVTAP_FIELD_DESCRIPTORS, KVTAP_WHEN_OK, NULL },
	};
	uint32_t id, series;

	CHECK_EQ(kvtap_kind_declare(tap, &id,
				    &(struct kvtap_kind){ .name = name,
							  .feeds = feeds,
							  .feed_count = COUNT(feeds),
							  .connector = connector,
							  .role = role }),
		 0);
	CHECK_EQ(kvtap_kind_series(tap, &series, id, NULL, 0), 0);
	return series;
}

uint32_t connector_operation(struct kvtap *tap, uint32_t connector, const char *operation,
			     const char *status)
{
	static const char *const names[] = { "operation", "status" };
	const char *const values[] = { operation, status };
	struct kvtap_feed feeds[] = {
		{ family(tap, "store", "time", KVTAP_HISTOGRAM, names, 2), KVTAP_FIELD_DURATION,
		  KVTAP_WHEN_ALWAYS, NULL },
		{ family(tap, "store", "keys", KVTAP_COUNTER, names, 2), KVTAP_FIELD_DESCRIPTORS,
		  KVTAP_WHEN_ALWAYS, NULL },
		{ family(tap, "store", "bytes", KVTAP_COUNTER, names, 2), KVTAP_FIELD_BYTES,
		  KVTAP_WHEN_ALWAYS, NULL },
		{ family(tap, "store", "failed_keys", KVTAP_COUNTER, names, 2),
		  KVTAP_FIELD_FAILED_DESCRIPTORS, KVTAP_WHEN_ALWAYS, NULL },
	};
	uint32_t id, series;

	CHECK_EQ(kvtap_kind_declare(tap, &id,
				    &(struct kvtap_kind){ .name = "store",
							  .label_names = names,
							  .label_count = 2,
							  .feeds = feeds,
							  .feed_count = COUNT(feeds),
							  .connector = connector,
							  .role = KVTAP_ROLE_OPERATION }),
		 0);
	CHECK_EQ(kvtap_kind_series(tap, &series, id, values, 2), 0);
	return series;
}

uint32_t connector_family(struct kvtap *tap, uint32_t connector, enum kvtap_metric metric,
			  enum kvtap_unit unit, enum kvtap_role role, const char *name,
			  const char *label)
{
	static const char *const names[] = { "tier" };
	size_t labels = label ? 1 : 0, bounds = metric == KVTAP_HISTOGRAM ? 2 : 0;
	uint32_t id, series;

	CHECK_EQ(kvtap_family_declare(tap, &id,
				      &(struct kvtap_family){ .name = name,
							      .metric = metric,
							      .label_names = names,
							      .label_count = labels,
							      .bounds = seconds,
							      .bound_count = bounds,
							      .unit = unit,
							      .connector = connector,
							      .role = role }),
		 0);
	CHECK_EQ(kvtap_family_series(tap, &series, id, &label, labels), 0);
	return series;
}

void move_us(struct kvtap *tap, uint32_t series, uint64_t duration_us, uint64_t submit_us,
	     uint64_t bytes, uint32_t descriptors)
{
	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series,
						      .duration_ns = duration_us * 1000,
						      .submit_ns = submit_us * 1000,
						      .bytes = bytes,
						      .descriptors = descriptors });
}

void fail_move(struct kvtap *tap, uint32_t series, uint8_t status)
{
	kvtap_transfer(tap, &(struct kvtap_transfer){ .series = series, .status = status });
}
