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

#include "arena.h"
#include "pipeline.pb-c.h"
#include "satellite.pb-c.h"

/*
 * What brings SQLite from `before` (NULL: there is no table) to `now`. NULL if nothing travels: constraints,
 * defaults and dropped indexes change in Postgres only.
 */
SatOpMigrate *sqlite_migrate(struct arena *a, const json_t *now, const json_t *before, const char *version);

/* The table as it is announced to clients. NULL if the definition lacks what it must have. */
Table *sqlite_table(struct arena *a, const json_t *definition);

#endif
