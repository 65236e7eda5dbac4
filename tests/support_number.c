/* SPDX-License-Identifier: Apache-2.0 */
/* support_number.c - numbers on a page without padding */
#include "support_number.h"

#include <string.h>

/* Zeros at the end say nothing after a point, unless there is an exponent. */
static void cut_fraction(char *number)
{
	char *last = number + strlen(number) - 1;

	if (!strchr(number, '.') || strchr(number, 'e'))
		return;
	while (*last == '0')
		*last-- = '\0';
	if (*last == '.')
		*last = '\0';
}

char *number_plain(char *number)
{
	number += strspn(number, " ");
	char *digits = number + (*number == '-');
	size_t zeros = strspn(digits, "0");

	if (zeros && (digits[zeros] < '0' || digits[zeros] > '9'))
		zeros--; /* that is all before the point */
	memmove(digits, digits + zeros, strlen(digits + zeros) + 1);
	cut_fraction(number);
	return number;
}
