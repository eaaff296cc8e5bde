/*
 * A group of clients' transactions as one Postgres transaction: their operations, a mark before each so that
 * pg-ingest finds them again in the WAL, and the progress, all in one pipeline.
 */
#ifndef PG_PUBLISH_GROUP_H
#define PG_PUBLISH_GROUP_H

#include <stdbool.h>
#include <libpq-fe.h>

#include "pipeline.pb-c.h"

/* Forgets what was prepared: the connection is a new one. */
void group_new_connection(void);
/* A pipeline ended in an error: what it was to prepare may be missing. */
void group_failed_before(const char *sqlstate);
/* It did not. */
void group_succeeded(void);
/* Queues the transactions, the progress and a sync. False: the connection is unusable. */
bool group_send(PGconn *conn, const char *life, ClientTransaction **transactions, size_t n);
/* Queues, instead of a transaction that Postgres refused, its mark, a record of the refusal, and the
 * progress. */
bool group_send_refusal(PGconn *conn, const char *life, const ClientTransaction *transaction,
    const char *sqlstate, const char *message);

#endif
