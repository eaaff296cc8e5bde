/* The connection to Postgres. */
#include "session.h"

#include <ev.h>

#include "log.h"
#include "service.h"
#include "xalloc.h"

#define CONNECT_TIMEOUT 10. /* seconds */
#define FIRST_WAIT	0.1 /* seconds before connecting again; doubles */
#define LONGEST		5.0

static const struct session_hooks *hooks;
static char *conninfo;
static PGconn *conn;
static bool connected;
static ev_io io;
static ev_timer retry; /* while there is no connection: its making is given up, or begins anew */
static double delay = FIRST_WAIT;
static bool said_unreachable;

static void
watch(int events)
{
	ev_io_stop(loop(), &io);
	ev_io_set(&io, PQsocket(conn), events);
	ev_io_start(loop(), &io);
}

void
session_drop(const char *why)
{
	if (!said_unreachable)
		log_warning("postgres-lost", "error=%s next=%s", log_quote(why),
		    log_quote("tries again until it is back"));
	said_unreachable = true;
	ev_io_stop(loop(), &io);
	PQfinish(conn);
	conn = NULL;
	if (connected)
		hooks->lost();
	connected = false;
	ev_timer_stop(loop(), &retry);
	ev_timer_set(&retry, delay, 0.);
	ev_timer_start(loop(), &retry);
	delay = delay * 2 > LONGEST ? LONGEST : delay * 2;
}

static void
begin_connecting(void)
{
	/*
	 * Values are read and written as the wire has them, whatever the database's defaults are. What stands
	 * before dbname is a default that the URL may override.
	 */
	const char *keywords[] = { "keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "dbname", "application_name", "client_encoding", "options", NULL };
	const char *values[] = { "30", "10", "3", "60000", conninfo, "leyden pg-publish", "UTF8",
		"-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c search_path=pg_catalog",
		NULL };

	conn = PQconnectStartParams(keywords, values, 1);
	if (conn == NULL || PQstatus(conn) == CONNECTION_BAD) {
		session_drop(conn != NULL ? PQerrorMessage(conn) : "out of memory");
		return;
	}
	watch(EV_WRITE);
	ev_timer_set(&retry, CONNECT_TIMEOUT, 0.);
	ev_timer_start(loop(), &retry);
}

static void
on_retry(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (conn != NULL)
		session_drop("no answer while connecting");
	else
		begin_connecting();
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
			session_drop(PQerrorMessage(conn));
			break;
		}
		log_info("postgres-connected", "host=%s database=%s", PQhost(conn), PQdb(conn));
		said_unreachable = false;
		delay = FIRST_WAIT;
		connected = true;
		ev_timer_stop(loop(), &retry);
		watch(EV_READ);
		hooks->connected(conn);
		break;
	default:
		session_drop(PQerrorMessage(conn));
	}
}

static void
flush(void)
{
	int rc = PQflush(conn);

	if (rc < 0) {
		session_drop(PQerrorMessage(conn));
		return;
	}
	watch(rc > 0 ? EV_READ | EV_WRITE : EV_READ);
	if (rc == 0)
		hooks->sent();
}

void
session_send_off(bool ok)
{
	if (ok)
		flush();
	else
		session_drop(PQerrorMessage(conn));
}

static void
take_results(void)
{
	int nulls = 0;

	/* A NULL ends the results of each command; two in a row: there is nothing more. */
	while (conn != NULL && !PQisBusy(conn) && nulls < 2) {
		PGresult *r = PQgetResult(conn);

		nulls = r == NULL ? nulls + 1 : 0;
		if (r != NULL)
			hooks->result(r);
		PQclear(r);
	}
	if (conn != NULL && PQstatus(conn) == CONNECTION_BAD)
		session_drop(PQerrorMessage(conn));
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	(void)l;
	(void)w;
	if (!connected) {
		continue_connecting();
		return;
	}
	if (events & EV_READ) {
		if (PQconsumeInput(conn) != 1) {
			session_drop(PQerrorMessage(conn));
			return;
		}
		take_results();
	}
	if (conn != NULL)
		flush();
}

void
session_open(const char *url, const struct session_hooks *h)
{
	hooks = h;
	conninfo = xstrdup(url);
	ev_init(&io, on_io);
	ev_init(&retry, on_retry);
	begin_connecting();
}
