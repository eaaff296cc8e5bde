/*
 * Our subscription in Postgres. It is looked at, the first thing that is not right is put right, and it is
 * looked at again, until nothing is left to do.
 */
#include "subscription.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "log.h"
#include "peer.h"
#include "pg.h"
#include "publisher.h"
#include "service.h"
#include "xalloc.h"

#define FIRST_WAIT 0.2 /* seconds before trying again; doubles */
#define LONGEST	   5.0
#define NAME	   "electric_replication_in"

static const struct subscription_hooks *hooks;
static struct pg pg;
static char *name, *conninfo; /* of the subscription */
static ev_timer retry;
static double wait = FIRST_WAIT;
static bool ready, said_lost;
static char asked_life[64];	     /* progress in it is wanted; "": not */
static bool asked_rejected;	     /* what is new in electric.rejected_writes is wanted */
static long long seen_rejected = -1; /* the greatest id there that is known; -1: none was read yet */

static void look(void);
static void ask(void);

static void
again_later(void)
{
	ev_timer_stop(loop(), &retry);
	ev_timer_set(&retry, wait, 0.);
	ev_timer_start(loop(), &retry);
	wait = wait * 2 > LONGEST ? LONGEST : wait * 2;
}

/* 42501: the role may not; no attempt will change that. */
static bool
is_forbidden(const PGresult *r)
{
	const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	return code != NULL && strcmp(code, "42501") == 0;
}

/* An error in what was attempted. */
static void
trouble(const PGresult *r, const char *attempt)
{
	if (is_forbidden(r))
		service_config_error("ELECTRIC_WRITE_TO_PG_MODE",
		    "logical_replication needs a superuser (%s); direct_writes does not",
		    PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
	pg_failed(r, attempt);
	again_later();
}

static void
on_step(struct pg *p, PGresult *r)
{
	(void)p;
	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		trouble(r, "put the subscription right");
	else
		look();
}

/* "…" is the subscription's name. */
static void
step(const char *before, const char *after)
{
	struct buf sql = { 0 };

	buf_puts(&sql, before);
	pg_put_identifier(&sql, name);
	buf_puts(&sql, after);
	pg_ask(&pg, buf_cstr(&sql), on_step);
	buf_clear(&sql);
}

static void
step_with_conninfo(const char *before, const char *after)
{
	struct buf clause = { 0 };

	buf_puts(&clause, " CONNECTION ");
	pg_put_literal(&clause, conninfo);
	buf_puts(&clause, after);
	step(before, buf_cstr(&clause));
	buf_clear(&clause);
}

static void
on_look(struct pg *p, PGresult *r)
{
	(void)p;
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		trouble(r, "look at the subscription");
	} else if (PQgetvalue(r, 0, 0)[0] == 'f') {
		again_later(); /* pg-ingest has not installed the schema yet */
	} else if (PQgetisnull(r, 0, 1)) {
		log_info("subscription-created", "name=%s", log_quote(name));
		step_with_conninfo(
		    "CREATE SUBSCRIPTION ", " PUBLICATION electric_publication WITH (connect = false)");
	} else if (strcmp(PQgetvalue(r, 0, 1), conninfo) != 0) {
		log_info("subscription-moved", "name=%s", log_quote(name));
		step_with_conninfo("ALTER SUBSCRIPTION ", "");
	} else if (PQgetvalue(r, 0, 2)[0] == 'f') {
		step("ALTER SUBSCRIPTION ", " ENABLE");
	} else if (PQgetvalue(r, 0, 3)[0] == 'f') {
		step("ALTER SUBSCRIPTION ", " REFRESH PUBLICATION WITH (copy_data = false)");
	} else {
		wait = FIRST_WAIT;
		ready = true;
		asked_rejected = true;
		hooks->ready();
		ask();
	}
}

static void
look(void)
{
	struct buf sql = { 0 };

	buf_puts(&sql, "SELECT to_regclass('electric.incoming') IS NOT NULL, s.subconninfo, s.subenabled, "
		       "EXISTS (SELECT FROM pg_subscription_rel AS r WHERE r.srsubid = s.oid "
		       "AND r.srrelid = to_regclass('electric.incoming')) "
		       "FROM (VALUES (");
	pg_put_literal(&sql, name);
	buf_puts(&sql, ")) AS own (name) LEFT JOIN pg_subscription AS s ON s.subname = own.name "
		       "AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())");
	pg_ask(&pg, buf_cstr(&sql), on_look);
	buf_clear(&sql);
}

static void
on_progress(struct pg *p, PGresult *r)
{
	(void)p;
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		trouble(r, "ask for the progress");
		return;
	}
	hooks->progress(PQgetisnull(r, 0, 0) ? 0 : strtoull(PQgetvalue(r, 0, 0), NULL, 10));
	ask();
}

/*
 * The worker does not wait until its commits are durable. This one, which reads the progress, is, and makes
 * durable what was read.
 */
static void
ask_progress(void)
{
	struct buf sql = { 0 };

	buf_puts(&sql, "SELECT position FROM electric.begin_publishing(");
	pg_put_literal(&sql, asked_life);
	buf_puts(&sql, ")");
	asked_life[0] = '\0';
	pg_ask(&pg, buf_cstr(&sql), on_progress);
	buf_clear(&sql);
}

static void
on_rejected(struct pg *p, PGresult *r)
{
	int n = PQntuples(r);
	bool first = seen_rejected < 0;

	(void)p;
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		trouble(r, "ask for rejected writes");
		return;
	}
	if (first)
		seen_rejected = 0;
	for (int i = 0; i < n; i++) {
		seen_rejected = atoll(PQgetvalue(r, i, 0));
		if (!first)
			log_warning("write-rejected", "client_id=%s id=%lld sqlstate=%s error=%s",
			    log_quote(PQgetvalue(r, i, 1)), seen_rejected, PQgetvalue(r, i, 2),
			    log_quote(PQgetvalue(r, i, 3)));
	}
	if (!first && n > 0)
		hooks->rejected((unsigned)n);
	ask();
}

/* The first time only where the list ends. */
static void
ask_rejected(void)
{
	char sql[160];

	snprintf(sql, sizeof sql,
	    seen_rejected < 0 ? "SELECT id FROM electric.rejected_writes ORDER BY id DESC LIMIT 1"
			      : "SELECT id, client_id, sqlstate, message FROM electric.rejected_writes WHERE "
				"id > %lld ORDER BY id",
	    seen_rejected);
	asked_rejected = false;
	pg_ask(&pg, sql, on_rejected);
}

static void
ask(void)
{
	if (!ready || pg.state != PG_IDLE)
		return;
	if (asked_life[0] != '\0')
		ask_progress();
	else if (asked_rejected)
		ask_rejected();
}

static void
on_opened(struct pg *p)
{
	(void)p;
	if (said_lost)
		log_info("postgres-connected", "name=%s", log_quote(name));
	said_lost = false;
	look();
}

static void
on_lost(struct pg *p, const char *why)
{
	(void)p;
	ready = false;
	if (!said_lost)
		log_warning("postgres-lost", "error=%s next=%s", log_quote(why),
		    log_quote("tries again until it is back"));
	said_lost = true;
	again_later();
}

static void
on_retry(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (pg.state == PG_CLOSED)
		pg_open(&pg);
	else if (ready)
		ask();
	else
		look();
}

/* A value of a conninfo string. */
static void
put_quoted(struct buf *out, const char *value)
{
	buf_puts(out, "'");
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			buf_puts(out, "\\");
		buf_put(out, value, 1);
	}
	buf_puts(out, "'");
}

void
subscription_open(const char *url, const char *host, unsigned port, const char *password,
    const struct subscription_hooks *h)
{
	static const struct pg_hooks pg_hooks = { .opened = on_opened, .lost = on_lost };
	struct buf info = { 0 };

	hooks = h;
	name = service_instance() > 1 ? xasprintf(NAME "_%u", service_instance()) : xstrdup(NAME);
	buf_puts(&info, "host=");
	put_quoted(&info, host);
	buf_printf(&info,
	    " port=%u dbname=electric user=" PUBLISHER_USER " password=%s sslmode=require gssencmode=disable "
	    "connect_timeout=5",
	    port, password);
	conninfo = xstrdup(buf_cstr(&info));
	buf_clear(&info);
	ev_init(&retry, on_retry);
	pg_init(&pg, url, "leyden pg-publish", false, &pg_hooks, NULL);
	pg_open(&pg);
}

void
subscription_progress(const char *life)
{
	snprintf(asked_life, sizeof asked_life, "%s", life);
	ask();
}

void
subscription_rejected(void)
{
	asked_rejected = true;
	ask();
}

bool
subscription_is_ready(void)
{
	return ready;
}
