/*
 * A table of Postgres as SQLite is to have it: the definitions that electric.ddl_commands holds, as JSON, to
 * SatOpMigrate and Table messages. Pure functions; what they make lives in the arena.
 *
 * A default, check or index that cannot be translated faithfully is left out, and a generated column that
 * cannot is an ordinary one: SQLite then takes the value that Postgres computed.
 */
#ifndef LEYDEN_SQLITE_DDL_H
#define LEYDEN_SQLITE_DDL_H

#include <jansson.h>
#include <stdbool.h>

#include "arena.h"
#include "pipeline.pb-c.h"
#include "satellite.pb-c.h"

/* What one row of electric.ddl_commands did to a table. */
struct sqlite_change {
	const char *version;
	const json_t *before; /* NULL: there was no table */
	const json_t *now;
	const json_t *left; /* the table as all of the version leaves it: what clients are told of it */
	bool replaces;	    /* clients have another table of this name, which goes first */
};

/* What brings SQLite from one to the other. NULL if nothing travels: constraints and defaults change in
 * Postgres only. */
SatOpMigrate *sqlite_migrate(struct arena *a, const struct sqlite_change *change);

/* The table as it is announced to clients; one that was removed has no columns. NULL if the definition lacks
 * what it must have. */
Table *sqlite_table(struct arena *a, const json_t *definition);

#endif
