/* SPDX-License-Identifier: Apache-2.0 */
/* support_number.h - numbers on a page without padding */
#ifndef KVTAP_TESTS_SUPPORT_NUMBER_H
#define KVTAP_TESTS_SUPPORT_NUMBER_H

/* number_plain - cut in place what a field of fixed width has too much; returns its begin */
char *number_plain(char *number);

#endif
