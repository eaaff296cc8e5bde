/* Snapshots of Postgres. */
#include "reading.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "peer.h"
#include "pg.h"
#include "push.h"
#include "xalloc.h"

#define APPLICATION	   "leyden pg-snapshot"
#define BLOCK_SIZE	   (32 * 1024) /* bytes, but for one longer row */
#define IDLE		   30.0	       /* seconds until an unused connection is closed */
#define LOCK_WAIT	   "'1s'"      /* for the tables' locks, before others have their turn */
#define LOCK_NOT_AVAILABLE "55P03"

/* A connection. */
struct worker {
	struct pg pg;
	struct reading *reading; /* NULL: free, unless it is ending */
	bool ending;		 /* its last transaction is */
	unsigned tries;
	ev_timer idle;
};

static const struct reading_hooks *hooks;
static struct worker *workers;
static unsigned n_workers, instance;
static uint64_t max_row;
static struct reading *all, **end = &all;
static struct arena scratch; /* of one row */

static void fail(struct reading *r, const char *why);
static void next_table(struct reading *r);

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
static void
release(struct reading *r, const char *end_transaction)
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
	release(r, "ROLLBACK");
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
		fail(r, pg_message(PQresultErrorMessage(result)));
	} else {
		r->state = READING_READY;
		r->worker->tries = 0;
		hooks->ready(r);
	}
}

/* The locks come before the snapshot: who is told that all is ready does not wait for Postgres then. */
static void
lock_tables(struct reading *r)
{
	struct buf sql = { 0 };

	buf_puts(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = " LOCK_WAIT
		       "; LOCK TABLE ");
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
	release(r, r->state == READING_BEGUN || r->state == READING_READY ? "ROLLBACK" : NULL);
	clear(r);
	reading_dispatch();
}

static void
give_up(struct reading *r, const char *why, uint32_t too_long)
{
	log_warning("snapshot-failed", "table=%s error=%s",
	    r->table < r->take->n_tables ? log_quote(r->take->tables[r->table]->name) : "", log_quote(why));
	release(r, NULL);
	hooks->failed(r, why, too_long);
	clear(r);
	reading_dispatch();
}

static void
fail(struct reading *r, const char *why)
{
	give_up(r, why, 0);
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
		fail(w->reading, why);
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
		fail(r, error);
		return;
	}
	r->lsn = lsn;
	r->state = READING_BEGUN;
	hooks->begun(r);
}

static void
on_begun(struct pg *pg, PGresult *result)
{
	struct reading *r = ((struct worker *)pg->data)->reading;

	if (pg_failed(result, "begin-snapshot"))
		fail(r, pg_message(PQresultErrorMessage(result)));
	else if (PQntuples(result) != 1 || !parse_extent(r, PQgetvalue(result, 0, 0)))
		fail(r, "Postgres told no snapshot");
	else
		push_ask(on_pushed, r); /* after the snapshot: what it sees is before that place */
}

void
reading_begin(struct reading *r)
{
	r->state = READING_BEGINNING;
	pg_ask(&r->worker->pg, "SELECT pg_current_snapshot()", on_begun);
}

// ---- rows

static void
flush_rows(struct reading *r, bool goes_on)
{
	struct block *b;

	if (r->rows.len == 0)
		return;
	b = block_put(&r->rows);
	b->relation = r->take->tables[r->table]->relation;
	b->count = r->count;
	b->known = r->known;
	b->continues = r->continues;
	b->goes_on = r->continues = goes_on;
	b->left = r->takers;
	r->count = 0;
	r->held += b->mem != NULL ? b->len : 0;
	if (r->first == NULL)
		r->first = b;
	else
		r->last->next = b;
	r->last = b;
	hooks->grown(r, b);
}

static void
on_copying(struct pg *pg, PGresult *result)
{
	if (pg_failed(result, "read-rows"))
		fail(((struct worker *)pg->data)->reading, pg_message(PQresultErrorMessage(result)));
}

/* The table has been read to its end. */
static void
on_table_read(struct pg *pg, PGresult *result)
{
	struct reading *r = ((struct worker *)pg->data)->reading;

	if (pg_failed(result, "read-rows")) {
		fail(r, pg_message(PQresultErrorMessage(result)));
		return;
	}
	flush_rows(r, false);
	r->in_wide = !r->in_wide && r->wide.len > 0;
	if (r->in_wide) {
		pg_ask(pg, buf_cstr(&r->wide), on_copying);
		return;
	}
	buf_clear(&r->wide);
	r->table++;
	next_table(r);
}

/* Takes a line of COPY; false: it cannot be read. *size: of its row. */
static bool
take_line(struct reading *r, char *line, size_t n, size_t *size)
{
	const Table *table = r->take->tables[r->table];
	bool whole;

	if (r->in_wide) {
		if (!rows_add_piece(&r->rows, &r->row, table, line, n, &whole))
			return false;
		*size = r->row.size;
		r->count += whole;
		if (whole || r->rows.len >= BLOCK_SIZE)
			flush_rows(r, !whole);
		return true;
	}
	*size = n;
	if (r->rows.len + n > BLOCK_SIZE)
		flush_rows(r, false);
	if (r->rows.len == 0)
		buf_room(&r->rows, BLOCK_SIZE);
	arena_reset(&scratch);
	r->count++;
	return rows_add(&r->rows, &scratch, table, line, n);
}

static void
on_copied(struct pg *pg)
{
	struct reading *r = ((struct worker *)pg->data)->reading;

	while (spool_room(r->held)) {
		char *line = NULL;
		size_t size;
		bool taken;
		int n = PQgetCopyData(pg->conn, &line, 1);

		if (n == 0)
			return;
		if (n == -1) {
			pg_copy_end(pg, on_table_read);
			return;
		}
		if (n < 0) {
			pg_fail(pg, PQerrorMessage(pg->conn));
			return;
		}
		taken = take_line(r, line, (size_t)n, &size);
		PQfreemem(line);
		if (!taken) {
			fail(r, "a row cannot be read");
			return;
		}
		if (size > max_row) {
			give_up(r, "a row is longer than PG_SNAPSHOT_MAX_ROW allows",
			    r->take->tables[r->table]->relation);
			return;
		}
	}
	r->waiting = true;
	pg_pause(pg);
}

static void
on_looked_up(struct pg *pg, PGresult *result)
{
	struct reading *r = ((struct worker *)pg->data)->reading;
	struct buf sql = { 0 };

	if (pg_failed(result, "look-up-table"))
		fail(r, pg_message(PQresultErrorMessage(result)));
	else if (!rows_copy(&sql, &r->wide, r->take->tables[r->table], result, r->take, r->known))
		fail(r, "the table is not electrified");
	else
		pg_ask(pg, buf_cstr(&sql), on_copying);
	buf_clear(&sql);
}

/* Of a client that has written all tables are read twice: first without what it has had a part in. */
static void
next_table(struct reading *r)
{
	struct buf sql = { 0 };

	if (r->table == r->take->n_tables && !r->known && r->take->client_id[0] != '\0') {
		r->known = true;
		r->table = 0;
	}
	if (r->table == r->take->n_tables) {
		r->state = READING_WHOLE;
		release(r, "COMMIT");
		hooks->whole(r);
		return;
	}
	rows_lookup(&sql, r->take->tables[r->table]);
	pg_ask(&r->worker->pg, buf_cstr(&sql), on_looked_up);
	buf_clear(&sql);
}

void
reading_go(struct reading *r)
{
	if (r->state != READING_BEGUN)
		return;
	r->state = READING_ROWS;
	next_table(r);
}

void
reading_drop_block(struct reading *r)
{
	struct block *b = r->first;

	r->first = b->next;
	r->held -= b->mem != NULL ? b->len : 0;
	block_free(b);
	for (struct reading *w = all; w != NULL; w = w->next) {
		if (w->waiting && spool_room(w->held)) {
			w->waiting = false;
			pg_resume(&w->worker->pg);
		}
	}
}

// ---- all of it

void
reading_open(const char *url, unsigned connections, uint64_t longest, unsigned number,
    const struct reading_hooks *owner)
{
	static const struct pg_hooks pg_hooks = { on_opened, on_lost, on_copied };

	hooks = owner;
	max_row = longest;
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
