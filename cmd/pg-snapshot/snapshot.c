/* Snapshots that gateways have asked for. */
#include "snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pbwire.h"
#include "pg.h"
#include "push.h"
#include "rows.h"
#include "satellite.h"
#include "xalloc.h"

#define APPLICATION "leyden pg-snapshot"
#define FRAME_SIZE  (256 * 1024) /* bytes of rows in one frame, but for one longer row */
#define IDLE	    30.0	 /* seconds until an unused connection is closed */

struct worker;

struct snapshot {
	uint32_t id;
	struct peer *peer;
	struct arena arena; /* of what was asked for */
	const TakeSnapshot *take;
	struct worker *worker; /* NULL: queued */
	bool ready, begun, has_extent, ended;
	SnapshotExtent extent;
	size_t table;	  /* which is being read, or is next */
	bool reading;	  /* a query for it is under way */
	bool table_read;  /* all of it has come; some may be in the batch */
	uint64_t credit;  /* bytes */
	struct buf batch; /* rows of the table that are not sent yet */
	uint32_t count;	  /* how many */
	struct buf known; /* rows that the client has had a part in: they come last */
	struct snapshot *next;
};

struct worker {
	struct pg pg;
	struct snapshot *snapshot; /* NULL: free */
	unsigned tries;
	ev_timer idle;
};

static struct worker *workers;
static unsigned n_workers, instance;
static struct snapshot *all, **end = &all; /* in the order in which they were asked for */
static struct arena scratch;		   /* of one row */

static void dispatch(void);
static void send_rows(struct snapshot *s);

// ---- the list

static struct snapshot *
find(const struct peer *peer, uint32_t id)
{
	for (struct snapshot *s = all; s != NULL; s = s->next)
		if (s->peer == peer && s->id == id)
			return s;
	return NULL;
}

/* Takes it out and frees it; its connection is free again. */
static void
finish(struct snapshot *s, bool reusable)
{
	struct worker *w = s->worker;
	struct snapshot **at = &all;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (*at == NULL)
		end = at;
	push_forget(s);
	if (w != NULL) {
		w->snapshot = NULL;
		if (!reusable)
			pg_close(&w->pg);
		ev_timer_stop(loop(), &w->idle);
		ev_timer_set(&w->idle, IDLE, 0.);
		ev_timer_start(loop(), &w->idle);
	}
	buf_clear(&s->batch);
	buf_clear(&s->known);
	arena_clear(&s->arena);
	free(s);
}

/* Tells the peer why there is no snapshot, and ends it. */
static void
fail(struct snapshot *s, const char *why)
{
	SnapshotFailed failed = SNAPSHOT_FAILED__INIT;

	log_warning(
	    "snapshot-failed", "peer=%s id=%" PRIu32 " error=%s", s->peer->tool, s->id, log_quote(why));
	failed.id = s->id;
	failed.message = (char *)(uintptr_t)why;
	peer_send(s->peer, FRAME__BODY_SNAPSHOT_FAILED, &failed);
	finish(s, false);
	dispatch();
}

// ---- a connection for each

static void
tell_ready(struct snapshot *s)
{
	SnapshotReady ready = SNAPSHOT_READY__INIT;

	s->ready = true;
	s->worker->tries = 0;
	ready.id = s->id;
	peer_send(s->peer, FRAME__BODY_SNAPSHOT_READY, &ready);
}

static void
on_opened(struct pg *pg)
{
	struct worker *w = pg->data;

	if (w->snapshot != NULL && !w->snapshot->ready)
		tell_ready(w->snapshot);
}

static void
on_lost(struct pg *pg, const char *why)
{
	struct worker *w = pg->data;

	if (w->snapshot == NULL)
		return;
	if (!w->snapshot->begun && w->tries++ == 0) {
		w->snapshot->ready = false;
		pg_open(pg);
		return;
	}
	w->tries = 0;
	fail(w->snapshot, why);
}

/* Gives the free connections to the oldest that wait. */
static void
dispatch(void)
{
	struct snapshot *s = all;

	for (unsigned i = 0; i < n_workers; i++) {
		struct worker *w = &workers[i];

		if (w->snapshot != NULL)
			continue;
		while (s != NULL && s->worker != NULL)
			s = s->next;
		if (s == NULL)
			return;
		w->snapshot = s;
		s->worker = w;
		ev_timer_stop(loop(), &w->idle);
		if (w->pg.conn != NULL)
			tell_ready(s);
		else
			pg_open(&w->pg);
	}
}

static void
on_idle(struct ev_loop *l, ev_timer *timer, int events)
{
	struct worker *w = timer->data;

	(void)l;
	(void)events;
	if (w->snapshot == NULL)
		pg_close(&w->pg);
}

// ---- the transaction

/* "xmin:xmax:xip,xip" */
static bool
parse_extent(struct snapshot *s, const char *text)
{
	char *at;

	snapshot_extent__init(&s->extent);
	s->extent.xmin = strtoull(text, &at, 10);
	if (*at++ != ':')
		return false;
	s->extent.xmax = strtoull(at, &at, 10);
	if (*at++ != ':')
		return false;
	s->extent.xip = arena_alloc(&s->arena, (strlen(at) / 2 + 1) * sizeof *s->extent.xip);
	while (*at != '\0') {
		char *before = at;

		s->extent.xip[s->extent.n_xip++] = strtoull(at, &at, 10);
		if (at == before || (*at != ',' && *at != '\0'))
			return false;
		at += *at == ',';
	}
	return true;
}

static void
on_pushed(void *data, uint64_t lsn, const char *error)
{
	struct snapshot *s = data;
	SnapshotBegun begun = SNAPSHOT_BEGUN__INIT;

	if (error != NULL) {
		fail(s, error);
		return;
	}
	s->has_extent = true;
	begun.id = s->id;
	begun.extent = &s->extent;
	begun.lsn = lsn;
	peer_send(s->peer, FRAME__BODY_SNAPSHOT_BEGUN, &begun);
	send_rows(s);
}

static void
on_begun(struct pg *pg, PGresult *r)
{
	struct worker *w = pg->data;
	struct snapshot *s = w->snapshot;

	if (pg_failed(r, "begin-snapshot"))
		fail(s, pg_message(PQresultErrorMessage(r)));
	else if (PQntuples(r) != 1 || !parse_extent(s, PQgetvalue(r, 0, 0)))
		fail(s, "Postgres told no snapshot");
	else
		push_ask(on_pushed, s); /* after the snapshot: what it sees is before that place */
}

// ---- rows

/* What one frame may hold now. */
static size_t
frame_limit(const struct snapshot *s)
{
	return s->credit < FRAME_SIZE ? (size_t)s->credit : FRAME_SIZE;
}

static void
flush_batch(struct snapshot *s)
{
	struct buf body = { 0 };

	pb_put_uint(&body, 1, s->id);
	pb_put_uint(&body, 2, s->take->tables[s->table]->relation);
	pb_put_uint(&body, 3, s->count);
	pb_put_bytes(&body, 4, buf_data(&s->batch), s->batch.len);
	peer_send_packed(s->peer, FRAME__BODY_ROWS_READ, &body);
	buf_clear(&body);
	s->credit = s->credit > s->batch.len ? s->credit - s->batch.len : 0;
	s->count = 0;
	buf_take(&s->batch, s->batch.len);
}

static void
on_ended(struct pg *pg, PGresult *r)
{
	struct worker *w = pg->data;

	finish(w->snapshot, !pg_failed(r, "end-snapshot"));
	dispatch();
}

static void
end_snapshot(struct snapshot *s)
{
	SnapshotEnded ended = SNAPSHOT_ENDED__INIT;

	s->ended = true;
	ended.id = s->id;
	ended.known = (ProtobufCBinaryData){ s->known.len, buf_data(&s->known) };
	peer_send(s->peer, FRAME__BODY_SNAPSHOT_ENDED, &ended);
	pg_ask(&s->worker->pg, "COMMIT", on_ended);
}

/* The table has been read to its end. */
static void
on_table_read(struct pg *pg, PGresult *r)
{
	struct snapshot *s = ((struct worker *)pg->data)->snapshot;

	if (pg_failed(r, "read-rows")) {
		fail(s, pg_message(PQresultErrorMessage(r)));
		return;
	}
	s->reading = false;
	s->table_read = true;
	send_rows(s);
}

static void
on_copied(struct pg *pg)
{
	struct snapshot *s = ((struct worker *)pg->data)->snapshot;
	const Table *table = s->take->tables[s->table];

	while (s->credit > 0) {
		ProtobufCBinaryData op;
		char *line = NULL;
		bool known;
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
		arena_reset(&scratch);
		op = rows_op(&scratch, table, line, (size_t)n, instance, &known);
		PQfreemem(line);
		if (op.len == 0) {
			fail(s, "a row cannot be read");
			return;
		}
		if (known) {
			sat_oplog_add(&s->known, op.data, op.len);
			continue;
		}
		if (s->batch.len > 0 && s->batch.len + op.len > frame_limit(s))
			flush_batch(s);
		sat_oplog_add(&s->batch, op.data, op.len);
		s->count++;
		if (s->credit > 0 && s->batch.len >= frame_limit(s))
			flush_batch(s);
	}
	pg_pause(pg);
}

static void
on_copying(struct pg *pg, PGresult *r)
{
	if (pg_failed(r, "read-rows"))
		fail(((struct worker *)pg->data)->snapshot, pg_message(PQresultErrorMessage(r)));
}

static void
on_looked_up(struct pg *pg, PGresult *r)
{
	struct snapshot *s = ((struct worker *)pg->data)->snapshot;
	struct buf sql = { 0 };

	if (pg_failed(r, "look-up-table"))
		fail(s, pg_message(PQresultErrorMessage(r)));
	else if (!rows_copy(&sql, s->take->tables[s->table], r, s->take->user_id, s->take->client_id))
		fail(s, "the table is not electrified");
	else
		pg_ask(pg, buf_cstr(&sql), on_copying);
	buf_clear(&sql);
}

static void
read_table(struct snapshot *s)
{
	struct buf sql = { 0 };

	s->reading = true;
	rows_lookup(&sql, s->take->tables[s->table]);
	pg_ask(&s->worker->pg, buf_cstr(&sql), on_looked_up);
	buf_clear(&sql);
}

/* Goes on as far as the credit allows. */
static void
send_rows(struct snapshot *s)
{
	if (s->reading) {
		if (s->credit > 0)
			pg_resume(&s->worker->pg);
		return;
	}
	if (!s->has_extent || s->ended || (s->credit == 0 && s->batch.len > 0))
		return;
	if (s->batch.len > 0)
		flush_batch(s);
	if (s->table_read) {
		s->table_read = false;
		s->table++;
	}
	if (s->table == s->take->n_tables)
		end_snapshot(s);
	else if (s->credit > 0)
		read_table(s);
}

// ---- what gateways ask

static void
on_take(struct peer *peer, const Frame *f)
{
	size_t n = take_snapshot__get_packed_size(f->take_snapshot);
	uint8_t *copy = xmalloc(n);
	struct snapshot *s = xcalloc(1, sizeof *s);

	take_snapshot__pack(f->take_snapshot, copy);
	s->take = take_snapshot__unpack(arena_pb(&s->arena), n, copy);
	free(copy);
	s->id = f->take_snapshot->id;
	s->peer = peer;
	*end = s;
	end = &s->next;
	dispatch();
}

static void
on_begin(struct peer *peer, const Frame *f)
{
	struct snapshot *s = find(peer, f->begin_snapshot->id);

	if (s == NULL || s->begun)
		return;
	if (!s->ready) {
		fail(s, "the connection to Postgres was lost");
		return;
	}
	s->begun = true;
	pg_ask(&s->worker->pg,
	    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_current_snapshot()", on_begun);
}

static void
on_send(struct peer *peer, const Frame *f)
{
	struct snapshot *s = find(peer, f->send_rows->id);

	if (s == NULL)
		return;
	s->credit += f->send_rows->bytes;
	if (s->worker != NULL)
		send_rows(s);
}

static void
on_cancel(struct peer *peer, const Frame *f)
{
	struct snapshot *s = find(peer, f->cancel_snapshot->id);

	if (s == NULL)
		return;
	finish(s, s->ready && !s->begun);
	dispatch();
}

const struct handler snapshot_handlers[] = {
	{ FRAME__BODY_TAKE_SNAPSHOT, "ws-gateway", on_take },
	{ FRAME__BODY_BEGIN_SNAPSHOT, "ws-gateway", on_begin },
	{ FRAME__BODY_SEND_ROWS, "ws-gateway", on_send },
	{ FRAME__BODY_CANCEL_SNAPSHOT, "ws-gateway", on_cancel },
	{ 0 },
};

void
snapshot_peer_down(struct peer *peer)
{
	for (struct snapshot *s = all, *next; s != NULL; s = next) {
		next = s->next;
		if (s->peer == peer)
			finish(s, s->ready && !s->begun);
	}
	dispatch();
}

void
snapshot_open(const char *url, unsigned connections, unsigned number)
{
	static const struct pg_hooks hooks = { on_opened, on_lost, on_copied };

	instance = number;
	n_workers = connections;
	workers = xcalloc(n_workers, sizeof *workers);
	for (unsigned i = 0; i < n_workers; i++) {
		pg_init(&workers[i].pg, url, APPLICATION, false, &hooks, &workers[i]);
		ev_init(&workers[i].idle, on_idle);
		workers[i].idle.data = &workers[i];
	}
	push_open(url);
}

char *
snapshot_status(void)
{
	unsigned active = 0, queued = 0, open = 0;

	for (const struct snapshot *s = all; s != NULL; s = s->next) {
		active += s->worker != NULL;
		queued += s->worker == NULL;
	}
	for (unsigned i = 0; i < n_workers; i++)
		open += workers[i].pg.conn != NULL;
	return xasprintf("\"active\":%u,\"queued\":%u,\"connections\":%u", active, queued, open);
}
