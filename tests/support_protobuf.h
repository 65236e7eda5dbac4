/* SPDX-License-Identifier: Apache-2.0 */
/* support_protobuf.h - take a delimited stream of io.prometheus.client.MetricFamily apart, strictly */
#ifndef KVTAP_TESTS_SUPPORT_PROTOBUF_H
#define KVTAP_TESTS_SUPPORT_PROTOBUF_H

#include <stddef.h>

/*
 * protobuf_text - in the text form of protobuf, a line for each family; to be freed
 *
 * An unknown field, a wire type that is not the field's and bytes over or missing fail the test.
 */
char *protobuf_text(const char *data, size_t bytes);

#endif
