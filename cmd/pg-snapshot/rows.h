/* The SQL that reads a table for a client, and its rows as SatOpInsert messages. No I/O. */
#ifndef LEYDEN_ROWS_H
#define LEYDEN_ROWS_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "arena.h"
#include "buf.h"
#include "pipeline.pb-c.h"

/* `instance`: which Postgres it is, for its rows' tags. */
void rows_open(unsigned instance);
/* Asks for what rows_copy() needs. */
void rows_lookup(struct buf *sql, const Table *table);
/* Does the table say which user each row is of? */
bool rows_are_owned(const Table *table);
/*
 * The COPY; false: the answer says that the table is not electrified in this snapshot. Where a client is
 * named, the rows that it has had a part in (known), or all others.
 */
bool rows_copy(
    struct buf *sql, const Table *table, const PGresult *looked_up, const TakeSnapshot *take, bool known);
/*
 * Appends a line of COPY to the body of a SatOpLog; the line is changed, the arena is for what is needed
 * meanwhile. False: it cannot be read. A row without tags was there before its table was electrified.
 */
bool rows_add(struct buf *body, struct arena *a, const Table *table, char *line, size_t n);

#endif
