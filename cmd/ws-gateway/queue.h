/* Chunks that wait, first in first out. All zero is an empty queue. */
#ifndef WS_GATEWAY_QUEUE_H
#define WS_GATEWAY_QUEUE_H

#include "chunk.h"

struct queue {
	struct chunk **ring;
	size_t cap, head, count;
};

void queue_put(struct queue *q, struct chunk *c);	 /* takes over the caller's reference */
struct chunk *queue_at(const struct queue *q, size_t i); /* the queue's reference; i is below q->count */
struct chunk *queue_take(struct queue *q);		 /* the first, with its reference; there is one */
void queue_clear(struct queue *q);

#endif
