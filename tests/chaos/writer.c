/* Chaos: a writer in Postgres. */
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "chaos.h"
#include "testbed.h"

static volatile sig_atomic_t over;

static void
on_term(int sig)
{
	(void)sig;
	over = 1;
}

static void
pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* The number of its last transaction that Postgres has; -1: Postgres is not there. */
static long
last_committed(PGconn *conn, unsigned w)
{
	char sql[100];
	PGresult *r;
	long n = -1;

	snprintf(sql, sizeof sql, "SELECT coalesce(max(n), 0) FROM pg_heads WHERE id = 'w%u'", w);
	r = PQexec(conn, sql);
	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		n = strtol(PQgetvalue(r, 0, 0), NULL, 10);
	PQclear(r);
	return n;
}

static bool
write_one(PGconn *conn, unsigned w, long n)
{
	char sql[800];
	PGresult *r;
	bool ok;

	snprintf(sql, sizeof sql,
	    "BEGIN; WITH t AS (UPDATE ticket SET n = n + 1 RETURNING n)"
	    " INSERT INTO pg_items SELECT 'w%u/%ld', 'w%u', %ld, n FROM t;"
	    " INSERT INTO pg_items SELECT 'w%u/%ld/' || i, 'w%u', %ld, 0 FROM generate_series(1, %d) AS i;"
	    " INSERT INTO pg_heads VALUES ('w%u', %ld) ON CONFLICT (id) DO UPDATE SET n = excluded.n; COMMIT",
	    w, n, w, n, w, n, w, n, n % EXTRA_EVERY == 0 ? EXTRA : 0, w, n);
	r = PQexec(conn, sql);
	ok = PQresultStatus(r) == PGRES_COMMAND_OK;
	PQclear(r);
	return ok;
}

static void
run(const char *url, unsigned w)
{
	PGconn *conn = NULL;
	long n = -1;

	while (!over) {
		/* Whether the last one was committed, only Postgres knows. */
		if (n < 0) {
			PQfinish(conn);
			conn = PQconnectdb(url);
			n = PQstatus(conn) == CONNECTION_OK ? last_committed(conn, w) : -1;
			if (n < 0)
				pause_ms(50);
			continue;
		}
		n = write_one(conn, w, n + 1) ? n + 1 : -1;
		pause_ms(4);
	}
	PQfinish(conn);
}

pid_t
writer_start(const struct test_service *s, unsigned w)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, on_term);
	run(s->url, w);
	_exit(0);
}

void
writer_stop(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}
