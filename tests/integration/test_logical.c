/*
 * Logical publication: Postgres subscribes to the service. What stands in test_publish and test_cases holds
 * there too (TEST_WRITE_MODE); here is what only this way has: who may connect, the subscription, restarts of
 * either side.
 */
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

static struct test_service service = { .env = { "AUTH_MODE=insecure", NULL } };
static struct sat_client *c;
static uint64_t written = 1686009600000;
static unsigned n_rows;

/* A new one each time. */
static void
connect_client(void)
{
	c = sat_begin(service.port, NULL, "ann");
	sat_message_free(sat_await(c, SAT_RELATION));
}

static void
set_up(void)
{
	setenv("TEST_WRITE_MODE", "logical_replication", 1);
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	test_sql(&service, "CREATE TABLE items (id text PRIMARY KEY, v text);"
			   "SELECT electric.migration_version('1'); CALL electric.electrify('items');");
	connect_client();
}

static void
tear_down(void)
{
	sat_free(c);
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ck_assert(!test_log_has(&service, "runtime error"));
	ck_assert(!test_log_has(&service, "Sanitizer"));
	test_service_end(&service);
}

/* The client writes a row; it arrives, and every one before it is there once. */
static void
write_row(void)
{
	char id[16], total[16];
	const char *const row[] = { id, "v" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = row };

	snprintf(id, sizeof id, "row %u", ++n_rows);
	snprintf(total, sizeof total, "%u", n_rows);
	sat_write(c, ++written, &op, 1);
	test_sql_await(&service, total, "SELECT count(*) FROM items");
}

static unsigned
publisher_port(void)
{
	return (unsigned)atoi(test_shell(TEST_BIN "/pg-publish --run-dir %s/run --status --json | "
						  "grep -o '\"publisher_port\":[0-9]*' | cut -d: -f2",
	    service.dir));
}

/* What an attempt to connect is told. */
static void
must_be_refused(const char *rest, const char *why)
{
	char conninfo[512];
	PGconn *conn;

	snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%u dbname=electric connect_timeout=10 %s",
	    publisher_port(), rest);
	conn = PQconnectdb(conninfo);
	ck_assert_int_eq(PQstatus(conn), CONNECTION_BAD);
	ck_assert_msg(strstr(PQerrorMessage(conn), why) != NULL, "%s: %s", rest, PQerrorMessage(conn));
	PQfinish(conn);
}

START_TEST(who_does_not_know_the_password_stays_outside)
{
	write_row();
	must_be_refused(
	    "user=leyden password=wrong sslmode=require replication=database", "the password is wrong");
	must_be_refused("user=leyden sslmode=require replication=database", "no password supplied");
	must_be_refused(
	    "user=electric password=password sslmode=require replication=database", "no such user");
	must_be_refused("user=leyden password=x sslmode=require", "only subscriptions of Postgres");
	/* The password never goes over a plain connection. */
	must_be_refused(
	    "user=leyden password=x sslmode=disable replication=database", "closed the connection");
	test_log_await(&service, "a session without TLS was asked for");
	/* Bytes that are no protocol. */
	ck_assert_str_eq(
	    test_shell(
		"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/%u; "
		"cat >&3; cat <&3 | wc -c'",
		publisher_port()),
	    "0");
	ck_assert_str_eq(test_shell("stat -c %%a %s/run/pg-publish-1.password", service.dir), "600");
	write_row();
}
END_TEST

START_TEST(who_knows_it_gets_what_a_subscription_asks_only)
{
	char conninfo[512];
	unsigned port = publisher_port();
	PGconn *conn;
	PGresult *r;

	snprintf(conninfo, sizeof conninfo,
	    "host=127.0.0.1 port=%u dbname=electric user=leyden sslmode=require replication=database "
	    "password=%s",
	    port, test_shell("cat %s/run/pg-publish-1.password", service.dir));
	conn = PQconnectdb(conninfo);
	ck_assert_msg(PQstatus(conn) == CONNECTION_OK, "%s", PQerrorMessage(conn));
	r = PQexec(conn, "IDENTIFY_SYSTEM");
	ck_assert_int_eq(PQntuples(r), 1);
	ck_assert_str_eq(PQgetvalue(r, 0, 3), "electric");
	PQclear(r);
	r = PQexec(conn, "SELECT * FROM items");
	ck_assert_str_eq(PQresultErrorField(r, PG_DIAG_SQLSTATE), "0A000");
	PQclear(r);
	PQfinish(conn);
}
END_TEST

START_TEST(a_restart_of_either_side_repeats_nothing)
{
	write_row();
	test_tool_kill(&service, "pg-publish", SIGKILL);
	write_row();
	test_sql(&service, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE "
			   "'logical replication%%worker'");
	write_row();
	test_postgres_stop(&service, "immediate");
	test_postgres_again(&service);
	write_row();
	ck_assert_str_eq(test_sql(&service, "SELECT count(*) FROM electric.rejected_writes"), "0");
}
END_TEST

/* Whatever was done to the subscription, the next start has it as it must be. */
START_TEST(the_subscription_is_put_right)
{
	static const char *const damages[] = { "ALTER SUBSCRIPTION electric_replication_in DISABLE",
		"ALTER SUBSCRIPTION electric_replication_in CONNECTION 'host=127.0.0.1 port=1'",
		"ALTER SUBSCRIPTION electric_replication_in DISABLE; ALTER SUBSCRIPTION "
		"electric_replication_in SET "
		"(slot_name = NONE); DROP SUBSCRIPTION electric_replication_in" };

	for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
		char script[400];

		/* Each statement for itself: some refuse to be in a transaction. */
		snprintf(script, sizeof script, "%s", damages[i]);
		for (char *at = strtok(script, ";"); at != NULL; at = strtok(NULL, ";"))
			test_sql(&service, "%s", at);
		test_tool_kill(&service, "pg-publish", SIGKILL);
		write_row();
	}
	/* The password is lost, and so is the port: both are new after a start. */
	sat_free(c);
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_shell("rm %s/run/pg-publish-1.password && echo", service.dir);
	test_leyden_start(&service);
	connect_client();
	write_row();
}
END_TEST

/* What was written one way is not written again the other way. */
START_TEST(the_mode_can_change)
{
	for (int i = 0; i < 2; i++) {
		sat_free(c);
		ck_assert_int_eq(test_leyden_stop(&service), 0);
		setenv("TEST_WRITE_MODE", i == 0 ? "direct_writes" : "logical_replication", 1);
		test_leyden_start(&service);
		connect_client();
		write_row();
	}
}
END_TEST

START_TEST(a_role_that_may_not_subscribe_is_told)
{
	struct test_service other = service;

	other.pid = 0;
	snprintf(other.dir + strlen(other.dir), 8, "/other");
	test_shell("mkdir %s && chmod 711 %s && echo", other.dir, other.dir);
	test_sql(&service, "CREATE ROLE plain LOGIN REPLICATION PASSWORD 'plain'");
	test_sql(&service, "CREATE DATABASE plain OWNER plain");
	snprintf(other.url, sizeof other.url, "postgresql://plain:plain@127.0.0.1:%s/plain",
	    test_shell("cat %s/pg/port", service.dir));
	other.port = other.http = 0;
	ck_assert_int_eq(test_leyden_run(&other), 78);
	ck_assert(test_log_has(&other, "variable=ELECTRIC_WRITE_TO_PG_MODE"));
	ck_assert(test_log_has(&other, "direct_writes does not"));
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { who_does_not_know_the_password_stays_outside,
		who_knows_it_gets_what_a_subscription_asks_only, a_restart_of_either_side_repeats_nothing,
		the_subscription_is_put_right, the_mode_can_change, a_role_that_may_not_subscribe_is_told };

	return suite_run(
	    &(struct suite_tests){ "logical", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
