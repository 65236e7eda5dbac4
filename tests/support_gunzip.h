/* SPDX-License-Identifier: Apache-2.0 */
/* support_gunzip.h - take a gzip stream of any number of members apart */
#ifndef KVTAP_TESTS_SUPPORT_GUNZIP_H
#define KVTAP_TESTS_SUPPORT_GUNZIP_H

#include <stddef.h>

/* gunzip - returns the bytes written to out; a stream that is not whole, or too long, fails the test */
size_t gunzip(char *out, size_t room, const char *data, size_t bytes);

#endif
