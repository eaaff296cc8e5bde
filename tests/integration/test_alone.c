/*
 * Every tool as a supervisor's service of its own, without leyden: it says that it is ready, that it still
 * turns, and that it stops, to systemd's socket (which the test holds); together they serve a client.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

static struct test_service service;

/* One that was started, in this order; the last one first when they are stopped. */
static struct tool {
	const char *name;
	pid_t pid;
	int notified; /* its NOTIFY_SOCKET */
} tools[] = { { .name = "log-store" }, { .name = "pg-ingest" }, { .name = "pg-snapshot" },
	{ .name = "pg-publish" }, { .name = "auth-check" }, { .name = "http-api" },
	{ .name = "ws-gateway" } };

#define N_TOOLS	      (sizeof tools / sizeof *tools)
#define EACH_TOOL(t)  for (struct tool *t = tools; t < tools + N_TOOLS; t++)
#define WATCHDOG_USEC "200000"

/* A socket as systemd has one; with '@', an abstract one. */
static int
notify_socket(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, path, strlen(path));
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))),
	    0);
	return fd;
}

/* The tool's next message; static. */
static const char *
told(const struct tool *t)
{
	static char text[512];
	struct pollfd p = { .fd = t->notified, .events = POLLIN };
	ssize_t n =
	    poll(&p, 1, (int)(AWAIT_SECONDS * 1000)) == 1 ? recv(t->notified, text, sizeof text - 1, 0) : -1;

	if (n < 0)
		test_fail("%s said nothing more to NOTIFY_SOCKET", t->name);
	text[n] = '\0';
	return text;
}

static void
await_told(const struct tool *t, const char *wanted)
{
	while (strncmp(told(t), wanted, strlen(wanted)) != 0)
		continue;
}

/* Starts a tool with a few variables more than it needs. */
static void
start(struct tool *t, const char *notify_path)
{
	char env[7][600], program[300],
	    *envp[] = { env[0], env[1], env[2], env[3], env[4], env[5], env[6],
		    (char *)(uintptr_t) "AUTH_MODE=insecure", (char *)(uintptr_t) "LISTEN_ADDRESS=127.0.0.1",
		    (char *)(uintptr_t) "WATCHDOG_USEC=" WATCHDOG_USEC, NULL };

	snprintf(env[0], sizeof env[0], "DATABASE_URL=%s", service.url);
	snprintf(env[1], sizeof env[1], "LEYDEN_RUN_DIR=%s/run", service.dir);
	snprintf(env[2], sizeof env[2], "OFFSET_STORAGE_FILE=%s/log", service.dir);
	snprintf(env[3], sizeof env[3], "NOTIFY_SOCKET=%s", notify_path);
	snprintf(env[4], sizeof env[4], "WEBSOCKET_PORT=%u", service.port);
	snprintf(env[5], sizeof env[5], "HTTP_API_PORT=%u", service.http);
	snprintf(env[6], sizeof env[6], "WEBSOCKET_GATEWAYS=1");
	t->notified = notify_socket(notify_path);
	t->pid = fork();
	if (t->pid == 0) {
		char log[300];
		int fd;

		snprintf(log, sizeof log, "%s/%s.log", service.dir, t->name);
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, STDERR_FILENO);
		snprintf(program, sizeof program, TEST_BIN "/%s", t->name);
		execle(program, t->name, (char *)NULL, envp);
		_exit(127);
	}
}

static int
stop(const struct tool *t)
{
	int status;

	kill(t->pid, SIGTERM);
	await_told(t, "STOPPING=1");
	waitpid(t->pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Behind "STATUS=" of what it says when it is ready; static. */
static const char *
await_ready(const struct tool *t)
{
	const char *text;

	do
		text = told(t);
	while (strncmp(text, "READY=1\nSTATUS=", 15) != 0);
	return text + 15;
}

static unsigned
port_in(const char *details)
{
	return strrchr(details, ':') != NULL ? (unsigned)atoi(strrchr(details, ':') + 1) : 0;
}

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
}

static void
tear_down(void)
{
	EACH_TOOL(t)
	if (t->pid > 0)
		kill(t->pid, SIGKILL);
	test_service_end(&service);
}

START_TEST(each_tool_tells_systemd)
{
	char path[300];

	EACH_TOOL(t)
	{
		snprintf(path, sizeof path, "%s/%s.notify", service.dir, t->name);
		start(t, path);
	}
	EACH_TOOL(t)
	{
		const char *details = await_ready(t);

		if (strcmp(t->name, "ws-gateway") == 0)
			service.port = port_in(details);
		if (strcmp(t->name, "http-api") == 0)
			service.http = port_in(details);
	}
	EACH_TOOL(t)
	for (int i = 0; i < 2; i++)
		await_told(t, "WATCHDOG=1");
}
END_TEST

static size_t rows;

static void
count_row(struct sat_client *c, const SatOpInsert *row)
{
	(void)c;
	(void)row;
	rows++;
}

START_TEST(together_they_serve_a_client)
{
	static const char *const tables[] = { "items" };
	struct sat_client *c;

	test_sql(&service, "SET client_min_messages = error; CREATE TABLE items (id text PRIMARY KEY); "
			   "CALL electric.electrify('items'); INSERT INTO items VALUES ('here')");
	c = sat_begin(service.port, "alone", "ann");
	sat_message_free(sat_await(c, SAT_RELATION));
	sat_subscribe(c, "5d1c2f1e-5b5c-4f0e-8d8e-0c5a6d4f9b11", tables, 1, count_row);
	ck_assert_uint_eq(rows, 1);
	sat_free(c);
	test_shell_await(
	    "200", "curl -sS -o /dev/null -w '%%{http_code}' http://127.0.0.1:%u/readyz", service.http);
}
END_TEST

START_TEST(each_tool_says_that_it_stops)
{
	for (struct tool *t = tools + N_TOOLS; t-- > tools; t->pid = 0)
		ck_assert_int_eq(stop(t), 0);
}
END_TEST

/* leyden speaks for all of its tools; its own bark says that its loop turns. */
START_TEST(leyden_tells_systemd)
{
	struct tool leyden = { .name = "leyden" };
	char path[300];

	snprintf(path, sizeof path, "@%s/leyden.notify", service.dir);
	start(&leyden, path);
	ck_assert_ptr_nonnull(strstr(await_ready(&leyden), "websocket=127.0.0.1:"));
	await_told(&leyden, "WATCHDOG=1");
	ck_assert_int_eq(stop(&leyden), 0);
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { each_tool_tells_systemd, together_they_serve_a_client,
		each_tool_says_that_it_stops, leyden_tells_systemd };

	return suite_run(
	    &(struct suite_tests){ "alone", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
