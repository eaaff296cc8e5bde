/* A throwaway Postgres and the whole service on it. */
#include "testbed.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"
#include "sat_client.h"

#define STEP_NS 10000000 /* between two looks at something that has no event */

static void
pause_a_step(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = STEP_NS }, NULL);
}

static bool
run(char *out, size_t size, const char *command)
{
	FILE *p = popen(command, "r");

	out[0] = '\0';
	if (p == NULL || (fgets(out, (int)size, p) == NULL && ferror(p)) || pclose(p) != 0)
		return false;
	out[strcspn(out, "\n")] = '\0';
	return true;
}

const char *
test_shell(const char *fmt, ...)
{
	static char out[4096];
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	if (!run(out, sizeof out, command))
		test_fail("failed: %s", command);
	return out;
}

void
test_shell_await(const char *wanted, const char *fmt, ...)
{
	char command[1024], out[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	for (time_t end = time(NULL) + (time_t)AWAIT_SECONDS; time(NULL) < end; pause_a_step())
		if (run(out, sizeof out, command) && strcmp(out, wanted) == 0)
			return;
	test_fail("%s gives \"%s\", not \"%s\"", command, out, wanted);
}

bool
test_is_logical(void)
{
	const char *mode = getenv("TEST_WRITE_MODE");

	return mode != NULL && strcmp(mode, "logical_replication") == 0;
}

void
test_postgres_start(struct test_service *s, const char *options)
{
	const char *tmp = getenv("TMPDIR");
	char all[256];

	if (s->dir[0] == '\0') {
		snprintf(s->dir, sizeof s->dir, "%s/leyden-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
		if (mkdtemp(s->dir) == NULL || chmod(s->dir, 0711) != 0)
			test_fail("cannot make %s: %s", s->dir, strerror(errno));
	}
	/* A subscription's worker that failed comes back after this, not after 5 s. */
	snprintf(all, sizeof all, "wal_retrieve_retry_interval=200ms %s", options != NULL ? options : "");
	setenv("LEYDEN_PG_OPTIONS", all, 1);
	snprintf(s->url, sizeof s->url, "%s", test_shell("scripts/postgres start %s/pg", s->dir));
}

void
test_postgres_stop(struct test_service *s, const char *mode)
{
	test_shell("scripts/postgres stop %s/pg %s", s->dir, mode);
}

void
test_postgres_again(struct test_service *s)
{
	test_shell("scripts/postgres start %s/pg", s->dir);
}

// ---- leyden

void
test_leyden_begin(struct test_service *s)
{
	char env[8][600], *envp[32];
	int n = 0, log;

	snprintf(env[0], sizeof env[0], "DATABASE_URL=%s", s->url);
	snprintf(env[1], sizeof env[1], "LEYDEN_RUN_DIR=%s/run", s->dir);
	snprintf(env[2], sizeof env[2], "OFFSET_STORAGE_FILE=%s/log", s->dir);
	/* Where the kernel has chosen a port, the next start keeps it: clients come back to the same. */
	snprintf(env[3], sizeof env[3], "WEBSOCKET_PORT=%u", s->port);
	snprintf(env[4], sizeof env[4], "HTTP_API_PORT=%u", s->http);
	for (n = 0; n < 5; n++)
		envp[n] = env[n];
	/* What the test itself says comes first: getenv() takes the first. */
	for (int i = 0; i < 16 && s->env[i] != NULL; i++) {
		const char *eq = strchr(s->env[i], '=');

		for (int k = 0; k < n; k++)
			if (strncmp(envp[k], s->env[i], (size_t)(eq - s->env[i]) + 1) == 0)
				envp[k] = (char *)(uintptr_t) "UNUSED=";
		envp[n++] = (char *)(uintptr_t)s->env[i];
	}
	if (test_is_logical()) {
		envp[n++] = (char *)(uintptr_t) "LOGICAL_PUBLISHER_HOST=127.0.0.1";
		envp[n++] = (char *)(uintptr_t) "LOGICAL_PUBLISHER_PORT=0";
	}
	envp[n++] = (char *)(uintptr_t) "LISTEN_ADDRESS=127.0.0.1";
	envp[n++] = (char *)(uintptr_t) "PATH=/usr/bin:/bin";
	envp[n] = NULL;
	s->pid = fork();
	if (s->pid == 0) {
		char path[300];

		snprintf(path, sizeof path, "%s/service.log", s->dir);
		log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(log, STDERR_FILENO);
		dup2(log, STDOUT_FILENO);
		execle(TEST_BIN "/leyden", "leyden", (char *)NULL, envp);
		_exit(127);
	}
}

/* The service's whole log; freed by the caller. */
static char *
read_log(const struct test_service *s)
{
	char path[300], *text;
	struct stat st;
	FILE *f;
	size_t n;

	snprintf(path, sizeof path, "%s/service.log", s->dir);
	f = fopen(path, "r");
	if (f == NULL || fstat(fileno(f), &st) != 0) {
		if (f != NULL)
			fclose(f);
		return strdup("");
	}
	text = malloc((size_t)st.st_size + 1);
	n = fread(text, 1, (size_t)st.st_size, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

bool
test_log_has(const struct test_service *s, const char *wanted)
{
	char *text = read_log(s);
	bool found = strstr(text, wanted) != NULL;

	free(text);
	return found;
}

static void
fail_with_log(const struct test_service *s, const char *sentence)
{
	char *text = read_log(s);
	size_t n = strlen(text);

	fprintf(stderr, "--- the service's log ends:\n%s\n", n > 4000 ? text + n - 4000 : text);
	free(text);
	test_fail("%s", sentence);
}

void
test_log_await(const struct test_service *s, const char *wanted)
{
	for (int i = 0; i < AWAIT_SECONDS * 1000000000.0 / STEP_NS; i++) {
		if (test_log_has(s, wanted))
			return;
		pause_a_step();
	}
	fail_with_log(s, wanted);
}

/* Looks for the ready line after what the log held before. */
static bool
is_ready(struct test_service *s, size_t before)
{
	char *text = read_log(s),
	     *line = strlen(text) >= before ? strstr(text + before, "leyden: ready") : NULL;
	char *ws = line != NULL ? strstr(line, "websocket=") : NULL;
	char *http = line != NULL ? strstr(line, " http=") : NULL;
	bool ready = ws != NULL && http != NULL;

	if (ready) {
		s->port = (unsigned)atoi(strchr(ws, ':') + 1);
		s->http = (unsigned)atoi(strchr(http, ':') + 1);
	}
	free(text);
	return ready;
}

void
test_leyden_start(struct test_service *s)
{
	char *text = read_log(s);
	size_t before = strlen(text);

	free(text);
	test_leyden_begin(s);
	for (int i = 0; i < AWAIT_SECONDS * 1000000000.0 / STEP_NS; i++) {
		int status;

		if (is_ready(s, before))
			return;
		if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
			s->pid = 0;
			fail_with_log(s, "leyden ended before it was ready");
		}
		pause_a_step();
	}
	fail_with_log(s, "leyden was not ready in time");
}

static int
await_end(struct test_service *s)
{
	int status = 0;

	for (int i = 0; i < AWAIT_SECONDS * 1000000000.0 / STEP_NS; i++) {
		if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
			s->pid = 0;
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
		pause_a_step();
	}
	fail_with_log(s, "leyden did not end");
	return -1;
}

int
test_leyden_run(struct test_service *s)
{
	test_leyden_begin(s);
	return await_end(s);
}

int
test_leyden_stop(struct test_service *s)
{
	if (s->pid <= 0)
		test_fail("leyden does not run"); /* and 0 would be all of us */
	kill(s->pid, SIGTERM);
	return await_end(s);
}

/* The parent of a process, and its command name; 0 when there is no such process. */
static pid_t
parent_of(pid_t pid, char name[32])
{
	char path[64], line[256];
	FILE *f;
	int parent = 0;
	char *end;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	if (fgets(line, sizeof line, f) != NULL && (end = strrchr(line, ')')) != NULL) {
		snprintf(name, 32, "%.*s", (int)(end - strchr(line, '(') - 1), strchr(line, '(') + 1);
		sscanf(end + 1, " %*c %d", &parent);
	}
	fclose(f);
	return parent;
}

pid_t
test_tool_pid(const struct test_service *s, const char *tool, unsigned nth)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	while (proc != NULL && (e = readdir(proc)) != NULL && found == 0) {
		char name[32];

		if (isdigit((unsigned char)e->d_name[0]) && parent_of(atoi(e->d_name), name) == s->pid &&
		    (tool == NULL || strcmp(name, tool) == 0) && nth-- == 0)
			found = atoi(e->d_name);
	}
	closedir(proc);
	return found;
}

pid_t
test_tool_kill(struct test_service *s, const char *tool, int sig)
{
	pid_t pid = test_tool_pid(s, tool, 0);

	if (pid == 0)
		test_fail("no %s runs", tool);
	kill(pid, sig);
	return pid;
}

void
test_service_end(struct test_service *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
		s->pid = 0;
	}
	if (s->dir[0] != '\0') {
		test_shell("scripts/postgres remove %s/pg", s->dir);
		test_shell("rm -rf %s", s->dir);
		s->dir[0] = '\0';
	}
}

// ---- SQL

static const char *
query(const struct test_service *s, const char *sql)
{
	static char value[4096];
	PGconn *conn = PQconnectdb(s->url);
	PGresult *r = PQexec(conn, sql);

	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		test_fail("%s: %s", sql, PQerrorMessage(conn));
	snprintf(value, sizeof value, "%s", PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	PQfinish(conn);
	return value;
}

const char *
test_sql(const struct test_service *s, const char *fmt, ...)
{
	char sql[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sql, sizeof sql, fmt, ap);
	va_end(ap);
	return query(s, sql);
}

void
test_sql_await(const struct test_service *s, const char *wanted, const char *fmt, ...)
{
	char sql[8192];
	const char *value = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sql, sizeof sql, fmt, ap);
	va_end(ap);
	for (int i = 0; i < AWAIT_SECONDS * 1000000000.0 / STEP_NS; i++) {
		value = query(s, sql);
		if (strcmp(value, wanted) == 0)
			return;
		pause_a_step();
	}
	fprintf(stderr, "%s gives \"%s\", not \"%s\"\n", sql, value, wanted);
	fail_with_log(s, "the value did not come");
}

void
test_schema_await(const struct test_service *s)
{
	char n[16];

	snprintf(n, sizeof n, "%s", test_sql(s, "SELECT count(*) FROM electric.migration_versions"));
	test_shell_await("",
	    "for i in %s/run/ws-gateway-*; do " TEST_BIN "/ws-gateway --run-dir %s/run --number "
	    "$(basename ${i##*-} .sock) --status --json | "
	    "grep -q '\"migrations\":%s[,}]' || echo; done | tr '\\n' x",
	    s->dir, s->dir, n);
}
