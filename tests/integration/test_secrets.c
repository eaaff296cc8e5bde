/*
 * No secret is ever said: the service runs with known ones, at its most talkative, through everything that
 * makes it talk; then all that it wrote, answered, and shows to other processes is searched for them.
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

#define PASSWORD "Sup3rS3cretPassw0rd"
#define OTHER	 "Forg0ttenPassw0rd"
#define KEY	 "k3y-of-more-than-thirty-two-bytes-long"
#define RUN	 "LEYDEN_RUN_DIR=%s/run " TEST_BIN

static char url_variable[400];
static struct test_service service = { .env = { "AUTH_MODE=secure", "AUTH_JWT_ALG=HS256", "AUTH_JWT_KEY=" KEY,
					   "LOG_LEVEL=debug", "LOGICAL_PUBLISHER_PORT=0", url_variable, NULL,
					   NULL } };
static char tokens[3][1024];
static unsigned n_tokens;

/* Everything that is said goes to the end of one file. */
#define KEEP " >>%s/service.log 2>&1; true"

static const char *
port(void)
{
	static char text[16];
	const char *colon = strrchr(service.url, ':');

	snprintf(text, sizeof text, "%.*s", (int)strcspn(colon + 1, "/"), colon + 1);
	return text;
}

static void
begin(const char *variable)
{
	test_postgres_start(&service, "fsync=off");
	test_sql(&service, "CREATE ROLE syncer SUPERUSER LOGIN PASSWORD '" PASSWORD "'");
	snprintf(url_variable, sizeof url_variable,
	    "DATABASE_URL=postgresql://syncer:" PASSWORD "@127.0.0.1:%s/electric", port());
	service.env[6] = variable;
	n_tokens = 0;
	test_leyden_start(&service);
	test_sql(&service, "CREATE TABLE items (id text PRIMARY KEY, value text CHECK (value <> 'wrong'));"
			   "SELECT electric.migration_version('1'); CALL electric.electrify('items')");
	test_schema_await(&service);
}

/* A token, which is a secret, too. */
static const char *
token(const char *key, const char *flags)
{
	snprintf(tokens[n_tokens], sizeof tokens[0], "%s",
	    test_shell(
		"AUTH_JWT_ALG=HS256 AUTH_JWT_KEY='%s' " TEST_BIN "/auth-check gen-token ann %s", key, flags));
	return tokens[n_tokens++];
}

// ---- what makes it talk

static void
clients_come_and_are_refused(void)
{
	const char *const wrong[] = { "refused", "wrong" };
	struct sat_write_op op = { .kind = SAT_INSERT, .table = "items", .row = wrong };
	const char *const items[] = { "items" };
	struct sat_client *c = sat_connect(service.port, "c");

	sat_auth(c, token(KEY, ""));
	sat_message_free(sat_await(c, SAT_AUTH_RESP));
	sat_start(c, NULL, 0);
	sat_subscribe(c, "11111111-1111-4111-8111-111111111111", items, 1, NULL);
	sat_write(c, 1686009600000, &op, 1);
	test_sql_await(&service, "1", "SELECT count(*) FROM electric.rejected_writes");
	test_shell(RUN "/ws-gateway --clients" KEEP, service.dir, service.dir);
	sat_free(c);
	for (int i = 0; i < 2; i++) {
		c = sat_connect(service.port, "stranger");
		sat_auth(c, i == 0 ? token("another-key-of-more-than-thirty-two-bytes", "")
				   : token(KEY, "--exp 1000000000"));
		sat_message_free(sat_await(c, SAT_ERROR_RESP));
		sat_free(c);
	}
}

static void
postgres_goes_and_refuses(void)
{
	test_postgres_stop(&service, "immediate");
	test_log_await(&service, "postgres-lost");
	test_sql_await((test_postgres_again(&service), &service), "t", "SELECT true");
	test_sql(&service, "ALTER ROLE syncer PASSWORD '" OTHER "';"
			   "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'syncer'");
	test_log_await(&service, "password authentication failed");
	test_sql(&service, "ALTER ROLE syncer PASSWORD '" PASSWORD "'");
	test_tool_kill(&service, "pg-ingest", SIGKILL);
	test_tool_kill(&service, "auth-check", SIGKILL);
	test_shell_await("ok", "curl -s http://127.0.0.1:%u/readyz", service.http);
}

static void
everything_is_asked(void)
{
	static const char *const tools[] = { "leyden", "log-store", "pg-ingest", "pg-snapshot", "pg-publish",
		"auth-check", "http-api", "ws-gateway" };
	static const char *const paths[] = { "metrics", "api/status", "readyz" };

	for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
		const char *say[] = { "--status", "--status --json", "--check-config", "--help",
			"-v --check-config" };

		for (size_t k = 0; k < sizeof say / sizeof *say; k++)
			test_shell("env '%s' AUTH_JWT_ALG=HS256 AUTH_JWT_KEY=" KEY
				   " DATABASE_URL_2=\"${DATABASE_URL_2}\" " RUN "/%s %s" KEEP,
			    url_variable, service.dir, tools[i], say[k], service.dir);
	}
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		test_shell("curl -s 'http://127.0.0.1:%u/%s'" KEEP, service.http, paths[i], service.dir);
	test_shell("env '%s' " RUN "/pg-publish --rejected" KEEP, url_variable, service.dir, service.dir);
	test_shell(TEST_BIN "/log-store --dump --file %s/log" KEEP, service.dir, service.dir);
}

/* What is wrong is said without saying what it is. */
static void
mistakes_are_made(void)
{
	static const char *const bad[] = { "DATABASE_URL=postgresql://u:" PASSWORD "%zz@h/d",
		"DATABASE_URL=host=h user=u " PASSWORD, "DATABASE_URL=postgresql://u:" PASSWORD "@h:x/d",
		"DATABASE_URL=postgresql://u:" PASSWORD "@h/d?" PASSWORD "=1",
		"DATABASE_URL=postgresql://u:" PASSWORD "@127.0.0.1:1/d", "AUTH_JWT_KEY=" PASSWORD,
		"DATABASE_URL_3=postgresql://u:" PASSWORD "@h/d", "DATABASE_URL_2=" PASSWORD };
	static const char *const run[] = { "leyden", "pg-ingest", "pg-ingest --stdout", "pg-snapshot",
		"pg-publish", "pg-publish --rejected", "auth-check" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		for (size_t k = 0; k < sizeof run / sizeof *run; k++)
			test_shell("env '%s' AUTH_JWT_ALG=HS256 AUTH_JWT_KEY=" KEY
				   " '%s' LEYDEN_RUN_DIR=%s/other OFFSET_STORAGE_FILE=%s/other-log "
				   "timeout --foreground 0.4 " TEST_BIN "/%s --log-level debug" KEEP,
			    url_variable, bad[i], service.dir, service.dir, run[k], service.dir);
}

// ---- what others see

/* The arguments of every process of the service. */
static void
keep_arguments(void)
{
	for (unsigned i = 0; test_tool_pid(&service, NULL, i) != 0; i++)
		test_shell("tr '\\0' ' ' </proc/%d/cmdline" KEEP, (int)test_tool_pid(&service, NULL, i),
		    service.dir);
	test_shell("tr '\\0' ' ' </proc/%d/cmdline" KEEP, (int)service.pid, service.dir);
}

static void
search(const char *secret)
{
	const char *found =
	    test_shell("grep -am1 -F -- '%s' %s/service.log | cut -c 1-300; true", secret, service.dir);

	ck_assert_msg(found[0] == '\0', "it says \"%s\": %s", secret, found);
}

static void
search_all(void)
{
	search(PASSWORD);
	search(OTHER);
	search(KEY);
	for (unsigned i = 0; i < n_tokens; i++)
		search(tokens[i]);
}

START_TEST(no_secret_is_said)
{
	begin(NULL);
	clients_come_and_are_refused();
	postgres_goes_and_refuses();
	everything_is_asked();
	mistakes_are_made();
	keep_arguments();
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	/* It has said a lot. */
	ck_assert(test_log_has(&service, "token refused"));
	ck_assert(test_log_has(&service, "AUTH_JWT_KEY=***"));
	ck_assert(test_log_has(&service, "write-rejected"));
	ck_assert(test_log_has(&service, "leyden_log_events_total{"));
	ck_assert(test_log_has(&service, "password=***"));
	ck_assert(test_log_has(&service, "ws-gateway --number 1"));
	search_all();
	test_service_end(&service);
}
END_TEST

START_TEST(a_subscription_has_a_secret_of_its_own)
{
	char password[128];

	begin("LOGICAL_PUBLISHER_HOST=127.0.0.1");
	snprintf(
	    password, sizeof password, "%s", test_shell("cat %s/run/pg-publish-1.password", service.dir));
	ck_assert_uint_ge(strlen(password), 32);
	clients_come_and_are_refused();
	everything_is_asked();
	keep_arguments();
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	search_all();
	search(password);
	test_service_end(&service);
}
END_TEST

/* Flags show to everybody who can list processes, unless they are overwritten. */
START_TEST(secrets_in_arguments_are_overwritten)
{
	char run_dir[300];
	pid_t pid;

	test_postgres_start(&service, NULL);
	snprintf(run_dir, sizeof run_dir, "%s/run", service.dir);
	pid = fork();
	if (pid == 0) {
		execl(TEST_BIN "/auth-check", "auth-check", "--run-dir", run_dir, "--auth-jwt-alg", "HS256",
		    "--auth-jwt-key", KEY, (char *)NULL);
		_exit(127);
	}
	test_shell_await("S", RUN "/auth-check --status | sed -n 's/^tool: auth-check/S/p'", service.dir);
	ck_assert_ptr_nonnull(strstr(test_shell("tr '\\0' ' ' </proc/%d/cmdline", (int)pid),
	    "--auth-jwt-alg HS256 --auth-jwt-key ******"));
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	test_service_end(&service);
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { no_secret_is_said, a_subscription_has_a_secret_of_its_own,
		secrets_in_arguments_are_overwritten };

	return suite_run(
	    &(struct suite_tests){ "secrets", tests, sizeof tests / sizeof *tests, NULL, NULL }, argc, argv);
}
