/*
 * How conflicts end, on the wire: clients A, B and C and Postgres write one row in every order that matters,
 * and for each write this says what an observer is sent and what Postgres then holds. The numbers are those
 * of the table of worked cases in the protocol's description; where the original did something else by
 * mistake, a comment says so.
 *
 * A transaction is written as "ORIGIN TIME: OP values [tags] …". P1, P2 … are times of Postgres in the order
 * in which they appear, F is a day from now.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define SUBSCRIPTION "11111111-1111-4111-8111-111111111111"
#define NOTHING	     "" /* is sent to the observer */
#define ABSENT	     "-"

static struct test_service service = { .env = { "AUTH_MODE=insecure", NULL } };
static struct sat_client *A, *B, *C, *observer;
static uint64_t F, postgres_times[16];
static size_t n_postgres_times;
static const char *table, *key; /* that the case is about */
static unsigned cases;

/* Names that are legal in Postgres and need care; each of these tables has the columns of odd_columns. */
static const char *const odd_tables[] = { "Ünïcode \"quoted\" table", "select", "a.b", " it's", "_tags",
	"ääääääääääääääääääääääääääääääx",
	"abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_123456789" };
static const char *const odd_columns[] = { "Order", "a.b \"c\"",
	"abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_123456789" };
#define N_ODD (sizeof odd_tables / sizeof *odd_tables)

static struct sat_client *
client(const char *id, bool subscribed)
{
	const char *tables[3 + N_ODD] = { "cases", "keys", "aged" };
	struct sat_client *c = sat_begin(service.port, id, "ann");

	memcpy(tables + 3, odd_tables, sizeof odd_tables);
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		sat_message_free(sat_await(c, SAT_RELATION));
	if (subscribed)
		sat_subscribe(c, SUBSCRIPTION, tables, sizeof tables / sizeof *tables, NULL);
	return c;
}

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	test_sql(&service, "CREATE TABLE cases (id text PRIMARY KEY, a text, b text); CREATE TABLE keys (id "
			   "text PRIMARY KEY);"
			   "CREATE TABLE aged (id text PRIMARY KEY, a text);"
			   "INSERT INTO cases SELECT 'old' || n, 'before' FROM generate_series(1, 2) AS n;"
			   "SELECT electric.migration_version('1'); CALL electric.electrify('cases'); CALL "
			   "electric.electrify('keys');"
			   "CALL electric.electrify('aged')");
	for (size_t i = 0; i < N_ODD; i++) {
		test_sql(&service,
		    "DO $$ BEGIN EXECUTE format('CREATE TABLE %%I (%%I text PRIMARY KEY, %%I text, %%I "
		    "text)', "
		    "$a$%s$a$, $a$%s$a$, $a$%s$a$, $a$%s$a$); END $$",
		    odd_tables[i], odd_columns[0], odd_columns[1], odd_columns[2]);
		test_sql(&service, "CALL electric.electrify('public', $$%s$$)", odd_tables[i]);
	}
	F = ((uint64_t)time(NULL) + 86400) * 1000;
	A = client("A", true);
	B = client("B", true);
	C = client("C", true);
	observer = client("observer", true);
}

static void
tear_down(void)
{
	sat_free(A);
	sat_free(B);
	sat_free(C);
	sat_free(observer);
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ck_assert(!test_log_has(&service, "runtime error"));
	ck_assert(!test_log_has(&service, "Sanitizer"));
	test_service_end(&service);
}

// ---- times

static const char *
show_time(uint64_t ms)
{
	static char ring[8][32];
	static unsigned next;
	char *out = ring[next++ % 8];
	size_t i;

	if (ms >= F) {
		snprintf(out, sizeof ring[0], ms == F ? "F" : "F+%" PRIu64, ms - F);
		return out;
	}
	if (ms < 1000000000000) {
		snprintf(out, sizeof ring[0], "%" PRIu64, ms);
		return out;
	}
	for (i = 0; i < n_postgres_times && postgres_times[i] != ms; i++)
		continue;
	if (i == n_postgres_times)
		postgres_times[n_postgres_times++] = ms;
	snprintf(out, sizeof ring[0], "P%zu", i + 1);
	return out;
}

static uint64_t
read_time(const char *text)
{
	if (text[0] == 'P')
		return postgres_times[atoi(text + 1) - 1];
	if (text[0] == 'F')
		return F + (text[1] == '+' ? strtoull(text + 2, NULL, 10) : 0);
	return strtoull(text, NULL, 10);
}

// ---- what is sent

static void
show_tags(char *out, size_t size, char **tags, size_t n)
{
	size_t used = strlen(out);

	for (size_t i = 0; i < n; i++) {
		const char *at = strchr(tags[i], '@');

		used += (size_t)snprintf(out + used, size - used, "%s%.*s@%s", i > 0 ? " " : " [",
		    (int)(at - tags[i]), tags[i], show_time(strtoull(at + 1, NULL, 10)));
	}
	snprintf(out + used, size - used, "%s", n > 0 ? "]" : " []");
}

static void
show_row(char *out, size_t size, const struct sat_client *c, uint32_t relation, const SatOpRow *row)
{
	const struct sat_relation *r = sat_relation(c, relation);
	size_t used = strlen(out);

	for (size_t i = 1; i < r->n; i++) {
		const char *v = sat_value(r, row, r->columns[i]);

		used +=
		    (size_t)snprintf(out + used, size - used, "%s%s", i > 1 ? "," : " ", v != NULL ? v : "~");
	}
}

/* The transaction that comes next, whole in one message. */
static const char *
next_transaction(struct sat_client *c)
{
	static char out[1024];
	struct sat_message *m = sat_await(c, SAT_OP_LOG);
	const SatOpLog *log = (const SatOpLog *)m->body;

	ck_assert_uint_ge(log->n_ops, 2);
	ck_assert_int_eq(log->ops[0]->op_case, SAT_TRANS_OP__OP_BEGIN);
	ck_assert_int_eq(log->ops[log->n_ops - 1]->op_case, SAT_TRANS_OP__OP_COMMIT);
	snprintf(out, sizeof out, "%s %s:", log->ops[0]->begin->origin,
	    show_time(log->ops[0]->begin->commit_timestamp));
	for (size_t i = 1; i < log->n_ops - 1; i++) {
		const SatTransOp *op = log->ops[i];

		if (op->op_case == SAT_TRANS_OP__OP_INSERT) {
			strcat(out, " INSERT");
			show_row(out, sizeof out, c, op->insert->relation_id, op->insert->row_data);
			show_tags(out, sizeof out, op->insert->tags, op->insert->n_tags);
		} else if (op->op_case == SAT_TRANS_OP__OP_UPDATE) {
			strcat(out, " UPDATE");
			show_row(out, sizeof out, c, op->update->relation_id, op->update->row_data);
			show_tags(out, sizeof out, op->update->tags, op->update->n_tags);
		} else {
			strcat(out, " DELETE");
			show_row(out, sizeof out, c, op->delete_->relation_id, op->delete_->old_row_data);
			show_tags(out, sizeof out, op->delete_->tags, op->delete_->n_tags);
		}
	}
	sat_message_free(m);
	return out;
}

/* The author hears of its own at this time, bit for bit. */
static void
await_echo(struct sat_client *c, uint64_t time)
{
	for (;;) {
		struct sat_message *m = sat_await(c, SAT_OP_LOG);
		const SatOpBegin *begin = ((const SatOpLog *)m->body)->ops[0]->begin;
		bool own = strcmp(begin->origin, c->id) == 0;

		if (own)
			ck_assert_uint_eq(begin->commit_timestamp, time);
		sat_message_free(m);
		if (own)
			return;
	}
}

// ---- steps

static void
new_case(const char *in_table)
{
	static char name[16];

	snprintf(name, sizeof name, "case%u", ++cases);
	table = in_table;
	key = name;
	n_postgres_times = 0;
}

/* Awaited: Postgres may tell of a commit a moment before it shows it to others. */
static void
must_hold(const char *row)
{
	if (strcmp(table, "keys") == 0)
		test_sql_await(&service, row,
		    "SELECT coalesce((SELECT 'there' FROM keys WHERE id = '%s'), '" ABSENT "')", key);
	else
		test_sql_await(&service, row,
		    "SELECT coalesce((SELECT coalesce(a, '~') || ',' || coalesce(b, '~') FROM cases WHERE id "
		    "= '%s'), "
		    "'" ABSENT "')",
		    key);
}

/* "x,y" to the row with the case's key; "~" is NULL. */
static const char *const *
row_of(const char *values)
{
	static const char *ring[4][3];
	static char copies[4][100];
	static unsigned next;
	unsigned i = next++ % 4;
	char *comma;

	snprintf(copies[i], sizeof copies[i], "%s", values);
	comma = strchr(copies[i], ',');
	ring[i][0] = key;
	ring[i][1] = copies[i];
	if (comma != NULL) {
		*comma = '\0';
		ring[i][2] = strcmp(comma + 1, "~") == 0 ? NULL : comma + 1;
	}
	return ring[i];
}

/* "A@1000 postgres_1@P1" to the wire's tags. */
static size_t
tags_of(const char *text, const char *tags[8])
{
	static char made[8][64];
	char copy[200], *save = NULL;
	size_t n = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (char *t = strtok_r(copy, " ", &save); t != NULL; t = strtok_r(NULL, " ", &save)) {
		char *at = strchr(t, '@');

		*at = '\0';
		snprintf(made[n], sizeof made[n], "%s@%" PRIu64, t, read_time(at + 1));
		tags[n] = made[n];
		n++;
	}
	return n;
}

/* One operation: "old>new" for an update. The observer is sent this, and Postgres holds this row. */
static void
writes(struct sat_client *c, const char *time, enum sat_op kind, const char *values, const char *observed,
    const char *sent, const char *row)
{
	const char *tags[8], *arrow = strchr(values, '>');
	char old[100];
	struct sat_write_op op = { .kind = kind, .table = table, .observed = tags };

	snprintf(old, sizeof old, "%.*s", arrow != NULL ? (int)(arrow - values) : 0, values);
	op.n_observed = tags_of(observed, tags);
	op.row = row_of(arrow != NULL ? arrow + 1 : values);
	op.old = arrow != NULL ? row_of(old) : NULL;
	sat_write(c, read_time(time), &op, 1);
	await_echo(c, read_time(time));
	if (sent[0] != '\0')
		ck_assert_str_eq(next_transaction(observer), sent);
	must_hold(row);
}

static void
postgres(const char *sql, const char *sent, const char *row)
{
	char text[400];

	snprintf(text, sizeof text, sql, key);
	test_sql(&service, "%s", text);
	if (sent[0] != '\0')
		ck_assert_str_eq(next_transaction(observer), sent);
	must_hold(row);
}

// ---- clients among themselves

START_TEST(cases_1_to_5)
{
	new_case("cases");
	writes(A, "1000", SAT_INSERT, "x,y", "", "A 1000: INSERT x,y [A@1000]", "x,y");
	/* 2: delivered again it changes nothing; the original counted the tag twice. */
	A->next_lsn--;
	writes(A, "1000", SAT_INSERT, "x,y", "", NOTHING, "x,y");
	writes(A, "2000", SAT_UPDATE, "x,y>x2,y", "A@1000", "A 2000: UPDATE x2,y [A@2000]", "x2,y");
	writes(A, "3000", SAT_DELETE, "x2,y", "A@2000", "A 3000: DELETE x2,y []", ABSENT);
	writes(B, "2500", SAT_UPDATE, "x,y>x,yB", "A@1000", "B 2500: INSERT x2,yB [B@2500]", "x2,yB");
}
END_TEST

START_TEST(cases_6_to_8)
{
	new_case("cases");
	writes(A, "1000", SAT_INSERT, "x,y", "", "A 1000: INSERT x,y [A@1000]", "x,y");
	writes(B, "2000", SAT_UPDATE, "x,y>xB,y", "A@1000", "B 2000: UPDATE xB,y [B@2000]", "xB,y");
	writes(C, "1500", SAT_UPDATE, "x,y>x,yC", "A@1000", "C 1500: UPDATE xB,yC [B@2000 C@1500]", "xB,yC");

	new_case("cases");
	writes(A, "1000", SAT_INSERT, "x,y", "", "A 1000: INSERT x,y [A@1000]", "x,y");
	writes(B, "2000", SAT_UPDATE, "x,y>xB,y", "A@1000", "B 2000: UPDATE xB,y [B@2000]", "xB,y");
	writes(C, "1500", SAT_UPDATE, "x,y>xC,y", "A@1000", "C 1500: UPDATE xB,y [B@2000 C@1500]", "xB,y");

	for (int first = 0; first < 2; first++) {
		new_case("cases");
		writes(A, "1000", SAT_INSERT, "x,y", "", "A 1000: INSERT x,y [A@1000]", "x,y");
		if (first == 0) {
			writes(B, "2000", SAT_UPDATE, "x,y>xB,y", "A@1000", "B 2000: UPDATE xB,y [B@2000]",
			    "xB,y");
			writes(C, "2000", SAT_UPDATE, "x,y>xC,y", "A@1000",
			    "C 2000: UPDATE xC,y [B@2000 C@2000]", "xC,y");
		} else {
			writes(C, "2000", SAT_UPDATE, "x,y>xC,y", "A@1000", "C 2000: UPDATE xC,y [C@2000]",
			    "xC,y");
			writes(B, "2000", SAT_UPDATE, "x,y>xB,y", "A@1000",
			    "B 2000: UPDATE xC,y [C@2000 B@2000]", "xC,y");
		}
	}
}
END_TEST

START_TEST(cases_9_to_13)
{
	new_case("cases");
	writes(A, "1000", SAT_INSERT, "x,y", "", "A 1000: INSERT x,y [A@1000]", "x,y");
	writes(B, "2000", SAT_UPDATE, "x,y>xB,y", "A@1000", "B 2000: UPDATE xB,y [B@2000]", "xB,y");
	writes(C, "3000", SAT_DELETE, "x,y", "A@1000", "C 3000: UPDATE xB,y [B@2000]", "xB,y");
	writes(B, "4000", SAT_DELETE, "xB,y", "B@2000", "B 4000: DELETE xB,y []", ABSENT);

	new_case("cases");
	writes(A, "1000", SAT_INSERT, "x,y", "", "A 1000: INSERT x,y [A@1000]", "x,y");
	writes(C, "3000", SAT_DELETE, "x,y", "A@1000", "C 3000: DELETE x,y []", ABSENT);
	writes(B, "2000", SAT_UPDATE, "x,y>xB,y", "A@1000", "B 2000: INSERT xB,y [B@2000]", "xB,y");

	new_case("cases");
	writes(A, "2000", SAT_INSERT, "xA,yA", "", "A 2000: INSERT xA,yA [A@2000]", "xA,yA");
	writes(B, "1000", SAT_INSERT, "xB,yB", "", "B 1000: UPDATE xA,yA [A@2000 B@1000]", "xA,yA");

	new_case("cases");
	writes(A, "1000", SAT_INSERT, "xA,yA", "", "A 1000: INSERT xA,yA [A@1000]", "xA,yA");
	writes(B, "2000", SAT_INSERT, "xB,~", "", "B 2000: UPDATE xB,~ [A@1000 B@2000]", "xB,~");
}
END_TEST

// ---- clients and Postgres

START_TEST(cases_14_and_15)
{
	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	writes(A, "1000", SAT_UPDATE, "o,q>old,q", "", "A 1000: UPDATE p,q [postgres_1@P1 A@1000]", "p,q");

	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	writes(A, "1000", SAT_UPDATE, "p,q>old,q", "postgres_1@P1", "A 1000: UPDATE p,q [A@1000]", "p,q");
}
END_TEST

START_TEST(cases_16_to_18)
{
	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	writes(A, "F", SAT_UPDATE, "p,q>fut,q", "postgres_1@P1", "A F: UPDATE fut,q [A@F]", "fut,q");
	postgres("UPDATE cases SET a = 'pga' WHERE id = '%s'", "postgres_1 F: UPDATE pga,q [postgres_1@F]",
	    "pga,q");
	writes(A, "F+1000", SAT_UPDATE, "fut,q>fut2,q", "A@F",
	    "A F+1000: UPDATE fut2,q [postgres_1@F A@F+1000]", "fut2,q");

	/* 17: only b is of Postgres; the original took a along, so that A's later write of it lost. */
	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	writes(A, "F", SAT_UPDATE, "p,q>fut,q", "postgres_1@P1", "A F: UPDATE fut,q [A@F]", "fut,q");
	postgres("UPDATE cases SET b = 'pgb' WHERE id = '%s'", "postgres_1 F: UPDATE fut,pgb [postgres_1@F]",
	    "fut,pgb");
	writes(
	    B, "F", SAT_UPDATE, "fut,pgb>late,pgb", "postgres_1@F", "B F: UPDATE late,pgb [B@F]", "late,pgb");
}
END_TEST

START_TEST(cases_19_to_21)
{
	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	postgres("UPDATE cases SET a = 'p2' WHERE id = '%s'", "postgres_1 P2: UPDATE p2,q [postgres_1@P2]",
	    "p2,q");
	postgres("DELETE FROM cases WHERE id = '%s'", "postgres_1 P3: DELETE p2,q []", ABSENT);
	writes(A, "F", SAT_UPDATE, "p,q>p,new", "postgres_1@P1", "A F: INSERT p2,new [A@F]", "p2,new");

	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	writes(A, "1000", SAT_DELETE, "p,q", "postgres_1@P1", "A 1000: DELETE p,q []", ABSENT);

	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	postgres("UPDATE cases SET a = 'p2' WHERE id = '%s'", "postgres_1 P2: UPDATE p2,q [postgres_1@P2]",
	    "p2,q");
	writes(A, "F", SAT_DELETE, "p,q", "postgres_1@P1", "A F: UPDATE p2,q [postgres_1@P2]", "p2,q");
}
END_TEST

// ---- deletes of what is not there, and rows that come back

START_TEST(cases_22_to_25)
{
	/* 22, 23: nothing to be seen, and yet an (empty) echo, which the original left out. */
	new_case("cases");
	writes(A, "1000", SAT_INSERT, "x,y", "", "A 1000: INSERT x,y [A@1000]", "x,y");
	writes(A, "2000", SAT_DELETE, "x,y", "A@1000", "A 2000: DELETE x,y []", ABSENT);
	writes(B, "2500", SAT_DELETE, "x,y", "A@1000", NOTHING, ABSENT);
	new_case("cases");
	writes(B, "2500", SAT_DELETE, "x,y", "", NOTHING, ABSENT);

	new_case("cases");
	writes(A, "2000", SAT_INSERT, "x,y", "", "A 2000: INSERT x,y [A@2000]", "x,y");
	writes(A, "3000", SAT_DELETE, "x,y", "A@2000", "A 3000: DELETE x,y []", ABSENT);
	writes(B, "1000", SAT_INSERT, "xB,yB", "", "B 1000: INSERT x,y [B@1000]", "x,y");

	new_case("cases");
	writes(A, "1000", SAT_INSERT, "x,y", "", "A 1000: INSERT x,y [A@1000]", "x,y");
	writes(A, "2000", SAT_DELETE, "x,y", "A@1000", "A 2000: DELETE x,y []", ABSENT);
	writes(A, "3000", SAT_INSERT, "z,~", "", "A 3000: INSERT z,~ [A@3000]", "z,~");
}
END_TEST

START_TEST(case_26)
{
	struct sat_write_op ops[2];
	const char *tag = "A@5000", *own = "A@1000";

	/* a: the original kept the row. */
	new_case("cases");
	ops[0] = (struct sat_write_op){ .kind = SAT_INSERT, .table = table, .row = row_of("x,y") };
	ops[1] = (struct sat_write_op){ .kind = SAT_DELETE, .table = table, .row = row_of("x,y") };
	sat_write(A, 1000, ops, 2);
	await_echo(A, 1000);
	ck_assert_str_eq(next_transaction(observer), "A 1000: INSERT x,y [] DELETE x,y []");
	must_hold(ABSENT);

	/* b */
	new_case("cases");
	ops[0] = (struct sat_write_op){ .kind = SAT_INSERT, .table = table, .row = row_of("x,y") };
	ops[1] = (struct sat_write_op){
		.kind = SAT_DELETE, .table = table, .row = row_of("x,y"), .observed = &own, .n_observed = 1
	};
	sat_write(A, 1000, ops, 2);
	await_echo(A, 1000);
	ck_assert_str_eq(next_transaction(observer), "A 1000: INSERT x,y [] DELETE x,y []");
	must_hold(ABSENT);

	/* c: the original had the tag twice. */
	new_case("cases");
	writes(A, "5000", SAT_INSERT, "x,y", "", "A 5000: INSERT x,y [A@5000]", "x,y");
	ops[0] = (struct sat_write_op){ .kind = SAT_UPDATE,
		.table = table,
		.row = row_of("x2,y"),
		.old = row_of("x,y"),
		.observed = &tag,
		.n_observed = 1 };
	ops[1] = (struct sat_write_op){
		.kind = SAT_UPDATE, .table = table, .row = row_of("x2,y2"), .old = row_of("x2,y")
	};
	sat_write(A, 6000, ops, 2);
	await_echo(A, 6000);
	ck_assert_str_eq(next_transaction(observer), "A 6000: UPDATE x2,y [A@6000] UPDATE x2,y2 [A@6000]");
	must_hold("x2,y2");

	/* d */
	new_case("cases");
	writes(A, "1000", SAT_UPDATE, "x,y>x2,y", "Z@1", "A 1000: INSERT x2,y [A@1000]", "x2,y");
}
END_TEST

// ---- where the original failed

START_TEST(what_the_original_could_not_commit)
{
	/* An UPDATE that changes nothing. */
	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	postgres(
	    "UPDATE cases SET a = a WHERE id = '%s'", "postgres_1 P2: UPDATE p,q [postgres_1@P2]", "p,q");
	/* A row that comes back with nothing but NULLs, or in a table of nothing but a key. */
	postgres("DELETE FROM cases WHERE id = '%s'", "postgres_1 P3: DELETE p,q []", ABSENT);
	postgres("INSERT INTO cases VALUES ('%s')", "postgres_1 P4: INSERT ~,~ [postgres_1@P4]", "~,~");
	new_case("keys");
	postgres("INSERT INTO keys VALUES ('%s')", "postgres_1 P1: INSERT [postgres_1@P1]", "there");
	postgres("DELETE FROM keys WHERE id = '%s'", "postgres_1 P2: DELETE []", ABSENT);
	postgres("INSERT INTO keys VALUES ('%s')", "postgres_1 P3: INSERT [postgres_1@P3]", "there");
	/* A DELETE of a row that a client from the future wrote. */
	new_case("cases");
	writes(A, "F", SAT_INSERT, "x,y", "", "A F: INSERT x,y [A@F]", "x,y");
	postgres("DELETE FROM cases WHERE id = '%s'", "postgres_1 P1: DELETE x,y []", ABSENT);
	/* Many rows in one transaction: each is later than what it overtakes. */
	new_case("cases");
	writes(A, "F", SAT_INSERT, "x,y", "", "A F: INSERT x,y [A@F]", "x,y");
	test_sql(&service,
	    "BEGIN; UPDATE cases SET a = 'p' WHERE id = '%s'; INSERT INTO cases VALUES ('%s b', 'p', 'q'); "
	    "COMMIT",
	    key, key);
	ck_assert_str_eq(
	    next_transaction(observer), "postgres_1 F: UPDATE p,y [postgres_1@F] INSERT p,q [postgres_1@P1]");
	/* A key that changes is a row that goes and one that comes. */
	new_case("cases");
	postgres(
	    "INSERT INTO cases VALUES ('%s', 'p', 'q')", "postgres_1 P1: INSERT p,q [postgres_1@P1]", "p,q");
	postgres("UPDATE cases SET id = id || ' c' WHERE id = '%s'",
	    "postgres_1 P2: DELETE p,q [] INSERT p,q [postgres_1@P2]", ABSENT);
	writes(A, "1000", SAT_UPDATE, "p,q>p,qA", "postgres_1@P1", "A 1000: INSERT p,q [A@1000]", "p,q");
}
END_TEST

START_TEST(rows_from_before_take_part)
{
	const char *tags[8];
	struct sat_write_op op = { .kind = SAT_UPDATE, .observed = tags };

	new_case("cases");
	key = "old1";
	writes(A, "1000", SAT_UPDATE, "before,~>after,~", "postgres_1@0", "A 1000: UPDATE after,~ [A@1000]",
	    "after,~");

	/* A compensation has the key only: it brings the row back as it was. */
	new_case("cases");
	key = "old2";
	postgres("DELETE FROM cases WHERE id = '%s'", "postgres_1 P1: DELETE before,~ []", ABSENT);
	op.table = table;
	op.row = (const char *const[]){ key, NULL, NULL };
	op.n_observed = tags_of("postgres_1@0", tags);
	sat_write(A, 1000, &op, 1);
	await_echo(A, 1000);
	ck_assert_str_eq(next_transaction(observer), "A 1000: INSERT before,~ [A@1000]");
	must_hold("before,~");
}
END_TEST

START_TEST(any_name_works)
{
	const char *const row[] = { "a key", "a value", "é" };
	struct sat_write_op op = { .kind = SAT_INSERT, .row = row };

	for (size_t i = 0; i < N_ODD; i++) {
		const struct sat_relation *r = sat_relation_named(observer, odd_tables[i]);

		ck_assert_ptr_nonnull(r);
		for (size_t c = 0; c < 3; c++)
			ck_assert_str_eq(r->columns[c], odd_columns[c]);
		op.table = odd_tables[i];
		sat_write(A, 1000, &op, 1);
		await_echo(A, 1000);
		ck_assert_str_eq(next_transaction(observer), "A 1000: INSERT a value,é [A@1000]");
		test_sql(&service,
		    "DO $$ BEGIN EXECUTE format('UPDATE %%I SET %%I = $b$another$b$ WHERE %%I = $b$a "
		    "key$b$', "
		    "$a$%s$a$, $a$%s$a$, $a$%s$a$); END $$",
		    odd_tables[i], odd_columns[1], odd_columns[0]);
		n_postgres_times = 0;
		ck_assert_str_eq(
		    next_transaction(observer), "postgres_1 P1: UPDATE another,é [postgres_1@P1]");
	}
}
END_TEST

/* A client that has not heard of a column neither changes it nor keeps it from its default. */
START_TEST(an_older_schema_goes_on)
{
	struct sat_client *c = client("ancient", false);
	const char *const first[] = { "first", "x" }, *const changed[] = { "first", "y" },
			  *const next[] = { "next", "z" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "aged", .row = first };
	struct sat_relation *r = (struct sat_relation *)(uintptr_t)sat_relation_named(c, "aged"), old = *r;

	sat_write(c, 1000, &op, 1);
	test_sql_await(&service, "1", "SELECT count(*) FROM aged");
	test_sql(&service, "ALTER TABLE aged ADD COLUMN n text DEFAULT 'default'");
	test_sql(&service, "UPDATE aged SET n = 'set'");
	do
		sat_message_free(sat_await(c, SAT_RELATION));
	while ((r = (struct sat_relation *)(uintptr_t)sat_relation_named(c, "aged"))->n == old.n);
	*r = old;

	op = (struct sat_write_op){ .kind = SAT_UPDATE, .table = "aged", .row = changed, .old = first };
	sat_write(c, 2000, &op, 1);
	test_sql_await(&service, "yset", "SELECT a || n FROM aged WHERE id = 'first'");
	op = (struct sat_write_op){ .kind = SAT_INSERT, .table = "aged", .row = next };
	sat_write(c, 3000, &op, 1);
	test_sql_await(&service, "zdefault", "SELECT a || n FROM aged WHERE id = 'next'");
	sat_free(c);
}
END_TEST

START_TEST(a_time_that_cannot_be_is_refused)
{
	const char *const row[] = { "never", "x", "y" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "cases", .row = row };
	/* The end of what Postgres' timestamps can say, and beyond. */
	const uint64_t last = 9224318015999999, never[] = { last + 1, INT64_MAX, UINT64_MAX };
	struct sat_client *c;

	for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
		c = client("timeless", false);
		sat_write(c, never[i], &op, 1);
		sat_message_free(sat_await(c, SAT_ERROR_RESP));
		sat_await_close(c);
		sat_free(c);
	}
	ck_assert_str_eq(test_sql(&service, "SELECT count(*) FROM cases WHERE id = 'never'"), "0");

	new_case("cases");
	sat_write(
	    A, last, &(struct sat_write_op){ .kind = SAT_INSERT, .table = table, .row = row_of("x,y") }, 1);
	await_echo(A, last);
	sat_message_free(sat_await(observer, SAT_OP_LOG));
	/* Postgres can still be later, which is of the same ms. */
	test_sql(&service, "UPDATE cases SET a = 'p' WHERE id = '%s'", key);
	sat_message_free(sat_await(observer, SAT_OP_LOG));
	must_hold("p,y");
	ck_assert_str_eq(test_sql(&service,
			     "SELECT (_tags[1]).ms FROM electric.shadow__public__cases WHERE k1 = '%s'", key),
	    "9224318015999999");
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { cases_1_to_5, cases_6_to_8, cases_9_to_13, cases_14_and_15,
		cases_16_to_18, cases_19_to_21, cases_22_to_25, case_26, what_the_original_could_not_commit,
		rows_from_before_take_part, any_name_works, an_older_schema_goes_on,
		a_time_that_cannot_be_is_refused };

	return suite_run(
	    &(struct suite_tests){ "cases", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
