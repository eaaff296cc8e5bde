/*
 * /metrics, as Prometheus reads it: well-formed, true, of few series; and the dashboard and the alert rules
 * ask for what is there. On the whole service with two gateways.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define SUBSCRIPTION "11111111-1111-4111-8111-111111111111"
#define CLIENTS	     12

static struct test_service service = { .env = { "AUTH_MODE=insecure", "WEBSOCKET_GATEWAYS=2", NULL } };
static const char *const items[] = { "items" };
static struct sat_client *all[CLIENTS];

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off max_slot_wal_keep_size=1GB");
	test_leyden_start(&service);
	test_sql(&service, "CREATE TABLE items (id text PRIMARY KEY, value text CHECK (value <> 'wrong'));"
			   "SELECT electric.migration_version('1'); CALL electric.electrify('items')");
	test_schema_await(&service);
}

static void
tear_down(void)
{
	for (int i = 0; i < CLIENTS; i++)
		if (all[i] != NULL)
			sat_free(all[i]);
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_service_end(&service);
}

static void
connect_client(int i)
{
	char id[16];

	snprintf(id, sizeof id, "m%d", i);
	all[i] = sat_begin(service.port, id, "ann");
	sat_subscribe(all[i], SUBSCRIPTION, items, 1, NULL);
}

/* Awaits that all samples of this beginning add up to this. */
static void
await_sum(const char *wanted, const char *beginning)
{
	test_shell_await(wanted,
	    "curl -s http://127.0.0.1:%u/metrics | awk 'index($0, \"%s\") == 1 { s += $NF } END { print s }'",
	    service.http, beginning);
}

START_TEST(what_happens_is_counted)
{
	const char *const wrong[] = { "refused", "wrong" }, *const right[] = { "taken", "right" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = wrong };

	connect_client(0);
	connect_client(1);
	await_sum("2", "leyden_clients{");
	await_sum("2", "leyden_logins_total{");
	await_sum("2", "leyden_auth_seconds_count{");
	await_sum("2", "leyden_subscriptions{");
	await_sum("2", "leyden_snapshot_seconds_count{");
	await_sum("2", "leyden_checked_tokens_total{verdict=\\\"accepted\\\"}");
	for (int i = 0; i < 5; i++)
		test_sql(&service, "INSERT INTO items VALUES ('%d')", i);
	for (int i = 0; i < 5; i++)
		for (int k = 0; k < 2; k++)
			sat_message_free(sat_await(all[k], SAT_OP_LOG));
	await_sum("10", "leyden_sent_transactions_total{");
	await_sum("10", "leyden_commit_to_sent_seconds_count{");
	await_sum("6", "leyden_log_transactions_total "); /* with the migration */
	await_sum("6", "leyden_commit_to_log_seconds_count{");
	sat_write(all[0], 1686009600000, &op, 1);
	sat_message_free(sat_await(all[0], SAT_PING_RESP));
	op.row = right;
	sat_write(all[0], 1686009600001, &op, 1);
	sat_message_free(sat_await(all[0], SAT_PING_RESP));
	await_sum("2", "leyden_accepted_writes_total ");
	await_sum("2", "leyden_write_stored_seconds_count{");
	await_sum("2", "leyden_write_echoed_seconds_count{");
	await_sum("2", "leyden_write_applied_seconds_count ");
	await_sum("1", "leyden_rejected_writes_total{");
	await_sum("1", "leyden_postgres_rejected_writes{");
	/* What clients wrote is none of Postgres' news. */
	await_sum("10", "leyden_commit_to_sent_seconds_count{");
}
END_TEST

START_TEST(errors_are_counted_by_kind)
{
	struct sat_client *c = sat_connect(service.port, "bad");

	sat_send_raw(c, 1, "text", 4);
	sat_message_free(sat_await(c, SAT_ERROR_RESP));
	sat_await_close(c);
	sat_free(c);
	test_shell_await("1",
	    "curl -s http://127.0.0.1:%u/metrics | grep -c 'leyden_client_errors_total.*INTERNAL.* 1$'",
	    service.http);
	test_tool_kill(&service, "auth-check", 9);
	await_sum("1", "leyden_tool_restarts_total{tool=\\\"auth-check\\\"}");
	await_sum("1",
	    "leyden_log_events_total{tool=\\\"leyden\\\",level=\\\"warning\\\",event=\\\"tool-ended\\\"}");
}
END_TEST

START_TEST(promtool_accepts_them)
{
	ck_assert_str_eq(
	    test_shell(
		"curl -s http://127.0.0.1:%u/metrics | promtool check metrics 2>&1; echo end", service.http),
	    "end");
	/* It is text of this version. */
	test_shell("curl -sD- -o /dev/null http://127.0.0.1:%u/metrics | grep -i '^content-type: text/plain; "
		   "version=0.0.4'",
	    service.http);
}
END_TEST

static int
count_series(void)
{
	return atoi(test_shell("curl -s http://127.0.0.1:%u/metrics | grep -vc '^#'", service.http));
}

START_TEST(there_are_no_more_for_more_clients)
{
	int before = count_series();

	for (int i = 2; i < CLIENTS; i++)
		connect_client(i);
	await_sum("12", "leyden_clients{");
	ck_assert_int_eq(count_series(), before);
	ck_assert_int_lt(before, 1000);
}
END_TEST

START_TEST(each_is_on_the_manual_page)
{
	ck_assert_str_eq(
	    test_shell(
		"curl -s http://127.0.0.1:%u/metrics | sed -n 's/^# TYPE leyden_\\([a-z_]*\\) .*/\\1/p' |"
		" while read -r name; do grep -qw -- \"$name\" man/http-api.8 || echo $name; done; echo",
		service.http),
	    "");
}
END_TEST

START_TEST(the_dashboard_and_the_rules_ask_for_what_is_there)
{
	ck_assert_str_eq(
	    test_shell("curl -s http://127.0.0.1:%u/metrics | tests/integration/metrics/names %s/rules.yml",
		service.http, service.dir),
	    "");
	test_shell("promtool check rules %s/rules.yml scripts/alerts.yml >/dev/null", service.dir);
	test_shell("promtool test rules tests/integration/metrics/alerts_test.yml >/dev/null");
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { what_happens_is_counted, errors_are_counted_by_kind,
		promtool_accepts_them, there_are_no_more_for_more_clients, each_is_on_the_manual_page,
		the_dashboard_and_the_rules_ask_for_what_is_there };

	return suite_run(
	    &(struct suite_tests){ "metrics", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
