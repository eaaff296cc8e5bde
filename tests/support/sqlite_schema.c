/* The schema of clients, made in real SQLite. */
#include "sqlite_schema.h"

#include "catalog.h"
#include "fail.h"
#include "history.h"

extern const char schema_sql[];

void
sqlite_schema_install(PGconn *pg)
{
	PGresult *r = PQexec(pg, "SET client_min_messages = error");

	PQclear(r);
	r = PQexec(pg, schema_sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		test_fail("installation: %s", PQresultErrorMessage(r));
	PQclear(r);
}

sqlite3 *
sqlite_schema_new(void)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(":memory:", &db) != SQLITE_OK ||
	    sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL) != SQLITE_OK)
		test_fail("sqlite: %s", sqlite3_errmsg(db));
	return db;
}

const char *
sqlite_schema_run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? NULL : sqlite3_errmsg(db);
}

static void
run_migration(sqlite3 *db, const Migration *m,
    void (*failed)(const SatOpMigrate *op, const char *sql, const char *error))
{
	for (size_t i = 0; i < m->n_ops; i++) {
		SatOpMigrate *op = sat_op_migrate__unpack(NULL, m->ops[i].len, m->ops[i].data);

		if (op == NULL)
			test_fail("an op of version %s cannot be unpacked", m->version);
		for (size_t k = 0; k < op->n_stmts; k++) {
			const char *error = sqlite_schema_run(db, op->stmts[k]->sql);

			if (error != NULL && failed == NULL)
				test_fail("%s\n%s", error, op->stmts[k]->sql);
			else if (error != NULL)
				failed(op, op->stmts[k]->sql, error);
		}
		sat_op_migrate__free_unpacked(op, NULL);
	}
}

void
sqlite_schema_apply(
    sqlite3 *db, PGconn *pg, void (*failed)(const SatOpMigrate *op, const char *sql, const char *error))
{
	PGresult *r = PQexec(pg, HISTORY);
	struct arena a = { 0 };
	Migration **migrations;
	size_t n;

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		test_fail("history: %s", PQresultErrorMessage(r));
	history_load(r);
	PQclear(r);
	n = catalog_migrations(&a, &migrations);
	for (size_t i = 0; i < n; i++)
		run_migration(db, migrations[i], failed);
	arena_clear(&a);
	catalog_reset();
}
