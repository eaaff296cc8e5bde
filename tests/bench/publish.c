/*
 * Clients' transactions on their way into Postgres, on the whole service: from the socket until others see
 * them there. Beside it, in the same run and on the same Postgres, what libpq does alone on a plain table.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "measure.h"
#include "sat_client.h"
#include "testbed.h"

#define CLIENTS	  10
#define SINGLES	  30000 /* single-row transactions */
#define ROWS	  100	/* of a larger transaction */
#define LARGES	  1000
#define IN_FLIGHT 500 /* transactions of a client that have not come back */
#define LONELY	  300 /* transactions that go one at a time */
#define TIMESTAMP UINT64_C(1686009600000)

static struct test_service service = { .env = { "AUTH_MODE=insecure", NULL } };
static PGconn *conn;

static void
exec_sql(const char *sql)
{
	PGresult *r = PQexec(conn, sql);

	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		test_fail("%s: %s", sql, PQerrorMessage(conn));
	PQclear(r);
}

static long
count(const char *table)
{
	char sql[100];
	PGresult *r;
	long n;

	snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
	r = PQexec(conn, sql);
	n = strtol(PQgetvalue(r, 0, 0), NULL, 10);
	PQclear(r);
	return n;
}

// ---- libpq alone

/* Rows a second of INSERT … ON CONFLICT, rows at a time, each statement prepared and its own transaction. */
static double
plain_rows(unsigned rows, unsigned statements)
{
	char *sql = malloc(rows * 40 + 300), (*texts)[64] = malloc(rows * sizeof *texts);
	const char **params = calloc(rows * 3, sizeof *params);
	double start;
	size_t at;

	exec_sql("DROP TABLE IF EXISTS plain; CREATE TABLE plain (id text PRIMARY KEY, value text, n int4)");
	at = (size_t)sprintf(sql, "INSERT INTO plain VALUES ");
	for (unsigned i = 0; i < rows; i++)
		at += (size_t)sprintf(
		    sql + at, "%s($%u, $%u, $%u)", i > 0 ? "," : "", i * 3 + 1, i * 3 + 2, i * 3 + 3);
	sprintf(sql + at, " ON CONFLICT (id) DO UPDATE SET value = excluded.value, n = excluded.n");
	PQclear(PQprepare(conn, "plain", sql, 0, NULL));
	start = measure_now();
	for (unsigned s = 0; s < statements; s++) {
		PGresult *r;

		for (unsigned i = 0; i < rows; i++) {
			snprintf(texts[i], sizeof texts[i], "row-%08u-%08u", s, i);
			params[i * 3] = texts[i];
			params[i * 3 + 1] = "a value of some forty bytes, as values are";
			params[i * 3 + 2] = "42";
		}
		r = PQexecPrepared(conn, "plain", (int)rows * 3, params, NULL, NULL, 0);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			test_fail("%s", PQerrorMessage(conn));
		PQclear(r);
	}
	start = measure_now() - start;
	exec_sql("DEALLOCATE plain");
	free(sql);
	free(texts);
	free(params);
	return rows * statements / start;
}

// ---- clients

static void
on_message(struct sat_client *c, const struct sat_message *m)
{
	const SatOpLog *log = (const SatOpLog *)m->body;

	if (m->code == SAT_OP_LOG && strcmp(log->ops[0]->begin->origin, c->id) == 0)
		--*(unsigned *)c->data;
}

static struct sat_client *
writer(unsigned i, unsigned *in_flight)
{
	char id[32];
	struct sat_client *c;

	snprintf(id, sizeof id, "writer-%u", i);
	c = sat_begin(service.port, id, "ann");
	sat_message_free(sat_await(c, SAT_OP_LOG));
	c->data = in_flight;
	c->on_message = on_message;
	return c;
}

static void
write_rows(struct sat_client *c, const char *prefix, unsigned transaction, unsigned rows)
{
	static struct sat_write_op ops[ROWS];
	static const char *row[ROWS][3];
	static char ids[ROWS][128];

	for (unsigned i = 0; i < rows; i++) {
		snprintf(ids[i], sizeof ids[i], "%.8s-%s-%08u-%u", prefix, c->id, transaction, i);
		row[i][0] = ids[i];
		row[i][1] = "a value of some forty bytes, as values are";
		row[i][2] = "42";
		ops[i] = (struct sat_write_op){ .kind = SAT_INSERT, .table = "items", .row = row[i] };
	}
	sat_write(c, TIMESTAMP + transaction, ops, rows);
}

/* Rows a second until all are seen in Postgres. */
static double
client_rows(const char *prefix, struct sat_client **clients, unsigned *in_flight, unsigned transactions,
    unsigned rows)
{
	long wanted = count("items") + (long)transactions * rows;
	unsigned sent = 0;
	double start = measure_now();

	while (sent < transactions) {
		for (unsigned i = 0; i < CLIENTS; i++) {
			for (; sent < transactions && in_flight[i] < IN_FLIGHT / rows + 1; in_flight[i]++)
				write_rows(clients[i], prefix, ++sent, rows);
		}
		sat_turn();
	}
	while (count("items") < wanted)
		sat_turn();
	start = measure_now() - start;
	for (unsigned i = 0; i < CLIENTS; i++)
		while (in_flight[i] > 0)
			sat_turn();
	return transactions * rows / start;
}

// ---- one at a time

static double
lone_insert(void)
{
	double times[LONELY];

	PQclear(PQprepare(conn, "lone", "INSERT INTO plain VALUES ($1, 'a value', 42)", 0, NULL));
	for (unsigned i = 0; i < LONELY; i++) {
		char id[32];
		double start = measure_now();

		snprintf(id, sizeof id, "lone-%u", i);
		PQclear(PQexecPrepared(conn, "lone", 1, (const char *[]){ id }, NULL, NULL, 0));
		times[i] = measure_now() - start;
	}
	return measure_share(times, LONELY, 0.5);
}

static double
client_insert(struct sat_client *c, unsigned *in_flight)
{
	double times[LONELY];

	PQclear(PQprepare(conn, "seen", "SELECT 1 FROM items WHERE id = $1", 0, NULL));
	for (unsigned i = 0; i < LONELY; i++) {
		char id[128];
		bool seen = false;
		double start = measure_now();

		snprintf(id, sizeof id, "lone-%s-%08u-0", c->id, i);
		++*in_flight;
		write_rows(c, "lone", i, 1);
		while (!seen) {
			PGresult *r = PQexecPrepared(conn, "seen", 1, (const char *[]){ id }, NULL, NULL, 0);

			seen = PQntuples(r) > 0;
			PQclear(r);
		}
		times[i] = measure_now() - start;
		while (*in_flight > 0)
			sat_turn();
	}
	return measure_share(times, LONELY, 0.5);
}

static void
fail_bench(const char *sentence)
{
	fprintf(stderr, "%s\n", sentence);
	test_service_end(&service);
	exit(1);
}

int
main(void)
{
	struct sat_client *clients[CLIENTS];
	unsigned in_flight[CLIENTS] = { 0 };
	double ours, plain;

	setvbuf(stdout, NULL, _IOLBF, 0);
	test_on_fail = fail_bench;
	test_postgres_start(&service, "synchronous_commit=on");
	test_leyden_start(&service);
	conn = PQconnectdb(service.url);
	exec_sql("CREATE TABLE items (id text PRIMARY KEY, value text, n int4);"
		 "SELECT electric.migration_version('20230801'); CALL electric.electrify('items')");
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = writer(i, &in_flight[i]);
	client_rows("warm", clients, in_flight, 200, 1);

	ours = client_rows("single", clients, in_flight, SINGLES, 1);
	plain = plain_rows(1, SINGLES / 10);
	printf("single-row transactions of %d clients: %.0f/s (goal 5000/s); single-row INSERT … ON CONFLICT "
	       "of one "
	       "connection: %.0f/s, ratio %.2f\n",
	    CLIENTS, ours, plain, ours / plain);
	ours = client_rows("large", clients, in_flight, LARGES, ROWS);
	plain = plain_rows(ROWS, LARGES);
	printf("transactions of %d rows: %.0f rows/s; INSERT … ON CONFLICT of as many: %.0f rows/s, ratio "
	       "%.2f (goal 0.40)\n",
	    ROWS, ours, plain, ours / plain);
	plain = lone_insert();
	ours = client_insert(clients[0], &in_flight[0]);
	printf(
	    "p50 from a client's frame to being seen: %.0f us; a lone INSERT: %.0f us, ratio %.2f (goal 3)\n",
	    ours * 1e6, plain * 1e6, ours / plain);

	for (unsigned i = 0; i < CLIENTS; i++)
		sat_free(clients[i]);
	PQfinish(conn);
	test_leyden_stop(&service);
	test_service_end(&service);
	return 0;
}
