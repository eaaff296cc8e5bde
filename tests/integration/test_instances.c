/*
 * Two Postgres in one service: rows and migrations of each reach the other and the clients, whichever of the
 * two is away for a while. On the whole service with real clusters.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

static struct test_service first, second; /* of the second, its Postgres only */

/* Both hold the same, which is so many rows of the table. */
static void
await_equal(const char *table, const char *rows)
{
	test_pair_await_equal(&first, &second, table, rows);
}

static void
set_up(void)
{
	test_pair_start(&first, &second, "fsync=off");
	test_leyden_start(&first);
	test_sql(&first, "SELECT electric.migration_version('1');"
			 "CREATE TABLE items (id text PRIMARY KEY, a text, b text);"
			 "CALL electric.electrify('items')");
	test_sql_await(&second, "1", "SELECT count(*) FROM electric.electrified WHERE table_name = 'items'");
	test_schema_await(&first);
}

static void
tear_down(void)
{
	test_pair_end(&first, &second);
}

START_TEST(status_names_each)
{
	test_shell_await("{\"connectors\":{\"postgres_1\":true,\"postgres_2\":true}}",
	    "curl -s http://127.0.0.1:%u/api/status", first.http);
}
END_TEST

START_TEST(rows_flow_both_ways)
{
	test_sql(&first, "INSERT INTO items VALUES ('one', 'a', 'b'), ('two', 'a', 'b')");
	test_sql_await(&second, "2", "SELECT count(*) FROM items");
	test_sql(&second, "INSERT INTO items VALUES ('three', 'a', 'b'); DELETE FROM items WHERE id = 'two'");
	await_equal("items", "2");
	/* Columns of one row, changed in each at about the same time, both stay. */
	test_sql(&first, "UPDATE items SET a = 'first' WHERE id = 'one'");
	test_sql(&second, "UPDATE items SET b = 'second' WHERE id = 'one'");
	test_sql_await(&first, "first second", "SELECT a || ' ' || b FROM items WHERE id = 'one'");
	test_sql_await(&second, "first second", "SELECT a || ' ' || b FROM items WHERE id = 'one'");
	/* A write has the time and the name of where it was made. */
	ck_assert_str_eq(
	    test_sql(
		&first, "SELECT (_tags[1]).source FROM electric.shadow__public__items WHERE k1 = 'three'"),
	    "postgres_2");
	ck_assert_str_eq(
	    test_sql(&second, "SELECT coalesce((_tags[1]).source, 'own') FROM electric.shadow__public__items"
			      " WHERE k1 = 'three'"),
	    "own");
}
END_TEST

START_TEST(no_loops)
{
	char before[32];

	test_sql(&first, "INSERT INTO items VALUES ('loop', 'a', 'b')");
	test_sql_await(&second, "1", "SELECT count(*) FROM items WHERE id = 'loop'");
	test_sql(&second, "UPDATE items SET a = 'x' WHERE id = 'loop'");
	test_sql_await(&first, "x", "SELECT a FROM items WHERE id = 'loop'");
	snprintf(before, sizeof before, "%s", test_sql(&second, "SELECT xmin FROM items WHERE id = 'loop'"));
	/* What comes after it has come through both. */
	test_sql(&second, "INSERT INTO items VALUES ('after', 'a', 'b')");
	test_sql_await(&first, "1", "SELECT count(*) FROM items WHERE id = 'after'");
	test_sql(&first, "DELETE FROM items WHERE id = 'after'");
	test_sql_await(&second, "0", "SELECT count(*) FROM items WHERE id = 'after'");
	ck_assert_str_eq(test_sql(&second, "SELECT xmin FROM items WHERE id = 'loop'"), before);
}
END_TEST

START_TEST(a_long_transaction_is_whole)
{
	test_sql(&second, "INSERT INTO items SELECT 'long ' || i, repeat('x', 100), 'b' FROM "
			  "generate_series(1, 20000) AS i");
	for (int i = 0; i < 1000; i++) {
		const char *n = test_sql(&first, "SELECT count(*) FROM items WHERE id LIKE 'long %%'");

		if (strcmp(n, "20000") == 0)
			break;
		ck_assert_str_eq(n, "0");
	}
	test_sql_await(&first, "20000", "SELECT count(*) FROM items WHERE id LIKE 'long %%'");
	test_sql(&first, "DELETE FROM items WHERE id LIKE 'long %%'");
	test_sql_await(&second, "0", "SELECT count(*) FROM items WHERE id LIKE 'long %%'");
}
END_TEST

/* Of a write that the leader refuses, its author gets back what the leader has. */
START_TEST(a_refusal_is_repaired)
{
	test_sql(&first, "SELECT electric.migration_version('uniques');"
			 "CREATE TABLE uniques (id text PRIMARY KEY, name text UNIQUE); CALL "
			 "electric.electrify('uniques')");
	test_sql_await(
	    &second, "1", "SELECT count(*) FROM electric.electrified WHERE table_name = 'uniques'");
	test_tool_kill(&first, "pg-publish", SIGSTOP);
	kill(test_tool_pid(&first, "pg-publish", 1), SIGSTOP);
	test_sql(&first, "INSERT INTO uniques VALUES ('1', 'same')");
	test_sql(&second, "INSERT INTO uniques VALUES ('2', 'same')");
	test_tool_kill(&first, "pg-publish", SIGCONT);
	kill(test_tool_pid(&first, "pg-publish", 1), SIGCONT);
	test_sql_await(
	    &first, "1", "SELECT count(*) FROM electric.rejected_writes WHERE client_id = 'postgres_2'");
	test_sql_await(&second, "0", "SELECT count(*) FROM uniques WHERE id = '2'");
	await_equal("uniques", "1");
}
END_TEST

START_TEST(the_second_is_away)
{
	test_postgres_stop(&second, "immediate");
	test_sql(&first, "INSERT INTO items SELECT 'away ' || i, 'a', 'b' FROM generate_series(1, 100) AS i");
	test_shell_await("{\"connectors\":{\"postgres_1\":true,\"postgres_2\":false}}",
	    "curl -s http://127.0.0.1:%u/api/status", first.http);
	test_postgres_again(&second);
	test_sql_await(&second, "100", "SELECT count(*) FROM items WHERE id LIKE 'away %%'");
	test_sql(&second, "DELETE FROM items WHERE id LIKE 'away %%'");
	test_sql_await(&first, "0", "SELECT count(*) FROM items WHERE id LIKE 'away %%'");
}
END_TEST

START_TEST(the_first_is_away)
{
	test_postgres_stop(&first, "immediate");
	test_sql(
	    &second, "INSERT INTO items SELECT 'alone ' || i, 'a', 'b' FROM generate_series(1, 100) AS i");
	test_postgres_again(&first);
	test_sql_await(&first, "100", "SELECT count(*) FROM items WHERE id LIKE 'alone %%'");
	test_sql(&first, "DELETE FROM items WHERE id LIKE 'alone %%'");
	test_sql_await(&second, "0", "SELECT count(*) FROM items WHERE id LIKE 'alone %%'");
}
END_TEST

START_TEST(migrations_travel)
{
	/* With what the table needs, and rows of the same transaction. */
	test_sql(&second,
	    "SELECT electric.migration_version('2');"
	    "CREATE TYPE mood AS ENUM ('good', 'bad');"
	    "CREATE TABLE moods (id serial PRIMARY KEY, mood mood DEFAULT 'good', of text REFERENCES items);"
	    "CREATE INDEX moods_mood ON moods (mood);"
	    "CALL electric.electrify('moods');"
	    "INSERT INTO items VALUES ('moody', 'a', 'b'); INSERT INTO moods VALUES (7, 'bad', 'moody')");
	test_sql_await(&first, "1", "SELECT count(*) FROM pg_class WHERE relname = 'moods'");
	await_equal("moods", "1");
	ck_assert_str_eq(
	    test_sql(&first, "SELECT count(*) FROM pg_indexes WHERE indexname = 'moods_mood'"), "1");
	ck_assert_str_eq(
	    test_sql(&first, "SELECT count(*) FROM electric.migration_versions WHERE version = '2'"), "1");
	test_sql(&first,
	    "SELECT electric.migration_version('3'); ALTER TABLE moods ADD COLUMN why text DEFAULT 'none'");
	test_sql(&first, "INSERT INTO moods VALUES (8, 'good', 'moody', 'sun')");
	await_equal("moods", "2");
	ck_assert_str_eq(test_sql(&second, "SELECT why FROM moods WHERE id = 7"), "none");
	ck_assert_str_eq(test_sql(&second, "SELECT why FROM moods WHERE id = 8"), "sun");
}
END_TEST

/* A migration that was run by hand in both is one; rows of both sides are. */
START_TEST(the_same_by_hand)
{
	static const char migration[] = "SELECT electric.migration_version('4');"
					"CREATE TABLE hands (id text PRIMARY KEY, v text);"
					"INSERT INTO hands VALUES ('%s', '%s'), ('both', '%s');"
					"CALL electric.electrify('hands')";
	char one[400], two[400];

	snprintf(one, sizeof one, migration, "left", "1", "1");
	snprintf(two, sizeof two, migration, "right", "2", "2");
	/* Neither has heard of the other's. */
	test_tool_kill(&first, "pg-publish", SIGSTOP);
	kill(test_tool_pid(&first, "pg-publish", 1), SIGSTOP);
	test_sql(&first, "%s", one);
	test_sql(&second, "%s", two);
	test_tool_kill(&first, "pg-publish", SIGCONT);
	kill(test_tool_pid(&first, "pg-publish", 1), SIGCONT);
	await_equal("hands", "3");
	/* Nobody knows when it was written: the first's stays. */
	ck_assert_str_eq(test_sql(&second, "SELECT v FROM hands WHERE id = 'both'"), "1");
	test_sql(&second, "UPDATE hands SET v = 'again' WHERE id = 'both'");
	await_equal("hands", "3");
	ck_assert_str_eq(test_sql(&first, "SELECT v FROM hands WHERE id = 'both'"), "again");
}
END_TEST

START_TEST(another_by_hand)
{
	test_tool_kill(&first, "pg-publish", SIGSTOP);
	kill(test_tool_pid(&first, "pg-publish", 1), SIGSTOP);
	test_sql(&first,
	    "SELECT electric.migration_version('5');"
	    "CREATE TABLE others (id text PRIMARY KEY, v text); CALL electric.electrify('others')");
	test_sql(&second,
	    "SELECT electric.migration_version('5');"
	    "CREATE TABLE others (id text PRIMARY KEY, v int4); CALL electric.electrify('others')");
	test_tool_kill(&first, "pg-publish", SIGCONT);
	kill(test_tool_pid(&first, "pg-publish", 1), SIGCONT);
	test_log_await(&first, "table-apart why=\"public.others: column v is");
	test_sql_await(
	    &first, "postgres_2", "SELECT max(origin) FROM electric.apart WHERE table_name = 'others'");
	test_sql_await(
	    &second, "postgres_1", "SELECT max(origin) FROM electric.apart WHERE table_name = 'others'");
	/* All else goes on. */
	test_sql(&first,
	    "INSERT INTO others VALUES ('1', 'text'); INSERT INTO items VALUES ('goes on', 'a', 'b')");
	test_sql_await(&second, "1", "SELECT count(*) FROM items WHERE id = 'goes on'");
	test_sql(&second, "INSERT INTO others VALUES ('2', 2); DELETE FROM items WHERE id = 'goes on'");
	test_sql_await(&first, "0", "SELECT count(*) FROM items WHERE id = 'goes on'");
	ck_assert_str_eq(test_sql(&first, "SELECT string_agg(id, ',') FROM others"), "1");
	ck_assert_str_eq(test_sql(&second, "SELECT string_agg(id, ',') FROM others"), "2");
}
END_TEST

/* An instance that was in no service takes the other's tables and rows, and brings its own. */
START_TEST(an_instance_joins)
{
	ck_assert_int_eq(test_leyden_stop(&first), 0);
	test_sql(&second,
	    "SELECT pg_drop_replication_slot('electric_replication_out_2');"
	    "DELETE FROM items WHERE id = 'one'; INSERT INTO items VALUES ('brought', 'a', 'b')");
	test_sql(&first, "INSERT INTO items VALUES ('meanwhile', 'a', 'b')");
	test_leyden_start(&first);
	test_sql_await(&second, "1", "SELECT count(*) FROM items WHERE id = 'meanwhile'");
	test_sql_await(&first, "1", "SELECT count(*) FROM items WHERE id = 'brought'");
	test_sql(&second, "INSERT INTO items VALUES ('new', 'a', 'b')");
	test_sql_await(&first, "1", "SELECT count(*) FROM items WHERE id = 'new'");
}
END_TEST

/* One that follows must leave users' triggers to the leader. */
START_TEST(triggers_run_once)
{
	test_sql(&first,
	    "SELECT electric.migration_version('6');"
	    "CREATE TABLE notes (id text PRIMARY KEY, n int4); CALL electric.electrify('notes')");
	test_sql_await(&second, "1", "SELECT count(*) FROM electric.electrified WHERE table_name = 'notes'");
	for (int i = 0; i < 2; i++)
		test_sql(i == 0 ? &first : &second,
		    "CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS "
		    "$$ BEGIN new.n := coalesce(new.n, 0) + 1; RETURN new; END $$;"
		    "CREATE TRIGGER up BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION count_up()");
	test_sql(&first, "INSERT INTO notes VALUES ('1', 1)");
	test_sql(&second, "INSERT INTO notes VALUES ('2', 1)");
	await_equal("notes", "2");
	ck_assert_str_eq(test_sql(&second, "SELECT string_agg(n::text, ',') FROM notes"), "2,2");
}
END_TEST

/* Of what the leader's triggers make of a row all the same, its author is told. */
START_TEST(a_trigger_that_always_runs)
{
	test_sql(&first,
	    "SELECT electric.migration_version('7');"
	    "CREATE TABLE always (id text PRIMARY KEY, n int4); CALL electric.electrify('always')");
	test_sql_await(&second, "1", "SELECT count(*) FROM electric.electrified WHERE table_name = 'always'");
	test_sql(&first, "CREATE FUNCTION be_ten() RETURNS trigger LANGUAGE plpgsql AS "
			 "$$ BEGIN new.n := 10; RETURN new; END $$;"
			 "CREATE TRIGGER ten BEFORE INSERT ON always FOR EACH ROW EXECUTE FUNCTION be_ten();"
			 "ALTER TABLE always ENABLE ALWAYS TRIGGER ten");
	test_sql(&second, "INSERT INTO always VALUES ('1', 1), ('2', 2)");
	test_sql_await(&second, "10,10", "SELECT string_agg(n::text, ',') FROM always");
	await_equal("always", "2");
}
END_TEST

int
main(int argc, char **argv)
{
	static const TTest *tests[16];
	const struct suite_tests suite = { "instances", tests, 13, set_up, tear_down };
	size_t n = 0;

	tests[n++] = status_names_each;
	tests[n++] = rows_flow_both_ways;
	tests[n++] = no_loops;
	tests[n++] = a_long_transaction_is_whole;
	tests[n++] = a_refusal_is_repaired;
	tests[n++] = the_second_is_away;
	tests[n++] = the_first_is_away;
	tests[n++] = migrations_travel;
	tests[n++] = the_same_by_hand;
	tests[n++] = another_by_hand;
	tests[n++] = triggers_run_once;
	tests[n++] = a_trigger_that_always_runs;
	tests[n++] = an_instance_joins;
	return suite_run(&suite, argc, argv);
}
