/*
 * The wire, on the whole service with a real Postgres: bad input is answered and harms nobody, rows go down
 * and up, clients resume over restarts, and configuration that cannot work is named.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define SUBSCRIPTION "11111111-1111-4111-8111-111111111111"

static struct test_service service = { .env = { "AUTH_MODE=insecure", "WS_GATEWAY_MAX_MESSAGE=1M", NULL } };
static char seen[1024]; /* rows of a delivery: "id=value " each */

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	test_sql(&service, "CREATE TABLE items (id text PRIMARY KEY, value text, n int4);"
			   "INSERT INTO items VALUES ('old', 'written before', 1);"
			   "SELECT electric.migration_version('20230801'); CALL electric.electrify('items')");
}

static void
tear_down(void)
{
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_service_end(&service);
}

static void
note_row(struct sat_client *c, const SatOpInsert *row)
{
	const struct sat_relation *r = sat_relation(c, row->relation_id);
	size_t n = strlen(seen);

	snprintf(seen + n, sizeof seen - n, "%s=%s ", sat_value(r, row->row_data, "id"),
	    sat_value(r, row->row_data, "value"));
}

/* A client that has the migrations and subscribes to items. */
static struct sat_client *
subscriber(const char *id)
{
	struct sat_client *c = sat_begin(service.port, id, "ann");

	sat_message_free(sat_await(c, SAT_RELATION));
	seen[0] = '\0';
	sat_subscribe(c, SUBSCRIPTION, (const char *[]){ "items" }, 1, note_row);
	return c;
}

/* Awaits a transaction; its begin must have this origin. */
static struct sat_message *
await_transaction(struct sat_client *c, const char *origin)
{
	struct sat_message *m = sat_await(c, SAT_OP_LOG);
	const SatOpLog *log = (const SatOpLog *)m->body;

	ck_assert_uint_ge(log->n_ops, 2);
	ck_assert_int_eq(log->ops[0]->op_case, SAT_TRANS_OP__OP_BEGIN);
	ck_assert_str_eq(log->ops[0]->begin->origin, origin);
	ck_assert_int_eq(log->ops[log->n_ops - 1]->op_case, SAT_TRANS_OP__OP_COMMIT);
	return m;
}

static void
await_error(struct sat_client *c, SatErrorResp__ErrorCode code)
{
	struct sat_message *m = sat_await(c, SAT_ERROR_RESP);

	ck_assert_int_eq(((const SatErrorResp *)m->body)->error_type, code);
	sat_message_free(m);
	sat_await_close(c);
	sat_free(c);
}

START_TEST(bad_frames_are_answered)
{
	static const uint8_t garbage[] = { 1, 0xff, 0xff, 0xff }, unknown[] = { 99 };
	struct sat_client *c = sat_connect(service.port, "garbage");

	sat_send_raw(c, 2, garbage, sizeof garbage);
	await_error(c, SAT_ERROR_RESP__ERROR_CODE__INTERNAL);
	c = sat_connect(service.port, "unknown");
	sat_send_raw(c, 2, unknown, sizeof unknown);
	await_error(c, SAT_ERROR_RESP__ERROR_CODE__INTERNAL);
	c = sat_connect(service.port, "empty");
	sat_send_raw(c, 2, "", 0);
	await_error(c, SAT_ERROR_RESP__ERROR_CODE__INTERNAL);
	c = sat_connect(service.port, "text");
	sat_send_raw(c, 1, "hello", 5);
	await_error(c, SAT_ERROR_RESP__ERROR_CODE__INTERNAL);
}
END_TEST

START_TEST(oversized_frame_ends_its_connection_only)
{
	static const uint8_t much[2 * 1024 * 1024];
	struct sat_client *c = sat_connect(service.port, "huge"), *other = subscriber("modest");

	sat_login(c, "ann");
	sat_send_raw(c, 2, much, sizeof much);
	sat_await_close(c);
	sat_free(c);
	test_sql(&service, "INSERT INTO items VALUES ('after', 'the flood', 1)");
	sat_message_free(await_transaction(other, "postgres_1"));
	sat_free(other);
}
END_TEST

START_TEST(strangers_are_refused)
{
	SatPingReq ping = SAT_PING_REQ__INIT;
	SatAuthReq auth = SAT_AUTH_REQ__INIT;
	SatAuthHeaderPair version = SAT_AUTH_HEADER_PAIR__INIT, *headers[] = { &version };
	struct sat_client *c = sat_connect(service.port, "early");

	sat_send(c, SAT_PING_REQ, &ping.base);
	await_error(c, SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED);
	c = sat_connect(service.port, "liar");
	sat_auth(c, "no.token.");
	await_error(c, SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED);
	c = sat_connect(service.port, "newer");
	version.key = SAT_AUTH_HEADER__PROTO_VERSION;
	version.value = (char *)(uintptr_t) "Electric.Satellite.v1_5";
	auth.id = c->id;
	auth.token = (char *)(uintptr_t)sat_token("ann");
	auth.headers = headers;
	auth.n_headers = 1;
	sat_send(c, SAT_AUTH_REQ, &auth.base);
	await_error(c, SAT_ERROR_RESP__ERROR_CODE__PROTO_VSN_MISMATCH);
}
END_TEST

START_TEST(unknown_table_is_named)
{
	struct sat_client *c = sat_connect(service.port, "curious");
	SatSubsReq request = SAT_SUBS_REQ__INIT;
	SatShapeReq shape = SAT_SHAPE_REQ__INIT, *shapes[] = { &shape };
	SatShapeDef def = SAT_SHAPE_DEF__INIT;
	SatShapeDef__Select select = SAT_SHAPE_DEF__SELECT__INIT, *selects[] = { &select };
	struct sat_message *m;
	const SatSubsResp *r;

	sat_login(c, "ann");
	sat_start(c, NULL, 0);
	select.tablename = (char *)(uintptr_t) "nowhere";
	def.selects = selects;
	def.n_selects = 1;
	shape.request_id = (char *)(uintptr_t) "r";
	shape.shape_definition = &def;
	request.subscription_id = (char *)(uintptr_t)SUBSCRIPTION;
	request.shape_requests = shapes;
	request.n_shape_requests = 1;
	sat_send(c, SAT_SUBS_REQ, &request.base);
	m = sat_await(c, SAT_SUBS_RESP);
	r = (const SatSubsResp *)m->body;
	ck_assert_ptr_nonnull(r->err);
	ck_assert_uint_eq(r->err->n_shape_request_error, 1);
	ck_assert_str_eq(r->err->shape_request_error[0]->message, "Unknown tables: nowhere");
	sat_message_free(m);
	sat_free(c);
}
END_TEST

START_TEST(rows_go_down_in_order)
{
	struct sat_client *c = subscriber("down");
	struct sat_message *m;
	const SatOpLog *log;

	ck_assert_ptr_nonnull(strstr(seen, "old=written before "));
	test_sql(&service,
	    "BEGIN; INSERT INTO items VALUES ('a', 'one', 1);"
	    "UPDATE items SET value = 'two' WHERE id = 'a'; DELETE FROM items WHERE id = 'a'; COMMIT");
	m = await_transaction(c, "postgres_1");
	log = (const SatOpLog *)m->body;
	ck_assert_uint_eq(log->n_ops, 5);
	ck_assert_int_eq(log->ops[1]->op_case, SAT_TRANS_OP__OP_INSERT);
	ck_assert_int_eq(log->ops[2]->op_case, SAT_TRANS_OP__OP_UPDATE);
	ck_assert_int_eq(log->ops[3]->op_case, SAT_TRANS_OP__OP_DELETE);
	ck_assert_uint_eq(log->ops[3]->delete_->n_tags, 0);
	sat_message_free(m);
	sat_free(c);
}
END_TEST

START_TEST(writes_go_up_and_come_back)
{
	struct sat_client *c = subscriber("up"), *other = subscriber("other");
	const char *const row[] = { "u", "hello", "7" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = row };
	struct sat_message *m;
	const SatOpLog *log;

	sat_write(c, 1686009600123, &op, 1);
	m = await_transaction(c, "up");
	log = (const SatOpLog *)m->body;
	ck_assert_uint_eq(log->ops[0]->begin->commit_timestamp, 1686009600123);
	ck_assert_str_eq(log->ops[1]->insert->tags[0], "up@1686009600123");
	sat_message_free(m);
	m = sat_await(c, SAT_PING_RESP); /* the acknowledgement comes after the echo */
	ck_assert_uint_eq(((const SatPingResp *)m->body)->lsn.len, 4);
	sat_message_free(m);
	sat_message_free(await_transaction(other, "up"));
	/* The WAL tells of a commit before other sessions see it. */
	test_sql_await(&service, "hello7", "SELECT value || n FROM items WHERE id = 'u'");
	/* The same once more: applied once, and echoed. */
	c->next_lsn = 0;
	sat_write(c, 1686009600123, &op, 1);
	m = await_transaction(c, "up");
	ck_assert_uint_eq(((const SatOpLog *)m->body)->n_ops, 2);
	sat_message_free(m);
	sat_free(c);
	sat_free(other);
}
END_TEST

START_TEST(refused_write_stops_nobody)
{
	struct sat_client *c = subscriber("poison"), *other = subscriber("bystander");
	const char *const bad[] = { "p", "x", "no number" }, *const good[] = { "p2", "fine", "1" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = bad };
	struct sat_message *m;
	const SatOpLog *log;

	sat_write(c, 1686009600000, &op, 1);
	m = await_transaction(c, "poison");
	ck_assert_uint_eq(((const SatOpLog *)m->body)->n_ops, 2);
	sat_message_free(m);
	/* Its author is told that there is no such row, and nobody else is. */
	m = await_transaction(c, "postgres_1");
	log = (const SatOpLog *)m->body;
	ck_assert_uint_eq(log->n_ops, 3);
	ck_assert_int_eq(log->ops[1]->op_case, SAT_TRANS_OP__OP_DELETE);
	ck_assert_uint_eq(log->ops[1]->delete_->n_tags, 0);
	sat_message_free(m);
	op.row = good;
	sat_write(c, 1686009600001, &op, 1);
	sat_message_free(await_transaction(c, "poison"));
	sat_message_free(await_transaction(other, "poison"));
	sat_free(other);
	ck_assert_str_eq(test_sql(&service, "SELECT value FROM items WHERE id = 'p2'"), "fine");
	ck_assert_str_eq(
	    test_sql(&service, "SELECT sqlstate FROM electric.rejected_writes WHERE client_id = 'poison'"),
	    "22P02");
	sat_free(c);
}
END_TEST

START_TEST(clients_resume_after_a_restart)
{
	char *ids[] = { (char *)(uintptr_t)SUBSCRIPTION };
	struct sat_client *c = subscriber("patient"), *again;
	struct sat_message *m;

	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_sql(&service, "INSERT INTO items VALUES ('missed', 'while away', 1)");
	test_leyden_start(&service);
	again = sat_connect(service.port, "patient");
	strcpy(again->server_lsn, c->server_lsn);
	sat_login(again, "ann");
	sat_start(again, ids, 1);
	m = await_transaction(again, "postgres_1");
	ck_assert_int_eq(((const SatOpLog *)m->body)->ops[1]->op_case, SAT_TRANS_OP__OP_INSERT);
	sat_message_free(m);
	sat_free(again);
	sat_free(c);
}
END_TEST

START_TEST(positions_of_another_log_are_refused)
{
	SatInStartReplicationReq start = SAT_IN_START_REPLICATION_REQ__INIT;
	static const struct {
		const char *lsn;
		SatInStartReplicationResp__ReplicationError__Code code;
	} cases[] = {
		{ "1", SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__BEHIND_WINDOW },
		{ "9223372036854775807",
		    SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__BEHIND_WINDOW },
		{ "12x", SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__MALFORMED_LSN },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sat_client *c = sat_connect(service.port, "lost");
		struct sat_message *m;

		sat_login(c, "ann");
		start.lsn = (ProtobufCBinaryData){ strlen(cases[i].lsn), (uint8_t *)(uintptr_t)cases[i].lsn };
		sat_send(c, SAT_START_REQ, &start.base);
		m = sat_await(c, SAT_START_RESP);
		ck_assert_int_eq(((const SatInStartReplicationResp *)m->body)->err->code, cases[i].code);
		sat_message_free(m);
		sat_await_close(c);
		sat_free(c);
	}
}
END_TEST

START_TEST(what_cannot_work_is_named)
{
	struct test_service other = { .env = { "AUTH_MODE=insecure", NULL } };

	test_postgres_start(&other, "wal_level=replica");
	ck_assert_int_eq(test_leyden_run(&other), 78);
	ck_assert(test_log_has(&other, "wal_level"));
	other.port = service.port;
	ck_assert_int_eq(test_leyden_run(&other), 78);
	ck_assert(test_log_has(&other, "WEBSOCKET_PORT"));
	test_service_end(&other);
}
END_TEST

START_TEST(postgres_is_waited_for)
{
	struct test_service other = { .env = { "AUTH_MODE=insecure", NULL } };

	test_postgres_start(&other, "fsync=off");
	test_postgres_stop(&other, "fast");
	/* The service says what it waits for; then Postgres comes, and the service is ready. */
	if (fork() == 0) {
		test_log_await(&other, "postgres-lost");
		test_postgres_again(&other);
		_exit(0);
	}
	test_leyden_start(&other);
	ck_assert_int_eq(test_leyden_stop(&other), 0);
	test_service_end(&other);
}
END_TEST

/* Where the service is built with sanitizers, what they find stands in its log. */
START_TEST(sanitizers_have_found_nothing)
{
	ck_assert(!test_log_has(&service, "runtime error"));
	ck_assert(!test_log_has(&service, "Sanitizer"));
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { bad_frames_are_answered, oversized_frame_ends_its_connection_only,
		strangers_are_refused, unknown_table_is_named, rows_go_down_in_order,
		writes_go_up_and_come_back, refused_write_stops_nobody, clients_resume_after_a_restart,
		positions_of_another_log_are_refused, what_cannot_work_is_named, postgres_is_waited_for,
		sanitizers_have_found_nothing };

	return suite_run(
	    &(struct suite_tests){ "wire", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
