/*
 * Direct writes.
 *
 * The log of writes is read from where Postgres' own record of progress says, so nothing is applied twice and
 * nothing left out, whichever process died. One page of it is applied at a time, as one Postgres transaction.
 * When Postgres refuses something, the page is taken again one transaction at a time, and the one that is
 * refused alone is set aside. What will pass (a lost connection, a deadlock, a failover) is tried again.
 *
 * Where another Postgres leads, the log is what that one tells. An instance that is new to the leader's log
 * first tells its own tables and rows, and asks to be told the leader's.
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
#include "merge.h"
#include "service.h"
#include "session.h"
#include "tables.h"
#include "trouble.h"
#include "writes.h"
#include "xalloc.h"

#define LONGEST	   5.0
#define WISH_AGAIN 0.5	/* seconds before a follower goes on that could not take a row for the second time */
#define AGAIN	   0.05 /* seconds before a transaction that met passing trouble is tried again; doubles */

enum state {
	STATE_DOWN,	  /* not connected */
	STATE_IDLE,	  /* nothing to do, or log-store is away */
	STATE_OPENING,	  /* asks Postgres how far it is */
	STATE_INTRODUCED, /* tells of its own tables and rows */
	STATE_APPLYING,	  /* a group is under way */
	STATE_WISHING,	  /* asks the leader for rows that could not be taken */
	STATE_REFUSING	  /* the record of a refusal is */
};

static enum state state;
static bool several;
static PGconn *conn; /* NULL: there is none */
static ev_timer retry;
static double again_wait = AGAIN;

static bool opened;	 /* the log's life and Postgres' progress in it are known */
static bool is_new;	 /* Postgres has no progress there */
static int64_t session;	 /* the number of this one in Postgres */
static uint64_t applied; /* Postgres has committed up to here */
static uint64_t wal_end; /* of Postgres' WAL when this session began */

/* What is to be applied: a page of the log, and how much of it. */
static const struct write *page;
static size_t page_n, page_at; /* page[page_at] is next */
static size_t group_n;	       /* of the page, in the group that is under way */
static bool one_by_one;	       /* until the page is done */
static bool unfinished;	       /* more parts of what was sent are to follow */
static bool brought, looking;  /* the group has brought tables; they are being asked for */
static bool refused;	       /* the next one is to be set aside, as refused_as and refused_for say */
static char refused_as[8], *refused_for;
static uint64_t looked_for; /* position for whose sake the tables were asked for again */

static uint64_t n_applied, n_rejected;
static double group_sent; /* loop time at which it went out */
static struct histogram commits;

static void go_on(void);

// ---- the connection

static void
on_connected(PGconn *connection)
{
	conn = connection;
	state = STATE_IDLE;
	group_new_connection();
	service_ready("mode=direct_writes");
	go_on();
}

static void
on_lost(void)
{
	conn = NULL;
	opened = false;
	trouble_forget();
	state = STATE_DOWN;
	ev_timer_stop(loop(), &retry);
}

static void
on_retry(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	go_on();
}

// ---- applying

/* Users' triggers have run in the Postgres that leads. */
static void
ask_progress(void)
{
	const char *params[] = { writes_life() }, *role[] = { writes_follows() ? "replica" : "origin" };

	state = STATE_OPENING;
	is_new = true;
	unfinished = brought = looking = refused = false;
	page_n = page_at = group_n = 0;
	session_send_off(PQsendQueryParams(conn, "SELECT * FROM electric.begin_publishing($1)", 1, NULL,
			     params, NULL, NULL, 0) == 1 &&
			 (!several || PQsendQueryParams(conn,
					  "SELECT set_config('session_replication_role', $1, false)"
					  " WHERE current_setting('session_replication_role') <> $1",
					  1, NULL, role, NULL, NULL, 0) == 1) &&
			 PQsendQueryParams(conn, TABLES_QUERY, 0, NULL, NULL, NULL, NULL, 0) == 1 &&
			 PQpipelineSync(conn) == 1);
}

static const struct progress *
progress(void)
{
	static struct progress p;

	p = (struct progress){ writes_life(), session, applied };
	return &p;
}

/* Postgres knows where in the leader's log it begins once it has told of its own. */
static void
introduce(void)
{
	if (state != STATE_INTRODUCED || conn == NULL)
		return;
	session_send_off(group_send_introduction(conn, progress()));
}

static void
on_wish_stored(void)
{
	if (state != STATE_WISHING)
		return;
	state = STATE_REFUSING;
	session_send_off(group_send_refusal(
	    conn, progress(), &page[page_at], page[page_at].told->part == 0, true, refused_as, refused_for));
}

/* The record of its refusal goes in the place of the next transaction. What the leader has taken, this
 * Postgres is to take, too, once the leader has seen what stands against it here. */
static void
send_refusal(void)
{
	const struct write *w = &page[page_at];
	bool first = !unfinished;

	if (first && w->told != NULL && w->told->only_client[0] != '\0') {
		log_debug("row-refused", "position=%" PRIu64 " sqlstate=%s error=%s", w->position, refused_as,
		    log_quote(refused_for));
	} else if (first) {
		log_warning("write-rejected", "client_id=%s position=%" PRIu64 " sqlstate=%s error=%s",
		    log_quote(w->client->client_id), w->position, refused_as, log_quote(refused_for));
		n_rejected++;
	}
	group_n = 1;
	unfinished = !w->last;
	if (writes_follows()) {
		state = STATE_WISHING;
		writes_ask_rows(w->told, on_wish_stored);
		return;
	}
	state = STATE_REFUSING;
	session_send_off(group_send_refusal(conn, progress(), w, first, false, refused_as, refused_for));
}

static void
refuse_next(const char *code, const char *why)
{
	refused = true;
	snprintf(refused_as, sizeof refused_as, "%s", code);
	free(refused_for);
	refused_for = xstrdup(why);
}

/* Rows that follow in it may be of tables that are not there before. */
static bool
brings_tables(const struct write *w)
{
	return w->told != NULL && merge_brings_tables(w->told);
}

/* It goes in a Postgres transaction of its own. */
static bool
is_apart(const struct write *w)
{
	return w->client->introduce || brings_tables(w);
}

/* Tables of this Postgres that were made since it was asked are looked for once. */
static bool
has_to_look(const struct write *w)
{
	if (brings_tables(w) || looked_for == w->position)
		return false;
	return w->told != NULL ? !tables_are_known(w->told->tables, w->told->n_tables)
			       : !tables_are_known(w->client->tables, w->client->n_tables);
}

/* How many of the page go out together. */
static size_t
next_group(void)
{
	size_t n = 0;

	for (; page_at + n < page_n; n++) {
		const struct write *w = &page[page_at + n];
		bool begins = n == 0 ? !unfinished : page[page_at + n - 1].last;

		if (begins && has_to_look(w))
			break;
		if (w->told == NULL)
			tables_localize(w->client);
		/* What was found faulty ends a group, and is set aside when it is the first. */
		if (n > 0 && begins && (one_by_one || brought || w->client->sqlstate[0] != '\0'))
			break;
		if (is_apart(w))
			return n > 0 ? n : 1;
	}
	return n;
}

static void
send_group(void)
{
	size_t n = next_group();

	if (n == 0) {
		looked_for = page[page_at].position;
		opened = false;
		ask_progress();
		return;
	}
	if (!unfinished && page[page_at].client->sqlstate[0] != '\0')
		refuse_next(page[page_at].client->sqlstate, page[page_at].client->fault);
	if (refused) {
		send_refusal();
		return;
	}
	state = STATE_APPLYING;
	group_sent = ev_now(loop());
	group_n = n;
	unfinished = true;
	if (brings_tables(&page[page_at])) {
		brought = looking = true;
		session_send_off(group_send_tables(conn, &page[page_at], writes_follows()));
		return;
	}
	unfinished = !page[page_at + n - 1].last;
	session_send_off(
	    group_send(conn, progress(), page + page_at, group_n, !unfinished, writes_follows()));
	if (!unfinished && page_at + group_n == page_n)
		writes_read_ahead(page[page_n - 1].position);
}

/* The tables that it brought are known: its rows follow. */
static void
tables_known(void)
{
	looking = false;
	unfinished = !page[page_at].last;
	session_send_off(group_send_rest(conn, progress(), &page[page_at], !unfinished, writes_follows()));
}

/* A part has gone out; the next one is fetched once Postgres has taken it. */
static void
part_sent(void)
{
	const struct write *last;

	if (!unfinished || looking || (state != STATE_APPLYING && state != STATE_REFUSING) || group_n == 0)
		return;
	last = &page[page_at + group_n - 1];
	page_at += group_n;
	group_n = 0;
	if (page_at < page_n) {
		if (state == STATE_REFUSING)
			send_refusal();
		else
			send_group();
	} else if (writes_follows()) {
		writes_read(last->position - 1, last->told->part + 1);
	} else {
		writes_read(last->position, 0);
	}
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
		writes_read(applied, 0);
}

static void
group_done(void)
{
	group_succeeded();
	n_applied += group_n;
	histogram_observe(&commits, ev_now(loop()) - group_sent);
	page_at += group_n;
	applied = page[page_at - 1].position;
	again_wait = AGAIN;
	if (refused && page[page_at - 1].told != NULL && page[page_at - 1].told->only_client[0] != '\0') {
		/* It is refused again: whatever stands against it needs time to come to the leader. */
		ev_timer_set(&retry, WISH_AGAIN, 0.);
		ev_timer_start(loop(), &retry);
	}
	refused = false;
	writes_applied(applied, wal_end);
	if (page_at == page_n)
		one_by_one = false;
	brought = false;
}

/* Parts of it that were sent are no longer at hand. */
static void
begin_again(void)
{
	if (page_at + group_n <= page_n && page_at < page_n && page[page_at].position > applied &&
	    (page[page_at].told == NULL || page[page_at].told->part == 0))
		return;
	page_n = page_at = 0;
}

/* Writes wait until it has passed. */
static void
delay(const struct trouble *trouble)
{
	/* At the first start pg-ingest is still installing the schema. */
	if (strcmp(trouble->sqlstate, "3F000") == 0 || strcmp(trouble->sqlstate, "42883") == 0)
		log_debug("schema-awaited", "error=%s", log_quote(trouble->message));
	else
		log_warning(
		    "write-delayed", "sqlstate=%s error=%s", trouble->sqlstate, log_quote(trouble->message));
	ev_timer_set(&retry, again_wait, 0.);
	ev_timer_start(loop(), &retry);
	again_wait = again_wait * 2 > LONGEST ? LONGEST : again_wait * 2;
}

static void
group_failed(const struct trouble *trouble)
{
	bool again = group_failed_before(trouble->sqlstate);

	brought = false;
	begin_again();
	if (trouble_is_outdated())
		opened = false;
	if (trouble_is_outdated() || trouble_is_passing()) {
		delay(trouble);
		return;
	}
	if (strcmp(trouble->sqlstate, "LE003") == 0) {
		opened = false; /* another session has begun */
		return;
	}
	if (again)
		return;
	if (!one_by_one) {
		one_by_one = true;
		return;
	}
	refuse_next(trouble->sqlstate, trouble->message);
}

/* The log and Postgres are known. */
static void
progress_known(void)
{
	again_wait = AGAIN;
	if (writes_follows() && applied < writes_log_since()) {
		applied = writes_log_since();
		is_new = false;
	}
	if (writes_follows() && is_new) {
		state = STATE_INTRODUCED;
		applied = writes_log_last();
		log_info("introducing", "after=%" PRIu64, applied);
		writes_ask_introduction(introduce);
		return;
	}
	opened = true;
	writes_applied(applied, wal_end);
	log_info("publishing", "after=%" PRIu64 " follows=%s", applied, writes_follows() ? "true" : "false");
}

/* The pipeline has been worked off. */
static void
on_sync(void)
{
	enum state was = state;
	const struct trouble *trouble = trouble_first();

	state = STATE_IDLE;
	unfinished = looking = false;
	if (was == STATE_OPENING || was == STATE_INTRODUCED) {
		if (trouble != NULL)
			delay(trouble);
		else if (was == STATE_OPENING)
			progress_known();
	} else if (trouble == NULL) {
		group_done();
	} else {
		group_failed(trouble);
	}
	trouble_forget();
	go_on();
}

/* What could not be taken over of another Postgres' tables, a line each. */
static void
say_apart(const char *lines)
{
	for (const char *end; (end = strchr(lines, '\n')) != NULL; lines = end + 1) {
		char *line = xmemdup0(lines, (size_t)(end - lines));

		log_error("table-apart", "why=%s next=%s", log_quote(line),
		    log_quote("no rows of it travel between the instances; all else does"));
		free(line);
	}
}

static void
on_tuples(const PGresult *r)
{
	const char *column = PQfname(r, 0);

	if (strcmp(column, "take_tables") == 0)
		say_apart(PQgetvalue(r, 0, 0));
	else if (strcmp(column, "session") == 0) {
		session = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
		is_new = PQgetisnull(r, 0, 1);
		applied = strtoull(PQgetvalue(r, 0, 1), NULL, 10);
		wal_end = strtoull(PQgetvalue(r, 0, 2), NULL, 10);
	} else if (PQnfields(r) > 1) {
		tables_load(r);
		if (state == STATE_APPLYING && looking)
			tables_known();
	}
}

/* It has failed before it was sent whole. */
static void
give_up_group(void)
{
	looking = unfinished = false;
	session_send_off(PQpipelineSync(conn) == 1);
}

static void
on_result(const PGresult *r)
{
	switch (PQresultStatus(r)) {
	case PGRES_TUPLES_OK:
		on_tuples(r);
		break;
	case PGRES_PIPELINE_SYNC:
		on_sync();
		break;
	case PGRES_FATAL_ERROR:
		trouble_note(r);
		if (looking)
			give_up_group();
		break;
	default:
		break;
	}
}

// ---- the log

static void
on_opened(bool another)
{
	if (another && (state >= STATE_INTRODUCED || unfinished)) {
		session_drop("another log is to be followed");
		return;
	}
	opened &= !another;
	go_on();
}

static void
on_page(const struct write *writes, size_t n)
{
	bool continues = unfinished && (state == STATE_APPLYING || state == STATE_REFUSING);

	if (!opened || page_at < page_n || (!continues && state != STATE_IDLE))
		return; /* of a read that a reconnection has overtaken */
	page = writes;
	page_n = n;
	page_at = 0;
	while (page_at < n && page[page_at].position <= applied)
		page_at++;
	if (!continues || page_at == page_n)
		go_on();
	else if (state == STATE_REFUSING)
		send_refusal();
	else
		send_group();
}

/* Others have gone on without this Postgres for longer than the log goes back. */
static void
on_gone(void)
{
	if (conn == NULL || !opened)
		return;
	log_warning("log-gone", "after=%" PRIu64 " next=%s", applied,
	    log_quote("tells of its tables and rows anew, and takes the leader's"));
	opened = false;
	if (state != STATE_IDLE) {
		session_drop("what is to be followed is no longer in the log");
		return;
	}
	is_new = true;
	progress_known();
}

void
direct_open(const char *url, bool one_of_several)
{
	static const struct writes_hooks writes_hooks = { on_opened, on_page, on_gone };
	static const struct session_hooks session_hooks = { on_connected, on_lost, on_result, part_sent };

	several = one_of_several;
	ev_init(&retry, on_retry);
	writes_open(&writes_hooks);
	session_open(url, &session_hooks);
}

char *
direct_status(void)
{
	return xasprintf("\"mode\":\"%s\",\"connected\":%s,\"applied_position\":%" PRIu64
			 ",\"applied\":%" PRIu64 ",\"rejected\":%" PRIu64,
	    writes_follows() ? "follows" : "direct_writes", state >= STATE_IDLE ? "true" : "false", applied,
	    n_applied, n_rejected);
}

void
direct_metrics(struct metrics *m)
{
	metrics_gauge(
	    m, "leyden_publish_connected", "Whether Postgres can be written to.", state >= STATE_IDLE);
	metrics_counter(
	    m, "leyden_applied_writes_total", "Client transactions that Postgres took.", (double)n_applied);
	metrics_counter(m, "leyden_rejected_writes_total", "Client transactions that Postgres refused.",
	    (double)n_rejected);
	metrics_histogram(m, "leyden_publish_commit_seconds",
	    "Time that Postgres takes for a group of client transactions, with its commit.", "", &commits);
}
