/*
 * A growable run of bytes that is appended to at its end and consumed from its front.
 * All zero is a valid empty buffer. Allocation cannot fail (xalloc.h).
 */
#ifndef LEYDEN_BUF_H
#define LEYDEN_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *mem; /* allocation; NULL when nothing was ever put in */
	size_t cap;   /* its size */
	size_t start; /* first byte not yet consumed */
	size_t len;   /* bytes not yet consumed */
};

void buf_clear(struct buf *b); /* frees the memory; the buffer is empty and usable */
uint8_t *buf_data(const struct buf *b);
/* Makes room for n bytes after the end and returns where they go; buf_added() then says how many came. */
uint8_t *buf_room(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_put_be32(struct buf *b, uint32_t v);
/* Consumes n bytes from the front; n is at most b->len. */
void buf_take(struct buf *b, size_t n);
/* The bytes as a NUL-terminated string, owned by the buffer and good until it changes. */
char *buf_cstr(struct buf *b);

static inline uint32_t
be32_get(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t
be64_get(const uint8_t *p)
{
	return (uint64_t)be32_get(p) << 32 | be32_get(p + 4);
}

static inline void
be64_set(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

#endif
