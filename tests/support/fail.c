/* Ending a test with a sentence. */
#include "fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void (*test_on_fail)(const char *sentence);

void
test_fail(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (test_on_fail != NULL)
		test_on_fail(text);
	fprintf(stderr, "%s\n", text);
	abort();
}
