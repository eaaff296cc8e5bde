/* Memory that is given back all at once. */
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define BLOCK (32 * 1024)
#define ALIGN 16

struct arena_block {
	struct arena_block *next;
	size_t size;
	_Alignas(ALIGN) uint8_t mem[];
};

static struct arena_block *
get_block(const struct arena *a, size_t size)
{
	size_t n = sizeof(struct arena_block) + size;
	struct arena_block *b = a->source != NULL ? a->source->get(n) : xmalloc(n);

	b->size = size;
	return b;
}

static void
put_block(const struct arena *a, struct arena_block *b)
{
	if (a->source != NULL)
		a->source->put(b, sizeof *b + b->size);
	else
		free(b);
}

void *
arena_alloc(struct arena *a, size_t n)
{
	void *p;

	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (a->blocks == NULL || a->used + n > a->blocks->size) {
		struct arena_block *b = get_block(a, n > BLOCK ? n : BLOCK);

		b->next = a->blocks;
		a->blocks = b;
		a->used = 0;
	}
	p = a->blocks->mem + a->used;
	a->used += n;
	a->total += n;
	return p;
}

void *
arena_zalloc(struct arena *a, size_t n)
{
	return memset(arena_alloc(a, n), 0, n);
}

void *
arena_dup(struct arena *a, const void *p, size_t n)
{
	void *copy = arena_alloc(a, n);

	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

char *
arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *copy = arena_alloc(a, n + 1);

	memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	s = arena_alloc(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return s;
}

static void *
pb_alloc(void *data, size_t n)
{
	return arena_alloc(data, n);
}

static void
pb_free(void *data, void *p)
{
	(void)data;
	(void)p;
}

ProtobufCAllocator *
arena_pb(struct arena *a)
{
	a->pb = (ProtobufCAllocator){ .alloc = pb_alloc, .free = pb_free, .allocator_data = a };
	return &a->pb;
}

void
arena_reset(struct arena *a)
{
	struct arena_block *b = a->blocks, *next;

	/* The oldest stays: what the heap gives comes before what another source gives. */
	for (; b != NULL && (b->next != NULL || b->size != BLOCK); b = next) {
		next = b->next;
		put_block(a, b);
	}
	a->blocks = b;
	a->used = a->total = 0;
}

void
arena_clear(struct arena *a)
{
	struct arena_block *b, *next;

	for (b = a->blocks; b != NULL; b = next) {
		next = b->next;
		put_block(a, b);
	}
	*a = (struct arena){ .source = a->source };
}
