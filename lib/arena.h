/*
 * Memory that is given back all at once: what one frame, row or transaction needs while it is handled.
 * All zero is a valid empty arena.
 */
#ifndef LEYDEN_ARENA_H
#define LEYDEN_ARENA_H

#include <stddef.h>
#include <protobuf-c/protobuf-c.h>

/* Where an arena's blocks come from. get() does not fail: it ends the process. */
struct arena_source {
	void *(*get)(size_t n);
	void (*put)(void *block, size_t n);
};

struct arena {
	struct arena_block *blocks;	   /* newest first */
	size_t used;			   /* of the newest block */
	size_t total;			   /* bytes handed out since the last reset */
	ProtobufCAllocator pb;		   /* set by arena_pb() */
	const struct arena_source *source; /* NULL: the heap */
};

void *arena_alloc(struct arena *a, size_t n); /* aligned for any type; not zeroed */
void *arena_zalloc(struct arena *a, size_t n);
void *arena_dup(struct arena *a, const void *p, size_t n);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An allocator for protobuf-c's unpack functions; what it unpacks needs no free_unpacked. */
ProtobufCAllocator *arena_pb(struct arena *a);
void arena_reset(struct arena *a); /* keeps one block for the next use */
void arena_clear(struct arena *a);

#endif
