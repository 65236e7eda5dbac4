/* SPDX-License-Identifier: Apache-2.0 */
/* cupti_find.h - the CUPTI library of this process */
#ifndef KVTAP_CUDA_CUPTI_FIND_H
#define KVTAP_CUDA_CUPTI_FIND_H

#include "cupti_abi.h"

/*
 * kvtap_cupti_find - the library that the process has loaded; else that of its CUDA runtime, which is
 * beside it or where the toolkit and the wheels put it; else what the loader finds
 * Returns: NULL, or why not: "no_libcupti", "old_libcupti".
 */
const char *kvtap_cupti_find(struct kvtap_cupti *cupti);

#endif
