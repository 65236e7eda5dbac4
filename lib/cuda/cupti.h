/* SPDX-License-Identifier: Apache-2.0 */
/* cupti.h - what the two entries of libkvtap-cupti share */
#ifndef KVTAP_CUDA_CUPTI_H
#define KVTAP_CUDA_CUPTI_H

#include "cupti_abi.h"
#include "cupti_options.h"

/* kvtap_cupti_settings - the environment, read once, and its labels listed; any thread */
const struct kvtap_cupti_options *kvtap_cupti_settings(const char **wrong);
/* kvtap_cupti_active - the library while records come from it, else NULL; any thread */
const struct kvtap_cupti *kvtap_cupti_active(void);

/* Called by the CUDA driver in cuInit (CUDA_INJECTION64_PATH). Returns: 1, whatever came of it. */
__attribute__((visibility("default"))) int InitializeInjection(void);
/*
 * Called by NVTX at its first call (NVTX_INJECTION64_PATH). Returns: 0 where no label is listed: then
 * NVTX calls cost the program nothing.
 */
__attribute__((visibility("default"))) int
InitializeInjectionNvtx2(const void *(*export_table)(uint32_t id));

#endif
