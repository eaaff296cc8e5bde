/*
 * The log under bad luck: what it no longer holds is never taken for something that it holds, a full disk
 * stops acknowledgements and nothing else, damage is found and named, Postgres' WAL is let go, and a
 * transaction may be longer than memory. On the whole service with a real Postgres.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define SUBSCRIPTION "11111111-1111-4111-8111-111111111111"

static struct test_service service;
static unsigned long rows; /* of the last delivery */

/* A service with a table `items`; more variables for leyden, more settings for Postgres (NULL: none). */
static void
begin(const char *variable, const char *settings)
{
	service = (struct test_service){ .env = { "AUTH_MODE=insecure", variable, NULL } };
	test_postgres_start(&service, settings != NULL ? settings : "fsync=off");
	test_leyden_start(&service);
	test_sql(&service, "CREATE TABLE items (id text PRIMARY KEY, value text);"
			   "SELECT electric.migration_version('1'); CALL electric.electrify('items')");
}

static void
end(void)
{
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ck_assert(!test_log_has(&service, "runtime error"));
	ck_assert(!test_log_has(&service, "Sanitizer"));
	test_service_end(&service);
}

static void
insert(const char *id)
{
	test_sql(&service, "INSERT INTO items VALUES ('%s', 'text of %s')", id, id);
}

// ---- clients

static void
count_row(struct sat_client *c, const SatOpInsert *row)
{
	(void)c;
	(void)row;
	rows++;
}

/* A client that begins afresh and subscribes to items. */
static struct sat_client *
subscriber(const char *id)
{
	struct sat_client *c = sat_begin(service.port, id, "ann");

	sat_message_free(sat_await(c, SAT_RELATION));
	rows = 0;
	sat_subscribe(c, SUBSCRIPTION, (const char *[]){ "items" }, 1, count_row);
	return c;
}

/* The same client on a new connection, authenticated, at the position of the old one. */
static struct sat_client *
come_back(struct sat_client *c)
{
	struct sat_client *again;

	sat_close(c);
	again = sat_connect(service.port, c->id);
	strcpy(again->server_lsn, c->server_lsn);
	sat_login(again, "ann");
	sat_free(c);
	return again;
}

static struct sat_client *
resume(struct sat_client *c)
{
	char *ids[] = { (char *)(uintptr_t)SUBSCRIPTION };
	struct sat_client *again = come_back(c);

	sat_start(again, ids, 1);
	return again;
}

/* A gateway that has yet to hear of a new life lets clients in, and goes on to send them away. */
static void
await_life_everywhere(void)
{
	test_shell_await("3",
	    "for tool in log-store 'ws-gateway --number 1' 'ws-gateway --number 2'; do " TEST_BIN
	    "/$tool --run-dir %s/run --status --json | grep -o '\"life\":[0-9]*'; done | sort | uniq -c | "
	    "awk '{ print $1 }'",
	    service.dir);
}

/* Its position is no longer known; afresh, it has everything. */
static void
must_begin_anew(struct sat_client *c, unsigned long expected)
{
	SatInStartReplicationReq start = SAT_IN_START_REPLICATION_REQ__INIT;
	char *ids[] = { (char *)(uintptr_t)SUBSCRIPTION }, id[64];
	struct sat_client *again;
	struct sat_message *m;

	await_life_everywhere();
	again = come_back(c);
	start.lsn =
	    (ProtobufCBinaryData){ strlen(again->server_lsn), (uint8_t *)(uintptr_t)again->server_lsn };
	start.subscription_ids = ids;
	start.n_subscription_ids = 1;
	sat_send(again, SAT_START_REQ, &start.base);
	m = sat_await(again, SAT_START_RESP);
	ck_assert_ptr_nonnull(((const SatInStartReplicationResp *)m->body)->err);
	ck_assert_int_eq(((const SatInStartReplicationResp *)m->body)->err->code,
	    SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__BEHIND_WINDOW);
	sat_message_free(m);
	sat_await_close(again);
	snprintf(id, sizeof id, "%s", again->id);
	sat_free(again);
	again = subscriber(id);
	ck_assert_uint_eq(rows, expected);
	insert("afterwards");
	sat_message_free(sat_await(again, SAT_OP_LOG));
	sat_free(again);
}

/* The next transaction inserts this row. */
static void
await_insert(struct sat_client *c, const char *id)
{
	struct sat_message *m = sat_await(c, SAT_OP_LOG);
	const SatOpLog *log = (const SatOpLog *)m->body;

	ck_assert_uint_eq(log->n_ops, 3);
	ck_assert_int_eq(log->ops[1]->op_case, SAT_TRANS_OP__OP_INSERT);
	ck_assert_str_eq(sat_value(sat_relation_named(c, "items"), log->ops[1]->insert->row_data, "id"), id);
	sat_message_free(m);
}

static const char *
first_kept(void)
{
	return test_shell(
	    "curl -s http://127.0.0.1:%u/metrics | sed -n 's/^leyden_log_first_position //p'", service.http);
}

// ---- what is kept

static void
is_trimmed(const char *limit)
{
	struct sat_client *old, *new;

	begin(limit, NULL);
	old = subscriber("old");
	sat_close(old);
	for (int i = 0; i < 20; i++)
		test_sql(&service,
		    "INSERT INTO items SELECT '%d-' || i, repeat('x', 1000)"
		    " FROM generate_series(1, 10) AS i",
		    i);
	new = subscriber("new");
	insert("seen by the new one");
	await_insert(new, "seen by the new one");
	for (int i = 0; atoi(first_kept()) < 20; i++)
		ck_assert_int_lt(i, 1000);
	/* One that is not behind resumes, one that is begins anew. */
	new = resume(new);
	insert("and this");
	await_insert(new, "and this");
	sat_free(new);
	must_begin_anew(old, 202);
	end();
}

START_TEST(the_log_is_trimmed_by_size)
{
	is_trimmed("LOG_STORE_KEEP_BYTES=20k");
}
END_TEST

START_TEST(the_log_is_trimmed_by_age)
{
	is_trimmed("LOG_STORE_KEEP_AGE=1");
}
END_TEST

// ---- what the log is not

START_TEST(a_deleted_file_is_another_log)
{
	struct sat_client *c;

	begin(NULL, NULL);
	insert("a");
	c = subscriber("c");
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_shell("rm %s/log", service.dir);
	insert("b");
	test_leyden_start(&service);
	ck_assert(test_log_has(&service, "the log is new"));
	must_begin_anew(c, 2);
	end();
}
END_TEST

START_TEST(a_restored_file_is_another_log)
{
	const char *const row[] = { "by client", "text" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = row };
	struct sat_client *c;

	begin(NULL, NULL);
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_shell("cp %s/log %s/backup", service.dir, service.dir);
	test_leyden_start(&service);
	c = subscriber("c");
	sat_write(c, 1686009600000, &op, 1);
	sat_message_free(sat_await(c, SAT_PING_RESP));
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_shell("cp %s/backup %s/log", service.dir, service.dir);
	test_leyden_start(&service);
	ck_assert(test_log_has(&service, "the log is older than what was confirmed to Postgres"));
	must_begin_anew(c, 1);
	/* What clients write now is not taken for what Postgres had applied. */
	c = subscriber("d");
	op.row = (const char *const[]){ "after the restoration", "text" };
	sat_write(c, 1686009600001, &op, 1);
	sat_message_free(sat_await(c, SAT_PING_RESP));
	ck_assert_str_eq(
	    test_sql(&service, "SELECT value FROM items WHERE id = 'after the restoration'"), "text");
	sat_free(c);
	end();
}
END_TEST

START_TEST(a_restored_postgres_begins_another_log)
{
	struct sat_client *c;

	begin(NULL, NULL);
	insert("before");
	c = subscriber("c");
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_postgres_stop(&service, "fast");
	test_shell("cp -a %s/pg/data %s/pg/backup", service.dir, service.dir);
	test_postgres_again(&service);
	test_leyden_start(&service);
	c = resume(c);
	insert("lost by the restoration");
	await_insert(c, "lost by the restoration");
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_postgres_stop(&service, "fast");
	test_shell("rm -r %s/pg/data && mv %s/pg/backup %s/pg/data", service.dir, service.dir, service.dir);
	test_postgres_again(&service);
	test_leyden_start(&service);
	ck_assert(test_log_has(&service, "Postgres is older than the log"));
	must_begin_anew(c, 1);
	end();
}
END_TEST

START_TEST(a_dropped_slot_begins_another_log)
{
	struct sat_client *c;

	begin(NULL, NULL);
	c = subscriber("c");
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_sql(&service, "SELECT pg_drop_replication_slot('electric_replication_out')");
	insert("unseen");
	test_leyden_start(&service);
	ck_assert(test_log_has(&service, "the replication slot is gone"));
	must_begin_anew(c, 1);
	end();
}
END_TEST

START_TEST(a_lost_slot_begins_another_log)
{
	struct sat_client *c;

	begin(NULL, "fsync=off max_slot_wal_keep_size=1MB min_wal_size=32MB max_wal_size=32MB");
	c = subscriber("c");
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	insert("unseen");
	for (int i = 0; i < 8; i++)
		test_sql(&service, "SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS other (a int);"
				   "INSERT INTO other VALUES (1); CHECKPOINT");
	ck_assert_str_eq(test_sql(&service, "SELECT wal_status FROM pg_replication_slots"), "lost");
	test_leyden_start(&service);
	ck_assert(test_log_has(&service, "slot-lost"));
	must_begin_anew(c, 1);
	end();
}
END_TEST

// ---- the file

START_TEST(a_full_disk_stops_acknowledgements_only)
{
	const char *const row[] = { "by client", "text" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = row };
	struct rlimit limit = { 0, RLIM_INFINITY };
	struct sat_client *c, *reader;
	char path[300];
	struct stat st;
	pid_t pid;

	begin(NULL, NULL);
	c = subscriber("c");
	reader = subscriber("reader");
	sat_close(reader);
	insert("before");
	await_insert(c, "before");
	/* The file may not grow: every page that it has free is soon taken. */
	snprintf(path, sizeof path, "%s/log", service.dir);
	ck_assert_int_eq(stat(path, &st), 0);
	limit.rlim_cur = (rlim_t)st.st_size;
	pid = test_tool_kill(&service, "log-store", 0);
	ck_assert_int_eq(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), 0);
	test_sql(&service, "INSERT INTO items SELECT 'many ' || i, repeat('x', 100000)"
			   " FROM generate_series(1, 30) AS i");
	test_log_await(&service, "log-not-writable");
	sat_write(c, 1686009600000, &op, 1);
	test_shell_await(
	    "503", "curl -s -o /dev/null -w '%%{http_code}\\n' http://127.0.0.1:%u/readyz", service.http);
	test_shell_await("  writable: false",
	    "LEYDEN_RUN_DIR=%s/run " TEST_BIN
	    "/log-store --status | grep -o ' *writable: .*' | sed 's/^ */  /'",
	    service.dir);
	/* Those who read, read on. */
	reader = resume(reader);
	await_insert(reader, "before");
	ck_assert_str_eq(test_sql(&service, "SELECT count(*) FROM items WHERE id = 'by client'"), "0");
	ck_assert_ptr_null(c->first); /* no acknowledgement */
	/* Room again: all of it comes, without a restart. */
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), 0);
	sat_message_free(sat_await(c, SAT_PING_RESP));
	ck_assert_str_eq(test_sql(&service, "SELECT value FROM items WHERE id = 'by client'"), "text");
	test_log_await(&service, "log-writable-again");
	sat_message_free(sat_await(reader, SAT_OP_LOG));
	ck_assert_int_eq(test_tool_kill(&service, "log-store", 0), pid);
	sat_free(c);
	sat_free(reader);
	end();
}
END_TEST

/* Overwrites every place in the file that holds this text: some may be of pages that are free. */
static void
damage(const char *text)
{
	char path[300], *bytes, *at;
	size_t n = strlen(text);
	struct stat st;
	int fd;

	snprintf(path, sizeof path, "%s/log", service.dir);
	fd = open(path, O_RDWR);
	ck_assert_int_eq(fstat(fd, &st), 0);
	bytes = malloc((size_t)st.st_size);
	ck_assert_int_eq(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	at = bytes;
	while ((at = memmem(at, (size_t)(bytes + st.st_size - at), text, n)) != NULL) {
		ck_assert_int_eq(pwrite(fd, "X", 1, at - bytes), 1);
		at += n;
	}
	free(bytes);
	close(fd);
}

START_TEST(a_damaged_record_is_named_and_never_sent)
{
	struct sat_client *behind, *ahead;

	begin(NULL, NULL);
	behind = subscriber("behind");
	sat_close(behind);
	insert("whole");
	insert("damaged");
	ahead = subscriber("ahead");
	insert("last");
	await_insert(ahead, "last");
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_shell(TEST_BIN "/log-store --check --file %s/log", service.dir);
	damage("text of damaged");
	ck_assert_str_eq(test_shell(TEST_BIN "/log-store --check --file %s/log | head -n 1", service.dir),
	    "transaction 3: damaged");
	ck_assert_str_eq(
	    test_shell(TEST_BIN "/log-store --check --file %s/log >/dev/null; echo $?", service.dir), "65");
	test_leyden_start(&service);
	/* Nobody is brought past it; who has passed it goes on. */
	behind = resume(behind);
	await_insert(behind, "whole");
	sat_message_free(sat_await(behind, SAT_ERROR_RESP));
	sat_await_close(behind);
	ck_assert(test_log_has(&service, "record-damaged position=3"));
	must_begin_anew(behind, 3);
	ahead = resume(ahead);
	await_insert(ahead, "afterwards");
	sat_free(ahead);
	end();
}
END_TEST

// ---- WAL

START_TEST(wal_is_let_go)
{
	const char *held = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) < 1000000"
			   " FROM pg_replication_slots";
	struct sat_client *stalled;

	begin(NULL, NULL);
	test_sql(&service, "CREATE TABLE other (a text)");
	test_sql(&service,
	    "INSERT INTO other SELECT repeat(md5(i::text), 10) FROM generate_series(1, 50000) AS i");
	test_sql_await(&service, "t", "%s", held);
	/* One that reads nothing holds nothing. */
	stalled = subscriber("stalled");
	ev_io_stop(EV_DEFAULT, &stalled->io);
	for (int i = 0; i < 5; i++)
		test_sql(&service,
		    "INSERT INTO items SELECT '%d ' || i, repeat(md5(i::text), 100)"
		    " FROM generate_series(1, 2000) AS i",
		    i);
	test_sql_await(&service, "t", "%s", held);
	sat_free(stalled);
	end();
}
END_TEST

// ---- long transactions

/* Counts the inserts of one transaction, which comes in many messages. */
static unsigned long
count_inserts(struct sat_client *c)
{
	unsigned long n = 0;
	bool over = false;

	while (!over) {
		struct sat_message *m = sat_await(c, SAT_OP_LOG);
		const SatOpLog *log = (const SatOpLog *)m->body;

		for (size_t i = 0; i < log->n_ops; i++) {
			n += log->ops[i]->op_case == SAT_TRANS_OP__OP_INSERT;
			over |= log->ops[i]->op_case == SAT_TRANS_OP__OP_COMMIT;
		}
		sat_message_free(m);
	}
	return n;
}

START_TEST(a_transaction_longer_than_memory_arrives)
{
	struct sat_client *c;

	begin(NULL, NULL);
	c = subscriber("c");
	test_sql(
	    &service, "INSERT INTO items SELECT i, repeat('x', 300) FROM generate_series(1, 60000) AS i");
	ck_assert_uint_eq(count_inserts(c), 60000);
	insert("next");
	await_insert(c, "next");
	sat_free(c);
	end();
}
END_TEST

START_TEST(a_transaction_beyond_the_limit_begins_another_log)
{
	struct sat_client *c;

	begin("PG_INGEST_MAX_TRANSACTION=4M", NULL);
	c = subscriber("c");
	test_sql(
	    &service, "INSERT INTO items SELECT i, repeat('x', 300) FROM generate_series(1, 20000) AS i");
	test_log_await(&service, "transaction-too-long");
	test_log_await(&service, "log-life-began");
	sat_await_close(c);
	must_begin_anew(c, 20000);
	end();
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { the_log_is_trimmed_by_size, the_log_is_trimmed_by_age,
		a_deleted_file_is_another_log, a_restored_file_is_another_log,
		a_restored_postgres_begins_another_log, a_dropped_slot_begins_another_log,
		a_lost_slot_begins_another_log, a_full_disk_stops_acknowledgements_only,
		a_damaged_record_is_named_and_never_sent, wal_is_let_go,
		a_transaction_longer_than_memory_arrives, a_transaction_beyond_the_limit_begins_another_log };

	return suite_run(
	    &(struct suite_tests){ "log", tests, sizeof tests / sizeof *tests, NULL, NULL }, argc, argv);
}
