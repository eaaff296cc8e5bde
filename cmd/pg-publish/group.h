/*
 * A group of transactions, of clients or of another Postgres, as one Postgres transaction: their operations,
 * a mark before each so that pg-ingest finds them again in the WAL, and the progress, all in one pipeline.
 */
#ifndef PG_PUBLISH_GROUP_H
#define PG_PUBLISH_GROUP_H

#include <stdbool.h>
#include <libpq-fe.h>

#include "writes.h"

/* What Postgres is to write down: how far it has come in which log. */
struct progress {
	const char *life;
	int64_t session; /* who says so; see electric.begin_publishing() */
	uint64_t was;	 /* before this group */
};

/* Forgets what was prepared: the connection is a new one. */
void group_new_connection(void);
/*
 * A pipeline ended in an error: what it was to prepare may be missing. True: rows that were taken to be new
 * may not be; it is to be sent again, and goes row by row then.
 */
bool group_failed_before(const char *sqlstate);
/* It did not. */
void group_succeeded(void);
/* Queues what tells the leader of all tables and rows, and where in its log this Postgres begins. */
bool group_send_introduction(PGconn *conn, const struct progress *progress);
/*
 * Queues the transactions. `done`: the last one is whole, so the progress and a sync follow; else more of its
 * parts will come. `follows`: they are the leader's. False: the connection is unusable.
 */
bool group_send(PGconn *conn, const struct progress *progress, const struct write *writes, size_t n,
    bool done, bool follows);
/* Queues the tables that a part of another Postgres' transaction brings, asks for all tables as they are then
 * (TABLES_QUERY), and for an answer at once. */
bool group_send_tables(PGconn *conn, const struct write *part, bool follows);
/* The rest of that part. */
bool group_send_rest(
    PGconn *conn, const struct progress *progress, const struct write *part, bool done, bool follows);
/*
 * Queues, instead of a transaction that Postgres refused, its mark, a record of the refusal, what brings its
 * author back to what is here, and the progress; or so much of that as this part of it needs.
 */
bool group_send_refusal(PGconn *conn, const struct progress *progress, const struct write *write, bool first,
    bool follows, const char *sqlstate, const char *message);

#endif
