/*
 * Direct writes.
 *
 * The log of writes is read from where Postgres' own record of progress says, so nothing is applied twice and
 * nothing left out, whichever process died. One page of it is applied at a time, as one Postgres transaction.
 * When Postgres refuses something, the page is taken again one client transaction at a time, and the one that
 * is refused alone is set aside. What will pass (a lost connection, a deadlock, a failover) is tried again.
 */
#include "direct.h"

#include <ev.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group.h"
#include "log.h"
#include "service.h"
#include "writes.h"
#include "xalloc.h"

#define FIRST_WAIT 0.1 /* seconds before connecting again; doubles */
#define LONGEST	   5.0
#define AGAIN	   0.05 /* seconds before a transaction that met passing trouble is tried again; doubles */

enum state {
	STATE_DOWN, /* waits for the next attempt to connect */
	STATE_CONNECTING,
	STATE_IDLE,	/* connected; nothing to do, or log-store is away */
	STATE_OPENING,	/* asks Postgres how far it is */
	STATE_APPLYING, /* a group is under way */
	STATE_REFUSING	/* the record of a refusal is */
};

static enum state state;
static char *conninfo;
static PGconn *conn;
static ev_io io;
static ev_timer retry;
static double connect_wait = FIRST_WAIT, again_wait = AGAIN;
static bool said_unreachable;

static bool opened;	 /* the log's life and Postgres' progress in it are known */
static uint64_t applied; /* Postgres has committed up to here */

/* What is to be applied: a page of the log of writes, and how much of it. */
static ClientTransaction **page;
static size_t page_n, page_at; /* page[page_at] is next */
static size_t group_n;	       /* transactions of the group that is under way */
static bool one_by_one;	       /* until the page is done */

static char sqlstate[8], *message; /* of the first error in this pipeline */
static uint64_t n_applied, n_rejected;

static void go_on(void);

// ---- the connection

static void
watch(int events)
{
	ev_io_stop(loop(), &io);
	ev_io_set(&io, PQsocket(conn), events);
	ev_io_start(loop(), &io);
}

static void
disconnect(const char *why)
{
	if (!said_unreachable)
		log_warning("postgres-lost", "error=%s next=%s", log_quote(why),
		    log_quote("tries again until it is back"));
	said_unreachable = true;
	ev_io_stop(loop(), &io);
	PQfinish(conn);
	conn = NULL;
	opened = false;
	state = STATE_DOWN;
	ev_timer_stop(loop(), &retry);
	ev_timer_set(&retry, connect_wait, 0.);
	ev_timer_start(loop(), &retry);
	connect_wait = connect_wait * 2 > LONGEST ? LONGEST : connect_wait * 2;
}

static void
begin_connecting(void)
{
	/* Values are read and written as the wire has them, whatever the database's defaults are. */
	const char *keywords[] = { "dbname", "application_name", "connect_timeout", "client_encoding",
		"options", NULL };
	const char *values[] = { conninfo, "leyden pg-publish", "10", "UTF8",
		"-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c search_path=pg_catalog",
		NULL };

	conn = PQconnectStartParams(keywords, values, 1);
	if (conn == NULL || PQstatus(conn) == CONNECTION_BAD) {
		disconnect(conn != NULL ? PQerrorMessage(conn) : "out of memory");
		return;
	}
	state = STATE_CONNECTING;
	watch(EV_WRITE);
}

static void
on_retry(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (state == STATE_DOWN)
		begin_connecting();
	else
		go_on();
}

static void
continue_connecting(void)
{
	switch (PQconnectPoll(conn)) {
	case PGRES_POLLING_READING:
		watch(EV_READ);
		break;
	case PGRES_POLLING_WRITING:
		watch(EV_WRITE);
		break;
	case PGRES_POLLING_OK:
		if (PQsetnonblocking(conn, 1) != 0 || PQenterPipelineMode(conn) != 1) {
			disconnect(PQerrorMessage(conn));
			break;
		}
		log_info("postgres-connected", "host=%s database=%s", PQhost(conn), PQdb(conn));
		said_unreachable = false;
		connect_wait = FIRST_WAIT;
		state = STATE_IDLE;
		group_new_connection();
		watch(EV_READ);
		service_ready("mode=direct_writes");
		go_on();
		break;
	default:
		disconnect(PQerrorMessage(conn));
	}
}

// ---- errors

/* Will it pass? Then it is no fault of the client's transaction. */
static bool
is_passing(const char *code)
{
	static const char *const codes[] = { "40001", "40P01", "55P03", "25006", "57014", NULL };

	for (size_t i = 0; codes[i] != NULL; i++)
		if (strcmp(code, codes[i]) == 0)
			return true;
	/* Connection trouble, lack of resources, an operator's hand, a damaged system: */
	return strncmp(code, "08", 2) == 0 || strncmp(code, "53", 2) == 0 || strncmp(code, "57P", 3) == 0 ||
	       strncmp(code, "58", 2) == 0 || strncmp(code, "XX", 2) == 0 || code[0] == '\0';
}

static void
note_error(const PGresult *r)
{
	const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	if (message != NULL)
		return;
	snprintf(sqlstate, sizeof sqlstate, "%s", code != NULL ? code : "");
	message = xstrdup(text != NULL ? text : PQresultErrorMessage(r));
}

// ---- applying

static void
flush(void)
{
	int rc = PQflush(conn);

	if (rc < 0)
		disconnect(PQerrorMessage(conn));
	else
		watch(rc > 0 ? EV_READ | EV_WRITE : EV_READ);
}

static void
ask_progress(void)
{
	const char *params[] = { writes_life() };

	state = STATE_OPENING;
	if (PQsendQueryParams(conn, "SELECT position FROM electric.publish_progress WHERE id = $1", 1, NULL,
		params, NULL, NULL, 0) != 1 ||
	    PQpipelineSync(conn) != 1)
		disconnect(PQerrorMessage(conn));
	else
		flush();
}

/* The record of its refusal goes in the place of the next transaction. */
static void
set_aside(const char *code, const char *why)
{
	const ClientTransaction *t = page[page_at];

	log_warning("write-rejected", "client_id=%s position=%" PRIu64 " sqlstate=%s error=%s",
	    log_quote(t->client_id), t->position, code, log_quote(why));
	n_rejected++;
	group_n = 1;
	state = STATE_REFUSING;
	if (group_send_refusal(conn, writes_life(), t, code, why))
		flush();
	else
		disconnect(PQerrorMessage(conn));
}

static void
send_group(void)
{
	size_t n = 0;

	/* What was found faulty at the door ends a group, and is set aside when it is the first. */
	while (page_at + n < page_n && page[page_at + n]->sqlstate[0] == '\0' && (n == 0 || !one_by_one))
		n++;
	if (n == 0) {
		set_aside(page[page_at]->sqlstate, page[page_at]->fault);
		return;
	}
	state = STATE_APPLYING;
	group_n = n;
	if (group_send(conn, writes_life(), page + page_at, group_n))
		flush();
	else
		disconnect(PQerrorMessage(conn));
}

/* Does what can be done next. */
static void
go_on(void)
{
	if (state != STATE_IDLE || writes_life()[0] == '\0' || ev_is_active(&retry))
		return;
	if (!opened)
		ask_progress();
	else if (page_at < page_n)
		send_group();
	else
		writes_read(applied);
}

static void
group_done(void)
{
	group_succeeded();
	n_applied += group_n;
	page_at += group_n;
	applied = page[page_at - 1]->position;
	again_wait = AGAIN;
	writes_applied(applied);
	if (page_at == page_n)
		one_by_one = false;
}

static void
group_failed(void)
{
	group_failed_before(sqlstate); /* what was to be prepared after the error was not */
	if (is_passing(sqlstate)) {
		log_warning("write-delayed", "sqlstate=%s error=%s", sqlstate, log_quote(message));
		ev_timer_set(&retry, again_wait, 0.);
		ev_timer_start(loop(), &retry);
		again_wait = again_wait * 2 > LONGEST ? LONGEST : again_wait * 2;
		return;
	}
	if (strcmp(sqlstate, "LE002") == 0)
		return; /* not all rows were new: again, row by row */
	if (group_n > 1) {
		one_by_one = true;
		return;
	}
	set_aside(sqlstate, message);
}

/* The pipeline has been worked off. */
static void
on_sync(void)
{
	enum state was = state;
	bool failed = message != NULL;

	state = STATE_IDLE;
	if (was == STATE_OPENING) {
		if (failed) {
			/* At the first start pg-ingest is still installing the schema. */
			if (strcmp(sqlstate, "42P01") == 0)
				log_debug("schema-awaited", "error=%s", log_quote(message));
			else
				log_warning("progress-unknown", "error=%s", log_quote(message));
			ev_timer_set(&retry, again_wait, 0.);
			ev_timer_start(loop(), &retry);
			again_wait = again_wait * 2 > LONGEST ? LONGEST : again_wait * 2;
		} else {
			opened = true;
			page_n = page_at = 0;
			again_wait = AGAIN;
			writes_applied(applied);
			log_info("publishing", "after=%" PRIu64, applied);
		}
	} else if (!failed) {
		group_done();
	} else {
		group_failed();
	}
	free(message);
	message = NULL;
	go_on();
}

static void
on_result(const PGresult *r)
{
	switch (PQresultStatus(r)) {
	case PGRES_TUPLES_OK:
		if (state == STATE_OPENING)
			applied = PQntuples(r) > 0 ? strtoull(PQgetvalue(r, 0, 0), NULL, 10) : 0;
		break;
	case PGRES_PIPELINE_SYNC:
		on_sync();
		break;
	case PGRES_FATAL_ERROR:
		note_error(r);
		break;
	default:
		break;
	}
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	PGresult *r;
	int nulls = 0;

	(void)l;
	(void)w;
	if (state == STATE_CONNECTING) {
		continue_connecting();
		return;
	}
	if (events & EV_READ) {
		if (PQconsumeInput(conn) != 1) {
			disconnect(PQerrorMessage(conn));
			return;
		}
		/* A NULL ends the results of each command; two in a row: there is nothing more. */
		while (conn != NULL && !PQisBusy(conn) && nulls < 2) {
			r = PQgetResult(conn);
			nulls = r == NULL ? nulls + 1 : 0;
			if (r != NULL)
				on_result(r);
			PQclear(r);
		}
		if (conn != NULL && PQstatus(conn) == CONNECTION_BAD) {
			disconnect(PQerrorMessage(conn));
			return;
		}
	}
	if (conn != NULL)
		flush();
}

// ---- the log

static void
on_opened(bool new_life)
{
	opened &= !new_life;
	go_on();
}

static void
on_page(ClientTransaction **transactions, size_t n)
{
	if (!opened || page_at < page_n)
		return; /* of a read that a reconnection has overtaken */
	page = transactions;
	page_n = n;
	page_at = 0;
	while (page_at < n && page[page_at]->position <= applied)
		page_at++;
	go_on();
}

void
direct_open(const char *url)
{
	static const struct writes_hooks hooks = { on_opened, on_page };

	conninfo = xstrdup(url);
	ev_init(&io, on_io);
	ev_init(&retry, on_retry);
	writes_open(&hooks);
	begin_connecting();
}

char *
direct_status(void)
{
	return xasprintf("\"mode\":\"direct_writes\",\"connected\":%s,\"applied_position\":%" PRIu64
			 ",\"applied\":%" PRIu64 ",\"rejected\":%" PRIu64,
	    state >= STATE_IDLE ? "true" : "false", applied, n_applied, n_rejected);
}
