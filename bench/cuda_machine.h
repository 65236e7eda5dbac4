/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_machine.h - where a device is in its machine, and how fast it says it is
 *
 * From the driver and from /sys and /proc; what can't be read there is left out.
 */
#ifndef KVTAP_BENCH_CUDA_MACHINE_H
#define KVTAP_BENCH_CUDA_MACHINE_H

#include "cuda_driver.h"

/* cuda_machine_print - the cuda line: device, driver, bus, link, node, clocks */
void cuda_machine_print(const struct cuda_driver *cuda);
/* cuda_machine_pin - run on the first CPU near the device that this process may use; or on its first */
void cuda_machine_pin(const struct cuda_driver *cuda);
/* cuda_machine_unpin - run where the process might before */
void cuda_machine_unpin(void);

#endif
