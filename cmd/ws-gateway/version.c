/* The protocol version that a client names. */
#include "version.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAJOR 1
#define MINOR 4

/* Digits, at least one and few enough for a long; moves *p behind them. -1: there are none. */
static long
number(const char **p)
{
	char *end;
	long n;

	if (!isdigit((unsigned char)**p) || strspn(*p, "0123456789") > 9)
		return -1;
	n = strtol(*p, &end, 10);
	*p = end;
	return n;
}

enum version_check
version_check(const char *text)
{
	const char *p = strrchr(text, '.');
	long major, minor;

	p = p != NULL ? p + 1 : text;
	if (*p++ != 'v' || (major = number(&p)) < 0 || *p++ != '_' || (minor = number(&p)) < 0 || *p != '\0')
		return VERSION_UNREADABLE;
	return major == MAJOR && minor <= MINOR ? VERSION_FITS : VERSION_OTHER;
}
