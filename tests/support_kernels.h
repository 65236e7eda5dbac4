/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_kernels.h - kvtap's kernels and those of the tests, by the same code for the host, for the
 * double of the driver
 */
#ifndef KVTAP_TESTS_SUPPORT_KERNELS_H
#define KVTAP_TESTS_SUPPORT_KERNELS_H

#include "double_cuda.h"

/* kernels_on_double - by its own clock */
void kernels_on_double(const struct double_cuda *double_cuda);

#endif
