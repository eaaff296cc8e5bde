/*
 * What the role of DATABASE_URL needs in Postgres, as the README says: LOGIN and REPLICATION, CREATE on the
 * database, the table's ownership when it is electrified and ordinary privileges on it afterwards. Nothing
 * here runs as a superuser but what sets this up.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

static struct test_service service = { .env = { "AUTH_MODE=insecure", NULL } };
static char admin_url[512], app_url[512];

static void
must(const char *url, const char *sql)
{
	PGconn *conn = PQconnectdb(url);
	PGresult *r = PQexec(conn, sql);

	ck_assert_msg(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK, "%s: %s",
	    sql, PQerrorMessage(conn));
	PQclear(r);
	PQfinish(conn);
}

static void
set_up(void)
{
	const char *port;

	test_postgres_start(&service, "fsync=off");
	snprintf(admin_url, sizeof admin_url, "%s", service.url);
	must(admin_url, "CREATE ROLE app LOGIN PASSWORD 'app'");
	must(admin_url, "CREATE ROLE syncer LOGIN REPLICATION PASSWORD 'syncer'");
	must(admin_url, "CREATE DATABASE shop");
	port = test_shell("cat %s/pg/port", service.dir);
	snprintf(app_url, sizeof app_url, "postgresql://app:app@127.0.0.1:%s/shop", port);
	snprintf(service.url, sizeof service.url, "postgresql://syncer:syncer@127.0.0.1:%s/shop", port);
	snprintf(strrchr(admin_url, '/'), 6, "/shop");
	must(admin_url, "GRANT CREATE ON DATABASE shop TO syncer");
	must(admin_url, "GRANT CREATE ON SCHEMA public TO app");
	test_leyden_start(&service);
}

static void
tear_down(void)
{
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_service_end(&service);
}

START_TEST(the_grants_of_the_readme_suffice)
{
	static const char *const tables[] = { "orders" }, *const row[] = { "of the client", "x" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "orders", .row = row };
	struct sat_client *c;
	struct sat_message *m;

	must(app_url, "CREATE TABLE orders (id text PRIMARY KEY, v text)");
	must(app_url, "INSERT INTO orders VALUES ('from before', 'x')");
	/* For the time of it, syncer is a member of the role that owns the table. */
	must(admin_url, "GRANT app TO syncer");
	test_sql(&service, "SELECT electric.migration_version('1'); CALL electric.electrify('orders')");
	must(admin_url, "REVOKE app FROM syncer");
	must(app_url, "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO syncer");

	c = sat_begin(service.port, "c", "ann");
	sat_message_free(sat_await(c, SAT_RELATION));
	sat_subscribe(c, "11111111-1111-4111-8111-111111111111", tables, 1, NULL);
	sat_write(c, 1686009600000, &op, 1);
	test_sql_await(&service, "2", "SELECT count(*) FROM orders");
	ck_assert_str_eq(test_sql(&service, "SELECT count(*) FROM electric.rejected_writes"), "0");
	sat_message_free(sat_await(c, SAT_OP_LOG)); /* its echo */
	/* The application has no privilege in the schema electric. */
	must(app_url, "UPDATE orders SET v = 'changed' WHERE id = 'of the client'");
	m = sat_await(c, SAT_OP_LOG);
	ck_assert_int_eq(((const SatOpLog *)m->body)->ops[1]->op_case, SAT_TRANS_OP__OP_UPDATE);
	sat_message_free(m);
	sat_free(c);
}
END_TEST

/* What the role may not do is a refused write, not the end of the others'. */
START_TEST(a_missing_privilege_is_a_refusal)
{
	static const char *const row[] = { "without a grant", "x" }, *const next[] = { "with it again", "x" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "orders", .row = row };
	struct sat_client *c = sat_begin(service.port, "d", "ann");

	sat_message_free(sat_await(c, SAT_RELATION));
	must(app_url, "REVOKE INSERT ON orders FROM syncer");
	sat_write(c, 1686009600000, &op, 1);
	test_sql_await(&service, "42501", "SELECT sqlstate FROM electric.rejected_writes");
	must(app_url, "GRANT INSERT ON orders TO syncer");
	op.row = next;
	sat_write(c, 1686009600001, &op, 1);
	test_sql_await(&service, "1", "SELECT count(*) FROM orders WHERE id = 'with it again'");
	sat_free(c);
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { the_grants_of_the_readme_suffice, a_missing_privilege_is_a_refusal };

	return suite_run(
	    &(struct suite_tests){ "grants", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
