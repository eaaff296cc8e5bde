/*
 * What an operator asks in an incident: who is connected, what is behind, what waits, what has been restarted
 * and why; also while the service is overloaded, or while a part of it hangs. On the whole service with three
 * gateways.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define SUBSCRIPTION "11111111-1111-4111-8111-111111111111"
#define GATEWAYS     3
#define CLIENTS	     24 /* so many that every gateway has some */

static struct test_service service = { .env = { "AUTH_MODE=insecure", "WEBSOCKET_GATEWAYS=3", NULL } };

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	test_sql(&service,
	    "CREATE TABLE items (id text PRIMARY KEY, value text CHECK (value <> 'wrong'));"
	    "CREATE TABLE busy (id int PRIMARY KEY, value text); CREATE TABLE other (value text);"
	    "SELECT electric.migration_version('1');"
	    "CALL electric.electrify('items'); CALL electric.electrify('busy')");
	test_schema_await(&service);
}

static void
tear_down(void)
{
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ck_assert(!test_log_has(&service, "Sanitizer"));
	test_service_end(&service);
}

static struct sat_client *
subscriber(const char *id, const char *user, const char *table)
{
	struct sat_client *c = sat_begin(service.port, id, user);

	sat_subscribe(c, SUBSCRIPTION, &table, 1, NULL);
	return c;
}

/* The tool's answer to a flag, through a filter of the shell. */
#define RUN "LEYDEN_RUN_DIR=%s/run " TEST_BIN

static const char *
clients(const char *filter)
{
	return test_shell(RUN "/ws-gateway --clients 2>&1 | %s", service.dir, filter);
}

/* What a Python expression says of leyden's status `s`. */
#define PYTHON                                                                                               \
	"python3 -c 'import json, sys; s = json.load(sys.stdin);"                                            \
	" tools = {t[\"name\"]: t for t in s[\"tools\"]}; print(%s)'"

static const char *
status(const char *expression)
{
	return test_shell(RUN "/leyden --status --json | " PYTHON, service.dir, expression);
}

/* Of the one that was saved. */
static const char *
saved(const char *expression)
{
	return test_shell(PYTHON " <%s/status", expression, service.dir);
}

static void
status_await(const char *wanted, const char *expression)
{
	test_shell_await(wanted, RUN "/leyden --status --json | " PYTHON, service.dir, expression);
}

// ---- clients

START_TEST(clients_of_all_gateways_are_listed)
{
	struct sat_client *all[CLIENTS];
	char id[16];

	ck_assert_str_eq(clients("wc -l"), "0");
	ck_assert_str_eq(test_shell(RUN "/ws-gateway --clients --json", service.dir), "[]");
	for (int i = 0; i < CLIENTS; i++) {
		snprintf(id, sizeof id, "c \"%d\"", i);
		all[i] = subscriber(id, i % 2 == 0 ? "ann" : "bob", "items");
	}
	ck_assert_str_eq(clients("wc -l"), "24");
	ck_assert_str_eq(clients("grep -o ' gateway=ws-gateway-[0-9]' | sort -u | wc -l"), "3");
	ck_assert_str_eq(clients("grep -c ' user_id=\"bob\" address=127.0.0.1:[0-9]* gateway='"), "12");
	ck_assert_str_eq(clients("grep -F 'client_id=\"c \\\"7\\\"\"' | sed -E 's/.* since=20[0-9T:-]+Z //'"),
	    "state=streaming position=1 lag_transactions=0 lag_bytes=0 queued_bytes=0 stalled_seconds=0.0"
	    " subscriptions=1 pending_writes=0");
	/* The same for programs; and what it adds up to. */
	ck_assert_str_eq(
	    test_shell(RUN "/ws-gateway --clients --json | python3 -c 'import json, sys;"
			   "c = [x for x in json.load(sys.stdin) if x[\"client_id\"] == \"c \\\"7\\\"\"][0];"
			   "print(c[\"user_id\"], c[\"position\"], c[\"stalled_seconds\"], c[\"state\"])'",
		service.dir),
	    "bob 1 0.0 streaming");
	ck_assert_str_eq(status("s[\"summary\"][\"clients\"]"),
	    "{'connected': 24, 'stalled': 0, 'delivering': 0, 'subscriptions': 24, "
	    "'longest_lag_transactions': 0,"
	    " 'silent_gateways': 0, 'by_table': {'items': 24}, 'queued_bytes': 0}");
	for (int i = 0; i < CLIENTS; i++)
		sat_free(all[i]);
	test_shell_await("0", RUN "/ws-gateway --clients | wc -l", service.dir);
}
END_TEST

START_TEST(a_client_that_does_not_read_is_seen_to_stall)
{
	struct sat_client *c = subscriber("stalled", "ann", "items");
	int lag, bytes;

	ev_io_stop(EV_DEFAULT, &c->io);
	for (int i = 0; i < 40; i++)
		test_sql(&service,
		    "INSERT INTO items SELECT '%d ' || i, repeat('x', 1000) FROM generate_series(1, 1000) AS "
		    "i",
		    i);
	test_shell_await(
	    "yes", RUN "/ws-gateway --clients | grep -q 'stalled_seconds=[1-9]' && echo yes", service.dir);
	status_await("1", "s[\"summary\"][\"clients\"][\"stalled\"]");
	/* Every transaction is a megabyte: the log's lag in bytes is about that of as many of them. */
	lag = atoi(clients("sed -E 's/.* lag_transactions=([0-9]+).*/\\1/'"));
	bytes = atoi(clients("sed -E 's/.* lag_bytes=([0-9]+).*/\\1/'"));
	ck_assert_int_gt(lag, 0);
	ck_assert_int_lt(lag, 40);
	ck_assert_int_gt(bytes, lag * 1000000);
	ck_assert_int_lt(bytes, (lag + 2) * 1300000);
	sat_free(c);
}
END_TEST

START_TEST(a_client_is_disconnected_by_name)
{
	struct sat_client *all[CLIENTS];
	char id[16], *subscription = (char *)(uintptr_t)SUBSCRIPTION;

	for (int i = 0; i < CLIENTS; i++) {
		snprintf(id, sizeof id, "d%d", i);
		all[i] = subscriber(id, "ann", "items");
	}
	/* Whichever gateway has it. */
	for (int i = 0; i < 6; i++) {
		const char *said = test_shell(RUN "/ws-gateway --disconnect d%d", service.dir, i);
		char wanted[64];

		snprintf(wanted, sizeof wanted, "client_id=\"d%d\" gateway=ws-gateway-", i);
		ck_assert_ptr_nonnull(strstr(said, wanted));
		sat_await_close(all[i]);
	}
	ck_assert_str_eq(clients("wc -l"), "18");
	ck_assert(test_log_has(&service, "why=\"an operator disconnects it\""));
	/* It may come back, and goes on where it was. */
	test_sql(&service, "INSERT INTO items VALUES ('while it was away')");
	ck_assert(sat_reopen(all[0], service.port));
	sat_login(all[0], "ann");
	sat_start(all[0], &subscription, 1);
	sat_message_free(sat_await(all[0], SAT_OP_LOG));
	ck_assert_str_eq(test_shell(RUN "/ws-gateway --disconnect nobody 2>&1; true", service.dir),
	    "ws-gateway: no client \"nobody\" is connected");
	ck_assert_str_eq(
	    test_shell(RUN "/ws-gateway --disconnect nobody 2>/dev/null; echo $?", service.dir), "65");
	ck_assert_str_eq(
	    test_shell(RUN "/ws-gateway --disconnect d1 --clients 2>/dev/null; echo $?", service.dir), "64");
	ck_assert_str_eq(
	    test_shell(
		"LEYDEN_RUN_DIR=%s/none " TEST_BIN "/ws-gateway --clients 2>/dev/null; echo $?", service.dir),
	    "69");
	for (int i = 0; i < CLIENTS; i++)
		sat_free(all[i]);
}
END_TEST

// ---- what waits, what is held back

START_TEST(pending_and_refused_writes_are_counted)
{
	const char *const wrong[] = { "refused", "wrong" }, *const right[] = { "taken", "right" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = wrong };
	struct sat_client *c = subscriber("writer", "ann", "items");

	sat_write(c, 1686009600000, &op, 1);
	sat_message_free(sat_await(c, SAT_PING_RESP));
	status_await("1", "s[\"summary\"][\"writes\"][\"rejected\"]");
	ck_assert_str_eq(status("tools[\"pg-publish-1\"][\"status\"][\"rejected\"]"), "1");
	/* Postgres is away: what it has still to get is counted. */
	test_postgres_stop(&service, "fast");
	op.row = right;
	sat_write(c, 1686009600001, &op, 1);
	status_await("1 True", "s[\"summary\"][\"writes\"][\"pending\"],"
			       " s[\"summary\"][\"writes\"][\"oldest_pending_seconds\"] > 0.5");
	ck_assert_str_eq(status("s[\"summary\"][\"postgres\"][0][\"streaming\"],"
				" s[\"summary\"][\"postgres\"][0][\"writable\"]"),
	    "False False");
	ck_assert_str_eq(clients("sed -n 's/^client_id=\"writer\".* pending_writes=//p'"), "1");
	test_postgres_again(&service);
	sat_message_free(sat_await(c, SAT_PING_RESP));
	status_await("0", "s[\"summary\"][\"writes\"][\"pending\"]");
	sat_free(c);
}
END_TEST

START_TEST(what_postgres_holds_back_is_told)
{
	pid_t pid;

	status_await("True reserved", "s[\"summary\"][\"postgres\"][0][\"wal_held_bytes\"] >= 0,"
				      " s[\"summary\"][\"postgres\"][0][\"wal_status\"]");
	ck_assert_str_eq(status("s[\"summary\"][\"postgres\"][0][\"slot\"]"), "electric_replication_out");
	/* While the log takes nothing, WAL piles up, and that is told. */
	pid = test_tool_kill(&service, "log-store", SIGSTOP);
	test_sql(&service, "INSERT INTO other SELECT repeat('y', 1000) FROM generate_series(1, 15000)");
	status_await("True", "tools[\"pg-ingest-1\"][\"status\"][\"wal_behind_bytes\"] > 10000000");
	kill(pid, SIGCONT);
	status_await("True", "s[\"summary\"][\"postgres\"][0][\"wal_behind_bytes\"] < 1000000");
}
END_TEST

START_TEST(the_log_is_told_of)
{
	ck_assert_str_eq(
	    status("s[\"summary\"][\"log\"][\"first\"], s[\"summary\"][\"log\"][\"last\"] > 40,"
		   " s[\"summary\"][\"log\"][\"bytes\"] > 40000000, s[\"summary\"][\"log\"][\"writable\"]"),
	    "1 True True True");
	test_sql(&service,
	    "INSERT INTO items SELECT 'rate ' || i, repeat('x', 1000) FROM generate_series(1, 1000) AS i");
	status_await("True True", "s[\"summary\"][\"log\"][\"transactions_per_second\"] > 0,"
				  " s[\"summary\"][\"log\"][\"bytes_per_second\"] > 1000");
}
END_TEST

START_TEST(restarts_are_told_with_their_reasons)
{
	test_tool_kill(&service, "auth-check", SIGKILL);
	status_await("1 ready", "tools[\"auth-check\"][\"restarts\"], tools[\"auth-check\"][\"state\"]");
	ck_assert_str_eq(status("tools[\"auth-check\"][\"ends\"][0][\"reason\"]"), "signal 9 (Killed)");
	ck_assert_str_eq(status("tools[\"log-store\"][\"ends\"], s[\"summary\"][\"restarts\"]"), "[] 1");
	ck_assert(test_log_has(&service, "tool-ended name=auth-check"));
	/* For a person. */
	ck_assert_ptr_nonnull(strstr(test_shell(RUN "/leyden --status | grep ^auth-check", service.dir),
	    ": signal 9 (Killed), after "));
}
END_TEST

// ---- in bad times

START_TEST(a_part_that_hangs_holds_up_no_answer)
{
	pid_t gateway = test_tool_kill(&service, "ws-gateway", SIGSTOP);
	pid_t store = test_tool_kill(&service, "log-store", SIGSTOP);
	pid_t auth = test_tool_kill(&service, "auth-check", SIGSTOP);

	/* Each of them would be waited for, were it asked after the others. */
	test_shell(RUN "/leyden --status --json >%s/status", service.dir, service.dir);
	ck_assert_str_eq(
	    saved("s[\"ready\"], tools[\"log-store\"][\"status\"], tools[\"log-store\"][\"process\"]"),
	    "False {'error': 'no answer within two seconds'} stopped");
	ck_assert_str_eq(saved("tools[\"pg-ingest-1\"][\"status\"][\"streaming\"]"), "True");
	/* Metrics do not wait either. */
	test_shell("curl -sf http://127.0.0.1:%u/metrics | grep '^leyden_clients{'", service.http);
	ck_assert_ptr_nonnull(
	    strstr(test_shell(RUN "/ws-gateway --clients 2>&1 >/dev/null; true", service.dir),
		"no answer within two seconds"));
	kill(gateway, SIGCONT);
	kill(store, SIGCONT);
	kill(auth, SIGCONT);
	status_await("True", "s[\"ready\"]");
}
END_TEST

/* Transactions of thousands of rows, one after the other, without end: its pid. */
static pid_t
begin_writing(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("psql", "psql", "-qX", service.url, "-c",
		    "DO $$ BEGIN LOOP UPDATE busy SET value = md5(value) || repeat('x', 500); COMMIT; END "
		    "LOOP; END $$",
		    (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void
end_writing(pid_t pid)
{
	test_sql(&service,
	    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'DO %%'");
	waitpid(pid, NULL, 0);
}

START_TEST(an_overloaded_service_answers)
{
	struct sat_client *all[CLIENTS];
	char id[16];
	pid_t writer;
	int before = atoi(status("tools[\"log-store\"][\"status\"][\"last\"]"));

	for (int i = 0; i < CLIENTS; i++) {
		snprintf(id, sizeof id, "o%d", i);
		all[i] = subscriber(id, "ann", "busy");
		ev_io_stop(EV_DEFAULT, &all[i]->io); /* they take nothing */
	}
	test_sql(&service, "INSERT INTO busy SELECT i FROM generate_series(1, 3000) AS i");
	writer = begin_writing();
	status_await("True", "s[\"summary\"][\"clients\"][\"stalled\"] > 20");
	ck_assert_str_eq(test_shell(RUN "/ws-gateway --disconnect o0 >/dev/null; echo $?", service.dir), "0");
	for (int i = 0; i < 5; i++) {
		ck_assert_str_eq(
		    status("[t[\"name\"] for t in s[\"tools\"] if \"error\" in t[\"status\"]]"), "[]");
		ck_assert_str_eq(
		    test_shell(RUN "/ws-gateway --clients >/dev/null 2>&1; echo $?", service.dir), "0");
	}
	ck_assert_int_gt(atoi(status("tools[\"log-store\"][\"status\"][\"last\"]")), before + 2);
	end_writing(writer);
	for (int i = 0; i < CLIENTS; i++)
		sat_free(all[i]);
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = {
		clients_of_all_gateways_are_listed,
		a_client_that_does_not_read_is_seen_to_stall,
		a_client_is_disconnected_by_name,
		pending_and_refused_writes_are_counted,
		what_postgres_holds_back_is_told,
		the_log_is_told_of,
		restarts_are_told_with_their_reasons,
		a_part_that_hangs_holds_up_no_answer,
		an_overloaded_service_answers,
	};
	const struct suite_tests suite = { "inspect", tests, sizeof tests / sizeof *tests, set_up,
		tear_down };

	return suite_run(&suite, argc, argv);
}
