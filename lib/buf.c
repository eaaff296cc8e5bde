/* A growable run of bytes: appended at the end, consumed from the front. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

/* An empty buffer gives back what a burst made it grow to beyond this. */
#define KEEP (64 * 1024)

void
buf_clear(struct buf *b)
{
	free(b->mem);
	memset(b, 0, sizeof *b);
}

uint8_t *
buf_data(const struct buf *b)
{
	return b->mem != NULL ? b->mem + b->start : NULL;
}

uint8_t *
buf_room(struct buf *b, size_t n)
{
	if (b->start + b->len + n > b->cap && b->start > 0) {
		memmove(b->mem, b->mem + b->start, b->len);
		b->start = 0;
	}
	if (b->len + n > b->cap) {
		size_t cap = b->cap < 256 ? 256 : b->cap;

		while (cap < b->len + n)
			cap *= 2;
		b->mem = xrealloc(b->mem, cap);
		b->cap = cap;
	}
	return b->mem + b->start + b->len;
}

void
buf_added(struct buf *b, size_t n)
{
	b->len += n;
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	if (n > 0) {
		memcpy(buf_room(b, n), p, n);
		b->len += n;
	}
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	va_start(ap, fmt);
	vsnprintf((char *)buf_room(b, (size_t)n + 1), (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void
buf_put_be32(struct buf *b, uint32_t v)
{
	uint8_t p[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	buf_put(b, p, sizeof p);
}

void
buf_take(struct buf *b, size_t n)
{
	b->start += n;
	b->len -= n;
	if (b->len == 0) {
		b->start = 0;
		if (b->cap > KEEP)
			buf_clear(b);
	}
}

char *
buf_cstr(struct buf *b)
{
	*buf_room(b, 1) = '\0';
	return (char *)buf_data(b);
}
