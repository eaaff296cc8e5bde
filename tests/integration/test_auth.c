/*
 * Who may enter, on the whole service with a real Postgres and two gateways: tokens, their end, keys that are
 * rotated, client ids of others; and what a process that faces strangers holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define OLD_KEY	 "a-secret-of-at-least-thirty-two-bytes"
#define NEW_KEY	 "another-secret-of-thirty-two-bytes-or-more"
#define ATTEMPTS 16 /* connections, of which each gateway gets some */

static char key_variable[300];
static struct test_service service = { .env = { "AUTH_MODE=secure", "AUTH_JWT_ALG=HS256",
					   "AUTH_JWT_CLOCK_SKEW=1", "WEBSOCKET_GATEWAYS=2", key_variable,
					   NULL } };

/* The file of the keys is replaced as a whole. */
static void
write_keys(const char *text)
{
	test_shell("printf '%%s' '%s' > %s/keys.new && mv %s/keys.new %s/keys", text, service.dir,
	    service.dir, service.dir);
}

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
	snprintf(key_variable, sizeof key_variable, "AUTH_JWT_KEY=@%s/keys", service.dir);
	write_keys(OLD_KEY);
	test_leyden_start(&service);
}

static void
tear_down(void)
{
	if (service.pid != 0) /* a test may have failed without it */
		ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_service_end(&service);
}

/* A token for the user; static. */
static const char *
token(const char *key, const char *user_id, const char *flags)
{
	return test_shell("AUTH_JWT_ALG=HS256 AUTH_JWT_KEY='%s' %s/auth-check gen-token %s %s", key, TEST_BIN,
	    user_id, flags);
}

static struct sat_client *
client(const char *id, const char *with_token)
{
	struct sat_client *c = sat_connect(service.port, id);

	sat_auth(c, with_token);
	return c;
}

static struct sat_client *
client_in(const char *id, const char *with_token)
{
	struct sat_client *c = client(id, with_token);

	sat_message_free(sat_await(c, SAT_AUTH_RESP));
	return c;
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

START_TEST(tokens_open_the_door)
{
	sat_free(client_in("honest", token(OLD_KEY, "ann", "")));
	/* The client learns nothing of why; the log does. */
	await_error(client("stranger", token(NEW_KEY, "ann", "")), SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED);
	test_log_await(&service, "token refused: Invalid token signature");
	await_error(client("late", token(OLD_KEY, "ann", "--exp 1000000000")),
	    SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED);
	test_log_await(&service, "token refused: Expired token");
	await_error(client("unsigned", sat_token("ann")), SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED);
	test_log_await(&service, "token refused: Signing algorithm mismatch");
}
END_TEST

START_TEST(token_ends_its_session)
{
	struct sat_client *c = client_in("brief", token(OLD_KEY, "ann", "--ttl 1"));

	await_error(c, SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED);
	ck_assert(test_log_has(&service, "its token has expired"));
	sat_free(client_in("brief", token(OLD_KEY, "ann", "")));
}
END_TEST

#define JWK(k)	"{\"kty\":\"oct\",\"k\":\"" k "\"}"
#define OLD_JWK JWK("YS1zZWNyZXQtb2YtYXQtbGVhc3QtdGhpcnR5LXR3by1ieXRlcw")
#define NEW_JWK JWK("YW5vdGhlci1zZWNyZXQtb2YtdGhpcnR5LXR3by1ieXRlcy1vci1tb3Jl")

/* The log tells how many keys were read: each set here has another number of them. */
START_TEST(keys_are_rotated)
{
	pid_t gateway = test_tool_pid(&service, "ws-gateway", 0);
	struct sat_client *stays = client_in("stays", token(OLD_KEY, "ann", ""));
	SatPingReq ping = SAT_PING_REQ__INIT;

	write_keys("{\"keys\":[" OLD_JWK "," NEW_JWK "]}");
	test_tool_kill(&service, "auth-check", SIGHUP);
	test_log_await(&service, "keys=2");
	sat_free(client_in("by-old", token(OLD_KEY, "ann", "")));
	sat_free(client_in("by-new", token(NEW_KEY, "ann", "")));
	/* leyden passes on what it is told. */
	write_keys("{\"keys\":[" NEW_JWK "," NEW_JWK "," NEW_JWK "]}");
	kill(service.pid, SIGHUP);
	test_log_await(&service, "keys=3");
	sat_free(client_in("by-new", token(NEW_KEY, "ann", "")));
	await_error(client("by-old", token(OLD_KEY, "ann", "")), SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED);
	/* The file changes, and nobody says so. One that cannot work changes nothing. */
	write_keys("short");
	test_log_await(&service, "keys-kept");
	sat_free(client_in("by-new", token(NEW_KEY, "ann", "")));
	sat_send(stays, SAT_PING_REQ, &ping.base);
	sat_message_free(sat_await(stays, SAT_PING_RESP));
	sat_free(stays);
	ck_assert_int_eq(test_tool_pid(&service, "ws-gateway", 0), gateway);
	write_keys("{\"keys\":[" OLD_JWK "," OLD_JWK "," OLD_JWK "," OLD_JWK "]}");
	test_log_await(&service, "keys=4");
	sat_free(client_in("by-old", token(OLD_KEY, "ann", "")));
}
END_TEST

START_TEST(client_ids_are_their_users)
{
	char mine[512], theirs[512];
	struct sat_client *c;

	snprintf(mine, sizeof mine, "%s", token(OLD_KEY, "ann", ""));
	snprintf(theirs, sizeof theirs, "%s", token(OLD_KEY, "mallory", ""));
	sat_free(client_in("anns", mine));
	/* Whichever gateway is asked, and whether ann is here or not. */
	for (int i = 0; i < ATTEMPTS; i++)
		await_error(client("anns", theirs), SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST);
	c = client_in("anns", mine);
	await_error(client("anns", theirs), SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST);
	sat_free(c);
	test_log_await(&service, "its client id belongs to another user");
}
END_TEST

START_TEST(client_ids_are_held_once)
{
	char mine[512];
	struct sat_client *first, *others[ATTEMPTS];
	SatPingReq ping = SAT_PING_REQ__INIT;

	snprintf(mine, sizeof mine, "%s", token(OLD_KEY, "ann", ""));
	first = client_in("one", mine);
	for (int i = 0; i < ATTEMPTS; i++)
		others[i] = client("one", mine);
	for (int i = 0; i < ATTEMPTS; i++)
		await_error(others[i], SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST);
	sat_send(first, SAT_PING_REQ, &ping.base);
	sat_message_free(sat_await(first, SAT_PING_RESP));
	/* Who waits while the first goes gets in. */
	others[0] = client("one", mine);
	sat_free(first);
	sat_message_free(sat_await(others[0], SAT_AUTH_RESP));
	sat_free(others[0]);
}
END_TEST

// ---- what each process holds

/* What follows the name in a file of /proc/PID; static. */
static const char *
proc(pid_t pid, const char *file, const char *name)
{
	return test_shell("sed -n 's/^%s[[:space:]]*//p' /proc/%d/%s", name, (int)pid, file);
}

/* Does the process' environment, a file that it has mapped, or one that it has open say this? */
static bool
holds(pid_t pid, const char *text)
{
	return strcmp(
		   test_shell("{ cd /proc/%d && cat environ cmdline maps && ls -l fd; } | tr '\\0' '\\n' | "
			      "grep -cF -- '%s'; true",
		       (int)pid, text),
		   "0") != 0;
}

#if defined(__SANITIZE_ADDRESS__)
#define FILTERED "0" /* the sanitizers need what the filter takes */
#else
#define FILTERED "2"
#endif

/* Who reads what strangers send has no credential and no key, nor the means to come by one. */
START_TEST(privileges_are_separate)
{
	static const char *const tools[] = { "log-store", "pg-ingest", "pg-snapshot", "pg-publish",
		"auth-check", "http-api", "ws-gateway" };

	if (geteuid() != 0)
		return; /* nobody else may look */
	for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
		bool has_database = strncmp(tools[i], "pg-", 3) == 0;
		bool has_keys = strcmp(tools[i], "auth-check") == 0;
		bool has_strangers = i >= 5;
		pid_t pid = test_tool_pid(&service, tools[i], 0);

		ck_assert_int_ne(pid, 0);
		ck_assert_str_eq(proc(pid, "status", "NoNewPrivs:"), "1");
		ck_assert_str_eq(proc(pid, "status", "Seccomp:"), FILTERED);
		ck_assert_str_eq(proc(pid, "limits", "Max core file size"),
		    "0                    0                    bytes     ");
		ck_assert_int_eq(holds(pid, "DATABASE_URL"), has_database);
		ck_assert_int_eq(holds(pid, "password@"), has_database);
		ck_assert_int_eq(holds(pid, "AUTH_JWT_"), has_keys);
		ck_assert_int_eq(holds(pid, strchr(key_variable, '@') + 1), has_keys);
		if (has_strangers)
			ck_assert_str_eq(
			    test_shell("find /proc/%d/fd -type l -printf '%%l\\n' | grep -vcE "
				       "'^(socket|pipe|anon_inode):|^/dev/null$|/service.log$'; true",
				(int)pid),
			    "0");
	}
}
END_TEST

/* Started by root, the tools are another, whole service all the same; they go when leyden is killed. */
START_TEST(root_becomes_another)
{
	struct test_service other = service;
	struct sat_client *c;
	char file[300], nobody[128];
	pid_t pids[16], pid;
	unsigned n = 0;

	if (geteuid() != 0)
		return;
	other.pid = 0;
	other.port = other.http = 0;
	test_leyden_stop(&service);
	test_shell("install -d -m 700 -o nobody %s/theirs && chmod 644 %s/keys", service.dir, service.dir);
	snprintf(file, sizeof file, "OFFSET_STORAGE_FILE=%s/theirs/log", service.dir);
	other.env[5] = file;
	other.env[6] = "LEYDEN_USER=nobody";
	test_leyden_start(&other);
	while (n < 16 && (pid = test_tool_pid(&other, NULL, n)) != 0)
		pids[n++] = pid;
	ck_assert_uint_ge(n, 8);
	snprintf(nobody, sizeof nobody, "%s",
	    test_shell("u=$(id -u nobody) g=$(id -g nobody); echo $u $u $u $g $g $g 1"));
	for (unsigned i = 0; i < n; i++)
		ck_assert_str_eq(test_shell("awk '/^[UG]id/ { printf \"%%s %%s %%s \", $2, $3, $4 } "
					    "/^Groups/ { print NF }' /proc/%d/status",
				     (int)pids[i]),
		    nobody);
	ck_assert_str_eq(test_shell("stat -c '%%a %%U' %s/run", other.dir), "710 root");
	c = sat_connect(other.port, "of-nobody");
	sat_auth(c, token(OLD_KEY, "ann", ""));
	sat_message_free(sat_await(c, SAT_AUTH_RESP));
	sat_free(c);
	/* They reach each other, and leyden. */
	test_shell_await("yes",
	    "curl -s http://127.0.0.1:%u/metrics | grep -q '^leyden_tool_ready' && echo yes", other.http);
	kill(other.pid, SIGKILL);
	for (unsigned i = 0; i < n; i++)
		test_shell_await("gone", "test -e /proc/%d/exe || echo gone", (int)pids[i]);
	waitpid(other.pid, NULL, 0);
	test_leyden_start(&service);
}
END_TEST

// ---- the command line

/* What auth-check says of this environment; static. */
static const char *
checked(const char *environment)
{
	return test_shell(
	    "env -i %s %s/auth-check --check-config 2>&1 >/dev/null | sed 's/.* variable=/variable=/'",
	    environment, TEST_BIN);
}

START_TEST(configuration_is_judged)
{
	static const struct {
		const char *environment, *said;
	} cases[] = {
		{ "AUTH_MODE=open", "variable=AUTH_MODE error=\"Unsupported auth mode: \\\"open\\\"\"" },
		{ "", "variable=AUTH_JWT_ALG error=\"Missing or invalid 'alg' configuration option for "
		      "secure auth "
		      "mode\"" },
		{ "AUTH_JWT_ALG=none", "variable=AUTH_JWT_ALG error=\"Missing or invalid 'alg' configuration "
				       "option for secure auth "
				       "mode\"" },
		{ "AUTH_JWT_ALG=HS256", "variable=AUTH_JWT_KEY error=\"Missing 'key' configuration option "
					"for secure auth mode\"" },
		{ "AUTH_JWT_ALG=HS256 AUTH_JWT_KEY='  '", "variable=AUTH_JWT_KEY error=\"Missing 'key' "
							  "configuration option for secure auth mode\"" },
		{ "AUTH_JWT_ALG=HS512 AUTH_JWT_KEY=" OLD_KEY, "variable=AUTH_JWT_KEY error=\"The 'key' needs "
							      "to be at least 64 bytes long for HS512\"" },
		{ "AUTH_JWT_ALG=RS256 AUTH_JWT_KEY=" OLD_KEY,
		    "variable=AUTH_JWT_KEY error=\"The 'key' is not a PEM public key for RS256\"" },
		{ "AUTH_JWT_ALG=HS256 AUTH_JWT_KEY=@/nowhere",
		    "variable=AUTH_JWT_KEY error=\"/nowhere: No such file or directory\"" },
		{ "AUTH_JWT_ALG=HS256 AUTH_JWT_KEY=" OLD_KEY " AUTH_JWT_KEY_IS_BASE64_ENCODED=maybe",
		    "variable=AUTH_JWT_KEY_IS_BASE64_ENCODED error=\"not true or false: \\\"maybe\\\"\"" },
		{ "AUTH_JWT_ALG=HS256 AUTH_JWT_KEY=" OLD_KEY " AUTH_JWT_KEY_IS_BASE64_ENCODED=true",
		    "variable=AUTH_JWT_KEY error=\"The 'key' is not base64, as "
		    "AUTH_JWT_KEY_IS_BASE64_ENCODED has "
		    "it\"" },
		{ "AUTH_MODE=insecure", "" },
		{ "AUTH_JWT_ALG=HS256 AUTH_JWT_KEY=" OLD_KEY, "" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ck_assert_str_eq(checked(cases[i].environment), cases[i].said);
		ck_assert_str_eq(test_shell("env -i %s %s/auth-check --check-config >/dev/null 2>&1; echo $?",
				     cases[i].environment, TEST_BIN),
		    cases[i].said[0] != '\0' ? "78" : "0");
	}
}
END_TEST

/* The rest of the command is the test's. */
#define GEN_TOKEN                                                                                            \
	"export AUTH_JWT_ALG=HS256 AUTH_JWT_KEY=" OLD_KEY " PATH=$(cd %s && pwd):$PATH; auth-check "         \
	"gen-token "

START_TEST(tokens_are_made)
{
	static const struct {
		const char *command, *output;
	} cases[] = {
		{ "ann | auth-check verify | head -n 1", "user_id: ann" },
		{ "ann ben | wc -l", "2" },
		{ "ann ben | sed -n 2p | auth-check verify | head -n 1", "user_id: ben" },
		{ "ann --exp 4000000000 | auth-check verify | tail -n 1", "expires: 2096-10-02T07:06:40Z" },
		{ "ann --exp 1000000000 | auth-check verify 2>&1", "auth-check: Expired token" },
		{ "ann --exp 1000000000 | auth-check verify 2>/dev/null; echo $?", "77" },
		{ "ann 'b,\"n' --format csv --exp 4000000000 | cut -d, -f1,3", "ann,2096-10-02T07:06:40Z" },
		{ "'b,\"n' --format csv | cut -c 1-8", "\"b,\"\"n\"," },
		{ "ann ben --format json | python3 -c 'import json, sys; t = json.load(sys.stdin); "
		  "print(*t, *t[\"ann\"])'",
		    "ann ben token expiry" },
		{ "ann --format xml 2>&1", "auth-check: Invalid format 'xml'" },
		{ "ann --format xml 2>/dev/null; echo $?", "64" },
		{ "ann --output /nowhere/at/all 2>/dev/null; echo $?", "73" },
		{ "ann --ttl soon 2>/dev/null; echo $?", "64" },
		{ "ann --ttl 1 --exp 1 2>/dev/null; echo $?", "64" },
		{ "' ' 2>/dev/null; echo $?", "64" },
		{ "2>/dev/null; echo $?", "64" },
		{ "ann | tr -d . | auth-check verify 2>&1", "auth-check: Invalid token" },
	};
	char said[300];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		ck_assert_str_eq(
		    test_shell(GEN_TOKEN "%s; true", TEST_BIN, cases[i].command), cases[i].output);
	/* A file that only its owner may read. */
	snprintf(said, sizeof said, "Written token information to %s/tokens", service.dir);
	ck_assert_str_eq(test_shell(GEN_TOKEN "ann --output %s/tokens", TEST_BIN, service.dir), said);
	ck_assert_str_eq(test_shell("stat -c %%a %s/tokens", service.dir), "600");
}
END_TEST

/* The examples of the manual, in one shell. */
START_TEST(manual_works)
{
	ck_assert_str_eq(
	    test_shell(
		"bin=$(cd %s && pwd) && sed -n '/^.Sh EXAMPLES/,/^.Sh SEE/s/^\\$ //p' man/auth-check.8 "
		"> %s/examples && cd %s && echo > new.pem && echo > old.pem && "
		"PATH=$bin:$PATH sh -e examples > out 2>&1; "
		"echo $? $(grep -c '^user_id: alice' out) $(grep -c '^[a-z]*,ey.*,20' tokens.csv)",
		TEST_BIN, service.dir, service.dir),
	    "0 2 2");
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
	const TTest *const tests[] = { tokens_open_the_door, token_ends_its_session, keys_are_rotated,
		client_ids_are_their_users, client_ids_are_held_once, privileges_are_separate,
		root_becomes_another, configuration_is_judged, tokens_are_made, manual_works,
		sanitizers_have_found_nothing };

	return suite_run(
	    &(struct suite_tests){ "auth", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
