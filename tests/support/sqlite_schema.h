/*
 * The schema of clients, made in real SQLite from what Postgres holds of it: the generated code of pg-ingest
 * is installed, and its translation is run, without any process of the service.
 */
#ifndef TESTS_SQLITE_SCHEMA_H
#define TESTS_SQLITE_SCHEMA_H

#include <libpq-fe.h>
#include <sqlite3.h>

#include "satellite.pb-c.h"

/* Installs the schema "electric" in the database. */
void sqlite_schema_install(PGconn *pg);
/* An empty database in memory that checks foreign keys. */
sqlite3 *sqlite_schema_new(void);
/* Runs one statement; NULL, or what SQLite says against it (valid until the next call). */
const char *sqlite_schema_run(sqlite3 *db, const char *sql);
/*
 * Runs every statement of every migration that Postgres holds, in order. `failed` (may be NULL: the test
 * fails) is told of those that SQLite refuses.
 */
void sqlite_schema_apply(
    sqlite3 *db, PGconn *pg, void (*failed)(const SatOpMigrate *op, const char *sql, const char *error));

#endif
