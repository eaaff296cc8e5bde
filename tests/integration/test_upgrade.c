/*
 * One version after another: what an older one has left is brought up to date where it is, what a newer one
 * has left is refused and not touched; and gateways are replaced one by one under clients that go on.
 */
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define SUBSCRIPTION "11111111-1111-4111-8111-111111111111"
#define CLIENTS	     12
#define ROUNDS	     2 /* of replacing every gateway */

static struct test_service service;

static void
begin(void)
{
	service = (struct test_service){ .env = { "AUTH_MODE=insecure", "WEBSOCKET_GATEWAYS=3", NULL } };
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	test_sql(&service, "CREATE TABLE items (id text PRIMARY KEY, value text);"
			   "SELECT electric.migration_version('1'); CALL electric.electrify('items')");
	test_schema_await(&service);
}

static void
end(void)
{
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ck_assert(!test_log_has(&service, "Sanitizer"));
	test_service_end(&service);
}

static struct sat_client *
subscriber(const char *id)
{
	const char *const items[] = { "items" };
	struct sat_client *c = sat_begin(service.port, id, "ann");

	sat_subscribe(c, SUBSCRIPTION, items, 1, NULL);
	return c;
}

/* Comes back to where it was. */
static void
resume(struct sat_client *c)
{
	char *subscription = (char *)(uintptr_t)SUBSCRIPTION;

	for (int i = 0; !sat_reopen(c, service.port); i++)
		ck_assert_int_lt(i, 1000);
	sat_login(c, "ann");
	sat_start(c, &subscription, 1);
}

/* The next transaction inserts this row. */
static void
await_insert(struct sat_client *c, const char *id)
{
	struct sat_message *m = sat_await(c, SAT_OP_LOG);
	const SatOpLog *log = (const SatOpLog *)m->body;

	ck_assert_uint_eq(log->n_ops, 3);
	ck_assert_str_eq(sat_value(sat_relation_named(c, "items"), log->ops[1]->insert->row_data, "id"), id);
	sat_message_free(m);
}

// ---- the log's file

/* Looks at, or sets (unless it is 0), the format that the file says it has. */
static uint64_t
format(const char *path, uint64_t set)
{
	MDB_val key = { strlen("format"), (void *)(uintptr_t) "format" }, value;
	uint8_t bytes[8];
	uint64_t was;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi meta;

	ck_assert_int_eq(mdb_env_create(&env), 0);
	ck_assert_int_eq(mdb_env_set_maxdbs(env, 16), 0);
	ck_assert_int_eq(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
	ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
	ck_assert_int_eq(mdb_dbi_open(txn, "meta", 0, &meta), 0);
	ck_assert_int_eq(mdb_get(txn, meta, &key, &value), 0);
	was = be64_get(value.mv_data);
	if (set != 0) {
		be64_set(bytes, set);
		value = (MDB_val){ sizeof bytes, bytes };
		ck_assert_int_eq(mdb_put(txn, meta, &key, &value, 0), 0);
	}
	ck_assert_int_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	return was;
}

static const char *
log_path(void)
{
	static char path[300];

	snprintf(path, sizeof path, "%s/log", service.dir);
	return path;
}

START_TEST(a_newer_file_is_refused)
{
	uint64_t ours;

	begin();
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ours = format(log_path(), 99);
	test_shell("cp %s %s.before; : >%s/service.log", log_path(), log_path(), service.dir);
	ck_assert_int_eq(test_leyden_run(&service), 78);
	ck_assert_str_eq(test_shell("grep -c ' error ' %s/service.log", service.dir), "1");
	ck_assert(test_log_has(&service, "error log-store log-too-new variable=OFFSET_STORAGE_FILE path="));
	ck_assert(test_log_has(&service, " format=99 ours="));
	ck_assert(!test_log_has(&service, "tool-start"));
	/* Nor is it read by hand; and nothing in it was touched. */
	ck_assert_str_eq(
	    test_shell(TEST_BIN "/log-store --dump --file %s 2>/dev/null; echo $?", log_path()), "78");
	ck_assert_str_eq(
	    test_shell(TEST_BIN "/log-store --check --file %s 2>/dev/null; echo $?", log_path()), "78");
	test_shell("cmp %s %s.before", log_path(), log_path());
	format(log_path(), ours);
	test_leyden_start(&service);
	end();
}
END_TEST

START_TEST(an_older_file_is_brought_up_to_date)
{
	struct sat_client *c;
	uint64_t ours;

	begin();
	c = subscriber("c");
	test_sql(&service, "INSERT INTO items VALUES ('before')");
	await_insert(c, "before");
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ours = format(log_path(), 1);
	sat_close(c);
	test_sql(&service, "INSERT INTO items VALUES ('meanwhile')");
	test_leyden_start(&service);
	test_log_await(&service, "log-upgraded");
	resume(c);
	await_insert(c, "meanwhile");
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	ck_assert_uint_eq(format(log_path(), 0), ours);
	sat_free(c);
	test_leyden_start(&service);
	end();
}
END_TEST

/* A log-store by itself on the file dir/log, once it is ready. */
static pid_t
serve(const char *dir, const char *keep_age)
{
	char run[64], file[64];
	pid_t pid = fork();

	snprintf(run, sizeof run, "%s/run", dir);
	snprintf(file, sizeof file, "%s/log", dir);
	if (pid == 0) {
		execl(TEST_BIN "/log-store", "log-store", "--log-level", "error", "--run-dir", run, "--file",
		    file, "--keep-age", keep_age, (char *)NULL);
		_exit(127);
	}
	test_shell_await("ready: true", TEST_BIN "/log-store --run-dir %s --status | grep ^ready", run);
	return pid;
}

static void
end_serving(pid_t pid)
{
	int status;

	kill(pid, SIGTERM);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

/*
 * A file that the first version wrote, its records stamped in seconds (of the year 2020). It is read as it
 * is, is of today's format once it has been served, and is trimmed by age.
 */
START_TEST(a_file_of_the_first_format_is_read)
{
	char path[64], dir[] = "/tmp/leyden-test-XXXXXX";
	pid_t pid;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/log", dir);
	test_shell("xz -dc tests/integration/upgrade/log-format-1.xz >%s", path);
	ck_assert_uint_eq(format(path, 0), 1);
	for (int i = 0; i < 2; i++) {
		test_shell(TEST_BIN "/log-store --check --file %s >/dev/null", path);
		test_shell(TEST_BIN
		    "/log-store --dump --file %s | cmp - tests/integration/upgrade/log-format-1.txt",
		    path);
		pid = serve(dir, "10000d");
		end_serving(pid);
		ck_assert_uint_ge(format(path, 0), 2);
	}
	pid = serve(dir, "1");
	test_shell_await(
	    "1", TEST_BIN "/log-store --dump --file %s | grep -c begin", path); /* the last one stays */
	end_serving(pid);
	test_shell("rm -r %s", dir);
}
END_TEST

// ---- the schema in Postgres

START_TEST(a_newer_schema_is_refused)
{
	begin();
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_sql(&service,
	    "INSERT INTO electric.schema_version (version) VALUES (99);"
	    "CREATE OR REPLACE FUNCTION electric.migration_version(v text, OUT txid xid8, OUT txts "
	    "timestamptz,"
	    " OUT version text) LANGUAGE sql AS $$ SELECT NULL::xid8, NULL::timestamptz, 'of tomorrow' $$");
	test_shell(": >%s/service.log", service.dir);
	ck_assert_int_eq(test_leyden_run(&service), 78);
	ck_assert_str_eq(test_shell("grep -c ' error ' %s/service.log", service.dir), "1");
	ck_assert_str_eq(
	    test_shell(
		"sed -n 's/.* error \\(pg-ingest-1 .* version 99 \\).*/\\1/p' %s/service.log", service.dir),
	    "pg-ingest-1 configuration variable=DATABASE_URL error=\"a newer service has installed version "
	    "99 ");
	/* What is there is as it was. */
	ck_assert_str_eq(
	    test_sql(&service, "SELECT version FROM electric.migration_version('2')"), "of tomorrow");
	test_sql(&service, "DELETE FROM electric.schema_version WHERE version = 99");
	test_leyden_start(&service);
	ck_assert_str_eq(test_sql(&service, "SELECT version FROM electric.migration_version('2')"), "2");
	end();
}
END_TEST

START_TEST(an_older_schema_is_brought_up_to_date)
{
	const char *const row[] = { "by client", "text" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = row };
	char newest[16];
	struct sat_client *c;

	begin();
	c = subscriber("c");
	snprintf(newest, sizeof newest, "%s",
	    test_sql(&service, "SELECT max(version) FROM electric.schema_version"));
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	sat_close(c);
	/* As one has left it that made the code of tables in another way. */
	test_sql(&service, "UPDATE electric.schema_version SET version = 1");
	test_sql(&service, "DO $$ BEGIN EXECUTE format('DROP FUNCTION electric.apply_all_%%s', "
			   "'items'::regclass::oid); END $$");
	test_leyden_start(&service);
	ck_assert_str_eq(test_sql(&service, "SELECT max(version) FROM electric.schema_version"), newest);
	resume(c);
	sat_write(c, 1686009600000, &op, 1);
	sat_message_free(sat_await(c, SAT_PING_RESP));
	ck_assert_str_eq(test_sql(&service, "SELECT value FROM items WHERE id = 'by client'"), "text");
	sat_free(c);
	end();
}
END_TEST

/* Its locks are in nobody's way, and nobody's in its. */
START_TEST(a_start_waits_for_no_migration)
{
	PGconn *migration;

	begin();
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	migration = PQconnectdb(service.url);
	PQclear(PQexec(migration,
	    "BEGIN; SET client_min_messages = warning; SELECT electric.migration_version('2');"
	    "CREATE TABLE more (id text PRIMARY KEY); CALL electric.electrify('more')"));
	ck_assert_int_eq(PQtransactionStatus(migration), PQTRANS_INTRANS);
	test_leyden_start(&service);
	PQclear(PQexec(migration, "COMMIT"));
	PQfinish(migration);
	test_schema_await(&service);
	test_sql_await(&service, "2", "SELECT count(*) FROM electric.electrified");
	end();
}
END_TEST

// ---- gateways

/* What a client has got, by the numbers of the rows. */
struct seen {
	unsigned next;
};

static void
count_rows(struct sat_client *c, const SatOpLog *log)
{
	struct seen *seen = c->data;

	for (size_t i = 0; i < log->n_ops; i++) {
		if (log->ops[i]->op_case != SAT_TRANS_OP__OP_INSERT)
			continue;
		/* Each row once, in order: none lost, none twice. */
		ck_assert_uint_eq((unsigned)atoi(sat_value(
				      sat_relation_named(c, "items"), log->ops[i]->insert->row_data, "id")),
		    seen->next);
		seen->next++;
	}
}

/* Reads on until it has row n - 1, coming back whenever its gateway goes. */
static void
read_on(struct sat_client *c, unsigned n)
{
	struct seen *seen = c->data;

	while (seen->next < n) {
		struct sat_message *m = sat_next(c);

		if (m == NULL) {
			sat_close(c);
			resume(c);
			continue;
		}
		if (m->code == SAT_OP_LOG)
			count_rows(c, (const SatOpLog *)m->body);
		sat_message_free(m);
	}
}

/* The pid of a gateway as leyden tells it, once it is ready. */
static const char *
gateway(int number)
{
	return test_shell("LEYDEN_RUN_DIR=%s/run " TEST_BIN
			  "/leyden --status --json | python3 -c 'import json, sys;"
			  "t = {t[\"name\"]: t for t in json.load(sys.stdin)[\"tools\"]}[\"ws-gateway-%d\"];"
			  "print(t[\"pid\"] if t[\"state\"] == \"ready\" else 0)'",
	    service.dir, number);
}

static void
replace(int number, int sig)
{
	pid_t pid = atoi(gateway(number)), now = 0;

	ck_assert_int_gt(pid, 0);
	kill(pid, sig);
	for (int i = 0; now == 0 || now == pid; i++) {
		now = atoi(gateway(number));
		ck_assert_int_lt(i, 1000);
	}
}

START_TEST(gateways_are_replaced_one_by_one)
{
	struct sat_client *all[CLIENTS];
	struct seen seen[CLIENTS] = { 0 };
	char id[16];
	unsigned n = 0;

	begin();
	for (int i = 0; i < CLIENTS; i++) {
		snprintf(id, sizeof id, "c%d", i);
		all[i] = subscriber(id);
		all[i]->data = &seen[i];
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (int number = 1; number <= 3; number++) {
			test_sql(&service, "INSERT INTO items SELECT i FROM generate_series(%u, %u) AS i", n,
			    n + 9);
			n += 10;
			replace(number, round == 1 ? SIGKILL : SIGTERM);
			test_sql(&service, "INSERT INTO items VALUES (%u)", n++);
			for (int i = 0; i < CLIENTS; i++)
				read_on(all[i], n);
		}
	}
	/* Nobody was told to begin anew; the service has been there all the time. */
	ck_assert(!test_log_has(&service, "Cannot catch up"));
	ck_assert_str_eq(test_shell("LEYDEN_RUN_DIR=%s/run " TEST_BIN
				    "/leyden --status --json | python3 -c 'import json, sys;"
				    "print([t[\"restarts\"] for t in json.load(sys.stdin)[\"tools\"] if "
				    "\"gateway\" in t[\"name\"]])'",
			     service.dir),
	    "[2, 2, 2]");
	for (int i = 0; i < CLIENTS; i++)
		sat_free(all[i]);
	end();
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { a_newer_file_is_refused, an_older_file_is_brought_up_to_date,
		a_file_of_the_first_format_is_read, a_newer_schema_is_refused,
		an_older_schema_is_brought_up_to_date, a_start_waits_for_no_migration,
		gateways_are_replaced_one_by_one };

	return suite_run(
	    &(struct suite_tests){ "upgrade", tests, sizeof tests / sizeof *tests, NULL, NULL }, argc, argv);
}
