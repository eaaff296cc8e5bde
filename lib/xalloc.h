/* Allocation that cannot fail: out of memory ends the process with EX_OSERR and one line. */
#ifndef LEYDEN_XALLOC_H
#define LEYDEN_XALLOC_H

#include <stddef.h>

void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
/* n bytes of p and a NUL after them. */
char *xmemdup0(const void *p, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
