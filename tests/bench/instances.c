/*
 * From one Postgres to the other through the service: how long after its commit a row is seen there, and how
 * fast the other catches up after it was away. Beside it, in the same run and between the same two, what
 * Postgres' own logical replication does with a plain table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fail.h"
#include "measure.h"
#include "testbed.h"

#define LONELY 1000 /* transactions that go one at a time */
#define BULK   3000 /* transactions to catch up on */
#define ROWS   100  /* of each */

static struct test_service first, second; /* of the second, its Postgres only */

struct way {
	const char *name, *table;
	struct test_service *from, *to;
};

static PGconn *
reach(const struct test_service *s)
{
	PGconn *conn = PQconnectdb(s->url);

	if (PQstatus(conn) != CONNECTION_OK)
		test_fail("%s", PQerrorMessage(conn));
	return conn;
}

/* How many rows the statement gave. */
static int
rows_of(PGconn *conn, const char *sql)
{
	PGresult *r = PQexec(conn, sql);
	int n = PQntuples(r);

	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		test_fail("%s: %s", sql, PQerrorMessage(conn));
	PQclear(r);
	return n;
}

/* p50 and p99 of the time from a commit until the row is seen on the other side, in seconds. */
static void
latency(const struct way *w, double *p50, double *p99)
{
	PGconn *from = reach(w->from), *to = reach(w->to);
	double times[LONELY], start;
	char insert[100], look[100];

	for (int i = 0; i < LONELY; i++) {
		snprintf(insert, sizeof insert, "INSERT INTO %s VALUES ('%s %d', 'value', %d)", w->table,
		    w->name, i, i);
		snprintf(look, sizeof look, "SELECT FROM %s WHERE id = '%s %d'", w->table, w->name, i);
		rows_of(from, insert);
		start = measure_now();
		while (rows_of(to, look) == 0)
			continue;
		times[i] = measure_now() - start;
	}
	PQfinish(from);
	PQfinish(to);
	*p50 = measure_share(times, LONELY, 0.50);
	*p99 = measure_share(times, LONELY, 0.99);
}

/* Keys are of this way alone: a row that was deleted once is no new one. */
static void
write_bulk(const struct way *w)
{
	test_sql(w->from,
	    "DO $$ BEGIN FOR i IN 1..%d LOOP INSERT INTO %s SELECT 'bulk %s ' || i || ' ' || k, "
	    "md5(k::text), k "
	    "FROM generate_series(1, %d) AS k; COMMIT; END LOOP; END $$",
	    BULK, w->table, w->name, ROWS);
}

/* Until the other side has the last of what was written while nothing was carried. To count would take more
 * time than what is measured, and so would a new connection for each look. */
static void
await_bulk(const struct way *w)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	PGconn *to = reach(w->to);
	char look[100];

	snprintf(
	    look, sizeof look, "SELECT FROM %s WHERE id = 'bulk %s %d %d'", w->table, w->name, BULK, ROWS);
	while (rows_of(to, look) == 0)
		nanosleep(&pause, NULL);
	PQfinish(to);
}

static void
check_bulk(const struct way *w)
{
	const char *rows =
	    test_sql(w->to, "SELECT count(*) FROM %s WHERE id LIKE 'bulk %s %%'", w->table, w->name);

	if (atoi(rows) != BULK * ROWS)
		test_fail("%s of %d rows came", rows, BULK * ROWS);
}

static void
compare_bulk(const struct way *w, double plain)
{
	double ours;

	test_leyden_stop(&first);
	write_bulk(w);
	ours = measure_now();
	test_leyden_begin(&first);
	await_bulk(w);
	ours = measure_now() - ours;
	check_bulk(w);
	printf("%s: catching up on %d rows: %.0f rows/s, logical replication %.0f rows/s, ratio %.2f (goal "
	       "0.50)\n",
	    w->name, BULK * ROWS, BULK * ROWS / ours, BULK * ROWS / plain, plain / ours);
}

static double
plain_bulk(const struct way *w)
{
	double started;

	test_sql(w->to, "ALTER SUBSCRIPTION plain DISABLE");
	write_bulk(w);
	started = measure_now();
	test_sql(w->to, "ALTER SUBSCRIPTION plain ENABLE");
	await_bulk(w);
	started = measure_now() - started;
	check_bulk(w);
	return started;
}

static void
fail_bench(const char *sentence)
{
	fprintf(stderr, "%s\n", sentence);
	test_service_end(&first);
	test_service_end(&second);
	exit(1);
}

static void
set_up(void)
{
	static char url[600];

	test_on_fail = fail_bench;
	test_postgres_start(&first, "synchronous_commit=on");
	test_postgres_start(&second, "synchronous_commit=on");
	snprintf(url, sizeof url, "DATABASE_URL_2=%s", second.url);
	first.env[0] = "AUTH_MODE=insecure";
	first.env[1] = url;
	test_leyden_start(&first);
	test_sql(&first, "SELECT electric.migration_version('1');"
			 "CREATE TABLE items (id text PRIMARY KEY, value text, n int4);"
			 "CALL electric.electrify('items')");
	test_sql_await(&second, "1", "SELECT count(*) FROM electric.electrified");
	test_sql(&first, "CREATE TABLE plain (id text PRIMARY KEY, value text, n int4);"
			 "CREATE PUBLICATION plain FOR TABLE plain");
	test_sql(&second, "CREATE TABLE plain (id text PRIMARY KEY, value text, n int4)");
	test_sql(&second, "CREATE SUBSCRIPTION plain CONNECTION '%s' PUBLICATION plain", first.url);
}

int
main(void)
{
	const struct way ways[] = { { "first to second", "items", &first, &second },
		{ "second to first", "items", &second, &first } };
	const struct way plain = { "plain", "plain", &first, &second };
	double p50, p99, plain50, plain99, bulk;

	setvbuf(stdout, NULL, _IOLBF, 0);
	set_up();
	latency(&plain, &plain50, &plain99);
	for (size_t i = 0; i < 2; i++) {
		latency(&ways[i], &p50, &p99);
		printf("%s: from commit to being seen: p50 %.2f ms, p99 %.2f ms; logical replication p50 "
		       "%.2f ms, "
		       "p99 %.2f ms; ratios %.1f, %.1f\n",
		    ways[i].name, p50 * 1e3, p99 * 1e3, plain50 * 1e3, plain99 * 1e3, p50 / plain50,
		    p99 / plain99);
	}
	bulk = plain_bulk(&plain);
	/* It would go on decoding what is written to the first. */
	test_sql(&second, "DROP SUBSCRIPTION plain");
	for (size_t i = 0; i < 2; i++)
		compare_bulk(&ways[i], bulk);
	test_leyden_stop(&first);
	test_service_end(&first);
	test_service_end(&second);
	return 0;
}
