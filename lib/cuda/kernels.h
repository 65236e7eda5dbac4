/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.h - kvtap's own kernels, loaded into a context
 *
 * The driver compiles their PTX for its GPU; no toolkit is needed. Arguments: marker.cu.
 */
#ifndef KVTAP_CUDA_KERNELS_H
#define KVTAP_CUDA_KERNELS_H

#include "driver.h"

struct kvtap_kernels {
	kvtap_cu_module module;
	kvtap_cu_function marker_begin;
	kvtap_cu_function marker_end;
	kvtap_cu_function calibrate;
};

/*
 * kvtap_kernels_load - for the current context; not while it captures
 * @kernels: zeroed on error
 * @result:  what the driver said, on error; NULL: not asked for
 *
 * Returns: 0, -ENOTSUP (the driver can't compile or run them), -ENOMEM, -EIO.
 */
int kvtap_kernels_load(const struct kvtap_cu *cu, struct kvtap_kernels *kernels,
		       kvtap_cu_result *result);

/* kvtap_kernels_unload - @kernels: in no stream or graph any more; zeroed, and unloaded once only */
void kvtap_kernels_unload(const struct kvtap_cu *cu, struct kvtap_kernels *kernels);

/* kvtap_kernels_launch - one thread of @function. Returns: what the driver says. */
kvtap_cu_result kvtap_kernels_launch(const struct kvtap_cu *cu, kvtap_cu_function function,
				     kvtap_cu_stream stream, void **arguments);

#endif
