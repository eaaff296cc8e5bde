/*
 * converge [SEEDS [FIRST [INSTANCES]]]: scenarios made from seeds. Some clients (protocol-level models,
 * clocks apart) and Postgres, one or two of them, write the same few rows, connections are cut and what was
 * not echoed is sent again; when all is quiet, every client must hold what Postgres holds. A scenario that
 * fails is made shorter while it still fails, and printed as a script. Ends with "N passed, N failed".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fail.h"
#include "model.h"
#include "peer.h"
#include "sat_client.h"
#include "schema.h"
#include "testbed.h"

#define PER_SCHEMA  20 /* seeds that share tables */
#define CLIENTS_MAX 5
#define STEPS_MAX   60
#define OPS_MAX	    3
#define QUIET	    20.0 /* seconds in which all must agree */
#define HOUR	    3600000

enum what { STEP_POSTGRES, STEP_POSTGRES_ALL, STEP_CLIENT, STEP_CUT, STEP_CONNECT, STEP_PAUSE };

struct step {
	enum what what;
	unsigned client, n;
	struct write writes[OPS_MAX];
};

struct scenario {
	unsigned long seed;
	unsigned n_clients, n_steps;
	int64_t skews[CLIENTS_MAX];
	struct step steps[STEPS_MAX];
};

static struct test_service service = { .env = { "AUTH_MODE=insecure", NULL } };
static struct test_service second; /* its Postgres only */
static PGconn *conns[2], *conn;	   /* conn: where SQL is run now */
static unsigned n_instances = 1;
static struct schema schema;
static unsigned runs; /* names clients, so that each run's are new */

// ---- making a scenario

static void
make_writes(struct random *r, struct step *s)
{
	s->n = 1 + random_below(r, OPS_MAX);
	for (unsigned i = 0; i < s->n; i++) {
		struct write *w = &s->writes[i];
		unsigned kind = random_below(r, 10);

		w->kind = kind < 4 ? WRITE_UPSERT : kind < 7 ? WRITE_UPDATE : WRITE_DELETE;
		w->table = random_below(r, schema.n_tables);
		w->key = random_below(r, KEYS);
		w->dice = random_below(r, 1u << 30);
	}
}

static void
make_scenario(struct scenario *s, unsigned long seed)
{
	struct random r = random_from(seed);

	memset(s, 0, sizeof *s);
	s->seed = seed;
	s->n_clients = 2 + random_below(&r, CLIENTS_MAX - 1);
	for (unsigned i = 0; i < s->n_clients; i++)
		s->skews[i] = (int64_t[]){ 0, 0, HOUR, -HOUR }[random_below(&r, 4)];
	s->n_steps = 10 + random_below(&r, STEPS_MAX - 10);
	for (unsigned i = 0; i < s->n_steps; i++) {
		struct step *step = &s->steps[i];
		unsigned kind = random_below(&r, 20);

		step->what = kind < 4	 ? STEP_POSTGRES
			     : kind < 5	 ? STEP_POSTGRES_ALL
			     : kind < 13 ? STEP_CLIENT
			     : kind < 15 ? STEP_CUT
			     : kind < 17 ? STEP_CONNECT
					 : STEP_PAUSE;
		step->client = random_below(&r, s->n_clients);
		make_writes(&r, step);
	}
}

// ---- Postgres

/* False: it refused. */
static bool
run_sql(const char *sql)
{
	PGresult *r = PQexec(conn, sql);
	bool ok = PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK;

	PQclear(r);
	return ok;
}

static int
put_value(char *out, size_t size, const char *value)
{
	char *literal = value != NULL ? PQescapeLiteral(conn, value, strlen(value)) : NULL;
	int n = snprintf(out, size, "%s", literal != NULL ? literal : "NULL");

	PQfreemem(literal);
	return n;
}

static int
put_key(char *out, size_t size, const struct table *t, unsigned key)
{
	char values[COLUMNS_MAX][16];
	int n = 0;

	schema_key(t, key, values);
	for (unsigned c = 0; c < t->n_keys; c++)
		n += snprintf(
		    out + n, size - (size_t)n, "%sc%u = '%s'", c > 0 ? " AND " : " WHERE ", c, values[c]);
	return n;
}

static int
put_assignments(char *out, size_t size, const struct table *t, uint32_t dice)
{
	int n = 0;

	for (unsigned c = t->n_keys; c < t->n_columns; c++) {
		if (!write_sets(c, dice))
			continue;
		n += snprintf(out + n, size - (size_t)n, "%sc%u = ", n > 0 ? ", " : "", c);
		n += put_value(out + n, size - (size_t)n, write_value(&schema, t, c, dice));
	}
	return n;
}

static int
put_insert(char *out, size_t size, const struct table *t, const struct write *w)
{
	char key[COLUMNS_MAX][16];
	int n = snprintf(out, size, "INSERT INTO %s VALUES (", t->name);

	schema_key(t, w->key, key);
	for (unsigned c = 0; c < t->n_columns; c++) {
		n += snprintf(out + n, size - (size_t)n, "%s", c > 0 ? ", " : "");
		n += put_value(
		    out + n, size - (size_t)n, c < t->n_keys ? key[c] : write_value(&schema, t, c, w->dice));
	}
	n += snprintf(out + n, size - (size_t)n, ") ON CONFLICT (c0%s) DO ", t->n_keys > 1 ? ", c1" : "");
	if (t->n_columns == t->n_keys)
		return n + snprintf(out + n, size - (size_t)n, "NOTHING");
	return n + snprintf(out + n, size - (size_t)n, "UPDATE SET c%u = excluded.c%u", t->n_keys, t->n_keys);
}

static void
write_in_postgres(const struct step *s)
{
	char sql[8192];
	int n = snprintf(sql, sizeof sql, "BEGIN;");

	for (unsigned i = 0; i < s->n; i++) {
		const struct write *w = &s->writes[i];
		const struct table *t = &schema.tables[w->table];
		char set[1024];

		if (w->kind == WRITE_UPSERT) {
			n += put_insert(sql + n, sizeof sql - (size_t)n, t, w);
		} else if (w->kind == WRITE_UPDATE) {
			if (put_assignments(set, sizeof set, t, w->dice) == 0)
				continue;
			n += snprintf(sql + n, sizeof sql - (size_t)n, "UPDATE %s SET %s", t->name, set);
			if (s->what == STEP_POSTGRES)
				n += put_key(sql + n, sizeof sql - (size_t)n, t, w->key);
		} else {
			n += snprintf(sql + n, sizeof sql - (size_t)n, "DELETE FROM %s", t->name);
			if (s->what == STEP_POSTGRES)
				n += put_key(sql + n, sizeof sql - (size_t)n, t, w->key);
		}
		n += snprintf(sql + n, sizeof sql - (size_t)n, ";");
	}
	snprintf(sql + n, sizeof sql - (size_t)n, "COMMIT");
	conn = conns[s->client % n_instances];
	if (!run_sql(sql))
		run_sql("ROLLBACK");
	conn = conns[0];
}

/* As model_rows(). */
static const char *
postgres_rows(const struct table *t)
{
	static char out[4096];
	char sql[1024];
	size_t n = 0;

	out[0] = '\0';
	for (unsigned k = 0; k < KEYS; k++) {
		int used = snprintf(sql, sizeof sql, "SELECT * FROM %s", t->name);
		PGresult *r;

		put_key(sql + used, sizeof sql - (size_t)used, t, k);
		r = PQexec(conn, sql);
		for (int row = 0; row < PQntuples(r); row++) {
			for (int c = 0; c < PQnfields(r); c++)
				n += (size_t)snprintf(out + n, sizeof out - n, "%s|",
				    PQgetisnull(r, row, c) ? "~" : PQgetvalue(r, row, c));
			n += (size_t)snprintf(out + n, sizeof out - n, ";");
		}
		PQclear(r);
	}
	return out;
}

/* Returns when clients can hear of them. */
static void
new_tables(unsigned number)
{
	schema_make(&schema, number);
	if (!run_sql(schema_sql(&schema, number)))
		test_fail("%s\n%s", PQerrorMessage(conn), schema_sql(&schema, number));
	test_schema_await(&service);
	if (n_instances == 2)
		test_sql_await(&second, test_sql(&service, "SELECT count(*) FROM electric.electrified"),
		    "SELECT count(*) FROM electric.electrified");
}

/* Children before parents. */
static void
empty_tables(void)
{
	char sql[100];

	for (unsigned i = schema.n_tables; i-- > 0;) {
		snprintf(sql, sizeof sql, "DELETE FROM %s", schema.tables[i].name);
		run_sql(sql);
	}
}

// ---- running it

static void
on_turn_over(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)events;
	*(bool *)w->data = true;
}

static void
turn_for(double seconds)
{
	ev_timer timer;
	bool over = false;

	ev_now_update(loop());
	ev_timer_init(&timer, on_turn_over, seconds, 0.);
	timer.data = &over;
	ev_timer_start(loop(), &timer);
	while (!over)
		sat_turn();
}

static bool
agree(struct model **models, const struct scenario *s)
{
	for (unsigned t = 0; t < schema.n_tables; t++) {
		char first[4096];
		const char *rows;

		conn = conns[n_instances - 1];
		snprintf(first, sizeof first, "%s", postgres_rows(&schema.tables[t]));
		conn = conns[0];
		rows = postgres_rows(&schema.tables[t]);
		if (strcmp(first, rows) != 0)
			return false;
		for (unsigned i = 0; i < s->n_clients; i++)
			if (!model_is_quiet(models[i]) || strcmp(model_rows(models[i], t), rows) != 0)
				return false;
	}
	return true;
}

static bool
come_to_agree(struct model **models, const struct scenario *s, double seconds)
{
	double end = ev_time() + seconds;

	while (!agree(models, s)) {
		if (ev_time() > end)
			return false;
		turn_for(0.02);
	}
	/* And stay so: nothing may still be under way. */
	turn_for(0.03);
	return agree(models, s);
}

static void
do_step(struct model **models, const struct step *step)
{
	struct model *m = models[step->client];

	switch (step->what) {
	case STEP_POSTGRES:
	case STEP_POSTGRES_ALL:
		write_in_postgres(step);
		break;
	case STEP_CLIENT:
		model_write(m, step->writes, step->n);
		break;
	case STEP_CUT:
		model_cut(m);
		break;
	case STEP_CONNECT:
		model_connect(m, service.port);
		break;
	case STEP_PAUSE:
		turn_for(step->writes[0].dice % 20 / 1000.0);
		break;
	}
}

/* True: all agreed. With `print`, what each holds when they did not. */
static bool
run_scenario(const struct scenario *s, double seconds, bool print)
{
	struct model *models[CLIENTS_MAX];
	bool agreed;

	empty_tables();
	for (unsigned i = 0; i < s->n_clients; i++) {
		char id[32];

		snprintf(id, sizeof id, "%c%u", 'a' + (int)i, runs);
		models[i] = model_new(id, &schema, s->skews[i]);
		model_connect(models[i], service.port);
	}
	runs++;
	come_to_agree(models, s, QUIET);
	for (unsigned i = 0; i < s->n_steps; i++)
		do_step(models, &s->steps[i]);
	for (unsigned i = 0; i < s->n_clients; i++)
		model_connect(models[i], service.port);
	agreed = come_to_agree(models, s, seconds);
	for (unsigned t = 0; t < schema.n_tables && print && !agreed; t++) {
		for (unsigned i = 0; i < n_instances; i++) {
			conn = conns[i];
			printf("  postgres_%u %s: %s\n", i + 1, schema.tables[t].name,
			    postgres_rows(&schema.tables[t]));
		}
		conn = conns[0];
	}
	for (unsigned i = 0; i < s->n_clients; i++) {
		if (print && !agreed)
			model_print(models[i]);
		model_free(models[i]);
	}
	return agreed;
}

// ---- a failure

static void
print_scenario(const struct scenario *s)
{
	static const char *const whats[] = { "postgres", "postgres-all", "client", "cut", "connect",
		"pause" };
	static const char *const kinds[] = { "upsert", "update", "delete" };

	for (unsigned i = 0; i < s->n_steps; i++) {
		const struct step *step = &s->steps[i];

		printf("  %s", whats[step->what]);
		if (step->what >= STEP_CLIENT)
			printf(" %c", 'a' + (int)step->client);
		else
			printf("_%u", 1 + step->client % n_instances);
		for (unsigned k = 0; k < step->n && step->what <= STEP_CLIENT; k++) {
			const struct write *w = &step->writes[k];
			const struct table *t = &schema.tables[w->table];

			printf(" %s %s/%u(", kinds[w->kind], t->name, w->key);
			for (unsigned c = t->n_keys; c < t->n_columns; c++) {
				const char *v = write_value(&schema, t, c, w->dice);

				if (w->kind == WRITE_UPSERT ||
				    (w->kind == WRITE_UPDATE && write_sets(c, w->dice)))
					printf("c%u=%s ", c, v != NULL ? v : "NULL");
			}
			printf(")");
		}
		printf("\n");
	}
}

/* Leaves out one step after the other, as long as it fails without it. */
static void
shrink(struct scenario *s)
{
	for (unsigned i = s->n_steps; i-- > 0;) {
		struct scenario less = *s;

		memmove(&less.steps[i], &less.steps[i + 1], (less.n_steps - i - 1) * sizeof *less.steps);
		less.n_steps--;
		for (int tries = 0; tries < 2; tries++) {
			if (!run_scenario(&less, 3.0, false)) {
				*s = less;
				break;
			}
		}
	}
}

static void
report_failure(struct scenario *s)
{
	printf("FAILED: seed=%lu clients=%u; made shorter:\n", s->seed, s->n_clients);
	fflush(stdout);
	shrink(s);
	print_scenario(s);
	for (int tries = 0; tries < 5 && run_scenario(s, 3.0, true); tries++)
		continue;
	fflush(stdout);
}

static void
start_second(void)
{
	static char url[600];

	if (n_instances == 1)
		return;
	test_postgres_start(&second, "fsync=off");
	snprintf(url, sizeof url, "DATABASE_URL_2=%s", second.url);
	service.env[1] = url;
}

int
main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
	unsigned long first =
	    argc > 2 ? strtoul(argv[2], NULL, 10) : (unsigned long)time(NULL) % 1000000 * 1000;
	unsigned passed = 0, failed = 0;
	unsigned long made = (unsigned long)-1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	n_instances = argc > 3 && atoi(argv[3]) == 2 ? 2 : 1;
	printf("converge: seeds %lu to %lu, instances %u\n", first, first + n - 1, n_instances);
	test_postgres_start(&service, "fsync=off");
	start_second();
	test_leyden_start(&service);
	for (unsigned i = 0; i < n_instances; i++) {
		conn = conns[i] = PQconnectdb(i == 0 ? service.url : second.url);
		run_sql("SET client_min_messages = error");
	}
	conn = conns[0];
	for (unsigned long seed = first; seed < first + n && failed < 3; seed++) {
		struct scenario s;

		if (seed / PER_SCHEMA != made) {
			made = seed / PER_SCHEMA;
			new_tables((unsigned)made);
		}
		make_scenario(&s, seed);
		if (run_scenario(&s, QUIET, false)) {
			passed++;
		} else {
			failed++;
			report_failure(&s);
		}
	}
	printf(
	    "refused in Postgres: %s\n", test_sql(&service, "SELECT count(*) FROM electric.rejected_writes"));
	for (unsigned i = 0; i < n_instances; i++)
		PQfinish(conns[i]);
	if (test_leyden_stop(&service) != 0)
		failed++;
	if (failed == 0) {
		test_service_end(&service);
		test_service_end(&second);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
