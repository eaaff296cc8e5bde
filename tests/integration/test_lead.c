/*
 * The Postgres that leads goes away for long: another leads, and clients notice nothing but that. On the
 * whole service with real clusters and clients on real sockets.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define UUID "11111111-1111-4111-8111-11111111111"

static struct test_service first, second; /* of the second, its Postgres only */
static struct sat_client *ann, *bob;

static struct sat_client *
client_of(const char *user)
{
	return sat_begin(first.port, NULL, user);
}

static void
subscribe(struct sat_client *c, const char *id, const char *table)
{
	const char *tables[] = { table };

	sat_subscribe(c, id, tables, 1, NULL);
}

static void
await_leader(const char *instance)
{
	test_shell_await("1",
	    TEST_BIN "/log-store --run-dir %s/run --status --json | grep -c '\"leader\":%s,'", first.dir,
	    instance);
}

static void
set_up(void)
{
	test_pair_start(&first, &second, "fsync=off");
	first.env[2] = "LOG_STORE_LEAD_TIME=1";
	test_leyden_start(&first);
	test_sql(&first, "SELECT electric.migration_version('1');"
			 "CREATE TABLE items (id text PRIMARY KEY, a text, b text);"
			 "CALL electric.electrify('items');"
			 "INSERT INTO items VALUES ('one', 'a', 'b')");
	test_sql_await(&second, "1", "SELECT count(*) FROM pg_class WHERE relname = 'items'");
	test_sql_await(&second, "1", "SELECT count(*) FROM items");
	test_schema_await(&first);
	ann = client_of("ann");
	bob = client_of("bob");
	subscribe(ann, UUID "1", "items");
	subscribe(bob, UUID "2", "items");
}

static void
tear_down(void)
{
	sat_free(ann);
	sat_free(bob);
	test_pair_end(&first, &second);
}

static const SatOpRow *
row_of(const SatTransOp *op)
{
	return op->op_case == SAT_TRANS_OP__OP_INSERT	? op->insert->row_data
	       : op->op_case == SAT_TRANS_OP__OP_UPDATE ? op->update->row_data
	       : op->op_case == SAT_TRANS_OP__OP_DELETE ? op->delete_->old_row_data
							: NULL;
}

/* Awaits an operation on the row of this id, in which the column has this value. */
static void
await_row(struct sat_client *c, const char *table, const char *id, const char *column, const char *value)
{
	for (int i = 0; i < 1000; i++) {
		struct sat_message *m = sat_await(c, SAT_OP_LOG);
		const SatOpLog *log = (const SatOpLog *)m->body;
		bool found = false;

		for (size_t k = 0; k < log->n_ops; k++) {
			const SatOpRow *row = row_of(log->ops[k]);
			const struct sat_relation *r = sat_relation_named(c, table);
			const char *v;

			if (row == NULL || r == NULL || strcmp(sat_value(r, row, "id"), id) != 0)
				continue;
			v = sat_value(r, row, column);
			found |= v != NULL && strcmp(v, value) == 0;
		}
		sat_message_free(m);
		if (found)
			return;
	}
	ck_abort_msg("the row %s never came", id);
}

static void
write_item(struct sat_client *c, const char *id, const char *a)
{
	const char *row[] = { id, a, "client", "later" };
	const struct sat_write_op op = { SAT_INSERT, "items", row, NULL, NULL, 0 };

	sat_write(c, 1700000000000, &op, 1);
}

/* Both hold the same, which is so many rows of the table. */
static void
await_equal(const char *table, const char *rows)
{
	test_pair_await_equal(&first, &second, table, rows);
}

/* So many operations in the log have this text. */
static void
must_be_told(const char *times, const char *what)
{
	ck_assert_str_eq(
	    test_shell(TEST_BIN "/log-store --dump --file %s/log | grep -c \"%s\" || true", first.dir, what),
	    times);
}

/* What it wrote while it followed, and the first had no time to take, is told once. */
START_TEST(what_nobody_had_taken_is_told_once)
{
	test_tool_kill(&first, "pg-publish", SIGSTOP);
	kill(test_tool_pid(&first, "pg-publish", 1), SIGSTOP);
	test_sql(&second, "DO $$ BEGIN FOR i IN 1..300 LOOP INSERT INTO items VALUES ('own ' || i, 'a', 'b');"
			  " COMMIT; END LOOP; END $$");
	test_sql(&second, "UPDATE items SET a = 'last' WHERE id = 'own 300'");
	test_shell_await("301",
	    TEST_BIN "/log-store --run-dir %s/run --status --json |"
		     " sed 's/.*\"writes_pending\":\\([0-9]*\\).*/\\1/'",
	    first.dir);
	test_postgres_stop(&first, "immediate");
	test_tool_kill(&first, "pg-publish", SIGCONT);
	kill(test_tool_pid(&first, "pg-publish", 1), SIGCONT);
	await_leader("2");
	await_row(ann, "items", "own 300", "a", "last");
	must_be_told("1", "insert.*'own 7',");
	must_be_told("1", "update.*'own 300',");
	test_postgres_again(&first);
	await_equal("items", "301");
	must_be_told("1", "'own 7',");
	test_sql(&second, "DELETE FROM items WHERE id LIKE 'own %%'");
	await_equal("items", "1");
	test_postgres_stop(&second, "immediate");
	await_leader("1");
	test_postgres_again(&second);
	await_equal("items", "1");
}
END_TEST

/* What had not come to the second by the time the first went comes when it is back. */
START_TEST(another_leads)
{
	struct sat_client *late;

	test_postgres_stop(&first, "immediate");
	write_item(ann, "from ann", "x");
	test_sql(&second, "INSERT INTO items VALUES ('from second', 'y', 'z')");
	await_leader("2");
	test_shell_await("ok", "curl -s http://127.0.0.1:%u/readyz", first.http);
	await_row(bob, "items", "from ann", "a", "x");
	await_row(ann, "items", "from second", "a", "y");
	/* Its numbers are not those that clients know. */
	test_sql(&second, "UPDATE items SET a = 'again' WHERE id = 'one'");
	await_row(bob, "items", "one", "a", "again");
	late = client_of("late");
	subscribe(late, UUID "3", "items");
	write_item(late, "from late", "x");
	await_row(bob, "items", "from late", "a", "x");
	sat_free(late);
	test_sql_await(&second, "4", "SELECT count(*) FROM items");
}
END_TEST

START_TEST(its_schema_travels)
{
	test_sql(&second,
	    "SELECT electric.migration_version('2'); ALTER TABLE items ADD COLUMN c text DEFAULT 'new';"
	    "CREATE TABLE others (x int4, id text PRIMARY KEY); CALL electric.electrify('others');"
	    "INSERT INTO others VALUES (1, 'other'); INSERT INTO items VALUES ('with c', 'a', 'b', 'c')");
	await_row(ann, "items", "with c", "c", "c");
	subscribe(ann, UUID "4", "others");
	test_sql(&second, "UPDATE others SET x = 2");
	await_row(ann, "others", "other", "x", "2");
}
END_TEST

START_TEST(the_first_comes_back)
{
	test_postgres_again(&first);
	test_sql_await(&first, "1", "SELECT count(*) FROM pg_class WHERE relname = 'others'");
	await_equal("items", "5");
	await_equal("others", "1");
	test_sql(&first, "INSERT INTO others VALUES (3, 'of the first')");
	await_row(ann, "others", "of the first", "x", "3");
	await_equal("others", "2");
	ck_assert_str_eq(test_sql(&first, "SELECT count(*) FROM electric.apart"), "0");
}
END_TEST

/* The service starts anew with the second in the lead; clients resume. */
START_TEST(it_leads_after_a_restart)
{
	char *subscriptions[] = { (char *)(uintptr_t)UUID "2" };

	ck_assert_int_eq(test_leyden_stop(&first), 0);
	sat_close(bob);
	test_leyden_start(&first);
	await_leader("2");
	test_sql(&first, "INSERT INTO items VALUES ('restarted', 'a', 'b')");
	ck_assert(sat_reopen(bob, first.port));
	sat_login(bob, "bob");
	sat_start(bob, subscriptions, 1);
	await_row(bob, "items", "restarted", "a", "a");
	write_item(bob, "from bob", "x");
	test_sql_await(&first, "1", "SELECT count(*) FROM items WHERE id = 'from bob'");
	await_equal("items", "7");
}
END_TEST

START_TEST(the_first_leads_again)
{
	test_postgres_stop(&second, "immediate");
	await_leader("1");
	test_sql(&first, "UPDATE items SET b = 'back' WHERE id = 'one'");
	await_row(bob, "items", "one", "b", "back");
	write_item(bob, "from bob again", "x");
	test_sql_await(&first, "1", "SELECT count(*) FROM items WHERE id = 'from bob again'");
	test_postgres_again(&second);
	await_equal("items", "8");
	test_sql(&second, "DELETE FROM items WHERE id = 'from bob again'");
	test_sql_await(&first, "7", "SELECT count(*) FROM items");
	await_equal("items", "7");
}
END_TEST

int
main(int argc, char **argv)
{
	static const TTest *tests[8];
	const struct suite_tests suite = { "lead", tests, 6, set_up, tear_down };
	size_t n = 0;

	tests[n++] = what_nobody_had_taken_is_told_once;
	tests[n++] = another_leads;
	tests[n++] = its_schema_travels;
	tests[n++] = the_first_comes_back;
	tests[n++] = it_leads_after_a_restart;
	tests[n++] = the_first_leads_again;
	return suite_run(&suite, argc, argv);
}
