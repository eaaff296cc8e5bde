/*
 * A connection to Postgres in the loop of the process: libpq without blocking, one command at a time.
 *
 * Every session speaks UTF-8 and writes values in one form, whatever the server's configuration is: UTC, ISO
 * dates, shortest floats, hex bytea, and only pg_catalog on the search_path. Nothing is tried again here: the
 * owner is told of the loss and calls pg_open() when it wants to.
 */
#ifndef LEYDEN_PG_H
#define LEYDEN_PG_H

#include <ev.h>
#include <libpq-fe.h>
#include <stdbool.h>

struct pg;

/*
 * The answer to a command: the first error, or else the last result. Gone after the call. In COPY, `copied`
 * of the hooks is called from then on. May ask the next command, or close.
 */
typedef void pg_answer_fn(struct pg *pg, PGresult *result);

struct pg_hooks {
	void (*opened)(struct pg *pg); /* connected, the session is set up */
	void (*lost)(
	    struct pg *pg, const char *why); /* could not connect, or was connected; pg is closed by now */
	void (*copied)(
	    struct pg *pg); /* COPY data may have come: take it with PQgetCopyData(); may be NULL */
};

struct pg {
	PGconn *conn; /* NULL: closed */
	void *data;   /* the owner's */
	/* the rest is pg.c's own */
	const struct pg_hooks *hooks;
	const char *url, *application;
	bool replication;
	enum { PG_CLOSED, PG_CONNECTING, PG_IDLE, PG_BUSY, PG_COPYING } state;
	bool paused;
	pg_answer_fn *answer;
	PGresult *result;
	ev_io io;
	ev_timer timeout;
};

/*
 * Sets up a closed connection; nothing is copied. `url` is a URL or a conninfo string. `replication`: one
 * that takes replication commands as well as SQL.
 */
void pg_init(struct pg *pg, const char *url, const char *application, bool replication,
    const struct pg_hooks *hooks, void *data);
/* Begins to connect. Ends in opened or in lost, never within the call. */
void pg_open(struct pg *pg);
/* Closes at once, without a call of lost. The server ends what it was doing for us. */
void pg_close(struct pg *pg);
/* Sends a command, which may be several statements (they are then one transaction). None may be under way. */
void pg_ask(struct pg *pg, const char *sql, pg_answer_fn *answer);
/* After PQgetCopyData() returned -1: collects the result of the COPY. */
void pg_copy_end(struct pg *pg, pg_answer_fn *answer);
/* Sends what PQputCopyData() queued. */
void pg_flush(struct pg *pg);
/* Stops and starts reading: what the server sends stays in the socket. Starting calls copied on the next
 * turn. */
void pg_pause(struct pg *pg);
void pg_resume(struct pg *pg);
/* Closes and tells the owner, for what it cannot go on with. */
void pg_fail(struct pg *pg, const char *why);

/* NULL, or why the text is no URL and no conninfo string; without secrets; good until the next call. */
const char *pg_url_error(const char *url);
/* "host/database" for people, without user and password; allocated. */
char *pg_url_shown(const char *url);
/* The result is an error: logs it with what was attempted, and returns true. */
bool pg_failed(const PGresult *result, const char *attempt);
/* A message of libpq on one line, without its guesses; good until the next call. */
const char *pg_message(const char *text);
/* Appends 'a literal' or "an identifier" of SQL. */
struct buf;
void pg_put_literal(struct buf *b, const char *s);
void pg_put_identifier(struct buf *b, const char *s);

#endif
