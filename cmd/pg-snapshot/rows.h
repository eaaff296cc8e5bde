/* The SQL that reads a table for a client, and its rows as SatOpInsert messages. No I/O. */
#ifndef LEYDEN_ROWS_H
#define LEYDEN_ROWS_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "arena.h"
#include "buf.h"
#include "pipeline.pb-c.h"

/* Asks for what rows_copy() needs. */
void rows_lookup(struct buf *sql, const Table *table);
/*
 * The COPY; false: the answer says that the table is not electrified in this snapshot. client_id: rows that
 * have a tag of this client are told apart; "": none.
 */
bool rows_copy(struct buf *sql, const Table *table, const PGresult *looked_up, const char *user_id,
    const char *client_id);
/*
 * A line of COPY as a packed SatTransOp in the arena; the line is changed. len 0: it cannot be read. A row
 * without tags was there before its table was electrified. *known: it has a tag of the client.
 */
ProtobufCBinaryData rows_op(
    struct arena *a, const Table *table, char *line, size_t n, unsigned instance, bool *known);

#endif
