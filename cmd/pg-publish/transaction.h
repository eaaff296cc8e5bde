/* A client's transaction as Postgres keeps it. */
#ifndef PG_PUBLISH_TRANSACTION_H
#define PG_PUBLISH_TRANSACTION_H

#include "buf.h"
#include "pipeline.pb-c.h"

/* Appends what marks the transaction in the WAL, for pg-ingest to find: a ClientTransaction without
 * operations, packed. */
void transaction_mark(struct buf *out, const ClientTransaction *t);
/* The operations as JSON, for people to read and for electric.apply_operations(); allocated. */
char *transaction_operations(const ClientTransaction *t);

#endif
