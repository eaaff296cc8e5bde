/* A connection to Postgres in the loop of the process. */
#include "pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "log.h"
#include "peer.h"
#include "xalloc.h"

#define CONNECT_TIMEOUT 10.0 /* seconds */

#define SESSION                                                                                              \
	"SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; "                      \
	"SET extra_float_digits = 1; SET bytea_output = 'hex'; SET search_path = pg_catalog; "               \
	"SET standard_conforming_strings = on; SET client_min_messages = warning; "                          \
	"SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0"

static void on_io(struct ev_loop *l, ev_io *w, int events);

static void
watch(struct pg *pg, int events)
{
	int fd = pg->conn != NULL ? PQsocket(pg->conn) : -1;

	if (ev_is_active(&pg->io)) {
		if (pg->io.fd == fd && (pg->io.events & (EV_READ | EV_WRITE)) == events)
			return;
		ev_io_stop(loop(), &pg->io);
	}
	if (fd >= 0 && events != 0) {
		ev_io_set(&pg->io, fd, events);
		ev_io_start(loop(), &pg->io);
	}
}

static void
on_notice(void *data, const char *text)
{
	(void)data;
	log_debug("postgres-notice", "message=%s", log_quote(pg_message(text)));
}

void
pg_close(struct pg *pg)
{
	watch(pg, 0);
	ev_timer_stop(loop(), &pg->timeout);
	if (pg->result != NULL)
		PQclear(pg->result);
	if (pg->conn != NULL)
		PQfinish(pg->conn);
	pg->result = NULL;
	pg->conn = NULL;
	pg->state = PG_CLOSED;
	pg->paused = false;
}

void
pg_fail(struct pg *pg, const char *why)
{
	char *text = xstrdup(why);

	pg_close(pg);
	pg->hooks->lost(pg, text);
	free(text);
}

static void
lost(struct pg *pg)
{
	pg_fail(pg, pg_message(PQerrorMessage(pg->conn)));
}

static void
on_timeout(struct ev_loop *l, ev_timer *w, int events)
{
	struct pg *pg = w->data;

	(void)l;
	(void)events;
	if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD)
		pg_fail(pg, pg->conn != NULL ? pg_message(PQerrorMessage(pg->conn)) : "out of memory");
	else
		pg_fail(pg, "no answer while connecting");
}

void
pg_init(struct pg *pg, const char *url, const char *application, bool replication,
    const struct pg_hooks *hooks, void *data)
{
	memset(pg, 0, sizeof *pg);
	pg->url = url;
	pg->application = application;
	pg->replication = replication;
	pg->hooks = hooks;
	pg->data = data;
	ev_init(&pg->io, on_io);
	ev_init(&pg->timeout, on_timeout);
	pg->io.data = pg->timeout.data = pg;
}

void
pg_open(struct pg *pg)
{
	/* What stands before dbname is a default that the URL may override. */
	const char *names[] = { "keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "dbname", "application_name", "client_encoding",
		pg->replication ? "replication" : NULL, NULL };
	const char *values[] = { "30", "10", "3", "60000", pg->url, pg->application, "UTF8", "database",
		NULL };
	bool failed;

	pg->conn = PQconnectStartParams(names, values, 1);
	pg->state = PG_CONNECTING;
	failed = pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD;
	ev_timer_set(&pg->timeout, failed ? 0. : CONNECT_TIMEOUT, 0.);
	ev_timer_start(loop(), &pg->timeout);
	if (failed)
		return;
	PQsetNoticeProcessor(pg->conn, on_notice, NULL);
	watch(pg, EV_WRITE);
}

/* Writes what waits, and watches for what comes next. */
void
pg_flush(struct pg *pg)
{
	int waiting = PQflush(pg->conn);

	if (waiting < 0) {
		/* The server may have said why before it went. */
		PQconsumeInput(pg->conn);
		lost(pg);
		return;
	}
	watch(pg, (waiting ? EV_WRITE : 0) | (pg->paused ? 0 : EV_READ));
}

void
pg_ask(struct pg *pg, const char *sql, pg_answer_fn *answer)
{
	pg->answer = answer;
	pg->state = PG_BUSY;
	if (!PQsendQuery(pg->conn, sql)) {
		/* Told from the loop, since the owner is in the middle of something. */
		ev_timer_set(&pg->timeout, 0., 0.);
		ev_timer_start(loop(), &pg->timeout);
		return;
	}
	watch(pg, EV_READ | EV_WRITE);
}

void
pg_copy_end(struct pg *pg, pg_answer_fn *answer)
{
	pg->answer = answer;
	pg->state = PG_BUSY;
	pg->paused = false;
	watch(pg, EV_READ);
	ev_feed_event(loop(), &pg->io, EV_READ);
}

void
pg_pause(struct pg *pg)
{
	pg->paused = true;
	if (pg->conn != NULL)
		watch(pg, pg->io.events & EV_WRITE);
}

void
pg_resume(struct pg *pg)
{
	if (!pg->paused)
		return;
	pg->paused = false;
	if (pg->conn == NULL)
		return;
	watch(pg, EV_READ | (pg->io.events & EV_WRITE));
	ev_feed_event(loop(), &pg->io, EV_READ);
}

static void
give_answer(struct pg *pg)
{
	PGresult *result = pg->result;
	ExecStatusType status = PQresultStatus(result);
	bool copies = status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;

	pg->result = NULL;
	pg->state = copies ? PG_COPYING : PG_IDLE;
	pg->answer(pg, result);
	PQclear(result);
	if (copies && pg->state == PG_COPYING && !pg->paused)
		ev_feed_event(loop(), &pg->io, EV_READ);
}

static void
take_results(struct pg *pg)
{
	while (!PQisBusy(pg->conn)) {
		PGresult *result = PQgetResult(pg->conn);
		ExecStatusType status = PQresultStatus(result);

		if (result == NULL) {
			if (pg->result != NULL)
				give_answer(pg);
			else
				lost(pg);
			return;
		}
		if (pg->result != NULL && PQresultStatus(pg->result) == PGRES_FATAL_ERROR) {
			PQclear(result);
			continue;
		}
		PQclear(pg->result);
		pg->result = result;
		if (status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
			give_answer(pg);
			return;
		}
	}
}

static void
session_is_set(struct pg *pg, PGresult *result)
{
	ev_timer_stop(loop(), &pg->timeout);
	if (PQresultStatus(result) == PGRES_FATAL_ERROR)
		pg_fail(pg, pg_message(PQresultErrorMessage(result)));
	else
		pg->hooks->opened(pg);
}

static void
go_on_connecting(struct pg *pg)
{
	switch (PQconnectPoll(pg->conn)) {
	case PGRES_POLLING_READING:
		watch(pg, EV_READ);
		break;
	case PGRES_POLLING_WRITING:
		watch(pg, EV_WRITE);
		break;
	case PGRES_POLLING_OK:
		PQsetnonblocking(pg->conn, 1);
		pg_ask(pg, SESSION, session_is_set);
		break;
	default:
		lost(pg);
	}
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	struct pg *pg = w->data;

	(void)l;
	if (pg->conn == NULL)
		return;
	if (pg->state == PG_CONNECTING) {
		/* The socket may be another one after each step, with the same number. */
		ev_io_stop(loop(), &pg->io);
		go_on_connecting(pg);
		return;
	}
	if ((events & EV_READ) && !pg->paused && !PQconsumeInput(pg->conn)) {
		lost(pg);
		return;
	}
	pg_flush(pg);
	if (pg->conn == NULL || pg->paused)
		return;
	if (pg->state == PG_BUSY)
		take_results(pg);
	else if (pg->state == PG_COPYING)
		pg->hooks->copied(pg);
	else if (PQstatus(pg->conn) == CONNECTION_BAD)
		lost(pg);
}

// ---- texts

const char *
pg_url_error(const char *url)
{
	static char text[256];
	char *error = NULL;
	PQconninfoOption *options = PQconninfoParse(url, &error);

	if (options != NULL) {
		PQconninfoFree(options);
		return NULL;
	}
	/* libpq quotes what it does not understand, which may hold the password. */
	snprintf(text, sizeof text, "%s", error != NULL ? pg_message(error) : "out of memory");
	PQfreemem(error);
	if (strchr(text, '"') != NULL)
		return "not a postgresql:// URL nor a conninfo string";
	return text;
}

char *
pg_url_shown(const char *url)
{
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	const char *host = "localhost", *database = "";
	char *shown;

	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
		if (o->val != NULL && strcmp(o->keyword, "host") == 0)
			host = o->val;
		else if (o->val != NULL && strcmp(o->keyword, "dbname") == 0)
			database = o->val;
	}
	shown = xasprintf("%s/%s", host, database);
	PQconninfoFree(options);
	return shown;
}

const char *
pg_message(const char *text)
{
	static char line[512];
	const char *hint = strstr(text, "\n\t"); /* libpq's guesses at the reason */
	size_t n;

	snprintf(line, sizeof line, "%.*s", hint != NULL ? (int)(hint - text) : (int)sizeof line, text);
	n = strlen(line);
	while (n > 0 && line[n - 1] == '\n')
		line[--n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (line[i] == '\n')
			line[i] = ' ';
	return line;
}

bool
pg_failed(const PGresult *result, const char *attempt)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_FATAL_ERROR && status != PGRES_BAD_RESPONSE)
		return false;
	log_error("postgres-error", "attempt=%s message=%s", attempt,
	    log_quote(pg_message(PQresultErrorMessage(result))));
	return true;
}

static void
put_quoted(struct buf *b, const char *s, char quote)
{
	buf_put(b, &quote, 1);
	for (; *s != '\0'; s++) {
		if (*s == quote)
			buf_put(b, &quote, 1);
		buf_put(b, s, 1);
	}
	buf_put(b, &quote, 1);
}

/* standard_conforming_strings is on in every session, so only quotes need doubling. */
void
pg_put_literal(struct buf *b, const char *s)
{
	put_quoted(b, s, '\'');
}

void
pg_put_identifier(struct buf *b, const char *s)
{
	put_quoted(b, s, '"');
}
