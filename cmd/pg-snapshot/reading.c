/* Snapshots of Postgres. */
#include "reading_state.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "peer.h"
#include "push.h"
#include "xalloc.h"

#define APPLICATION	   "leyden pg-snapshot"
#define IDLE		   30.0	  /* seconds until an unused connection is closed */
#define LOCK_WAIT	   "'1s'" /* for the tables' locks, before others have their turn */
#define LOCK_NOT_AVAILABLE "55P03"

const struct reading_hooks *reading_hooks;
static struct worker *workers;
static unsigned n_workers, instance;
static struct reading *all, **end = &all;

// ---- the list

static void
unlist(struct reading *r)
{
	struct reading **at = &all;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	if (*at == NULL)
		end = at;
}

// ---- connections

static void
set_free(struct worker *w)
{
	w->reading = NULL;
	w->tries = 0;
	ev_timer_stop(loop(), &w->idle);
	ev_timer_set(&w->idle, IDLE, 0.);
	ev_timer_start(loop(), &w->idle);
}

static void
on_transaction_ended(struct pg *pg, PGresult *r)
{
	struct worker *w = pg->data;

	w->ending = false;
	if (pg_failed(r, "end-snapshot"))
		pg_close(pg);
	reading_dispatch();
}

/* The reading needs its connection no more. `end`: what ends its transaction; NULL: only closing does. */
void
reading_release(struct reading *r, const char *end_transaction)
{
	struct worker *w = r->worker;

	r->worker = NULL;
	if (w == NULL)
		return;
	set_free(w);
	if (end_transaction == NULL) {
		pg_close(&w->pg);
	} else {
		w->ending = true;
		pg_ask(&w->pg, end_transaction, on_transaction_ended);
	}
}

/* To the end of the queue, without a connection. */
static void
requeue(struct reading *r)
{
	reading_release(r, "ROLLBACK");
	unlist(r);
	r->next = NULL;
	*end = r;
	end = &r->next;
}

static void
on_locked(struct pg *pg, PGresult *result)
{
	struct reading *r = ((struct worker *)pg->data)->reading;
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (state != NULL && strcmp(state, LOCK_NOT_AVAILABLE) == 0) {
		log_info("snapshot-waits", "table=%s note=%s", log_quote(r->take->tables[0]->name),
		    log_quote("somebody holds a lock on one of its tables"));
		requeue(r); /* others may not have to wait */
	} else if (pg_failed(result, "lock-tables")) {
		reading_fail(r, pg_message(PQresultErrorMessage(result)));
	} else {
		r->state = READING_READY;
		r->worker->tries = 0;
		reading_hooks->ready(r);
	}
}

/* The locks come before the snapshot: who is told that all is ready does not wait for Postgres then. */
static void
lock_tables(struct reading *r)
{
	struct buf sql = { 0 };

	/* To compile what reads a table takes Postgres longer than to read many a one. */
	buf_puts(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off; "
		       "SET LOCAL lock_timeout = " LOCK_WAIT "; LOCK TABLE ");
	for (size_t i = 0; i < r->take->n_tables; i++) {
		buf_puts(&sql, i > 0 ? ", " : "");
		pg_put_identifier(&sql, r->take->tables[i]->schema);
		buf_puts(&sql, ".");
		pg_put_identifier(&sql, r->take->tables[i]->name);
	}
	buf_puts(&sql, " IN ACCESS SHARE MODE");
	pg_ask(&r->worker->pg, buf_cstr(&sql), on_locked);
	buf_clear(&sql);
}

void
reading_dispatch(void)
{
	struct reading *r = all, *next;

	for (unsigned i = 0; i < n_workers; i++) {
		struct worker *w = &workers[i];

		if (w->reading != NULL || w->ending)
			continue;
		while (r != NULL && (r->state != READING_QUEUED || r->worker != NULL))
			r = r->next;
		if (r == NULL)
			return;
		next = r->next;
		w->reading = r;
		r->worker = w;
		ev_timer_stop(loop(), &w->idle);
		if (w->pg.conn != NULL)
			lock_tables(r);
		else
			pg_open(&w->pg);
		r = next;
	}
}

static void
on_idle(struct ev_loop *l, ev_timer *timer, int events)
{
	struct worker *w = timer->data;

	(void)l;
	(void)events;
	if (w->reading == NULL && !w->ending)
		pg_close(&w->pg);
}

static void
on_opened(struct pg *pg)
{
	struct worker *w = pg->data;

	if (w->reading != NULL)
		lock_tables(w->reading);
}

static void
clear(struct reading *r)
{
	unlist(r);
	push_forget(r);
	while (r->first != NULL) {
		struct block *b = r->first;

		r->first = b->next;
		block_free(b);
	}
	buf_clear(&r->rows);
	buf_clear(&r->wide);
	arena_clear(&r->row.memory);
	buf_clear(&r->key);
	arena_clear(&r->memory);
	free(r);
}

void
reading_free(struct reading *r)
{
	/* Where nothing is asked of Postgres just now the connection is good for another. */
	reading_release(r, r->state == READING_BEGUN || r->state == READING_READY ? "ROLLBACK" : NULL);
	clear(r);
	reading_dispatch();
}

void
reading_give_up(struct reading *r, const char *why, uint32_t too_long)
{
	log_warning("snapshot-failed", "table=%s error=%s",
	    r->table < r->take->n_tables ? log_quote(r->take->tables[r->table]->name) : "", log_quote(why));
	reading_release(r, NULL);
	reading_hooks->failed(r, why, too_long);
	clear(r);
	reading_dispatch();
}

void
reading_fail(struct reading *r, const char *why)
{
	reading_give_up(r, why, 0);
}

static void
on_lost(struct pg *pg, const char *why)
{
	struct worker *w = pg->data;

	w->ending = false;
	if (w->reading == NULL) {
		reading_dispatch();
	} else if (w->reading->state <= READING_READY && w->tries++ == 0) {
		w->reading->state = READING_QUEUED;
		pg_open(pg);
	} else {
		reading_fail(w->reading, why);
	}
}

/* In rows of nobody's there is nothing that another user may not see. */
static void
put_key(struct buf *key, const TakeSnapshot *take)
{
	TakeSnapshot shared = *take;
	bool owned = false;

	for (size_t i = 0; i < take->n_tables; i++)
		owned |= rows_are_owned(take->tables[i]);
	shared.id = 0;
	if (!owned)
		shared.user_id = (char *)(uintptr_t) "";
	buf_added(key, take_snapshot__pack(&shared, buf_room(key, take_snapshot__get_packed_size(&shared))));
}

struct reading *
reading_find(const TakeSnapshot *take)
{
	struct buf key = { 0 };
	struct reading *r;

	put_key(&key, take);
	for (r = all; r != NULL; r = r->next)
		if (r->state <= READING_READY && r->key.len == key.len &&
		    memcmp(buf_data(&r->key), buf_data(&key), key.len) == 0)
			break;
	buf_clear(&key);
	return r;
}

struct reading *
reading_new(const TakeSnapshot *take)
{
	struct reading *r = xcalloc(1, sizeof *r);
	size_t n = take_snapshot__get_packed_size(take);
	uint8_t *packed = arena_alloc(&r->memory, n);

	take_snapshot__pack(take, packed);
	r->take = take_snapshot__unpack(arena_pb(&r->memory), n, packed);
	put_key(&r->key, take);
	r->known = take->only_known;
	*end = r;
	end = &r->next;
	return r;
}

// ---- the transaction

/* "xmin:xmax:xip,xip" */
static bool
parse_extent(struct reading *r, const char *text)
{
	char *at;

	snapshot_extent__init(&r->extent);
	r->extent.instance = instance;
	r->extent.xmin = strtoull(text, &at, 10);
	if (*at++ != ':')
		return false;
	r->extent.xmax = strtoull(at, &at, 10);
	if (*at++ != ':')
		return false;
	r->extent.xip = arena_alloc(&r->memory, (strlen(at) / 2 + 1) * sizeof *r->extent.xip);
	while (*at != '\0') {
		char *before = at;

		r->extent.xip[r->extent.n_xip++] = strtoull(at, &at, 10);
		if (at == before || (*at != ',' && *at != '\0'))
			return false;
		at += *at == ',';
	}
	return true;
}

static void
on_pushed(void *data, uint64_t lsn, const char *error)
{
	struct reading *r = data;

	if (error != NULL) {
		reading_fail(r, error);
		return;
	}
	r->lsn = lsn;
	r->state = READING_BEGUN;
	reading_hooks->begun(r);
}

static void
on_begun(struct pg *pg, PGresult *result)
{
	struct reading *r = ((struct worker *)pg->data)->reading;

	if (pg_failed(result, "begin-snapshot"))
		reading_fail(r, pg_message(PQresultErrorMessage(result)));
	else if (PQntuples(result) != 1 || !parse_extent(r, PQgetvalue(result, 0, 0)))
		reading_fail(r, "Postgres told no snapshot");
	else
		push_ask(on_pushed, r); /* after the snapshot: what it sees is before that place */
}

void
reading_begin(struct reading *r)
{
	r->state = READING_BEGINNING;
	pg_ask(&r->worker->pg, "SELECT pg_current_snapshot()", on_begun);
}

// ---- all of it

void
reading_open(const char *url, unsigned connections, uint64_t longest, unsigned number,
    const struct reading_hooks *owner)
{
	static const struct pg_hooks pg_hooks = { on_opened, on_lost, reading_copied };

	reading_hooks = owner;
	reading_max_row = longest;
	instance = number;
	rows_open(number);
	n_workers = connections;
	workers = xcalloc(n_workers, sizeof *workers);
	for (unsigned i = 0; i < n_workers; i++) {
		pg_init(&workers[i].pg, url, APPLICATION, false, &pg_hooks, &workers[i]);
		ev_init(&workers[i].idle, on_idle);
		workers[i].idle.data = &workers[i];
	}
	push_open(url);
}

void
reading_count(unsigned *readings, unsigned *queued, unsigned *connections)
{
	*readings = *queued = *connections = 0;
	for (const struct reading *r = all; r != NULL; r = r->next) {
		++*readings;
		*queued += r->state == READING_QUEUED;
	}
	for (unsigned i = 0; i < n_workers; i++)
		*connections += workers[i].pg.conn != NULL;
}

struct reading *
reading_first(void)
{
	return all;
}
