/* electric.incoming as logical replication carries it: one row, one client's transaction. */
#ifndef PG_PUBLISH_INCOMING_H
#define PG_PUBLISH_INCOMING_H

#include "buf.h"
#include "pipeline.pb-c.h"

#define INCOMING_SCHEMA "electric"
#define INCOMING_TABLE	"incoming"

/* All append to `out`: messages of pgoutput, version 1 (protocol.sgml, "Logical Replication Message
 * Formats"), each in CopyData as XLogData. */

/* The relation, once on a connection, before the first transaction. */
void incoming_relation(struct buf *out);
/* Begin, insert and commit. */
void incoming_transaction(struct buf *out, const char *life, const ClientTransaction *t);
/* The primary keepalive: all up to here was sent. */
void incoming_keepalive(struct buf *out, uint64_t lsn);

#endif
