/*
 * The log as this gateway sees it: its tail, followed as it grows, and pages of older transactions for the
 * clients that catch up, in bounded memory. Records are decoded once for all clients.
 */
#ifndef WS_GATEWAY_STREAM_H
#define WS_GATEWAY_STREAM_H

#include <stdbool.h>

#include "audience.h"
#include "chunk.h"
#include "pipeline.pb-c.h"

/* A place in the log: after this part of this transaction. part UINT32_MAX: after all of it. */
struct cursor {
	uint64_t position;
	uint32_t part;
};

#define WHOLE UINT32_MAX

/* A transaction, or a part of a long one. Owned by the stream; good until control returns to the loop. */
struct record {
	const Transaction *transaction;
	struct encoding *encodings; /* audience.c's: what was made of it for whom */
};

extern uint64_t stream_cache_bytes; /* limit of the pages kept */

/* Begins (or, after log-store was away, goes on) with the log that SchemaRead told of. */
void stream_open(uint64_t life, uint64_t first, uint64_t position, uint64_t bytes);
uint64_t stream_life(void); /* 0: no log yet */
uint64_t stream_first(void);
uint64_t stream_end(void); /* the last position that has come */

enum stream_result {
	STREAM_RECORD, /* *record is what comes next */
	STREAM_END,    /* nothing yet */
	STREAM_WAIT,   /* asked for; stream_arrived() will be called */
	STREAM_GONE    /* the log no longer holds it */
};
enum stream_result stream_next(const struct cursor *cursor, struct record **record);
/* The cursor after a record. */
struct cursor cursor_after(const struct record *record);

/* An answer to one of the stream's reads. */
void stream_read(const LogRead *answer);

#endif
