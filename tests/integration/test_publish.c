/*
 * Clients' writes on their way into Postgres: what it refuses is set aside and can be brought in again, what
 * passes is waited for, and long transactions arrive. On the whole service with a real Postgres.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define MANY 100000 /* rows of a long transaction */

static struct test_service service = { .env = { "AUTH_MODE=insecure", NULL } };
static struct sat_client *c;
static uint64_t written = 1686009600000;

static void
set_up(void)
{
	static const char *const tables[] = { "parents", "children" };

	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	test_sql(&service, "CREATE TABLE parents (id text PRIMARY KEY, v text);"
			   "CREATE TABLE children (id text PRIMARY KEY, parent text REFERENCES parents);"
			   "SELECT electric.migration_version('1');"
			   "CALL electric.electrify('parents'); CALL electric.electrify('children');"
			   "ALTER TABLE parents ADD CONSTRAINT small CHECK (length(v) < 10)");
	c = sat_begin(service.port, "c", "ann");
	sat_message_free(sat_await(c, SAT_RELATION));
	sat_message_free(sat_await(c, SAT_RELATION));
	sat_subscribe(c, "11111111-1111-4111-8111-111111111111", tables, 2, NULL);
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

static void
write_parent(const char *id, const char *v)
{
	const char *const row[] = { id, v };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "parents", .row = row };

	sat_write(c, ++written, &op, 1);
}

static void
await_echo(void)
{
	for (bool own = false; !own;) {
		struct sat_message *m = sat_await(c, SAT_OP_LOG);
		const SatOpLog *log = (const SatOpLog *)m->body;

		own = log->ops[0]->op_case == SAT_TRANS_OP__OP_BEGIN &&
		      strcmp(log->ops[0]->begin->origin, "c") == 0;
		sat_message_free(m);
	}
}

/* pg-publish's own command; "$?" is the second word of its last line. */
static const char *
publish(const char *arguments)
{
	return test_shell(
	    "DATABASE_URL='%s' " TEST_BIN "/pg-publish %s 2>&1 | cut -c 1-400", service.url, arguments);
}

/* So many were set aside since the service came up, for who watches. */
static void
await_count(int n)
{
	char text[12];

	snprintf(text, sizeof text, "%d", n);
	test_shell_await(text,
	    "curl -s http://127.0.0.1:%u/metrics | sed -n 's/^leyden_rejected_writes_total.* //p'",
	    service.http);
}

START_TEST(a_refused_write_can_be_brought_in_again)
{
	const char *line;

	write_parent("refused", "far too long \"quoted\"");
	await_echo();
	await_count(1);
	line = publish("--rejected");
	ck_assert_ptr_nonnull(strstr(line, "id=1 time=20"));
	ck_assert_ptr_nonnull(
	    strstr(line, " client_id=\"c\" user_id=\"ann\" lsn=00000001 sqlstate=23514 message=\""));
	ck_assert_ptr_nonnull(strstr(line, "\"kind\": \"insert\""));
	/* Postgres still has the same against it, and it stays. */
	ck_assert_ptr_nonnull(strstr(publish("--retry 1"), "violates check constraint"));
	test_sql(&service, "ALTER TABLE parents DROP CONSTRAINT small");
	ck_assert_str_eq(publish("--retry 1"), "id=1 applied");
	ck_assert_str_eq(
	    test_sql(&service, "SELECT v FROM parents WHERE id = 'refused'"), "far too long \"quoted\"");
	ck_assert_str_eq(publish("--rejected"), "");
	ck_assert_str_eq(publish("--retry 1"), "pg-publish: there is no rejected write 1");
	test_sql(
	    &service, "DELETE FROM parents; ALTER TABLE parents ADD CONSTRAINT small CHECK (length(v) < 10)");
}
END_TEST

START_TEST(a_refused_write_can_be_discarded)
{
	write_parent("discarded", "far too long again");
	await_echo();
	await_count(2);
	ck_assert_str_eq(publish("--discard 2"), "id=2 discarded");
	ck_assert_str_eq(publish("--discard 2"), "pg-publish: there is no rejected write 2");
	ck_assert_str_eq(publish("--rejected"), "");
	ck_assert_str_eq(publish("--retry 1 --discard 2"),
	    "pg-publish: --rejected, --retry and --discard exclude each other");
	ck_assert_str_eq(publish("--retry x"), "pg-publish: --retry: not a number: \"x\"");
}
END_TEST

/* All that the client has written since is there, in order, and nothing was set aside. */
static void
must_arrive(const char *id)
{
	await_echo();
	test_sql_await(&service, "v", "SELECT v FROM parents WHERE id = '%s'", id);
	ck_assert_str_eq(test_sql(&service, "SELECT count(*) FROM electric.rejected_writes"), "0");
}

/* Whoever brings clients' writes into Postgres begins a new session. */
static const char end_sessions[] = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
				   "application_name = 'leyden pg-publish' OR backend_type LIKE 'logical "
				   "replication%worker'";

/* The write under way meets this, and is to be tried again. */
static void
await_delay(const char *sqlstate)
{
	char line[64];

	if (test_is_logical()) { /* the worker tells Postgres' own log */
		test_shell_await(
		    "", "grep -q 'ERROR:.*read-only transaction' %s/pg/postgres.log && echo", service.dir);
		return;
	}
	snprintf(line, sizeof line, "write-delayed sqlstate=%s", sqlstate);
	test_log_await(&service, line);
}

START_TEST(what_passes_is_waited_for)
{
	/* A failover: read-only for a while. */
	test_sql(
	    &service, "ALTER DATABASE electric SET default_transaction_read_only = on; %s", end_sessions);
	write_parent("read-only", "v");
	await_delay("25006");
	test_sql(&service,
	    "BEGIN READ WRITE; ALTER DATABASE electric RESET default_transaction_read_only; %s; COMMIT",
	    end_sessions);
	must_arrive("read-only");
	/* A lock that is held too long, and an operator's hand. */
	test_sql(&service, "ALTER ROLE electric SET lock_timeout = '50ms'; %s", end_sessions);
	{
		PGconn *other = PQconnectdb(service.url);

		PQclear(PQexec(other, "BEGIN; LOCK TABLE parents"));
		write_parent("locked", "v");
		if (!test_is_logical()) /* the worker takes no notice of the role's settings, and waits */
			await_delay("55P03");
		PQfinish(other);
	}
	must_arrive("locked");
	test_sql(&service, "ALTER ROLE electric RESET lock_timeout");
	/* Postgres goes and comes back. */
	test_postgres_stop(&service, "immediate");
	write_parent("away", "v");
	test_postgres_again(&service);
	must_arrive("away");
}
END_TEST

START_TEST(a_long_transaction_arrives_whole)
{
	struct sat_write_op *ops = calloc(MANY + 1, sizeof *ops);
	char(*ids)[16] = calloc(MANY, sizeof *ids);
	const char *(*rows)[2] = calloc(MANY, sizeof *rows);
	static const char *const parent[] = { "of many", "v" };

	ops[0] = (struct sat_write_op){ .kind = SAT_INSERT, .table = "parents", .row = parent };
	for (int i = 0; i < MANY; i++) {
		snprintf(ids[i], sizeof ids[i], "%d", i);
		rows[i][0] = ids[i];
		rows[i][1] = parent[0];
		ops[i + 1] = (struct sat_write_op){ .kind = SAT_INSERT, .table = "children", .row = rows[i] };
	}
	sat_write(c, ++written, ops, MANY + 1);
	free(ops);
	free(ids);
	free(rows);
	await_echo();
	ck_assert_str_eq(
	    test_sql(&service, "SELECT count(*) FROM children WHERE parent = 'of many'"), "100000");
}
END_TEST

/* The slot is gone with the old primary: clients take their tables again, but no write is lost or repeated.
 */
START_TEST(a_promoted_standby_takes_over)
{
	static const char *const row[] = { "promoted", "v" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "parents", .row = row };
	struct sat_client *other;
	char before[24];

	snprintf(before, sizeof before, "%s", test_sql(&service, "SELECT count(*) FROM parents"));
	test_shell("scripts/postgres failover %s/pg 2>&1 && echo", service.dir);
	other = sat_begin(service.port, "of the standby", "ann");
	sat_message_free(sat_await(other, SAT_RELATION));
	sat_message_free(sat_await(other, SAT_RELATION));
	sat_write(other, ++written, &op, 1);
	test_sql_await(&service, "v", "SELECT v FROM parents WHERE id = 'promoted'");
	test_sql_await(&service, "t", "SELECT count(*) = %s + 1 FROM parents", before);
	ck_assert_str_eq(test_sql(&service, "SELECT count(*) FROM electric.rejected_writes"), "0");
}
END_TEST

/* Bytes that are no text come from no client that means well. */
START_TEST(a_value_must_be_text)
{
	static const char *const row[] = { "\xff", "v" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "parents", .row = row };
	struct sat_client *other = sat_begin(service.port, "other", "ann");

	sat_message_free(sat_await(other, SAT_RELATION));
	sat_message_free(sat_await(other, SAT_RELATION));
	sat_write(other, ++written, &op, 1);
	sat_message_free(sat_await(other, SAT_ERROR_RESP));
	sat_await_close(other);
	sat_free(other);
}
END_TEST

/* What needs no Postgres to be seen: the client goes on, and Postgres was not asked. */
START_TEST(a_faulty_value_is_set_aside)
{
	static const struct {
		const char *values[4], *sqlstate;
	} faults[] = {
		{ { "1", "x", NULL, "s" }, "22P02" },
		{ { "1", "1.5", NULL, "s" }, "22P02" },
		{ { "1", "", NULL, "s" }, "22P02" },
		{ { "1", "2147483648", NULL, "s" }, "22003" },
		{ { "1", "1", "1e", "s" }, "22P02" },
		{ { "1", "1", "1", NULL }, "23502" },
		{ { "no number", "1", "1", "s" }, "22P02" },
	};
	static const char *const good[] = { " 7 ", "-2147483648", "-Infinity", "s" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "typed" };
	char count[16];

	test_sql(&service, "CREATE TABLE typed (id int8 PRIMARY KEY, n int4, f float8, s text NOT NULL);"
			   "CALL electric.electrify('typed')");
	while (sat_relation_named(c, "typed") == NULL)
		sat_message_free(sat_await(c, SAT_RELATION));
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		op.row = faults[i].values;
		sat_write(c, ++written, &op, 1);
		await_echo();
		snprintf(count, sizeof count, "%zu", i + 1);
		test_sql_await(&service, count, "SELECT count(*) FROM electric.rejected_writes");
		ck_assert_str_eq(
		    test_sql(
			&service, "SELECT sqlstate FROM electric.rejected_writes ORDER BY id DESC LIMIT 1"),
		    faults[i].sqlstate);
	}
	op.row = good;
	sat_write(c, ++written, &op, 1);
	await_echo();
	test_sql_await(
	    &service, "7 -2147483648 -Infinity s", "SELECT concat_ws(' ', id, n, f, s) FROM typed");
	ck_assert_str_eq(
	    test_sql(&service,
		"DELETE FROM electric.rejected_writes; SELECT count(*) FROM electric.rejected_writes"),
	    "0");
}
END_TEST

/* A predecessor that was killed has its transaction under way, and it commits all the same. */
START_TEST(a_killed_predecessor_commits)
{
	static const char waiting[] =
	    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'parents'::regclass";
	PGconn *other = PQconnectdb(service.url);

	test_sql(&service,
	    "CREATE TABLE audit (id text);"
	    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
	    " INSERT INTO public.audit VALUES (new.id); RETURN NULL; END $$;"
	    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION note();"
	    "ALTER TABLE parents ENABLE ALWAYS TRIGGER note");
	PQclear(PQexec(other, "BEGIN; LOCK TABLE parents IN EXCLUSIVE MODE"));
	write_parent("once", "v");
	test_sql_await(&service, "1", waiting);
	test_tool_kill(&service, "pg-publish", SIGKILL);
	if (!test_is_logical())
		test_sql_await(&service, "2", waiting);
	PQfinish(other);
	must_arrive("once");
	write_parent("after", "v");
	must_arrive("after");
	ck_assert_str_eq(
	    test_sql(&service, "SELECT string_agg(id, ' ' ORDER BY ctid) FROM audit"), "once after");
	test_sql(&service, "DROP TRIGGER note ON parents");
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { a_refused_write_can_be_brought_in_again,
		a_refused_write_can_be_discarded, a_value_must_be_text, a_faulty_value_is_set_aside,
		what_passes_is_waited_for, a_killed_predecessor_commits, a_long_transaction_arrives_whole,
		a_promoted_standby_takes_over };

	return suite_run(
	    &(struct suite_tests){ "publish", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
