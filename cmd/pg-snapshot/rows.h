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
 * named, the rows that it has had a part in (known), or all others. *wide: long rows are left out, if there
 * may be any, and this is the COPY of those, in pieces.
 */
bool rows_copy(struct buf *sql, struct buf *wide, const Table *table, const PGresult *looked_up,
    const TakeSnapshot *take, bool known);
/*
 * Appends a line of COPY to the body of a SatOpLog; the line is changed, the arena is for what is needed
 * meanwhile. False: it cannot be read. A row without tags was there before its table was electrified.
 */
bool rows_add(struct buf *body, struct arena *a, const Table *table, char *line, size_t n);

/* A long row on its way. All zero before the first. */
struct wide_row {
	struct arena memory; /* of the tags */
	struct sat_value *tags;
	size_t n_tags;
	struct sat_value *values; /* lengths, and which are NULL */
	size_t next;		  /* the column whose first piece comes next */
	size_t left;		  /* bytes of the one before it that are still to come */
	size_t size;		  /* of the whole in a SatOpLog */
};
/* Appends a line of the other COPY, as far as it goes; *whole: the row has ended. False: it cannot be read.
 */
bool rows_add_piece(
    struct buf *body, struct wide_row *w, const Table *table, const char *line, size_t n, bool *whole);

#endif
