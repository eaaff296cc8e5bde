/* Allocation that cannot fail. */
#include "xalloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "log.h"

static void *
checked(void *p)
{
	if (p == NULL) {
		log_error("out-of-memory", "%s", "");
		_Exit(EX_OSERR);
	}
	return p;
}

void *
xmalloc(size_t n)
{
	return checked(malloc(n != 0 ? n : 1));
}

void *
xcalloc(size_t count, size_t size)
{
	return checked(calloc(count != 0 ? count : 1, size != 0 ? size : 1));
}

void *
xrealloc(void *p, size_t n)
{
	return checked(realloc(p, n != 0 ? n : 1));
}

char *
xstrdup(const char *s)
{
	return checked(strdup(s));
}

char *
xmemdup0(const void *p, size_t n)
{
	char *copy = xmalloc(n + 1);

	if (n > 0)
		memcpy(copy, p, n);
	copy[n] = '\0';
	return copy;
}

char *
xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return checked(s);
}
