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

/*
 * Queues its rows. `follows`: it is the leader that tells; values that nobody has written since both
 * tables were electrified are then taken from it. `one_by_one`: no row is taken to be new. False: the
 * connection is unusable.
 */
bool merge_send(PGconn *conn, const Transaction *told, bool follows, bool one_by_one);
/* Queues the checks that foreign keys would have made of what was sent since the last checks. */
bool merge_send_checks(PGconn *conn);
/* Forgets what was sent: it was not taken. */
void merge_forget_checks(void);
/* Queues, for this instance (NULL: for all), how the rows that the transaction has written are here. */
bool merge_send_repair(PGconn *conn, const Transaction *told, const char *instance);

#endif
