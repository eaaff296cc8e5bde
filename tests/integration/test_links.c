/*
 * The links between the service and two Postgres are cut while both sides write: hung, so that nobody is
 * told, or broken. What was written meets when they are back. On the whole service with real clusters.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"
#include "pair.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

static struct test_service first, second; /* of the second, its Postgres only */
static struct test_link to_first, to_second;
static struct sat_client *ann;

static void
set_up(void)
{
	static const char *const tables[] = { "items" };
	static char urls[2][600];

	test_pair_start(&first, &second, "fsync=off");
	test_link_start(&to_first, test_url_port(first.url));
	test_link_start(&to_second, test_url_port(second.url));
	snprintf(urls[0], sizeof urls[0], "DATABASE_URL=%s", test_link_url(&to_first, first.url));
	snprintf(urls[1], sizeof urls[1], "DATABASE_URL_2=%s", test_link_url(&to_second, second.url));
	first.env[2] = urls[0]; /* in the place of the Postgres' own */
	first.env[3] = urls[1];
	first.env[4] = "LOG_STORE_LEAD_TIME=1";
	first.env[5] = "PG_INGEST_SILENCE_TIME=1";
	first.env[6] = "LOG_STORE_KEEP_BYTES=256k";
	test_leyden_start(&first);
	test_sql(&first,
	    "SELECT electric.migration_version('1'); CREATE TABLE items (id text PRIMARY KEY, v text);"
	    "CALL electric.electrify('items'); INSERT INTO items VALUES ('one', 'a')");
	test_sql_await(&second, "1", "SELECT count(*) FROM pg_class WHERE relname = 'items'");
	test_sql_await(&second, "1", "SELECT count(*) FROM items");
	test_schema_await(&first);
	ann = sat_begin(first.port, "ann", "ann");
	sat_subscribe(ann, "11111111-1111-4111-8111-111111111111", tables, 1, NULL);
}

static void
tear_down(void)
{
	sat_free(ann);
	test_pair_end(&first, &second);
	test_link_end(&to_first);
	test_link_end(&to_second);
}

static void
client_writes(const char *id)
{
	const char *row[] = { id, "client" };
	const struct sat_write_op op = { SAT_INSERT, "items", row, NULL, NULL, 0 };

	sat_write(ann, 1700000000000, &op, 1);
}

/* Both sides write, and the client; `where`: whom the client's reaches while the link is cut. */
static void
all_write(const char *what, const struct test_service *where)
{
	char id[32];

	test_sql(&first, "INSERT INTO items VALUES ('%s first', 'a'); UPDATE items SET v = '%s first'", what,
	    what);
	test_sql(&second, "INSERT INTO items VALUES ('%s second', 'a'); UPDATE items SET v = '%s second'",
	    what, what);
	snprintf(id, sizeof id, "%s client", what);
	client_writes(id);
	test_sql_await(where, "1", "SELECT count(*) FROM items WHERE id = '%s client'", what);
}

/* Both hold the same, which is so many rows. */
static void
await_equal(const char *rows)
{
	test_pair_await_equal(&first, &second, "items", rows);
}

static void
await_streaming(const char *connectors)
{
	test_shell_await(
	    connectors, "curl -s http://127.0.0.1:%u/api/status | sed 's/.*\"connectors\"://'", first.http);
}

START_TEST(the_link_of_the_second_hangs)
{
	test_link_hang(&to_second);
	all_write("hung", &first);
	await_streaming("{\"postgres_1\":true,\"postgres_2\":false}}");
	test_link_go_on(&to_second);
	await_equal("4");
}
END_TEST

START_TEST(the_link_of_the_second_breaks)
{
	test_link_break(&to_second);
	all_write("broken", &first);
	test_link_mend(&to_second);
	await_equal("7");
}
END_TEST

START_TEST(the_link_of_the_leader_hangs)
{
	test_link_hang(&to_first);
	all_write("leader hung", &second);
	test_log_await(&first, "lead-taken instance=2");
	test_link_go_on(&to_first);
	await_equal("10");
}
END_TEST

START_TEST(the_link_of_the_leader_breaks)
{
	test_link_break(&to_second);
	all_write("leader broken", &first);
	test_log_await(&first, "lead-taken instance=1");
	test_link_mend(&to_second);
	await_equal("13");
}
END_TEST

/* The log has forgotten what the second has not seen: it and the leader tell each other all that they have.
 */
START_TEST(it_is_away_for_longer_than_the_log_goes_back)
{
	char rows[16];

	test_link_break(&to_second);
	test_sql(&second, "INSERT INTO items VALUES ('of the second', 'a')");
	for (int i = 0; i < 40; i++)
		test_sql(&first, "INSERT INTO items VALUES ('long %d', repeat('x', 20000))", i);
	test_shell_await("1",
	    TEST_BIN
	    "/log-store --run-dir %s/run --status --json | grep -cE '\"first\":([2-9][0-9]|[0-9]{3})'",
	    first.dir);
	test_link_mend(&to_second);
	test_log_await(&first, "log-gone");
	test_sql_await(&second, "40", "SELECT count(*) FROM items WHERE id LIKE 'long %%'");
	test_sql_await(&first, "1", "SELECT count(*) FROM items WHERE id = 'of the second'");
	snprintf(rows, sizeof rows, "%s", test_sql(&first, "SELECT count(*) FROM items"));
	await_equal(rows);
}
END_TEST

/* What a Postgres that led has under way for a client when another one takes the client's write does not
 * commit after all: users' triggers have run there, not here. */
START_TEST(a_former_leader_is_late)
{
	static const char waiting[] =
	    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'items'::regclass";
	PGconn *other = PQconnectdb(first.url);

	test_sql(&first,
	    "CREATE TABLE audit (id text);"
	    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
	    " INSERT INTO public.audit VALUES (new.id); RETURN NULL; END $$;"
	    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION note()");
	PQclear(PQexec(other, "BEGIN; LOCK TABLE items IN EXCLUSIVE MODE"));
	client_writes("late");
	test_sql_await(&first, "1", waiting);
	test_link_hang(&to_first);
	test_sql_await(&second, "1", "SELECT count(*) FROM items WHERE id = 'late'");
	test_link_go_on(&to_first);
	test_sql_await(&first, "2", waiting);
	PQfinish(other);
	await_equal("14");
	ck_assert_str_eq(test_sql(&first, "SELECT count(*) FROM audit"), "0");
	test_sql(&first, "DROP TRIGGER note ON items");
}
END_TEST

int
main(int argc, char **argv)
{
	static const TTest *tests[8];
	const struct suite_tests suite = { "links", tests, 6, set_up, tear_down };
	size_t n = 0;

	tests[n++] = the_link_of_the_second_hangs;
	tests[n++] = the_link_of_the_second_breaks;
	tests[n++] = the_link_of_the_leader_hangs;
	tests[n++] = the_link_of_the_leader_breaks;
	tests[n++] = a_former_leader_is_late;
	tests[n++] = it_is_away_for_longer_than_the_log_goes_back;
	return suite_run(&suite, argc, argv);
}
