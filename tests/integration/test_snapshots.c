/*
 * Snapshots of Postgres for many: shared, by few connections, at each client's pace; and Postgres that goes
 * away, is locked, or shows its commits late.
 */
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "peer.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define CONNECTIONS 3
#define CROWD	    200
#define SHARERS	    20
#define MID_ROWS    80	/* of 100 kB: they fit into pg-snapshot's memory and file */
#define WIDE_ROWS   400 /* they do not */

static struct test_service service = { .env = { "AUTH_MODE=insecure", "PG_SNAPSHOT_CONNECTIONS=3",
					   "PG_SNAPSHOT_MEMORY=1M", "PG_SNAPSHOT_SPOOL=8M",
					   "PG_SNAPSHOT_MAX_ROW=16M", NULL } };

/* What has come to a client. */
struct taken {
	bool begun, ended, failed;
	char lsn[64];		/* of the delivery */
	unsigned rows;		/* of the delivery */
	char ids[400];		/* of its rows, while there is room: "one two " */
	char transactions[400]; /* of what came outside of it: "I:one D:two " */
};

static void
note_row(struct sat_client *c, char kind, uint32_t relation, const SatOpRow *row)
{
	struct taken *t = c->data;
	const char *id = sat_value(sat_relation(c, relation), row, "id");

	if (t->begun && !t->ended) {
		t->rows++;
		if (strlen(t->ids) + strlen(id) + 2 < sizeof t->ids)
			strcat(strcat(t->ids, id), " ");
	} else if (strlen(t->transactions) + strlen(id) + 4 < sizeof t->transactions) {
		strncat(t->transactions, &kind, 1);
		strcat(strcat(strcat(t->transactions, ":"), id), " ");
	}
}

static void
note(struct sat_client *c, const struct sat_message *m)
{
	struct taken *t = c->data;
	const SatOpLog *log = (const SatOpLog *)m->body;

	if (m->code == SAT_SUBS_DATA_BEGIN) {
		t->begun = true;
		t->ended = false;
		snprintf(t->lsn, sizeof t->lsn, "%s", c->server_lsn);
	} else if (m->code == SAT_SUBS_DATA_END) {
		t->ended = true;
	} else if (m->code == SAT_SUBS_DATA_ERROR) {
		t->failed = true;
	}
	for (size_t i = 0; m->code == SAT_OP_LOG && i < log->n_ops; i++) {
		const SatTransOp *op = log->ops[i];

		if (op->op_case == SAT_TRANS_OP__OP_INSERT)
			note_row(c, 'I', op->insert->relation_id, op->insert->row_data);
		else if (op->op_case == SAT_TRANS_OP__OP_UPDATE)
			note_row(c, 'U', op->update->relation_id, op->update->row_data);
		else if (op->op_case == SAT_TRANS_OP__OP_DELETE)
			note_row(c, 'D', op->delete_->relation_id, op->delete_->old_row_data);
	}
}

static void
forget(struct sat_client *c)
{
	memset(c->data, 0, sizeof(struct taken));
}

static void
ask(struct sat_client *c, unsigned n, const char *table)
{
	char id[40];

	snprintf(id, sizeof id, "11111111-1111-4111-8111-1111111111%02u", n);
	sat_ask_subscription(c, id, &table, 1);
}

static struct sat_client *
client_of(const char *user)
{
	struct sat_client *c = sat_begin(service.port, NULL, user);

	c->data = calloc(1, sizeof(struct taken));
	c->on_message = note;
	return c;
}

static void
end_client(struct sat_client *c)
{
	free(c->data);
	sat_free(c);
}

/* Runs the loop until this is true. */
#define AWAIT(condition)                                                                                     \
	do {                                                                                                 \
		double end = ev_time() + AWAIT_SECONDS;                                                      \
		while (!(condition)) {                                                                       \
			ck_assert_msg(ev_time() < end, "it did not come: " #condition);                      \
			sat_turn();                                                                          \
		}                                                                                            \
	} while (0)

static struct taken *
taken(const struct sat_client *c)
{
	return c->data;
}

static void
transactions_await(const struct sat_client *c, const char *wanted)
{
	for (double end = ev_time() + AWAIT_SECONDS; strcmp(taken(c)->transactions, wanted) != 0; sat_turn())
		ck_assert_msg(ev_time() < end, "what has come is %s, not %s", taken(c)->transactions, wanted);
}

static void
subscribe(struct sat_client *c, unsigned n, const char *table)
{
	forget(c);
	ask(c, n, table);
	AWAIT(taken(c)->ended);
}

/* It takes what the kernel has room for, and no more. */
static void
stop_reading(struct sat_client *c)
{
	setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){ 65536 }, sizeof(int));
	ev_io_stop(loop(), &c->io);
}

/* A member of pg-snapshot's status. */
static void
status_await(const char *member)
{
	test_shell_await(member,
	    TEST_BIN "/pg-snapshot --run-dir %s/run --status --json | tr ',}' '\\n\\n' | grep -xF '%s'",
	    service.dir, member);
}

/* Another session of Postgres, that has run this. */
static PGconn *
session(const char *sql)
{
	PGconn *conn = PQconnectdb(service.url);
	PGresult *r = PQexec(conn, sql);

	ck_assert_msg(PQresultStatus(r) == PGRES_COMMAND_OK, "%s: %s", sql, PQerrorMessage(conn));
	PQclear(r);
	return conn;
}

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	test_sql(&service,
	    "CREATE TABLE plain (id text PRIMARY KEY, v text); CREATE TABLE other (id text PRIMARY KEY);"
	    "CREATE TABLE own (id text PRIMARY KEY, electric_user_id text);"
	    "CREATE TABLE mid (id int PRIMARY KEY, v text); CREATE TABLE wide (id int PRIMARY KEY, v text);"
	    "SELECT electric.migration_version('1');"
	    "CALL electric.electrify('plain'); CALL electric.electrify('other'); CALL "
	    "electric.electrify('own'); CALL electric.electrify('mid'); CALL electric.electrify('wide');"
	    "INSERT INTO plain VALUES ('one', 'x'), ('two', 'x'); INSERT INTO other VALUES ('o');"
	    "INSERT INTO own SELECT 'r' || i, 'u' || i FROM generate_series(0, %d) AS i;"
	    "INSERT INTO own VALUES ('nobody', NULL), ('empty', '');"
	    "INSERT INTO mid SELECT i, repeat('x', 100000) FROM generate_series(1, %d) AS i;"
	    "INSERT INTO wide SELECT i, repeat('x', 100000) FROM generate_series(1, %d) AS i",
	    CROWD - 1, MID_ROWS, WIDE_ROWS);
	test_schema_await(&service);
}

static void
tear_down(void)
{
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ck_assert(!test_log_has(&service, "runtime error"));
	ck_assert(!test_log_has(&service, "Sanitizer"));
	test_service_end(&service);
}

// ---- many at once

/* Each has rows of its own, so nobody shares; they wait for each other, and all are served. */
START_TEST(few_connections_serve_hundreds)
{
	struct sat_client *all[CROWD];
	char user[16], row[16];
	unsigned left = CROWD;
	int most = 0;

	for (unsigned i = 0; i < CROWD; i++) {
		snprintf(user, sizeof user, "u%u", i);
		all[i] = client_of(user);
	}
	for (unsigned i = 0; i < CROWD; i++)
		ask(all[i], 1, "own");
	for (double end = ev_time() + AWAIT_SECONDS; left > 0; sat_turn()) {
		int n = atoi(test_sql(&service, "SELECT count(*) FROM pg_stat_activity WHERE "
						"application_name LIKE 'leyden pg-snapshot%%'"));

		ck_assert_msg(ev_time() < end, "%u of %u got their rows", CROWD - left, CROWD);
		most = n > most ? n : most;
		left = 0;
		for (unsigned i = 0; i < CROWD; i++)
			left += !taken(all[i])->ended;
	}
	ck_assert_int_le(most, CONNECTIONS);
	ck_assert_int_gt(most, 1);
	for (unsigned i = 0; i < CROWD; i++) {
		snprintf(row, sizeof row, "r%u ", i);
		ck_assert_uint_eq(taken(all[i])->rows, 3);
		ck_assert_ptr_nonnull(strstr(taken(all[i])->ids, row));
		end_client(all[i]);
	}
}
END_TEST

/* A table that somebody has locked: all who ask for it share one snapshot, and nobody else waits, nor does
 * what they have already. */
START_TEST(who_asks_for_the_same_shares)
{
	struct sat_client *sharers[SHARERS], *bystander = client_of("ann");
	PGconn *locker;

	for (unsigned i = 0; i < SHARERS; i++) {
		sharers[i] = client_of("ann");
		subscribe(sharers[i], 1, "other");
		forget(sharers[i]);
	}
	locker = session("BEGIN; LOCK TABLE plain IN ACCESS EXCLUSIVE MODE");
	for (unsigned i = 0; i < SHARERS; i++)
		ask(sharers[i], 2, "plain");
	status_await("\"takers\":20");
	status_await("\"snapshots\":1");
	test_sql(&service, "INSERT INTO other VALUES ('o2')");
	for (unsigned i = 0; i < SHARERS; i++)
		transactions_await(sharers[i], "I:o2 ");
	subscribe(bystander, 1, "own");
	PQfinish(locker);
	for (unsigned i = 0; i < SHARERS; i++) {
		AWAIT(taken(sharers[i])->ended);
		ck_assert_str_eq(taken(sharers[i])->ids, "one two ");
		end_client(sharers[i]);
	}
	test_sql(&service, "DELETE FROM other WHERE id = 'o2'");
	end_client(bystander);
}
END_TEST

/* Of two that share a snapshot one does not read: the other has its rows, and Postgres its connection back,
 * long before. */
START_TEST(a_slow_one_slows_nobody)
{
	struct sat_client *slow = client_of("ann"), *fast = client_of("bob");
	PGconn *locker = session("BEGIN; LOCK TABLE mid IN ACCESS EXCLUSIVE MODE");

	ask(slow, 1, "mid");
	ask(fast, 1, "mid");
	status_await("\"takers\":2");
	status_await("\"snapshots\":1");
	PQfinish(locker);
	AWAIT(taken(slow)->begun);
	stop_reading(slow);
	AWAIT(taken(fast)->ended);
	ck_assert_uint_eq(taken(fast)->rows, MID_ROWS);
	ck_assert_uint_lt(taken(slow)->rows, MID_ROWS);
	status_await("\"takers\":1");
	test_sql_await(&service, "0",
	    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'leyden pg-snapshot%%' AND "
	    "backend_xmin IS NOT NULL");
	ev_io_start(loop(), &slow->io);
	AWAIT(taken(slow)->ended);
	ck_assert_uint_eq(taken(slow)->rows, MID_ROWS);
	ck_assert_str_eq(taken(slow)->ids, taken(fast)->ids);
	status_await("\"spooled\":0");
	end_client(slow);
	end_client(fast);
}
END_TEST

/* What waits in the gateways for all clients together, in bytes. */
static unsigned long
queued(void)
{
	return strtoul(test_shell("for s in %s/run/ws-gateway-*.sock; do n=${s##*-}; " TEST_BIN
				  "/ws-gateway --run-dir %s/run --number ${n%%.sock} --status --json; done | "
				  "tr ',' '\\n' | awk -F: '/queued_bytes/ { n += $2 } END { print n }'",
			   service.dir, service.dir),
	    NULL, 10);
}

/* The kernel takes what it takes; beyond that a client that does not read costs the gateway its buffer. */
START_TEST(who_does_not_read_costs_little)
{
	struct sat_client *initial = client_of("ann"), *stream = client_of("bob"), *reader = client_of("ann");

	test_sql(&service, "INSERT INTO own SELECT 'many' || i, '' FROM generate_series(1, 200000) AS i");
	ask(initial, 1, "own");
	AWAIT(taken(initial)->begun);
	stop_reading(initial);
	AWAIT(queued() > 0);
	subscribe(stream, 1, "plain");
	stop_reading(stream);
	subscribe(reader, 1, "other");
	test_sql(&service, "DO $$ BEGIN FOR i IN 1..1500 LOOP UPDATE plain SET v = repeat('x', 5000) WHERE "
			   "id = 'one'; COMMIT; END LOOP; END $$");
	test_sql(&service, "INSERT INTO other VALUES ('last')");
	transactions_await(reader, "I:last ");
	ck_assert_uint_gt(queued(), 65536);
	ck_assert_uint_le(queued(), 2 * 65536);
	end_client(initial);
	end_client(stream);
	end_client(reader);
	test_sql(&service, "DELETE FROM own WHERE id LIKE 'many%%'; DELETE FROM other WHERE id = 'last'");
}
END_TEST

// ---- Postgres goes away

#define COPYING                                                                                              \
	"application_name LIKE 'leyden pg-snapshot%%' AND query LIKE 'COPY%%' AND wait_event = "             \
	"'ClientWrite'"

START_TEST(what_was_read_comes_without_postgres)
{
	struct sat_client *c = client_of("ann");

	ask(c, 1, "mid");
	AWAIT(taken(c)->begun);
	stop_reading(c);
	test_sql_await(&service, "0",
	    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'leyden pg-snapshot%%' AND "
	    "backend_xmin IS NOT NULL");
	test_postgres_stop(&service, "immediate");
	ev_io_start(loop(), &c->io);
	AWAIT(taken(c)->ended);
	ck_assert_uint_eq(taken(c)->rows, MID_ROWS);
	test_postgres_again(&service);
	end_client(c);
}
END_TEST

/* Rows that were sent cannot be taken back: the client is told, and goes on with what else it has. */
START_TEST(a_delivery_that_breaks_is_told)
{
	struct sat_client *c = client_of("ann");

	subscribe(c, 1, "plain");
	forget(c);
	ask(c, 2, "wide");
	AWAIT(taken(c)->rows > 0);
	stop_reading(c);
	test_sql_await(&service, "1", "SELECT count(*) FROM pg_stat_activity WHERE " COPYING);
	test_sql(&service, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " COPYING);
	ev_io_start(loop(), &c->io);
	AWAIT(taken(c)->failed);
	forget(c);
	test_sql(&service, "INSERT INTO plain VALUES ('three', 'x')");
	transactions_await(c, "I:three ");
	test_sql(&service, "DELETE FROM plain WHERE id = 'three'");
	/* Its subscription is no more: the id is free. */
	subscribe(c, 2, "wide");
	ck_assert_uint_eq(taken(c)->rows, WIDE_ROWS);
	end_client(c);
}
END_TEST

static const char pattern[] = "a\\b\tc\nd\303\244";
static size_t wide_values;

static void
check_wide(struct sat_client *c, const struct sat_message *m)
{
	const SatOpLog *log = (const SatOpLog *)m->body;

	note(c, m);
	for (size_t i = 0; m->code == SAT_OP_LOG && i < log->n_ops; i++) {
		const SatOpRow *row;
		const ProtobufCBinaryData *v;

		if (log->ops[i]->op_case != SAT_TRANS_OP__OP_INSERT)
			continue;
		row = log->ops[i]->insert->row_data;
		v = &row->values[1];
		ck_assert_uint_eq(row->n_values, 5);
		ck_assert(row->values[0].len == 1 && row->values[0].data[0] == 'w');
		ck_assert_uint_eq(v->len, 1000000 * strlen(pattern));
		for (size_t k = 0; k < v->len; k += strlen(pattern))
			ck_assert(memcmp(v->data + k, pattern, strlen(pattern)) == 0);
		ck_assert(!sat_is_null(row, 2) && row->values[2].len == 0);
		ck_assert(sat_is_null(row, 3));
		ck_assert_uint_eq(row->values[4].len, 4);
		ck_assert(memcmp(row->values[4].data, "x   ", 4) == 0);
		ck_assert_uint_eq(log->ops[i]->insert->n_tags, 1);
		wide_values++;
	}
}

/* kB, less than the row of 9 MB; the sanitizers keep what was freed for a while. */
#if defined(__SANITIZE_ADDRESS__)
#define GROWTH (64 * 1024)
#else
#define GROWTH (8 * 1024)
#endif

/* It goes in many frames, and in little memory. */
START_TEST(a_long_row_comes_in_pieces)
{
	struct sat_client *c = client_of("ann");
	int pid = (int)test_tool_pid(&service, "pg-snapshot", 0);
	long before, after;

	test_sql(&service,
	    "CREATE TABLE longest (id text PRIMARY KEY, v text, e text, n text, c char(4));"
	    "INSERT INTO longest VALUES ('w', repeat(E'a\\\\b\\tc\\nd\u00e4', 1000000), '', NULL, 'x');"
	    "CALL electric.electrify('longest')");
	test_schema_await(&service);
	c->on_message = check_wide;
	before = atol(test_shell("sed -n 's/^VmHWM:[^0-9]*//p' /proc/%d/status", pid));
	ask(c, 1, "longest");
	AWAIT(taken(c)->ended);
	ck_assert_uint_eq(wide_values, 1);
	after = atol(test_shell("sed -n 's/^VmHWM:[^0-9]*//p' /proc/%d/status", pid));
	ck_assert_int_lt(after - before, GROWTH);
	end_client(c);
}
END_TEST

static unsigned answer; /* the code of the message that answers a request */

static void
note_answer(struct sat_client *c, const struct sat_message *m)
{
	if (m->code == SAT_PING_RESP || m->code == SAT_UNSUBS_RESP)
		answer = m->code;
	note(c, m);
}

/* A client within its long row, that has taken some of it and does not read on before it sends something. */
static struct sat_client *
within_a_row(void)
{
	struct sat_client *c = client_of("ann");

	c->on_message = note_answer;
	answer = 0;
	ask(c, 1, "longest");
	AWAIT(taken(c)->begun);
	stop_reading(c);
	AWAIT(queued() > 0);
	return c;
}

/* No message may come between the frames of another. */
START_TEST(an_answer_waits_until_the_row_is_whole)
{
	struct sat_client *c = within_a_row();
	SatPingReq ping = SAT_PING_REQ__INIT;

	sat_send(c, SAT_PING_REQ, &ping.base);
	AWAIT(c->fd < 0 || answer == SAT_PING_RESP);
	ck_assert_int_ge(c->fd, 0);
	AWAIT(taken(c)->ended);
	ck_assert_uint_eq(taken(c)->rows, 1);
	end_client(c);
}
END_TEST

START_TEST(a_row_of_no_interest_is_sent_to_its_end)
{
	struct sat_client *c = within_a_row();
	char id[40], *ids[] = { id };
	SatUnsubsReq request = SAT_UNSUBS_REQ__INIT;

	snprintf(id, sizeof id, "11111111-1111-4111-8111-111111111101");
	request.subscription_ids = ids;
	request.n_subscription_ids = 1;
	sat_send(c, SAT_UNSUBS_REQ, &request.base);
	AWAIT(c->fd < 0 || answer == SAT_UNSUBS_RESP);
	ck_assert_int_ge(c->fd, 0);
	ck_assert(!taken(c)->ended);
	subscribe(c, 1, "plain");
	ck_assert_uint_eq(taken(c)->rows, 2);
	end_client(c);
}
END_TEST

START_TEST(a_row_over_the_limit_is_told)
{
	struct sat_client *c = client_of("ann");
	struct sat_message *m;
	const SatSubsDataError *error;

	test_sql(&service, "INSERT INTO mid VALUES (0, repeat('y', 17000000))");
	c->on_message = NULL;
	ask(c, 1, "mid");
	m = sat_await(c, SAT_SUBS_DATA_ERROR);
	error = (const SatSubsDataError *)m->body;
	ck_assert_int_eq(error->code, SAT_SUBS_DATA_ERROR__CODE__SHAPE_DELIVERY_ERROR);
	ck_assert_uint_eq(error->n_shape_request_error, 1);
	ck_assert_int_eq(error->shape_request_error[0]->code,
	    SAT_SUBS_DATA_ERROR__SHAPE_REQ_ERROR__CODE__SHAPE_SIZE_LIMIT_EXCEEDED);
	ck_assert_str_eq(
	    error->shape_request_error[0]->message, "a row is longer than PG_SNAPSHOT_MAX_ROW allows");
	ck_assert_str_ne(error->shape_request_error[0]->request_id, "");
	sat_message_free(m);
	c->on_message = note;
	test_sql(&service, "DELETE FROM mid WHERE id = 0");
	subscribe(c, 1, "mid");
	ck_assert_uint_eq(taken(c)->rows, MID_ROWS);
	end_client(c);
}
END_TEST

// ---- resuming

static void
come_again(struct sat_client *c, unsigned n)
{
	char ids[4][40], *list[4];

	for (unsigned i = 0; i < n; i++) {
		snprintf(ids[i], sizeof ids[i], "11111111-1111-4111-8111-1111111111%02u", i + 1);
		list[i] = ids[i];
	}
	forget(c);
	ck_assert(sat_reopen(c, service.port));
	c->on_message = NULL;
	sat_login(c, "ann");
	sat_start(c, list, n);
	c->on_message = note;
	while (c->first != NULL) { /* what came with the answer */
		struct sat_message *m = sat_next(c);

		note(c, m);
		sat_message_free(m);
	}
}

START_TEST(a_delivery_cut_off_begins_again)
{
	struct sat_client *c = client_of("ann");

	subscribe(c, 1, "plain");
	ask(c, 2, "wide");
	AWAIT(taken(c)->rows > 2);
	sat_close(c);
	come_again(c, 2);
	AWAIT(taken(c)->ended);
	ck_assert_uint_eq(taken(c)->rows, WIDE_ROWS);
	end_client(c);
}
END_TEST

/* Its lsn shows that the client has not had the rows which came after that. */
START_TEST(a_delivery_after_the_lsn_comes_again)
{
	struct sat_client *c = client_of("ann");
	char before[64];

	subscribe(c, 1, "plain");
	snprintf(before, sizeof before, "%s", c->server_lsn);
	test_sql(&service, "INSERT INTO plain VALUES ('four', 'x')");
	transactions_await(c, "I:four ");
	subscribe(c, 2, "other");
	sat_close(c);
	snprintf(c->server_lsn, sizeof c->server_lsn, "%s", before);
	come_again(c, 2);
	AWAIT(taken(c)->ended);
	ck_assert_str_eq(taken(c)->ids, "o ");
	ck_assert_str_eq(taken(c)->transactions, "I:four ");
	/* What it has had it does not get again. */
	sat_close(c);
	come_again(c, 2);
	test_sql(&service, "DELETE FROM plain WHERE id = 'four'");
	transactions_await(c, "D:four ");
	ck_assert(!taken(c)->begun);
	end_client(c);
}
END_TEST

/* What a client has written comes after its initial rows: as long as it has not passed that place it may lack
 * it. */
START_TEST(what_a_client_wrote_comes_until_it_has_it)
{
	static const char *const mine[] = { "mine", "x" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "plain", .row = mine };
	struct sat_client *c = client_of("ann");
	char at[64];

	AWAIT(sat_relation_named(c, "plain") != NULL);
	sat_write(c, 1686009600000, &op, 1);
	test_sql_await(&service, "1", "SELECT count(*) FROM plain WHERE id = 'mine'");
	subscribe(c, 1, "plain");
	ck_assert_ptr_null(strstr(taken(c)->ids, "mine "));
	transactions_await(c, "I:mine ");
	snprintf(at, sizeof at, "%s", taken(c)->lsn);
	sat_close(c);
	test_sql(&service, "INSERT INTO plain VALUES ('later', 'x')");
	snprintf(c->server_lsn, sizeof c->server_lsn, "%s", at);
	come_again(c, 1);
	transactions_await(c, "I:later I:mine ");
	ck_assert(!taken(c)->begun);
	sat_close(c);
	test_sql(&service, "DELETE FROM plain WHERE id = 'later'");
	come_again(c, 1);
	transactions_await(c, "D:later ");
	test_sql(&service, "DELETE FROM plain WHERE id = 'mine'");
	transactions_await(c, "D:later D:mine ");
	end_client(c);
}
END_TEST

// ---- commits that Postgres shows late

/* One that waits for a standby is in the WAL, and in the log, while snapshots do not see it; the next is
 * seen. What a snapshot showed is not sent again, after a restart of all neither. */
START_TEST(a_snapshot_need_not_be_a_prefix)
{
	struct sat_client *c = client_of("ann");
	char at[64];
	pid_t ingest;
	PGconn *waiting;

	test_sql(&service, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	test_sql(&service, "SELECT pg_reload_conf()");
	ingest = test_tool_kill(&service, "pg-ingest", SIGSTOP);
	waiting = session("SET synchronous_commit = on");
	PQsendQuery(waiting, "INSERT INTO plain VALUES ('hidden', 'x')");
	test_sql_await(&service, "1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
	test_sql(&service, "SET synchronous_commit = local; INSERT INTO plain VALUES ('seen', 'x')");
	ask(c, 1, "plain");
	sat_turn();
	test_sql_await(&service, "1",
	    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'leyden pg-snapshot%%' AND "
	    "state = 'idle in transaction' AND query LIKE '%%pg_current_snapshot%%'");
	kill(ingest, SIGCONT);
	AWAIT(taken(c)->ended);
	ck_assert_uint_eq(taken(c)->rows, 3);
	ck_assert_ptr_nonnull(strstr(taken(c)->ids, "seen "));
	snprintf(at, sizeof at, "%s", taken(c)->lsn);
	transactions_await(c, "I:hidden ");
	test_sql(&service, "SET synchronous_commit = local; INSERT INTO plain VALUES ('next', 'x')");
	transactions_await(c, "I:hidden I:next ");
	sat_close(c);
	test_sql(&service, "ALTER SYSTEM RESET synchronous_standby_names");
	test_sql(&service, "SELECT pg_reload_conf()");
	PQfinish(waiting);
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_leyden_start(&service);
	snprintf(c->server_lsn, sizeof c->server_lsn, "%s", at);
	come_again(c, 1);
	transactions_await(c, "I:hidden I:next ");
	test_sql(&service, "DELETE FROM plain WHERE id IN ('hidden', 'seen', 'next')");
	end_client(c);
}
END_TEST

/* Who has been sent such a commit waits until snapshots see it. */
START_TEST(a_late_commit_is_waited_for)
{
	struct sat_client *c = client_of("ann");
	PGconn *waiting;

	subscribe(c, 1, "other");
	forget(c);
	test_sql(&service, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	test_sql(&service, "SELECT pg_reload_conf()");
	waiting = session("SET synchronous_commit = on");
	PQsendQuery(waiting, "INSERT INTO other VALUES ('late'); INSERT INTO plain VALUES ('late', 'x')");
	transactions_await(c, "I:late ");
	ask(c, 2, "plain");
	test_log_await(&service, "snapshot-waits");
	ck_assert(!taken(c)->begun && !taken(c)->failed);
	test_sql(&service, "ALTER SYSTEM RESET synchronous_standby_names");
	test_sql(&service, "SELECT pg_reload_conf()");
	AWAIT(taken(c)->ended);
	ck_assert_uint_eq(taken(c)->rows, 3);
	ck_assert_ptr_nonnull(strstr(taken(c)->ids, "late "));
	PQfinish(waiting);
	end_client(c);
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { few_connections_serve_hundreds, who_asks_for_the_same_shares,
		a_slow_one_slows_nobody, who_does_not_read_costs_little, what_was_read_comes_without_postgres,
		a_delivery_that_breaks_is_told, a_long_row_comes_in_pieces,
		an_answer_waits_until_the_row_is_whole, a_row_of_no_interest_is_sent_to_its_end,
		a_row_over_the_limit_is_told, a_delivery_cut_off_begins_again,
		a_delivery_after_the_lsn_comes_again, what_a_client_wrote_comes_until_it_has_it,
		a_snapshot_need_not_be_a_prefix, a_late_commit_is_waited_for };

	return suite_run(
	    &(struct suite_tests){ "snapshots", tests, sizeof tests / sizeof *tests, set_up, tear_down },
	    argc, argv);
}
