/*
 * Subscriptions over a real socket: every check of a request, what is delivered once and what goes on after,
 * owners, and Postgres that goes away midway.
 */
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define UUID "11111111-1111-4111-8111-1111111111%02u"

static struct test_service service = { .env = { "AUTH_MODE=insecure", "WS_GATEWAY_STALL_TIME=1", NULL } };
static struct sat_client *c;
static char seen[4096]; /* the rows of a delivery, "table:id " each */

static struct sat_client *
client_of(const char *user)
{
	return sat_begin(service.port, NULL, user);
}

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	test_sql(&service,
	    "CREATE TABLE plain (id text PRIMARY KEY, v text); CREATE TABLE far (id text PRIMARY KEY);"
	    "CREATE TABLE grand (id text PRIMARY KEY); CREATE TABLE parent (id text PRIMARY KEY, g text "
	    "REFERENCES grand);"
	    "CREATE TABLE child (id text PRIMARY KEY, p text REFERENCES parent);"
	    "CREATE TABLE astray (id text PRIMARY KEY, f text REFERENCES far);"
	    "CREATE TABLE own (id text PRIMARY KEY, v text, electric_user_id text);"
	    "SELECT electric.migration_version('1');"
	    "CALL electric.electrify('plain'); CALL electric.electrify('grand'); CALL "
	    "electric.electrify('parent');"
	    "CALL electric.electrify('child'); CALL electric.electrify('astray'); CALL "
	    "electric.electrify('own');"
	    "INSERT INTO plain VALUES ('one', 'x'), ('two', 'x');"
	    "INSERT INTO own VALUES ('a', 'x', 'ann'), ('b', 'x', 'bob'), ('nobody', 'x', NULL), ('empty', "
	    "'x', '')");
	test_schema_await(&service);
	c = client_of("ann");
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

// ---- what is wrong with a request

/* Asks for shapes: tables separated by blanks, one string a request, ended by NULL. */
static void
ask_shapes(const char *id, const char *const *shapes)
{
	struct arena a = { 0 };
	SatSubsReq r = SAT_SUBS_REQ__INIT;

	r.subscription_id = (char *)(uintptr_t)id;
	r.shape_requests = arena_alloc(&a, 8 * sizeof *r.shape_requests);
	for (; shapes[r.n_shape_requests] != NULL; r.n_shape_requests++) {
		SatShapeReq *shape = arena_alloc(&a, sizeof *shape);
		char *tables = arena_strdup(&a, shapes[r.n_shape_requests]);

		sat_shape_req__init(shape);
		shape->request_id = arena_printf(&a, "r%zu", r.n_shape_requests);
		shape->shape_definition = arena_alloc(&a, sizeof *shape->shape_definition);
		sat_shape_def__init(shape->shape_definition);
		shape->shape_definition->selects =
		    arena_alloc(&a, 8 * sizeof *shape->shape_definition->selects);
		for (char *t = strtok(tables, " "); t != NULL; t = strtok(NULL, " ")) {
			SatShapeDef__Select *s = arena_alloc(&a, sizeof *s);

			sat_shape_def__select__init(s);
			s->tablename = strcmp(t, "EMPTY") == 0 ? arena_strdup(&a, "") : t;
			shape->shape_definition->selects[shape->shape_definition->n_selects++] = s;
		}
		r.shape_requests[r.n_shape_requests] = shape;
	}
	sat_send(c, SAT_SUBS_REQ, &r.base);
	arena_clear(&a);
}

/* The answer as "id|message|request:code:message ..."; static. */
static const char *
answer(void)
{
	static char text[2048];
	struct sat_message *m = sat_await(c, SAT_SUBS_RESP);
	const SatSubsResp *r = (const SatSubsResp *)m->body;
	int n =
	    snprintf(text, sizeof text, "%s|%s", r->subscription_id, r->err != NULL ? r->err->message : "ok");

	for (size_t i = 0; r->err != NULL && i < r->err->n_shape_request_error; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "|%s:%d:%s",
		    r->err->shape_request_error[i]->request_id, (int)r->err->shape_request_error[i]->code,
		    r->err->shape_request_error[i]->message);
	sat_message_free(m);
	return text;
}

#define ON_REQUESTS "Could not establish a subscription due to errors on requests"

START_TEST(what_is_wrong_is_said)
{
	static const char long_table[] = "ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt";
	static const char good_id[] = "11111111-1111-4111-8111-111111111100";
	char id[160], expected[400];
	static const struct {
		const char *id, *shapes[4], *answer;
	} cases[] = {
		{ good_id, { NULL }, "Subscription must include at least one shape request" },
		{ "11111111-1111-4111-8111-11111111110", { "plain" },
		    "Subscription ID should be a valid UUID" },
		{ "11111111-1111-4111-8111-11111111110A", { "plain" },
		    "Subscription ID should be a valid UUID" },
		{ "", { "plain" }, "Subscription ID should be a valid UUID" },
		{ good_id, { "" }, ON_REQUESTS "|r0:3:Empty shape requests are not allowed" },
		{ good_id, { "EMPTY" }, ON_REQUESTS "|r0:1:Invalid table name" },
		{ good_id, { "a\tb" }, ON_REQUESTS "|r0:1:Invalid table name" },
		{ good_id, { long_table }, ON_REQUESTS "|r0:1:Invalid table name" },
		{ good_id, { "nope plain neither" }, ON_REQUESTS "|r0:1:Unknown tables: nope,neither" },
		{ good_id, { "far" }, ON_REQUESTS "|r0:1:Unknown tables: far" },
		{ good_id, { "plain plain" }, ON_REQUESTS "|r0:4:Cannot select same table twice" },
		{ good_id, { "child" },
		    ON_REQUESTS
		    "|r0:2:Some tables are missing from the shape request, but are referenced by FKs on the "
		    "requested tables: parent,grand" },
		{ good_id, { "child parent" },
		    ON_REQUESTS
		    "|r0:2:Some tables are missing from the shape request, but are referenced by FKs on the "
		    "requested tables: grand" },
		/* Another request does not help. */
		{ good_id, { "child parent", "grand" },
		    ON_REQUESTS
		    "|r0:2:Some tables are missing from the shape request, but are referenced by FKs on the "
		    "requested tables: grand" },
		{ good_id, { "astray far" }, ON_REQUESTS "|r0:1:Unknown tables: far" },
		{ good_id, { "nope", "plain", "plain plain" },
		    ON_REQUESTS "|r0:1:Unknown tables: nope|r2:4:Cannot select same table twice" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(expected, sizeof expected, "%s|%s", cases[i].id, cases[i].answer);
		ask_shapes(cases[i].id, cases[i].shapes);
		ck_assert_str_eq(answer(), expected);
	}
	/* The reference cuts off the first character. */
	memset(id, 'i', 129);
	id[0] = 'f';
	id[129] = '\0';
	snprintf(expected, sizeof expected, "%s...|ID too long", id + 1);
	ask_shapes(id, (const char *const[]){ "plain", NULL });
	ck_assert_str_eq(answer(), expected);
	/* One that would take long to check is not checked. */
	{
		struct sat_client *was = c;
		char *many = malloc(70000);

		memset(many, 'x', 69999);
		many[69999] = '\0';
		c = client_of("ann");
		ask_shapes(good_id, (const char *const[]){ many, NULL });
		sat_message_free(sat_await(c, SAT_ERROR_RESP));
		sat_await_close(c);
		sat_free(c);
		free(many);
		c = was;
	}
	/* A foreign key to a table that is not synced does not travel, and asks for nothing. */
	ask_shapes("11111111-1111-4111-8111-111111111101", (const char *const[]){ "astray", NULL });
	ck_assert_str_eq(answer(), "11111111-1111-4111-8111-111111111101|ok");
	/* After all that the client is as welcome as before; the same id twice is not. */
	sat_subscribe(c, good_id, (const char *const[]){ "plain" }, 1, NULL);
	ask_shapes(good_id, (const char *const[]){ "grand", NULL });
	ck_assert_ptr_nonnull(strstr(answer(), "|Cannot establish multiple subscriptions with the same ID."));
}
END_TEST

// ---- deliveries

static void
on_row(struct sat_client *who, const SatOpInsert *row)
{
	const struct sat_relation *r = sat_relation(who, row->relation_id);

	snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s:%s ", r->name,
	    sat_value(r, row->row_data, "id"));
}

static void
subscribe(struct sat_client *who, unsigned n, const char *const *tables, size_t n_tables)
{
	char id[40];

	snprintf(id, sizeof id, UUID, n);
	seen[0] = '\0';
	sat_subscribe(who, id, tables, n_tables, on_row);
}

static void
unsubscribe(struct sat_client *who, unsigned n)
{
	SatUnsubsReq r = SAT_UNSUBS_REQ__INIT;
	char id[40], *ids[] = { id };

	snprintf(id, sizeof id, UUID, n);
	r.subscription_ids = ids;
	r.n_subscription_ids = 1;
	sat_send(who, SAT_UNSUBS_REQ, &r.base);
	sat_message_free(sat_await(who, SAT_UNSUBS_RESP));
}

/* The next transaction with rows in it, as "I:id " "U:id " "D:id "; static. */
static const char *
next_rows(struct sat_client *who)
{
	static char text[256];

	for (text[0] = '\0'; text[0] == '\0';) {
		struct sat_message *m = sat_await(who, SAT_OP_LOG);
		const SatOpLog *log = (const SatOpLog *)m->body;

		for (size_t i = 0; i < log->n_ops; i++) {
			const SatTransOp *op = log->ops[i];
			const SatOpRow *row = NULL;
			uint32_t relation = 0;
			char kind = '?';

			if (op->op_case == SAT_TRANS_OP__OP_INSERT) {
				row = op->insert->row_data, relation = op->insert->relation_id, kind = 'I';
			} else if (op->op_case == SAT_TRANS_OP__OP_UPDATE) {
				row = op->update->row_data, relation = op->update->relation_id, kind = 'U';
			} else if (op->op_case == SAT_TRANS_OP__OP_DELETE) {
				row = op->delete_->old_row_data, relation = op->delete_->relation_id,
				kind = 'D';
			}
			if (row != NULL)
				snprintf(text + strlen(text), sizeof text - strlen(text), "%c:%s ", kind,
				    sat_value(sat_relation(who, relation), row, "id"));
		}
		sat_message_free(m);
	}
	return text;
}

START_TEST(a_table_in_two_subscriptions_comes_once)
{
	static const char *const both[] = { "plain", "grand" }, *const plain[] = { "plain" };
	struct sat_client *who = client_of("ann");

	subscribe(who, 1, plain, 1);
	ck_assert_str_eq(seen, "plain:one plain:two ");
	subscribe(who, 2, both, 2);
	ck_assert_str_eq(seen, "");
	unsubscribe(who, 1);
	test_sql(&service, "INSERT INTO plain VALUES ('three', 'x')");
	ck_assert_str_eq(next_rows(who), "I:three ");
	/* Without the other it is gone, and comes whole when it is asked for again. */
	unsubscribe(who, 2);
	test_sql(&service, "DELETE FROM plain WHERE id = 'three'");
	subscribe(who, 3, plain, 1);
	ck_assert_str_eq(seen, "plain:one plain:two ");
	test_sql(&service, "UPDATE plain SET v = 'y' WHERE id = 'one'");
	ck_assert_str_eq(next_rows(who), "U:one ");
	sat_free(who);
}
END_TEST

/* Clients up to 0.9 lose all when a delivery brings a row that they have. */
START_TEST(what_a_client_wrote_is_no_news_to_it)
{
	static const char *const plain[] = { "plain" }, *const mine[] = { "mine", "x" },
				 *const other[] = { "other", "x" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "plain", .row = mine };
	struct sat_client *who = client_of("ann");

	while (sat_relation_named(who, "plain") == NULL)
		sat_message_free(sat_await(who, SAT_RELATION));
	sat_write(who, 1686009600000, &op, 1);
	op.row = other;
	sat_write(who, 1686009600001, &op, 1);
	test_sql_await(&service, "2", "SELECT count(*) FROM plain WHERE id IN ('mine', 'other')");
	test_sql(&service,
	    "UPDATE plain SET v = 'changed' WHERE id = 'mine'; DELETE FROM plain WHERE id = 'other'");
	sat_close(who); /* and it has its oplog no more */
	ck_assert(sat_reopen(who, service.port));
	who->server_lsn[0] = '\0';
	sat_login(who, "ann");
	sat_start(who, NULL, 0);
	subscribe(who, 1, plain, 1);
	ck_assert_ptr_null(strstr(seen, "plain:mine "));
	ck_assert_ptr_nonnull(strstr(seen, "plain:one "));
	ck_assert_str_eq(next_rows(who), "I:mine ");
	test_sql(&service, "DELETE FROM plain WHERE id = 'mine'");
	ck_assert_str_eq(next_rows(who), "D:mine ");
	sat_free(who);
}
END_TEST

START_TEST(a_row_reaches_its_owner)
{
	static const char *const own[] = { "own" };
	struct sat_client *ann = client_of("ann"), *bob = client_of("bob");

	subscribe(ann, 1, own, 1);
	ck_assert_str_eq(seen, "own:a own:nobody own:empty ");
	subscribe(bob, 1, own, 1);
	ck_assert_str_eq(seen, "own:b own:nobody own:empty ");
	test_sql(&service, "INSERT INTO own VALUES ('a2', 'x', 'ann'), ('b2', 'x', 'bob'), ('n2', 'x', "
			   "NULL), ('e2', 'x', '')");
	ck_assert_str_eq(next_rows(ann), "I:a2 I:n2 I:e2 ");
	ck_assert_str_eq(next_rows(bob), "I:b2 I:n2 I:e2 ");
	/* It changes hands: the same transaction takes it from one and gives it to the other. */
	test_sql(&service, "UPDATE own SET electric_user_id = 'bob' WHERE id IN ('a', 'n2')");
	ck_assert_str_eq(next_rows(ann), "D:a D:n2 ");
	ck_assert_str_eq(next_rows(bob), "I:a U:n2 ");
	test_sql(&service, "UPDATE own SET electric_user_id = '' WHERE id = 'b'");
	ck_assert_str_eq(next_rows(ann), "I:b ");
	ck_assert_str_eq(next_rows(bob), "U:b ");
	test_sql(&service, "DELETE FROM own WHERE id = 'a'");
	test_sql(&service, "DELETE FROM own WHERE id = 'n2'; DELETE FROM own WHERE id = 'e2'");
	ck_assert_str_eq(next_rows(bob), "D:a ");
	ck_assert_str_eq(next_rows(ann), "D:e2 ");
	sat_free(ann);
	sat_free(bob);
}
END_TEST

static void
write_own(struct sat_client *who, enum sat_op kind, const char *const *row, const char *const *old)
{
	static uint64_t time = 1686009600000;
	static const char *const tags[] = { "postgres_1@0" };
	struct sat_write_op op = {
		.kind = kind, .table = "own", .row = row, .old = old, .observed = tags, .n_observed = 1
	};

	sat_write(who, time += 1000, &op, 1);
}

/* Whatever a client claims of the row: it is Postgres' that counts. */
START_TEST(another_users_rows_are_not_for_writing)
{
	static const char
	    *const bobs[] = { "secret", "x", "bob" },
		   *const as_mine[] = { "secret", "stolen", "ann" },
		   *const claimed[] = { "secret", "x", "ann" }, *const planted[] = { "planted", "x", "bob" },
		   *const mine[] = { "mine", "x", "ann" }, *const given[] = { "mine", "x", "bob" },
		   *const open[] = { "open", "x", NULL }, *const many[] = { "m1", "x", "ann" };
	static const char refusals[] =
	    "SELECT count(*) FROM electric.rejected_writes WHERE sqlstate = '42501'";
	struct sat_client *ann = client_of("ann");
	struct sat_write_op ops[2] = { { .kind = SAT_INSERT, .table = "own", .row = many },
		{ .kind = SAT_INSERT, .table = "own", .row = planted } };

	while (sat_relation_named(ann, "own") == NULL)
		sat_message_free(sat_await(ann, SAT_RELATION));
	test_sql(&service, "INSERT INTO own VALUES ('secret', 'x', 'bob')");
	write_own(ann, SAT_UPDATE, as_mine, bobs);
	test_sql_await(&service, "1", refusals);
	write_own(ann, SAT_UPDATE, as_mine, claimed); /* as if the owner had never been another */
	test_sql_await(&service, "2", refusals);
	write_own(ann, SAT_DELETE, claimed, NULL);
	test_sql_await(&service, "3", refusals);
	write_own(ann, SAT_INSERT, claimed, NULL);
	test_sql_await(&service, "4", refusals);
	write_own(ann, SAT_INSERT, planted, NULL);
	test_sql_await(&service, "5", refusals);
	sat_write(ann, 1686009600001, ops, 2); /* many at once go another way */
	test_sql_await(&service, "6", refusals);
	ck_assert_str_eq(test_sql(&service, "SELECT v FROM own WHERE id = 'secret'"), "x");
	ck_assert_str_eq(test_sql(&service, "SELECT count(*) FROM own WHERE id IN ('planted', 'm1')"), "0");
	write_own(ann, SAT_INSERT, mine, NULL);
	write_own(ann, SAT_INSERT, open, NULL);
	test_sql_await(&service, "2", "SELECT count(*) FROM own WHERE id IN ('mine', 'open')");
	write_own(ann, SAT_UPDATE, given, mine);
	test_sql_await(&service, "7", refusals);
	sat_free(ann);
}
END_TEST

/* A client of 0.5 takes a ping for the answer to its request. Another, which asks for nothing, is pinged
 * meanwhile. */
START_TEST(no_ping_comes_before_an_answer)
{
	static const char *const plain[] = { "plain" };
	struct sat_client *who = client_of("ann"), *idle = client_of("ann");
	struct sat_message *m;
	unsigned code = SAT_CODES;
	char id[40];
	pid_t store = test_tool_kill(&service, "log-store", SIGSTOP);

	snprintf(id, sizeof id, UUID, 1);
	sat_ask_subscription(who, id, plain, 1); /* it cannot be stored now */
	for (unsigned i = 0; i < 2; i++)	 /* the first may come before the request is old enough */
		sat_message_free(sat_await(idle, SAT_PING_REQ));
	kill(store, SIGCONT);
	while (code != SAT_SUBS_RESP && (m = sat_next(who)) != NULL) {
		code = m->code;
		ck_assert_uint_ne(code, SAT_PING_REQ);
		sat_message_free(m);
	}
	ck_assert_uint_eq(code, SAT_SUBS_RESP);
	sat_free(who);
	sat_free(idle);
}
END_TEST

// ---- faults

START_TEST(postgres_comes_back_before_the_rows)
{
	static const char *const plain[] = { "plain" };
	struct sat_client *who = client_of("ann");
	char id[40];

	snprintf(id, sizeof id, UUID, 1);
	test_postgres_stop(&service, "immediate");
	sat_ask_subscription(who, id, plain, 1);
	sat_message_free(sat_await(who, SAT_SUBS_RESP));
	test_postgres_again(&service);
	sat_message_free(sat_await(who, SAT_SUBS_DATA_END));
	test_sql(&service, "UPDATE plain SET v = 'z' WHERE id = 'one'");
	ck_assert_str_eq(next_rows(who), "U:one ");
	sat_free(who);
}
END_TEST

/* A client that takes nothing of its rows holds up nobody, is let go, and gets them when it comes again. */
START_TEST(a_client_that_does_not_read_is_let_go)
{
	static const char *const wide[] = { "wide" }, *const plain[] = { "plain" };
	struct sat_client *slow, *other;
	char id[40];

	test_sql(&service, "CREATE TABLE wide (id text PRIMARY KEY, v text);"
			   "INSERT INTO wide SELECT i, repeat('x', 100000) FROM generate_series(1, 200) AS i;"
			   "CALL electric.electrify('wide')");
	test_schema_await(&service);
	slow = client_of("ann");
	snprintf(id, sizeof id, UUID, 1);
	sat_ask_subscription(slow, id, wide, 1);
	sat_message_free(sat_await(slow, SAT_SUBS_DATA_BEGIN));
	ev_io_stop(loop(), &slow->io); /* it stops reading */
	other = client_of("ann");
	subscribe(other, 1, plain, 1);
	ck_assert_ptr_nonnull(strstr(seen, "plain:one "));
	ck_assert_ptr_nonnull(strstr(seen, "plain:two "));
	test_log_await(&service, "why=\"does not read what it is sent\"");
	sat_close(slow);
	slow->server_lsn[0] = '\0';
	sat_reopen(slow, service.port);
	sat_login(slow, "ann");
	sat_start(slow, NULL, 0);
	seen[0] = '\0';
	snprintf(id, sizeof id, UUID, 2);
	sat_subscribe(slow, id, wide, 1, on_row);
	ck_assert_ptr_nonnull(strstr(seen, "wide:200 "));
	sat_free(slow);
	sat_free(other);
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { what_is_wrong_is_said, a_table_in_two_subscriptions_comes_once,
		what_a_client_wrote_is_no_news_to_it, a_row_reaches_its_owner,
		another_users_rows_are_not_for_writing, no_ping_comes_before_an_answer,
		postgres_comes_back_before_the_rows, a_client_that_does_not_read_is_let_go };

	return suite_run(
	    &(struct suite_tests){ "shapes", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
