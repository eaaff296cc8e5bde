/*
 * electrify URL: electrifies every table of a database that holds somebody's schema, and makes the tables of
 * clients in SQLite. Prints a line for each table: "accepted NAME", "refused NAME: why" or "wrong NAME: why".
 * Wrong is what Postgres took and SQLite did not: a statement that fails, or a table that could not be
 * written.
 *
 * Exits 0 when nothing is wrong.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "sqlite_schema.h"
#include "xalloc.h"

/* The last two are what Postgres itself makes of one table. */
static const char TABLES[] =
    "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('electric', 'information_schema')"
    " AND n.nspname !~ '^pg_' AND NOT c.relispartition"
    " AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1, 2";

struct table {
	char *schema, *name, *refusal, *wrong;
};

static struct table *tables;
static int n_tables;

/* Runs SQL; NULL, or the first line of the error. */
static char *
run(PGconn *pg, const char *sql)
{
	PGresult *r = PQexec(pg, sql);
	char *error = NULL;

	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		error = xstrdup(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
	PQclear(r);
	return error;
}

static void
must_run(PGconn *pg, const char *sql)
{
	char *error = run(pg, sql);

	if (error != NULL)
		test_fail("%s: %s", sql, error);
}

static void
electrify(PGconn *pg, struct table *t)
{
	char *schema = PQescapeLiteral(pg, t->schema, strlen(t->schema)),
	     *name = PQescapeLiteral(pg, t->name, strlen(t->name));
	char *sql = xasprintf("CALL electric.electrify(%s, %s)", schema, name);

	must_run(pg, "SAVEPOINT one");
	t->refusal = run(pg, sql);
	must_run(pg, t->refusal != NULL ? "ROLLBACK TO one" : "RELEASE one");
	free(sql);
	PQfreemem(schema);
	PQfreemem(name);
}

static void
electrify_all(PGconn *pg)
{
	PGresult *r = PQexec(pg, TABLES);

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		test_fail("%s", PQresultErrorMessage(r));
	n_tables = PQntuples(r);
	tables = xcalloc((size_t)n_tables + 1, sizeof *tables);
	must_run(pg, "BEGIN");
	must_run(pg, "SELECT electric.migration_version('1')");
	for (int i = 0; i < n_tables; i++) {
		tables[i].schema = xstrdup(PQgetvalue(r, i, 0));
		tables[i].name = xstrdup(PQgetvalue(r, i, 1));
		electrify(pg, &tables[i]);
	}
	must_run(pg, "COMMIT");
	PQclear(r);
}

static void
note_failure(const SatOpMigrate *op, const char *sql, const char *error)
{
	for (int i = 0; i < n_tables; i++)
		if (strcmp(tables[i].name, op->table->name) == 0 && tables[i].refusal == NULL &&
		    tables[i].wrong == NULL)
			tables[i].wrong = xasprintf("%s: %.200s", error, sql);
}

/* SQLite looks at a table's foreign keys when it prepares a write. */
static void
prepare_writes(sqlite3 *db, struct table *t)
{
	static const char *const writes[] = { "INSERT INTO \"%w\" DEFAULT VALUES", "DELETE FROM \"%w\"" };

	for (size_t i = 0; i < sizeof writes / sizeof writes[0] && t->wrong == NULL; i++) {
		char *sql = sqlite3_mprintf(writes[i], t->name);
		sqlite3_stmt *stmt = NULL;

		if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
			t->wrong = xasprintf("%s: %s", sqlite3_errmsg(db), sql);
		sqlite3_finalize(stmt);
		sqlite3_free(sql);
	}
}

int
main(int argc, char **argv)
{
	PGconn *pg = PQconnectdb(argc == 2 ? argv[1] : "");
	sqlite3 *db = sqlite_schema_new();
	bool wrong = false;

	if (PQstatus(pg) != CONNECTION_OK)
		test_fail("%s", PQerrorMessage(pg));
	sqlite_schema_install(pg);
	electrify_all(pg);
	sqlite_schema_apply(db, pg, note_failure);
	for (int i = 0; i < n_tables; i++) {
		struct table *t = &tables[i];

		if (t->refusal == NULL)
			prepare_writes(db, t);
		printf("%s %s.%s",
		    t->refusal != NULL ? "refused"
		    : t->wrong != NULL ? "wrong"
				       : "accepted",
		    t->schema, t->name);
		printf("%s%s\n", t->refusal != NULL || t->wrong != NULL ? ": " : "",
		    t->refusal != NULL ? t->refusal
		    : t->wrong != NULL ? t->wrong
				       : "");
		wrong |= t->wrong != NULL;
	}
	PQfinish(pg);
	sqlite3_close(db);
	return wrong;
}
