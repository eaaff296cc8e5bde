/*
 * Brings the stream to a place after now: a message in Postgres' WAL, committed and flushed, that pg-ingest
 * sees even when nothing else is written. Those who ask while one is under way share the next.
 */
#ifndef LEYDEN_PUSH_H
#define LEYDEN_PUSH_H

#include <stdint.h>

typedef void push_fn(void *data, uint64_t lsn, const char *error);

void push_open(const char *url);
/* Calls fn later with the message's position, or with error not NULL. */
void push_ask(push_fn *fn, void *data);
/* No fn is called for this data any more. */
void push_forget(const void *data);

#endif
