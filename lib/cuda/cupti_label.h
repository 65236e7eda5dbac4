/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cupti_label.h - the names of NVTX ranges that become values of the label "label"
 *
 * Only listed names do: a program may make any number of names, and each would be a series.
 */
#ifndef KVTAP_CUDA_CUPTI_LABEL_H
#define KVTAP_CUDA_CUPTI_LABEL_H

#include <stdbool.h>
#include <stdint.h>

#define KVTAP_LABELS_MAX 256
#define KVTAP_LABEL_NONE 0u /* outside of any range: "" */
#define KVTAP_LABEL_OTHER                                                                          \
	(KVTAP_LABELS_MAX + 1) /* inside ranges of which none is listed: "other" */

/*
 * kvtap_labels_set - list the names, separated by commas; once, before the other calls
 * Returns: false if there are too many or no memory; then none is listed.
 */
bool kvtap_labels_set(const char *list);
/* kvtap_labels_count - how many are listed */
uint32_t kvtap_labels_count(void);
/* kvtap_label_find - the id of a listed name, or KVTAP_LABEL_NONE */
uint32_t kvtap_label_find(const char *name);
/* kvtap_label_name - of an id that another call gave; "" for one that none did */
const char *kvtap_label_name(uint32_t id);

#endif
