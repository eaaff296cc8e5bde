/*
 * A throwaway Postgres and the whole service on it, for tests, benchmarks and chaos. Everything lives in one
 * new directory under TMPDIR, listens on loopback at free ports, and goes when the test ends.
 */
#ifndef TESTS_TESTBED_H
#define TESTS_TESTBED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <libpq-fe.h>

struct test_service {
	char dir[256]; /* everything of this test */
	char url[512]; /* of Postgres */
	unsigned port; /* websocket */
	unsigned http;
	pid_t pid;	     /* of leyden; 0: it does not run */
	const char *env[16]; /* more variables for leyden, NAME=VALUE, ended by NULL */
};

/* TEST_WRITE_MODE=logical_replication: the service is one to which Postgres subscribes. */
bool test_is_logical(void);
/* Makes the directory and starts Postgres; `options` are more settings for it ("wal_level=replica"), or NULL.
 */
void test_postgres_start(struct test_service *s, const char *options);
void test_postgres_stop(struct test_service *s, const char *mode); /* "fast" or "immediate" */
void test_postgres_again(struct test_service *s);
/* Starts leyden and awaits its ready line. */
void test_leyden_start(struct test_service *s);
/* Starts it, and awaits nothing. */
void test_leyden_begin(struct test_service *s);
/* Starts it and awaits its end: the exit code. */
int test_leyden_run(struct test_service *s);
/* SIGTERM, and awaits its end: the exit code. */
int test_leyden_stop(struct test_service *s);
/* The pid of the nth (from 0) running process of a tool ("ws-gateway"; NULL: any); 0: there is none. */
pid_t test_tool_pid(const struct test_service *s, const char *tool, unsigned nth);
/* Sends a signal to a tool ("ws-gateway") of the running service; the pid that had it. */
pid_t test_tool_kill(struct test_service *s, const char *tool, int signal);
/* Does a line of the service's log hold this text? */
bool test_log_has(const struct test_service *s, const char *text);
/* Awaits it. */
void test_log_await(const struct test_service *s, const char *text);
/* Awaits that every gateway knows all migrations of Postgres: clients may ask for the tables. */
void test_schema_await(const struct test_service *s);
/* Ends and removes everything. */
void test_service_end(struct test_service *s);

/* Runs a command of the shell; the first line of its output: static. Ends the test when it fails. */
const char *test_shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Awaits that the command's first line is this. */
void test_shell_await(const char *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Runs SQL; ends the test on an error. The first value of the first row: static, "" when there is none. */
const char *test_sql(const struct test_service *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Awaits that the SQL gives this value. */
void test_sql_await(const struct test_service *s, const char *value, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
