/* Chunks that wait. */
#include "queue.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

static void
grow(struct queue *q)
{
	size_t cap = q->cap != 0 ? q->cap * 2 : 8;
	struct chunk **ring = xmalloc(cap * sizeof *ring);

	for (size_t i = 0; i < q->count; i++)
		ring[i] = queue_at(q, i);
	free(q->ring);
	q->ring = ring;
	q->cap = cap;
	q->head = 0;
}

void
queue_put(struct queue *q, struct chunk *c)
{
	if (q->count == q->cap)
		grow(q);
	q->ring[(q->head + q->count++) % q->cap] = c;
}

struct chunk *
queue_at(const struct queue *q, size_t i)
{
	return q->ring[(q->head + i) % q->cap];
}

struct chunk *
queue_take(struct queue *q)
{
	struct chunk *first = q->ring[q->head];

	q->head = (q->head + 1) % q->cap;
	q->count--;
	return first;
}

void
queue_clear(struct queue *q)
{
	while (q->count > 0)
		chunk_unref(queue_take(q));
	free(q->ring);
	memset(q, 0, sizeof *q);
}
