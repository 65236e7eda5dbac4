/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support_cuda.h - the double of the driver, loaded into the test's process
 */
#ifndef KVTAP_TESTS_SUPPORT_CUDA_H
#define KVTAP_TESTS_SUPPORT_CUDA_H

#include "double_cuda.h"
#include "double_cuda_functions.h"

/* The driver's functions, as a program linked with it would call them. */
struct cuda_api {
#define CUDA_API(symbol, name, version, arguments) kvtap_cu_result(*symbol) arguments;
	DOUBLE_FUNCTIONS(CUDA_API)
#undef CUDA_API
};

/* cuda_double - load the double that was built with this test, and cuInit; Returns: its controls */
const struct double_cuda *cuda_double(struct cuda_api *cu);

#endif
