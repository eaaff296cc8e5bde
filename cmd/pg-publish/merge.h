/*
 * What another Postgres tells: its rows with their tags, merged into those here (electric.merge_<oid>), and
 * its migrations.
 */
#ifndef PG_PUBLISH_MERGE_H
#define PG_PUBLISH_MERGE_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "pipeline.pb-c.h"

/* What is told to one instance alone, and not this, or to clients alone, is none of ours. */
bool merge_concerns(const Transaction *told, const char *own_origin);
/* It brings tables: it goes in a Postgres transaction of its own, and tables_load() must come before its
 * rows. */
bool merge_brings_tables(const Transaction *told);
/* Queues them. */
bool merge_send_tables(PGconn *conn, const Transaction *told);

enum merge_way {
	MERGE_FAST,	  /* inserted rows are taken to be new, which fails if one is not */
	MERGE_KNOWN,	  /* what it tells is likely to be here already */
	MERGE_ROW_BY_ROW, /* nothing is taken for granted */
};

/*
 * Queues its rows, or has them wait until there are many, of this and of other transactions:
 * merge_run_flush() queues those. `follows`: it is the leader that tells; values that nobody has written
 * since both tables were electrified are then taken from it. False: the connection is unusable.
 */
bool merge_send(PGconn *conn, const Transaction *told, bool follows, enum merge_way way);
/* Queues the checks that foreign keys would have made of what was sent since the last checks. */
bool merge_send_checks(PGconn *conn);
/* Forgets what was collected and sent: it was not taken. */
void merge_forget(void);
/* Queues, for this instance (NULL: for all), how the rows that the transaction has written are here. */
bool merge_send_repair(PGconn *conn, const Transaction *told, const char *instance);

#endif
