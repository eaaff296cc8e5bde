/* What Postgres holds back for us. */
#include "observe.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pg.h"
#include "peer.h"
#include "xalloc.h"

#define APPLICATION "leyden pg-ingest observer"

static struct pg pg;
static ev_timer look;
static struct buf question;

/* As of the last look; negative: unknown. */
static struct seen {
	bool known;
	double at; /* loop time */
	char wal_status[16];
	int64_t held, behind, safe, rejected;
} seen;

static int64_t
number_at(const PGresult *r, int column)
{
	return PQgetisnull(r, 0, column) ? -1 : strtoll(PQgetvalue(r, 0, column), NULL, 10);
}

/* No schema yet, or no slot: unknown. The stream's own connection says what is wrong with Postgres. */
static void
on_seen(struct pg *p, PGresult *r)
{
	(void)p;
	seen.known = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1;
	if (!seen.known)
		return;
	seen.at = ev_now(loop());
	seen.held = number_at(r, 0);
	seen.behind = number_at(r, 1);
	seen.safe = number_at(r, 2);
	snprintf(seen.wal_status, sizeof seen.wal_status, "%s", PQgetvalue(r, 0, 3));
	seen.rejected = number_at(r, 4);
}

static void
ask(void)
{
	if (pg.state == PG_IDLE)
		pg_ask(&pg, buf_cstr(&question), on_seen);
}

static void
on_opened(struct pg *p)
{
	(void)p;
	ask();
}

static void
on_lost(struct pg *p, const char *why)
{
	(void)p;
	log_debug("observer-lost", "error=%s", log_quote(why));
	seen.known = false;
}

static void
on_look(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (pg.state == PG_CLOSED)
		pg_open(&pg);
	else
		ask();
}

void
observe_open(const char *url, const char *slot)
{
	static const struct pg_hooks hooks = { on_opened, on_lost, NULL };

	buf_puts(&question,
	    "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint,"
	    " pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint, safe_wal_size, wal_status,"
	    " (SELECT count(*) FROM electric.rejected_writes)"
	    " FROM pg_replication_slots WHERE slot_name = ");
	pg_put_literal(&question, slot);
	pg_init(&pg, url, APPLICATION, false, &hooks, NULL);
	ev_timer_init(&look, on_look, OBSERVE_SECONDS / 4, OBSERVE_SECONDS);
	ev_timer_start(loop(), &look);
}

/* A number as JSON has it. */
static void
put_number(struct buf *b, const char *name, int64_t value)
{
	if (value < 0)
		buf_printf(b, ",\"%s\":null", name);
	else
		buf_printf(b, ",\"%s\":%" PRId64, name, value);
}

char *
observe_status(void)
{
	struct buf b = { 0 };
	char *text;

	if (!seen.known)
		return xstrdup("\"wal_held_bytes\":null,\"wal_behind_bytes\":null,\"rejected_writes\":null");
	buf_printf(&b, "\"observed_seconds_ago\":%.1f,\"wal_status\":\"%s\"", ev_now(loop()) - seen.at,
	    seen.wal_status);
	put_number(&b, "wal_held_bytes", seen.held);
	put_number(&b, "wal_behind_bytes", seen.behind);
	put_number(&b, "wal_safe_bytes", seen.safe);
	put_number(&b, "rejected_writes", seen.rejected);
	text = xstrdup(buf_cstr(&b));
	buf_clear(&b);
	return text;
}

void
observe_metrics(struct metrics *m)
{
	if (!seen.known)
		return;
	metrics_gauge(m, "leyden_postgres_wal_held_bytes",
	    "WAL that Postgres keeps for the replication slot.", (double)seen.held);
	metrics_gauge(m, "leyden_postgres_wal_behind_bytes", "WAL that is not known to be in the log.",
	    (double)seen.behind);
	if (seen.safe >= 0)
		metrics_gauge(m, "leyden_postgres_wal_safe_bytes",
		    "WAL that may still be written before the slot is lost.", (double)seen.safe);
	metrics_gauge(m, "leyden_postgres_rejected_writes",
	    "Refused client transactions that wait for somebody to look at them.", (double)seen.rejected);
}
