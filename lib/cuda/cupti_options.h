/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cupti_options.h - what the environment asks of libkvtap-cupti; documented in kvtap-cupti(7)
 */
#ifndef KVTAP_CUDA_CUPTI_OPTIONS_H
#define KVTAP_CUDA_CUPTI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define KVTAP_CUPTI_STREAMS_MAX 256

struct kvtap_cupti_options {
	const char *model_name, *engine, *rank; /* NULL: none */
	const char *log;			/* a file; NULL: none */
	uint64_t min_bytes;
	uint32_t directions; /* bits by CUpti_ActivityMemcpyKind */
	uint32_t flush_ms;
	uint32_t streams;   /* that have a label of their own */
	const char *labels; /* as given; NULL: none */
	bool shared;
	bool disabled; /* KVTAP_DISABLE */
};

/* The label direction, by CUpti_ActivityMemcpyKind. */
extern const char *const kvtap_cupti_directions[];

/*
 * kvtap_cupti_options_read - read the environment; strings stay its own
 * Returns: NULL, or the variable that is malformed; what could be read is in @options.
 */
const char *kvtap_cupti_options_read(struct kvtap_cupti_options *options);

#endif
