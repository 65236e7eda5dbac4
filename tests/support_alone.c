/* SPDX-License-Identifier: Apache-2.0 */
/* support_alone.c - what CHECK calls in programs that no test runner runs */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "test.h"

void test_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%s:%d: ", file, line);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	exit(1);
}
